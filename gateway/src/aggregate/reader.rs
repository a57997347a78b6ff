//! Reading partitions of the log without a consumer group, each from a place of the caller's choice.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::row::Micros;
use crate::relay::record::Kind;
use crate::relay::{Log, Topic};

/// How long one question to a broker may take.
const ASK: Duration = Duration::from_secs(10);

/// What librdkafka may fetch ahead for one partition.
const AHEAD_RECORDS: &str = "2000";
const AHEAD_KIB: &str = "512";

/// Partitions of several topics, read one by one.
pub(crate) struct Reader {
    consumer: Arc<BaseConsumer>,
    log: Log,
}

/// One partition.
pub(crate) struct Partition {
    queue: PartitionQueue<DefaultConsumerContext>,
    /// After the last record given.
    pub(crate) next: i64,
    /// Read to its end, as far as is known.
    pub(crate) at_end: bool,
}

/// What a partition gives.
pub(crate) enum Polled<'q> {
    Record(BorrowedMessage<'q>),
    /// Nothing now.
    Nothing,
}

/// First offset, and the one after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

impl Reader {
    /// A reader of what `log` has; `name` shows in the log's own lists of clients. A broker answers the requests of one
    /// connection in turn, so a fetch that waits at the end of a partition must not wait for long: questions stand
    /// behind it.
    pub(crate) fn new(log: &Log, name: &str) -> Result<Self, KafkaError> {
        Self::with(log, name, |config| {
            config.set("fetch.wait.max.ms", "10");
        })
    }

    /// A reader that follows the log, and lets it gather records for a tenth of a second: a fetch for each record would
    /// cost more than the record.
    pub(crate) fn gathering(log: &Log, name: &str) -> Result<Self, KafkaError> {
        Self::with(log, name, |config| {
            config.set("fetch.min.bytes", "1048576").set("fetch.wait.max.ms", "100");
        })
    }

    fn with(log: &Log, name: &str, more: impl FnOnce(&mut ClientConfig)) -> Result<Self, KafkaError> {
        let mut config = log.client_config();
        config
            // Demanded for reading by assignment; no group is ever joined and no offset committed.
            .set("group.id", format!("kamf-{name}"))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.min.messages", AHEAD_RECORDS)
            .set("queued.max.messages.kbytes", AHEAD_KIB)
            // The default rests for a whole second whenever as much is queued as may be.
            .set("fetch.queue.backoff.ms", "10");
        more(&mut config);
        Ok(Self { consumer: Arc::new(config.create()?), log: log.clone() })
    }

    /// First and last offset of a partition.
    pub(crate) fn extent(&self, topic: Topic, partition: i32) -> Result<Extent, KafkaError> {
        let (low, high) = self.log.extent(&*self.consumer, topic, partition, ASK)?;
        Ok(Extent { low, high })
    }

    /// The first offset of a partition that was written at or after `time`; its end when there is none.
    pub(crate) fn offset_at(&self, topic: Topic, partition: i32, time: Micros) -> Result<i64, KafkaError> {
        let mut list = TopicPartitionList::new();
        let name = self.log.topic(topic);
        list.add_partition_offset(name, partition, Offset::Offset((time / 1_000).max(0)))?;
        let found = self.consumer.offsets_for_times(list, ASK)?;
        match found.find_partition(name, partition).map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset),
            _ => Ok(self.extent(topic, partition)?.high),
        }
    }

    /// Begins to read all of `places` (topic, partition, first offset), and stops reading what was read before.
    pub(crate) fn assign(&self, places: &[(Topic, i32, i64)]) -> Result<Vec<Partition>, KafkaError> {
        let mut list = TopicPartitionList::new();
        for (topic, partition, offset) in places {
            list.add_partition_offset(self.log.topic(*topic), *partition, Offset::Offset(*offset))?;
        }
        // Told apart before they are assigned: what is fetched before a partition has a queue of its own goes to the
        // common one, out of order, and is lost to the partition.
        let split = |(topic, partition, next): &(Topic, i32, i64)| {
            let queue = self.consumer.split_partition_queue(self.log.topic(*topic), *partition);
            let queue = queue.ok_or(KafkaError::ClientCreation("a partition has no queue".to_owned()))?;
            Ok(Partition { queue, next: *next, at_end: false })
        };
        let partitions = places.iter().map(split).collect::<Result<Vec<_>, KafkaError>>()?;
        self.consumer.assign(&list)?;
        Ok(partitions)
    }

    /// Stops reading.
    pub(crate) fn rest(&self) -> Result<(), KafkaError> {
        self.consumer.unassign()
    }

    /// Serves the client itself. To be called now and then.
    ///
    /// # Errors
    /// Only what ends the client: that a broker is away it heals by itself.
    pub(crate) fn serve(&self, patience: Duration) -> Result<(), KafkaError> {
        match self.consumer.poll(patience) {
            Some(Err(error)) if is_fatal(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Partition {
    /// Calls `wake` whenever there is something new to poll.
    pub(crate) fn wake(&mut self, wake: &Arc<Wake>) {
        let wake = wake.clone();
        self.queue.set_nonempty_callback(move || wake.notify());
    }

    /// The next record, waiting at most `patience` for one.
    pub(crate) fn poll(&mut self, patience: Duration) -> Result<Polled<'_>, KafkaError> {
        match self.queue.poll(patience) {
            None => Ok(Polled::Nothing),
            Some(Ok(message)) => {
                self.next = message.offset() + 1;
                self.at_end = false;
                Ok(Polled::Record(message))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                self.at_end = true;
                Ok(Polled::Nothing)
            }
            Some(Err(error)) if is_fatal(&error) => Err(error),
            Some(Err(error)) => {
                tracing::warn!(%error, "reading from the log fails for now");
                Ok(Polled::Nothing)
            }
        }
    }
}

/// When a record was written.
pub(crate) fn written(message: &BorrowedMessage<'_>) -> Micros {
    message.timestamp().to_millis().unwrap_or_default().saturating_mul(1_000)
}

/// Whether a record only says that an upstream is about to be called, told by its first header: nothing is counted
/// from it, so the other headers need not be read.
pub(crate) fn is_started(message: &BorrowedMessage<'_>) -> bool {
    let Some(headers) = message.headers().filter(|headers| headers.count() > 0) else { return false };
    let first = headers.get(0);
    first.key == "kamf_kind" && first.value == Some(Kind::Started.as_str().as_bytes())
}

/// Whether the client cannot go on, as opposed to a broker that is away.
fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::Fatal
                    | RDKafkaErrorCode::OffsetOutOfRange
                    | RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::TopicAuthorizationFailed
            )
        )
}

/// Ends a wait from another thread.
#[derive(Default)]
pub(crate) struct Wake {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Wake {
    pub(crate) fn notify(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        if !*rung {
            *rung = true;
            self.bell.notify_one();
        }
    }

    /// Waits for a notification, since the last wait or from now on, at most `patience`.
    pub(crate) fn wait(&self, patience: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(rung, patience, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}
