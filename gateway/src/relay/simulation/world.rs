//! One partition of the log, the calendar, and what upstream and clients remember.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use rdkafka::Timestamp;
use rdkafka::message::OwnedMessage;
use tokio::time::Instant;

use super::rng::Rng;
use crate::message::{Mode, RelayId};
use crate::outcome::Reason;
use crate::relay::Admitted;
use crate::relay::admitted::tests::admitted;
use crate::relay::record::{Draft, Fields, Kind, View};
use crate::relay::tracker::Mark;

/// A rule that is left out, to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    None,
    /// A new owner does not look at what was started.
    StartedForgotten,
    /// The record before a call is acknowledged and not written.
    StartedUnwritten,
    /// What an owner wrote before it was replaced counts also when it comes to lie later.
    NoFence,
    /// Everything is called again.
    AllRepeatable,
    /// What was ended is taken once more.
    EndForgotten,
    /// An owner does not remember where the records of the requests begin that it took over.
    PastForgotten,
    /// A request counts as finished when it is taken.
    CommittedEarly,
}

impl Mutation {
    /// Each with what the check is to say.
    pub(super) const ALL: [(Self, &'static str); 7] = [
        (Self::StartedForgotten, "effects"),
        (Self::StartedUnwritten, "before"),
        (Self::NoFence, "ends"),
        (Self::AllRepeatable, "effects"),
        (Self::EndForgotten, "e"),
        (Self::PastForgotten, "e"),
        (Self::CommittedEarly, "ended"),
    ];
}

/// A record of the events, and the epoch under which it was written.
pub(super) struct Entry {
    pub(super) message: OwnedMessage,
    pub(super) epoch: i64,
    pub(super) at: SystemTime,
}

/// A call that the upstream saw.
pub(super) struct Call {
    pub(super) id: RelayId,
    /// The upstream acted on it.
    pub(super) effect: bool,
    /// What had to be on the log before was there.
    pub(super) announced: bool,
}

pub(super) struct Inner {
    pub(super) rng: Rng,
    pub(super) requests: Vec<Admitted>,
    pub(super) events: Vec<Entry>,
    pub(super) committed: Option<Mark>,
    pub(super) calls: Vec<Call>,
    pub(super) letters: Vec<(RelayId, Reason)>,
}

pub(super) struct World {
    inner: Mutex<Inner>,
    pub(super) mutation: Mutation,
    began: Instant,
}

impl World {
    pub(super) fn new(seed: u64, mutation: Mutation) -> Self {
        let inner = Inner {
            rng: Rng::new(seed),
            requests: Vec::new(),
            events: Vec::new(),
            committed: None,
            calls: Vec::new(),
            letters: Vec::new(),
        };
        Self { inner: Mutex::new(inner), mutation, began: Instant::now() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it is held")
    }

    pub(super) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + (Instant::now() - self.began)
    }

    pub(super) fn pause(&self, most: Duration) -> Duration {
        self.lock().rng.pause(most)
    }

    /// Puts a record down now; its offset.
    pub(super) fn land(&self, message: OwnedMessage, epoch: i64) -> i64 {
        let at = self.now();
        let mut inner = self.lock();
        let offset = inner.events.len() as i64;
        inner.events.push(Entry { message, epoch, at });
        offset
    }

    /// Whether the record at `offset` lies before any newer epoch.
    pub(super) fn counts(&self, offset: i64) -> bool {
        let inner = self.lock();
        let before = &inner.events[..=usize::try_from(offset).unwrap_or(0)];
        let own = before.last().map(|entry| entry.epoch);
        self.mutation == Mutation::NoFence || before.iter().map(|entry| entry.epoch).max() == own
    }

    /// A new owner's record; its offset is the epoch.
    pub(super) fn begin_epoch(&self) -> i64 {
        let offset = self.lock().events.len() as i64;
        let nobody = message(&admitted().fields(Kind::Refusal, self.now()), b"");
        self.land(nobody, offset)
    }

    /// Hands each record from `from` on that counts to `saw`, in order.
    pub(super) fn read(&self, from: i64, mut saw: impl FnMut(&View<'_>, SystemTime)) {
        let inner = self.lock();
        let mut newest = i64::MIN;
        for entry in inner.events.iter().skip(usize::try_from(from).unwrap_or(0)) {
            newest = newest.max(entry.epoch);
            if entry.epoch < newest && self.mutation != Mutation::NoFence {
                continue;
            }
            if let Ok(view) = View::decode(&entry.message) {
                saw(&view, entry.at);
            }
        }
    }

    pub(super) fn all_ended(&self) -> bool {
        let mut ended = BTreeMap::new();
        self.read(0, |view, _| {
            if view.fields.kind == Kind::Terminal {
                ended.insert(view.fields.id, ());
            }
        });
        self.lock().requests.iter().all(|request| ended.contains_key(&request.id))
    }

    /// All that happened, in a number.
    pub(super) fn course(&self) -> u64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut take = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        self.read(0, |view, at| {
            take(view.fields.id.as_bytes());
            take(view.fields.kind.as_str().as_bytes());
            take(view.body);
            take(&at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros().to_be_bytes());
        });
        for call in &self.lock().calls {
            take(call.id.as_bytes());
        }
        hash
    }
}

/// A record as it lies on the log.
pub(super) fn message(fields: &Fields<'_>, body: &[u8]) -> OwnedMessage {
    let headers = Draft::new(fields).headers;
    OwnedMessage::new(Some(body.to_vec()), None, "t".into(), Timestamp::NotAvailable, 0, 0, Some(headers))
}

/// Sends `count` requests; some are repeatable, some a journal's.
pub(super) async fn clients(world: Arc<World>, count: u64) {
    for number in 0..count {
        tokio::time::sleep(world.pause(Duration::from_secs(4))).await;
        let at = world.now();
        let mut inner = world.lock();
        let id = format!("01890000-0000-7000-8000-{number:012x}");
        let mode = if inner.rng.once_in(6) { Mode::Journal } else { Mode::Relay };
        let repeatable = inner.rng.once_in(3);
        let total = Duration::from_millis(200 + inner.rng.below(20_000));
        let id = RelayId::parse(&id).expect("an id");
        inner.requests.push(Admitted { id, mode, repeatable, at, deadline: at + total, ..admitted() });
    }
}
