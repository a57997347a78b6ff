//! Topics and their settings.

use rdkafka::admin::{AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::Check;
use crate::target::{Error, LONG, Outcome, SHORT, Target, need, read, read_all, soon, values};

pub(crate) const CHECKS: &[Check] = &[
    ("metadata names the broker and the cluster", metadata),
    ("a topic has the partitions and settings it was made with", create_and_describe),
    ("a topic cannot be made twice", create_twice),
    ("a topic can be checked without being made", create_validate_only),
    ("impossible topics are refused", create_impossible),
    ("a topic grows", grow),
    ("a topic cannot shrink", shrink),
    ("settings of a topic are replaced", alter),
    ("settings of the broker are shown", describe_broker),
    ("a deleted topic is gone and its name free", delete),
    ("an unknown topic is reported and not made", unknown_topic),
    ("records below an offset are deleted", delete_records),
    ("a topic to be compacted takes records", compacted),
    ("of each key the newest record stays, at its offset", newest_stays),
];

fn partitions(target: &Target, topic: &str) -> Result<usize, Error> {
    let consumer: rdkafka::consumer::BaseConsumer = target.config().create()?;
    Ok(consumer.fetch_metadata(Some(topic), SHORT)?.topics()[0].partitions().len())
}

fn setting(target: &Target, topic: &str, name: &str) -> Result<Option<String>, Error> {
    let admin = target.admin()?;
    let described =
        target.wait(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &target.patience()))?;
    let resource = described.into_iter().next().ok_or("no answer")??;
    Ok(resource.entry_map().get(name).and_then(|entry| entry.value.clone()))
}

fn metadata(target: &Target) -> Outcome {
    let topic = target.topic(3, &[])?;
    let consumer: rdkafka::consumer::BaseConsumer = target.config().create()?;
    // A real cluster lists a new topic a little later.
    let begun = std::time::Instant::now();
    let metadata = loop {
        let metadata = consumer.fetch_metadata(None, SHORT)?;
        if metadata.topics().iter().any(|known| known.name() == topic) || begun.elapsed() > SHORT {
            break metadata;
        }
    };
    need(metadata.brokers().len() == 1, "one broker")?;
    let broker = &metadata.brokers()[0];
    let address = format!("{}:{}", broker.host(), broker.port());
    need(
        address == target.bootstrap() || !target.bootstrap().starts_with("127."),
        format!("advertised as {address}"),
    )?;
    let found =
        metadata.topics().iter().find(|known| known.name() == topic).ok_or("the topic is not listed")?;
    need(found.partitions().len() == 3, "three partitions")?;
    need(
        found.partitions().iter().all(|part| part.leader() == broker.id() && part.error().is_none()),
        "the broker leads all",
    )?;
    need(consumer.client().fetch_cluster_id(SHORT).is_some_and(|id| !id.is_empty()), "a cluster id")
}

fn create_and_describe(target: &Target) -> Outcome {
    let topic = target.topic(4, &[("retention.ms", "123456"), ("max.message.bytes", "2000000")])?;
    soon(|| Ok(partitions(target, &topic)? == 4), "four partitions")?;
    soon(|| Ok(setting(target, &topic, "retention.ms")?.as_deref() == Some("123456")), "retention.ms")?;
    soon(
        || Ok(setting(target, &topic, "max.message.bytes")?.as_deref() == Some("2000000")),
        "max.message.bytes",
    )?;
    soon(|| Ok(setting(target, &topic, "cleanup.policy")?.as_deref() == Some("delete")), "a default")
}

fn create_twice(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let again = target.create(&topic, 1, &[]);
    need(again.is_err_and(|error| error.to_string().contains("already exists")), "the second time is refused")
}

fn create_validate_only(target: &Target) -> Outcome {
    let name = target.fresh("t");
    let topic = NewTopic::new(&name, 2, TopicReplication::Fixed(1));
    let results =
        target.wait(target.admin()?.create_topics(&[topic], &target.patience().validate_only(true)))?;
    need(results.iter().all(Result::is_ok), format!("{results:?}"))?;
    let consumer: rdkafka::consumer::BaseConsumer = target.config().create()?;
    let listed = consumer.fetch_metadata(None, SHORT)?.topics().iter().any(|topic| topic.name() == name);
    need(!listed, "it was made all the same")
}

fn create_impossible(target: &Target) -> Outcome {
    let refused = |outcome: Outcome, what: &str| need(outcome.is_err(), format!("{what} was taken"));
    refused(target.create("no/slash", 1, &[]), "a name with a slash")?;
    refused(target.create(&target.fresh("t"), 0, &[]), "no partitions")?;
    refused(target.create(&target.fresh("t"), 1, &[("no.such.setting", "1")]), "an unknown setting")?;
    refused(
        target.create(&target.fresh("t"), 1, &[("retention.ms", "soon")]),
        "a setting that is no number",
    )?;
    let name = target.fresh("t");
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(3));
    let results = target.wait(target.admin()?.create_topics(&[topic], &target.patience()))?;
    need(results.iter().all(Result::is_err), "three replicas of one broker")
}

fn grow(target: &Target) -> Outcome {
    let topic = target.topic(2, &[])?;
    for result in target
        .wait(target.admin()?.create_partitions(&[NewPartitions::new(&topic, 6)], &target.patience()))?
    {
        result.map_err(|(name, code)| format!("{name}: {code}"))?;
    }
    soon(|| Ok(partitions(target, &topic)? == 6), "six partitions")?;
    let producer = target.producer(&[])?;
    need(target.send(&producer, &topic, 5, None, Some(b"v"))? == 0, "the last one takes records")
}

fn shrink(target: &Target) -> Outcome {
    let topic = target.topic(3, &[])?;
    let results = target
        .wait(target.admin()?.create_partitions(&[NewPartitions::new(&topic, 2)], &target.patience()))?;
    need(results.iter().all(Result::is_err), "fewer partitions were taken")?;
    soon(|| Ok(partitions(target, &topic)? == 3), "three partitions stay")
}

fn alter(target: &Target) -> Outcome {
    let topic = target.topic(1, &[("retention.bytes", "1000000")])?;
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "77777");
    for result in target.wait(target.admin()?.alter_configs([&change], &target.patience()))? {
        result.map_err(|(resource, code)| format!("{resource:?}: {code}"))?;
    }
    soon(|| Ok(setting(target, &topic, "retention.ms")?.as_deref() == Some("77777")), "the new value")?;
    soon(
        || Ok(setting(target, &topic, "retention.bytes")?.as_deref() == Some("-1")),
        "what is not named is reset",
    )
}

fn describe_broker(target: &Target) -> Outcome {
    let consumer: rdkafka::consumer::BaseConsumer = target.config().create()?;
    let id = consumer.fetch_metadata(None, SHORT)?.brokers()[0].id();
    let described = target
        .wait(target.admin()?.describe_configs([&ResourceSpecifier::Broker(id)], &target.patience()))?;
    let resource = described.into_iter().next().ok_or("no answer")??;
    need(resource.entries.iter().any(|entry| entry.name == "message.max.bytes"), "message.max.bytes is shown")
}

fn delete(target: &Target) -> Outcome {
    let topic = target.topic(2, &[])?;
    let producer = target.producer(&[])?;
    target.send(&producer, &topic, 0, None, Some(b"old"))?;
    for result in target.wait(target.admin()?.delete_topics(&[&topic], &target.patience()))? {
        result.map_err(|(name, code)| format!("{name}: {code}"))?;
    }
    let again = target.wait(target.admin()?.delete_topics(&[&topic], &target.patience()))?;
    need(again.iter().all(Result::is_err), "it can be deleted twice")?;
    // A real cluster deletes in the background.
    let begun = std::time::Instant::now();
    while let Err(error) = target.create(&topic, 1, &[]) {
        need(begun.elapsed() < LONG, format!("the name is not free: {error}"))?;
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let reader = target.reader(&topic, 1, Offset::Beginning, &[])?;
    let producer = target.producer(&[])?;
    target.send(&producer, &topic, 0, None, Some(b"new"))?;
    need(values(&read_all(&reader, 1)?) == ["new"], "old records are gone")
}

fn unknown_topic(target: &Target) -> Outcome {
    let name = target.fresh("none");
    let consumer: rdkafka::consumer::BaseConsumer =
        target.config().set("allow.auto.create.topics", "false").create()?;
    let metadata = consumer.fetch_metadata(Some(&name), SHORT)?;
    need(metadata.topics()[0].error().is_some(), "an error for the topic")?;
    let listed = consumer.fetch_metadata(None, SHORT)?.topics().iter().any(|topic| topic.name() == name);
    need(!listed, "asking made it")
}

fn delete_records(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[])?;
    for n in 0..10 {
        target.send(&producer, &topic, 0, None, Some(format!("v{n}").as_bytes()))?;
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(6))?;
    let deleted = target.wait(target.admin()?.delete_records(&list, &target.patience()))?;
    let first = deleted.find_partition(&topic, 0).ok_or("no answer")?;
    need(first.offset() == Offset::Offset(6), format!("{:?}", first.offset()))?;
    let reader = target.reader(&topic, 1, Offset::Beginning, &[])?;
    need(reader.fetch_watermarks(&topic, 0, SHORT)? == (6, 10), "the start moved")?;
    need(values(&read_all(&reader, 4)?) == ["v6", "v7", "v8", "v9"], "the rest is there")?;
    let below = target.reader(&topic, 1, Offset::Offset(2), &[])?;
    need(read(&below, 1, SHORT).is_err(), "a reader below the start is told")
}

fn compacted(target: &Target) -> Outcome {
    let topic = target.topic(1, &[("cleanup.policy", "compact")])?;
    let producer = target.producer(&[])?;
    for n in 0..3 {
        target.send(&producer, &topic, 0, Some(b"k"), Some(format!("v{n}").as_bytes()))?;
    }
    let reader = target.reader(&topic, 1, Offset::Beginning, &[])?;
    need(
        values(&read_all(&reader, 3)?).last().is_some_and(|value| value == "v2"),
        "the newest value of a key",
    )?;
    soon(
        || Ok(setting(target, &topic, "cleanup.policy")?.as_deref() == Some("compact")),
        "the policy is kept",
    )
}

fn newest_stays(target: &Target) -> Outcome {
    let settings =
        [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];
    let topic = target.topic(1, &settings)?;
    let producer = target.producer(&[])?;
    let begun = std::time::Instant::now();
    let mut sent = 0;
    loop {
        // The newest segment is left alone, so more has to follow before what was written is compacted.
        for key in [b"a", b"b"] {
            target.send(&producer, &topic, 0, Some(key), Some(format!("v{sent}").as_bytes()))?;
            sent += 1;
        }
        let reader = target.reader(&topic, 1, Offset::Beginning, &[])?;
        let mut found = read_all(&reader, 1)?;
        while found.last().is_some_and(|last| last.offset() + 1 < sent) {
            found.extend(read_all(&reader, 1)?);
        }
        for message in &found {
            let value = format!("v{}", message.offset());
            need(message.payload() == Some(value.as_bytes()), format!("{value} at its offset"))?;
        }
        let left: Vec<_> = found.iter().map(Message::offset).collect();
        need(left.ends_with(&[sent - 2, sent - 1]), "the newest of both keys")?;
        if left[0] > 0 {
            return need(reader.fetch_watermarks(&topic, 0, SHORT)?.1 == sent, "the end is where it was");
        }
        need(begun.elapsed() < LONG, format!("nothing is compacted: {left:?}"))?;
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}
