//! I5: aggregates equal a recount of the log, to the last unit.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::Record;
use super::super::report::Report;
use super::super::stories::Stories;

/// What is counted, and for whom: window, tenant, agent, method, tool, state, reason.
pub(crate) type Key = [String; 7];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) calls: u64,
    pub(crate) request_bytes: u64,
    pub(crate) answer_bytes: u64,
}

pub(crate) type Table = BTreeMap<Key, Sums>;

pub(crate) fn check(events: &[Record], aggregates: &[Record], report: &mut Report) {
    let counted = recount(events);
    let written = of_rows(&last_rows(aggregates));
    report.count("rows recounted", counted.len());
    for key in counted.keys().chain(written.keys().filter(|key| !counted.contains_key(*key))) {
        let (left, right) = (counted.get(key), written.get(key));
        if left != right {
            report.breach("I5", key.join(" "), format!("the log has {left:?}, the aggregates {right:?}"));
        }
    }
}

/// Counted from the records that end exchanges.
pub(crate) fn recount(events: &[Record]) -> Table {
    let stories = Stories::of(&[], events);
    let mut table = Table::new();
    for record in stories.by_id.values().flat_map(|story| story.terminals.iter().chain(&story.refusals)) {
        // `2026-11-22T19:14:53.123456Z`: all but the last digit of the seconds names a window of ten seconds.
        let window = format!("{}0Z", record.get("ce_time").get(..18).unwrap_or_default());
        let labels = ["kamf_tenant", "kamf_agent", "kamf_method", "kamf_tool", "kamf_state", "kamf_reason"];
        let [tenant, agent, method, tool, state, reason] = labels.map(|name| record.get(name).to_owned());
        let sums = table.entry([window, tenant, agent, method, tool, state, reason]).or_default();
        let number = |name: &str| record.number(name).and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        sums.calls += 1;
        sums.request_bytes += number("kamf_request_bytes");
        sums.answer_bytes += number("kamf_answer_bytes");
    }
    table
}

/// The last value of each key of `kamf.aggregates`.
pub(crate) fn last_rows(aggregates: &[Record]) -> Vec<Value> {
    let mut last: BTreeMap<&[u8], Value> = BTreeMap::new();
    for record in aggregates {
        if let Ok(value) = serde_json::from_slice(&record.body) {
            last.insert(&record.key, value);
        }
    }
    last.into_values().filter(|row| row["calls"].is_u64()).collect()
}

/// The same table from rows, be they of the API or of `kamf.aggregates`.
pub(crate) fn of_rows(rows: &[Value]) -> Table {
    let mut table = Table::new();
    for row in rows.iter().filter(|row| row["window"] == "10s") {
        let names = ["start", "tenant", "agent", "method", "tool", "state", "reason"];
        let sums =
            table.entry(names.map(|name| row[name].as_str().unwrap_or_default().to_owned())).or_default();
        let of = |name: &str| row[name].as_u64().unwrap_or_default();
        sums.calls += of("calls");
        sums.request_bytes += of("request_bytes");
        sums.answer_bytes += of("answer_bytes");
    }
    table
}
