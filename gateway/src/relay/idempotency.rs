//! One execution for one key. All requests with a key lie in one partition, so the order of that partition says which
//! is the first; its owner asks when it takes a request, and gives every later one the answer of the first.
//!
//! What was taken by this owner is remembered. What was taken before is found in the events, which are read the first
//! time that a key comes to a partition: each record of an exchange with a key carries its hash.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::OnceCell;

use super::admitted::Admitted;
use super::caller::Caller;
use super::deliveries::Claim;
use super::follow::{FollowError, Follower};
use super::record::{Kind, View};
use super::replies::Reply;
use crate::message::RelayId;
use crate::outcome::Reason;

/// How long a key is remembered.
const WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Keys that are remembered, of each kind and partition; some 200 bytes each.
const MOST: usize = 100_000;

/// How long the events of a partition may be read for its keys.
const READING: Duration = Duration::from_secs(60);

/// Pause before the log is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// How long the end of a delivery that is over may take to be told.
const TOLD: Duration = Duration::from_secs(5);

/// Which request was the first of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) id: RelayId,
    /// Hash of what it asked for.
    pub(super) body: Box<str>,
    /// No event of it lies before this offset.
    pub(super) from: i64,
    time: SystemTime,
}

/// The keys of the partitions that this replica owns.
pub struct Idempotency {
    follower: Arc<Follower>,
    live: Mutex<Keys>,
    /// By partition: what the events said when its epoch began.
    past: Mutex<HashMap<i32, Past>>,
}

/// The epoch, and what was before it once it has been read.
type Past = (i64, Arc<OnceCell<Keys>>);

/// Firsts by the hash of their key; the oldest are forgotten.
#[derive(Debug, Default)]
struct Keys {
    firsts: HashMap<Box<str>, First>,
    order: VecDeque<(Box<str>, RelayId)>,
}

impl Keys {
    /// The first of `key`: the one that is known, else `first`.
    fn first_of(&mut self, key: &str, first: First, now: SystemTime) -> First {
        let old = |known: &First| now.duration_since(known.time).is_ok_and(|age| age > WINDOW);
        if let Some(known) = self.firsts.get(key).filter(|known| !old(known)) {
            return known.clone();
        }
        self.order.push_back((key.into(), first.id));
        self.firsts.insert(key.into(), first.clone());
        while self.order.len() > MOST {
            if let Some((oldest, id)) = self.order.pop_front() {
                self.release(&oldest, id);
            }
        }
        first
    }

    /// `id` was not carried out, or is forgotten: the next one with its key is the first.
    fn release(&mut self, key: &str, id: RelayId) {
        if self.firsts.get(key).is_some_and(|first| first.id == id) {
            self.firsts.remove(key);
        }
    }
}

impl Idempotency {
    pub fn new(follower: Arc<Follower>) -> Self {
        Self { follower, live: Mutex::default(), past: Mutex::default() }
    }

    /// To be asked for each request of a partition in the order of the log: the first that this owner took with the
    /// same key, be it this one; none without a key. `events`: where the events of the partition stand.
    pub(super) fn first_or_duplicate(&self, admitted: &Admitted, events: i64) -> Option<First> {
        let asked = admitted.idempotency.as_ref()?;
        let (body, time) = (asked.body.as_str().into(), admitted.at);
        let first = First { id: admitted.id, body, from: events, time };
        Some(lock(&self.live).first_of(&asked.key, first, SystemTime::now()))
    }

    /// Carries `claim` out, or gives it the answer of `first`, or of the one that was the first before this owner.
    pub(super) async fn deliver<C: Caller>(&self, claim: Claim, first: First, caller: &C) {
        let admitted = Arc::clone(claim.admitted());
        let Some(asked) = &admitted.idempotency else { return claim.deliver(caller).await };
        let first = if first.id == admitted.id {
            match self.before(&admitted, claim.epoch(), &asked.key).await {
                Some(before) if before.id != admitted.id => before,
                _ => return self.carry_out(claim, &asked.key, caller).await,
            }
        } else {
            first
        };
        claim.replay(&first, &self.follower, caller).await;
    }

    async fn carry_out<C: Caller>(&self, claim: Claim, key: &str, caller: &C) {
        let id = claim.admitted().id;
        let mut told = claim.replies().wait_for(id);
        claim.deliver(caller).await;
        while let Ok(Some(reply)) = tokio::time::timeout(TOLD, told.next()).await {
            if let Reply::End { reason, .. } = reply {
                if !carried_out(reason) {
                    lock(&self.live).release(key, id);
                }
                return;
            }
        }
    }

    /// The first of `key` before this epoch.
    async fn before(&self, admitted: &Admitted, epoch: i64, key: &str) -> Option<First> {
        let cell = {
            let mut past = lock(&self.past);
            let known = past.entry(admitted.partition).or_insert_with(|| (epoch, Arc::default()));
            if known.0 != epoch {
                *known = (epoch, Arc::default());
            }
            Arc::clone(&known.1)
        };
        loop {
            match cell.get_or_try_init(|| self.read(admitted.partition)).await {
                Ok(keys) => return keys.firsts.get(key).cloned(),
                Err(error) => {
                    tracing::warn!(partition = admitted.partition, %error, "the keys of a partition could not be read; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn read(&self, partition: i32) -> Result<Keys, FollowError> {
        let now = SystemTime::now();
        let range = self.follower.since(partition, now - WINDOW).await?;
        let visit = move |keys: &mut Keys, view: &View<'_>| {
            keys.hear(view, now);
            true
        };
        self.follower.read(partition, range, READING, Keys::default(), visit).await
    }
}

impl Keys {
    fn hear(&mut self, view: &View<'_>, now: SystemTime) {
        let fields = &view.fields;
        let Some((key, body)) = fields.idempotency else { return };
        let owned = matches!(fields.kind, Kind::Started | Kind::Event | Kind::Terminal);
        if !owned || fields.replay_of.is_some() {
            return;
        }
        let first = First { id: fields.id, body: body.into(), from: view.offset, time: fields.time };
        self.first_of(key, first, now);
        if fields.end.is_some_and(|end| !carried_out(end.reason)) {
            self.release(key, fields.id);
        }
    }
}

/// Whether a request that ended for `reason` may have had an effect; otherwise the same key may try again.
fn carried_out(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::LogUnavailable
            | Reason::UpstreamUnreachable
            | Reason::Overloaded
            | Reason::ShuttingDown
            | Reason::KeyReused
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(time: SystemTime) -> First {
        First { id: RelayId::generate(), body: "b".into(), from: 3, time }
    }

    #[test]
    fn the_first_of_a_key_stays_the_first_until_it_is_old_or_released() {
        let (mut keys, now) = (Keys::default(), SystemTime::now());
        let (one, two) = (first(now), first(now));
        assert_eq!(keys.first_of("k", one.clone(), now), one);
        assert_eq!(keys.first_of("k", two.clone(), now), one);
        keys.release("k", two.id);
        assert_eq!(keys.first_of("k", two.clone(), now), one, "another one's release");
        keys.release("k", one.id);
        assert_eq!(keys.first_of("k", two.clone(), now), two);
        let later = now + WINDOW + Duration::from_secs(1);
        let three = first(later);
        assert_eq!(keys.first_of("k", three.clone(), later), three);
    }

    #[test]
    fn keys_are_bounded() {
        let (mut keys, now) = (Keys::default(), SystemTime::now());
        for number in 0..=MOST {
            keys.first_of(&number.to_string(), first(now), now);
        }
        assert_eq!((keys.firsts.len(), keys.order.len()), (MOST, MOST));
        assert!(!keys.firsts.contains_key("0"));
    }
}
