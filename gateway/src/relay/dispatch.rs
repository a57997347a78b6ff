//! The dispatcher: takes requests from the log and has each delivered, never waiting for one before it
//! takes the next (a call may lead to calls through this same gateway).
//!
//! It is a member of the consumer group `<prefix>.dispatch`. A partition that it is given is first asked for what
//! became of the requests that its last owner had not finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Message as _};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Notify, mpsc};

use super::abandoned::Abandoned;
use super::admitted::Admitted;
use super::caller::Caller;
use super::deadletters::Place;
use super::deliveries::Deliveries;
use super::delivery::{History, Input};
use super::drive::Job;
use super::idempotency::Idempotency;
use super::ownership::{Owned, Ownership};
use super::record::{Kind, View, is_direct_request};
use super::recover::{Recovered, recover};
use super::replies::consumer;
use super::topic::Topic;
use crate::message::Mode;

/// How often finished offsets are committed. What is taken again after a kill is recognised by its records.
const COMMIT: Duration = Duration::from_millis(500);

/// Between two attempts to take a partition over.
const AGAIN: Duration = Duration::from_millis(500);

/// The group that shares the partitions out.
const GROUP: &str = "dispatch";

/// What the dispatcher needs.
pub struct Dispatcher<C> {
    pub deliveries: Arc<Deliveries>,
    pub caller: Arc<C>,
    pub abandoned: Arc<Abandoned>,
    pub idempotency: Arc<Idempotency>,
    /// Set once the group has given this member its partitions.
    pub joined: Arc<AtomicBool>,
}

/// A dispatcher that has joined its group.
pub struct Joined<C> {
    dispatcher: Dispatcher<C>,
    consumer: StreamConsumer<Partitions>,
    assigned: mpsc::UnboundedReceiver<Vec<i32>>,
}

impl<C: Caller> Dispatcher<C> {
    /// Joins the group; nothing is taken before [`Joined::run`].
    pub fn join(self) -> Result<Joined<C>, KafkaError> {
        let log = self.deliveries.appender.log();
        // Bounded by the number of rebalances, which the group paces.
        let (sender, assigned) = mpsc::unbounded_channel();
        let partitions = Partitions { assigned: sender, deliveries: Arc::clone(&self.deliveries) };
        let consumer: StreamConsumer<Partitions> = consumer(log, GROUP)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "2000")
            .create_with_context(partitions)?;
        consumer.subscribe(&[log.topic(Topic::Requests)])?;
        Ok(Joined { dispatcher: self, consumer, assigned })
    }
}

impl<C: Caller> Joined<C> {
    /// Takes requests until `stop`, then lets what is under way finish and commits it.
    pub async fn run(mut self, stop: Arc<Notify>) {
        let dispatcher = &self.dispatcher;
        let mut commit = tokio::time::interval(COMMIT);
        loop {
            tokio::select! {
                biased;
                () = stop.notified() => break,
                Some(partitions) = self.assigned.recv() => dispatcher.take_over(partitions).await,
                _ = commit.tick() => {
                    self.consumer.context().commit(&self.consumer, CommitMode::Async);
                    dispatcher.take_back(&self.consumer, &mut self.assigned).await;
                }
                message = self.consumer.recv() => match message {
                    Ok(message) => {
                        // A partition is recovered before its first request is taken.
                        while let Ok(partitions) = self.assigned.try_recv() {
                            dispatcher.take_over(partitions).await;
                        }
                        dispatcher.take(&message).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "taking requests from the log failed; trying again");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        dispatcher.deliveries.idle(Duration::MAX).await;
        self.consumer.context().commit(&self.consumer, CommitMode::Sync);
    }
}

impl<C: Caller> Dispatcher<C> {
    /// Takes partitions over: begins an epoch in each and reads what its last owner left.
    async fn take_over(&self, partitions: Vec<i32>) {
        for partition in partitions {
            // It may have been taken away again while others were read; an epoch here would then fence its owner.
            if self.deliveries.ownership.missing().contains(&partition) {
                let owned = self.begin(partition).await;
                self.deliveries.ownership.assign(partition, owned);
            }
        }
        self.joined.store(true, Ordering::Release);
    }

    /// Takes partitions over again that an epoch record took away while the group says that they are this replica's:
    /// whoever wrote it has lost them again, or was nobody of ours. What was passed over meanwhile is read again.
    async fn take_back(
        &self,
        consumer: &StreamConsumer<Partitions>,
        assigned: &mut mpsc::UnboundedReceiver<Vec<i32>>,
    ) {
        while let Ok(partitions) = assigned.try_recv() {
            self.take_over(partitions).await;
        }
        for partition in self.deliveries.ownership.missing() {
            let owned = self.begin(partition).await;
            let topic = self.deliveries.appender.log().topic(Topic::Requests);
            match consumer.seek(topic, partition, Offset::Offset(owned.recovered.next), None) {
                Ok(()) => self.deliveries.ownership.assign(partition, owned),
                Err(error) => {
                    tracing::warn!(partition, %error, "a partition cannot be read again; trying again")
                }
            }
        }
    }

    /// Without knowing what was started, taking requests could do something twice: so this is tried until it works.
    async fn begin(&self, partition: i32) -> Owned {
        loop {
            match self.appended_epoch(partition).await {
                Ok((epoch, recovered)) => return Owned::new(epoch, recovered),
                Err(error) => {
                    tracing::warn!(partition, %error, "a partition could not be taken over; trying again");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn appended_epoch(&self, partition: i32) -> anyhow::Result<(i64, Recovered)> {
        let position = self.deliveries.appender.append_epoch(partition).await?;
        let log = self.deliveries.appender.log().clone();
        let caller = Arc::clone(&self.caller);
        let reading = move || recover(&log, GROUP, partition, |view| caller.found(view));
        let recovered = tokio::task::spawn_blocking(reading).await??;
        Ok((position.offset, recovered))
    }

    async fn take(&self, message: &BorrowedMessage<'_>) {
        let partition = message.partition();
        let reach = |owned: &mut Owned| {
            let known = !owned.tracker.reach(message.offset());
            (known, owned.epoch, message.offset() < owned.recovered.inherited.until)
        };
        // What this member no longer owns is the next owner's.
        let Some((known, epoch, may_have_history)) = self.deliveries.ownership.with(partition, reach) else {
            return;
        };
        if known || (is_direct_request(message) && !may_have_history) {
            return;
        }
        let Ok(view) = View::decode(message) else {
            self.deliveries.metrics.unreadable.inc();
            tracing::warn!(
                partition,
                offset = message.offset(),
                "a record in the requests cannot be read and is put among the dead letters"
            );
            return self.bury(message, epoch);
        };
        match view.fields.kind {
            Kind::Request => self.request(message, &view, epoch).await,
            Kind::Cancel => self.deliveries.cancel(view.fields.id),
            _ => {}
        }
    }

    async fn request(&self, message: &BorrowedMessage<'_>, view: &View<'_>, epoch: i64) {
        let known = self.history(view);
        if view.fields.mode == Mode::Direct && known.is_none() {
            return;
        }
        let Some(admitted) = Admitted::from_record(view) else {
            self.deliveries.metrics.unreadable.inc();
            return self.bury(message, epoch);
        };
        let inherited = known.is_some();
        let mut history = known.unwrap_or_default();
        if history.ended {
            return;
        }
        // A direct call has no `started` record: its request is written after the fact. What another owner accepted, it
        // called at once, unless it took that back; what this one accepted and has not claimed, nobody called.
        let accepted = view.fields.epoch;
        let other = accepted.is_some_and(|accepted| accepted != epoch);
        history.started |= admitted.mode == Mode::Direct || (other && history.attempts == 0);
        let take = |owned: &mut Owned| owned.tracker.take(view.offset, self.position(view.partition));
        if self.deliveries.ownership.since(view.partition, epoch, take).is_none() {
            return;
        }
        let first = self.idempotency.first_or_duplicate(&admitted, self.position(view.partition));
        let Some(room) = self.deliveries.room().await else { return };
        let taken = Input::Taken {
            history,
            inherited: inherited || other,
            late: admitted.deadline <= SystemTime::now(),
            abandoned: self.abandoned.take(admitted.id),
            implied: accepted == Some(epoch),
        };
        let body = Bytes::copy_from_slice(view.body);
        let job =
            Job { admitted: Arc::new(admitted), body, offset: view.offset, epoch, cancel: Arc::default() };
        let claim = self.deliveries.claim(job, taken, room);
        let (caller, idempotency) = (Arc::clone(&self.caller), Arc::clone(&self.idempotency));
        tokio::spawn(async move {
            match first {
                Some(first) => idempotency.deliver(claim, first, &*caller).await,
                None => claim.deliver(&*caller).await,
            }
        });
    }

    /// A record that nobody can read holds up nothing: it is finished when its letter is written.
    fn bury(&self, message: &BorrowedMessage<'_>, epoch: i64) {
        let place = Place { partition: message.partition(), offset: message.offset() };
        let take = |owned: &mut Owned| owned.tracker.take(place.offset, self.position(place.partition));
        if self.deliveries.ownership.since(place.partition, epoch, take).is_none() {
            return;
        }
        let deliveries = Arc::clone(&self.deliveries);
        let headers = message.headers().map(BorrowedHeaders::detach);
        let body = Bytes::copy_from_slice(message.payload().unwrap_or_default());
        tokio::spawn(async move {
            deliveries.letters.bury_unreadable(place, headers, &body).await;
            let finish = |owned: &mut Owned| owned.tracker.finish(place.offset);
            deliveries.ownership.since(place.partition, epoch, finish);
        });
    }

    fn position(&self, partition: i32) -> i64 {
        self.deliveries.replies.position(partition)
    }

    /// What the log says about a request that was under way when this partition changed hands.
    fn history(&self, view: &View<'_>) -> Option<History> {
        let history = self.deliveries.ownership.with(view.partition, |owned| {
            let recovered = &mut owned.recovered;
            if view.offset >= recovered.inherited.until {
                recovered.histories.clear();
                return None;
            }
            Some(recovered.histories.remove(&view.fields.id).unwrap_or_default())
        });
        let history = history.flatten()?;
        if !history.ended {
            self.deliveries.metrics.recovered.inc();
        }
        Some(history)
    }
}

/// What the group says of the partitions.
struct Partitions {
    assigned: mpsc::UnboundedSender<Vec<i32>>,
    deliveries: Arc<Deliveries>,
}

impl Partitions {
    fn commit(&self, consumer: &impl Consumer<Self>, mode: CommitMode) {
        let topic = self.deliveries.appender.log().topic(Topic::Requests);
        let mut offsets = TopicPartitionList::new();
        let marks = self.deliveries.ownership.marks(|partition| self.deliveries.replies.position(partition));
        for (partition, mark) in marks {
            let mut element = offsets.add_partition(topic, partition);
            element.set_metadata(mark.events.to_string());
            if let Err(error) = element.set_offset(Offset::Offset(mark.requests)) {
                tracing::warn!(%error, partition, "an offset cannot be committed");
            }
        }
        if offsets.count() > 0
            && let Err(error) = consumer.commit(&offsets, mode)
        {
            tracing::warn!(%error, "committing offsets failed; they are committed with the next ones");
        }
    }

    fn give_up(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) {
        let ownership: &Ownership = &self.deliveries.ownership;
        if !consumer.assignment_lost() {
            in_place(|| ownership.hand_over(partitions));
            self.commit(consumer, CommitMode::Sync);
        }
        for partition in partitions {
            ownership.take_back(*partition);
        }
    }
}

impl ClientContext for Partitions {}

impl ConsumerContext for Partitions {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = numbers(list);
                partitions.iter().for_each(|partition| self.deliveries.ownership.give(*partition));
                // The receiver lives as long as the consumer.
                drop(self.assigned.send(partitions));
            }
            Rebalance::Revoke(list) => self.give_up(consumer, &numbers(list)),
            Rebalance::Error(error) => tracing::warn!(%error, "sharing out the partitions failed"),
        }
    }
}

/// Runs what blocks without holding up the other tasks of this thread.
fn in_place(block: impl FnOnce()) {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(block),
        _ => block(),
    }
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}
