//! Records in, and out again as they came.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::Offset;

use crate::Check;
use crate::target::{LONG, Outcome, Target, need, queue, read_all, values};

pub(crate) const CHECKS: &[Check] = &[
    ("a record is acknowledged with its offset", acknowledged),
    ("acknowledgement by the leader alone", acks_one),
    ("records without acknowledgement arrive", acks_none),
    ("headers, keys, tombstones and times are kept", kept),
    ("many records in flight stay in order", in_order),
    ("each compression is passed through", compression),
    ("a large record fits where it is allowed", large),
    ("an oversize record is refused", oversize),
    ("records to an unknown partition are refused", unknown_partition),
    ("keys spread over the partitions", spread),
    ("a plain producer works", plain),
    ("transactions end clearly or work", transactions),
    ("an acknowledgement takes little time", latency),
];

fn acknowledged(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[])?;
    for expected in 0..20 {
        let offset = target.send(&producer, &topic, 0, None, Some(b"v"))?;
        need(offset == expected, format!("offset {offset}, expected {expected}"))?;
    }
    Ok(())
}

fn with_acks(target: &Target, acks: &str) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[("enable.idempotence", "false"), ("acks", acks)])?;
    for n in 0..10 {
        target.send(&producer, &topic, 0, None, Some(format!("v{n}").as_bytes()))?;
    }
    let reader = target.reader(&topic, 1, Offset::Beginning, &[])?;
    need(values(&read_all(&reader, 10)?)[9] == "v9", "all are there")
}

fn acks_one(target: &Target) -> Outcome {
    with_acks(target, "1")
}

fn acks_none(target: &Target) -> Outcome {
    with_acks(target, "0")
}

fn kept(target: &Target) -> Outcome {
    // Old times must not make retention delete the records at once.
    let topic = target.topic(1, &[("retention.ms", "-1")])?;
    let producer = target.producer(&[])?;
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header { key: "a", value: Some("2") })
        .insert(Header::<&str> { key: "none", value: None })
        .insert(Header { key: "b", value: Some(&[0u8, 255][..]) });
    let time = 1_700_000_000_123;
    let record = FutureRecord::<str, [u8]>::to(&topic).key("k").payload(&[]).headers(headers).timestamp(time);
    target.wait(producer.send(record, LONG)).map_err(|(error, _)| error)?;
    target.send(&producer, &topic, 0, Some(b"gone"), None)?;
    target.send(&producer, &topic, 0, None, Some(b"no key"))?;
    let messages = read_all(&target.reader(&topic, 1, Offset::Beginning, &[])?, 3)?;
    let found: Vec<(String, Option<Vec<u8>>)> = messages[0]
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter())
        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
        .collect();
    let expected =
        [("a", Some(b"1".to_vec())), ("a", Some(b"2".to_vec())), ("none", None), ("b", Some(vec![0, 255]))];
    need(
        found.iter().map(|(key, value)| (key.as_str(), value.clone())).eq(expected),
        format!("headers {found:?}"),
    )?;
    need(messages[0].timestamp().to_millis() == Some(time), "the time")?;
    need(messages[1].payload().is_none() && messages[1].key() == Some(b"gone"), "a tombstone")?;
    need(messages[2].key().is_none(), "no key")
}

fn in_order(target: &Target) -> Outcome {
    let topic = target.topic(3, &[])?;
    let producer = target.producer(&[])?;
    let bodies: Vec<String> = (0..6000).map(|n| format!("v{n}")).collect();
    let mut sent = Vec::new();
    for (partition, body) in (0..3).cycle().zip(&bodies) {
        sent.push(
            producer
                .send_result(FutureRecord::<str, str>::to(&topic).partition(partition).payload(body))
                .map_err(|(error, _)| error)?,
        );
    }
    let mut next = [0i64; 3];
    for delivery in sent {
        let delivery = target.wait(delivery)?.map_err(|(error, _)| error)?;
        let at = usize::try_from(delivery.partition)?;
        need(
            delivery.offset == next[at],
            format!("offset {} in {at}, expected {}", delivery.offset, next[at]),
        )?;
        next[at] += 1;
    }
    let messages = read_all(&target.reader(&topic, 3, Offset::Beginning, &[])?, bodies.len())?;
    let distinct: BTreeSet<_> = values(&messages).into_iter().collect();
    need(distinct.len() == bodies.len(), "each once")
}

fn compression(target: &Target) -> Outcome {
    let body = "abc".repeat(400);
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let topic = target.topic(1, &[])?;
        let producer = target.producer(&[("compression.type", codec), ("linger.ms", "20")])?;
        let sent: Result<Vec<_>, _> =
            (0..200).map(|_| queue(&producer, FutureRecord::to(&topic).payload(&body))).collect();
        for delivery in sent? {
            target.wait(delivery)?.map_err(|(error, _)| error)?;
        }
        let messages = read_all(&target.reader(&topic, 1, Offset::Beginning, &[])?, 200)?;
        need(
            messages.iter().all(|message| message.payload() == Some(body.as_bytes())),
            format!("{codec}: other bytes"),
        )?;
    }
    Ok(())
}

fn large(target: &Target) -> Outcome {
    let topic = target.topic(1, &[("max.message.bytes", "6000000")])?;
    let producer = target.producer(&[("message.max.bytes", "6000000")])?;
    let body: Vec<u8> = (0..5_000_000u32).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    target.send(&producer, &topic, 0, None, Some(b"before"))?;
    target.send(&producer, &topic, 0, None, Some(&body))?;
    target.send(&producer, &topic, 0, None, Some(b"after"))?;
    let messages = read_all(&target.reader(&topic, 1, Offset::Beginning, &[])?, 3)?;
    need(messages[1].payload() == Some(&body[..]), "the same bytes")
}

fn oversize(target: &Target) -> Outcome {
    let topic = target.topic(1, &[("max.message.bytes", "10000")])?;
    let producer = target.producer(&[])?;
    let record = vec![7u8; 20_000];
    let refused = target.wait(producer.send(FutureRecord::<[u8], [u8]>::to(&topic).payload(&record), LONG));
    let code = refused.err().and_then(|(error, _)| error.rdkafka_error_code());
    need(code == Some(RDKafkaErrorCode::MessageSizeTooLarge), format!("{code:?}"))?;
    let producer = target.producer(&[])?;
    need(target.send(&producer, &topic, 0, None, Some(b"small"))? == 0, "nothing of it was written")
}

fn unknown_partition(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[("message.timeout.ms", "3000")])?;
    let refused = target.send(&producer, &topic, 7, None, Some(b"v"));
    need(refused.is_err(), "a partition that is not there took a record")
}

fn spread(target: &Target) -> Outcome {
    let topic = target.topic(4, &[])?;
    let producer = target.producer(&[])?;
    let mut partitions = BTreeSet::new();
    for n in 0..40 {
        let key = format!("key {n}");
        let record = FutureRecord::<str, str>::to(&topic).key(&key).payload("v");
        partitions.insert(target.wait(producer.send(record, LONG)).map_err(|(error, _)| error)?.partition);
    }
    need(partitions.len() == 4, format!("{partitions:?}"))
}

fn plain(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[("enable.idempotence", "false")])?;
    for n in 0..5 {
        need(target.send(&producer, &topic, 0, None, Some(b"v"))? == n, "offsets follow each other")?;
    }
    Ok(())
}

fn transactions(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let id = target.fresh("x");
    let producer: FutureProducer =
        target.config().set("transactional.id", &id).set("transaction.timeout.ms", "20000").create()?;
    let begun = Instant::now();
    match producer.init_transactions(LONG) {
        // The embedded log says no, at once and for good, instead of letting the client try again and again.
        Err(error) => need(
            begun.elapsed() < Duration::from_secs(5),
            format!("refused only after {:?}: {error}", begun.elapsed()),
        ),
        Ok(()) => {
            producer.begin_transaction()?;
            let sent = producer
                .send_result(FutureRecord::<str, str>::to(&topic).payload("v"))
                .map_err(|(error, _)| error)?;
            producer.commit_transaction(LONG)?;
            target.wait(sent)?.map_err(|(error, _)| error)?;
            Ok(())
        }
    }
}

fn latency(target: &Target) -> Outcome {
    let topic = target.topic(1, &[])?;
    let producer = target.producer(&[])?;
    target.send(&producer, &topic, 0, None, Some(b"warm"))?;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        target.send(&producer, &topic, 0, None, Some(&[7; 1024]))?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("       acknowledged after p50 {:?}, p90 {:?}", times[50], times[90]);
    // Far above what a quiet machine shows; this finds waits that should not be there.
    need(times[50] < Duration::from_millis(100), format!("p50 {:?}", times[50]))
}
