//! `kamf replay`: what the log recorded, sent to somebody else, and every difference told.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::common::program::Output;
use crate::common::{Act, Gateway, Recorder, Result, Settings, Value, eventually, json};

/// A gateway whose log has 6 sends (3 of them direct), a stream of 3 events, 2 calls of a tool, a send that the agent
/// answered with an error, and one that it never answered well.
async fn recorded() -> Result<(Recorder, Gateway)> {
    let upstream = Recorder::start(|seen| match seen.text() {
        "an error" => error(&seen.body["id"]),
        "fails" => Act::Raw(500, "no".to_owned()),
        _ => Act::Echo,
    })
    .await;
    let url = upstream.url();
    let settings = Settings::new()
        .agent("echo", &url)
        .agent("quick", &url)
        .server("tools", &url)
        .set("delivery.routes.quick", "direct");
    let gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "tools__echo").await?;
    for n in 0..3 {
        caller.ask("echo", &format!("relayed {n}")).await?;
        caller.ask("quick", &format!("direct {n}")).await?;
    }
    let mut stream = caller.stream("echo", "a stream").await?;
    while stream.next().await?.is_some() {}
    caller.call("/mcp", "tools__echo", json!({"text": "one"})).await?;
    caller.call("/mcp/tools", "echo", json!({"text": "two"})).await?;
    caller.ask("echo", "an error").await?;
    caller.ask("echo", "fails").await?;
    // Records of direct exchanges are gathered before they are written.
    eventually(Duration::from_secs(30), "the whole log", || async {
        let sum = sum(&gateway.kamf(&["replay", "--since", "1h", "--dry-run", "--json"]).await?)?;
        ensure!(sum["selected"] == 10 && sum["skipped"]["without_answer"] == 1, "{sum}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    Ok((upstream, gateway))
}

fn error(id: &Value) -> Act {
    let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "no such thing"}});
    Act::Raw(200, error.to_string())
}

/// The last line of a replay with `--json`.
fn sum(output: &Output) -> Result<Value> {
    let last = output.out.lines().last().with_context(|| format!("no output: {}", output.err))?;
    Ok(serde_json::from_str(last)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_answers_are_equal_and_other_ones_are_told() -> Result {
    let (upstream, gateway) = recorded().await?;
    let like_before = Recorder::start(|seen| match seen.text() {
        "an error" => error(&seen.body["id"]),
        _ => Act::Echo,
    })
    .await;
    let url = like_before.url();
    let echo = ["replay", "--since", "1h", "--agent", "echo", "--to", &url];
    let output = gateway.kamf(&echo).await?.good()?;
    ensure!(output.out.contains("5 of 5 sent") && output.out.contains("5 equal, 0 differ"), "{}", output.out);
    let sent = |recorder: &Recorder| {
        let calls = recorder.calls();
        let mut bodies: Vec<_> = calls.iter().map(|seen| seen.raw.clone()).collect();
        bodies.sort();
        bodies
    };
    for body in sent(&like_before) {
        ensure!(sent(&upstream).contains(&body), "another request was sent than recorded: {body:?}");
    }
    let traces: Vec<_> = upstream.calls().iter().map(|seen| seen.header("traceparent").to_owned()).collect();
    for seen in like_before.calls() {
        ensure!(!traces.iter().any(|trace| trace == seen.header("traceparent")), "a trace was used again");
    }
    let tools = ["replay", "--since", "1h", "--agent", "tools", "--to", &url, "--all"];
    let output = gateway.kamf(&tools).await?.good()?;
    assert_eq!(output.out.matches("tools/call echo: equal in").count(), 2, "{}", output.out);

    let other = Recorder::start(|seen| match seen.text() {
        "relayed 1" => {
            let parts = json!([{"text": "something else"}]);
            let message = json!({"messageId": "m", "role": "ROLE_AGENT", "parts": parts});
            let answer = json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": {"message": message}});
            Act::Raw(200, answer.to_string())
        }
        "a stream" => Act::Events(2, Duration::ZERO),
        "relayed 2" => Act::Cut,
        "an error" => error(&seen.body["id"]),
        _ => Act::Echo,
    })
    .await;
    let url = other.url();
    let output = gateway.kamf(&["replay", "--since", "1h", "--agent", "echo", "--to", &url]).await?;
    ensure!(!output.success, "differences are no success: {}", output.out);
    for told in [
        "$.result.message.parts[0].text\n      recorded \"relayed 1\"\n      now      \"something else\"",
        "#2 $.result.statusUpdate.status.state",
        "#3 $ is missing now",
        "failed in",
        "5 of 5 sent",
        "2 equal, 2 differ, 1 failed",
    ] {
        ensure!(output.out.contains(told), "`{told}` is not told: {}", output.out);
    }
    let ignoring = [
        "replay",
        "--since",
        "1h",
        "--agent",
        "echo",
        "--method",
        "SendMessage",
        "--to",
        &url,
        "--ignore",
        "text",
    ];
    let output = gateway.kamf(&[&ignoring[..], &["--json"]].concat()).await?;
    let sum = sum(&output)?;
    ensure!(sum["equal"] == 3 && sum["failed"] == 1 && sum["differ"] == 0, "{sum}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_is_asked_with_a_key() -> Result {
    let (upstream, gateway) = recorded().await?;
    let before = upstream.calls().len();
    let url = upstream.url();
    let settings = Settings::new().agent("echo", &url).agent("quick", &url).server("tools", &url);
    let second = Gateway::start(&settings).await?;
    second.knows(&second.caller("analyst"), "tools__echo").await?;
    let base = second.url();
    let all =
        ["replay", "--since", "1h", "--gateway", &base, "--concurrency", "4", "--rate", "100", "--json"];
    let right = gateway.kamf(&[&all[..], &["--key", "treasurer-key"]].concat()).await?.good()?;
    let right = sum(&right)?;
    ensure!(right["equal"] == 10 && right["sent"] == 10, "{right}");
    assert_eq!(upstream.calls().len(), before + 10);
    let wrong = gateway.kamf(&[&all[..], &["--key", "nobody"]].concat()).await?;
    ensure!(!wrong.success, "a wrong key is no success");
    let wrong = sum(&wrong)?;
    ensure!(wrong["equal"] == 0, "{wrong}");
    assert_eq!(upstream.calls().len(), before + 10, "without a right key nothing gets through");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_takes_what_it_is_told_to_and_no_faster() -> Result {
    let (upstream, gateway) = recorded().await?;
    let before = upstream.calls().len();
    let url = upstream.url();
    let dry = gateway.kamf(&["replay", "--since", "1h", "--dry-run"]).await?.good()?.out;
    ensure!(dry.contains("10 would be sent; 1 left out that ended otherwise"), "{dry}");
    let direct = ["replay", "--since", "1h", "--mode", "direct", "--dry-run", "--json"];
    let direct = gateway.kamf(&direct).await?.good()?;
    assert_eq!(sum(&direct)?["selected"], 3);
    let first: Value = serde_json::from_str(direct.out.lines().next().unwrap_or_default())?;
    let (partition, offset) = (&first["partition"], first["offset"].as_i64().context("an offset")?);
    let one = format!("{partition}:{offset}..{}", offset + 1);
    let dry = gateway.kamf(&["replay", "--offsets", &one, "--dry-run"]).await?.good()?.out;
    ensure!(dry.contains("1 would be sent") && dry.contains(first["id"].as_str().unwrap()), "{dry}");
    assert_eq!(upstream.calls().len(), before, "a dry run sends nothing");

    let slow = ["replay", "--since", "1h", "--agent", "quick", "--to", &url, "--rate", "2", "--limit", "3"];
    let began = Instant::now();
    gateway.kamf(&slow).await?.good()?;
    ensure!(began.elapsed() >= Duration::from_secs(1), "3 requests at 2 a second took {:?}", began.elapsed());
    assert_eq!(upstream.calls().len(), before + 3);

    for (arguments, told) in [
        (vec!["--since", "1h"], "--to"),
        (vec!["--since", "1h", "--to", &url], "`echo`, `quick`, `tools`"),
        (vec!["--agent", "nobody", "--to", &url], "nothing on the log matches"),
        (vec!["--agent", "echo", "--to", "file:///x"], "not an http or https URL"),
        (vec!["--offsets", "1:2", "--dry-run"], "3:1200..1300"),
    ] {
        let output = gateway.kamf(&[&["replay"], &arguments[..]].concat()).await?;
        ensure!(!output.success && output.err.contains(told), "{arguments:?}: {}", output.err);
    }
    Ok(())
}
