//! What the durable hop counts.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::append_error::AppendError;

/// Handles, looked up once.
#[derive(Debug)]
pub struct Metrics {
    /// From handing a record over until its acknowledgement.
    pub append_seconds: Histogram,
    append_errors: IntCounterVec,
    pub producers_rebuilt: IntCounter,
    /// Exchanges that are being delivered right now.
    pub deliveries: IntGauge,
    /// Requests found unfinished on the log after a start.
    pub recovered: IntCounter,
    /// Records of others in our topics, passed over.
    pub unreadable: IntCounter,
    pub dead_letters: IntCounter,
    pub dead_letters_lost: IntCounter,
    /// Streams cut because their client read too slowly.
    pub lagging: IntCounter,
    /// Tasks that are known.
    pub tasks: IntGauge,
    /// Tasks that had to go for others, because there are too many.
    pub tasks_forgotten: IntCounter,
    /// Tasks that the log did not acknowledge; they are written again.
    pub tasks_unwritten: IntCounter,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];
        let metrics = Self {
            append_seconds: Histogram::with_opts(
                HistogramOpts::new("kamf_relay_append_seconds", "Time until the log acknowledged a record.")
                    .buckets(buckets),
            )?,
            append_errors: IntCounterVec::new(
                Opts::new("kamf_relay_append_errors_total", "Records that the log did not acknowledge."),
                &["error"],
            )?,
            producers_rebuilt: IntCounter::new(
                "kamf_relay_producers_rebuilt_total",
                "Producers replaced after a fatal error.",
            )?,
            deliveries: IntGauge::new("kamf_relay_deliveries", "Exchanges being delivered.")?,
            recovered: IntCounter::new(
                "kamf_relay_recovered_total",
                "Requests found unfinished on the log after a start.",
            )?,
            unreadable: IntCounter::new(
                "kamf_relay_unreadable_records_total",
                "Records in our topics that this version cannot read.",
            )?,
            dead_letters: IntCounter::new(
                "kamf_relay_dead_letters_total",
                "Requests that could not be delivered, and records that cannot be read, kept among the dead letters.",
            )?,
            dead_letters_lost: IntCounter::new(
                "kamf_relay_dead_letters_lost_total",
                "Dead letters that the log did not take.",
            )?,
            lagging: IntCounter::new(
                "kamf_relay_lagging_streams_total",
                "Streams cut because their client read too slowly.",
            )?,
            tasks: IntGauge::new("kamf_relay_tasks", "Tasks that are known.")?,
            tasks_forgotten: IntCounter::new(
                "kamf_relay_tasks_forgotten_total",
                "Tasks forgotten because there are more than limits.tasks.",
            )?,
            tasks_unwritten: IntCounter::new(
                "kamf_relay_task_append_errors_total",
                "Records of tasks that the log did not acknowledge.",
            )?,
        };
        registry.register(Box::new(metrics.append_seconds.clone()))?;
        registry.register(Box::new(metrics.append_errors.clone()))?;
        registry.register(Box::new(metrics.producers_rebuilt.clone()))?;
        registry.register(Box::new(metrics.deliveries.clone()))?;
        registry.register(Box::new(metrics.recovered.clone()))?;
        registry.register(Box::new(metrics.unreadable.clone()))?;
        registry.register(Box::new(metrics.dead_letters.clone()))?;
        registry.register(Box::new(metrics.dead_letters_lost.clone()))?;
        registry.register(Box::new(metrics.lagging.clone()))?;
        registry.register(Box::new(metrics.tasks.clone()))?;
        registry.register(Box::new(metrics.tasks_forgotten.clone()))?;
        registry.register(Box::new(metrics.tasks_unwritten.clone()))?;
        Ok(metrics)
    }

    pub(super) fn append_failed(&self, error: &AppendError) {
        let label = match error {
            AppendError::Full => "full",
            AppendError::Unconfirmed => "unconfirmed",
            AppendError::Unplaced => "unplaced",
            AppendError::Refused(_) => "refused",
        };
        self.append_errors.with_label_values(&[label]).inc();
    }
}
