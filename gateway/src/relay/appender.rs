//! Appending to the log: bounded, idempotent, and honest about what is not known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::append_error::{self, AppendError};
use super::log::Log;
use super::metrics::Metrics;
use super::ownership::{Owned, Ownership};
use super::record::{Draft, Fields};
use super::replies::{Replies, Word};
use super::topic::Topic;
use crate::message::RelayId;

/// How long librdkafka itself goes on trying. The client has been answered long before; what is still
/// queued then is given up, so that a late success cannot surprise anybody.
const DELIVERY: Duration = Duration::from_secs(60);

/// How long records that nobody waits for are gathered.
const GATHER: Duration = Duration::from_millis(100);

/// A producer is not replaced before this age, so that a log that refuses every producer is not flooded with new ones.
const LIFE: Duration = Duration::from_secs(1);

/// How long a stopping gateway waits for what is queued.
const FLUSH: Duration = Duration::from_secs(10);

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

type LogProducer = ThreadedProducer<Acknowledgements>;

/// A producer that can be replaced under way.
type Slot = ArcSwap<LogProducer>;

/// Those who need not read back what this replica wrote.
#[derive(Clone)]
pub struct Listeners {
    pub replies: Arc<Replies>,
    pub ownership: Arc<Ownership>,
}

/// Appends records, at most so many at once.
pub struct Appender {
    log: Log,
    /// Sends at once: somebody waits for the acknowledgement.
    prompt: Slot,
    /// Sends a little later and more at a time: nobody waits, and a request to the log costs as much for one record as
    /// for a hundred.
    gathering: Slot,
    permits: Arc<Semaphore>,
    acknowledge: Duration,
    metrics: Arc<Metrics>,
}

impl Appender {
    /// An appender whose queue holds at most `records` and `bytes`, and whose callers wait at most `acknowledge`. What is
    /// acknowledged is told to `listeners`, so that they need not read it back.
    pub fn new(
        log: Log,
        records: usize,
        bytes: usize,
        acknowledge: Duration,
        listeners: &Listeners,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        Self::giving_up_after(DELIVERY, log, records, bytes, acknowledge, listeners, metrics)
    }

    fn giving_up_after(
        delivery: Duration,
        log: Log,
        records: usize,
        bytes: usize,
        acknowledge: Duration,
        listeners: &Listeners,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        let mut config = log.client_config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", delivery.as_millis().to_string())
            .set("queue.buffering.max.messages", (records * 2).to_string())
            .set("queue.buffering.max.kbytes", (bytes / 1024).max(1024).to_string());
        let prompt = create(config.clone().set("linger.ms", "0"), listeners, &metrics)?;
        let gathering = create(config.set("linger.ms", GATHER.as_millis().to_string()), listeners, &metrics)?;
        Ok(Self {
            log,
            prompt: ArcSwap::from_pointee(prompt),
            gathering: ArcSwap::from_pointee(gathering),
            permits: Arc::new(Semaphore::new(records)),
            acknowledge,
            metrics,
        })
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Appends and waits for the acknowledgement, as long as a client may be kept waiting.
    ///
    /// # Errors
    /// See [`AppendError`]; only `Refused` and `Full` mean that the record is certainly not on the log.
    pub async fn append_soon(
        &self,
        topic: Topic,
        partition: i32,
        fields: &Fields<'_>,
        body: &[u8],
    ) -> Result<Position, AppendError> {
        let appended = self.put(topic, partition, fields, body, None);
        tokio::time::timeout(self.acknowledge, appended).await.unwrap_or_else(|_| {
            self.metrics.append_failed(&AppendError::Unconfirmed);
            Err(AppendError::Unconfirmed)
        })
    }

    /// Appends an event of an owner and waits until its fate is known. `word` is told when it counts.
    ///
    /// # Errors
    /// As [`Appender::append_soon`].
    pub(super) async fn append_event(
        &self,
        partition: i32,
        fields: &Fields<'_>,
        body: &[u8],
        word: Word,
    ) -> Result<Position, AppendError> {
        self.put(Topic::Events, partition, fields, body, fields.epoch.map(|epoch| (epoch, word))).await
    }

    /// Begins an epoch of this replica in `partition`: it is the offset of what this gives back.
    ///
    /// # Errors
    /// As [`Appender::append_soon`].
    pub(super) async fn append_epoch(&self, partition: i32) -> Result<Position, AppendError> {
        let id = RelayId::generate();
        let (sender, receiver) = oneshot::channel();
        let mut ticket = Ticket::new(Topic::Events, Some(sender), None, self.permit().await?);
        ticket.epoch = true;
        let headers = Draft::epoch(id, SystemTime::now()).headers;
        self.send(partition, &id.to_string(), headers, &[], ticket)?;
        let fate = tokio::time::timeout(self.acknowledge, receiver).await;
        fate.ok().and_then(Result::ok).unwrap_or(Err(AppendError::Unconfirmed))
    }

    async fn put(
        &self,
        topic: Topic,
        partition: i32,
        fields: &Fields<'_>,
        body: &[u8],
        word: Option<(i64, Word)>,
    ) -> Result<Position, AppendError> {
        let timer = self.metrics.append_seconds.start_timer();
        let (sender, receiver) = oneshot::channel();
        let ticket = Ticket::new(topic, Some(sender), word, self.permit().await?);
        let fate = match self.write(partition, fields, body, ticket) {
            Ok(()) => receiver.await.unwrap_or(Err(AppendError::Unconfirmed)),
            Err(error) => Err(error),
        };
        match &fate {
            Ok(_) => timer.observe_duration(),
            Err(error) => {
                timer.stop_and_discard();
                self.metrics.append_failed(error);
            }
        }
        fate
    }

    /// Whether the queue takes another exchange now. When it does not, new work is better refused than kept waiting.
    pub(super) fn has_room(&self) -> bool {
        self.permits.available_permits() > 2
    }

    /// Waits until the queue takes another exchange; at most as long as a client may be kept waiting.
    ///
    /// # Errors
    /// `Full` when it stays full.
    pub async fn room(&self) -> Result<(), AppendError> {
        if self.has_room() {
            return Ok(());
        }
        match tokio::time::timeout(self.acknowledge, self.permits.acquire_many(2)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(AppendError::Full),
        }
    }

    /// Hands a record over without waiting for its acknowledgement; waits while the queue is full.
    ///
    /// # Errors
    /// `Full` when the queue stays full, `Refused` when the record cannot be queued at all.
    pub async fn record(
        &self,
        topic: Topic,
        partition: i32,
        fields: &Fields<'_>,
        body: &[u8],
    ) -> Result<(), AppendError> {
        let handed = match tokio::time::timeout(self.acknowledge, self.permit()).await {
            Ok(Ok(permit)) => self.write(partition, fields, body, Ticket::new(topic, None, None, permit)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(AppendError::Full),
        };
        if let Err(error) = &handed {
            self.metrics.append_failed(error);
        }
        handed
    }

    /// Sends what is queued, for a bounded time; from then on a log that goes away is no news. Blocks.
    pub fn close(&self) -> Result<(), KafkaError> {
        let producers = [self.prompt.load(), self.gathering.load()];
        let flushed = producers.each_ref().map(|producer| producer.flush(FLUSH));
        for producer in &producers {
            producer.context().closing.store(true, Ordering::Relaxed);
        }
        flushed.into_iter().collect()
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, AppendError> {
        // The semaphore is never closed.
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| AppendError::Full)
    }

    fn write(
        &self,
        partition: i32,
        fields: &Fields<'_>,
        body: &[u8],
        ticket: Ticket,
    ) -> Result<(), AppendError> {
        let id = fields.id.to_string();
        self.send(partition, fields.key.unwrap_or(&id), Draft::new(fields).headers, body, ticket)
    }

    fn send(
        &self,
        partition: i32,
        key: &str,
        headers: OwnedHeaders,
        body: &[u8],
        ticket: Ticket,
    ) -> Result<(), AppendError> {
        let hurry = ticket.waiter.is_some();
        let record = BaseRecord::with_opaque_to(self.log.topic(ticket.topic), Box::new(ticket))
            .partition(partition)
            .key(key)
            .payload(body)
            .headers(headers);
        // Only who waits for the acknowledgement is in a hurry.
        let slot = if hurry { &self.prompt } else { &self.gathering };
        let producer = slot.load();
        let Err((error, record)) = producer.send(record) else { return Ok(()) };
        // What librdkafka did not take is certainly not on the log, whatever the code says of records that it took.
        let again = self.successor(slot, &producer, &error);
        let again = again.map(|producer| producer.send(record).map_err(|(error, _)| error));
        let error = match again {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => error,
            None => error,
        };
        Err(match AppendError::of(&error, Duration::ZERO) {
            AppendError::Unconfirmed => AppendError::Refused(error),
            known => known,
        })
    }

    /// The producer that takes the place of one that `error` shows to be of no further use: such an error (a sequence
    /// out of order, a producer id that the log forgot) ends a producer, not the gateway.
    fn successor(
        &self,
        slot: &Slot,
        broken: &Arc<LogProducer>,
        error: &KafkaError,
    ) -> Option<Arc<LogProducer>> {
        let useless = append_error::row(error).producer == append_error::Producer::Replaced
            || broken.client().fatal_error().is_some();
        if !useless {
            return None;
        }
        let current = slot.load_full();
        if !Arc::ptr_eq(broken, &current) {
            return Some(current);
        }
        let context = broken.client().context();
        if context.created.elapsed() < LIFE {
            return None;
        }
        let producer = match create(&context.config, &context.listeners, &self.metrics) {
            Ok(producer) => Arc::new(producer),
            Err(error) => {
                tracing::error!(%error, "the producer of the log failed for good and could not be replaced");
                return None;
            }
        };
        let before = slot.compare_and_swap(&current, Arc::clone(&producer));
        if !Arc::ptr_eq(&before, &current) {
            return Some(slot.load_full());
        }
        tracing::error!(%error, "the producer of the log failed for good and was replaced");
        self.metrics.producers_rebuilt.inc();
        retire(current);
        Some(producer)
    }
}

/// Ends a producer that nobody uses any more. That waits for its thread, so it is done beside the async workers.
fn retire(producer: Arc<LogProducer>) {
    std::thread::spawn(move || {
        // The last of those that hold it must not be an async worker.
        while Arc::strong_count(&producer) > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(producer);
    });
}

fn create(
    config: &ClientConfig,
    listeners: &Listeners,
    metrics: &Arc<Metrics>,
) -> Result<LogProducer, KafkaError> {
    config.create_with_context(Acknowledgements {
        config: config.clone(),
        listeners: listeners.clone(),
        created: Instant::now(),
        closing: AtomicBool::new(false),
        metrics: Arc::clone(metrics),
    })
}

/// Goes with a record through librdkafka and comes back with its fate.
struct Ticket {
    topic: Topic,
    /// The epoch under which an event was written, and what is to be told when it counts.
    word: Option<(i64, Word)>,
    /// It begins an epoch.
    epoch: bool,
    waiter: Option<oneshot::Sender<Result<Position, AppendError>>>,
    since: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Ticket {
    fn new(
        topic: Topic,
        waiter: Option<oneshot::Sender<Result<Position, AppendError>>>,
        word: Option<(i64, Word)>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { topic, word, epoch: false, waiter, since: Instant::now(), _permit: permit }
    }
}

struct Acknowledgements {
    config: ClientConfig,
    listeners: Listeners,
    created: Instant,
    closing: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Acknowledgements {
    /// What this replica wrote needs no reading back.
    fn tell(&self, position: Position, ticket: &mut Ticket) {
        match ticket.topic {
            Topic::Events => {
                let word =
                    if ticket.epoch { Some((position.offset, Word::Epoch)) } else { ticket.word.take() };
                self.listeners.replies.acknowledged(position, word);
            }
            // Of what nobody waits for, a direct exchange, the dispatcher wants nothing.
            Topic::Requests if ticket.waiter.is_none() => {
                let pass = |owned: &mut Owned| owned.tracker.pass_ahead(position.offset);
                self.listeners.ownership.with(position.partition, pass);
            }
            _ => {}
        }
    }
}

impl ClientContext for Acknowledgements {
    fn error(&self, error: KafkaError, reason: &str) {
        if !self.closing.load(Ordering::Relaxed) {
            tracing::warn!(%error, reason, "the client of the log reports an error");
        }
    }
}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, mut ticket: Box<Ticket>) {
        let fate = match result {
            Ok(message) if message.offset() < 0 => Err(AppendError::Unplaced),
            Ok(message) => Ok(Position { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(AppendError::of(error, ticket.since.elapsed())),
        };
        if let Ok(position) = &fate {
            self.tell(*position, &mut ticket);
        }
        match (ticket.waiter, fate) {
            // The waiter may have given up; the record is on the log all the same.
            (Some(waiter), fate) => drop(waiter.send(fate)),
            (None, Ok(_)) => {}
            (None, Err(error)) => {
                self.metrics.append_failed(&error);
                tracing::error!(%error, "a record of a direct exchange is missing from the log");
            }
        }
    }
}

#[cfg(test)]
mod tests;
