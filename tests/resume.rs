//! A stream goes on where its client stood: once, without a gap, on any replica, through kills, and for nobody else.

use std::time::Duration;

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use hyper::Method;

use crate::common::caller::{Caller, message};
use crate::common::http::{Answer, Stream};
use crate::common::{Act, Gateway, Recorder, Result, Settings, Value, eventually, json};

const EVENTS: u32 = 60;
/// Some ten seconds' worth of events.
const LONG: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(40);

/// Longer than another replica takes to find that an owner is gone.
const SETTLE: Duration = Duration::from_secs(40);

fn shared(mut settings: Settings, folder: &std::path::Path, upstream: &Recorder) -> Settings {
    settings.value["delivery"]["key"] = json!({"file": folder.join("replicas.key")});
    settings.agent("agent", &upstream.url()).server("tools", &upstream.url())
}

/// Two replicas with one log, which the first has, and one key.
async fn two(upstream: &Recorder) -> Result<(Gateway, Gateway, tempfile::TempDir)> {
    let folder = crate::common::files::scratch();
    std::fs::write(folder.path().join("replicas.key"), "a key that all the replicas have in common")?;
    let one = Gateway::start(&shared(Settings::new(), folder.path(), upstream)).await?;
    let second = shared(Settings::new(), folder.path(), upstream);
    let two = Gateway::start(&second.set("log.brokers", json!([one.log])).set("log.replication", 1)).await?;
    Ok((one, two, folder))
}

/// The number of an event, in either dialect and of a tool's progress.
fn number(event: &Value) -> Option<u64> {
    let result = &event["result"];
    let places =
        [&result["statusUpdate"]["metadata"]["n"], &result["metadata"]["n"], &event["params"]["progress"]];
    places.into_iter().find_map(Value::as_u64)
}

/// Reads `count` more numbered events.
async fn read(stream: &mut Stream, numbers: &mut Vec<u64>, count: usize) -> Result {
    for _ in 0..count {
        let event = stream.next().await?.context("the stream ended early")?;
        numbers.push(number(&event).with_context(|| event.to_string())?);
    }
    Ok(())
}

/// Reads to the end; gives what is no numbered event, with whether the end was clean.
async fn rest(stream: &mut Stream, numbers: &mut Vec<u64>) -> (Vec<Value>, bool) {
    let mut others = Vec::new();
    loop {
        match stream.next().await {
            Ok(Some(event)) => match number(&event) {
                Some(number) => numbers.push(number),
                None => others.push(event),
            },
            Ok(None) => return (others, true),
            Err(_) => return (others, false),
        }
    }
}

async fn subscribe(caller: &Caller, task: &str, position: Option<&str>) -> Result<Stream> {
    let body = json!({"jsonrpc": "2.0", "id": "again", "method": "SubscribeToTask", "params": {"id": task}})
        .to_string();
    let mut headers = vec![("a2a-version", "1.0")];
    headers.extend(position.map(|position| ("last-event-id", position)));
    let response = caller.client.open(caller.request("/a2a/agent", &headers, body)).await?;
    let kind =
        response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind != "text/event-stream" {
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::bail!("no stream: {}", String::from_utf8_lossy(&body));
    }
    Ok(Stream::of(response))
}

async fn get(caller: &Caller, headers: &[(&str, &str)]) -> Result<hyper::Response<hyper::body::Incoming>> {
    let mut request = caller.request("/mcp", headers, "");
    *request.method_mut() = Method::GET;
    caller.client.open(request).await
}

async fn refused(caller: &Caller, headers: &[(&str, &str)]) -> Result<Answer> {
    let mut request = caller.request("/mcp", headers, "");
    *request.method_mut() = Method::GET;
    caller.client.send(request).await
}

fn in_a_row(numbers: &[u64]) -> bool {
    numbers.iter().zip(1..).all(|(number, expected)| *number == expected)
}

fn task_of(event: &Value) -> String {
    let result = &event["result"];
    let id = result["statusUpdate"]["taskId"].as_str().or(result["taskId"].as_str());
    id.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_a2a_stream_goes_on_at_another_replica() -> Result {
    let upstream = Recorder::doing(Act::Events(EVENTS, PAUSE)).await;
    let (one, two, _folder) = two(&upstream).await?;
    let mut stream = one.caller("analyst").stream("agent", "count").await?;
    let first = stream.next().await?.context("an event")?;
    let (task, mut numbers) = (task_of(&first), vec![1]);
    read(&mut stream, &mut numbers, 9).await?;
    let mut position = stream.last_id.clone();
    drop(stream);
    // Back and forth, a few events each time.
    for turn in 0..6 {
        let gateway = if turn % 2 == 0 { &two } else { &one };
        let mut stream = subscribe(&gateway.caller("analyst"), &task, Some(&position)).await?;
        read(&mut stream, &mut numbers, 5).await?;
        position.clone_from(&stream.last_id);
    }
    let mut stream = subscribe(&two.caller("analyst"), &task, Some(&position)).await?;
    let (others, clean) = rest(&mut stream, &mut numbers).await;
    ensure!(clean && others.is_empty(), "{others:?}");
    ensure!(numbers.len() == EVENTS as usize && in_a_row(&numbers), "{numbers:?}");
    // After the end there is nothing more, and that is no error.
    let mut stream = subscribe(&one.caller("analyst"), &task, Some(&stream.last_id)).await?;
    assert_eq!(stream.next().await?, None);
    assert_eq!(upstream.calls().len(), 1, "the agent was asked again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_for_its_caller_and_its_place_only() -> Result {
    let upstream = Recorder::doing(Act::Events(5, Duration::ZERO)).await;
    let (one, two, _folder) = two(&upstream).await?;
    let caller = two.caller("analyst");
    let mut stream = one.caller("analyst").stream("agent", "count").await?;
    let task = task_of(&stream.next().await?.context("an event")?);
    let position = stream.last_id.clone();
    let (_, clean) = rest(&mut stream, &mut Vec::new()).await;
    ensure!(clean);
    let mut others = two.caller("stranger").stream("agent", "count").await?;
    let theirs = task_of(&others.next().await?.context("an event")?);
    let refusal = |caller: Caller, task: String, position: String| async move {
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": "SubscribeToTask", "params": {"id": task}});
        let headers = [("a2a-version", "1.0"), ("last-event-id", position.as_str())];
        let answer = caller.post("/a2a/agent", &headers, body.to_string()).await?;
        let reason = answer.json()?["error"]["data"][0]["reason"].as_str().unwrap_or_default().to_owned();
        Ok::<_, anyhow::Error>((answer.status, reason))
    };
    let unknown = (400, "UNKNOWN_POSITION".to_owned());
    let altered = format!("B{}", &position[1..]);
    for bad in
        [altered, others.last_id.clone(), "7".to_owned(), String::new(), "\u{7f}x".replace('\u{7f}', "%")]
    {
        assert_eq!(refusal(caller.clone(), task.clone(), bad.clone()).await?, unknown, "{bad}");
    }
    assert_eq!(refusal(two.caller("stranger"), theirs, position.clone()).await?, unknown);
    // The same id is none for MCP, and none at another agent.
    let modern = [("mcp-protocol-version", "2026-07-28"), ("last-event-id", position.as_str())];
    assert_eq!(refused(&caller, &modern).await?.status, 400);
    Ok(())
}

/// What was on the log is told, then that the call was lost with its gateway: never as if the stream were complete. Was
/// it another gateway that called the agent, the stream is complete.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_gateway_was_killed_is_told_to_its_end() -> Result {
    let upstream = Recorder::doing(Act::Events(LONG, Duration::from_millis(10))).await;
    let (mut one, mut two, _folder) = two(&upstream).await?;
    for restarts in [false, true] {
        let at = if restarts { &mut one } else { &mut two };
        let mut stream = at.caller("analyst").stream("agent", "count").await?;
        let first = stream.next().await?.context("an event")?;
        let (task, mut numbers) = (task_of(&first), vec![1]);
        read(&mut stream, &mut numbers, 20).await?;
        at.kill().await?;
        let (_, clean) = rest(&mut stream, &mut numbers).await;
        ensure!(!clean, "the stream ended as if it were complete");
        if restarts {
            one.restart().await?;
        }
        let position = stream.last_id.clone();
        let caller = one.caller("analyst");
        let mut stream =
            eventually(SETTLE, "the task", || subscribe(&caller, &task, Some(&position))).await?;
        let (others, clean) = rest(&mut stream, &mut numbers).await;
        ensure!(in_a_row(&numbers), "{numbers:?}");
        ensure!(clean, "{} events, {others:?}", numbers.len());
        if others.is_empty() && !restarts {
            assert_eq!(numbers.len(), LONG as usize);
            continue;
        }
        assert_eq!(others.len(), 1, "{others:?}");
        assert_eq!(others[0]["error"]["data"][0]["reason"], "LOST", "{others:?}");
        assert_eq!(others[0]["id"], "again");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_without_a_position_gets_the_task_and_what_comes() -> Result {
    let upstream = Recorder::doing(Act::Events(EVENTS, PAUSE)).await;
    let (one, two, _folder) = two(&upstream).await?;
    let mut stream = one.caller("analyst").stream("agent", "count").await?;
    let first = stream.next().await?.context("an event")?;
    let (task, mut numbers) = (task_of(&first), vec![1]);
    read(&mut stream, &mut numbers, 9).await?;
    for gateway in [&two, &one] {
        let mut again = subscribe(&gateway.caller("analyst"), &task, None).await?;
        let known = again.next().await?.context("the task")?;
        assert_eq!(known["id"], "again");
        let known = &known["result"]["task"];
        assert_eq!((&known["id"], &known["contextId"]), (&json!(task), &json!(task)), "{known}");
        let upto = known["metadata"]["n"].as_u64().context("a number")?;
        ensure!(upto >= 10, "the task is told as of event {upto}");
        let mut numbers: Vec<u64> = (1..=upto).collect();
        read(&mut again, &mut numbers, 3).await?;
        ensure!(in_a_row(&numbers), "{numbers:?}");
    }
    let (_, clean) = rest(&mut stream, &mut numbers).await;
    ensure!(clean && numbers.len() == EVENTS as usize && in_a_row(&numbers), "{numbers:?}");
    assert_eq!(upstream.calls().len(), 1, "the agent was asked: {:?}", upstream.calls().last());

    // In the older dialect the same.
    let old = |method: &str, params: Value| {
        let body = json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params});
        two.caller("analyst").request("/a2a/agent", &[], body.to_string())
    };
    let mut params = message("count");
    params["message"]["kind"] = json!("message");
    params["message"]["role"] = json!("user");
    params["message"]["parts"] = json!([{"kind": "text", "text": "count"}]);
    let client = two.caller("analyst").client;
    let mut stream = Stream::of(client.open(old("message/stream", params)).await?);
    let task = task_of(&stream.next().await?.context("an event")?);
    let mut again = Stream::of(client.open(old("tasks/resubscribe", json!({"id": task}))).await?);
    let known = again.next().await?.context("the task")?;
    assert_eq!((&known["result"]["kind"], &known["result"]["id"]), (&json!("task"), &json!(task)));
    let upto = known["result"]["metadata"]["n"].as_u64().context("a number")?;
    let mut numbers: Vec<u64> = (1..=upto).collect();
    let (_, clean) = rest(&mut again, &mut numbers).await;
    ensure!(clean && numbers.len() == EVENTS as usize && in_a_row(&numbers), "{numbers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_known_when_its_agent_is_gone() -> Result {
    let upstream = Recorder::start(|seen| match seen.text() {
        "ask back" => {
            let task = json!({"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_INPUT_REQUIRED"}});
            Act::Raw(
                200,
                json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": {"task": task}}).to_string(),
            )
        }
        _ => Act::Torn(4),
    })
    .await;
    let gateway = Gateway::start(&Settings::new().agent("agent", &upstream.url())).await?;
    let caller = gateway.caller("analyst");
    caller.ask("agent", "ask back").await?;
    let mut stream = caller.stream("agent", "count").await?;
    let torn = task_of(&stream.next().await?.context("an event")?);
    rest(&mut stream, &mut Vec::new()).await;
    drop(upstream);

    let mut stream = subscribe(&caller, "t", None).await?;
    let known = stream.next().await?.context("the task")?;
    assert_eq!(known["result"]["task"]["status"]["state"], "TASK_STATE_INPUT_REQUIRED", "{known}");
    assert_eq!(stream.next().await?, None, "a task that waits for its caller rests");

    let mut stream = subscribe(&caller, &torn, None).await?;
    let known = stream.next().await?.context("the task")?;
    assert_eq!(known["result"]["task"]["metadata"]["n"], 4, "{known}");
    let end = stream.next().await?.context("what is wrong")?;
    assert_eq!(end["error"]["data"][0]["reason"], "UPSTREAM_UNREACHABLE", "{end}");
    assert_eq!(stream.next().await?, None);
    Ok(())
}

/// Opens a session of MCP 2025-11-25.
async fn session(caller: &Caller) -> Result<String> {
    let client = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let answer = caller.post("/mcp", &[], body.to_string()).await?;
    Ok(answer.header("mcp-session-id").to_owned())
}

fn call(meta: &Value) -> String {
    let params = json!({"name": "tools__echo", "arguments": {"text": "hello"}, "_meta": meta});
    json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_session_goes_on_at_another_replica() -> Result {
    let upstream = Recorder::doing(Act::Events(EVENTS, PAUSE)).await;
    let (one, two, _folder) = two(&upstream).await?;
    let caller = one.caller("analyst");
    one.knows(&caller, "tools__echo").await?;
    let token = session(&caller).await?;
    let headers = [("mcp-session-id", token.as_str()), ("mcp-protocol-version", "2025-11-25")];
    let request = caller.request("/mcp", &headers, call(&json!({"progressToken": "p"})));
    let mut stream = Stream::of(caller.client.open(request).await?);
    let mut numbers = Vec::new();
    read(&mut stream, &mut numbers, 10).await?;
    let position = stream.last_id.clone();
    drop(stream);

    let there = two.caller("analyst");
    let with = |position: &'static str| [headers[0], headers[1], ("last-event-id", position)];
    let position: &'static str = position.leak();
    let mut stream = Stream::of(get(&there, &with(position)).await?);
    let (others, clean) = rest(&mut stream, &mut numbers).await;
    ensure!(clean && numbers.len() == EVENTS as usize - 1 && in_a_row(&numbers), "{numbers:?}");
    assert_eq!(others.len(), 1);
    assert_eq!((&others[0]["id"], &others[0]["result"]["content"][0]["text"]), (&json!(5), &json!("hello")));
    assert_eq!(upstream.calls().iter().filter(|seen| seen.method() == "tools/call").count(), 1);

    // For nobody else: another session of the same caller, another caller with this session, no session.
    let other = session(&there).await?;
    let version = headers[1];
    let last = ("last-event-id", position);
    assert_eq!(refused(&there, &[("mcp-session-id", &other), version, last]).await?.status, 400);
    assert_eq!(refused(&two.caller("stranger"), &[headers[0], version, last]).await?.status, 404);
    assert_eq!(refused(&there, &[version, last]).await?.status, 400);
    // Without a position there is nothing to get.
    assert_eq!(refused(&there, &headers).await?.status, 405);
    Ok(())
}

/// A stream of the newest legacy version begins with a place to go on from, so that nothing is lost when it breaks
/// before its first message.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_broke_before_its_first_message_goes_on() -> Result {
    let upstream = Recorder::doing(Act::Events(3, PAUSE)).await;
    let gateway = Gateway::start(&Settings::new().server("tools", &upstream.url())).await?;
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "tools__echo").await?;
    let token = session(&caller).await?;
    let headers = [("mcp-session-id", token.as_str()), ("mcp-protocol-version", "2025-11-25")];
    let answer = caller.post("/mcp", &headers, call(&json!({"progressToken": 1}))).await?;
    let text = answer.text();
    let (begin, _) = text.split_once("data: {").context("a message")?;
    ensure!(begin.starts_with("retry: "), "{begin}");
    let first = begin.lines().find_map(|line| line.strip_prefix("id: ")).context("an id")?.to_owned();
    let mut stream = Stream::of(get(&caller, &[headers[0], headers[1], ("last-event-id", &first)]).await?);
    let mut numbers = Vec::new();
    let (others, clean) = rest(&mut stream, &mut numbers).await;
    ensure!(clean && numbers == [1, 2] && others.len() == 1, "{numbers:?} {others:?}");
    // Older versions do not know this.
    let headers = [headers[0], ("mcp-protocol-version", "2025-06-18")];
    let answer = caller.post("/mcp", &headers, call(&json!({"progressToken": 1}))).await?;
    ensure!(!answer.text().starts_with("retry: "), "{}", answer.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_call_whose_gateway_was_killed_is_told_to_its_end() -> Result {
    let upstream = Recorder::doing(Act::Events(LONG, Duration::from_millis(10))).await;
    let mut gateway = Gateway::start(&Settings::new().server("tools", &upstream.url())).await?;
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "tools__echo").await?;
    let params =
        json!({"name": "tools__echo", "arguments": {"text": "hello"}, "_meta": {"progressToken": "p"}});
    let mut stream = Stream::of(caller.client.open(caller.modern("/mcp", "tools/call", params)).await?);
    let mut numbers = Vec::new();
    read(&mut stream, &mut numbers, 10).await?;
    gateway.kill().await?;
    let (_, clean) = rest(&mut stream, &mut numbers).await;
    ensure!(!clean);
    gateway.restart().await?;
    let headers = [("mcp-protocol-version", "2026-07-28"), ("last-event-id", stream.last_id.as_str())];
    let mut stream = Stream::of(get(&caller, &headers).await?);
    let (others, clean) = rest(&mut stream, &mut numbers).await;
    ensure!(clean && in_a_row(&numbers) && others.len() == 1, "{numbers:?} {others:?}");
    assert_eq!(others[0]["error"]["data"]["reason"], "lost", "{others:?}");
    assert_eq!(refused(&gateway.caller("stranger"), &headers).await?.status, 400);
    Ok(())
}
