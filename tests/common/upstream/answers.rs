//! What an upstream that remembers answers: discovery, cards, echoes, streams.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::Response;
use hyper::body::Frame;

use super::{Broken, Reply, Seen};
use crate::common::{Value, json};

pub(super) fn streams(seen: &Seen) -> bool {
    matches!(seen.method(), "SendStreamingMessage" | "message/stream")
}

/// What discovery gets.
pub(super) fn found_out(seen: &Seen) -> Reply {
    let modern = !seen.body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].is_null();
    let mut result = match seen.method() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "recorder", "version": "1"},
        }),
        "server/discover" => json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
        "tools/list" => json!({"tools": [{
            "name": "echo",
            "description": "Gives back the text.",
            "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "annotations": {"idempotentHint": true},
        }]}),
        "ping" => json!({}),
        _ => return reply(202, "application/json", full("")),
    };
    if modern {
        result["resultType"] = json!("complete");
        result["ttlMs"] = json!(300_000);
        result["cacheScope"] = json!("public");
        result["_meta"]["io.modelcontextprotocol/serverInfo"] = json!({"name": "recorder", "version": "1"});
    }
    json_reply(200, &json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": result}))
}

/// The echo of a call.
pub(super) fn echo(seen: &Seen) -> Value {
    let parts = json!([{"text": seen.text()}]);
    let id = uuid::Uuid::new_v4().to_string();
    let result = match seen.method() {
        "tools/call" => {
            let mut result = json!({"content": [{"type": "text", "text": seen.text()}], "isError": false});
            if !seen.body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].is_null() {
                result["resultType"] = json!("complete");
            }
            result
        }
        "message/send" => {
            let parts = json!([{"kind": "text", "text": seen.text()}]);
            json!({"kind": "message", "messageId": id, "role": "agent", "parts": parts})
        }
        _ => json!({"message": {"messageId": id, "role": "ROLE_AGENT", "parts": parts}}),
    };
    json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": result})
}

/// The numbered message of a stream: a status update, or of a tool call its progress, and in the end its result.
fn message(seen: &Seen, task: &str, number: u32, ends: bool) -> Value {
    let state = if ends { "completed" } else { "working" };
    let result = match seen.method() {
        "tools/call" if ends => return echo(seen),
        "tools/call" => {
            let token = &seen.body["params"]["_meta"]["progressToken"];
            let params = json!({"progressToken": token, "progress": number});
            return json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
        }
        "message/stream" => json!({
            "kind": "status-update", "taskId": task, "contextId": task, "final": ends,
            "status": {"state": state}, "metadata": {"n": number},
        }),
        _ => json!({"statusUpdate": {
            "taskId": task, "contextId": task, "metadata": {"n": number},
            "status": {"state": format!("TASK_STATE_{}", state.to_uppercase())},
        }}),
    };
    json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": result})
}

/// A stream of numbered messages, the last one final.
pub(super) fn events(seen: Seen, count: u32, pause: Duration, torn: bool) -> Reply {
    let task = uuid::Uuid::new_v4().to_string();
    let numbers = stream::iter(1..=count).then(move |number| async move {
        tokio::time::sleep(pause).await;
        number
    });
    let items = numbers.map(move |number| {
        let message = message(&seen, &task, number, number == count && !torn);
        Ok::<_, Broken>(Frame::data(Bytes::from(format!("data: {message}\n\n"))))
    });
    // An event that is given in one breath with the error would never leave.
    let end = stream::iter(torn.then_some(())).then(|()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Err("torn, as asked".into())
    });
    let body = BodyExt::boxed(StreamBody::new(SyncStream(items.chain(end).boxed().into())));
    reply(200, "text/event-stream", body)
}

/// A stream behind a lock that nobody contends for, to be shared between threads as hyper's boxed body wants it.
struct SyncStream<T>(Mutex<Pin<Box<dyn futures_util::Stream<Item = T> + Send>>>);

impl<T> futures_util::Stream for SyncStream<T> {
    type Item = T;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.lock().expect("no panic while it is held").as_mut().poll_next(context)
    }
}

pub(super) fn card(address: SocketAddr) -> Value {
    let url = format!("http://{address}/");
    json!({
        "name": "recorder", "description": "Remembers.", "version": "1",
        "capabilities": {"streaming": true},
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "echo", "name": "Echo", "description": "Echoes.", "tags": ["echo"]}],
        "supportedInterfaces": [
            {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
        ],
        "url": url, "preferredTransport": "JSONRPC", "protocolVersion": "0.3.0",
    })
}

pub(super) fn json_reply(status: u16, body: &Value) -> Reply {
    reply(status, "application/json", full(body.to_string()))
}

pub(super) fn full(body: impl Into<Bytes>) -> BoxBody<Bytes, Broken> {
    BodyExt::boxed(Full::new(body.into()).map_err(|never: Infallible| match never {}))
}

pub(super) fn reply(status: u16, kind: &str, body: BoxBody<Bytes, Broken>) -> Reply {
    let builder = Response::builder().status(status).header("content-type", kind);
    builder.body(body).expect("a well-formed head")
}
