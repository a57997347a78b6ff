//! Writing results: an idempotent producer whose acknowledgements are counted on the thread that writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::audit::{EPOCH_HEADER, HASH_HEADER, Hash, REQUESTS_HEADER};
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
        "partition {partition} of {topic} was written to by another replica: a record came to offset {found} \
         and not {expected}"
    )]
    Shared { topic: String, partition: i32, expected: i64, found: i64 },
}

/// Appends to `kamf.aggregates` and `kamf.audit`.
pub(super) struct Sink {
    producer: BaseProducer<Acknowledgements>,
    log: Log,
    /// By partition of the aggregates: after the last row acknowledged.
    row_ends: Arc<Mutex<BTreeMap<i32, i64>>>,
    failure: Arc<Mutex<Option<SinkError>>>,
    currency: String,
    /// None: another replica writes, and nothing is written here.
    epoch: Option<i64>,
}

impl Sink {
    /// A sink that expects its next audit records at `audit_ends`; the aggregates end at `row_ends`. It writes in the
    /// name of `epoch`, or nothing without one.
    pub(super) fn new(
        log: &Log,
        audit_ends: BTreeMap<i32, i64>,
        row_ends: BTreeMap<i32, i64>,
        currency: String,
        epoch: Option<i64>,
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
        Ok(Self { producer, log: log.clone(), row_ends, failure, currency, epoch })
    }

    /// Appends an audit record to its source's partition.
    pub(super) fn audit(
        &self,
        partition: i32,
        value: &[u8],
        hash: Hash,
        requests_from: i64,
    ) -> Result<(), SinkError> {
        let Some(epoch) = self.epoch else { return Ok(()) };
        let epoch = epoch.to_string();
        let (key, hash, from) = (partition.to_string(), hash.to_string(), requests_from.to_string());
        let headers = OwnedHeaders::new_with_capacity(3)
            .insert(Header { key: HASH_HEADER, value: Some(hash.as_str()) })
            .insert(Header { key: REQUESTS_HEADER, value: Some(from.as_str()) })
            .insert(Header { key: EPOCH_HEADER, value: Some(epoch.as_str()) });
        let record = BaseRecord::to(self.log.topic(Topic::Audit)).partition(partition);
        self.send(record.key(key.as_bytes()).payload(value).headers(headers))
    }

    /// Appends `rows`, waits until they are on the log, appends `position`, and waits again.
    pub(super) fn flush(&self, rows: &[Row], position: &mut Position) -> Result<(), SinkError> {
        if self.epoch.is_none() {
            return Ok(());
        }
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
    ends: Mutex<BTreeMap<i32, i64>>,
    row_ends: Arc<Mutex<BTreeMap<i32, i64>>>,
    failure: Arc<Mutex<Option<SinkError>>>,
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let failure = match result {
            Err((error, _)) => Some(SinkError::Refused(error.clone())),
            Ok(message) => {
                let ends = if message.topic() == self.audit { &self.ends } else { &*self.row_ends };
                misplaced(message, &mut ends.lock().unwrap_or_else(PoisonError::into_inner))
            }
        };
        if failure.is_some() {
            let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *first = first.take().or(failure);
        }
    }
}

/// Whether `message` lies elsewhere than behind what was there before: somebody else writes, too.
fn misplaced(message: &impl Message, ends: &mut BTreeMap<i32, i64>) -> Option<SinkError> {
    let (partition, found) = (message.partition(), message.offset());
    let expected = ends.insert(partition, found + 1).unwrap_or(found);
    let topic = || message.topic().to_owned();
    (expected != found).then(|| SinkError::Shared { topic: topic(), partition, expected, found })
}
