//! Writing results: an idempotent producer whose acknowledgements are counted on the thread that writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::audit::{HASH_HEADER, Hash, REQUESTS_HEADER};
use super::position::{self, Position};
use super::row::Row;
use crate::relay::{Log, Topic};

/// How long the log may keep a flush waiting before everything is begun anew from what it holds.
const FLUSH: Duration = Duration::from_secs(30);

/// Results that wait for their acknowledgement.
const QUEUE_RECORDS: &str = "20000";
const QUEUE_KIB: &str = "16384";

/// Why results cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum SinkError {
    #[error("the log did not take a result: {0}")]
    Refused(#[from] KafkaError),
    #[error(
        "partition {partition} of the audit topic was written to by someone else: a record came to offset {found} \
         and not {expected}; only one gateway may run the stream module on these topics"
    )]
    Shared { partition: i32, expected: i64, found: i64 },
}

/// Appends to `kamf.aggregates` and `kamf.audit`.
pub(super) struct Sink {
    producer: BaseProducer<Acknowledgements>,
    log: Log,
    /// By partition of the aggregates: after the last row acknowledged.
    row_ends: Arc<Mutex<BTreeMap<i32, i64>>>,
    failure: Arc<Mutex<Option<SinkError>>>,
    currency: String,
}

impl Sink {
    /// A sink that expects its next audit records at `audit_ends`; the aggregates end at `row_ends`.
    pub(super) fn new(
        log: &Log,
        audit_ends: HashMap<i32, i64>,
        row_ends: BTreeMap<i32, i64>,
        currency: String,
    ) -> Result<Self, KafkaError> {
        let mut config = log.client_config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Nobody waits for these: larger batches spare both sides work.
            .set("linger.ms", "20")
            .set("message.timeout.ms", "60000")
            .set("queue.buffering.max.messages", QUEUE_RECORDS)
            .set("queue.buffering.max.kbytes", QUEUE_KIB);
        let failure = Arc::new(Mutex::new(None));
        let row_ends = Arc::new(Mutex::new(row_ends));
        let context = Acknowledgements {
            audit: log.topic(Topic::Audit).to_owned(),
            ends: Mutex::new(audit_ends),
            row_ends: row_ends.clone(),
            failure: failure.clone(),
        };
        let producer = config.create_with_context(context)?;
        Ok(Self { producer, log: log.clone(), row_ends, failure, currency })
    }

    /// Appends an audit record to its source's partition.
    pub(super) fn audit(
        &self,
        partition: i32,
        value: &[u8],
        hash: Hash,
        requests_from: i64,
    ) -> Result<(), SinkError> {
        let (key, hash, from) = (partition.to_string(), hash.to_string(), requests_from.to_string());
        let headers = OwnedHeaders::new_with_capacity(2)
            .insert(Header { key: HASH_HEADER, value: Some(hash.as_str()) })
            .insert(Header { key: REQUESTS_HEADER, value: Some(from.as_str()) });
        let record = BaseRecord::to(self.log.topic(Topic::Audit)).partition(partition);
        self.send(record.key(key.as_bytes()).payload(value).headers(headers))
    }

    /// Appends `rows`, waits until they are on the log, appends `position`, and waits again.
    pub(super) fn flush(&self, rows: &[Row], position: &mut Position) -> Result<(), SinkError> {
        let topic = self.log.topic(Topic::Aggregates);
        for row in rows {
            let (key, value) = (row.key(), row.value(&self.currency));
            let partition = self.log.partition_of(key.as_bytes());
            let record = BaseRecord::to(topic).partition(partition);
            self.send(record.key(key.as_bytes()).payload(value.as_slice()))?;
        }
        self.wait()?;
        position.rows = self.row_ends.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let value = serde_json::to_vec(position).unwrap_or_default();
        self.send(BaseRecord::to(topic).partition(0).key(position::KEY).payload(value.as_slice()))?;
        self.wait()
    }

    /// Takes in what the log has acknowledged or refused.
    pub(super) fn serve(&self) -> Result<(), SinkError> {
        self.producer.poll(Duration::ZERO);
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }

    /// Waits until everything is on the log.
    pub(super) fn wait(&self) -> Result<(), SinkError> {
        self.producer.flush(FLUSH)?;
        self.serve()
    }

    /// Queues a record, waiting while the queue is full.
    fn send(&self, mut next: BaseRecord<'_, [u8], [u8]>) -> Result<(), SinkError> {
        let since = Instant::now();
        loop {
            match self.producer.send(next) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if since.elapsed() < FLUSH =>
                {
                    self.producer.poll(Duration::from_millis(10));
                    next = back;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}

/// Counts acknowledgements; the first failure is kept for [`Sink::serve`].
struct Acknowledgements {
    audit: String,
    /// By partition: where the next audit record must land, when nobody else writes.
    ends: Mutex<HashMap<i32, i64>>,
    row_ends: Arc<Mutex<BTreeMap<i32, i64>>>,
    failure: Arc<Mutex<Option<SinkError>>>,
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let failure = match result {
            Err((error, _)) => Some(SinkError::Refused(error.clone())),
            Ok(message) if message.topic() == self.audit => self.misplaced(message),
            Ok(message) => {
                let mut ends = self.row_ends.lock().unwrap_or_else(PoisonError::into_inner);
                ends.insert(message.partition(), message.offset() + 1);
                None
            }
        };
        if failure.is_some() {
            let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *first = first.take().or(failure);
        }
    }
}

impl Acknowledgements {
    fn misplaced(&self, message: &impl Message) -> Option<SinkError> {
        let (partition, found) = (message.partition(), message.offset());
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = ends.insert(partition, found + 1).unwrap_or(found);
        (expected != found).then_some(SinkError::Shared { partition, expected, found })
    }
}
