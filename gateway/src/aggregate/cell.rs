//! The numbers of one key in one window.

use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};

use super::window::Observation;

/// Sums over exchanges. Integers, so that they equal a recount to the last unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub calls: u64,
    /// Calls that did not end as `completed`.
    pub errors: u64,
    pub request_bytes: u64,
    pub answer_bytes: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Millionths of the configured currency.
    pub cost: u64,
    /// Calls whose cost is a fixed price, because the answer reported no usage.
    pub estimated_calls: u64,
}

impl Totals {
    /// The totals of one exchange.
    pub fn of(observation: &Observation<'_>) -> Self {
        let usage = observation.usage;
        Self {
            calls: 1,
            errors: u64::from(observation.labels.state != "completed"),
            request_bytes: observation.request_bytes,
            answer_bytes: observation.answer_bytes,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cost: usage.cost,
            estimated_calls: u64::from(usage.estimated),
        }
    }

    /// Adds; a sum that does not fit stays at the greatest number.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.calls, other.calls),
            (&mut self.errors, other.errors),
            (&mut self.request_bytes, other.request_bytes),
            (&mut self.answer_bytes, other.answer_bytes),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cost, other.cost),
            (&mut self.estimated_calls, other.estimated_calls),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Latency quantiles in microseconds, within 1 % of the true ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
}

/// Totals and latency sketch of one key in one window, and what of it is still to be written.
#[derive(Clone)]
pub(super) struct Cell {
    pub(super) totals: Totals,
    latency: DDSketch,
    /// Changed since the 10-second row was handed out.
    pub(super) dirty: bool,
    /// Changed since the 1-minute row was handed out.
    pub(super) minute_dirty: bool,
}

impl Cell {
    pub(super) fn new() -> Self {
        // 1 % relative error, 2,048 buckets at most; they grow by need, 1 KiB at a time.
        let latency = DDSketch::new(Config::defaults());
        Self { totals: Totals::default(), latency, dirty: false, minute_dirty: false }
    }

    pub(super) fn add(&mut self, observation: &Observation<'_>) {
        self.totals.add(&Totals::of(observation));
        self.latency.add(observation.duration_us as f64);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.totals.add(&other.totals);
        // Fails only for sketches of different configurations; there is one.
        let _ = self.latency.merge(&other.latency);
    }

    pub(super) fn quantiles(&self) -> Quantiles {
        let at = |q: f64| {
            let value = self.latency.quantile(q).ok().flatten().unwrap_or_default();
            // Latencies are whole microseconds from zero up; `as` saturates.
            value.round() as u64
        };
        Quantiles { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99) }
    }
}
