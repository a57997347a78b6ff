//! Work for the committing thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::batch::BatchHeader;
use super::committer::Committer;
use super::offsets::Change;
use super::partition::Partition;
use super::wal::ENTRY_BYTES;
use crate::sync::lock;

/// Bytes taken into one round, so that neither memory nor the time of a sync grows without bound.
const ROUND_BYTES: usize = 4 << 20;

/// A produced batch on its way, checked already.
#[derive(Debug)]
pub(crate) struct AppendBatch {
    pub(crate) partition: Arc<Partition>,
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Bytes,
}

/// The batches of one produce request.
pub(crate) struct Append {
    pub(crate) batches: Vec<AppendBatch>,
    /// Takes one outcome for each batch when all is synced; nobody wants to know them without it.
    pub(crate) reply: Option<Box<dyn Settle>>,
    /// Share of the bytes that may wait here.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// Makes an answer of what became of a produce request.
pub(crate) trait Settle: Send {
    /// Hands the answer in, to leave when the line returned is next told to send.
    fn settle(self: Box<Self>, outcomes: Vec<Outcome>) -> Arc<dyn Line>;
}

/// The way back to a client.
pub(crate) trait Line: Send + Sync {
    /// Sends the answers that are ready and first in line. Never waits.
    fn send(&self);
}

/// First offset of the batch in the log, or why it is not there.
pub(crate) type Outcome = Result<i64, AppendError>;

/// Why a batch was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("the topic was deleted")]
    Deleted,
    #[error("a batch before this one is missing")]
    OutOfOrder,
    #[error("the batch was written long ago")]
    OldDuplicate,
    #[error("the producer is not known here and this is not its first batch")]
    UnknownProducer,
    #[error("a newer incarnation of the producer has written")]
    Fenced,
    #[error("the disk refused the write")]
    Storage,
}

/// Records for the journal of committed offsets.
pub(crate) struct OffsetsAppend {
    pub(crate) framed: Bytes,
    /// What they say.
    pub(crate) changes: Vec<Change>,
    /// Told whether the records are synced and in force.
    pub(crate) reply: Option<oneshot::Sender<bool>>,
}

/// Something that only the committing thread may do, between rounds.
pub(crate) type Task = Box<dyn FnOnce(&mut Committer) + Send>;

/// One piece of work.
pub(crate) enum Job {
    Append(Append),
    Offsets(OffsetsAppend),
    Task(Task),
}

impl Job {
    /// Bytes that it adds to a round, at most.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Job::Append(append) => append.batches.iter().map(|batch| batch.bytes.len() + ENTRY_BYTES).sum(),
            Job::Offsets(offsets) => offsets.framed.len() + ENTRY_BYTES,
            Job::Task(_) => 0,
        }
    }
}

/// The queue in front of the committing thread.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The committing thread waits; it need not be woken otherwise.
    asleep: bool,
    closed: bool,
}

impl Queue {
    /// Adds work; dropped, with its reply, once the queue is closed.
    pub(crate) fn push(&self, job: Job) {
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        state.jobs.push_back(job);
        let asleep = std::mem::take(&mut state.asleep);
        // Woken under the lock, it would have to wait for it.
        drop(state);
        if asleep {
            self.arrived.notify_one();
        }
    }

    /// Runs `task` on the committing thread and hands back what it returns; `None` when the broker is stopping.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Committer) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.push(Job::Task(Box::new(move |committer| {
            let _ = reply.send(task(committer));
        })));
        answer.await.ok()
    }

    /// Waits up to `patience` for work and moves about a round's worth to `jobs`; `false` when closed and empty.
    pub(crate) fn take(&self, jobs: &mut Vec<Job>, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = lock(&self.state);
        while state.jobs.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return !state.closed;
            }
            state.asleep = true;
            state =
                self.arrived.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        let mut bytes = 0;
        while bytes < ROUND_BYTES
            && let Some(job) = state.jobs.pop_front()
        {
            bytes += job.bytes();
            jobs.push(job);
        }
        true
    }

    /// Lets the committing thread finish what is queued and end.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.arrived.notify_one();
    }
}
