//! Clients and brokers for these tests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use kamf_broker::{Broker, Options};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Outcome = Result<(), Error>;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// A loopback address that was free a moment ago, for brokers that come back where they were.
pub(crate) fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

pub(crate) fn start_at(directory: &Path, listen: SocketAddr) -> Result<Broker, Error> {
    Ok(Broker::start(Options { listen, ..Options::new(directory) })?)
}

pub(crate) fn config(address: SocketAddr) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address.to_string())
        .set("broker.address.family", "v4")
        .set("reconnect.backoff.max.ms", "200");
    config
}

pub(crate) fn producer(address: SocketAddr) -> Result<FutureProducer, Error> {
    let mut config = config(address);
    Ok(config
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .set("message.timeout.ms", "60000")
        .create()?)
}

pub(crate) async fn create_topic(address: SocketAddr, name: &str, partitions: i32) -> Outcome {
    let admin: AdminClient<DefaultClientContext> = config(address).create()?;
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for result in admin.create_topics(&[topic], &AdminOptions::new()).await? {
        result.map_err(|(name, code)| format!("{name}: {code}"))?;
    }
    Ok(())
}

/// Sends a record to partition 0 and waits for its acknowledgement.
pub(crate) async fn send(producer: &FutureProducer, topic: &str, value: &str) -> Result<i64, Error> {
    let record = FutureRecord::<str, str>::to(topic).partition(0).payload(value);
    let delivery = producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
    Ok(delivery.offset)
}

/// Everything in a topic: partition and offset to value.
pub(crate) fn read_everything(
    address: SocketAddr,
    topic: &str,
    partitions: i32,
) -> Result<BTreeMap<(i32, i64), String>, Error> {
    let consumer: BaseConsumer =
        config(address).set("group.id", "reader").set("enable.auto.commit", "false").create()?;
    let mut list = TopicPartitionList::new();
    let mut count = 0;
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        count += usize::try_from(high - low)?;
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut all = BTreeMap::new();
    let begun = Instant::now();
    while all.len() < count {
        if begun.elapsed() > PATIENCE {
            return Err(format!("read {} of {count}", all.len()).into());
        }
        if let Some(message) = consumer.poll(Duration::from_millis(100)).transpose()? {
            let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
            if all.insert((message.partition(), message.offset()), value).is_some() {
                return Err("an offset came twice".into());
            }
        }
    }
    Ok(all)
}
