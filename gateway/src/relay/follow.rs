//! Going on where a client stood: what the log has after that position, then what comes, each event once.
//!
//! A place in the line for live events is taken first; what was acknowledged before is below the end that the log then
//! tells, and is read up to there. Live events below that end have been read already. A client that falls behind is
//! not lost: the log is read again from where it stands.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::appender::Position;
use super::fence::Fence;
use super::log::Log;
use super::record::View;
use super::replies::{Replies, Reply, Waiting, consumer, reply};
use super::topic::Topic;
use crate::message::RelayId;

/// Readings at once: each has a consumer of its own and keeps a core busy; others wait for their turn.
const READINGS: usize = 8;

/// How long the log may take to say how far a partition goes.
const ASK: Duration = Duration::from_secs(5);

/// How long one reading may take; the client can go on from where it then stands.
const READING: Duration = Duration::from_secs(60);

/// How long a client may take no event while the log is read for it.
const STALLED: Duration = Duration::from_secs(30);

/// Events that may wait for the client.
const AHEAD: usize = 64;

/// Reads events from where their readers stand.
pub struct Follower {
    log: Log,
    replies: Arc<Replies>,
    asking: BaseConsumer,
    turns: Arc<Semaphore>,
}

/// Why nothing can be told from a position on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No longer on the log, or not yet, as after the log was begun anew.
    #[error("the log does not have this position any more")]
    Gone,
    #[error("the log cannot be read: {0}")]
    Log(#[from] KafkaError),
    /// Much lies behind the position.
    #[error("reading the log took too long")]
    Slow,
}

/// The events of one exchange, from a position on.
pub struct Following(mpsc::Receiver<Reply>);

impl Following {
    /// The next event, or the end; none when the log could not be read on.
    pub async fn next(&mut self) -> Option<Reply> {
        self.0.recv().await
    }
}

impl Follower {
    /// A follower of `log`, whose live events come from `replies`.
    ///
    /// # Errors
    /// The client of the log cannot be set up.
    pub fn new(log: &Log, replies: &Arc<Replies>) -> Result<Arc<Self>, KafkaError> {
        Ok(Arc::new(Self {
            log: log.clone(),
            replies: Arc::clone(replies),
            asking: consumer(log, "follow").create()?,
            turns: Arc::new(Semaphore::new(READINGS)),
        }))
    }

    /// Follows exchange `id` from the event after `from`.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn follow(self: &Arc<Self>, id: RelayId, from: Position) -> Result<Following, FollowError> {
        let live = self.replies.wait_for(id);
        let Range { start: low, end: high } = self.extent(from.partition).await?;
        if from.offset + 1 < low || from.offset >= high {
            return Err(FollowError::Gone);
        }
        let (sender, receiver) = mpsc::channel(AHEAD);
        let pump = Pump { follower: Arc::clone(self), id, at: from, sender };
        tokio::spawn(pump.run(live, high));
        Ok(Following(receiver))
    }

    /// The offsets that `partition` of the events has now.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn extent(self: &Arc<Self>, partition: i32) -> Result<Range<i64>, FollowError> {
        if !(0..self.log.partitions()).contains(&partition) {
            return Err(FollowError::Gone);
        }
        let follower = Arc::clone(self);
        let ask = move || follower.log.extent(&follower.asking, Topic::Events, partition, ASK);
        let (low, high) = tokio::task::spawn_blocking(ask).await.map_err(|_| FollowError::Slow)??;
        Ok(low..high)
    }

    /// The offsets of `partition` of what was written at or after `time`.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn since(
        self: &Arc<Self>,
        partition: i32,
        time: SystemTime,
    ) -> Result<Range<i64>, FollowError> {
        let Range { start, end } = self.extent(partition).await?;
        let follower = Arc::clone(self);
        let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let ask = move || {
            let topic = follower.log.topic(Topic::Events);
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Offset(i64::try_from(millis).unwrap_or(0)))?;
            let found = follower.asking.offsets_for_times(list, ASK)?;
            Ok::<_, KafkaError>(found.find_partition(topic, partition).map(|element| element.offset()))
        };
        match tokio::task::spawn_blocking(ask).await.map_err(|_| FollowError::Slow)?? {
            Some(Offset::Offset(offset)) => Ok(offset.clamp(start, end)..end),
            _ => Ok(end..end),
        }
    }

    /// Shows `visit` every event of `partition` in `range` that counts, for as long as it wants more, at most for
    /// `within`. Waits for its turn first.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        partition: i32,
        range: Range<i64>,
        within: Duration,
        mut state: T,
        visit: impl Fn(&mut T, &View<'_>) -> bool + Send + 'static,
    ) -> Result<T, FollowError> {
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return Err(FollowError::Slow) };
        let log = self.log.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let read = read(&log, partition, range, within, |view| visit(&mut state, view));
            drop(turn);
            read.map(|()| state)
        });
        reading.await.map_err(|_| FollowError::Slow)?
    }
}

/// Carries the events of one exchange to one client.
struct Pump {
    follower: Arc<Follower>,
    id: RelayId,
    /// What the client has.
    at: Position,
    sender: mpsc::Sender<Reply>,
}

impl Pump {
    async fn run(mut self, mut live: Waiting, mut high: i64) {
        loop {
            match self.catch_up(high).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(id = %self.id, %error, "a stream could not be gone on with from the log");
                    return;
                }
            }
            self.at.offset = self.at.offset.max(high - 1);
            if !self.go_live(&mut live).await {
                return;
            }
            // Cut off for reading too slowly: the log has the rest.
            live = self.follower.replies.wait_for(self.id);
            match self.follower.extent(self.at.partition).await {
                Ok(range) => high = range.end,
                Err(_) => return,
            }
        }
    }

    /// Sends what lies before `high`; says whether more is to come.
    async fn catch_up(&self, high: i64) -> Result<bool, FollowError> {
        let Position { partition, offset: at } = self.at;
        if at + 1 >= high {
            return Ok(true);
        }
        let (id, sender, handle) = (self.id, self.sender.clone(), Handle::current());
        // From the event that the client has, because the epoch that it was written under is that of the position.
        let visit = move |more: &mut bool, view: &View<'_>| {
            if view.fields.id == id
                && view.offset > at
                && let Some(reply) = reply(view)
            {
                let end = matches!(reply, Reply::End { .. });
                *more = handle.block_on(sender.send_timeout(reply, STALLED)).is_ok() && !end;
            }
            *more
        };
        self.follower.read(partition, at.max(0)..high, READING, true, visit).await
    }

    /// Sends what comes; says whether the log is to be read again.
    async fn go_live(&mut self, live: &mut Waiting) -> bool {
        loop {
            let next = tokio::select! {
                next = live.next() => next,
                () = self.sender.closed() => return false,
            };
            let Some(reply) = next else { return true };
            let offset = reply.position().offset;
            if offset <= self.at.offset {
                continue;
            }
            self.at.offset = offset;
            let end = matches!(reply, Reply::End { .. });
            if self.sender.send(reply).await.is_err() || end {
                return false;
            }
        }
    }
}

fn read(
    log: &Log,
    partition: i32,
    range: Range<i64>,
    within: Duration,
    mut visit: impl FnMut(&View<'_>) -> bool,
) -> Result<(), FollowError> {
    let consumer: BaseConsumer = consumer(log, "follow").set("auto.offset.reset", "error").create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(log.topic(Topic::Events), partition, Offset::Offset(range.start))?;
    consumer.assign(&list)?;
    let until = Instant::now() + within;
    let (mut next, mut fence) = (range.start, Fence::default());
    while next < range.end {
        if Instant::now() > until {
            return Err(FollowError::Slow);
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        next = message.offset() + 1;
        if next > range.end {
            break;
        }
        if let Some(Ok(view)) = fence.read(&message)
            && !visit(&view)
        {
            break;
        }
    }
    Ok(())
}
