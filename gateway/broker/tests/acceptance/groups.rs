//! Consumer groups as clients live in them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::Check;
use crate::target::{Error, LONG, Outcome, SHORT, Target, need, poll_until, read, read_all};

pub(crate) const CHECKS: &[Check] = &[
    ("two members share the partitions (range)", share_eagerly),
    ("two members share the partitions (cooperative)", share_cooperatively),
    ("a member that does not poll loses its partitions", unpolled),
    ("a static member comes back without a rebalance", static_member),
    ("a second static member of a name fences the first", fenced),
    ("a group is listed with its members", listed),
    ("a group is deleted when it is empty", deleted),
    ("groups of one topic do not disturb each other", apart),
];

fn partitions(consumer: &BaseConsumer) -> Result<BTreeSet<i32>, Error> {
    Ok(consumer.assignment()?.elements().iter().map(|element| element.partition()).collect())
}

fn fill(target: &Target, topic: &str, partitions: i32) -> Outcome {
    let producer = target.producer(&[])?;
    for partition in 0..partitions {
        target.send(&producer, topic, partition, None, Some(b"v"))?;
    }
    Ok(())
}

fn share(target: &Target, strategy: &str) -> Outcome {
    let topic = target.topic(8, &[])?;
    fill(target, &topic, 8)?;
    let group = target.fresh("g");
    let extra = [("partition.assignment.strategy", strategy)];
    let first = target.member(&group, &topic, &extra)?;
    let seen: BTreeSet<i32> = read_all(&first, 8)?.iter().map(Message::partition).collect();
    need(seen.len() == 8, "the first has all")?;
    let mut ends = TopicPartitionList::new();
    for partition in 0..8 {
        ends.add_partition_offset(&topic, partition, Offset::Offset(1))?;
    }
    first.commit(&ends, CommitMode::Sync)?;
    let second = target.member(&group, &topic, &extra)?;
    let joined = poll_until(&[&first, &second], LONG, || {
        Ok(partitions(&first)?.len() == 4 && partitions(&second)?.len() == 4)
    })?;
    need(partitions(&first)?.is_disjoint(&partitions(&second)?), "nothing twice")?;
    drop(second);
    let left = poll_until(&[&first], LONG, || Ok(partitions(&first)?.len() == 8))?;
    println!("       {strategy}: joined after {joined:?}, left after {left:?}");
    need(read(&first, 1, Duration::from_secs(1))?.is_empty(), "nothing that was committed comes again")
}

fn share_eagerly(target: &Target) -> Outcome {
    share(target, "range")
}

fn share_cooperatively(target: &Target) -> Outcome {
    share(target, "cooperative-sticky")
}

fn unpolled(target: &Target) -> Outcome {
    let topic = target.topic(4, &[])?;
    let group = target.fresh("g");
    let extra = [("session.timeout.ms", "6000"), ("max.poll.interval.ms", "6000")];
    let first = target.member(&group, &topic, &extra)?;
    poll_until(&[&first], LONG, || Ok(partitions(&first)?.len() == 4))?;
    let second = target.member(&group, &topic, &extra)?;
    poll_until(&[&first, &second], LONG, || {
        Ok(partitions(&first)?.len() == 2 && partitions(&second)?.len() == 2)
    })?;
    // The first is not polled any more, so its client leaves the group in its name after the poll interval.
    let begun = Instant::now();
    poll_until(&[&second], LONG, || Ok(partitions(&second)?.len() == 4))?;
    need(begun.elapsed() < Duration::from_secs(20), format!("after {:?}", begun.elapsed()))
}

fn static_member(target: &Target) -> Outcome {
    let topic = target.topic(4, &[])?;
    let group = target.fresh("g");
    let name = |instance: &'static str| [("group.instance.id", instance), ("session.timeout.ms", "10000")];
    let first = target.member(&group, &topic, &name("one"))?;
    let second = target.member(&group, &topic, &name("two"))?;
    poll_until(&[&first, &second], LONG, || {
        Ok(partitions(&first)?.len() == 2 && partitions(&second)?.len() == 2)
    })?;
    let (held, kept) = (partitions(&first)?, partitions(&second)?);
    drop(first);
    let begun = Instant::now();
    let again = target.member(&group, &topic, &name("one"))?;
    poll_until(&[&again, &second], LONG, || Ok(partitions(&again)? == held))?;
    println!("       back after {:?}", begun.elapsed());
    need(partitions(&second)? == kept, "the other one noticed nothing")
}

fn fenced(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let group = target.fresh("g");
    let extra = [("group.instance.id", "only")];
    let first = target.member(&group, &topic, &extra)?;
    poll_until(&[&first], LONG, || Ok(partitions(&first)?.len() == 1))?;
    let second = target.member(&group, &topic, &extra)?;
    poll_until(&[&second], LONG, || Ok(partitions(&second)?.len() == 1))?;
    poll_until(&[&first, &second], LONG, || Ok(first.client().fatal_error().is_some())).map(drop)
}

fn listed(target: &Target) -> Outcome {
    let topic = target.topic(2, &[])?;
    let group = target.fresh("g");
    let member = target.member(&group, &topic, &[("client.id", "somebody")])?;
    poll_until(&[&member], LONG, || Ok(partitions(&member)?.len() == 2))?;
    let groups = member.fetch_group_list(Some(&group), SHORT)?;
    let found = groups.groups().iter().find(|found| found.name() == group).ok_or("not listed")?;
    need(
        found.state() == "Stable" && found.protocol_type() == "consumer",
        format!("{} {}", found.state(), found.protocol_type()),
    )?;
    need(found.members().len() == 1 && found.members()[0].client_id() == "somebody", "its member")?;
    need(found.members()[0].assignment().is_some_and(|bytes| !bytes.is_empty()), "its assignment")?;
    let all = member.fetch_group_list(None, SHORT)?;
    need(all.groups().iter().any(|found| found.name() == group), "in the list of all")
}

fn deleted(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    fill(target, &topic, 1)?;
    let group = target.fresh("g");
    let member = target.member(&group, &topic, &[])?;
    read_all(&member, 1)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(1))?;
    member.commit(&list, CommitMode::Sync)?;
    let admin = target.admin()?;
    let early = target.wait(admin.delete_groups(&[&group], &target.patience()))?;
    need(early.iter().all(Result::is_err), "a group with a member was deleted")?;
    drop(member);
    let gone = target.wait(admin.delete_groups(&[&group], &target.patience()))?;
    need(gone.iter().all(Result::is_ok), format!("{gone:?}"))?;
    let again = target.member(&group, &topic, &[])?;
    need(read_all(&again, 1)?[0].offset() == 0, "its offsets are gone")
}

fn apart(target: &Target) -> Outcome {
    let topic = target.topic(2, &[])?;
    fill(target, &topic, 2)?;
    let (one, two) = (target.fresh("g"), target.fresh("h"));
    let members = [target.member(&one, &topic, &[])?, target.member(&two, &topic, &[])?];
    for member in &members {
        read_all(member, 2)?;
    }
    Ok(())
}
