//! What a connection is doing, as far as its deadlines need to know.
//!
//! Written by its reads, writes and requests; read by the driver each time the connection's task runs. So a
//! request sets no timer: one per connection serves for heads, idling and stalled writes together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::metrics::Cut;

/// No time: nothing of the kind is going on.
const NONE: u64 = u64::MAX;

/// The state of one connection. Times are nanoseconds since `start`.
#[derive(Debug)]
pub(in crate::edge) struct Activity {
    start: Instant,
    /// Requests whose answers are not out yet.
    open: AtomicUsize,
    /// Since when there was no request.
    idle_since: AtomicU64,
    /// Since when bytes of a head are there that is not complete.
    head_since: AtomicU64,
    /// Since when the peer takes no bytes.
    blocked_since: AtomicU64,
    /// The same count for the whole listener.
    listener_open: Arc<AtomicUsize>,
}

/// How long what may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) stall: Duration,
}

impl Activity {
    pub(super) fn new(listener_open: Arc<AtomicUsize>) -> Self {
        Self {
            start: Instant::now(),
            open: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NONE),
            blocked_since: AtomicU64::new(NONE),
            listener_open,
        }
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        if self.open.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == NONE {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The peer takes bytes, or does not.
    pub(super) fn wrote(&self, blocked: bool) {
        let was = self.blocked_since.load(Ordering::Relaxed) != NONE;
        if was != blocked {
            self.blocked_since.store(if blocked { self.now() } else { NONE }, Ordering::Relaxed);
        }
    }

    /// A request's head is complete.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.listener_open.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(NONE, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Which deadline comes first if nothing happens until then; none while a request is being answered.
    pub(super) fn due(&self, times: &Times) -> Option<(Cut, Instant)> {
        let at = |since: u64, after: Duration| self.start + Duration::from_nanos(since) + after;
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        let stall = (blocked != NONE).then(|| (Cut::Stalled, at(blocked, times.stall)));
        if self.open.load(Ordering::Relaxed) > 0 {
            return stall;
        }
        let rest = match self.head_since.load(Ordering::Relaxed) {
            NONE => (Cut::Idle, at(self.idle_since.load(Ordering::Relaxed), times.idle)),
            since => (Cut::Head, at(since, times.head)),
        };
        Some(stall.filter(|stall| stall.1 < rest.1).unwrap_or(rest))
    }

    fn now(&self) -> u64 {
        // 584 years of one connection fit.
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(NONE - 1)
    }
}

/// One request that is open; dropping it says that its answer is out, or that nobody waits for it.
#[derive(Debug)]
pub(in crate::edge) struct Open(Arc<Activity>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.listener_open.fetch_sub(1, Ordering::Relaxed);
    }
}
