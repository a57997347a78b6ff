//! From the log back to the clients that wait. What this replica wrote itself is told on its acknowledgement (see
//! [`Line`]); what others wrote, one reader of all events hands to whoever waits for its exchange. Nobody waits for a
//! client: one that falls too far behind is cut off.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};

use super::appender::Position;
use super::line::Line;
use super::log::Log;
use super::metrics::Metrics;
use super::ownership::Ownership;
use super::record::{Kind, View, is_epoch};
use super::topic::Topic;
use crate::message::RelayId;
use crate::outcome::Reason;

/// Messages that may wait for one client before it is cut off.
const BEHIND: usize = 1_024;

/// How long the log may take to say where its events end.
const ASK: Duration = Duration::from_secs(5);

/// What the log says about an exchange, in order.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A message of a stream.
    Event { position: Position, sequence: u32, body: Bytes },
    /// The end; `body` is the answer, empty after a stream that said everything.
    End {
        position: Position,
        reason: Reason,
        body: Bytes,
        /// It is the answer of an earlier request with the same idempotency key.
        replayed: bool,
    },
}

/// What an own event has to tell once it is on the log and counts.
#[derive(Debug)]
pub(super) enum Word {
    /// To the client that waits for this exchange; its position is known with the acknowledgement.
    Reply(RelayId, Said),
    /// To the delivery that may call now.
    Go(oneshot::Sender<()>),
    /// Nothing: from here on this replica's new epoch counts.
    Epoch,
}

/// A reply without its position.
#[derive(Debug)]
pub(super) enum Said {
    Event { sequence: u32, body: Bytes },
    End { reason: Reason, body: Bytes, replayed: bool },
}

impl Reply {
    /// Where the log has it.
    pub fn position(&self) -> Position {
        match self {
            Self::Event { position, .. } | Self::End { position, .. } => *position,
        }
    }
}

impl Said {
    fn at(self, position: Position) -> Reply {
        match self {
            Self::Event { sequence, body } => Reply::Event { position, sequence, body },
            Self::End { reason, body, replayed } => Reply::End { position, reason, body, replayed },
        }
    }
}

/// One of those who wait for an exchange: its own client, and whoever goes on with its stream.
struct Seat {
    number: u64,
    sender: mpsc::Sender<Reply>,
}

/// Who waits for what.
pub struct Replies {
    waiting: Mutex<HashMap<RelayId, Vec<Seat>>>,
    count: AtomicUsize,
    seats: AtomicU64,
    lines: Vec<Mutex<Line<(Position, Word)>>>,
    ownership: Arc<Ownership>,
    metrics: Arc<Metrics>,
}

impl Replies {
    /// Starts to read the events from where they end now; what is appended after this returns is seen.
    pub fn start(
        log: &Log,
        ownership: Arc<Ownership>,
        metrics: Arc<Metrics>,
    ) -> Result<(Arc<Self>, StreamConsumer), KafkaError> {
        let consumer: StreamConsumer = consumer(log, "replies").create()?;
        let topic = log.topic(Topic::Events);
        let mut from = TopicPartitionList::new();
        let mut lines = Vec::new();
        for partition in 0..log.partitions() {
            let (_, end) = log.extent(&consumer, Topic::Events, partition, ASK)?;
            from.add_partition_offset(topic, partition, Offset::Offset(end))?;
            lines.push(Mutex::new(Line::new(end, ownership.short_cuts())));
        }
        consumer.assign(&from)?;
        let (waiting, count, seats) = (Mutex::default(), AtomicUsize::new(0), AtomicU64::new(0));
        let replies = Self { waiting, count, seats, lines, ownership, metrics };
        Ok((Arc::new(replies), consumer))
    }

    /// Reads on until the task is dropped.
    pub async fn run(self: Arc<Self>, consumer: StreamConsumer) {
        loop {
            match consumer.recv().await {
                Ok(message) => self.hand_over(&message),
                Err(error) => {
                    tracing::warn!(%error, "reading the events failed; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// From now on the events of `id` are kept for the caller.
    pub fn wait_for(self: &Arc<Self>, id: RelayId) -> Waiting {
        let (sender, receiver) = mpsc::channel(BEHIND);
        let number = self.seats.fetch_add(1, Ordering::Relaxed);
        self.lock().entry(id).or_insert_with(|| Vec::with_capacity(1)).push(Seat { number, sender });
        self.count.fetch_add(1, Ordering::Release);
        Waiting { id, number, receiver, replies: Arc::clone(self) }
    }

    /// Up to where the events of `partition` are known.
    pub fn position(&self, partition: i32) -> i64 {
        self.line(partition).map_or(0, |line| line.known())
    }

    /// This replica's own event is acknowledged; `word` is told as soon as nothing before it is unknown.
    pub(super) fn acknowledged(&self, position: Position, word: Option<(i64, Word)>) {
        let Some(mut line) = self.line(position.partition) else { return };
        let word = word.map(|(epoch, word)| (epoch, (position, word)));
        // The reader has told clients what it read; only deliveries hear nothing from it.
        if let Some((_, Word::Go(go))) =
            line.acknowledged(position.offset, word, |(position, word)| self.tell(position, word))
        {
            let _ = go.send(());
        }
    }

    fn hand_over<M: Message>(&self, message: &M) {
        let (partition, offset) = (message.partition(), message.offset());
        let Some(mut line) = self.line(partition) else { return };
        let passed = |(_, word)| {
            if let Word::Go(go) = word {
                let _ = go.send(());
            }
        };
        if !line.reach(offset, passed) {
            return;
        }
        if is_epoch(message) {
            line.admits(Some(offset));
            self.ownership.fenced(partition, offset);
        } else {
            self.read(message, &mut line);
        }
        line.read(offset, |(position, word)| self.tell(position, word));
    }

    fn read<M: Message>(&self, message: &M, line: &mut Line<(Position, Word)>) {
        let Ok(view) = View::decode(message) else { return self.metrics.unreadable.inc() };
        // Here the line is the fence: it also knows the epochs that this replica began itself.
        if !line.admits(view.fields.epoch) || self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(reply) = reply(&view) {
            self.send(view.fields.id, &reply);
        }
    }

    fn tell(&self, position: Position, word: Word) {
        match word {
            Word::Epoch => {}
            Word::Reply(id, said) => self.send(id, &said.at(position)),
            // A delivery that was given up does not listen.
            Word::Go(go) => {
                let _ = go.send(());
            }
        }
    }

    fn send(&self, id: RelayId, reply: &Reply) {
        let mut waiting = self.lock();
        let Some(seats) = waiting.get_mut(&id) else { return };
        let before = seats.len();
        seats.retain(|seat| {
            let full = |error| matches!(error, mpsc::error::TrySendError::Full(_));
            let behind = seat.sender.try_send(reply.clone()).is_err_and(full);
            if behind {
                self.metrics.lagging.inc();
                tracing::warn!(%id, "a client reads its stream too slowly and is cut off; the log has the rest");
            }
            !behind
        });
        self.count.fetch_sub(before - seats.len(), Ordering::Release);
        if seats.is_empty() {
            waiting.remove(&id);
        }
    }

    fn forget(&self, id: RelayId, number: u64) {
        let mut waiting = self.lock();
        let Some(seats) = waiting.get_mut(&id) else { return };
        let before = seats.len();
        seats.retain(|seat| seat.number != number);
        self.count.fetch_sub(before - seats.len(), Ordering::Release);
        if seats.is_empty() {
            waiting.remove(&id);
        }
    }

    fn line(&self, partition: i32) -> Option<MutexGuard<'_, Line<(Position, Word)>>> {
        let line = self.lines.get(usize::try_from(partition).ok()?)?;
        Some(line.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RelayId, Vec<Seat>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a record of the events tells a client.
pub(super) fn reply(view: &View<'_>) -> Option<Reply> {
    let body = || Bytes::copy_from_slice(view.body);
    let position = Position { partition: view.partition, offset: view.offset };
    match view.fields.kind {
        Kind::Event => Some(Reply::Event { position, sequence: view.fields.sequence, body: body() }),
        Kind::Terminal => {
            let replayed = view.fields.replay_of.is_some();
            view.fields.end.map(|end| Reply::End { position, reason: end.reason, body: body(), replayed })
        }
        _ => None,
    }
}

/// A consumer that hands records over as they come and keeps little in memory. A fetch costs as much for one record as for
/// a hundred: while records keep coming, the next one waits a moment, so that it brings more than one.
pub(super) fn consumer(log: &Log, group: &str) -> rdkafka::ClientConfig {
    let mut config = log.client_config();
    config
        .set("group.id", format!("{}.{group}", log.topic(Topic::Requests).trim_end_matches(".requests")))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", "500")
        .set("fetch.error.backoff.ms", "50")
        .set("queued.min.messages", "1")
        .set("fetch.queue.backoff.ms", "3")
        .set("queued.max.messages.kbytes", "8192");
    config
}

/// The place of one client in the line; leaves it when dropped.
pub struct Waiting {
    id: RelayId,
    number: u64,
    receiver: mpsc::Receiver<Reply>,
    replies: Arc<Replies>,
}

impl Waiting {
    pub fn id(&self) -> RelayId {
        self.id
    }

    /// The next word of the log; none when the client was cut off for reading too slowly.
    pub async fn next(&mut self) -> Option<Reply> {
        self.receiver.recv().await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.replies.forget(self.id, self.number);
    }
}
