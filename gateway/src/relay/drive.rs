//! One delivery, step by step: does what [`Delivery`] says and tells it what came of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::admitted::Admitted;
use super::append_error::AppendError;
use super::appender::{Appender, Position};
use super::caller::{Answer, Caller, Failure, Message, Messages};
use super::deadletters::{DeadLetters, Place};
use super::delivery::{Delivery, Input, Step, Terms};
use super::record::{Fields, Kind};
use super::replies::{Said, Word};
use crate::outcome::Reason;

/// Pause before a record that the log did not acknowledge is appended again.
const AGAIN: Duration = Duration::from_millis(200);

/// What a delivery stands on: the log that it writes to, and the calendar. Pauses and time limits are tokio's.
pub(super) trait Ground: Sync {
    /// Appends an event and waits until its fate is known. `word` is told when it counts.
    fn append(
        &self,
        partition: i32,
        fields: &Fields<'_>,
        body: &[u8],
        word: Word,
    ) -> impl Future<Output = Result<Position, AppendError>> + Send;

    /// Puts a request among the dead letters. It ends in any case, so this is tried for a bounded time only.
    fn bury(&self, job: &Job, reason: Reason, attempts: u32) -> impl Future<Output = ()> + Send;

    fn now(&self) -> SystemTime;
}

/// The log itself.
pub(super) struct Firm<'a> {
    pub(super) appender: &'a Appender,
    pub(super) letters: &'a DeadLetters,
}

impl Ground for Firm<'_> {
    async fn append(
        &self,
        partition: i32,
        fields: &Fields<'_>,
        body: &[u8],
        word: Word,
    ) -> Result<Position, AppendError> {
        self.appender.append_event(partition, fields, body, word).await
    }

    async fn bury(&self, job: &Job, reason: Reason, attempts: u32) {
        let place = Place { partition: job.admitted.partition, offset: job.offset };
        self.letters.bury(place, &job.admitted, &job.body, reason.label(), attempts).await;
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Everything that one delivery works on.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) admitted: Arc<Admitted>,
    pub(super) body: Bytes,
    /// Where the request stands in its partition.
    pub(super) offset: i64,
    /// The epoch of this replica in the request's partition.
    pub(super) epoch: i64,
    pub(super) cancel: Arc<Notify>,
}

/// Carries `job` to its terminal record.
pub(super) async fn drive<G: Ground, C: Caller>(ground: &G, caller: &C, job: Job, taken: Input) {
    let left = job.admitted.deadline.duration_since(ground.now()).unwrap_or_default();
    let terms = Terms { mode: job.admitted.mode, repeatable: job.admitted.repeatable };
    let mut run = Run::new(ground, caller, job, Instant::now() + left);
    let mut delivery = Delivery::new(terms);
    let mut input = taken;
    loop {
        let step = delivery.next(input);
        input = match step {
            Step::Enter { attempt } => run.enter(attempt).await,
            Step::Start { attempt } => run.mark(Kind::Started, attempt).await,
            Step::Call => run.call().await,
            Step::Next => run.next().await,
            Step::Event { sequence } => run.event(sequence).await,
            Step::Retry { attempt } => run.mark(Kind::Retry, attempt).await,
            Step::Rest { .. } => run.rest().await,
            Step::Bury { reason } => {
                run.ground.bury(&run.job, reason, run.attempt).await;
                Input::Appended
            }
            Step::Finish { reason, answer } => run.finish(reason, answer).await,
            Step::Done => return,
        };
        if input == Input::NotAppended {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

struct Run<'a, G, C: Caller> {
    ground: &'a G,
    caller: &'a C,
    job: Job,
    deadline: Instant,
    attempt: u32,
    /// Until the next attempt.
    pause: Duration,
    place: Option<C::Place>,
    stream: Option<Messages>,
    /// The message at hand.
    message: Option<Message>,
    failure: Option<Failure>,
    answer_bytes: u64,
}

impl<'a, G: Ground, C: Caller> Run<'a, G, C> {
    fn new(ground: &'a G, caller: &'a C, job: Job, deadline: Instant) -> Self {
        Self {
            ground,
            caller,
            job,
            deadline,
            attempt: 0,
            pause: Duration::ZERO,
            place: None,
            stream: None,
            message: None,
            failure: None,
            answer_bytes: 0,
        }
    }

    async fn enter(&mut self, attempt: u32) -> Input {
        self.attempt = attempt;
        let entered = tokio::select! {
            biased;
            entered = self.caller.enter(&self.job.admitted, attempt) => entered,
            () = self.job.cancel.notified() => return Input::CancelAsked,
            () = tokio::time::sleep_until(self.deadline) => return Input::DeadlinePassed,
        };
        match entered {
            Ok(place) => {
                self.place = Some(place);
                Input::Entered
            }
            Err(failure) => self.failed(failure),
        }
    }

    async fn rest(&mut self) -> Input {
        tokio::select! {
            biased;
            () = self.job.cancel.notified() => Input::CancelAsked,
            () = tokio::time::sleep(self.pause) => Input::Rested,
        }
    }

    async fn call(&mut self) -> Input {
        let Some(place) = self.place.take().filter(|_| Instant::now() < self.deadline) else {
            return Input::Failed { reason: Reason::Expired, again: false };
        };
        let call = self.caller.call(&self.job.admitted, self.job.body.clone(), self.deadline, place);
        let answer = tokio::select! {
            biased;
            answer = call => answer,
            () = self.job.cancel.notified() => return Input::CancelAsked,
            () = tokio::time::sleep_until(self.deadline) => return Input::DeadlinePassed,
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
            biased;
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
        self.pause = self.caller.retry(&self.job.admitted).pause(self.job.admitted.id, self.attempt);
        Input::Failed { reason, again: Instant::now() + self.pause < self.deadline }
    }

    /// Appends a record on which further steps stand. Until it counts, another replica may have taken the request over.
    async fn mark(&mut self, kind: Kind, attempt: u32) -> Input {
        let admitted = Arc::clone(&self.job.admitted);
        let (go, counts) = oneshot::channel();
        let fields = Fields { attempt, ..admitted.fields(kind, self.ground.now()) };
        match self.put(fields, &Bytes::new(), Word::Go(go)).await {
            // A record of which nobody knows where it lies may lie behind another replica's epoch.
            Err(AppendError::Unplaced) => Input::NotAppended,
            Ok(_) if counts.await.is_err() => Input::Fenced,
            fate => self.appended(fate),
        }
    }

    async fn event(&mut self, sequence: u32) -> Input {
        let body = self.message.as_ref().map(|message| message.body.clone()).unwrap_or_default();
        let admitted = Arc::clone(&self.job.admitted);
        let fields = Fields { sequence, ..admitted.fields(Kind::Event, self.ground.now()) };
        let word = Word::Reply(admitted.id, Said::Event { sequence, body: body.clone() });
        let fate = self.put(fields, &body, word).await;
        self.appended(fate)
    }

    async fn finish(&mut self, reason: Reason, answer: bool) -> Input {
        // Whatever is still open upstream is given up before the end is told.
        self.stream = None;
        let body = match (&self.message, answer) {
            (Some(message), true) => message.body.clone(),
            _ if reason == Reason::Completed => Bytes::new(),
            _ => {
                let failure = self.failure(reason);
                self.caller.explain(&self.job.admitted, &self.job.body, &failure)
            }
        };
        let told = if answer { self.answer_bytes } else { self.answer_bytes + body.len() as u64 };
        let admitted = Arc::clone(&self.job.admitted);
        let ending = admitted.ending(Kind::Terminal, self.ground.now(), reason, told);
        let fields = Fields { attempt: self.attempt, ..ending };
        let word = Word::Reply(admitted.id, Said::End { reason, body: body.clone(), replayed: false });
        let fate = self.put(fields, &body, word).await;
        self.appended(fate)
    }

    /// What the client is told of the end for `reason`.
    fn failure(&self, reason: Reason) -> Failure {
        match &self.failure {
            Some(last) if last.reason == reason => last.clone(),
            Some(last) if reason == Reason::Expired => {
                let message = format!("the deadline passed while waiting to try again; {}", last.message);
                Failure { reason, message }
            }
            None if reason == Reason::Expired => {
                let message = format!(
                    "`{}` took no call before the deadline; nothing was sent to it",
                    self.job.admitted.agent
                );
                Failure { reason, message }
            }
            _ => Failure::plain(reason),
        }
    }

    async fn put(&mut self, fields: Fields<'_>, body: &Bytes, word: Word) -> Result<Position, AppendError> {
        let fields = Fields { epoch: Some(self.job.epoch), ..fields };
        let fate = self.ground.append(self.job.admitted.partition, &fields, body, word).await;
        if let Err(error) = &fate
            && !matches!(error, AppendError::Unplaced)
        {
            tracing::warn!(id = %fields.id, kind = fields.kind.as_str(), %error, "a record is not on the log yet");
        }
        fate
    }

    fn appended(&mut self, fate: Result<Position, AppendError>) -> Input {
        match fate {
            Ok(_) | Err(AppendError::Unplaced) => Input::Appended,
            Err(error) if error.is_too_large() => {
                self.message = None;
                self.failure = Some(Failure {
                    reason: Reason::UpstreamInvalid,
                    message: "the upstream's answer is larger than the log takes".to_owned(),
                });
                Input::TooLarge
            }
            Err(_) => Input::NotAppended,
        }
    }
}
