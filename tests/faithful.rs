//! What the gateway does not have to change it does not change: bodies, ids, the order of events.

use std::time::Duration;

use anyhow::ensure;

use crate::common::{Act, Gateway, Recorder, Result, Settings, json, topics};

/// Odd spacing, members of nobody's, a number that a reader of doubles would round, escapes that could be spelled out.
const SEND: &str = r#"{ "jsonrpc" :"2.0","id": "\u0061-7" , "method":"SendMessage",
  "params":{"message":{"messageId":"m\u002d1","role":"ROLE_USER","parts":[{"text":"h\u00e9llo"}],
    "metadata":{"big":12345678901234567890.125,"x-unknown":{"z":[1,2 ,3]}}}} }"#;

const CALL: &str = r#"{"jsonrpc":"2.0", "id": "\u0061-7","method":"tools/call","params":{ "name":"tools__echo",
  "arguments":{"text":"h\u00e9llo","big":12345678901234567890.125},
  "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},
    "example.com/mine":1.0 }}}"#;

async fn gateway(act: Act) -> Result<(Gateway, Recorder)> {
    let upstream = Recorder::doing(act).await;
    let settings = Settings::new().agent("echo", &upstream.url()).server("tools", &upstream.url());
    let gateway = Gateway::start(&settings).await?;
    gateway.knows(&gateway.caller("analyst"), "tools__echo").await?;
    Ok((gateway, upstream))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_reaches_log_and_agent_byte_for_byte() -> Result {
    let (gateway, upstream) = gateway(Act::Echo).await?;
    let answer = gateway.caller("analyst").post("/a2a/echo", &[("a2a-version", "1.0")], SEND).await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.calls()[0].raw, SEND.as_bytes());
    let requests = topics::read(&gateway.log, "kamf.requests").await?;
    let record = requests.iter().find(|record| record.id() == answer.relay_id());
    assert_eq!(record.unwrap().body, SEND.as_bytes());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_call_keeps_its_arguments_and_its_id() -> Result {
    let (gateway, upstream) = gateway(Act::Echo).await?;
    let headers =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "tools__echo")];
    let answer = gateway.caller("analyst").post("/mcp", &headers, CALL).await?;
    ensure!(answer.text().contains(r#""\u0061-7""#), "the id came back as {}", answer.text());
    assert_eq!(answer.last()?["result"]["content"][0]["text"], "héllo");
    let raw = String::from_utf8(upstream.calls()[0].raw.to_vec())?;
    for part in
        [r#""arguments":{"text":"h\u00e9llo","big":12345678901234567890.125}"#, r#""example.com/mine":1.0 "#]
    {
        ensure!(raw.contains(part), "{part} became {raw}");
    }
    assert_eq!(upstream.calls()[0].body["params"]["name"], "echo");
    assert_eq!(upstream.calls()[0].header("mcp-name"), "echo");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_goes_to_an_upstream_or_into_the_log() -> Result {
    let (gateway, upstream) = gateway(Act::Echo).await?;
    let caller = gateway.caller("analyst");
    let headers =
        [("a2a-version", "1.0"), ("cookie", "session=analyst-key"), ("x-forwarded-for", "10.0.0.1")];
    caller.post("/a2a/echo", &headers, SEND).await?;
    caller.call("/mcp", "tools__echo", json!({"text": "hello"})).await?;
    for call in upstream.calls() {
        ensure!(!format!("{:?}", call.headers).contains("analyst-key"), "{:?}", call.headers);
        ensure!(call.headers.get("authorization").is_none(), "{:?}", call.headers);
    }
    for topic in ["kamf.requests", "kamf.events"] {
        let records = topics::read(&gateway.log, topic).await?;
        ensure!(!records.is_empty(), "nothing in {topic}");
        ensure!(
            !format!("{:?}", records.iter().map(|record| &record.headers).collect::<Vec<_>>())
                .contains("-key")
        );
    }
    ensure!(!gateway.output().contains("analyst-key"), "{}", gateway.output());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_order_and_are_on_the_log_before() -> Result {
    let (gateway, _upstream) = gateway(Act::Events(50, Duration::from_millis(1))).await?;
    let mut stream = gateway.caller("analyst").stream("echo", "count").await?;
    let mut got = Vec::new();
    while let Some(message) = stream.next().await? {
        got.push(message);
    }
    let numbers: Vec<_> = got
        .iter()
        .filter_map(|message| message["result"]["statusUpdate"]["metadata"]["n"].as_u64())
        .collect();
    assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
    let events = topics::read(&gateway.log, "kamf.events").await?;
    let logged = events.iter().filter(|record| record.id() == stream.relay_id && record.kind() == "event");
    let logged = logged
        .map(|record| serde_json::from_slice(&record.body))
        .collect::<std::result::Result<Vec<serde_json::Value>, _>>()?;
    ensure!(
        got.starts_with(&logged) || logged == got,
        "the log has {} events, the client {}",
        logged.len(),
        got.len()
    );
    ensure!(logged.len() >= 49, "{} events on the log", logged.len());
    Ok(())
}

/// A client that goes away in the middle harms nobody, and what it asked for still ends on the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_outlives_the_stream_that_began_it() -> Result {
    let (gateway, _upstream) = gateway(Act::Events(20, Duration::from_millis(50))).await?;
    let mut stream = gateway.caller("analyst").stream("echo", "count").await?;
    stream.next().await?;
    let id = stream.relay_id.clone();
    drop(stream);
    crate::common::eventually(Duration::from_secs(20), "the end of the stream on the log", || async {
        let events = topics::read(&gateway.log, "kamf.events").await?;
        let end = events.iter().find(|record| record.id() == id && record.kind() == "terminal");
        let state = end.map(|record| record.get("kamf_state").to_owned());
        ensure!(state.as_deref() == Some("completed"), "it ended as {state:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}
