//! The running module as others see it: its windows, and whether it works.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::reader::Wake;
use super::row::{Micros, Row, Size};

/// Questions that may wait; the next is turned away.
const QUESTIONS: usize = 64;

/// How long an answer may take. The module is busy for that long only when the log does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A handle on the running module; cheap to clone.
#[derive(Clone)]
pub struct Live {
    questions: SyncSender<Question>,
    wake: Arc<Wake>,
    health: Arc<Health>,
}

/// What is asked: rows of one window size that end after a time.
pub(super) struct Question {
    pub(super) size: Size,
    pub(super) since: Micros,
    pub(super) reply: oneshot::Sender<Snapshot>,
}

/// The windows at one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub rows: Vec<Row>,
    pub currency: String,
    /// Event time up to which everything has been read.
    pub watermark: Micros,
    /// False while the log is read again after a start: rows may still grow.
    pub whole: bool,
}

/// No answer.
#[derive(Debug, thiserror::Error)]
#[error("the stream module does not answer now: {0}")]
pub struct Unavailable(String);

impl Live {
    pub(super) fn new(wake: Arc<Wake>) -> (Self, Receiver<Question>) {
        let (questions, receiver) = sync_channel(QUESTIONS);
        (Self { questions, wake, health: Arc::default() }, receiver)
    }

    /// The rows of windows of `size` that end after `since`, open ones too.
    ///
    /// # Errors
    /// While the log keeps the module waiting.
    pub async fn rows(&self, size: Size, since: Micros) -> Result<Snapshot, Unavailable> {
        let (reply, answer) = oneshot::channel();
        match self.questions.try_send(Question { size, since, reply }) {
            Ok(()) => self.wake.notify(),
            Err(TrySendError::Full(_)) => return Err(Unavailable("too many questions at once".to_owned())),
            Err(TrySendError::Disconnected(_)) => return Err(Unavailable("it has stopped".to_owned())),
        }
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(snapshot)) => Ok(snapshot),
            Ok(Err(_)) | Err(_) => {
                Err(Unavailable(self.ready().err().unwrap_or_else(|| "it waits for the log".to_owned())))
            }
        }
    }

    /// Whether the module keeps up; else why not.
    pub fn ready(&self) -> Result<(), String> {
        self.health.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_health(&self, health: Result<(), String>) {
        *self.health.0.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

struct Health(Mutex<Result<(), String>>);

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(Err("it has not read the log yet".to_owned())))
    }
}
