//! Tokens and money: usage that answers report by the names of OpenTelemetry's GenAI conventions, and what it costs.
//!
//! Where usage counts: the members `gen_ai.usage.input_tokens` and `gen_ai.usage.output_tokens` of any object at or
//! below a `metadata` (A2A) or `_meta` (MCP) member. In one message the outermost such objects count and those
//! deeper down are repetitions; several at the same depth add up. In a stream the last report replaces
//! earlier ones.
//!
//! Money is integers of a millionth. One report costs `input x input price + output x output price`, prices being per
//! million tokens, computed without loss in 128 bits and rounded once, half a millionth upwards.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserializer;

use crate::config::Prices;

mod walk;

/// Reports in one message beyond this number are ignored: no honest message has so many models.
const MAX_REPORTS: usize = 64;

/// What one exchange used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Millionths of the configured currency.
    pub cost: u64,
    /// The cost is a fixed price, because no usage was reported.
    pub estimated: bool,
    /// Tokens were reported for a model that has no price.
    pub unpriced: bool,
}

/// Tokens that one object of a message reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// `gen_ai.response.model`, else `gen_ai.request.model`.
    pub model: Option<String>,
}

/// The reports in a JSON message, or in the last that has any of several messages, a line each; none when there is no
/// usage in it, or it is no JSON.
pub fn find(body: &[u8]) -> Vec<Report> {
    static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("gen_ai.usage."));
    // Nearly every message ends here: a scan costs a hundredth of a parse.
    if NAME.find(body).is_none() {
        return Vec::new();
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut last = Vec::new();
    while json.end().is_err() {
        let mut found = walk::Found::default();
        let walked = json.deserialize_any(walk::Walk { depth: 0, inside: false, found: &mut found });
        match walked {
            Ok(()) if found.reports.is_empty() => {}
            Ok(()) => last = found.reports,
            Err(_) => break,
        }
    }
    last
}

/// Adds up `reports` and prices them. None without a report.
pub fn price(prices: &Prices, reports: &[Report]) -> Option<Usage> {
    let mut usage = Usage::default();
    for report in reports {
        usage.input_tokens = usage.input_tokens.saturating_add(report.input_tokens);
        usage.output_tokens = usage.output_tokens.saturating_add(report.output_tokens);
        match report.model.as_ref().and_then(|model| prices.models.get(model)) {
            Some(price) => {
                let input = u128::from(report.input_tokens) * u128::from(price.input_per_million);
                let output = u128::from(report.output_tokens) * u128::from(price.output_per_million);
                usage.cost = usage.cost.saturating_add(round(input.saturating_add(output)));
            }
            None => usage.unpriced = true,
        }
    }
    (!reports.is_empty()).then_some(usage)
}

/// The fixed price of a call to `upstream`, which reported no usage.
pub fn fixed(prices: &Prices, upstream: &str) -> Usage {
    match prices.calls.get(upstream) {
        Some(cost) => Usage { cost: *cost, estimated: true, ..Usage::default() },
        None => Usage::default(),
    }
}

/// Divides by a million, half upwards.
fn round(amount: u128) -> u64 {
    u64::try_from(amount.saturating_add(500_000) / 1_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
