//! `kamf top`: the last minute or two, by tenant, agent, method and outcome.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::print::{duration, money, plain, table};
use super::{CliError, http};
use crate::config::Config;

/// The busiest keys of the last one to two minutes.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Print once and end
    #[arg(long)]
    pub once: bool,
    /// How many lines
    #[arg(long, default_value_t = 30)]
    pub lines: usize,
}

/// From the last full minute on.
const PATH: &str = "/api/aggregates?window=1m&since=1m";

/// Prints each second until it is ended.
///
/// # Errors
/// When no gateway answers.
pub async fn run(config: &Config, args: Args) -> Result<ExitCode, CliError> {
    let redraws = io::stdout().is_terminal() && !args.once;
    loop {
        let answer = http::get(config.admin.listen, PATH).await?;
        let unreadable = |source| CliError::Unreadable { path: PATH.to_owned(), source };
        let answer: Answer = serde_json::from_value(answer).map_err(unreadable)?;
        let page = page(&answer, args.lines, SystemTime::now());
        let mut out = io::stdout().lock();
        // To the upper left corner, clear what is below.
        let clear = if redraws { "\u{1b}[H\u{1b}[J" } else { "" };
        writeln!(out, "{clear}{page}")?;
        out.flush()?;
        drop(out);
        if args.once {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[derive(Deserialize)]
pub(super) struct Answer {
    currency: String,
    whole: bool,
    rows: Vec<Row>,
}

#[derive(Clone, Deserialize)]
struct Row {
    start: String,
    tenant: String,
    agent: String,
    method: String,
    tool: Option<String>,
    state: String,
    reason: String,
    calls: u64,
    errors: u64,
    p50_us: u64,
    p99_us: u64,
    input_tokens: u64,
    output_tokens: u64,
    cost: u64,
    estimated: bool,
}

pub(super) fn page(answer: &Answer, lines: usize, now: SystemTime) -> String {
    let mut sums: BTreeMap<String, Row> = BTreeMap::new();
    for row in &answer.rows {
        let key = format!("{:?}", (&row.tenant, &row.agent, &row.method, &row.tool, &row.reason));
        // Rows come by start, so the quantiles that stay are those of the newest minute.
        let sum = sums.entry(key).and_modify(|sum| add(sum, row)).or_insert_with(|| row.clone());
        (sum.p50_us, sum.p99_us) = (row.p50_us, row.p99_us);
    }
    let start = answer.rows.first().and_then(|row| humantime::parse_rfc3339(&row.start).ok());
    let seconds =
        start.and_then(|start| now.duration_since(start).ok()).map_or(1.0, |d| d.as_secs_f64().max(1.0));
    let mut rows: Vec<Row> = sums.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.calls));
    let calls: u64 = rows.iter().map(|row| row.calls).sum();
    let errors: u64 = rows.iter().map(|row| row.errors).sum();
    let cost: u64 = rows.iter().map(|row| row.cost).sum();
    let mut page = format!(
        "{calls} calls in {seconds:.0} s ({:.1}/s), {errors} not completed, {}{}\n\n",
        calls as f64 / seconds,
        money(cost, &answer.currency),
        if answer.whole { "" } else { " - the log is being read again, numbers still grow" },
    );
    page.push_str(&table(&cells(&rows, lines, seconds), 5));
    if rows.len() > lines {
        page.push_str(&format!("and {} more\n", rows.len() - lines));
    }
    page
}

fn cells(rows: &[Row], lines: usize, seconds: f64) -> Vec<Vec<String>> {
    let heads =
        ["tenant", "agent", "method", "tool", "outcome", "calls", "per s", "p50", "p99", "tokens", "cost"];
    let mut cells = vec![heads.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().take(lines).map(|row| {
        let outcome =
            if row.state == row.reason { row.state.clone() } else { format!("{} {}", row.state, row.reason) };
        let tokens = match row.input_tokens + row.output_tokens {
            0 => "-".to_owned(),
            _ => format!("{} + {}", row.input_tokens, row.output_tokens),
        };
        let estimated = if row.estimated { "~" } else { "" };
        vec![
            plain(&row.tenant).into_owned(),
            plain(&row.agent).into_owned(),
            plain(&row.method).into_owned(),
            plain(row.tool.as_deref().unwrap_or("-")).into_owned(),
            plain(&outcome).into_owned(),
            row.calls.to_string(),
            format!("{:.1}", row.calls as f64 / seconds),
            duration(row.p50_us),
            duration(row.p99_us),
            tokens,
            format!("{estimated}{}", money(row.cost, "")),
        ]
    }));
    cells
}

fn add(sum: &mut Row, row: &Row) {
    sum.calls += row.calls;
    sum.errors += row.errors;
    sum.input_tokens = sum.input_tokens.saturating_add(row.input_tokens);
    sum.output_tokens = sum.output_tokens.saturating_add(row.output_tokens);
    sum.cost = sum.cost.saturating_add(row.cost);
    sum.estimated |= row.estimated;
}
