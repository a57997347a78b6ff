//! What the upstream stage counts. Labels: `upstream` (a configured name), `result` (below).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

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
    circuit: IntGaugeVec,
    waiting: IntGaugeVec,
    retries: IntCounterVec,
    turned_away: IntCounterVec,
}

impl Metrics {
    /// Registers the families with `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["upstream"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
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
            circuit: gauge(
                "kamf_upstream_circuit",
                "Whether an upstream is called: 0 closed (it is), 1 half-open (one call tries), 2 open (it is left alone).",
            )?,
            waiting: gauge("kamf_upstream_waiting", "Requests that wait for an upstream.")?,
            retries: counter(
                "kamf_upstream_retries_total",
                "Attempts at a request after the first.",
                &["upstream"],
            )?,
            turned_away: counter(
                "kamf_upstream_turned_away_total",
                "Requests refused because as many wait for their upstream as may.",
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

impl Metrics {
    /// Handles for the gate of one upstream.
    pub(super) fn gate(&self, upstream: &Name) -> GateMetrics {
        let name = [upstream.as_ref()];
        GateMetrics {
            circuit: self.circuit.with_label_values(&name),
            waiting: self.waiting.with_label_values(&name),
            retries: self.retries.with_label_values(&name),
            refused: self.turned_away.with_label_values(&name),
        }
    }
}

/// What the gate of one upstream counts.
#[derive(Debug)]
pub(super) struct GateMetrics {
    circuit: IntGauge,
    pub(super) waiting: IntGauge,
    pub(super) retries: IntCounter,
    pub(super) refused: IntCounter,
}

impl GateMetrics {
    pub(super) fn circuit(&self, state: &str) {
        self.circuit.set(match state {
            "closed" => 0,
            "half-open" => 1,
            _ => 2,
        });
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
