//! `kamf tail` finds what it is asked for: by who, what, where to, when and how it ended.

use std::time::{Duration, SystemTime};

use anyhow::ensure;

use crate::common::{Act, Caller, Gateway, Recorder, Result, Settings, Value, eventually, json};

/// Sends that work and one that fails, calls of a tool, by two callers of two tenants, relayed and direct.
async fn traffic(gateway: &Gateway) -> Result {
    let (analyst, stranger) = (gateway.caller("analyst"), gateway.caller("stranger"));
    gateway.knows(&analyst, "tools__echo").await?;
    for n in 0..3 {
        analyst.ask("echo", &format!("relayed {n}")).await?;
        stranger.ask("quick", &format!("direct {n}")).await?;
    }
    analyst.call("/mcp", "tools__echo", json!({"text": "a call"})).await?;
    analyst.ask("broken", "fails").await?;
    Ok(())
}

/// The records that `kamf tail` shows with `arguments`.
async fn tail(gateway: &Gateway, arguments: &[&str]) -> Result<Vec<Value>> {
    let output = gateway.kamf(&[&["tail", "--json", "--no-follow"], arguments].concat()).await?.good()?;
    output.out.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

async fn started() -> Result<(Recorder, Gateway)> {
    let upstream = Recorder::start(|seen| match seen.text() {
        "fails" => Act::Raw(500, "no".to_owned()),
        _ => Act::Echo,
    })
    .await;
    let url = upstream.url();
    let settings = Settings::new()
        .agent("echo", &url)
        .agent("quick", &url)
        .agent("broken", &url)
        .server("tools", &url)
        .set("delivery.routes.quick", "direct");
    let gateway = Gateway::start(&settings).await?;
    Ok((upstream, gateway))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_of_tail_leaves_what_was_asked_for() -> Result {
    let (_upstream, gateway) = started().await?;
    let before = SystemTime::now();
    traffic(&gateway).await?;
    // Records of direct exchanges are gathered before they are written.
    eventually(Duration::from_secs(30), "8 ends", || async {
        let ends = tail(&gateway, &["--from-beginning", "--kind", "terminal"]).await?;
        ensure!(ends.len() == 8, "{} ends", ends.len());
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let since = humantime::format_rfc3339_micros(before).to_string();
    let ends = ["--kind", "terminal", "--since", &since];
    let all = tail(&gateway, &ends).await?;
    assert_eq!(all.len(), 8);
    let counts: [(&[&str], usize); 11] = [
        (&["--agent", "echo"], 3),
        (&["--principal", "analyst"], 5),
        (&["--tenant", "elsewhere"], 3),
        (&["--method", "SendMessage"], 7),
        (&["--tool", "echo"], 1),
        (&["--mode", "direct"], 3),
        (&["--outcome", "completed"], 7),
        (&["--state", "failed"], 1),
        (&["--reason", "upstream_invalid"], 1),
        (&["--mode", "relay", "--method", "SendMessage", "--outcome", "completed"], 3),
        (&["--until", "1h"], 0),
    ];
    for (filter, expected) in counts {
        let found = tail(&gateway, &[&ends, filter].concat()).await?;
        assert_eq!(found.len(), expected, "{filter:?}: {found:?}");
    }
    let (id, trace) = (all[0]["id"].as_str().unwrap(), all[0]["traceparent"].as_str().unwrap());
    for filter in [["--id", id], ["--trace", trace]] {
        let found = tail(&gateway, &[&["--from-beginning"], &filter[..]].concat()).await?;
        ensure!(found.len() >= 2, "request and end of {filter:?}: {found:?}");
        ensure!(found.iter().all(|record| record["id"] == id), "{filter:?} shows others: {found:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_says_what_a_filter_takes() -> Result {
    let (_upstream, gateway) = started().await?;
    for (arguments, told) in [
        (["--outcome", "compleated"], "completed"),
        (["--kind", "end"], "terminal"),
        (["--since", "yesterday"], "2026-11-22T18:00:00Z"),
        (["--trace", "0af7"], "32 hex digits"),
    ] {
        let output = gateway.kamf(&[&["tail"], &arguments[..]].concat()).await?;
        ensure!(!output.success && output.err.contains(told), "{arguments:?}: {}", output.err);
    }
    Ok(())
}

/// With an end in the future it follows until then and ends by itself.
#[tokio::test(flavor = "multi_thread")]
async fn tail_follows_until_its_time_is_over() -> Result {
    let (_upstream, gateway) = started().await?;
    let until = SystemTime::now() + Duration::from_secs(6);
    let until = humantime::format_rfc3339_millis(until).to_string();
    let caller: Caller = gateway.caller("analyst");
    let arguments = ["tail", "--json", "--agent", "echo", "--kind", "request", "--until", &until];
    let mut followed = std::pin::pin!(gateway.kamf(&arguments));
    let mut asked = 0;
    let output = loop {
        tokio::select! {
            output = &mut followed => break output?.good()?.out,
            answer = caller.ask("echo", "again") => drop(answer?),
        }
        asked += 1;
    };
    let shown = output.lines().count();
    ensure!(shown > 0 && shown <= asked, "{shown} of {asked} requests were shown");
    Ok(())
}
