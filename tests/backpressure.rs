//! One upstream that is slow or dead: its own callers are told early, everybody else notices nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::common::{Act, Gateway, Recorder, Result, Settings, Value, eventually, json, ports};

const SETTLE: Duration = Duration::from_secs(30);

/// Longer than an answer takes that nothing holds up, on a busy machine.
const SOON: Duration = Duration::from_secs(3);

/// What `/api/status` says of an upstream.
async fn status(gateway: &Gateway, name: &str) -> Result<Value> {
    let status = gateway.admin("/api/status").await?.last()?;
    let upstreams = status["upstreams"].as_array().cloned().unwrap_or_default();
    upstreams.into_iter().find(|one| one["name"] == name).ok_or_else(|| anyhow::anyhow!("{status}"))
}

/// Sends `count` requests that nobody waits for, and waits until so many are being called and wait.
async fn occupy(gateway: &Gateway, agent: &'static str, count: u64, calls: u64) -> Result {
    for _ in 0..count {
        let caller = gateway.caller("analyst");
        tokio::spawn(async move { caller.ask(agent, "keep busy").await });
    }
    eventually(SETTLE, "requests that wait", || async {
        let status = status(gateway, agent).await?;
        let (called, waiting) = (status["calls"].as_u64(), status["waiting"].as_u64());
        ensure!(called == Some(calls) && waiting == Some(count - calls), "{status}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// One partition for all, so that nothing can hide beside what waits.
fn settings() -> Settings {
    Settings::new().set("log.partitions", 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_agent_is_given_only_so_much_and_holds_up_nobody_else() -> Result {
    let slow = Recorder::doing(Act::Silent).await;
    let good = Recorder::doing(Act::Echo).await;
    let mut settings = settings().agent("slow", &slow.url()).agent("good", &good.url());
    settings.value["delivery"]["routes"] = json!({"slow": {"concurrency": 2, "queue": 3}});
    let gateway = Gateway::start(&settings).await?;
    occupy(&gateway, "slow", 5, 2).await?;

    let caller = gateway.caller("analyst");
    let began = Instant::now();
    let refused = caller.ask("slow", "one too many").await?;
    assert_eq!(refused.status, 503, "{}", refused.text());
    ensure!(!refused.header("retry-after").is_empty(), "no Retry-After: {:?}", refused.headers);
    ensure!(began.elapsed() < SOON, "the refusal took {:?}", began.elapsed());

    for _ in 0..20 {
        let began = Instant::now();
        let answer = caller.ask("good", "hello").await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        ensure!(began.elapsed() < SOON, "the good agent's answer took {:?}", began.elapsed());
    }
    assert_eq!(slow.calls().len(), 2, "more calls at a time than configured");
    let metrics = gateway.admin("/metrics").await?.text();
    for line in [
        "kamf_upstream_turned_away_total{upstream=\"slow\"} 1",
        "kamf_upstream_waiting{upstream=\"slow\"} 3",
        "kamf_upstream_waiting{upstream=\"good\"} 0",
    ] {
        ensure!(metrics.contains(line), "the metrics do not say {line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_agent_is_left_alone_and_everything_that_waits_goes_when_it_is_back() -> Result {
    let address = ports::free();
    let good = Recorder::doing(Act::Echo).await;
    let mut settings = settings().agent("dead", &format!("http://{address}/")).agent("good", &good.url());
    settings.value["delivery"]["breaker"] = json!({"failures": 3, "pause": "300ms"});
    let gateway = Gateway::start(&settings).await?;
    let waiting: Vec<_> = (0..30)
        .map(|_| {
            let caller = gateway.caller("analyst");
            tokio::spawn(async move { caller.ask("dead", "hello").await })
        })
        .collect();
    eventually(SETTLE, "an open circuit", || async {
        let status = status(&gateway, "dead").await?;
        ensure!(status["circuit"] != "closed", "{status}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let answer = gateway.caller("analyst").ask("good", "hello").await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let agent = Recorder::at(address, |_| Act::Echo).await;
    for one in waiting {
        let answer = one.await??;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(agent.calls().len(), 30);
    assert_eq!(status(&gateway, "dead").await?["circuit"], "closed");
    Ok(())
}

/// Calls that reach an agent and fail open its circuit too; where callers do not wait they are told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fails_too_often_is_left_alone() -> Result {
    let works = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&works);
    let agent = Recorder::start(move |_| match told.load(Ordering::Relaxed) {
        true => Act::Echo,
        false => Act::Cut,
    })
    .await;
    let mut settings = settings().agent("bad", &agent.url());
    settings.value["delivery"]["default"] = json!("journal");
    settings.value["delivery"]["breaker"] = json!({"pause": "500ms"});
    let gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    for _ in 0..20 {
        assert_eq!(caller.ask("bad", "hello").await?.status, 502);
    }
    let seen = agent.calls().len();
    let refused = caller.ask("bad", "hello").await?;
    ensure!(refused.status == 502 && refused.text().contains("left alone"), "{}", refused.text());
    assert_eq!(agent.calls().len(), seen, "it was called while its circuit was open");
    works.store(true, Ordering::Relaxed);
    eventually(SETTLE, "an agent that is called again", || async {
        let answer = caller.ask("bad", "hello").await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok::<_, anyhow::Error>(())
    })
    .await
}
