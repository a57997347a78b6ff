//! Offsets by time, watermarks, and committed offsets.

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::FutureRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::Check;
use crate::target::{LONG, Outcome, SHORT, Target, need, read, read_all};

pub(crate) const CHECKS: &[Check] = &[
    ("offsets are found by time", by_time),
    ("watermarks are the ends", watermarks),
    ("an offset is committed with its metadata", commit_with_metadata),
    ("a group goes on where it stopped", resume),
    ("offsets are committed without being a member", commit_from_outside),
    ("uncommitted partitions are told as such", uncommitted),
    ("a stale member cannot commit", stale_commit),
];

fn by_time(target: &Target) -> Outcome {
    let topic = target.topic(1, &[("retention.ms", "-1")])?;
    let producer = target.producer(&[])?;
    let start = 1_700_000_000_000;
    for n in 0..5 {
        let record = FutureRecord::<str, str>::to(&topic).payload("x").timestamp(start + n * 1000);
        target.wait(producer.send(record, LONG)).map_err(|(error, _)| error)?;
    }
    let reader = target.reader(&topic, 1, Offset::Beginning, &[])?;
    let cases = [
        (0, Offset::Offset(0)),
        (2000, Offset::Offset(2)),
        (2500, Offset::Offset(3)),
        (4000, Offset::Offset(4)),
        (9000, Offset::End),
    ];
    for (after, expected) in cases {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Offset(start + after))?;
        let found = reader.offsets_for_times(list, SHORT)?;
        let offset = found.find_partition(&topic, 0).ok_or("no answer")?.offset();
        need(offset == expected, format!("{after} ms: {offset:?}, expected {expected:?}"))?;
    }
    Ok(())
}

fn watermarks(target: &Target) -> Outcome {
    let topic = target.topic(2, &[])?;
    let reader = target.reader(&topic, 1, Offset::Beginning, &[])?;
    need(reader.fetch_watermarks(&topic, 0, SHORT)? == (0, 0), "empty")?;
    let producer = target.producer(&[])?;
    for _ in 0..7 {
        target.send(&producer, &topic, 1, None, Some(b"v"))?;
    }
    need(reader.fetch_watermarks(&topic, 0, SHORT)? == (0, 0), "still empty")?;
    need(reader.fetch_watermarks(&topic, 1, SHORT)? == (0, 7), "seven")?;
    need(reader.fetch_watermarks(&topic, 9, SHORT).is_err(), "no such partition")
}

fn commit_with_metadata(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[])?;
    for _ in 0..10 {
        target.send(&producer, &topic, 0, None, Some(b"v"))?;
    }
    let group = target.fresh("g");
    let consumer = target.member(&group, &topic, &[])?;
    read_all(&consumer, 10)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(4))?;
    list.find_partition(&topic, 0).ok_or("just added")?.set_metadata("a note");
    consumer.commit(&list, CommitMode::Sync)?;
    let committed = consumer.committed(SHORT)?;
    let found = committed.find_partition(&topic, 0).ok_or("no answer")?;
    need(
        found.offset() == Offset::Offset(4) && found.metadata() == "a note",
        format!("{:?} {:?}", found.offset(), found.metadata()),
    )
}

fn resume(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[])?;
    for _ in 0..10 {
        target.send(&producer, &topic, 0, None, Some(b"v"))?;
    }
    let group = target.fresh("g");
    let first = target.member(&group, &topic, &[])?;
    read_all(&first, 6)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(6))?;
    first.commit(&list, CommitMode::Sync)?;
    drop(first);
    let second = target.member(&group, &topic, &[])?;
    need(read_all(&second, 1)?[0].offset() == 6, "from the seventh record on")
}

fn commit_from_outside(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[])?;
    target.send(&producer, &topic, 0, None, Some(b"v"))?;
    let group = target.fresh("g");
    let reader = target.reader(&topic, 1, Offset::Beginning, &[("group.id", &group)])?;
    read_all(&reader, 1)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(1))?;
    reader.commit(&list, CommitMode::Sync)?;
    let member = target.member(&group, &topic, &[])?;
    need(read(&member, 1, SHORT)?.is_empty(), "the member begins after it")
}

fn uncommitted(target: &Target) -> Outcome {
    let topic = target.topic(2, &[])?;
    let reader = target.reader(&topic, 2, Offset::Beginning, &[])?;
    let committed = reader.committed(SHORT)?;
    need(committed.elements().iter().all(|element| element.offset() == Offset::Invalid), "no offsets")
}

fn stale_commit(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[])?;
    target.send(&producer, &topic, 0, None, Some(b"v"))?;
    let group = target.fresh("g");
    let member = target.member(&group, &topic, &[])?;
    read_all(&member, 1)?;
    let stranger = target.reader(&topic, 1, Offset::Beginning, &[("group.id", &group)])?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(1))?;
    need(stranger.commit(&list, CommitMode::Sync).is_err(), "a stranger commits for a group that has members")
}
