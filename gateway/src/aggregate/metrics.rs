//! What the stream module counts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::dimensions::OTHER;
use super::usage::Usage;
use super::window::{Observation, Placement};
use crate::outcome::State;

/// Pairs of tenant and agent that have counters of their own; the next are counted as `other`.
const MAX_PAIRS: usize = 100;

/// By tenant, then by agent.
type Pairs = HashMap<Box<str>, HashMap<Box<str>, Spending>>;

/// Handles, looked up once. Counters count each exchange once, also when the log is read again.
pub struct Metrics {
    pub requests_read: IntCounter,
    pub events_read: IntCounter,
    /// Records of others in our topics, passed over.
    pub unreadable: IntCounter,
    /// Records not read yet, over all partitions of requests and events.
    pub lag: IntGauge,
    /// How far event time read lies behind the clock.
    pub watermark_lag: IntGauge,
    pub windows: IntGauge,
    pub cells: IntGauge,
    pub late: IntCounter,
    pub corrections: IntCounter,
    pub overflowed: IntCounter,
    pub rows_written: IntCounter,
    pub audited: IntCounter,
    /// Requests without an end that are remembered.
    pub open: IntGauge,
    /// Requests whose end did not come in time.
    pub overdue: IntCounter,
    /// Usage of streams that were abandoned, or beyond what is remembered.
    pub usage_dropped: IntCounter,
    pub unpriced: IntCounter,
    /// Times that the module began anew from the log.
    pub restarts: IntCounter,
    states: Vec<(&'static str, IntCounter)>,
    tokens: IntCounterVec,
    cost: IntCounterVec,
    pairs: Mutex<Pairs>,
}

/// Counters of one tenant and agent.
#[derive(Clone)]
struct Spending {
    input: IntCounter,
    output: IntCounter,
    cost: IntCounter,
}

impl Metrics {
    /// # Errors
    /// When the registry has metrics of the same name already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let vector = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone())).map(|()| metric)
        };
        let read = vector("kamf_aggregate_records_read_total", "Records read, by topic.", &["topic"])?;
        let ended =
            vector("kamf_aggregate_exchanges_total", "Exchanges that ended, by last state.", &["state"])?;
        let state = |state: State| (state.as_str(), ended.with_label_values(&[state.as_str()]));
        Ok(Self {
            requests_read: read.with_label_values(&["requests"]),
            events_read: read.with_label_values(&["events"]),
            unreadable: counter(
                "kamf_aggregate_unreadable_records_total",
                "Records that this version cannot read.",
            )?,
            lag: gauge("kamf_aggregate_lag_records", "Records of requests and events not read yet.")?,
            watermark_lag: gauge(
                "kamf_aggregate_watermark_lag_seconds",
                "How far the event time read in every partition lies behind the clock.",
            )?,
            windows: gauge("kamf_aggregate_windows_held", "10-second windows held in memory.")?,
            cells: gauge("kamf_aggregate_cells_held", "Keys in all windows held.")?,
            late: counter("kamf_aggregate_late_total", "Exchanges that came after their window closed.")?,
            corrections: counter(
                "kamf_aggregate_corrections_total",
                "Exchanges written as corrections, their window being no longer held.",
            )?,
            overflowed: counter(
                "kamf_aggregate_overflowed_total",
                "Exchanges counted under the key `other`.",
            )?,
            rows_written: counter("kamf_aggregate_rows_written_total", "Rows written to the aggregates.")?,
            audited: counter("kamf_aggregate_audit_records_total", "Audit records written.")?,
            open: gauge("kamf_aggregate_open_requests", "Requests read whose end has not been read.")?,
            overdue: counter(
                "kamf_aggregate_overdue_requests_total",
                "Requests given up an hour past their deadline, without an end.",
            )?,
            usage_dropped: counter(
                "kamf_aggregate_usage_dropped_total",
                "Usage reports of streams that never ended, or beyond the bound.",
            )?,
            unpriced: counter(
                "kamf_aggregate_unpriced_total",
                "Exchanges with usage of a model that has no price.",
            )?,
            restarts: counter("kamf_aggregate_restarts_total", "Times begun anew from the log.")?,
            states: State::ALL.into_iter().map(state).collect(),
            tokens: vector(
                "kamf_aggregate_tokens_total",
                "Tokens reported.",
                &["tenant", "agent", "direction"],
            )?,
            cost: vector(
                "kamf_aggregate_cost_millionths_total",
                "Cost in millionths of the configured currency.",
                &["tenant", "agent"],
            )?,
            pairs: Mutex::default(),
        })
    }

    /// Counts an exchange that is read for the first time.
    pub fn count(&self, observation: &Observation<'_>, placement: Placement) {
        let (labels, usage) = (observation.labels, observation.usage);
        if let Some((_, ended)) = self.states.iter().find(|(state, _)| *state == labels.state) {
            ended.inc();
        }
        match placement {
            Placement::Late => self.late.inc(),
            Placement::Corrected => self.corrections.inc(),
            Placement::Counted | Placement::Known => {}
        }
        if usage.unpriced {
            self.unpriced.inc();
        }
        if usage != Usage::default() {
            let spending = self.spending(labels.tenant, labels.agent);
            spending.input.inc_by(usage.input_tokens);
            spending.output.inc_by(usage.output_tokens);
            spending.cost.inc_by(usage.cost);
        }
    }

    fn spending(&self, tenant: &str, agent: &str) -> Spending {
        // Only the stream's own thread comes here.
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spending) = pairs.get(tenant).and_then(|agents| agents.get(agent)) {
            return spending.clone();
        }
        let known: usize = pairs.values().map(HashMap::len).sum();
        let (tenant, agent) = if known < MAX_PAIRS { (tenant, agent) } else { (OTHER, OTHER) };
        let spending = Spending {
            input: self.tokens.with_label_values(&[tenant, agent, "input"]),
            output: self.tokens.with_label_values(&[tenant, agent, "output"]),
            cost: self.cost.with_label_values(&[tenant, agent]),
        };
        pairs.entry(tenant.into()).or_default().insert(agent.into(), spending.clone());
        spending
    }
}
