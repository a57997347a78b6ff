//! Samples to rows, rows to a table and to JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::{Results, Sample};
use crate::cases::Case;
use crate::plan::Line;

/// With the load's core above this and the server's below [`SERVER_FREE`], the load is what was measured.
const LOAD_FULL: f64 = 0.95;
const SERVER_FREE: f64 = 0.90;

/// Of the server's core, taken by neither the server nor the kernel on its behalf: something else runs.
const FOREIGN: f64 = 0.2;

/// Time taken by the machine's host beyond this makes a run worth repeating.
const STOLEN: f64 = 0.05;

/// One case on one line: medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    case: Case,
    line: Line,
    /// Requests a second with 16 connections kept busy (two appends: 64 in flight).
    rps: f64,
    /// Latency at `rate` arrivals a second, from the time at which each was due.
    p50_us: f64,
    p99_us: f64,
    /// CPU of the server process for one request, at saturation. On line `direct`: of the upstream.
    cpu_us_per_request: f64,
    /// Resident memory of the server process at the end of the run.
    rss_bytes: u64,
    /// Arrivals a second while latency was measured.
    rate: u32,
    /// Latency less that of the direct way at the same rate and on the same cores.
    added_p50_us: Option<f64>,
    added_p99_us: Option<f64>,
    /// `rps` as a share of the floor's in the same case; only where the cores are used alike.
    of_floor: Option<f64>,
    /// Requests that the upstream saw for one of the client's.
    upstream_requests: Option<f64>,
}

/// The rows in the order of cases, then lines.
pub(crate) fn rows(results: &Results) -> Vec<Row> {
    results.samples.iter().map(|((case, line), samples)| row(results, *case, *line, samples)).collect()
}

fn row(results: &Results, case: Case, line: Line, samples: &[Sample]) -> Row {
    let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value));
    let is_proxy = matches!(line, Line::Floor | Line::GatewayDirect | Line::GatewayRelay);
    // Round by round, so that a machine that is slow in one round is slow for both.
    let of_floor = results
        .samples
        .get(&(case, Line::Floor))
        .filter(|_| matches!(line, Line::Floor | Line::GatewayDirect))
        .map(|floor| median(samples.iter().zip(floor).map(|(sample, floor)| sample.rps / floor.rps)));
    Row {
        case,
        line,
        rps: round(of(|sample| sample.rps), 1),
        p50_us: round(of(|sample| sample.p50_us), 1),
        p99_us: round(of(|sample| sample.p99_us), 1),
        cpu_us_per_request: round(of(|sample| sample.cpu_us), 2),
        rss_bytes: results.resident.get(&line).copied().unwrap_or_default(),
        rate: line.rate(case),
        added_p50_us: is_proxy.then(|| round(of(|sample| sample.p50_us - sample.direct_p50_us), 1)),
        added_p99_us: is_proxy.then(|| round(of(|sample| sample.p99_us - sample.direct_p99_us), 1)),
        of_floor: of_floor.map(|share| round(share, 3)),
        upstream_requests: samples
            .iter()
            .all(|sample| sample.upstream_requests.is_some())
            .then(|| round(of(|sample| sample.upstream_requests.unwrap_or_default()), 4)),
    }
}

/// The table for people.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "case        line            requests/s  of floor  CPU us  at rate  p50 us  p99 us  added p50  added p99  memory MiB  upstream\n",
    );
    for row in rows {
        let share = row.of_floor.map_or_else(|| "-".to_owned(), |share| format!("{share:.2}"));
        let added = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:+.0}"));
        let upstream = row.upstream_requests.map_or_else(|| "-".to_owned(), |count| format!("{count:.3}"));
        // A row is one line; writing into a String cannot fail.
        writeln!(
            text,
            "{:10}  {:14}  {:>10.0}  {share:>8}  {:>6.1}  {:>7}  {:>6.0}  {:>6.0}  {:>9}  {:>9}  {:>10.1}  {upstream:>8}",
            row.case.name(),
            row.line.name(),
            row.rps,
            row.cpu_us_per_request,
            row.rate,
            row.p50_us,
            row.p99_us,
            added(row.added_p50_us),
            added(row.added_p99_us),
            row.rss_bytes as f64 / f64::from(1 << 20),
        )
        .ok();
    }
    text
}

/// What the reader of the table has to know about this run.
pub(crate) fn warnings(results: &Results) -> Vec<String> {
    let mut warnings = Vec::new();
    for ((case, line), samples) in &results.samples {
        let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value));
        let (load, server) = (of(|sample| sample.load_busy), of(|sample| sample.server_busy));
        let name = format!("{} on {}", case.name(), line.name());
        // Where both share the cores there are no sides.
        let is_apart = matches!(line, Line::Floor | Line::GatewayDirect);
        if is_apart && load > LOAD_FULL && server < SERVER_FREE {
            warnings.push(format!(
                "{name}: the load side is the bottleneck (its core {:.0} % busy, the server's {:.0} %), \
                 the server can do more than this; compare CPU per request",
                load * 100.0,
                server * 100.0
            ));
        }
        let foreign = server - of(|sample| sample.server_share);
        if is_apart && foreign > FOREIGN {
            warnings.push(format!(
                "{name}: other programs had {:.0} % of the server's core; repeat it on a quiet machine",
                foreign * 100.0
            ));
        }
        let stolen = of(|sample| sample.stolen);
        if stolen > STOLEN {
            warnings.push(format!("{name}: the machine's host took {:.0} % of a core", stolen * 100.0));
        }
        let unanswered: u64 = samples.iter().map(|sample| sample.unanswered).sum();
        if unanswered > 0 {
            warnings.push(format!("{name}: {unanswered} requests at the fixed rate had no answer in time"));
        }
        let saw_others =
            |sample: &Sample| sample.upstream_requests.is_some_and(|count| (count - 1.0).abs() > 0.001);
        if samples.iter().any(saw_others) {
            warnings
                .push(format!("{name}: the upstream saw another number of requests than the client sent"));
        }
    }
    if results.answers.wrong > 0 {
        warnings.push(format!("{} of {} answers were wrong:", results.answers.wrong, results.answers.count));
        warnings.extend(results.answers.samples.iter().map(|sample| format!("  {sample}")));
    }
    warnings
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// The middle value, the mean of the two in the middle of an even number; 0 of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rps: f64, p50_us: f64) -> Sample {
        Sample { rps, p50_us, direct_p50_us: 100.0, load_busy: 0.99, server_busy: 0.5, ..Sample::default() }
    }

    #[test]
    fn rows_are_medians_and_shares_of_the_floor() {
        let mut results = Results::default();
        // The machine was slow in the first round, for both.
        let floor = vec![sample(100.0, 150.0), sample(1000.0, 140.0), sample(1200.0, 1.0)];
        results.samples.insert((Case::A2aSend, Line::Floor), floor);
        let gateway = vec![sample(50.0, 300.0), sample(500.0, 300.0), sample(900.0, 300.0)];
        results.samples.insert((Case::A2aSend, Line::GatewayDirect), gateway);
        results.samples.insert((Case::A2aSend, Line::GatewayRelay), vec![sample(500.0, 300.0)]);
        results.resident.insert(Line::GatewayDirect, 7);
        let rows = serde_json::to_value(rows(&results)).unwrap();
        assert_eq!(rows[0]["line"], "floor");
        assert_eq!(rows[0]["rps"], 1000.0);
        assert_eq!(rows[0]["added_p50_us"], 40.0);
        assert_eq!(rows[1]["case"], "a2a_send");
        assert_eq!(rows[1]["line"], "gateway_direct");
        assert_eq!(rows[1]["of_floor"], 0.5);
        assert_eq!(rows[1]["rss_bytes"], 7);
        assert!(rows[2]["of_floor"].is_null());
    }

    #[test]
    fn a_load_side_at_its_limit_and_foreign_load_are_told() {
        let mut results = Results::default();
        results.samples.insert((Case::McpCall, Line::Floor), vec![sample(1.0, 1.0)]);
        results.samples.insert((Case::McpCall, Line::Direct), vec![sample(1.0, 1.0)]);
        let warnings = warnings(&results);
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("mcp_call on floor: the load side is the bottleneck"), "{warnings:?}");
        assert!(warnings[1].contains("other programs had 50 % of the server's core"), "{warnings:?}");
    }
}
