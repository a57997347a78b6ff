//! Clients that go away in mid-answer. A2A: the task outlives the stream. MCP 2025-11-25: a disconnect is not a
//! cancellation. MCP 2026-07-28: closing the stream cancels.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{DEADLINE, PATIENCE};
use crate::checker::Sent;
use crate::checker::ledger::Outcome;
use crate::common::crowd::{Ask, keep_body, request, session, token};
use crate::common::http::Stream;
use crate::common::ledger::now;
use crate::common::proof::Proof;
use crate::common::{Act, Gateway, Recorder, Result, Settings, eventually, topics};

/// Leaves in the middle of `ask`, whose work goes on for two seconds, and waits for its end on the log.
async fn leave(gateway: &Gateway, upstream: &Recorder, proof: &Proof, ask: Ask) -> Result<String> {
    let (caller, token) = (gateway.caller("analyst"), token());
    let session =
        if ask == Ask::Legacy { session(&caller).await.context("a session")? } else { String::new() };
    let (request, body) = keep_body(request(&caller, ask, 1, &token, &session)).await;
    let at = now();
    let client = caller.client.clone();
    // Reads until it leaves.
    let leaving = tokio::spawn(async move {
        let mut stream = Stream::of(client.open(request).await?);
        while stream.next_text().await?.is_some() {}
        Ok::<_, anyhow::Error>(())
    });
    // The work has begun once the upstream was called.
    eventually(PATIENCE, "the call", || async {
        let seen = upstream.ledger.entries().iter().any(|seen| seen.token == token);
        if seen { Ok(()) } else { Err("not called") }
    })
    .await?;
    leaving.abort();
    proof.sent.add(Sent {
        at,
        ended: Some(now()),
        gateway: "one".to_owned(),
        principal: "analyst".to_owned(),
        key: None,
        token: token.clone(),
        body: String::from_utf8_lossy(&body).into_owned(),
        deadline: u64::try_from(DEADLINE.as_millis())?,
        outcome: Outcome::Nothing { error: "left".to_owned() },
    });
    eventually(PATIENCE, "its end", || async {
        let requests = topics::read(&gateway.log, "kamf.requests").await?;
        let own = |record: &&topics::Record| String::from_utf8_lossy(&record.body).contains(&token);
        let id = requests.iter().find(own).context("its request")?.id().to_owned();
        let events = topics::read(&gateway.log, "kamf.events").await?;
        let end = events.iter().find(|event| event.id() == id && event.kind() == "terminal");
        Ok::<_, anyhow::Error>(end.context("a terminal record")?.get("kamf_state").to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_cancels_where_its_protocol_says_so() -> Result {
    let upstream = Recorder::start(|seen| match seen.method() {
        "tools/call" => Act::Late(Duration::from_secs(2)),
        _ => Act::Events(20, Duration::from_millis(100)),
    })
    .await;
    let gateway = Gateway::start(&Settings::new().echo(&upstream.url(), DEADLINE)).await?;
    gateway.knows(&gateway.caller("analyst"), "tools__echo").await?;
    let proof = Proof::new();
    for (ask, expected) in
        [(Ask::Stream, "completed"), (Ask::Legacy, "completed"), (Ask::Modern, "cancelled")]
    {
        let state = leave(&gateway, &upstream, &proof, ask).await?;
        ensure!(state == expected, "{ask:?}: it ended as {state}, not as {expected}");
    }
    println!("{}", proof.demand(&gateway.log, "kamf", &upstream, &[&gateway]).await?);
    Ok(())
}
