//! One delivery, step by step: does what [`Delivery`] says and tells it what came of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::admitted::Admitted;
use super::append_error::AppendError;
use super::appender::Appender;
use super::caller::{Answer, Caller, Failure, Message, Messages};
use super::delivery::{Delivery, Input, Step};
use super::record::{Fields, Kind};
use super::topic::Topic;
use crate::outcome::Reason;

/// Pause before a record that the log did not acknowledge is appended again.
const AGAIN: Duration = Duration::from_millis(200);

/// Everything that one delivery works on.
pub(super) struct Job {
    pub(super) admitted: Arc<Admitted>,
    pub(super) body: Bytes,
    pub(super) partition: i32,
    pub(super) cancel: Arc<Notify>,
}

/// Carries `job` to its terminal record.
pub(super) async fn drive<C: Caller>(appender: &Appender, caller: &C, job: Job, taken: Input) {
    let deadline = instant(job.admitted.deadline);
    let mut run =
        Run { appender, caller, job, deadline, stream: None, message: None, failure: None, answer_bytes: 0 };
    let mut delivery = Delivery::new();
    let mut input = taken;
    loop {
        let step = delivery.next(input);
        input = match step {
            Step::Start => run.append(Kind::Started, 0).await,
            Step::Call => run.call().await,
            Step::Next => run.next().await,
            Step::Event { sequence } => run.append(Kind::Event, sequence).await,
            Step::Finish { reason, answer } => run.finish(reason, answer).await,
            Step::Done => return,
        };
        if input == Input::NotAppended {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

struct Run<'a, C> {
    appender: &'a Appender,
    caller: &'a C,
    job: Job,
    deadline: Instant,
    stream: Option<Messages>,
    /// The message at hand.
    message: Option<Message>,
    failure: Option<Failure>,
    answer_bytes: u64,
}

impl<C: Caller> Run<'_, C> {
    async fn call(&mut self) -> Input {
        let call = self.caller.call(&self.job.admitted, self.job.body.clone(), self.deadline);
        let answer = tokio::select! {
            answer = call => answer,
            () = tokio::time::sleep_until(self.deadline) => return Input::DeadlinePassed,
            () = self.job.cancel.notified() => return Input::CancelAsked,
        };
        match answer {
            Ok(Answer::Unary(message)) => self.answered(message),
            Ok(Answer::Stream(stream)) => {
                self.stream = Some(stream);
                self.next().await
            }
            Err(failure) => self.failed(failure),
        }
    }

    async fn next(&mut self) -> Input {
        let Some(stream) = &mut self.stream else { return Input::Ended };
        // A2A tasks may outlive the deadline of a call: what bounds a stream is silence, and the caller sees to it.
        let next = tokio::select! {
            next = stream.next() => next,
            () = self.job.cancel.notified() => return self.give_up(),
        };
        match next {
            Some(Ok(message)) if message.last => self.answered(message),
            Some(Ok(message)) => {
                self.answer_bytes += message.body.len() as u64;
                self.message = Some(message);
                Input::Message
            }
            Some(Err(failure)) => self.failed(failure),
            None => {
                self.message = None;
                Input::Ended
            }
        }
    }

    fn give_up(&mut self) -> Input {
        self.stream = None;
        Input::CancelAsked
    }

    fn answered(&mut self, message: Message) -> Input {
        let error = message.error;
        self.answer_bytes += message.body.len() as u64;
        self.message = Some(message);
        Input::Answered { error }
    }

    fn failed(&mut self, failure: Failure) -> Input {
        let reason = failure.reason;
        self.stream = None;
        self.failure = Some(failure);
        Input::Failed(reason)
    }

    async fn append(&mut self, kind: Kind, sequence: u32) -> Input {
        let body = match (&self.message, kind) {
            (Some(message), Kind::Event) => message.body.clone(),
            _ => Bytes::new(),
        };
        let admitted = Arc::clone(&self.job.admitted);
        let fields = Fields { sequence, ..admitted.fields(kind, SystemTime::now()) };
        self.put(&fields, &body).await
    }

    async fn finish(&mut self, reason: Reason, answer: bool) -> Input {
        // Whatever is still open upstream is given up before the end is told.
        self.stream = None;
        let body = match (&self.message, answer) {
            (Some(message), true) => message.body.clone(),
            _ if reason == Reason::Completed => Bytes::new(),
            _ => {
                let failure = self.failure.clone().unwrap_or_else(|| Failure::plain(reason));
                self.caller.explain(&self.job.admitted, &self.job.body, &failure)
            }
        };
        let told = if answer { self.answer_bytes } else { self.answer_bytes + body.len() as u64 };
        let admitted = Arc::clone(&self.job.admitted);
        let fields = admitted.ending(Kind::Terminal, SystemTime::now(), reason, told);
        self.put(&fields, &body).await
    }

    async fn put(&mut self, fields: &Fields<'_>, body: &[u8]) -> Input {
        match self.appender.append(Topic::Events, self.job.partition, fields, body).await {
            Ok(_) | Err(AppendError::Unplaced) => Input::Appended,
            Err(error) if error.is_too_large() && !body.is_empty() => {
                self.message = None;
                self.failure = Some(Failure {
                    reason: Reason::UpstreamInvalid,
                    message: "the upstream's answer is larger than the log takes".to_owned(),
                });
                Input::TooLarge
            }
            Err(error) => {
                tracing::warn!(id = %fields.id, kind = fields.kind.as_str(), %error, "a record is not on the log yet; trying again");
                Input::NotAppended
            }
        }
    }
}

/// The point in monotonic time that a point in calendar time is now.
fn instant(time: SystemTime) -> Instant {
    Instant::now() + time.duration_since(SystemTime::now()).unwrap_or_default()
}
