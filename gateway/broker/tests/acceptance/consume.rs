//! Reading: positions, waiting, batches.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::producer::FutureRecord;
use rdkafka::topic_partition_list::Offset;

use crate::Check;
use crate::target::{Outcome, SHORT, Target, need, queue, read, read_all, values};

pub(crate) const CHECKS: &[Check] = &[
    ("a waiting reader gets a record at once", long_poll),
    ("a reader at the end waits without turning", idle),
    ("a reader seeks back and forth", seek),
    ("a reader begins inside a batch", inside_a_batch),
    ("a reader of little memory gets everything", small_fetches),
    ("a reader beyond the end is told", beyond_the_end),
    ("a reader of committed records only gets all", read_committed),
    ("several readers see the same", several),
    ("a reader waits for enough bytes", min_bytes),
];

fn fill(target: &Target, topic: &str, count: usize, linger: &str) -> Outcome {
    let producer = target.producer(&[("linger.ms", linger)])?;
    let bodies: Vec<String> = (0..count).map(|n| format!("v{n}")).collect();
    let sent: Result<Vec<_>, _> = bodies
        .iter()
        .map(|body| queue(&producer, FutureRecord::to(topic).partition(0).payload(body)))
        .collect();
    for delivery in sent? {
        target.wait(delivery)?.map_err(|(error, _)| error)?;
    }
    Ok(())
}

fn long_poll(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let reader = target.reader(&topic, 1, Offset::Beginning, &[("fetch.wait.max.ms", "5000")])?;
    let producer = target.producer(&[])?;
    target.send(&producer, &topic, 0, None, Some(b"warm"))?;
    read_all(&reader, 1)?;
    let mut times = Vec::new();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(20));
        let begun = Instant::now();
        let sent = producer
            .send_result(FutureRecord::<str, str>::to(&topic).payload("v"))
            .map_err(|(error, _)| error)?;
        while reader.poll(Duration::from_secs(1)).transpose()?.is_none() {
            need(begun.elapsed() < SHORT, "it never came")?;
        }
        times.push(begun.elapsed());
        target.wait(sent)?.map_err(|(error, _)| error)?;
    }
    times.sort_unstable();
    println!("       produced to consumed p50 {:?}, p90 {:?}", times[10], times[18]);
    need(times[10] < Duration::from_millis(200), format!("p50 {:?}", times[10]))
}

fn idle(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let reader = target.reader(&topic, 1, Offset::Beginning, &[("fetch.wait.max.ms", "500")])?;
    need(read(&reader, 1, Duration::from_secs(2))?.is_empty(), "nothing is there")?;
    let producer = target.producer(&[])?;
    target.send(&producer, &topic, 0, None, Some(b"late"))?;
    need(values(&read_all(&reader, 1)?) == ["late"], "it still reads")
}

fn seek(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    fill(target, &topic, 100, "0")?;
    let reader = target.reader(&topic, 1, Offset::Beginning, &[])?;
    need(values(&read_all(&reader, 100)?)[99] == "v99", "all in order")?;
    for offset in [50, 7, 99, 0] {
        reader.seek(&topic, 0, Offset::Offset(offset), SHORT)?;
        let first = read_all(&reader, 1)?;
        need(first[0].offset() == offset, format!("sought {offset}, got {}", first[0].offset()))?;
    }
    let tail = target.reader(&topic, 1, Offset::OffsetTail(3), &[])?;
    need(values(&read_all(&tail, 3)?) == ["v97", "v98", "v99"], "the last three")
}

fn inside_a_batch(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    fill(target, &topic, 500, "100")?;
    for offset in [1, 249, 498] {
        let reader = target.reader(&topic, 1, Offset::Offset(offset), &[])?;
        need(read_all(&reader, 1)?[0].offset() == offset, format!("from {offset}"))?;
    }
    Ok(())
}

fn small_fetches(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    fill(target, &topic, 2000, "5")?;
    let small = [
        ("fetch.message.max.bytes", "100"),
        ("fetch.max.bytes", "1000"),
        ("max.partition.fetch.bytes", "100"),
        ("message.max.bytes", "1000"),
    ];
    let reader = target.reader(&topic, 1, Offset::Beginning, &small)?;
    let all = values(&read_all(&reader, 2000)?);
    need(all[0] == "v0" && all[1999] == "v1999", "in order")
}

fn beyond_the_end(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    fill(target, &topic, 3, "0")?;
    let reader = target.reader(&topic, 1, Offset::Offset(1000), &[])?;
    need(read(&reader, 1, SHORT).is_err(), "an error for the position")
}

fn read_committed(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    fill(target, &topic, 50, "0")?;
    let reader = target.reader(&topic, 1, Offset::Beginning, &[("isolation.level", "read_committed")])?;
    read_all(&reader, 50).map(drop)
}

fn several(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let readers: Result<Vec<_>, _> =
        (0..3).map(|_| target.reader(&topic, 1, Offset::Beginning, &[])).collect();
    fill(target, &topic, 300, "1")?;
    let expected: Vec<String> = (0..300).map(|n| format!("v{n}")).collect();
    for reader in readers? {
        need(values(&read_all(&reader, 300)?) == expected, "all, in order")?;
    }
    Ok(())
}

fn min_bytes(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let reader = target.reader(
        &topic,
        1,
        Offset::Beginning,
        &[("fetch.min.bytes", "100000"), ("fetch.wait.max.ms", "1500")],
    )?;
    need(read(&reader, 1, Duration::from_millis(300))?.is_empty(), "nothing yet")?;
    let producer = target.producer(&[])?;
    let begun = Instant::now();
    target.send(&producer, &topic, 0, None, Some(b"little"))?;
    need(values(&read_all(&reader, 1)?) == ["little"], "after the wait it comes all the same")?;
    need(begun.elapsed() < Duration::from_secs(4), "the wait has an end")?;
    target.send(&producer, &topic, 0, None, Some(&vec![7; 200_000]))?;
    need(read_all(&reader, 1)?[0].payload().is_some_and(|value| value.len() == 200_000), "enough comes")
}
