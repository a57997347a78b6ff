//! kill -9 ten times under load: nothing acknowledged is lost, nothing is done twice, every accepted request ends.

use std::time::Duration;

use anyhow::ensure;

use crate::checker::Report;
use crate::common::crowd::{Crowd, Plan, Target};
use crate::common::proof::Proof;
use crate::common::{Act, Gateway, Recorder, Result, Settings, eventually, topics};

const REQUESTS: usize = 2_000;
const CRASHES: usize = 10;

/// What the routes give a call.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longer than a deadline: no accepted request stays open beyond it.
const SETTLE: Duration = Duration::from_secs(90);

pub(crate) fn settings(upstream: &Recorder) -> Settings {
    Settings::new().echo(&upstream.url(), DEADLINE)
}

/// Sends 2,000 requests of all kinds, kills the gateway ten times meanwhile, and lets the checker judge.
pub(crate) async fn story(gateway: &mut Gateway, upstream: &Recorder, prefix: &str) -> Result<Report> {
    let proof = Proof::new();
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "tools__echo").await?;
    let target = Target { name: "one".to_owned(), caller: caller.clone() };
    let crowd = Crowd::start(Plan::new(vec![target], REQUESTS, DEADLINE), &proof.sent);
    for crash in 1..=CRASHES {
        let mark = REQUESTS * crash / (CRASHES + 1);
        eventually(SETTLE, "requests", || async {
            let ended = crowd.ended();
            if ended >= mark { Ok(()) } else { Err(format!("{ended} of {mark}")) }
        })
        .await?;
        gateway.kill().await?;
        gateway.restart().await?;
    }
    crowd.finish().await;
    gateway.lives()?;
    let report = proof.demand(&gateway.log, prefix, upstream, &[gateway]).await?;
    let completed = report.counts.get("ended: completed").copied().unwrap_or_default();
    ensure!(completed > REQUESTS / 2, "only {completed} of {REQUESTS} were completed:\n{report}");
    let strange = |what: &&String| {
        what.strip_prefix("ended: ").is_some_and(|state| !["completed", "unknown", "failed"].contains(&state))
    };
    let strange: Vec<_> = report.counts.keys().filter(strange).collect();
    ensure!(strange.is_empty(), "crashes gave exchanges the ends {strange:?}:\n{report}");
    Ok(report)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_gateway_is_killed() -> Result {
    let upstream = Recorder::slow().await;
    let mut gateway = Gateway::start(&settings(&upstream)).await?;
    println!("{}", story(&mut gateway, &upstream, "kamf").await?);
    Ok(())
}

/// A stream that the gateway's end cut off does not look complete, and its exchange ends as `unknown`: the agent may
/// have acted.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_breaks_off_when_the_gateway_is_killed() -> Result {
    let upstream = Recorder::doing(Act::Events(10_000, Duration::from_millis(10))).await;
    let mut gateway = Gateway::start(&settings(&upstream)).await?;
    let mut stream = gateway.caller("analyst").stream("echo", "count").await?;
    let mut got = 0;
    while got < 10 {
        ensure!(stream.next().await?.is_some(), "the stream ended after {got} events");
        got += 1;
    }
    gateway.kill().await?;
    loop {
        match stream.next().await {
            Ok(Some(_)) => got += 1,
            Ok(None) => anyhow::bail!("the stream ended as if it were complete after {got} events"),
            Err(_) => break,
        }
    }
    gateway.restart().await?;
    let id = stream.relay_id.clone();
    eventually(SETTLE, "the end of the exchange", || async {
        let events = topics::read(&gateway.log, "kamf.events").await?;
        let of = |kind: &str| {
            let records = events.iter().filter(|record| record.id() == id && record.kind() == kind);
            records.cloned().collect::<Vec<_>>()
        };
        let ends = of("terminal");
        ensure!(ends.len() == 1, "{} terminal records", ends.len());
        assert_eq!(ends[0].get("kamf_state"), "unknown");
        ensure!(of("event").len() >= got, "the client saw {got} events, the log has {}", of("event").len());
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(upstream.calls().len(), 1, "the agent was called again");
    Ok(())
}
