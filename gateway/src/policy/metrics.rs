//! What this stage counts. All labels are closed sets.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::decision::{Cause, Decision};
use super::identity::Failure;

/// Handles, looked up once. `kamf_policy_…`.
pub struct Metrics {
    /// By [`Cause`], in its order.
    decisions: Vec<IntCounter>,
    /// By failure, in the order of declaration.
    authentication_failures: Vec<IntCounter>,
    rate_limited: IntCounter,
    decision_cache: [IntCounter; 2],
    token_cache: [IntCounter; 2],
    families: Families,
}

struct Families {
    decisions: IntCounterVec,
    authentication_failures: IntCounterVec,
    cache: IntCounterVec,
}

impl Metrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    /// When the registry has counters of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::unregistered();
        registry.register(Box::new(metrics.families.decisions.clone()))?;
        registry.register(Box::new(metrics.families.authentication_failures.clone()))?;
        registry.register(Box::new(metrics.families.cache.clone()))?;
        registry.register(Box::new(metrics.rate_limited.clone()))?;
        Ok(metrics)
    }

    /// Counters that nobody reads, until others are given.
    pub(super) fn unregistered() -> Self {
        let families = Families {
            decisions: family(
                "kamf_policy_decisions_total",
                "Decisions by effect (allow, deny) and cause (permitted, unguarded, forbidden, not_permitted, undecidable).",
                &["effect", "cause"],
            ),
            authentication_failures: family(
                "kamf_policy_authentication_failures_total",
                "Requests without a caller, by what was wrong with the credential.",
                &["reason"],
            ),
            cache: family(
                "kamf_policy_cache_lookups_total",
                "Look-ups in the caches of decisions and of verified tokens, by result (hit, miss).",
                &["cache", "result"],
            ),
        };
        let effect = |cause| match cause {
            Cause::Permitted | Cause::Unguarded => "allow",
            Cause::Forbidden | Cause::NotPermitted | Cause::Undecidable => "deny",
        };
        let cache = |name| ["miss", "hit"].map(|result| families.cache.with_label_values(&[name, result]));
        Self {
            decisions: Cause::ALL
                .iter()
                .map(|cause| families.decisions.with_label_values(&[effect(*cause), cause.label()]))
                .collect(),
            authentication_failures: Failure::ALL
                .iter()
                .map(|failure| families.authentication_failures.with_label_values(&[failure.label()]))
                .collect(),
            rate_limited: IntCounter::new(
                "kamf_policy_rate_limited_total",
                "Calls refused because the caller was over its rate for the upstream.",
            )
            .expect("a fixed name and help text make a counter"),
            decision_cache: cache("decisions"),
            token_cache: cache("tokens"),
            families,
        }
    }

    pub(super) fn decided(&self, decision: &Decision) {
        self.decisions[decision.cause as usize].inc();
    }

    pub(super) fn authentication_failed(&self, failure: Failure) {
        self.authentication_failures[failure as usize].inc();
    }

    pub(super) fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    pub(super) fn decision_looked_up(&self, hit: bool) {
        self.decision_cache[usize::from(hit)].inc();
    }

    pub(super) fn token_looked_up(&self, hit: bool) {
        self.token_cache[usize::from(hit)].inc();
    }
}

fn family(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("fixed names and labels make a counter")
}
