//! The door to the log: a request is accepted when its record is acknowledged, and never otherwise.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::abandoned::Abandoned;
use super::admitted::Admitted;
use super::append_error::AppendError;
use super::appender::Appender;
use super::deliveries::{Claim, Deliveries};
use super::delivery::{History, Input};
use super::drive::Job;
use super::ownership::Entry;
use super::record::{Fields, Kind};
use super::replies::Waiting;
use super::topic::Topic;
use crate::outcome::Reason;

/// Accepts requests, and records what needs no delivery.
#[derive(Clone)]
pub struct Intake {
    pub deliveries: Arc<Deliveries>,
    pub abandoned: Arc<Abandoned>,
}

/// An accepted request.
pub struct Accepted {
    /// Its place in the line of those who wait for an end.
    pub waiting: Waiting,
    /// It is this replica's to deliver, at once. Otherwise the owner of its partition reads it from the log.
    pub claim: Option<Claim>,
}

impl Intake {
    /// The partition of an exchange that begins at `time`. What has the same ordering key stays in one; new work goes
    /// where this replica can deliver it without reading it back.
    pub fn partition(&self, key: Option<&str>, time: SystemTime) -> i32 {
        match key {
            Some(key) => self.appender().log().partition_of(key.as_bytes()),
            None => self.deliveries.ownership.pick(time),
        }
    }

    /// Puts the request on the log; from then on the gateway owes it an end. `at_once`: its upstream takes a call now.
    ///
    /// # Errors
    /// The log did not acknowledge; [`AppendError::told`] says what that means for the request.
    pub async fn accept(
        &self,
        admitted: &Arc<Admitted>,
        body: &Bytes,
        at_once: bool,
    ) -> Result<Accepted, AppendError> {
        let deliveries = &self.deliveries;
        if !self.appender().has_room() {
            return Err(AppendError::Full);
        }
        let waiting = deliveries.replies.wait_for(admitted.id);
        // What has to wait is not as good as started: its owner takes it from the log.
        let room = at_once.then(|| deliveries.try_room()).flatten();
        let entry = room.zip(deliveries.ownership.enter(admitted.partition));
        let epoch = entry.as_ref().map(|(_, entry)| entry.epoch);
        let fields = Fields { epoch, ..admitted.fields(Kind::Request, admitted.at) };
        let appended = self.appender().append_soon(Topic::Requests, admitted.partition, &fields, body).await;
        let claim = match appended {
            Ok(position) => {
                entry.and_then(|(room, entry)| self.claim(admitted, body, position.offset, entry, room))
            }
            Err(error) => {
                if matches!(error, AppendError::Unconfirmed) {
                    self.abandoned.add(admitted.id);
                }
                error.unless_written()?;
                None
            }
        };
        Ok(Accepted { waiting, claim })
    }

    fn claim(
        &self,
        admitted: &Arc<Admitted>,
        body: &Bytes,
        offset: i64,
        entry: Entry,
        room: OwnedSemaphorePermit,
    ) -> Option<Claim> {
        let epoch = entry.epoch;
        let events = self.deliveries.replies.position(admitted.partition);
        if !entry.claim(offset, events) {
            return None;
        }
        let job =
            Job { admitted: Arc::clone(admitted), body: body.clone(), offset, epoch, cancel: Arc::default() };
        let taken = Input::Taken {
            history: History::default(),
            inherited: false,
            late: false,
            abandoned: false,
            implied: true,
        };
        Some(self.deliveries.claim(job, taken, room))
    }

    /// The queue to the log.
    pub fn appender(&self) -> &Appender {
        &self.deliveries.appender
    }

    /// Asks for an accepted request to be cancelled, by the log as everything else.
    pub async fn cancel(&self, admitted: &Admitted) -> Result<(), AppendError> {
        let fields = admitted.fields(Kind::Cancel, SystemTime::now());
        self.appender().append_soon(Topic::Requests, admitted.partition, &fields, &[]).await.map(drop)
    }

    /// Records a request that was not accepted, with the error that its client gets.
    pub async fn refuse(
        &self,
        admitted: &Admitted,
        reason: Reason,
        answer: &[u8],
    ) -> Result<(), AppendError> {
        let fields = admitted.ending(Kind::Refusal, SystemTime::now(), reason, answer.len() as u64);
        self.appender().append_soon(Topic::Events, admitted.partition, &fields, answer).await.map(drop)
    }

    /// Records the request of a direct exchange.
    pub async fn note_request(&self, admitted: &Admitted, body: &[u8]) -> Result<(), AppendError> {
        let fields = admitted.fields(Kind::Request, admitted.at);
        self.appender().record(Topic::Requests, admitted.partition, &fields, body).await
    }

    /// Records messages of a direct stream.
    pub async fn note_event(
        &self,
        admitted: &Admitted,
        sequence: u32,
        body: &[u8],
    ) -> Result<(), AppendError> {
        let fields = Fields { sequence, lines: true, ..admitted.fields(Kind::Event, SystemTime::now()) };
        self.appender().record(Topic::Events, admitted.partition, &fields, body).await
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
        self.appender().record(Topic::Events, admitted.partition, &fields, body).await
    }
}
