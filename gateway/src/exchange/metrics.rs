//! What becomes of exchanges, counted once each.

use std::time::Instant;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use crate::message::{Dialect, Mode, Operation};
use crate::outcome::Reason;

/// Handles, looked up once.
#[derive(Debug)]
pub struct Metrics {
    /// Labels: protocol, method, mode, reason; all closed sets.
    ended: IntCounterVec,
    seconds: HistogramVec,
    pub open: IntGauge,
    /// Records that a direct exchange could not hand over to the log.
    pub unrecorded: prometheus::IntCounter,
    /// Label: protocol.
    resumed: IntCounterVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];
        let metrics = Self {
            ended: IntCounterVec::new(
                Opts::new("kamf_exchange_ended_total", "Exchanges by what became of them."),
                &["protocol", "method", "mode", "reason"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "kamf_exchange_seconds",
                    "Time from admission to the answer, or to the end of a stream.",
                )
                .buckets(buckets),
                &["protocol", "mode"],
            )?,
            open: IntGauge::new("kamf_exchange_open", "Exchanges whose client waits.")?,
            unrecorded: prometheus::IntCounter::new(
                "kamf_exchange_unrecorded_total",
                "Records of direct exchanges that are missing from the log.",
            )?,
            resumed: IntCounterVec::new(
                Opts::new(
                    "kamf_exchange_resumed_total",
                    "Streams that a client went on with after they broke.",
                ),
                &["protocol"],
            )?,
        };
        registry.register(Box::new(metrics.ended.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.unrecorded.clone()))?;
        registry.register(Box::new(metrics.resumed.clone()))?;
        Ok(metrics)
    }

    /// Counts a stream that is gone on with.
    pub(super) fn resumed(&self, dialect: Dialect) {
        self.resumed.with_label_values(&[dialect.protocol().as_str()]).inc();
    }

    /// Counts a message that ended before its method was known.
    pub(super) fn refused(&self, protocol: &'static str, reason: Reason) {
        self.ended.with_label_values(&[protocol, "", "", reason.label()]).inc();
    }

    /// Begins the count of one exchange.
    pub(super) fn begin(
        self: &std::sync::Arc<Self>,
        dialect: Dialect,
        operation: Operation,
        mode: Mode,
    ) -> Ending {
        self.open.inc();
        Ending {
            metrics: std::sync::Arc::clone(self),
            dialect,
            operation,
            mode,
            began: Instant::now(),
            reason: None,
        }
    }
}

/// Insists on an end: dropped without one, its client has gone.
#[derive(Debug)]
pub(super) struct Ending {
    metrics: std::sync::Arc<Metrics>,
    dialect: Dialect,
    operation: Operation,
    mode: Mode,
    began: Instant,
    reason: Option<Reason>,
}

impl Ending {
    pub(super) fn set(&mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    pub(super) fn finish(mut self, reason: Reason) {
        self.reason = Some(reason);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // hyper drops what works for a client that has gone; a panic is our own fault.
        let given_up = if std::thread::panicking() { Reason::Dropped } else { Reason::ClientGone };
        let reason = self.reason.unwrap_or(given_up);
        let (protocol, mode) = (self.dialect.protocol().as_str(), self.mode.as_str());
        let method = self.operation.method(self.dialect);
        self.metrics.open.dec();
        self.metrics.ended.with_label_values(&[protocol, method, mode, reason.label()]).inc();
        self.metrics.seconds.with_label_values(&[protocol, mode]).observe(self.began.elapsed().as_secs_f64());
        tracing::debug!(protocol, method, mode, reason = reason.label(), "an exchange ended");
    }
}
