//! The log as the gateway knows it: where it is, its topics, and how a client of it is set up.
//! Embedded log and Kafka cluster differ in their address only.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResourceResult, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;

use super::promise::Promise;
use super::topic::Topic;
use crate::config;

/// How long the start waits for brokers to answer.
const CONNECT: Duration = Duration::from_secs(10);

/// Between two questions to a partition that has no leader.
const PAUSE: Duration = Duration::from_millis(50);

/// Largest record that the gateway writes: a body of the largest size allowed, and its headers.
const MESSAGE_MAX_BYTES: &str = "10485760";

/// The topics whose records the gateway acknowledges to its clients.
const PROMISED: [Topic; 2] = [Topic::Requests, Topic::Events];

/// A log that has been reached and whose topics have been checked.
#[derive(Clone, Debug)]
pub struct Log {
    client: ClientConfig,
    bootstrap: String,
    topics: [String; Topic::ALL.len()],
    partitions: i32,
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("no broker of `{bootstrap}` answered within {} s; is `log.brokers` right, and are its security properties?", CONNECT.as_secs())]
    Unreachable { bootstrap: String, source: KafkaError },
    #[error("topic `{topic}` could not be created: {source}; create it, or permit it")]
    Create { topic: String, source: KafkaError },
    #[error("topic `{topic}` could not be created: {code}; create it, or permit it")]
    Refused { topic: String, code: RDKafkaErrorCode },
    #[error(
        "topics `{requests}` and `{events}` must have the same number of partitions, but have {left} and {right}"
    )]
    Partitions { requests: String, events: String, left: usize, right: usize },
    #[error("a client of the log could not be set up: {0}; see `log.properties`")]
    Client(#[from] KafkaError),
}

impl Log {
    /// Reaches the log at `bootstrap`, creates the topics that are missing and checks those that are there.
    pub async fn connect(settings: &config::Log, bootstrap: &str) -> Result<Self, LogError> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", bootstrap).set("client.id", "kamf");
        // Waiting for one more packet (Nagle) or one more record (linger) costs latency at both ends.
        client.set("socket.nagle.disable", "true").set("message.max.bytes", MESSAGE_MAX_BYTES);
        for (name, value) in &settings.properties {
            client.set(name, value.expose());
        }
        let topics = Topic::ALL.map(|topic| format!("{}.{}", settings.prefix, topic.as_str()));
        let mut log =
            Self { client, bootstrap: bootstrap.to_owned(), topics, partitions: settings.partitions };
        log.create_missing(settings).await?;
        log.partitions = log.check()?;
        Ok(log)
    }

    /// Settings of a client of this log: address and security.
    pub fn client_config(&self) -> ClientConfig {
        self.client.clone()
    }

    /// Where the log answers, `host:port` with commas.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub fn topic(&self, topic: Topic) -> &str {
        &self.topics[topic as usize]
    }

    /// Partitions of the requests and of the events: the same number.
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// What an acknowledgement of the cluster stands for, as its topics are now.
    pub async fn promise(&self) -> Result<Promise, LogError> {
        Ok(Promise::Brokers { copies: self.copies()?, needed: self.needed().await })
    }

    /// First offset of a partition, and the one after its last. Blocks.
    ///
    /// # Errors
    /// What the log said last. A partition without a leader, as just after its topic was created or its broker went
    /// away, is asked again until `within` has passed.
    pub fn extent<C: ConsumerContext>(
        &self,
        consumer: &impl Consumer<C>,
        topic: Topic,
        partition: i32,
        within: Duration,
    ) -> Result<(i64, i64), KafkaError> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(PAUSE);
            match consumer.fetch_watermarks(self.topic(topic), partition, left) {
                Err(error) if passes(&error) && Instant::now() + PAUSE < until => std::thread::sleep(PAUSE),
                answer => return answer,
            }
        }
    }

    /// The partition for an ordering key (FNV-1a: stable across releases, unlike the standard hasher).
    pub fn partition_of(&self, key: &[u8]) -> i32 {
        Self::partition_among(key, self.partitions)
    }

    /// The same in a topic with a number of partitions of its own.
    pub(super) fn partition_among(key: &[u8], partitions: i32) -> i32 {
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let partitions = u64::from(partitions.unsigned_abs().max(1));
        i32::try_from((hash ^ (hash >> 32)) % partitions).unwrap_or(0)
    }

    async fn create_missing(&self, settings: &config::Log) -> Result<(), LogError> {
        let present = self.metadata()?;
        let missing: Vec<Topic> =
            Topic::ALL.into_iter().filter(|topic| partitions_in(&present, self.topic(*topic)) == 0).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let replication = if settings.brokers.is_empty() { 1 } else { settings.replication };
        let admin: AdminClient<DefaultClientContext> = self.client.create()?;
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|topic| {
                let (cleanup, retention) = topic.retention();
                let name = self.topic(*topic);
                let partitions = topic.partitions(settings.partitions);
                let new = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
                // Of three copies two: one broker may be away, and one that fails then has no record alone.
                let new = if replication > 2 { new.set("min.insync.replicas", "2") } else { new };
                new.set("cleanup.policy", cleanup)
                    .set("retention.ms", retention)
                    .set("segment.ms", topic.segment())
                    .set("max.message.bytes", MESSAGE_MAX_BYTES)
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(CONNECT)).operation_timeout(Some(CONNECT));
        let results = admin
            .create_topics(&new, &options)
            .await
            .map_err(|source| LogError::Create { topic: self.topic(missing[0]).to_owned(), source })?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(LogError::Refused { topic, code }),
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<i32, LogError> {
        let metadata = self.metadata()?;
        let left = partitions_in(&metadata, self.topic(Topic::Requests));
        let right = partitions_in(&metadata, self.topic(Topic::Events));
        if left != right || left == 0 {
            return Err(LogError::Partitions {
                requests: self.topic(Topic::Requests).to_owned(),
                events: self.topic(Topic::Events).to_owned(),
                left,
                right,
            });
        }
        Ok(i32::try_from(left).unwrap_or(i32::MAX))
    }

    /// Copies of the partition, of those that the promise rests on, that has fewest.
    fn copies(&self) -> Result<usize, LogError> {
        let metadata = self.metadata()?;
        let ours = PROMISED.map(|topic| self.topic(topic));
        let topics = metadata.topics().iter().filter(|topic| ours.contains(&topic.name()));
        let partitions = topics.flat_map(|topic| topic.partitions());
        Ok(partitions.map(|partition| partition.replicas().len()).min().unwrap_or_default())
    }

    /// `min.insync.replicas` of the topic that has the lowest; none when the cluster does not say.
    async fn needed(&self) -> Option<usize> {
        let admin: AdminClient<DefaultClientContext> = self.client.create().ok()?;
        let topics = PROMISED.map(|topic| ResourceSpecifier::Topic(self.topic(topic)));
        let options = AdminOptions::new().request_timeout(Some(CONNECT));
        let described = admin.describe_configs(&topics, &options).await.ok()?;
        let needed = |described: ConfigResourceResult| {
            let described = described.ok()?;
            described.get("min.insync.replicas")?.value.as_ref()?.parse::<usize>().ok()
        };
        described.into_iter().map(needed).min()?
    }

    fn metadata(&self) -> Result<Metadata, LogError> {
        let admin: AdminClient<DefaultClientContext> = self.client.create()?;
        admin
            .inner()
            .fetch_metadata(None, CONNECT)
            .map_err(|source| LogError::Unreachable { bootstrap: self.bootstrap.clone(), source })
    }
}

/// Whether the log may soon answer otherwise.
fn passes(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::NetworkException
        )
    )
}

fn partitions_in(metadata: &Metadata, name: &str) -> usize {
    metadata.topics().iter().find(|topic| topic.name() == name).map_or(0, |topic| topic.partitions().len())
}
