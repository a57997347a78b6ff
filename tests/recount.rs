//! The numbers equal a recount of the log, to the last unit; the audit chain holds.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::checker::rules::sums::{last_rows, of_rows, recount};
use crate::common::{Gateway, Result, Settings, Value, eventually, json, topics};

/// A window of ten seconds, its lateness, and a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn total(rows: &[Value], agent: &str, number: &str) -> u64 {
    let of_agent = rows.iter().filter(|row| row["agent"] == agent && row["window"] == "10s");
    of_agent.filter_map(|row| row[number].as_u64()).sum()
}

async fn rows(gateway: &Gateway) -> Result<Vec<Value>> {
    let answer = gateway.admin("/api/aggregates?window=10s&since=1h").await?.json()?;
    Ok(answer["rows"].as_array().context("rows")?.clone())
}

/// The rows of `kamf.aggregates`.
async fn written(gateway: &Gateway) -> Result<Vec<Value>> {
    Ok(last_rows(&topics::read(&gateway.log, "kamf.aggregates").await?))
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
        ensure!(of_rows(&rows) == counted, "{:#?}\nis not\n{counted:#?}", of_rows(&rows));
        Ok::<_, anyhow::Error>(rows)
    })
    .await?;
    ensure!(of_rows(&rows).values().map(|sums| sums.calls).sum::<u64>() >= 4 * 14, "too little was counted");
    // Eight questions of 46 + 17 tokens; 46 at 2.50 and 17 at 10.00 a million are 285 millionths.
    for (what, expected) in [("input_tokens", 8 * 46), ("output_tokens", 8 * 17), ("cost", 8 * 285)] {
        assert_eq!(total(&rows, "advisor", what), expected, "{what} of the advisor in {rows:#?}");
    }
    // Eight calls below the questions and four beside.
    assert_eq!(total(&rows, "gold_price", "cost"), 12 * 1_000);

    eventually(PATIENCE, "the aggregates on the log", || async {
        let counted = recount(&topics::read(&gateway.log, "kamf.events").await?);
        let written = of_rows(&written(&gateway).await?);
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
            (of_rows(&rows(&gateway).await?), recount(&topics::read(&gateway.log, "kamf.events").await?));
        ensure!(before.iter().all(|(key, sums)| counted.get(key) == Some(sums)), "the log lost something");
        ensure!(after == counted, "{after:#?}\nis not\n{counted:#?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    eventually(PATIENCE, "the audit", || async { gateway.kamf(&["audit", "verify"]).await?.good() }).await?;
    Ok(())
}
