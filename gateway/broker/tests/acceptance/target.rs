//! The broker under test, and clients for it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Outcome = Result<(), Error>;

pub(crate) const SHORT: Duration = Duration::from_secs(5);
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Where the checks go.
pub(crate) struct Target {
    bootstrap: String,
    runtime: tokio::runtime::Runtime,
}

/// The check goes on only if `condition` holds.
pub(crate) fn need(condition: bool, what: impl Into<String>) -> Outcome {
    if condition { Ok(()) } else { Err(what.into().into()) }
}

/// Holds once `is_so`: a cluster takes a moment until every broker has heard of a change.
pub(crate) fn soon(mut is_so: impl FnMut() -> Result<bool, Error>, what: &str) -> Outcome {
    let begun = Instant::now();
    while !is_so()? {
        need(begun.elapsed() < SHORT, what)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

impl Target {
    pub(crate) fn new(bootstrap: String) -> Target {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        Target { bootstrap, runtime }
    }

    /// A name that nobody has used.
    pub(crate) fn fresh(&self, prefix: &str) -> String {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
        format!("{prefix}-{:x}", nanos & 0xff_ffff_ffff_ffff)
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("broker.address.family", "v4");
        config
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub(crate) fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Error> {
        Ok(self.config().create()?)
    }

    pub(crate) fn patience(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(LONG)).operation_timeout(Some(LONG))
    }

    /// A new topic of a fresh name.
    pub(crate) fn topic(&self, partitions: i32, settings: &[(&str, &str)]) -> Result<String, Error> {
        let name = self.fresh("t");
        self.create(&name, partitions, settings)?;
        Ok(name)
    }

    pub(crate) fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Outcome {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        for result in self.wait(self.admin()?.create_topics(&[topic], &self.patience()))? {
            result.map_err(|(name, code)| format!("{name}: {code}"))?;
        }
        Ok(())
    }

    /// An idempotent producer.
    pub(crate) fn producer(&self, extra: &[(&str, &str)]) -> Result<FutureProducer, Error> {
        let mut config = self.config();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("message.timeout.ms", "20000");
        for (key, value) in extra {
            config.set(*key, *value);
        }
        Ok(config.create()?)
    }

    /// Sends one record and waits for its acknowledgement; returns its offset.
    pub(crate) fn send(
        &self,
        producer: &FutureProducer,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<i64, Error> {
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).partition(partition);
        record.key = key;
        record.payload = value;
        let delivery = self.wait(producer.send(record, LONG)).map_err(|(error, _)| error)?;
        Ok(delivery.offset)
    }

    /// A consumer that is given its partitions.
    pub(crate) fn reader(
        &self,
        topic: &str,
        partitions: i32,
        from: Offset,
        extra: &[(&str, &str)],
    ) -> Result<BaseConsumer, Error> {
        let mut config = self.config();
        config
            .set("group.id", self.fresh("g"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error");
        for (key, value) in extra {
            config.set(*key, *value);
        }
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, from)?;
        }
        consumer.assign(&list)?;
        Ok(consumer)
    }

    /// A consumer that is a member of a group.
    pub(crate) fn member(
        &self,
        group: &str,
        topic: &str,
        extra: &[(&str, &str)],
    ) -> Result<BaseConsumer, Error> {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "10000");
        config.set("heartbeat.interval.ms", "500");
        for (key, value) in extra {
            config.set(*key, *value);
        }
        let consumer: BaseConsumer = config.create()?;
        consumer.subscribe(&[topic])?;
        Ok(consumer)
    }
}

/// Hands a record to a producer without waiting for its acknowledgement.
pub(crate) fn queue(
    producer: &FutureProducer,
    record: FutureRecord<'_, str, str>,
) -> Result<DeliveryFuture, KafkaError> {
    producer.send_result(record).map_err(|(error, _)| error)
}

/// Polls until `count` records have come or `patience` is over.
pub(crate) fn read(
    consumer: &BaseConsumer,
    count: usize,
    patience: Duration,
) -> Result<Vec<OwnedMessage>, Error> {
    let begun = Instant::now();
    let mut messages = Vec::new();
    let mut errors = BTreeSet::new();
    while messages.len() < count && begun.elapsed() < patience {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => messages.push(BorrowedMessage::detach(&message)),
            Some(Err(error)) => drop(errors.insert(error.to_string())),
            None => {}
        }
    }
    if messages.len() < count && !errors.is_empty() {
        return Err(format!("read {} of {count}: {errors:?}", messages.len()).into());
    }
    Ok(messages)
}

/// Exactly `count` records, or an error.
pub(crate) fn read_all(consumer: &BaseConsumer, count: usize) -> Result<Vec<OwnedMessage>, Error> {
    let messages = read(consumer, count, LONG)?;
    need(messages.len() == count, format!("read {} of {count}", messages.len()))?;
    Ok(messages)
}

/// Values as text.
pub(crate) fn values(messages: &[OwnedMessage]) -> Vec<String> {
    messages
        .iter()
        .map(|message| String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned())
        .collect()
}

/// Polls all consumers until `done` says so.
pub(crate) fn poll_until(
    consumers: &[&BaseConsumer],
    patience: Duration,
    mut done: impl FnMut() -> Result<bool, Error>,
) -> Result<Duration, Error> {
    let begun = Instant::now();
    while !done()? {
        if begun.elapsed() > patience {
            return Err("the state waited for did not come".into());
        }
        for consumer in consumers {
            consumer.poll(Duration::from_millis(20));
        }
    }
    Ok(begun.elapsed())
}
