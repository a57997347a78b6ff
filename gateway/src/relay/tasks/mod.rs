//! `kamf.tasks`: who each task belongs to and where its log is, the same on every replica.
//!
//! What agents answer is looked at for tasks ([`seen`]); what is new goes into the [`table`] at once and to the
//! compacted topic a little later. Every replica reads that topic from its start. A task that is not known here, or
//! that belongs to somebody else, does not exist for a caller.

mod seen;
mod table;
mod value;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::admitted::Admitted;
use super::log::Log;
use super::metrics::Metrics;
use super::record::View;
use super::replies::{Replies, consumer};
use super::topic::Topic;
use crate::message::{Mode, Operation, Protocol, RelayId};
use table::Table;
use writer::Writer;

pub use value::{Task, TaskState};

/// How long a task that is not known, or not the caller's, is waited for: longer than another replica takes to write
/// it down and this one to read it. All that do not exist for a caller take as long.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long the log may take to say how far a partition goes.
const ASK: Duration = Duration::from_secs(5);

/// How long the first reading of all tasks may hold up requests that name one.
const LOAD: Duration = Duration::from_secs(5);

/// How long a stopping gateway waits for what is queued.
const FLUSH: Duration = Duration::from_secs(5);

/// How often tasks are looked at for those that may be forgotten, and how many go at one time: each is a record.
const SWEEP: Duration = Duration::from_secs(600);
const SWEPT: usize = 10_000;

/// The tasks of all agents.
pub struct Tasks {
    replies: Arc<Replies>,
    table: Mutex<Table>,
    writer: Writer,
    /// Writes that an exchange waits for, before it counts as finished.
    unsettled: Mutex<HashMap<RelayId, Vec<writer::Written>>>,
    changed: Notify,
    loading: AtomicUsize,
    loaded: AtomicBool,
    keep: Duration,
    metrics: Arc<Metrics>,
}

/// Why nobody can say whether a task exists.
#[derive(Debug, thiserror::Error)]
#[error("the tasks have not been read from the log yet")]
pub struct NotLoaded;

/// The consumer of the topic, and where each of its partitions ended at the start.
pub struct TasksReader {
    consumer: StreamConsumer,
    ends: HashMap<i32, i64>,
}

impl Tasks {
    /// Prepares to read all tasks; [`Tasks::run`] does it. At most `most` are remembered, none longer than `keep`
    /// after it was last heard of.
    ///
    /// # Errors
    /// The log does not say where the topic ends.
    pub fn start(
        log: &Log,
        replies: &Arc<Replies>,
        most: usize,
        keep: Duration,
        metrics: &Arc<Metrics>,
    ) -> Result<(Arc<Self>, TasksReader), KafkaError> {
        let consumer: StreamConsumer = consumer(log, "tasks").create()?;
        let topic = log.topic(Topic::Tasks);
        let metadata = consumer.fetch_metadata(Some(topic), ASK)?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        let (mut from, mut ends) = (TopicPartitionList::new(), HashMap::new());
        for partition in 0..partitions {
            let (low, high) = log.extent(&consumer, Topic::Tasks, partition, ASK)?;
            from.add_partition_offset(topic, partition, Offset::Offset(low))?;
            if high > low {
                ends.insert(partition, high);
            }
        }
        consumer.assign(&from)?;
        let tasks = Self {
            replies: Arc::clone(replies),
            table: Mutex::new(Table::new(most)),
            writer: Writer::new(log, partitions, metrics)?,
            unsettled: Mutex::default(),
            changed: Notify::new(),
            loading: AtomicUsize::new(ends.len()),
            loaded: AtomicBool::new(ends.is_empty()),
            keep,
            metrics: Arc::clone(metrics),
        };
        Ok((Arc::new(tasks), TasksReader { consumer, ends }))
    }

    /// Reads on until the task is dropped, and forgets what is old.
    pub async fn run(self: Arc<Self>, reader: TasksReader) {
        let TasksReader { consumer, mut ends } = reader;
        let mut sweep = tokio::time::interval_at(Instant::now() + SWEEP, SWEEP);
        loop {
            tokio::select! {
                message = consumer.recv() => match message {
                    Ok(message) => {
                        self.read(&message);
                        self.count_down(&mut ends, message.partition(), message.offset() + 1);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "reading the tasks failed; trying again");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                _ = sweep.tick() => self.sweep(SystemTime::now()),
            }
        }
    }

    /// Whether all that was on the log at the start has been read.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Takes in what `body`, an agent's answer to `admitted`, says of a task: at once here, soon on the log. A task
    /// stays with the caller that it was first seen with.
    pub fn note(&self, admitted: &Admitted, body: &[u8]) {
        if admitted.dialect.protocol() != Protocol::A2a {
            return;
        }
        let Some(seen) = seen::seen(admitted.operation, body) else { return };
        let sends = matches!(admitted.operation, Operation::Send | Operation::Stream);
        let task = {
            let mut table = self.lock();
            let known = table.get(&value::key(&admitted.agent, &seen.task));
            if known.is_none() && !sends {
                // Only what a message brings about is the caller's; anything else names what is known.
                return;
            }
            if known.is_some_and(|task| !task.is_of(&admitted.tenant, &admitted.principal)) {
                return;
            }
            let context = seen.context.map(Box::from);
            let task = Task {
                agent: admitted.agent.clone(),
                task: seen.task.into(),
                context: context.or_else(|| known?.context.clone()),
                principal: admitted.principal.clone(),
                tenant: admitted.tenant.clone(),
                state: seen.state.or_else(|| Some(known?.state)).unwrap_or(TaskState::Unknown),
                partition: known.map_or(admitted.partition, |known| known.partition),
                from: known.map_or_else(|| self.replies.position(admitted.partition), |known| known.from),
                relay_id: known.filter(|_| !sends).map_or(admitted.id, |known| known.relay_id),
                time: SystemTime::now(),
            };
            if known.is_some_and(|known| *known == Task { time: known.time, ..task.clone() }) {
                return;
            }
            self.metrics.tasks_forgotten.inc_by(table.put(task.clone()) as u64);
            self.metrics.tasks.set(i64::try_from(table.len()).unwrap_or(i64::MAX));
            task
        };
        self.changed.notify_waiters();
        let written = self.writer.put(&task.key(), Some(&task.value()));
        if admitted.mode != Mode::Direct {
            lock(&self.unsettled).entry(admitted.id).or_default().push(written);
        }
    }

    /// The same for a record that was on the log when its partition changed hands: its last owner may have stopped
    /// before it wrote the task down.
    pub fn note_again(&self, view: &View<'_>) {
        if let Some(admitted) = Admitted::from_record(view) {
            self.note(&admitted, view.body);
        }
    }

    /// Waits until the log has what exchange `id` said of tasks.
    pub async fn settled(&self, id: RelayId) {
        let written = lock(&self.unsettled).remove(&id).unwrap_or_default();
        for written in written {
            written.acknowledged(&self.writer).await;
        }
    }

    /// The task, when it is this caller's. One that is not known is waited for a moment, for another replica may just
    /// have written it down; one of somebody else as long.
    ///
    /// # Errors
    /// Before all tasks have been read once.
    pub async fn find(
        &self,
        agent: &str,
        task: &str,
        (tenant, principal): (&str, &str),
    ) -> Result<Option<Task>, NotLoaded> {
        let key = value::key(agent, task);
        let look = || self.lock().get(&key).filter(|task| task.is_of(tenant, principal)).cloned();
        self.wait_loaded().await?;
        let until = Instant::now() + PATIENCE;
        loop {
            let changed = self.changed.notified();
            if let Some(task) = look() {
                return Ok(Some(task));
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return Ok(look());
            }
        }
    }

    /// The partition of what belongs to `context`: none when it is not known, and an error when it is somebody else's.
    pub fn context(
        &self,
        agent: &str,
        context: &str,
        (tenant, principal): (&str, &str),
    ) -> Result<Option<i32>, SomebodyElses> {
        let table = self.lock();
        let Some(context) = table.context(agent, context) else { return Ok(None) };
        if *context.tenant != *tenant || *context.principal != *principal {
            return Err(SomebodyElses);
        }
        Ok(Some(context.partition))
    }

    /// Some tasks, the latest first.
    pub fn list(&self, most: usize, wanted: impl Fn(&Task) -> bool) -> Vec<Task> {
        let mut tasks: Vec<Task> = self.lock().tasks().filter(|task| wanted(task)).cloned().collect();
        tasks.sort_by(|left, right| right.time.cmp(&left.time).then_with(|| left.task.cmp(&right.task)));
        tasks.truncate(most);
        tasks
    }

    /// The task, whoever it belongs to; for people who look after the gateway.
    pub fn look_up(&self, agent: &str, task: &str) -> Option<Task> {
        self.lock().get(&value::key(agent, task)).cloned()
    }

    async fn wait_loaded(&self) -> Result<(), NotLoaded> {
        let until = Instant::now() + LOAD;
        loop {
            let changed = self.changed.notified();
            if self.is_loaded() {
                return Ok(());
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return Err(NotLoaded);
            }
        }
    }

    fn read<M: Message>(&self, message: &M) {
        let by_us = message.headers().is_some_and(|headers| {
            headers.iter().any(|header| {
                header.key == writer::WRITER && header.value == Some(self.writer.name().as_bytes())
            })
        });
        if by_us {
            return;
        }
        let mut table = self.lock();
        match (message.payload(), message.key().map(std::str::from_utf8)) {
            (None | Some([]), Some(Ok(key))) => drop(table.remove(key)),
            (Some(value), _) => match Task::read(value) {
                Some(task) => self.metrics.tasks_forgotten.inc_by(table.put(task) as u64),
                None => self.metrics.unreadable.inc(),
            },
            _ => self.metrics.unreadable.inc(),
        }
        self.metrics.tasks.set(i64::try_from(table.len()).unwrap_or(i64::MAX));
        drop(table);
        self.changed.notify_waiters();
    }

    fn count_down(&self, ends: &mut HashMap<i32, i64>, partition: i32, next: i64) {
        if ends.get(&partition).is_some_and(|end| next >= *end) {
            ends.remove(&partition);
            if self.loading.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.loaded.store(true, Ordering::Release);
                self.changed.notify_waiters();
            }
        }
    }

    fn sweep(&self, now: SystemTime) {
        let stale = self.lock().stale(now, self.keep, SWEPT);
        for key in &stale {
            self.lock().remove(key);
            drop(self.writer.put(key, None));
        }
        if !stale.is_empty() {
            tracing::info!(tasks = stale.len(), "tasks of which nothing was heard for long are forgotten");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Sends what is queued, for a bounded time. Blocks.
    ///
    /// # Errors
    /// The log did not take all of it; what is missing was not finished either, and is found again by its events.
    pub fn close(&self) -> Result<(), KafkaError> {
        self.writer.close(FLUSH)
    }
}

/// Whether an agent's answer in `view` names `task`.
pub fn names_task(view: &View<'_>, task: &str) -> bool {
    let fields = &view.fields;
    let Some(operation) = Operation::from_method(fields.dialect, fields.method) else { return false };
    let mut bodies = view.body.split(|byte| fields.lines && *byte == b'\n');
    bodies.any(|body| seen::seen(operation, body).is_some_and(|seen| seen.task == task))
}

/// A context that belongs to another caller.
#[derive(Debug, PartialEq, Eq)]
pub struct SomebodyElses;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
