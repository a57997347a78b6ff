//! Compaction: of each key only the newest record is kept, in topics whose `cleanup.policy` says so.
//!
//! The committing thread looks which partitions are worth it ([`due`]) and hands them to a thread of its own
//! ([`Cleaner`]), which writes new segments beside the old ones ([`pass`]). The committing thread then puts them in
//! place ([`swap`]). A kill at any point leaves the old segments, or the new ones, or both; in that case the new ones
//! count, since their names say what they stand for.

mod due;
mod marks;
mod newest;
mod pass;
mod swap;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

pub(crate) use marks::Marks;
pub(crate) use pass::{Plan, Progress};

use super::queue::{Job, Queue};

/// The thread that compacts, one partition after the other.
#[derive(Default)]
pub(crate) struct Cleaner {
    plans: Option<Sender<Plan>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Cleaner {
    /// What it makes goes to `queue`.
    pub(crate) fn start(queue: Arc<Queue>) -> std::io::Result<Cleaner> {
        let (plans, receiver) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("log-clean".into())
            .spawn(move || run(&receiver, &queue, &stopped))?;
        Ok(Cleaner { plans: Some(plans), stop, thread: Some(thread) })
    }

    /// Has a partition compacted; each waits here once at most, since it is busy until it is done.
    pub(crate) fn send(&self, plan: Plan) {
        if let Some(plans) = &self.plans {
            // A thread that has ended has said why; nothing is compacted then.
            let _ = plans.send(plan);
        }
    }

    /// Gives up what is under way.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.plans = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the compacting thread of the log panicked; nothing was compacted since");
        }
    }
}

fn run(plans: &Receiver<Plan>, queue: &Queue, stop: &AtomicBool) {
    for plan in plans {
        let made = plan.run(stop).unwrap_or_else(|error| {
            tracing::warn!(folder = %plan.partition.folder.display(), %error, "cannot compact a partition of the log; it is tried again");
            None
        });
        let partition = plan.partition;
        let retention_ms = plan.values.delete_retention_ms;
        queue.push(Job::Task(Box::new(move |committer| match made {
            Some(pass) => committer.swap(&partition, pass, retention_ms),
            None => Progress::of(&partition).busy = false,
        })));
    }
}

#[cfg(test)]
mod tests;
