//! One execution for one idempotency key, whoever is asked, through kills; its answer for all who ask with the key.

use std::time::Duration;

use anyhow::ensure;
use futures_util::future::try_join_all;

use crate::common::caller::{Caller, message};
use crate::common::http::{Answer, Stream};
use crate::common::{Act, Gateway, Recorder, Result, Settings, Value, eventually, json};

const SETTLE: Duration = Duration::from_secs(40);

fn settings(upstream: &Recorder) -> Settings {
    Settings::new().agent("agent", &upstream.url()).server("tools", &upstream.url())
}

async fn two(upstream: &Recorder) -> Result<(Gateway, Gateway)> {
    let one = Gateway::start(&settings(upstream)).await?;
    let second = settings(upstream).set("log.brokers", json!([one.log])).set("log.replication", 1);
    let two = Gateway::start(&second).await?;
    Ok((one, two))
}

/// Sends `params` with `key`; each request has an id of its own.
async fn send(caller: &Caller, key: &str, params: &Value) -> Result<Answer> {
    let id = uuid::Uuid::new_v4().to_string();
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "SendMessage", "params": params}).to_string();
    let answer = caller.post("/a2a/agent", &[("a2a-version", "1.0"), ("idempotency-key", key)], body).await?;
    if answer.status != 400 {
        assert_eq!(answer.json()?["id"], json!(id), "{}", answer.text());
    }
    Ok(answer)
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == "true"
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_carried_out_once_on_all_replicas() -> Result {
    let upstream = Recorder::doing(Act::Late(Duration::from_millis(300))).await;
    let (mut one, two) = two(&upstream).await?;
    let params = message("once");
    let callers = [one.caller("analyst"), two.caller("analyst")];
    let all = try_join_all((0..20).map(|number| send(&callers[number % 2], "\"k-1\"", &params))).await?;
    let results: Vec<Value> =
        all.iter().map(|answer| Ok(answer.json()?["result"].clone())).collect::<Result<_>>()?;
    ensure!(results[0].is_object() && results.iter().all(|result| *result == results[0]), "{results:?}");
    assert_eq!(all.iter().filter(|answer| !replayed(answer)).count(), 1);
    assert_eq!(upstream.calls().len(), 1);

    // The key means nothing to another caller, and nothing else to the same one.
    ensure!(!replayed(&send(&two.caller("treasurer"), "k-1", &params).await?));
    let other = send(&callers[1], "k-1", &message("something else")).await?;
    assert_eq!((other.status, &other.json()?["error"]["data"][0]["reason"]), (422, &json!("KEY_REUSED")));
    assert_eq!(upstream.calls().len(), 2);
    for bad in ["", "with space", &"x".repeat(257)] {
        assert_eq!(send(&callers[0], bad, &params).await?.status, 400, "{bad:?}");
    }

    // What the log has is known again after a kill, on whatever replica.
    drop(two);
    one.kill().await?;
    one.restart().await?;
    let again = send(&one.caller("analyst"), "k-1", &params).await?;
    ensure!(replayed(&again), "{}", again.text());
    assert_eq!(again.json()?["result"], results[0]);
    let other = send(&one.caller("analyst"), "k-1", &message("something else")).await?;
    assert_eq!(other.status, 422, "{}", other.text());
    assert_eq!(upstream.calls().len(), 2);
    Ok(())
}

/// A call whose outcome went with its gateway is not made again: whoever asks with the key is told that it is unknown.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_lost_is_not_repeated_for_its_key() -> Result {
    let upstream = Recorder::doing(Act::Late(Duration::from_secs(3))).await;
    let mut gateway = Gateway::start(&settings(&upstream)).await?;
    let (caller, params) = (gateway.caller("analyst"), message("lost"));
    let asking = tokio::spawn({
        let (caller, params) = (caller.clone(), params.clone());
        async move { send(&caller, "k-2", &params).await }
    });
    eventually(SETTLE, "the call", || async {
        ensure!(upstream.calls().len() == 1, "{} calls", upstream.calls().len());
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    gateway.kill().await?;
    ensure!(asking.await?.is_err(), "an answer from a gateway that was killed");
    gateway.restart().await?;
    let first = send(&caller, "k-2", &params).await?;
    assert_eq!((first.status, &first.json()?["error"]["data"][0]["reason"]), (502, &json!("LOST")));
    ensure!(replayed(&first) && replayed(&send(&caller, "k-2", &params).await?));
    assert_eq!(upstream.calls().len(), 1, "the call was made again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_tool_calls_have_keys_too() -> Result {
    let upstream = Recorder::start(|seen| match seen.method() {
        "tools/call" => Act::Late(Duration::from_millis(100)),
        _ => Act::Events(5, Duration::from_millis(20)),
    })
    .await;
    let (one, two) = two(&upstream).await?;
    let body =
        json!({"jsonrpc": "2.0", "id": 4, "method": "SendStreamingMessage", "params": message("count")});
    let mut seen: Vec<Vec<Value>> = Vec::new();
    for gateway in [&one, &two, &one] {
        let caller = gateway.caller("analyst");
        let headers = [("a2a-version", "1.0"), ("idempotency-key", "k-3")];
        let mut stream =
            Stream::of(caller.client.open(caller.request("/a2a/agent", &headers, body.to_string())).await?);
        let mut events = Vec::new();
        while let Some(event) = stream.next().await? {
            events.push(event);
        }
        seen.push(events);
    }
    assert_eq!(seen[0].len(), 5);
    ensure!(seen.iter().all(|events| *events == seen[0]), "{seen:?}");
    assert_eq!(upstream.calls().len(), 1);

    let mut answers = Vec::new();
    for gateway in [&one, &two] {
        let caller = gateway.caller("analyst");
        gateway.knows(&caller, "tools__echo").await?;
        let params = json!({"name": "tools__echo", "arguments": {"text": "hi"}, "_meta": {"progressToken": answers.len()}});
        let mut request = caller.modern("/mcp", "tools/call", params);
        request.headers_mut().insert("idempotency-key", "k-3".parse()?);
        answers.push(caller.client.send(request).await?);
    }
    ensure!(!replayed(&answers[0]) && replayed(&answers[1]), "{answers:?}");
    assert_eq!(answers[0].last()?["result"], answers[1].last()?["result"]);
    assert_eq!(upstream.calls().len(), 2);
    Ok(())
}

/// Where a route has it so, an A2A message that comes again is the same; with other content it is another.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_take_message_ids_for_keys() -> Result {
    let upstream = Recorder::doing(Act::Echo).await;
    let settings = settings(&upstream)
        .set("delivery", json!({"routes": {"agent": {"mode": "direct", "message_ids": true}}}));
    let gateway = Gateway::start(&settings).await?;
    let (caller, params) = (gateway.caller("analyst"), message("hello"));
    let mut other = params.clone();
    other["message"]["parts"][0]["text"] = json!("good-bye");
    let first = caller.a2a("agent", "SendMessage", params.clone()).await?;
    let second = caller.a2a("agent", "SendMessage", params).await?;
    ensure!(!replayed(&first) && replayed(&second), "{}", second.text());
    assert_eq!(first.text(), second.text());
    ensure!(!replayed(&caller.a2a("agent", "SendMessage", other).await?));
    assert_eq!(upstream.calls().len(), 2);
    Ok(())
}
