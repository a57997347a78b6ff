//! `kamf audit show ID`: all exchanges of a trace, each below the one that caused it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use crate::aggregate::story::{self, Exchange, Story, Subject};
use crate::cli::print::{duration, money, plain};
use crate::cli::{CliError, reach};
use crate::config::Config;

/// Shows the trace of an exchange.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Relay id (header `kamf-relay-id` of the answer), or a trace id
    pub id: String,
    /// The whole story as JSON
    #[arg(long)]
    pub json: bool,
}

/// Searches the log and prints.
///
/// # Errors
/// When the log cannot be read or has no such exchange.
pub async fn run(config: &Config, args: Args) -> Result<ExitCode, CliError> {
    let subject = Subject::parse(&args.id).ok_or_else(|| CliError::BadId(args.id.clone()))?;
    let log = reach::log(config).await?;
    let prices = config.prices.clone();
    let story = tokio::task::spawn_blocking(move || story::find(&log, &prices, subject)).await??;
    let text = if args.json {
        serde_json::to_string_pretty(&story).unwrap_or_default() + "\n"
    } else {
        tree(&story)
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The exchanges, indented below their callers; whoever has no caller in the trace stands at the left.
pub fn tree(story: &Story) -> String {
    let mut text = format!("trace {}\n", story.trace);
    let is_root = |exchange: &Exchange| exchange.parent.is_none();
    let mut shown = HashSet::new();
    for root in story.exchanges.iter().filter(|exchange| is_root(exchange)) {
        branch(story, root, "", &mut shown, &mut text);
    }
    // Exchanges that name each other as callers: no honest trace, but nothing is left out.
    for exchange in &story.exchanges {
        if !shown.contains(exchange.id.as_str()) {
            branch(story, exchange, "", &mut shown, &mut text);
        }
    }
    let cost: u64 = story.exchanges.iter().map(|exchange| exchange.cost).sum();
    let count = story.exchanges.len();
    let _ = write!(text, "{count} exchange{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(text, ", {}", money(cost, &story.currency));
    if !story.complete {
        text.push_str("the search ended early: there may be more\n");
    }
    text
}

fn branch<'s>(
    story: &'s Story,
    exchange: &'s Exchange,
    indent: &str,
    shown: &mut HashSet<&'s str>,
    text: &mut String,
) {
    if !shown.insert(&exchange.id) {
        return;
    }
    describe(story, exchange, indent, text);
    let below = format!("{indent}    ");
    for child in &story.exchanges {
        if child.parent.as_deref() == Some(exchange.id.as_str()) {
            branch(story, child, &below, shown, text);
        }
    }
}

fn describe(story: &Story, exchange: &Exchange, indent: &str, text: &mut String) {
    let tool = exchange.tool.as_deref().map(|tool| format!(" {}", plain(tool))).unwrap_or_default();
    let state = exchange.state.as_deref().unwrap_or("open");
    let reason = exchange.reason.as_deref().filter(|reason| *reason != state);
    let took = exchange.duration_us.map(|us| format!(" in {}", duration(us))).unwrap_or_default();
    let _ = writeln!(
        text,
        "{indent}{} → {} {}{tool}: {state}{}{took}",
        plain(&exchange.principal),
        plain(&exchange.agent),
        plain(&exchange.method),
        reason.map(|reason| format!(" ({reason})")).unwrap_or_default(),
    );
    let start = exchange.records.first().map_or("", |record| record.time.as_str());
    let _ = writeln!(text, "{indent}  {} {start} {} {}", exchange.id, exchange.protocol, exchange.version);
    if exchange.input_tokens + exchange.output_tokens > 0 {
        let (input, output) = (exchange.input_tokens, exchange.output_tokens);
        let _ =
            writeln!(text, "{indent}  {input} + {output} tokens, {}", money(exchange.cost, &story.currency));
    } else if exchange.cost > 0 {
        let _ = writeln!(text, "{indent}  {} (estimated)", money(exchange.cost, &story.currency));
    }
    if let Some(policies) = &exchange.policies {
        let _ = writeln!(text, "{indent}  decided by {}", plain(policies));
    }
    let records = exchange.records.iter().map(|record| {
        let number = if record.sequence > 0 { format!(" #{}", record.sequence) } else { String::new() };
        format!("{}{number} {}/{}", record.kind, record.partition, record.offset)
    });
    let listed: Vec<String> = records.collect();
    let _ = match listed.len() {
        0..=8 => writeln!(text, "{indent}  {}", listed.join(", ")),
        n => {
            let (first, last) = (listed[..4].join(", "), listed[n - 2..].join(", "));
            writeln!(text, "{indent}  {first}, ... {} more, {last}", n - 6)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::lineage;

    fn exchange(id: &str, span: &str, parent: Option<&str>) -> Exchange {
        Exchange {
            id: id.to_owned(),
            span: span.to_owned(),
            parent_span: parent.map(str::to_owned),
            principal: "analyst".to_owned(),
            agent: id.to_owned(),
            method: "m".to_owned(),
            state: Some("completed".to_owned()),
            cost: 5,
            ..Exchange::default()
        }
    }

    fn story(mut exchanges: Vec<Exchange>) -> Story {
        lineage::settle(&mut exchanges);
        Story { trace: "t".to_owned(), exchanges, complete: true, currency: "USD".to_owned() }
    }

    #[test]
    fn callees_stand_below_their_callers() {
        let tree = tree(&story(vec![
            exchange("advisor", "1", Some("unknown")),
            exchange("gold_price", "2", Some("1")),
            exchange("ledger", "3", Some("1")),
            exchange("deeper", "4", Some("3")),
        ]));
        let heads: Vec<&str> = tree.lines().filter(|line| line.contains('→')).collect();
        let heads: Vec<usize> = heads.iter().map(|line| line.len() - line.trim_start().len()).collect();
        assert_eq!(heads, [0, 4, 4, 8]);
        assert!(tree.ends_with("4 exchanges, 0.000020 USD\n"), "{tree}");
    }

    #[test]
    fn a_circle_ends_and_leaves_nothing_out() {
        let tree = tree(&story(vec![
            exchange("a", "1", Some("2")),
            exchange("b", "2", Some("1")),
            exchange("c", "3", Some("3")),
        ]));
        assert_eq!(tree.matches('→').count(), 3);
    }
}
