//! The way in to one upstream: so many calls at a time, so many that wait, none while it is left alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::CallError;
use super::breaker::{Breaker, Heard, Verdict};
use super::budget::Budget;
use super::metrics::GateMetrics;
use crate::config::Route;
use crate::message::Name;

/// One upstream's gate.
#[derive(Debug)]
pub struct Gate {
    upstream: Name,
    slots: Arc<Semaphore>,
    queue: usize,
    concurrency: usize,
    waiting: AtomicUsize,
    state: Mutex<State>,
    /// Rung when the circuit closes, or another call may try.
    changed: Notify,
    metrics: GateMetrics,
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    budget: Budget,
}

/// Why nobody is let in.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    #[error("`{0}` has as many requests waiting as it may; nothing was sent to it")]
    Full(Name),
    #[error("`{0}` failed too often and is left alone for a moment; nothing was sent to it")]
    Open(Name),
}

/// How a gate is, as the admin listener shows it.
#[derive(Clone, Copy, Debug)]
pub struct GateHealth {
    /// `closed`: calls go; `open`: none; `half-open`: one tries.
    pub circuit: &'static str,
    pub calls: usize,
    pub waiting: usize,
}

impl Gate {
    pub(super) fn new(upstream: &Name, route: &Route, metrics: GateMetrics) -> Arc<Self> {
        let now = Instant::now();
        let breaker = Breaker::new(route.breaker, route.retry.max, now);
        let budget = Budget::new(route.retry.budget, now);
        Arc::new(Self {
            upstream: upstream.clone(),
            slots: Arc::new(Semaphore::new(route.concurrency)),
            queue: route.queue,
            concurrency: route.concurrency,
            waiting: AtomicUsize::new(0),
            state: Mutex::new(State { breaker, budget }),
            changed: Notify::new(),
            metrics,
        })
    }

    /// Waits until call number `attempt` may go, however long that takes: dropping the future leaves the line.
    pub async fn enter(self: &Arc<Self>, attempt: u32) -> Place {
        let mut waiting = None;
        if attempt > 1 {
            self.metrics.retries.inc();
            waiting = Some(self.wait());
            while let Err(pause) = self.again() {
                tokio::time::sleep(pause).await;
            }
        }
        loop {
            if let Some(place) = self.try_enter(attempt) {
                return place;
            }
            waiting.get_or_insert_with(|| self.wait());
            let changed = self.changed.notified();
            match self.ask_only() {
                Some(until) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
                None => {
                    // The semaphore is never closed, and it is fair.
                    if let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await
                        && let Some(place) = self.pass(slot, attempt)
                    {
                        return place;
                    }
                }
            }
        }
    }

    /// As [`Gate::enter`] for who does not wait for an upstream that is left alone; a free place is waited for.
    ///
    /// # Errors
    /// See [`Closed`].
    pub async fn enter_open(self: &Arc<Self>) -> Result<Place, Closed> {
        if let Some(place) = self.try_enter(1) {
            return Ok(place);
        }
        if self.ask_only().is_some() {
            return Err(Closed::Open(self.upstream.clone()));
        }
        self.room()?;
        let _waiting = self.wait();
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let place = slot.ok().and_then(|slot| self.pass(slot, 1));
        place.ok_or_else(|| Closed::Open(self.upstream.clone()))
    }

    /// Whether one more request may wait here.
    ///
    /// # Errors
    /// As many wait as may.
    pub fn room(&self) -> Result<(), Closed> {
        if self.waiting.load(Ordering::Relaxed) < self.queue {
            return Ok(());
        }
        self.metrics.refused.inc();
        Err(Closed::Full(self.upstream.clone()))
    }

    /// Whether a call may go now, as far as can be told without asking for it.
    pub fn is_free(&self) -> bool {
        self.slots.available_permits() > 0 && self.ask_only().is_none()
    }

    pub fn health(&self) -> GateHealth {
        GateHealth {
            circuit: self.lock().breaker.state(),
            calls: self.concurrency - self.slots.available_permits(),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    fn try_enter(self: &Arc<Self>, attempt: u32) -> Option<Place> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        self.pass(slot, attempt)
    }

    fn pass(self: &Arc<Self>, slot: OwnedSemaphorePermit, attempt: u32) -> Option<Place> {
        let mut state = self.lock();
        let tries = match state.breaker.ask(Instant::now()) {
            Verdict::Go => false,
            Verdict::Try => true,
            Verdict::Wait(_) => return None,
        };
        if attempt == 1 {
            state.budget.first();
        }
        self.metrics.circuit(state.breaker.state());
        drop(state);
        Some(Place { gate: Arc::clone(self), _slot: slot, tries, told: false })
    }

    /// Until when it is left alone, if it is.
    fn ask_only(&self) -> Option<Instant> {
        self.lock().breaker.closed_until(Instant::now())
    }

    fn again(&self) -> Result<(), std::time::Duration> {
        self.lock().budget.again(Instant::now())
    }

    fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.metrics.waiting.inc();
        Waiting(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits; counted as long as it lives.
struct Waiting<'a>(&'a Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.waiting.dec();
    }
}

/// Leave to make one call; the place is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    _slot: OwnedSemaphorePermit,
    tries: bool,
    told: bool,
}

impl Place {
    /// Tells what the call heard.
    pub(super) fn saw<T>(&mut self, outcome: &Result<T, CallError>) {
        self.told = true;
        self.tell(match outcome {
            Ok(_) | Err(CallError::Timeout { .. } | CallError::Unsupported { .. }) => Heard::Well,
            Err(CallError::Unreachable { .. }) => Heard::Unreachable,
            Err(CallError::Broken { .. } | CallError::Invalid { .. }) => Heard::Broken,
            Err(CallError::Unknown { .. }) => Heard::Nothing,
        });
    }

    fn tell(&self, heard: Heard) {
        let mut state = self.gate.lock();
        if state.breaker.heard(heard, self.tries, Instant::now()) {
            let now = state.breaker.state();
            self.gate.metrics.circuit(now);
            drop(state);
            tracing::info!(upstream = %self.gate.upstream, circuit = now, "the circuit of an upstream changed");
            self.gate.changed.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Heard::Nothing);
        }
    }
}

#[cfg(test)]
mod tests;
