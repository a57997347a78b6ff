//! Sending a dead letter again: as a new request of the same caller, with a new relay id that names the old one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use tokio::sync::Mutex;

use super::read::{Letter, ReadError, has_request, letters};
use super::{DeadLetters, Place};
use crate::message::RelayId;
use crate::relay::admitted::Admitted;
use crate::relay::record::{Kind, View};
use crate::relay::replies::consumer;
use crate::relay::topic::Topic;

/// How long the log may take to say where a partition ends.
const ASK: Duration = Duration::from_secs(5);

/// Why a letter was not redriven.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    #[error("there is no dead letter {0}")]
    Unknown(Place),
    #[error("it was redriven before, as {0}")]
    Before(RelayId),
    #[error("nobody can read this record, so nobody can carry it out")]
    Unreadable,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("it could not be marked as redriven: {0}")]
    Mark(KafkaError),
    #[error("its new request is not on the log: {0}; redrive it again")]
    Append(KafkaError),
    #[error("reading the log broke")]
    Broken,
}

/// Sends letters again, one at a time.
pub struct Redriver {
    letters: Arc<DeadLetters>,
    turn: Mutex<()>,
}

impl Redriver {
    pub fn new(letters: Arc<DeadLetters>) -> Self {
        Self { letters, turn: Mutex::new(()) }
    }

    /// Appends the request of the letter at `place` again. What policy said of it stands: it is the same request of the
    /// same caller, with as much time as it had.
    ///
    /// The mark is written first and the request after it. One that stopped in between is found by its mark and gets
    /// the request that is missing, under the id that the mark gives it.
    ///
    /// # Errors
    /// See [`RedriveError`].
    pub async fn redrive(&self, place: Place) -> Result<RelayId, RedriveError> {
        let _turn = self.turn.lock().await;
        let letter = self.find(place).await?;
        let view = View::decode(&letter.record).map_err(|_| RedriveError::Unreadable)?;
        let old = Admitted::from_record(&view).ok_or(RedriveError::Unreadable)?;
        let mut admitted = again(old, SystemTime::now());
        match letter.redriven {
            None => {
                admitted.id = RelayId::generate();
                // What else there is of its task or session lies there too.
                let from = Place { offset: self.end(place.partition).await?, ..place };
                self.letters.mark(place, admitted.id, from).await.map_err(RedriveError::Mark)?;
            }
            Some((id, from)) => {
                if self.is_there(id, from).await? {
                    return Err(RedriveError::Before(id));
                }
                admitted.id = id;
            }
        }
        let fields = admitted.fields(Kind::Request, admitted.at);
        let body = letter.record.payload().unwrap_or_default();
        self.letters.send_again(place.partition, &fields, body).await.map_err(RedriveError::Append)?;
        tracing::info!(%place, old = %view.fields.id, id = %admitted.id, "a dead letter was redriven");
        Ok(admitted.id)
    }

    async fn find(&self, place: Place) -> Result<Letter, RedriveError> {
        let log = self.letters.log.clone();
        let found = tokio::task::spawn_blocking(move || letters(&log, Some(place))).await;
        let found = found.map_err(|_| RedriveError::Broken)??;
        found.into_iter().next().ok_or(RedriveError::Unknown(place))
    }

    async fn is_there(&self, id: RelayId, from: Place) -> Result<bool, RedriveError> {
        let log = self.letters.log.clone();
        let found = tokio::task::spawn_blocking(move || has_request(&log, id, from)).await;
        Ok(found.map_err(|_| RedriveError::Broken)??)
    }

    async fn end(&self, partition: i32) -> Result<i64, RedriveError> {
        let log = self.letters.log.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let reader: BaseConsumer = consumer(&log, "deadletters").create()?;
            log.extent(&reader, Topic::Requests, partition, ASK)
        });
        let extent = asked.await.map_err(|_| RedriveError::Broken)?;
        Ok(extent.map_err(ReadError::Log)?.1)
    }
}

/// The same request, accepted `now`, with as much time as it had.
fn again(old: Admitted, now: SystemTime) -> Admitted {
    let time = old.deadline.duration_since(old.at).unwrap_or_default();
    // Its key would only bring back the answer that it had.
    Admitted { redrives: Some(old.id), idempotency: None, at: now, deadline: now + time, ..old }
}
