//! Giving a request the answer of an earlier one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::appender::{Appender, Position};
use super::caller::{Caller, Failure};
use super::drive::Job;
use super::follow::{FollowError, Follower, Following};
use super::idempotency::First;
use super::record::{Fields, Kind};
use super::replies::{Reply, Said, Word};
use crate::outcome::Reason;
use crate::protocol::request_id;
use crate::protocol::splice::Message;

/// Pause before the log is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// A later request with the key of `first`.
pub(super) struct Replay<'a, C, O> {
    pub(super) appender: &'a Appender,
    pub(super) caller: &'a C,
    pub(super) job: &'a Job,
    pub(super) first: &'a First,
    /// Whether the partition is still this replica's.
    pub(super) owned: O,
}

impl<C: Caller, O: Fn() -> bool + Sync> Replay<'_, C, O> {
    /// Writes what `first` was answered, from the message after number `done`, and the end.
    pub(super) async fn run(&self, follower: &Arc<Follower>, mut done: u32) {
        let admitted = &self.job.admitted;
        if admitted.idempotency.as_ref().is_some_and(|asked| *asked.body != *self.first.body) {
            return self.fail(Reason::KeyReused).await;
        }
        let from = Position { partition: admitted.partition, offset: self.first.from - 1 };
        while (self.owned)() {
            match follower.follow(self.first.id, from).await {
                Ok(following) => {
                    if self.copy(following, &mut done).await {
                        return;
                    }
                }
                Err(FollowError::Gone) => return self.fail(Reason::Lost).await,
                Err(error) => {
                    tracing::warn!(id = %admitted.id, %error, "an answer to be repeated could not be read; trying again")
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Says whether the end was reached.
    async fn copy(&self, mut following: Following, done: &mut u32) -> bool {
        let admitted = &self.job.admitted;
        loop {
            // As a first call: the deadline bounds the wait for its first word.
            let left = admitted.deadline.duration_since(SystemTime::now()).unwrap_or_default();
            let next = if *done == 0 {
                tokio::time::timeout(left, following.next()).await
            } else {
                Ok(following.next().await)
            };
            match next {
                Ok(Some(Reply::Event { sequence, body, .. })) => {
                    if sequence > *done {
                        let fields = Fields { sequence, ..admitted.fields(Kind::Event, SystemTime::now()) };
                        let body = self.named(&body);
                        let said = || Said::Event { sequence, body: body.clone() };
                        self.append(&fields, &body, said).await;
                        *done = sequence;
                    }
                }
                Ok(Some(Reply::End { reason, body, .. })) => {
                    self.end(reason, &self.named(&body)).await;
                    return true;
                }
                Ok(None) => return false,
                Err(_) => {
                    self.fail(Reason::UpstreamTimeout).await;
                    return true;
                }
            }
        }
    }

    async fn fail(&self, reason: Reason) {
        let body = self.caller.explain(&self.job.admitted, &self.job.body, &Failure::plain(reason));
        self.end(reason, &body).await;
    }

    async fn end(&self, reason: Reason, body: &Bytes) {
        let ending = self.job.admitted.ending(Kind::Terminal, SystemTime::now(), reason, body.len() as u64);
        let fields = Fields { replay_of: Some(self.first.id), ..ending };
        let replayed = reason != Reason::KeyReused;
        self.append(&fields, body, || Said::End { reason, body: body.clone(), replayed }).await;
    }

    /// Tries until the record is on the log, or the partition is another replica's.
    async fn append(&self, fields: &Fields<'_>, body: &[u8], said: impl Fn() -> Said) {
        let fields = Fields { epoch: Some(self.job.epoch), ..*fields };
        let (id, partition) = (self.job.admitted.id, self.job.admitted.partition);
        while (self.owned)() {
            let word = Word::Reply(id, said());
            match self.appender.append_event(partition, &fields, body, word).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%id, %error, "a record is not on the log yet; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// The message as the answer to this request.
    fn named(&self, body: &Bytes) -> Bytes {
        let Some((id, message)) = request_id(&self.job.body).zip(Message::read(body).ok()) else {
            return body.clone();
        };
        // Progress and the like have no id.
        if message.kind().is_response() { message.with_id(id.as_bytes()) } else { body.clone() }
    }
}
