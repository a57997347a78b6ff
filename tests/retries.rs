//! What is sent again, and what is not: upstreams that are down, busy, cut off, and a gateway that is killed meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::common::topics::Record;
use crate::common::{Act, Gateway, Recorder, Result, Settings, eventually, json, ports, topics};

const SETTLE: Duration = Duration::from_secs(40);

/// An upstream that does `first` with its first call and echoes the others.
async fn at_first(first: Act) -> Recorder {
    let calls = AtomicUsize::new(0);
    Recorder::start(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => first.clone(),
        _ => Act::Echo,
    })
    .await
}

/// The records of one exchange in `kamf.events`, by kind.
async fn kinds(gateway: &Gateway, id: &str) -> Result<Vec<String>> {
    let events = topics::read(&gateway.log, "kamf.events").await?;
    Ok(events.iter().filter(|record| record.id() == id).map(|record| record.kind().to_owned()).collect())
}

/// Waits until an attempt has failed and another one is to follow.
async fn tried(gateway: &Gateway) -> Result {
    eventually(SETTLE, "a request that was tried", || async {
        let events = topics::read(&gateway.log, "kamf.events").await?;
        ensure!(events.iter().any(|record| record.kind() == "retry"), "none of {}", events.len());
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn ended(gateway: &Gateway, count: usize) -> Result<Vec<Record>> {
    eventually(SETTLE, "terminal records", || async {
        let mut events = topics::read(&gateway.log, "kamf.events").await?;
        events.retain(|record| record.kind() == "terminal");
        ensure!(events.len() == count, "{} of {count}", events.len());
        Ok::<_, anyhow::Error>(events)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_an_agent_that_is_down() -> Result {
    let address = ports::free();
    let gateway = Gateway::start(&Settings::new().agent("late", &format!("http://{address}/"))).await?;
    let caller = gateway.caller("analyst");
    let asking = tokio::spawn(async move { caller.ask("late", "are you there?").await });
    tried(&gateway).await?;
    let agent = Recorder::at(address, |_| Act::Echo).await;
    let answer = asking.await??;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(agent.calls().len(), 1);
    let kinds = kinds(&gateway, answer.relay_id()).await?;
    ensure!(kinds.iter().any(|kind| kind == "retry"), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "terminal").count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_agent_outlives_the_gateway() -> Result {
    let address = ports::free();
    let mut gateway = Gateway::start(&Settings::new().agent("late", &format!("http://{address}/"))).await?;
    let caller = gateway.caller("analyst");
    let asking = tokio::spawn(async move { caller.ask("late", "are you there?").await });
    tried(&gateway).await?;
    gateway.kill().await?;
    ensure!(asking.await?.is_err(), "an answer from a gateway that was killed");
    let agent = Recorder::at(address, |_| Act::Echo).await;
    gateway.restart().await?;
    let ends = ended(&gateway, 1).await?;
    assert_eq!(ends[0].get("kamf_state"), "completed");
    assert_eq!(agent.calls().len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_called_by_its_deadline_expires() -> Result {
    let nobody = format!("http://{}/", ports::free());
    let mut settings = Settings::new().agent("down", &nobody);
    settings.value["agents"]["down"]["timeouts"] = json!({"total": "2s"});
    settings.value["delivery"]["breaker"] = json!({"failures": 1, "pause": "10s"});
    let gateway = Gateway::start(&settings).await?;
    let began = Instant::now();
    let answer = gateway.caller("analyst").ask("down", "hello").await?;
    ensure!(began.elapsed() >= Duration::from_millis(1500), "it gave up after {:?}", began.elapsed());
    assert_eq!(answer.status, 504, "{}", answer.text());
    let ends = ended(&gateway, 1).await?;
    assert_eq!((ends[0].get("kamf_state"), ends[0].get("kamf_reason")), ("expired", "expired"));
    let metrics = gateway.admin("/metrics").await?.text();
    ensure!(metrics.contains("kamf_upstream_circuit{upstream=\"down\"} 2"), "the circuit is not open");
    Ok(())
}

/// 503 before the body says that nothing was done; a cut connection does not.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_cannot_hurt_is_sent_again() -> Result {
    let busy = at_first(Act::Raw(503, "busy".to_owned())).await;
    let cut = at_first(Act::Cut).await;
    let cut_idempotent = at_first(Act::Cut).await;
    let cut_journal = at_first(Act::Raw(503, "busy".to_owned())).await;
    let hinted = at_first(Act::Cut).await;
    let mut settings = Settings::new()
        .agent("busy", &busy.url())
        .agent("cut", &cut.url())
        .agent("again", &cut_idempotent.url())
        .agent("journal", &cut_journal.url())
        .server("hinted", &hinted.url());
    settings.value["delivery"]["routes"] =
        json!({"again": {"idempotent": true}, "journal": "journal", "hinted": {"trusted": true}});
    let gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "hinted__echo").await?;

    for (agent, upstream, status, calls) in [
        ("busy", &busy, 200, 2),
        ("cut", &cut, 502, 1),
        ("again", &cut_idempotent, 200, 2),
        ("journal", &cut_journal, 502, 1),
    ] {
        let answer = caller.ask(agent, "hello").await?;
        assert_eq!(answer.status, status, "{agent}: {}", answer.text());
        assert_eq!(upstream.calls().len(), calls, "{agent}");
        let kinds = kinds(&gateway, answer.relay_id()).await?;
        ensure!(agent != "journal" || kinds == ["terminal"], "{kinds:?}");
    }
    let answer = caller.call("/mcp/hinted", "echo", json!({"text": "hello"})).await?;
    assert_eq!(answer.last()?["result"]["content"][0]["text"], "hello", "{}", answer.text());
    assert_eq!(hinted.calls().len(), 2);
    Ok(())
}

/// A call that a kill cut off is made again where that cannot hurt, and ends as `unknown` where it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_cut_off_by_a_kill_is_repeated_only_where_that_cannot_hurt() -> Result {
    let upstreams = [at_first(Act::Silent).await, at_first(Act::Silent).await, at_first(Act::Silent).await];
    let [once, again, journal] = &upstreams;
    let mut settings = Settings::new()
        .agent("once", &once.url())
        .agent("again", &again.url())
        .agent("journal", &journal.url());
    settings.value["delivery"]["routes"] = json!({"again": {"idempotent": true}, "journal": "journal"});
    let mut gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    for name in ["once", "again", "journal"] {
        let caller = caller.clone();
        tokio::spawn(async move { caller.ask(name, "hello").await });
    }
    eventually(SETTLE, "calls", || async {
        ensure!(upstreams.iter().all(|upstream| upstream.calls().len() == 1), "not all were called");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    gateway.kill().await?;
    gateway.restart().await?;
    let ends = ended(&gateway, 3).await?;
    for (agent, upstream, state, calls) in
        [("once", once, "unknown", 1), ("again", again, "completed", 2), ("journal", journal, "unknown", 1)]
    {
        let end = ends.iter().find(|end| end.get("kamf_agent") == agent);
        assert_eq!(end.map(|end| end.get("kamf_state")), Some(state), "{agent}");
        assert_eq!(upstream.calls().len(), calls, "{agent}");
    }
    Ok(())
}
