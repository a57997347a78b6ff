//! The numbers equal a recount of the log, to the last unit; the audit chain holds.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::common::topics::{self, Record};
use crate::common::{Gateway, Result, Settings, Value, eventually, json};

/// A window of ten seconds, its lateness, and a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is counted, and for whom: window, tenant, agent, method, tool, state, reason.
type Key = [String; 7];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    calls: u64,
    request_bytes: u64,
    answer_bytes: u64,
}

type Table = BTreeMap<Key, Sums>;

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}

/// Counted from the records that end exchanges.
fn recount(events: &[Record]) -> Table {
    let mut table = Table::new();
    for record in events.iter().filter(|record| ["terminal", "refusal"].contains(&record.kind())) {
        // `2026-11-22T19:14:53.123456Z`: all but the last digit of the seconds names a window of ten seconds.
        let window = format!("{}0Z", &record.get("ce_time")[..18]);
        let labels = ["kamf_tenant", "kamf_agent", "kamf_method", "kamf_tool", "kamf_state", "kamf_reason"];
        let [tenant, agent, method, tool, state, reason] = labels.map(|name| record.get(name).to_owned());
        let sums = table.entry([window, tenant, agent, method, tool, state, reason]).or_default();
        sums.calls += 1;
        sums.request_bytes += number(record.get("kamf_request_bytes"));
        sums.answer_bytes += number(record.get("kamf_answer_bytes"));
    }
    table
}

/// The same table from rows, be they of the API or of `kamf.aggregates`.
fn table_of(rows: &[Value]) -> Table {
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

fn total(rows: &[Value], agent: &str, number: &str) -> u64 {
    let of_agent = rows.iter().filter(|row| row["agent"] == agent && row["window"] == "10s");
    of_agent.filter_map(|row| row[number].as_u64()).sum()
}

async fn rows(gateway: &Gateway) -> Result<Vec<Value>> {
    let answer = gateway.admin("/api/aggregates?window=10s&since=1h").await?.json()?;
    Ok(answer["rows"].as_array().context("rows")?.clone())
}

/// The last value of each key of `kamf.aggregates`.
async fn written(gateway: &Gateway) -> Result<Vec<Value>> {
    let records = topics::read(&gateway.log, "kamf.aggregates").await?;
    let mut last = BTreeMap::new();
    for record in records {
        if let Ok(value) = serde_json::from_slice::<Value>(&record.body) {
            last.insert(record.key, value);
        }
    }
    Ok(last.into_values().filter(|row| row["calls"].is_u64()).collect())
}

/// Questions, calls, refusals of every sort, in both modes.
async fn traffic(gateway: &Gateway) -> Result {
    let (analyst, treasurer) = (gateway.caller("analyst"), gateway.caller("treasurer"));
    for tool in ["gold_price__price_now", "ledger__holdings", "profit_clac__profit"] {
        gateway.knows(&analyst, tool).await?;
    }
    for _ in 0..4 {
        let answer = analyst.ask("advisor", "What is my profit?").await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut stream = treasurer.stream("advisor", "What is my profit?").await?;
        while stream.next().await?.is_some() {}
        treasurer.call("/mcp", "gold_price__price_now", json!({})).await?;
        treasurer.call("/mcp", "ledger__buy", json!({"milli_ounces": 10, "price_cents": 424_755})).await?;
        treasurer.call("/mcp", "ledger__sell", json!({"milli_ounces": 10, "price_cents": 424_755})).await?;
        analyst.call("/mcp", "ledger__buy", json!({"milli_ounces": 10, "price_cents": 10})).await?;
        analyst.call("/mcp", "ledger__history", json!({"limit": "many"})).await?;
        gateway.caller("stranger").ask("advisor", "What is my profit?").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_equal_a_recount_of_the_log() -> Result {
    let settings = Settings::example().set(
        "prices",
        json!({
            "currency": "EUR",
            "models": {"advisor-1": {"input_per_million": "2.50", "output_per_million": "10.00"}},
            "calls": {"gold_price": "0.001"},
        }),
    );
    let settings = settings.set("delivery", json!({"default": "relay", "routes": {"gold_price": "direct"}}));
    let gateway = Gateway::start(&settings).await?;
    traffic(&gateway).await?;

    let rows = eventually(PATIENCE, "the aggregates of the API", || async {
        let counted = recount(&topics::read(&gateway.log, "kamf.events").await?);
        let rows = rows(&gateway).await?;
        ensure!(table_of(&rows) == counted, "{:#?}\nis not\n{counted:#?}", table_of(&rows));
        Ok::<_, anyhow::Error>(rows)
    })
    .await?;
    ensure!(table_of(&rows).values().map(|sums| sums.calls).sum::<u64>() >= 4 * 14, "too little was counted");
    // Eight questions of 46 + 17 tokens; 46 at 2.50 and 17 at 10.00 a million are 285 millionths.
    for (what, expected) in [("input_tokens", 8 * 46), ("output_tokens", 8 * 17), ("cost", 8 * 285)] {
        assert_eq!(total(&rows, "advisor", what), expected, "{what} of the advisor in {rows:#?}");
    }
    // Eight calls below the questions and four beside.
    assert_eq!(total(&rows, "gold_price", "cost"), 12 * 1_000);

    eventually(PATIENCE, "the aggregates on the log", || async {
        let counted = recount(&topics::read(&gateway.log, "kamf.events").await?);
        let written = table_of(&written(&gateway).await?);
        ensure!(written == counted, "{written:#?}\nis not\n{counted:#?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    eventually(PATIENCE, "the audit", || async { gateway.kamf(&["audit", "verify"]).await?.good() }).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_the_same_after_a_restart() -> Result {
    let mut gateway = Gateway::start(&Settings::example()).await?;
    traffic(&gateway).await?;
    let before = recount(&topics::read(&gateway.log, "kamf.events").await?);
    gateway.kill().await?;
    gateway.restart().await?;
    eventually(PATIENCE, "the aggregates of before", || async {
        let (after, counted) =
            (table_of(&rows(&gateway).await?), recount(&topics::read(&gateway.log, "kamf.events").await?));
        ensure!(before.iter().all(|(key, sums)| counted.get(key) == Some(sums)), "the log lost something");
        ensure!(after == counted, "{after:#?}\nis not\n{counted:#?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    eventually(PATIENCE, "the audit", || async { gateway.kamf(&["audit", "verify"]).await?.good() }).await?;
    Ok(())
}
