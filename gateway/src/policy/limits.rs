//! A token bucket for each caller and upstream.
//!
//! Kept as the one number of the generic cell rate algorithm: the moment at which the bucket is full
//! again (the *theoretical arrival time*). A bucket that is full is the same as none, so it can be dropped
//! at any time and memory is bounded without losing a count.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Rate;

use super::identity::Principal;
use super::metrics::Metrics;

/// Buckets in all; beyond, callers share one bucket a shard until others are full again. One is 100 bytes.
const BUCKETS_MAX: usize = 65_536;
/// Locks side by side, so that workers seldom meet at one.
const SHARDS: usize = 16;

/// Over the rate: nothing was counted, and after this time one call passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over this caller's rate for this upstream; retry after {:.1} s", retry_after.as_secs_f64())]
pub struct RateLimited {
    pub retry_after: Duration,
}

/// Shared by all workers.
pub struct RateLimiter {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    start: Instant,
    /// Nanoseconds that one call costs, and that the bucket holds.
    cost: u64,
    burst: u64,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Shard {
    buckets: HashMap<Key, u64>,
    /// For those who find no place.
    shared: u64,
    /// Before this moment (in nanoseconds since the start) it is of no use to look for full buckets.
    sweep_at: u64,
}

/// Hash of caller and upstream under a random key, twice: 128 bits are never met twice.
type Key = (u64, u64);

impl RateLimiter {
    /// `burst` calls at once, `per_second` in the long run; a rate or burst of zero lets nobody pass.
    pub fn new(rate: Rate) -> Self {
        let cost = 1_000_000_000_u64.checked_div(u64::from(rate.per_second)).unwrap_or(u64::MAX);
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            start: Instant::now(),
            cost,
            burst: cost.saturating_mul(u64::from(rate.burst)),
            metrics: Arc::new(Metrics::unregistered()),
        }
    }

    /// Counts into `metrics` from now on.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Takes one call out of the bucket of `principal` at `upstream` (an agent or server).
    pub fn check(&self, principal: &Principal, upstream: &str) -> Result<(), RateLimited> {
        self.check_at(principal, upstream, Instant::now())
    }

    /// The same at a moment of the caller's choice; an earlier one than before counts as that one.
    pub fn check_at(&self, principal: &Principal, upstream: &str, now: Instant) -> Result<(), RateLimited> {
        // Tenant and name only: a change of groups must not give a fresh bucket.
        let first = self.hasher.hash_one((principal.id(), upstream));
        let key = (first, self.hasher.hash_one((first, upstream, principal.id())));
        let since = now.saturating_duration_since(self.start).as_nanos();
        let now = u64::try_from(since).unwrap_or(u64::MAX / 2);
        let shard = &self.shards[(first >> 60) as usize % SHARDS];
        let outcome = {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            take(shard.bucket(key, now), now, self.cost, self.burst)
        };
        outcome.map_err(|wait| {
            self.metrics.rate_limited();
            RateLimited { retry_after: Duration::from_nanos(wait) }
        })
    }
}

/// Moves the bucket's moment on by the cost of a call, or says how long until there is room for it.
fn take(full_at: &mut u64, now: u64, cost: u64, burst: u64) -> Result<(), u64> {
    let after = (*full_at).max(now).saturating_add(cost);
    let wait = after.saturating_sub(now).saturating_sub(burst);
    if wait > 0 {
        return Err(wait);
    }
    *full_at = after;
    Ok(())
}

impl Shard {
    fn bucket(&mut self, key: Key, now: u64) -> &mut u64 {
        const PLACES: usize = BUCKETS_MAX / SHARDS;
        if self.buckets.len() >= PLACES && !self.buckets.contains_key(&key) {
            if now >= self.sweep_at {
                self.buckets.retain(|_, full_at| *full_at > now);
                // At most one sweep a second, so that its cost is nothing per call.
                self.sweep_at = now.saturating_add(1_000_000_000);
            }
            if self.buckets.len() >= PLACES {
                return &mut self.shared;
            }
        }
        self.buckets.entry(key).or_insert(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Principal {
        Principal::new("demo", name, &[]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_then_the_rate() {
        let limiter = RateLimiter::new(Rate { per_second: 10, burst: 3 });
        let caller = caller("analyst");
        for _ in 0..3 {
            assert_eq!(limiter.check(&caller, "advisor"), Ok(()));
        }
        let limited = limiter.check(&caller, "advisor").unwrap_err();
        assert_eq!(limited.retry_after, Duration::from_millis(100));
        tokio::time::advance(Duration::from_millis(99)).await;
        assert_eq!(limiter.check(&caller, "advisor").unwrap_err().retry_after, Duration::from_millis(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(limiter.check(&caller, "advisor"), Ok(()));
        assert!(limiter.check(&caller, "advisor").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_and_upstreams_do_not_share() {
        let limiter = RateLimiter::new(Rate { per_second: 1, burst: 1 });
        for name in ["analyst", "treasurer"] {
            for upstream in ["advisor", "ledger"] {
                assert!(limiter.check(&caller(name), upstream).is_ok(), "{name} {upstream}");
                assert!(limiter.check(&caller(name), upstream).is_err(), "{name} {upstream}");
            }
        }
        let grown = Principal::new("demo", "analyst", &["more".to_owned()]).unwrap();
        assert!(limiter.check(&grown, "advisor").is_err(), "another group gave a fresh bucket");
    }

    #[tokio::test(start_paused = true)]
    async fn the_long_run_is_the_rate() {
        let limiter = RateLimiter::new(Rate { per_second: 100, burst: 20 });
        let caller = caller("analyst");
        let mut passed = 0;
        for _ in 0..10_000 {
            passed += u32::from(limiter.check(&caller, "advisor").is_ok());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!((1_019..=1_021).contains(&passed), "{passed} in ten seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_a_flood_of_callers_is_limited() {
        let limiter = RateLimiter::new(Rate { per_second: 1, burst: 1 });
        let flood = BUCKETS_MAX + 2_000;
        let passed = (0..flood).filter(|n| limiter.check(&caller(&n.to_string()), "advisor").is_ok()).count();
        let held = |limiter: &RateLimiter| -> usize {
            limiter.shards.iter().map(|shard| shard.lock().unwrap().buckets.len()).sum()
        };
        assert!(held(&limiter) <= BUCKETS_MAX);
        assert!(passed <= BUCKETS_MAX + SHARDS, "{passed} of {flood} passed");
        tokio::time::advance(Duration::from_secs(3)).await;
        for n in 0..200 {
            assert!(limiter.check(&caller(&format!("later {n}")), "advisor").is_ok());
        }
        assert!(held(&limiter) <= 4_096 * 2 + BUCKETS_MAX, "full buckets were not dropped");
    }

    #[test]
    fn a_rate_of_zero_lets_nobody_pass() {
        let limiter = RateLimiter::new(Rate { per_second: 0, burst: 0 });
        assert!(limiter.check(&caller("analyst"), "advisor").is_err());
    }
}
