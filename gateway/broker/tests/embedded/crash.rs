//! kill -9 in the middle of writing, and worse.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::FutureRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::child::BrokerProcess;
use crate::support::{
    Outcome, PATIENCE, config, create_topic, free_address, producer, read_everything, runtime, send, start_at,
};

const KILLS: u64 = 6;
const PARTITIONS: i32 = 4;
/// Requests that each writer keeps under way.
const WRITERS: usize = 16;

/// One producer lives through all kills. What it was told is written must be there, where it was told, and nothing twice.
#[test]
fn nothing_acknowledged_is_lost_by_kills() -> Outcome {
    let directory = tempfile::tempdir()?;
    let address = free_address()?;
    let runtime = runtime();
    let mut broker = BrokerProcess::start(directory.path(), address)?;
    runtime.block_on(create_topic(address, "t", PARTITIONS))?;
    let producer = producer(address)?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (producer, stop) = (producer.clone(), Arc::clone(&stop));
            runtime.spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0.. {
                    let value = format!("{writer}-{n}");
                    let partition = n % PARTITIONS;
                    let record = FutureRecord::<str, str>::to("t").partition(partition).payload(&value);
                    match producer.send(record, PATIENCE).await {
                        Ok(delivery) => {
                            acknowledged.push(((delivery.partition, delivery.offset), value.clone()))
                        }
                        Err((error, _)) => return Err(format!("{value}: {error}")),
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
                Ok(acknowledged)
            })
        })
        .collect();
    for kill in 0..KILLS {
        std::thread::sleep(Duration::from_millis(300 + kill * 137));
        broker.kill()?;
        broker = BrokerProcess::start(directory.path(), address)?;
    }
    std::thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(runtime.block_on(writer)??);
    }
    broker.kill()?;
    let _broker = BrokerProcess::start(directory.path(), address)?;
    let found = read_everything(address, "t", PARTITIONS)?;
    for (place, value) in &acknowledged {
        assert_eq!(found.get(place), Some(value), "{place:?}");
    }
    let distinct: BTreeSet<_> = found.values().collect();
    assert_eq!(distinct.len(), found.len(), "a record was written twice");
    println!("{} acknowledged over {KILLS} kills, {} in the log", acknowledged.len(), found.len());
    assert!(acknowledged.len() > 500, "only {} records", acknowledged.len());
    Ok(())
}

/// Files `name` below the partitions, or the journal of offsets.
fn files(directory: &Path, folder: &str) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory.join(folder))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(fs::read_dir(path)?.flatten().map(|entry| entry.path()));
        } else {
            found.push(path);
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    Ok(found)
}

/// A power failure takes what was written but not synced: the segments. The write-ahead file brings it back.
#[test]
fn what_only_the_write_ahead_file_has_is_replayed() -> Outcome {
    let directory = tempfile::tempdir()?;
    let address = free_address()?;
    let runtime = runtime();
    let broker = BrokerProcess::start(directory.path(), address)?;
    runtime.block_on(create_topic(address, "t", PARTITIONS))?;
    let writer = producer(address)?;
    for n in 0..50 {
        runtime.block_on(send(&writer, "t", &format!("v{n}")))?;
    }
    let consumer: BaseConsumer =
        config(address).set("group.id", "g").set("enable.auto.commit", "false").create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Offset(17))?;
    consumer.assign(&list)?;
    consumer.commit(&list, CommitMode::Sync)?;
    broker.kill()?;
    for path in [files(directory.path(), "partitions")?, files(directory.path(), "offsets")?].concat() {
        OpenOptions::new().write(true).open(path)?.set_len(0)?;
    }
    let _broker = BrokerProcess::start(directory.path(), address)?;
    let found = read_everything(address, "t", PARTITIONS)?;
    assert_eq!(found.len(), 50);
    assert_eq!(found.get(&(0, 49)).map(String::as_str), Some("v49"));
    let committed = consumer.committed(PATIENCE)?;
    assert_eq!(committed.find_partition("t", 0).map(|found| found.offset()), Some(Offset::Offset(17)));
    // The producer goes on: the log knows its last sequence number.
    assert_eq!(runtime.block_on(send(&writer, "t", "v50"))?, 50);
    Ok(())
}

/// Half a batch at the end of a segment, with and without the summary that says where the sound part ends.
#[test]
fn a_torn_tail_is_cut() -> Outcome {
    for keep_summary in [true, false] {
        let directory = tempfile::tempdir()?;
        let address = free_address()?;
        let runtime = runtime();
        let broker = start_at(directory.path(), address)?;
        runtime.block_on(create_topic(address, "t", 1))?;
        let writer = producer(address)?;
        for n in 0..10 {
            runtime.block_on(send(&writer, "t", &format!("v{n}")))?;
        }
        broker.shutdown();
        let segment = files(directory.path(), "partitions")?.remove(0);
        let sound = fs::read(&segment)?;
        let batch = &sound[..sound.len() / 10];
        for torn in [&batch[..batch.len() - 1], &batch[..30], &[0; 4096], &[0xff; 100]] {
            if !keep_summary {
                fs::remove_file(segment.with_extension("index"))?;
            }
            fs::write(&segment, [&sound, torn].concat())?;
            let broker = start_at(directory.path(), address)?;
            assert_eq!(read_everything(address, "t", 1)?.len(), 10);
            assert_eq!(fs::metadata(&segment)?.len(), sound.len() as u64);
            broker.shutdown();
        }
        let _broker = start_at(directory.path(), address)?;
        assert_eq!(runtime.block_on(send(&writer, "t", "v10"))?, 10);
    }
    Ok(())
}

/// After a kill the log is there again within the time a start may take.
#[test]
fn a_start_after_a_kill_is_quick() -> Outcome {
    let directory = tempfile::tempdir()?;
    let address = free_address()?;
    let runtime = runtime();
    let broker = BrokerProcess::start(directory.path(), address)?;
    runtime.block_on(create_topic(address, "t", PARTITIONS))?;
    let writer = producer(address)?;
    let value = "x".repeat(100_000);
    let mut sent = Vec::new();
    for n in 0..400 {
        let record = FutureRecord::<str, str>::to("t").partition(n % PARTITIONS).payload(&value);
        sent.push(writer.send_result(record).map_err(|(error, _)| error)?);
    }
    for delivery in sent {
        runtime.block_on(delivery)?.map_err(|(error, _)| error)?;
    }
    broker.kill()?;
    let begun = Instant::now();
    let broker = start_at(directory.path(), address)?;
    println!("40 MB after a kill: open again after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(read_everything(address, "t", PARTITIONS)?.len(), 400);
    broker.shutdown();
    Ok(())
}
