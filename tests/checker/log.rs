//! The log as anybody else reads it: a plain Kafka consumer from offset 0, headers as text.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(30);

/// One record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) key: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Milliseconds since 1970.
    pub(crate) timestamp: u64,
}

impl Record {
    /// A header's value; empty without one.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A header's value as a number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.headers.get(name)?.parse().ok()
    }

    pub(crate) fn id(&self) -> &str {
        self.get("ce_id")
    }

    pub(crate) fn kind(&self) -> &str {
        self.get("kamf_kind")
    }

    /// Where it lies, for people.
    pub(crate) fn place(&self) -> String {
        format!("partition {} offset {}", self.partition, self.offset)
    }
}

/// All records that `topic` has now, by partition and offset.
pub(crate) async fn read(log: &str, topic: &str) -> anyhow::Result<Vec<Record>> {
    let (log, topic) = (log.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read_blocking(&log, &topic)).await?
}

fn read_blocking(log: &str, topic: &str) -> anyhow::Result<Vec<Record>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", log)
        .set("group.id", "tests-read-all")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "false")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).context("the topic's metadata")?;
    let partitions = metadata.topics().first().map(|topic| topic.partitions().len()).unwrap_or_default();
    if partitions == 0 {
        bail!("there is no topic {topic}");
    }
    let mut wanted = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions)? {
        let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
        if high > low {
            wanted.insert(partition, high);
        }
    }
    consumer.assign(&list)?;
    let mut records = Vec::new();
    let mut heard = Instant::now();
    while !wanted.is_empty() {
        if heard.elapsed() > PATIENCE {
            bail!("partitions {wanted:?} of {topic} were not read to their end");
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let record = record(&message?);
        heard = Instant::now();
        if wanted.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
            wanted.remove(&record.partition);
        }
        records.push(record);
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

fn record(message: &impl Message) -> Record {
    let headers = message.headers().map(|headers| {
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    });
    Record {
        headers: headers.unwrap_or_default(),
        key: message.key().unwrap_or_default().to_vec(),
        body: message.payload().unwrap_or_default().to_vec(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().and_then(|ms| ms.try_into().ok()).unwrap_or_default(),
    }
}
