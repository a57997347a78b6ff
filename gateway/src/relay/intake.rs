//! The door to the log: a request is accepted when its record is acknowledged, and never otherwise.

use std::sync::Arc;
use std::time::SystemTime;

use super::abandoned::Abandoned;
use super::admitted::Admitted;
use super::append_error::AppendError;
use super::appender::Appender;
use super::record::{Fields, Kind};
use super::replies::{Replies, Waiting};
use super::topic::Topic;
use crate::outcome::Reason;

/// Accepts requests, and records what needs no delivery.
#[derive(Clone)]
pub struct Intake {
    pub appender: Arc<Appender>,
    pub replies: Arc<Replies>,
    pub abandoned: Arc<Abandoned>,
}

impl Intake {
    /// Puts the request on the log; from then on the gateway owes it an end.
    ///
    /// # Errors
    /// The log did not acknowledge; [`AppendError::told`] says what that means for the request.
    pub async fn accept(&self, admitted: &Admitted, body: &[u8]) -> Result<Waiting, AppendError> {
        let waiting = self.replies.wait_for(admitted.id);
        let fields = admitted.fields(Kind::Request, admitted.at);
        let appended =
            self.appender.append_soon(Topic::Requests, self.partition(admitted), &fields, body).await;
        if let Err(error) = appended.map(drop).or_else(AppendError::unless_written) {
            if matches!(error, AppendError::Unconfirmed) {
                self.abandoned.add(admitted.id);
            }
            return Err(error);
        }
        Ok(waiting)
    }

    /// Asks for an accepted request to be cancelled, by the log as everything else.
    pub async fn cancel(&self, admitted: &Admitted) -> Result<(), AppendError> {
        let fields = admitted.fields(Kind::Cancel, SystemTime::now());
        self.appender.append_soon(Topic::Requests, self.partition(admitted), &fields, &[]).await.map(drop)
    }

    /// Records a request that was not accepted, with the error that its client gets.
    pub async fn refuse(
        &self,
        admitted: &Admitted,
        reason: Reason,
        answer: &[u8],
    ) -> Result<(), AppendError> {
        let fields = admitted.ending(Kind::Refusal, SystemTime::now(), reason, answer.len() as u64);
        self.appender.append_soon(Topic::Events, self.partition(admitted), &fields, answer).await.map(drop)
    }

    /// Records the request of a direct exchange.
    pub async fn note_request(&self, admitted: &Admitted, body: &[u8]) -> Result<(), AppendError> {
        let fields = admitted.fields(Kind::Request, admitted.at);
        self.appender.record(Topic::Requests, self.partition(admitted), &fields, body).await
    }

    /// Records messages of a direct stream.
    pub async fn note_event(
        &self,
        admitted: &Admitted,
        sequence: u32,
        body: &[u8],
    ) -> Result<(), AppendError> {
        let fields = Fields { sequence, lines: true, ..admitted.fields(Kind::Event, SystemTime::now()) };
        self.appender.record(Topic::Events, self.partition(admitted), &fields, body).await
    }

    /// Records the end of a direct exchange. `lines`: the body is several messages, a line each.
    pub async fn note_end(
        &self,
        admitted: &Admitted,
        reason: Reason,
        answer_bytes: u64,
        lines: bool,
        body: &[u8],
    ) -> Result<(), AppendError> {
        let fields =
            Fields { lines, ..admitted.ending(Kind::Terminal, SystemTime::now(), reason, answer_bytes) };
        self.appender.record(Topic::Events, self.partition(admitted), &fields, body).await
    }

    /// The partition of all records of `admitted`.
    pub fn partition(&self, admitted: &Admitted) -> i32 {
        if let Some(partition) = admitted.partition {
            return partition;
        }
        match &admitted.key {
            Some(key) => self.appender.partition_of(key),
            None => self.appender.log().partition_of(admitted.id.to_string().as_bytes()),
        }
    }
}
