//! kill -9 while segments are compacted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::FutureRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::child::BrokerProcess;
use crate::support::{Error, Outcome, PATIENCE, config, free_address, producer, runtime};

const KILLS: u64 = 5;
const WRITERS: i32 = 12;
/// Keys of each writer.
const KEYS: u64 = 4;
const PARTITIONS: i32 = 2;

type Found = BTreeMap<(i32, i64), String>;

/// Everything up to the ends, whatever offsets are missing between.
fn read_to_the_ends(address: SocketAddr) -> Result<Found, Error> {
    let consumer: BaseConsumer =
        config(address).set("group.id", "reader").set("enable.partition.eof", "true").create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset("t", partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut found, mut ended) = (Found::new(), BTreeSet::new());
    let begun = Instant::now();
    while ended.len() < PARTITIONS as usize {
        assert!(begun.elapsed() < PATIENCE, "read {} records and no end", found.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
                assert!(found.insert((message.partition(), message.offset()), value).is_none(), "read twice");
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    Ok(found)
}

#[test]
fn the_newest_record_of_each_key_survives_kills() -> Outcome {
    let directory = tempfile::tempdir()?;
    let address = free_address()?;
    let runtime = runtime();
    let mut broker = BrokerProcess::start(directory.path(), address)?;
    let admin: AdminClient<DefaultClientContext> = config(address).create()?;
    let topic = NewTopic::new("t", PARTITIONS, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact")
        .set("segment.bytes", "4096")
        .set("min.cleanable.dirty.ratio", "0.01");
    runtime.block_on(admin.create_topics(&[topic], &AdminOptions::new()))?;
    let producer = producer(address)?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (producer, stop) = (producer.clone(), Arc::clone(&stop));
            runtime.spawn(async move {
                let mut newest = BTreeMap::new();
                for n in 0.. {
                    let (key, value) = (format!("{writer}-{}", n % KEYS), format!("{writer}-{n}"));
                    let record =
                        FutureRecord::to("t").partition(writer % PARTITIONS).key(&key).payload(&value);
                    let sent = producer.send(record, PATIENCE).await;
                    let delivery = sent.map_err(|(error, _)| format!("{value}: {error}"))?;
                    newest.insert(key.clone(), ((delivery.partition, delivery.offset), value.clone()));
                    if stop.load(Ordering::Relaxed) {
                        return Ok::<_, String>((newest, n + 1));
                    }
                }
                Err("it has counted to its end".to_owned())
            })
        })
        .collect();
    for kill in 0..KILLS {
        std::thread::sleep(Duration::from_millis(700 + kill * 137));
        broker.kill()?;
        broker = BrokerProcess::start(directory.path(), address)?;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut newest, mut written) = (BTreeMap::new(), 0);
    for writer in writers {
        let (of_writer, count) = runtime.block_on(writer)??;
        newest.extend(of_writer);
        written += count;
    }
    broker.kill()?;
    let _broker = BrokerProcess::start(directory.path(), address)?;
    let begun = Instant::now();
    let found = loop {
        let found = read_to_the_ends(address)?;
        for (key, (place, value)) in &newest {
            assert_eq!(found.get(place), Some(value), "the newest record of {key}");
        }
        assert_eq!(found.values().collect::<BTreeSet<_>>().len(), found.len(), "a record is there twice");
        if (found.len() as u64) < written / 4 {
            break found.len();
        }
        assert!(begun.elapsed() < PATIENCE, "{} of {written} records are left", found.len());
    };
    println!("{found} of {written} records are left, {} keys", newest.len());
    Ok(())
}
