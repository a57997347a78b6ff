//! Upstreams that are dead, slow, cut off or talk nonsense: their callers are told which, in time, and nobody else
//! notices.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::common::caller::message;
use crate::common::{Act, Caller, Gateway, Recorder, Result, Settings, files, json, ports};

/// Deadline of a call here.
const TOTAL: &str = "2s";

/// An answer comes no later than deadline and 5 s.
const ANSWER: Duration = Duration::from_secs(7);

/// An upstream that does badly, and what its callers are told.
struct Bad {
    name: &'static str,
    act: Act,
    status: u16,
}

fn bad() -> Vec<Bad> {
    let case = |name, act, status| Bad { name, act, status };
    vec![
        case("silent", Act::Silent, 504),
        case("cut", Act::Cut, 502),
        case("nonsense", Act::Raw(200, "good morning".to_owned()), 502),
        case(
            "another_answer",
            Act::Raw(200, r#"{"jsonrpc":"2.0","id":"other","result":{}}"#.to_owned()),
            502,
        ),
        case("no_json_rpc", Act::Raw(200, "{}".to_owned()), 502),
        case("failing", Act::Raw(500, "oops".to_owned()), 502),
    ]
}

async fn in_time(caller: &Caller, upstream: &str) -> Result<[(u16, String); 2]> {
    let began = Instant::now();
    let sent = caller.ask(upstream, "hello").await?;
    ensure!(began.elapsed() < ANSWER, "{upstream}: the send took {:?}", began.elapsed());
    let began = Instant::now();
    let called = caller.call(&format!("/mcp/{upstream}_tools"), "echo", json!({"text": "hello"})).await?;
    ensure!(began.elapsed() < ANSWER, "{upstream}: the call took {:?}", began.elapsed());
    for answer in [&sent, &called] {
        let last = answer.last()?;
        ensure!(last["error"]["message"].is_string() && last["id"] == "q", "{upstream}: {last}");
        ensure!(!answer.text().contains("127.0.0.1"), "{upstream}: an inner address: {last}");
    }
    Ok([(sent.status, sent.text()), (called.status, called.text())])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_upstream_is_told_apart_and_harms_nobody_else() -> Result {
    let good = Recorder::doing(Act::Echo).await;
    let mut settings = Settings::new().agent("good", &good.url()).server("good_tools", &good.url());
    let mut running = Vec::new();
    for bad in bad() {
        let upstream = Recorder::doing(bad.act.clone()).await;
        let tools = format!("{}_tools", bad.name);
        settings = settings.agent(bad.name, &upstream.url()).server(&tools, &upstream.url());
        settings.value["agents"][bad.name]["timeouts"] = json!({"total": TOTAL});
        settings.value["mcp"]["timeouts"][tools] = json!({"total": TOTAL});
        running.push((bad, upstream));
    }
    let mut gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "good_tools__echo").await?;

    let mut wrong = Vec::new();
    for (bad, upstream) in &running {
        gateway.knows(&caller, &format!("{}_tools__echo", bad.name)).await?;
        for (status, text) in in_time(&caller, bad.name).await? {
            if status != bad.status {
                wrong.push(format!("{}: {status}, not {}: {text}", bad.name, bad.status));
            }
        }
        let calls = upstream.calls().len();
        ensure!(calls == 2, "{}: one send and one call became {calls}", bad.name);
        let sent = caller.ask("good", "hello").await?;
        assert_eq!(sent.status, 200, "{}", sent.text());
    }
    gateway.lives()?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_down_is_said_to_be_down() -> Result {
    let nobody = format!("http://{}/", ports::free());
    let mut settings = Settings::new().agent("down", &nobody).server("down_tools", &nobody);
    settings.value["agents"]["down"]["timeouts"] = json!({"total": TOTAL});
    let gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    let began = Instant::now();
    let sent = caller.ask("down", "hello").await?;
    ensure!(began.elapsed() < ANSWER, "the send took {:?}", began.elapsed());
    ensure!(matches!(sent.status, 502..=504), "{} {}", sent.status, sent.text());
    ensure!(
        sent.last()?["error"]["message"].as_str().is_some_and(|text| text.contains("down")),
        "{}",
        sent.text()
    );
    let called = caller.call("/mcp/down_tools", "echo", json!({"text": "hello"})).await?;
    ensure!(matches!(called.status, 200 | 404 | 502..=504), "{} {}", called.status, called.text());
    ensure!(called.last()?["error"]["message"].is_string(), "{}", called.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_stream_never_looks_complete() -> Result {
    let upstream = Recorder::doing(Act::Torn(3)).await;
    let mut gateway = Gateway::start(&Settings::new().agent("torn", &upstream.url())).await?;
    let mut stream = gateway.caller("analyst").stream("torn", "hello").await?;
    let mut numbers = Vec::new();
    let end = loop {
        match stream.next().await {
            Ok(Some(message)) if message["error"].is_object() => break message["error"].to_string(),
            Ok(Some(message)) => numbers.push(message["result"]["statusUpdate"]["metadata"]["n"].clone()),
            Ok(None) => anyhow::bail!("the stream ended as if it were complete after {numbers:?}"),
            Err(error) => break format!("{error:#}"),
        }
    };
    println!("the end of a torn stream: {end}");
    assert_eq!(numbers, [1, 2, 3]);
    gateway.lives()
}

/// Passes lines on until one is a call.
const MORTAL: &str =
    r#"while read -r line; do case "$line" in *tools/call*) exit;; esac; printf '%s\n' "$line"; done"#;

/// Stdio servers: one prints garbage before it speaks, one dies at once, one dies at its first call.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_prints_garbage_or_dies_harms_nobody_else() -> Result {
    let kamf = files::kamf().display().to_string();
    let shell = |line: String| json!({"command": "/bin/sh", "args": ["-c", line]});
    let settings = Settings::new()
        .stdio("good", json!({"command": "kamf", "args": ["demo", "profit-clac"]}))
        .stdio("chatty", shell(format!("echo good morning; {kamf} demo gold-price")))
        .stdio("dead", shell("exit 3".to_owned()))
        .stdio("mortal", shell(format!("{MORTAL} | {kamf} demo gold-price")))
        .stdio("noise", shell("while :; do echo noise; sleep 0.01; done".to_owned()));
    let mut gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "good__profit").await?;

    let facts = json!({"milli_ounces": 3000, "cost_cents": 1_189_645, "price_cents": 424_755});
    for (server, tool, arguments) in [
        ("dead", "price_now", json!({})),
        ("mortal", "price_now", json!({})),
        ("noise", "price_now", json!({})),
        ("chatty", "price_now", json!({})),
        ("good", "profit", facts.clone()),
    ] {
        let began = Instant::now();
        let answer = caller.call(&format!("/mcp/{server}"), tool, arguments).await?;
        ensure!(began.elapsed() < Duration::from_secs(65), "{server}: {:?}", began.elapsed());
        let allowed = if server == "good" { 200..=200 } else { 200..=504 };
        ensure!(allowed.contains(&answer.status) && answer.status != 500, "{server}: {}", answer.status);
        let last = answer.last()?;
        ensure!(last["result"].is_object() || last["error"]["message"].is_string(), "{server}: {last}");
    }
    let answer = caller.call("/mcp/good", "profit", facts).await?;
    assert_eq!(answer.last()?["result"]["structuredContent"]["profit_cents"], 84_620, "{}", answer.text());
    gateway.lives()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_finishes_is_let_go() -> Result {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let settings = Settings::new()
        .set("limits.first_byte", "1s")
        .set("limits.header", "1s")
        .set("limits.body_idle", "1s")
        .set("limits.body_total", "2s");
    let gateway = Gateway::start(&settings).await?;
    let head = "POST /a2a/x HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer analyst-key\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let half_head = "POST /a2a/x HTTP/1.1\r\nHost: 127.0";
    for (what, sent) in
        [("nothing", ""), ("one byte", "P"), ("half a head", half_head), ("half a body", head)]
    {
        let mut socket = tokio::net::TcpStream::connect(gateway.public).await?;
        socket.write_all(sent.as_bytes()).await?;
        let mut got = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(8), socket.read_to_end(&mut got)).await;
        ensure!(
            ended.is_ok(),
            "{what}: the connection is still open; it got {:?}",
            String::from_utf8_lossy(&got)
        );
    }
    let body = message("hello").to_string();
    ensure!(gateway.caller("analyst").post("/a2a/x", &[], body).await?.status < 500);
    Ok(())
}
