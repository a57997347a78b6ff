//! The deliveries under way on this replica, wherever they were taken: by the dispatcher from the log, or on the
//! acknowledgement of a request that this replica accepted itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::admitted::Admitted;
use super::appender::Appender;
use super::caller::Caller;
use super::deadletters::DeadLetters;
use super::delivery::Input;
use super::drive::{Firm, Job, drive};
use super::follow::Follower;
use super::idempotency::First;
use super::metrics::Metrics;
use super::ownership::Ownership;
use super::replay::Replay;
use super::replies::Replies;
use crate::message::RelayId;

/// What all deliveries share.
pub struct Deliveries {
    pub appender: Arc<Appender>,
    pub replies: Arc<Replies>,
    pub ownership: Arc<Ownership>,
    pub letters: Arc<DeadLetters>,
    pub metrics: Arc<Metrics>,
    running: Mutex<HashMap<RelayId, Arc<Notify>>>,
    room: Arc<Semaphore>,
    most: u32,
}

impl Deliveries {
    /// At most `most` are under way; the log holds the rest.
    pub fn new(
        appender: Arc<Appender>,
        replies: Arc<Replies>,
        ownership: Arc<Ownership>,
        letters: Arc<DeadLetters>,
        metrics: Arc<Metrics>,
        most: usize,
    ) -> Self {
        let most = u32::try_from(most.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(most as usize));
        Self { appender, replies, ownership, letters, metrics, running: Mutex::default(), room, most }
    }

    /// Room for one more, if there is.
    pub(super) fn try_room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Waits for room.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// Gives `id` up, if it is under way here.
    pub(super) fn cancel(&self, id: RelayId) {
        if let Some(cancel) = self.running().get(&id) {
            cancel.notify_one();
        }
    }

    /// Waits until nothing is under way. Says whether that was within `patience`.
    pub async fn idle(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.room.acquire_many(self.most)).await.is_ok()
    }

    /// A delivery that is this replica's.
    pub(super) fn claim(self: &Arc<Self>, job: Job, taken: Input, room: OwnedSemaphorePermit) -> Claim {
        let id = job.admitted.id;
        self.running().insert(id, Arc::clone(&job.cancel));
        self.metrics.deliveries.inc();
        Claim { deliveries: Arc::clone(self), id, job, taken, _room: room }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<RelayId, Arc<Notify>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery to be carried out by whoever holds it. Dropped before its end, it is left to the next start.
pub struct Claim {
    deliveries: Arc<Deliveries>,
    id: RelayId,
    job: Job,
    taken: Input,
    _room: OwnedSemaphorePermit,
}

impl Claim {
    /// The request, until it is carried out.
    pub(super) fn admitted(&self) -> &Arc<Admitted> {
        &self.job.admitted
    }

    pub(super) fn epoch(&self) -> i64 {
        self.job.epoch
    }

    pub(super) fn replies(&self) -> &Arc<Replies> {
        &self.deliveries.replies
    }

    /// Gives the request the answer of `first`, or refuses it when it asks for something else.
    pub(super) async fn replay<C: Caller>(self, first: &First, follower: &Arc<Follower>, caller: &C) {
        let (partition, epoch) = (self.job.admitted.partition, self.job.epoch);
        let appender = &*self.deliveries.appender;
        let owned = || self.deliveries.ownership.since(partition, epoch, |_| ()).is_some();
        let Input::Taken { history, .. } = self.taken else { return };
        Replay { appender, caller, job: &self.job, first, owned }.run(follower, history.sequence).await;
        self.deliveries.ownership.since(partition, epoch, |owned| owned.tracker.finish(self.job.offset));
    }

    /// Carries the request to its terminal record.
    pub async fn deliver<C: Caller>(self, caller: &C) {
        let job = self.job.clone();
        let (partition, offset, epoch) = (job.admitted.partition, job.offset, job.epoch);
        let ground = Firm { appender: &self.deliveries.appender, letters: &self.deliveries.letters };
        drive(&ground, caller, job, self.taken).await;
        caller.settled(self.id).await;
        self.deliveries.ownership.since(partition, epoch, |owned| owned.tracker.finish(offset));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.deliveries.running().remove(&self.id);
        self.deliveries.metrics.deliveries.dec();
    }
}
