//! What the upstream stage counts. Labels: `upstream` (a configured name), `result` (below).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::CallError;
use crate::message::{Name, Protocol};

/// From instant answers to the longest ordinary call.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0];
/// Values of `result`. `answered` includes errors that the upstream itself answered; `dropped`: the caller gave up.
const RESULTS: [&str; 7] =
    ["answered", "dropped", "unreachable", "timeout", "broken", "invalid", "unsupported"];

/// All families; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    calls: IntCounterVec,
    seconds: HistogramVec,
    restarts: IntCounterVec,
    garbage: IntCounterVec,
    discarded: IntCounterVec,
}

impl Metrics {
    /// Registers the families with `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let opts = HistogramOpts::new(
            "kamf_upstream_call_seconds",
            "Time from sending a call to the end of its answer.",
        );
        let seconds = HistogramVec::new(opts.buckets(SECONDS.to_vec()), &["protocol", "upstream"])?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self {
            calls: counter(
                "kamf_upstream_calls_total",
                "Calls to upstreams by what became of them.",
                &["protocol", "upstream", "result"],
            )?,
            seconds,
            restarts: counter(
                "kamf_upstream_restarts_total",
                "Starts of an upstream's process after the first.",
                &["upstream"],
            )?,
            garbage: counter(
                "kamf_upstream_garbage_lines_total",
                "Lines of stdio servers that are no JSON-RPC message, or are too long.",
                &["upstream"],
            )?,
            discarded: counter(
                "kamf_upstream_discarded_notifications_total",
                "Notifications of servers that belong to no call, or came faster than their caller reads.",
                &["upstream"],
            )?,
        })
    }

    /// Handles for the calls to one upstream, looked up once.
    pub(super) fn calls(&self, protocol: Protocol, upstream: &Name) -> Arc<CallMetrics> {
        let by_result = RESULTS
            .into_iter()
            .map(|result| (result, self.calls.with_label_values(&[protocol.as_str(), upstream, result])))
            .collect();
        let seconds = self.seconds.with_label_values(&[protocol.as_str(), upstream]);
        Arc::new(CallMetrics { by_result, seconds })
    }

    pub(super) fn restarted(&self, upstream: &Name) {
        self.restarts.with_label_values(&[upstream.as_ref()]).inc();
    }

    pub(super) fn garbage(&self, upstream: &Name) -> IntCounter {
        self.garbage.with_label_values(&[upstream.as_ref()])
    }

    pub(super) fn discarded(&self, upstream: &Name) -> IntCounter {
        self.discarded.with_label_values(&[upstream.as_ref()])
    }
}

/// Counts the calls to one upstream.
#[derive(Debug)]
pub(super) struct CallMetrics {
    by_result: HashMap<&'static str, IntCounter>,
    seconds: Histogram,
}

impl CallMetrics {
    pub(super) fn observe(&self, result: &'static str, elapsed: Duration) {
        if let Some(counter) = self.by_result.get(result) {
            counter.inc();
        }
        self.seconds.observe(elapsed.as_secs_f64());
    }
}

/// The value of `result` for an error.
pub(super) fn label(error: &CallError) -> &'static str {
    match error {
        CallError::Unreachable { .. } | CallError::Unknown { .. } => "unreachable",
        CallError::Timeout { .. } => "timeout",
        CallError::Broken { .. } => "broken",
        CallError::Invalid { .. } => "invalid",
        CallError::Unsupported { .. } => "unsupported",
    }
}
