//! Writing tasks down: gathered for a moment, because nobody who waits for an answer waits for this.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use crate::relay::log::Log;
use crate::relay::metrics::Metrics;
use crate::relay::topic::Topic;

/// The header that names who wrote a record, so that nobody takes in what it wrote itself.
pub(super) const WRITER: &str = "kamf_writer";

/// How long records are gathered. Well below the patience with a task that is not known yet.
const GATHER: &str = "100";

/// How long the log may take; then the exchange is told and the record written again.
const DELIVERY: &str = "10000";

/// Records that may wait for the log; a task is some 400 bytes.
const QUEUE_RECORDS: &str = "100000";

/// Pause before a record that was not acknowledged is written again.
const AGAIN: Duration = Duration::from_millis(200);

/// Appends to the tasks.
pub(super) struct Writer {
    producer: ThreadedProducer<Acknowledgements>,
    topic: String,
    partitions: i32,
    name: String,
}

/// A record on its way.
pub(super) struct Written {
    key: String,
    value: Vec<u8>,
    fate: oneshot::Receiver<bool>,
}

impl Writer {
    pub(super) fn new(log: &Log, partitions: i32, metrics: &Arc<Metrics>) -> Result<Self, KafkaError> {
        let mut config = log.client_config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", GATHER)
            .set("message.timeout.ms", DELIVERY)
            .set("queue.buffering.max.messages", QUEUE_RECORDS)
            .set("queue.buffering.max.kbytes", "65536");
        let context = Acknowledgements { metrics: Arc::clone(metrics) };
        Ok(Self {
            producer: config.create_with_context(context)?,
            topic: log.topic(Topic::Tasks).to_owned(),
            partitions,
            name: uuid::Uuid::new_v4().to_string(),
        })
    }

    /// This process, as its records name it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Hands a record over; no value: the key is forgotten.
    pub(super) fn put(&self, key: &str, value: Option<&[u8]>) -> Written {
        let (sender, fate) = oneshot::channel();
        let headers = OwnedHeaders::new_with_capacity(2)
            .insert(Header { key: WRITER, value: Some(&self.name) })
            .insert(Header { key: "content-type", value: Some("application/json") });
        let partition = Log::partition_among(key.as_bytes(), self.partitions);
        let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(sender))
            .partition(partition)
            .key(key)
            .headers(headers);
        if let Some(value) = value {
            record = record.payload(value);
        }
        if let Err((error, record)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                tracing::warn!(%error, "a task could not be handed to the log");
            }
            // Who asked hears of it when they wait.
            let _ = record.delivery_opaque.send(false);
        }
        Written { key: key.to_owned(), value: value.unwrap_or_default().to_vec(), fate }
    }

    /// Sends what is queued, for a bounded time. Blocks.
    pub(super) fn close(&self, within: Duration) -> Result<(), KafkaError> {
        self.producer.flush(within)
    }
}

impl Written {
    /// Waits until the record is on the log, and writes it again until it is.
    pub(super) async fn acknowledged(self, writer: &Writer) {
        let Self { key, value, mut fate } = self;
        while !matches!(fate.await, Ok(true)) {
            tokio::time::sleep(AGAIN).await;
            fate = writer.put(&key, Some(&value)).fate;
        }
    }
}

struct Acknowledgements {
    metrics: Arc<Metrics>,
}

impl ClientContext for Acknowledgements {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the producer of the tasks reports an error");
    }
}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = Box<oneshot::Sender<bool>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sender: Box<oneshot::Sender<bool>>) {
        if let Err((error, _)) = result {
            self.metrics.tasks_unwritten.inc();
            tracing::warn!(%error, "a task is not on the log yet");
        }
        // Nobody waits for what was written after the fact.
        let _ = sender.send(result.is_ok());
    }
}
