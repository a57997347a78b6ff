//! Tasks in bounded memory, and what happens to them.
//!
//! A task keeps its events in order; a stream is a reader with a position, so a slow reader loses
//! nothing and holds nobody up. A task makes a few dozen events at most, by how it works.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::model::{Artifact, Event, Message, Part, State, Status, Task};
use crate::demo::clock;

/// Tasks that are remembered; the oldest finished one gives way to a new one.
const MAX_TASKS: usize = 1_000;
/// Bytes of requests that are remembered with them.
const MAX_BYTES: usize = 32 << 20;

/// All tasks of the advisor.
#[derive(Default)]
pub(crate) struct Tasks(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    by_id: HashMap<String, Arc<Entry>>,
    oldest_first: VecDeque<String>,
    bytes: usize,
}

impl Tasks {
    /// A new task for a message of `bytes` bytes; none when too many are running.
    pub(crate) fn open(&self, mut message: Message, bytes: usize) -> Option<Arc<Entry>> {
        let id = Uuid::new_v4().to_string();
        let context_id = message.context_id.take().unwrap_or_else(|| Uuid::new_v4().to_string());
        message.context_id = Some(context_id.clone());
        message.task_id = Some(id.clone());
        let task = Task {
            id: id.clone(),
            context_id,
            status: Status { state: State::Submitted, message: None, timestamp: clock::now() },
            artifacts: Vec::new(),
            history: vec![message],
            metadata: None,
        };
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while shelf.by_id.len() >= MAX_TASKS || shelf.bytes + bytes > MAX_BYTES {
            shelf.drop_oldest_finished()?;
        }
        let entry = Arc::new(Entry {
            bytes,
            kept: Mutex::new(Kept { task, events: Vec::new(), worker: None }),
            count: watch::Sender::new(0),
        });
        shelf.by_id.insert(id.clone(), entry.clone());
        shelf.oldest_first.push_back(id);
        shelf.bytes += bytes;
        Some(entry)
    }

    /// The task of that id, if it is still remembered.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }
}

impl Shelf {
    fn drop_oldest_finished(&mut self) -> Option<()> {
        let is_finished = |id: &String| self.by_id.get(id).is_none_or(|entry| entry.is_terminal());
        let position = self.oldest_first.iter().position(is_finished)?;
        let id = self.oldest_first.remove(position)?;
        if let Some(entry) = self.by_id.remove(&id) {
            self.bytes -= entry.bytes;
        }
        Some(())
    }
}

/// One task with its past and its worker.
pub(crate) struct Entry {
    bytes: usize,
    kept: Mutex<Kept>,
    /// How many events there are, for those who wait for more.
    count: watch::Sender<usize>,
}

/// What a reader of a task's events finds at its position.
pub(crate) enum Next {
    Event(Arc<Event>),
    /// Nothing yet.
    Later,
    /// Nothing, and nothing will come.
    End,
}

struct Kept {
    task: Task,
    events: Vec<Arc<Event>>,
    worker: Option<AbortHandle>,
}

impl Entry {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task as it is now, and the position of the event that comes next.
    pub(crate) fn snapshot(&self) -> (Task, usize) {
        let kept = self.kept();
        (kept.task.clone(), kept.events.len())
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.kept().task.status.state.is_terminal()
    }

    /// What a reader finds at a position.
    pub(crate) fn at(&self, position: usize) -> Next {
        let kept = self.kept();
        match kept.events.get(position) {
            Some(event) => Next::Event(event.clone()),
            None if kept.task.status.state.is_terminal() => Next::End,
            None => Next::Later,
        }
    }

    /// Tells how many events there are, and when there are more.
    pub(crate) fn watch(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Waits until the task is over.
    pub(crate) async fn ended(&self) {
        let mut count = self.count.subscribe();
        loop {
            // Marked as seen before the look, so that a change after it is not missed.
            count.borrow_and_update();
            if self.is_terminal() || count.changed().await.is_err() {
                return;
            }
        }
    }

    /// Remembers who works on the task, so that a cancellation can stop it.
    pub(crate) fn set_worker(&self, worker: AbortHandle) {
        self.kept().worker = Some(worker);
    }

    /// Reports a state with a sentence. Nothing is taken after the task is over.
    pub(crate) fn report(&self, state: State, text: &str, metadata: Option<Value>) {
        let mut kept = self.kept();
        let message = Message {
            id: Uuid::new_v4().to_string(),
            from_user: false,
            parts: vec![Part::text(text)],
            context_id: Some(kept.task.context_id.clone()),
            task_id: Some(kept.task.id.clone()),
            metadata: None,
        };
        let status = Status { state, message: Some(message), timestamp: clock::now() };
        self.take(&mut kept, Event::Status { status: status.into(), metadata });
    }

    /// Adds a result.
    pub(crate) fn add_artifact(&self, artifact: Artifact) {
        self.take(&mut self.kept(), Event::Artifact(artifact));
    }

    /// Stops the task for good; none when it was over already.
    pub(crate) fn cancel(&self) -> Option<Task> {
        let mut kept = self.kept();
        let status = Status { state: State::Canceled, message: None, timestamp: clock::now() };
        if !self.take(&mut kept, Event::Status { status: status.into(), metadata: None }) {
            return None;
        }
        if let Some(worker) = kept.worker.take() {
            worker.abort();
        }
        Some(kept.task.clone())
    }

    fn take(&self, kept: &mut Kept, event: Event) -> bool {
        if kept.task.status.state.is_terminal() {
            return false;
        }
        match &event {
            Event::Status { status, metadata } => {
                kept.task.status = Status::clone(status);
                if metadata.is_some() {
                    kept.task.metadata.clone_from(metadata);
                }
            }
            Event::Artifact(artifact) => kept.task.artifacts.push(artifact.clone()),
        }
        kept.events.push(Arc::new(event));
        self.count.send_replace(kept.events.len());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            id: "m".to_owned(),
            from_user: true,
            parts: vec![Part::text("hi")],
            context_id: None,
            task_id: None,
            metadata: None,
        }
    }

    #[test]
    fn nothing_follows_the_end_of_a_task() {
        let tasks = Tasks::default();
        let entry = tasks.open(message(), 2).unwrap();
        entry.report(State::Working, "on it", None);
        assert_eq!(entry.cancel().unwrap().status.state, State::Canceled);
        entry.report(State::Completed, "done", None);
        assert!(entry.cancel().is_none());
        let (task, events) = entry.snapshot();
        assert_eq!((task.status.state, events), (State::Canceled, 2));
        assert!(matches!(entry.at(1), Next::Event(event) if event.is_last()));
        assert!(matches!(entry.at(2), Next::End));
    }

    #[test]
    fn finished_tasks_give_way_and_running_ones_do_not() {
        let tasks = Tasks::default();
        let first = tasks.open(message(), 1).unwrap();
        let second = tasks.open(message(), 1).unwrap();
        second.cancel().unwrap();
        for _ in 2..=MAX_TASKS {
            assert!(tasks.open(message(), 1).is_some());
        }
        assert!(tasks.get(&first.snapshot().0.id).is_some());
        assert!(tasks.get(&second.snapshot().0.id).is_none());
        assert!(tasks.open(message(), 1).is_none());
    }

    #[test]
    fn requests_are_remembered_up_to_a_number_of_bytes() {
        let tasks = Tasks::default();
        let large = tasks.open(message(), MAX_BYTES - 1).unwrap();
        assert!(tasks.open(message(), 2).is_none());
        large.cancel().unwrap();
        assert!(tasks.open(message(), 2).is_some());
        assert!(tasks.open(message(), MAX_BYTES + 1).is_none());
    }
}
