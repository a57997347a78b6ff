//! From the log back to the clients that wait: one reader of all events hands each to whoever waits for its
//! exchange. The reader never waits for a client; a client that falls too far behind is cut off.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::log::Log;
use super::metrics::Metrics;
use super::record::{Kind, View};
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
    Event { sequence: u32, body: Bytes },
    /// The end; `body` is the answer, empty after a stream that said everything.
    End { reason: Reason, body: Bytes },
}

/// Who waits for what.
pub struct Replies {
    waiting: Mutex<HashMap<RelayId, mpsc::Sender<Reply>>>,
    count: AtomicUsize,
    positions: Vec<AtomicI64>,
    metrics: Arc<Metrics>,
}

impl Replies {
    /// Starts to read the events from where they end now; what is appended after this returns is seen.
    pub fn start(log: &Log, metrics: Arc<Metrics>) -> Result<(Arc<Self>, StreamConsumer), KafkaError> {
        let consumer: StreamConsumer = consumer(log, "replies").create()?;
        let topic = log.topic(Topic::Events);
        let mut from = TopicPartitionList::new();
        let mut positions = Vec::new();
        for partition in 0..log.partitions() {
            let (_, end) = log.extent(&consumer, Topic::Events, partition, ASK)?;
            from.add_partition_offset(topic, partition, Offset::Offset(end))?;
            positions.push(AtomicI64::new(end));
        }
        consumer.assign(&from)?;
        let replies = Self { waiting: Mutex::default(), count: AtomicUsize::new(0), positions, metrics };
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
        self.lock().insert(id, sender);
        self.count.fetch_add(1, Ordering::Release);
        Waiting { id, receiver, replies: Arc::clone(self) }
    }

    /// How far the events of `partition` have been read.
    pub fn position(&self, partition: i32) -> i64 {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        self.positions.get(index).map_or(0, |position| position.load(Ordering::Acquire))
    }

    fn hand_over<M: Message>(&self, message: &M) {
        if let Some(position) =
            usize::try_from(message.partition()).ok().and_then(|index| self.positions.get(index))
        {
            position.store(message.offset() + 1, Ordering::Release);
        }
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let Ok(view) = View::decode(message) else {
            self.metrics.unreadable.inc();
            return;
        };
        let id = view.fields.id;
        let Some(client) = self.lock().get(&id).cloned() else { return };
        let Some(reply) = reply(&view) else { return };
        if client.try_send(reply).is_err_and(|error| matches!(error, mpsc::error::TrySendError::Full(_))) {
            self.metrics.lagging.inc();
            tracing::warn!(%id, "a client reads its stream too slowly and is cut off; the log has the rest");
            self.forget(id);
        }
    }

    fn forget(&self, id: RelayId) {
        if self.lock().remove(&id).is_some() {
            self.count.fetch_sub(1, Ordering::Release);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RelayId, mpsc::Sender<Reply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reply(view: &View<'_>) -> Option<Reply> {
    let body = || Bytes::copy_from_slice(view.body);
    match view.fields.kind {
        Kind::Event => Some(Reply::Event { sequence: view.fields.sequence, body: body() }),
        Kind::Terminal => view.fields.end.map(|end| Reply::End { reason: end.reason, body: body() }),
        _ => None,
    }
}

/// A consumer that hands records over as they come and keeps little in memory.
pub(super) fn consumer(log: &Log, group: &str) -> rdkafka::ClientConfig {
    let mut config = log.client_config();
    config
        .set("group.id", format!("{}.{group}", log.topic(Topic::Requests).trim_end_matches(".requests")))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", "500")
        .set("fetch.error.backoff.ms", "50")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.min.messages", "2000")
        .set("queued.max.messages.kbytes", "8192");
    config
}

/// The place of one client in the line; leaves it when dropped.
pub struct Waiting {
    id: RelayId,
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
        self.replies.forget(self.id);
    }
}
