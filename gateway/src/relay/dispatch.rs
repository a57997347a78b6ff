//! The dispatcher: takes requests from the log and has each delivered, never waiting for one before it
//! takes the next (a call may lead to calls through this same gateway).
//!
//! It is a member of the consumer group `<prefix>.dispatch`. A partition that it is given is first asked for what
//! became of the requests that its last owner had not finished.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::abandoned::Abandoned;
use super::admitted::Admitted;
use super::appender::Appender;
use super::caller::Caller;
use super::delivery::{History, Input};
use super::drive::{Job, drive};
use super::metrics::Metrics;
use super::record::{Kind, View, is_direct_request};
use super::recover::{Recovered, recover};
use super::replies::{Replies, consumer};
use super::topic::Topic;
use super::tracker::Tracker;
use crate::message::{Mode, RelayId};

/// How often finished offsets are committed. What is taken again after a kill is recognised by its records.
const COMMIT: Duration = Duration::from_millis(500);

/// The group that shares the partitions out.
const GROUP: &str = "dispatch";

/// What the dispatcher needs.
pub struct Dispatcher<C> {
    pub appender: Arc<Appender>,
    pub replies: Arc<Replies>,
    pub caller: Arc<C>,
    pub abandoned: Arc<Abandoned>,
    pub metrics: Arc<Metrics>,
    /// Deliveries under way at most; the log holds the rest.
    pub in_flight: usize,
    /// Set once the group has given this member its partitions.
    pub joined: Arc<AtomicBool>,
}

/// A dispatcher that has joined its group.
pub struct Joined<C> {
    dispatcher: Dispatcher<C>,
    consumer: StreamConsumer<Partitions>,
    changes: mpsc::UnboundedReceiver<Change>,
}

impl<C: Caller> Dispatcher<C> {
    /// Joins the group; nothing is taken before [`Joined::run`].
    pub fn join(self) -> Result<Joined<C>, KafkaError> {
        let log = self.appender.log();
        // Bounded by the number of rebalances, which the group paces.
        let (sender, changes) = mpsc::unbounded_channel();
        let consumer: StreamConsumer<Partitions> = consumer(log, GROUP)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "2000")
            .create_with_context(Partitions { changes: sender })?;
        consumer.subscribe(&[log.topic(Topic::Requests)])?;
        Ok(Joined { dispatcher: self, consumer, changes })
    }
}

impl<C: Caller> Joined<C> {
    /// Takes requests until `stop`, then lets what is under way finish and commits it.
    pub async fn run(mut self, stop: Arc<Notify>) {
        let mut state = State {
            room: Arc::new(Semaphore::new(self.dispatcher.in_flight)),
            partitions: Arc::default(),
            running: Arc::default(),
            deliveries: JoinSet::new(),
        };
        let mut commit = tokio::time::interval(COMMIT);
        loop {
            tokio::select! {
                biased;
                () = stop.notified() => break,
                Some(change) = self.changes.recv() => self.dispatcher.rebalanced(&state, change).await,
                _ = commit.tick() => self.dispatcher.commit(&state, &self.consumer),
                // Before the next request: what is finished must not pile up while requests keep coming.
                Some(_) = state.deliveries.join_next() => {}
                message = self.consumer.recv() => match message {
                    Ok(message) => {
                        // A partition is recovered before its first request is taken.
                        while let Ok(change) = self.changes.try_recv() {
                            self.dispatcher.rebalanced(&state, change).await;
                        }
                        self.dispatcher.take(&mut state, &message).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "taking requests from the log failed; trying again");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        while state.deliveries.join_next().await.is_some() {}
        self.dispatcher.commit(&state, &self.consumer);
        if let Err(error) = self.consumer.commit_consumer_state(CommitMode::Sync) {
            tracing::debug!(%error, "nothing left to commit");
        }
    }
}

struct State {
    room: Arc<Semaphore>,
    partitions: Arc<Mutex<HashMap<i32, Partition>>>,
    running: Arc<Mutex<HashMap<RelayId, Arc<Notify>>>>,
    deliveries: JoinSet<()>,
}

#[derive(Default)]
struct Partition {
    tracker: Tracker,
    recovered: Recovered,
}

impl<C: Caller> Dispatcher<C> {
    async fn rebalanced(&self, state: &State, change: Change) {
        match change {
            Change::Revoked(partitions) => {
                let mut owned = lock(&state.partitions);
                for partition in partitions {
                    owned.remove(&partition);
                }
            }
            Change::Assigned(partitions) => {
                for partition in partitions {
                    let recovered = self.recover(partition).await;
                    let tracker = Tracker::after(recovered.inherited);
                    lock(&state.partitions).insert(partition, Partition { tracker, recovered });
                }
                self.joined.store(true, Ordering::Release);
            }
        }
    }

    /// Without knowing what was started, taking requests could do something twice: so this is tried until it works.
    async fn recover(&self, partition: i32) -> Recovered {
        loop {
            let log = self.appender.log().clone();
            let caller = Arc::clone(&self.caller);
            let reading = move || recover(&log, GROUP, partition, |view| caller.found(view));
            let found = tokio::task::spawn_blocking(reading).await;
            match found {
                Ok(Ok(recovered)) => return recovered,
                Ok(Err(error)) => {
                    tracing::warn!(partition, %error, "the history of a partition could not be read; trying again")
                }
                Err(error) => {
                    tracing::error!(partition, %error, "reading the history of a partition failed; trying again")
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn take(&self, state: &mut State, message: &BorrowedMessage<'_>) {
        if is_direct_request(message) && !self.may_have_history(state, message) {
            return self.pass(state, message);
        }
        let Ok(view) = View::decode(message) else {
            self.metrics.unreadable.inc();
            tracing::warn!(
                partition = message.partition(),
                offset = message.offset(),
                "a record in the requests cannot be read and is passed over"
            );
            self.pass(state, message);
            return;
        };
        match view.fields.kind {
            Kind::Request => {}
            Kind::Cancel => {
                if let Some(cancel) = lock(&state.running).get(&view.fields.id) {
                    cancel.notify_one();
                }
                return self.pass(state, message);
            }
            _ => return self.pass(state, message),
        }
        let history = self.history(state, &view);
        if view.fields.mode == Mode::Direct && history.is_none() {
            return self.pass(state, message);
        }
        let Some(admitted) = Admitted::from_record(&view) else {
            self.metrics.unreadable.inc();
            return self.pass(state, message);
        };
        let inherited = history.is_some();
        let mut history = history.unwrap_or_default();
        if history.ended {
            return self.pass(state, message);
        }
        // A direct call has no `started` record: its request is written after the fact.
        history.started |= admitted.mode == Mode::Direct;
        let Ok(room) = Arc::clone(&state.room).acquire_owned().await else { return };
        self.deliver(state, admitted, &view, (history, inherited), room);
    }

    fn deliver(
        &self,
        state: &mut State,
        admitted: Admitted,
        view: &View<'_>,
        (history, inherited): (History, bool),
        room: tokio::sync::OwnedSemaphorePermit,
    ) {
        let (partition, offset, id) = (view.partition, view.offset, admitted.id);
        let events = self.replies.position(partition);
        lock(&state.partitions).entry(partition).or_default().tracker.take(offset, events);
        let late = admitted.deadline <= SystemTime::now();
        let taken = Input::Taken { history, inherited, late, abandoned: self.abandoned.take(id) };
        let cancel = Arc::new(Notify::new());
        lock(&state.running).insert(id, Arc::clone(&cancel));
        let job =
            Job { admitted: Arc::new(admitted), body: Bytes::copy_from_slice(view.body), partition, cancel };
        let (appender, caller) = (Arc::clone(&self.appender), Arc::clone(&self.caller));
        let (partitions, running) = (Arc::clone(&state.partitions), Arc::clone(&state.running));
        let metrics = Arc::clone(&self.metrics);
        metrics.deliveries.inc();
        state.deliveries.spawn(async move {
            drive(&*appender, &*caller, job, taken).await;
            caller.settled(id).await;
            lock(&running).remove(&id);
            if let Some(owned) = lock(&partitions).get_mut(&partition) {
                owned.tracker.finish(offset);
            }
            metrics.deliveries.dec();
            drop(room);
        });
    }

    /// What the log says about a request that was under way when this partition changed hands.
    fn history(&self, state: &State, view: &View<'_>) -> Option<History> {
        let mut partitions = lock(&state.partitions);
        let recovered = &mut partitions.entry(view.partition).or_default().recovered;
        if view.offset >= recovered.inherited.until {
            recovered.histories = HashMap::new();
            return None;
        }
        let history = recovered.histories.remove(&view.fields.id).unwrap_or_default();
        if !history.ended {
            self.metrics.recovered.inc();
        }
        Some(history)
    }

    fn may_have_history(&self, state: &State, message: &BorrowedMessage<'_>) -> bool {
        let partitions = lock(&state.partitions);
        partitions
            .get(&message.partition())
            .is_some_and(|owned| message.offset() < owned.recovered.inherited.until)
    }

    fn pass(&self, state: &State, message: &BorrowedMessage<'_>) {
        lock(&state.partitions).entry(message.partition()).or_default().tracker.pass(message.offset());
    }

    fn commit(&self, state: &State, consumer: &StreamConsumer<Partitions>) {
        let topic = self.appender.log().topic(Topic::Requests);
        let mut offsets = TopicPartitionList::new();
        for (partition, owned) in lock(&state.partitions).iter_mut() {
            let Some(mark) = owned.tracker.mark(self.replies.position(*partition)) else { continue };
            let mut element = offsets.add_partition(topic, *partition);
            element.set_metadata(mark.events.to_string());
            if let Err(error) = element.set_offset(Offset::Offset(mark.requests)) {
                tracing::warn!(%error, partition, "an offset cannot be committed");
            }
        }
        if offsets.count() > 0
            && let Err(error) = consumer.commit(&offsets, CommitMode::Async)
        {
            tracing::warn!(%error, "committing offsets failed; they are committed with the next ones");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A change of the partitions that this member owns.
enum Change {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

struct Partitions {
    changes: mpsc::UnboundedSender<Change>,
}

impl ClientContext for Partitions {}

impl ConsumerContext for Partitions {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let change = match rebalance {
            Rebalance::Assign(list) => Change::Assigned(numbers(list)),
            Rebalance::Revoke(list) => Change::Revoked(numbers(list)),
            Rebalance::Error(error) => {
                tracing::warn!(%error, "sharing out the partitions failed");
                return;
            }
        };
        // The receiver lives as long as the consumer.
        drop(self.changes.send(change));
    }
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}
