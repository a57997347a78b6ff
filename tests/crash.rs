//! kill -9 in the middle of 1,000 requests, three times: nothing acknowledged is lost, nothing is done twice, every
//! accepted request ends.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::ensure;

use crate::common::check::{self, States};
use crate::common::topics::Record;
use crate::common::traffic::Traffic;
use crate::common::{Act, Gateway, Recorder, Result, Settings, eventually, topics};

const REQUESTS: usize = 1_000;
const CRASHES: usize = 3;

/// Longer than a deadline: no accepted request stays open beyond it.
const SETTLE: Duration = Duration::from_secs(90);

/// Takes up to 40 ms, so that a crash finds some calls under way and some not begun.
pub(crate) async fn slow_echo() -> Recorder {
    let turn = Mutex::new(0_u64);
    Recorder::start(move |_| {
        let mut turn = turn.lock().unwrap();
        *turn = (*turn + 7) % 41;
        Act::Late(Duration::from_millis(*turn))
    })
    .await
}

pub(crate) fn settings(upstream: &Recorder) -> Settings {
    Settings::new().agent("echo", &upstream.url()).server("tools", &upstream.url())
}

/// Both topics of exchanges.
async fn log(gateway: &Gateway, prefix: &str) -> Result<(Vec<Record>, Vec<Record>)> {
    let [requests, events] = ["requests", "events"].map(|topic| format!("{prefix}.{topic}"));
    Ok((topics::read(&gateway.log, &requests).await?, topics::read(&gateway.log, &events).await?))
}

/// Sends 1,000 requests, kills the gateway three times meanwhile, and checks what clients, upstream and log have.
pub(crate) async fn story(gateway: &mut Gateway, upstream: &Recorder, prefix: &str) -> Result<States> {
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "tools__echo").await?;
    let traffic = Traffic::start(&caller, REQUESTS);
    for crash in 1..=CRASHES {
        let mark = REQUESTS * crash / (CRASHES + 1);
        eventually(SETTLE, "requests", || async {
            let ended = traffic.ended();
            if ended >= mark { Ok(()) } else { Err(format!("{ended} of {mark}")) }
        })
        .await?;
        gateway.kill().await?;
        traffic.open(false);
        gateway.restart().await?;
        gateway.knows(&caller, "tools__echo").await?;
        traffic.open(true);
    }
    let sent = traffic.finish().await;
    gateway.lives()?;

    let answered = sent.iter().filter(|sent| sent.answer.as_ref().is_some_and(|answer| answer.status == 200));
    let answered = answered.count();
    ensure!(answered > REQUESTS / 2, "only {answered} of {REQUESTS} were answered well");
    eventually(SETTLE, "the end of every accepted request", || async {
        let (requests, events) = log(gateway, prefix).await?;
        let open = check::open(&requests, &events);
        ensure!(open.is_empty(), "{} are open, as {:?}", open.len(), open.first());
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let (requests, events) = log(gateway, prefix).await?;
    check::check(&requests, &events, &sent, &upstream.calls())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_gateway_is_killed() -> Result {
    let upstream = slow_echo().await;
    let mut gateway = Gateway::start(&settings(&upstream)).await?;
    let states = story(&mut gateway, &upstream, "kamf").await?;
    println!("how the exchanges ended: {states:?}");
    let strange: Vec<_> =
        states.keys().filter(|state| !["completed", "unknown", "failed"].contains(&state.as_str())).collect();
    ensure!(strange.is_empty(), "a crash gave exchanges the states {strange:?}");
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
        let (_, events) = log(&gateway, "kamf").await?;
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
