//! What a stop in order keeps, and old segments.

use std::time::{Duration, Instant};

use kamf_broker::{Broker, Health, Limits, Options};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::{
    Outcome, PATIENCE, config, create_topic, free_address, producer, read_everything, runtime, send, start_at,
};

#[test]
fn a_restart_keeps_topics_offsets_and_producers() -> Outcome {
    let directory = tempfile::tempdir()?;
    let address = free_address()?;
    let runtime = runtime();
    let broker = start_at(directory.path(), address)?;
    runtime.block_on(create_topic(address, "t", 3))?;
    runtime.block_on(create_topic(address, "gone", 1))?;
    let writer = producer(address)?;
    for n in 0..20 {
        runtime.block_on(send(&writer, "t", &format!("v{n}")))?;
    }
    let admin: AdminClient<DefaultClientContext> = config(address).create()?;
    runtime.block_on(admin.delete_topics(&["gone"], &AdminOptions::new()))?;
    let mut below = TopicPartitionList::new();
    below.add_partition_offset("t", 0, Offset::Offset(5))?;
    runtime.block_on(admin.delete_records(&below, &AdminOptions::new()))?;
    let consumer: BaseConsumer =
        config(address).set("group.id", "g").set("enable.auto.commit", "false").create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Offset(12))?;
    consumer.assign(&list)?;
    consumer.commit(&list, CommitMode::Sync)?;
    broker.shutdown();
    let begun = Instant::now();
    let broker = start_at(directory.path(), address)?;
    println!("open again after {:?}", begun.elapsed());
    assert_eq!(broker.health(), Health::Ok);
    let metadata = consumer.fetch_metadata(None, PATIENCE)?;
    assert_eq!(
        metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len())).collect::<Vec<_>>(),
        [("t", 3)]
    );
    assert_eq!(
        consumer.committed(PATIENCE)?.find_partition("t", 0).map(|found| found.offset()),
        Some(Offset::Offset(12))
    );
    assert_eq!(consumer.fetch_watermarks("t", 0, PATIENCE)?, (5, 20));
    assert_eq!(runtime.block_on(send(&writer, "t", "v20"))?, 20);
    assert_eq!(read_everything(address, "t", 3)?.len(), 16);
    broker.shutdown();
    Ok(())
}

/// Full segments are rolled, and deleted when retention says so.
#[test]
fn old_segments_are_deleted() -> Outcome {
    let directory = tempfile::tempdir()?;
    let limits = Limits { retention_check: Duration::from_millis(500), ..Limits::default() };
    let broker = Broker::start(Options { limits, ..Options::new(directory.path()) })?;
    let address = broker.address();
    let runtime = runtime();
    let admin: AdminClient<DefaultClientContext> = config(address).create()?;
    let by_size = NewTopic::new("t", 1, TopicReplication::Fixed(1))
        .set("segment.bytes", "20000")
        .set("retention.bytes", "50000");
    let by_time = NewTopic::new("u", 1, TopicReplication::Fixed(1)).set("retention.ms", "1500");
    runtime.block_on(admin.create_topics(&[by_size, by_time], &AdminOptions::new()))?;
    let writer = producer(address)?;
    let value = "x".repeat(1000);
    for _ in 0..200 {
        runtime.block_on(send(&writer, "t", &value))?;
    }
    runtime.block_on(send(&writer, "u", "old"))?;
    let consumer: BaseConsumer = config(address).create()?;
    let begun = Instant::now();
    let (low, high) = loop {
        let (low, high) = consumer.fetch_watermarks("t", 0, PATIENCE)?;
        let (old, end) = consumer.fetch_watermarks("u", 0, PATIENCE)?;
        if low > 0 && old == end {
            break (low, high);
        }
        assert!(begun.elapsed() < PATIENCE, "nothing was deleted: {low} of {high}, {old} of {end}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(high, 200);
    assert!((100..170).contains(&low), "the newest 50,000 bytes stay, of whole segments: {low}");
    assert_eq!(runtime.block_on(send(&writer, "u", "new"))?, 1, "offsets go on");
    assert_eq!(read_everything(address, "t", 1)?.len(), usize::try_from(high - low)?);
    broker.shutdown();
    Ok(())
}
