//! Upstreams that remember everything they were sent and do as they are told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Value, json};

/// What an upstream does with a call (`SendMessage`, `tools/call` and so on; discovery is always answered).
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Echoes at once.
    Echo,
    /// Echoes after a while.
    Late(Duration),
    /// Sends this many events, so far apart, then ends well.
    Events(u32, Duration),
    /// Sends this many events, then drops the connection.
    Torn(u32),
    /// Never answers.
    Silent,
    /// Drops the connection without an answer.
    Cut,
    /// Answers with this status and body, as JSON.
    Raw(u16, String),
}

/// One request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) raw: Bytes,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether something is done, rather than found out.
    pub(crate) fn is_call(&self) -> bool {
        let found_out =
            ["initialize", "notifications/initialized", "server/discover", "tools/list", "ping", ""];
        !found_out.contains(&self.method())
    }

    /// The text that was sent: of an A2A message, or of the tool's argument `text`.
    pub(crate) fn text(&self) -> &str {
        let params = &self.body["params"];
        let part = &params["message"]["parts"][0];
        part["text"].as_str().or(params["arguments"]["text"].as_str()).unwrap_or_default()
    }
}

type Plan = dyn Fn(&Seen) -> Act + Send + Sync;

/// An A2A agent and an MCP server (both eras, one tool `echo`) on one port: any path does.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    address: SocketAddr,
    seen: Mutex<Vec<Seen>>,
    plan: Box<Plan>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    /// Always does `act`.
    pub(crate) async fn doing(act: Act) -> Self {
        Self::start(move |_| act.clone()).await
    }

    /// Does for each call what `plan` says.
    pub(crate) async fn start(plan: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State { address, seen: Mutex::default(), plan: Box::new(plan) });
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The calls that arrived so far.
    pub(crate) fn calls(&self) -> Vec<Seen> {
        let seen = self.state.seen.lock().expect("no panic while it is held");
        seen.iter().filter(|seen| seen.is_call()).cloned().collect()
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((socket, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&state), request));
            // An error here is a peer that left or a cut that was asked for.
            let builder = auto::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

type Broken = Box<dyn std::error::Error + Send + Sync>;
type Reply = Response<BoxBody<Bytes, Broken>>;

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Reply, Broken> {
    let (parts, body) = request.into_parts();
    if parts.uri.path().ends_with(".json") {
        return Ok(json_reply(200, &card(state.address)));
    }
    if parts.method != hyper::Method::POST {
        return Ok(json_reply(405, &json!({})));
    }
    let raw = body.collect().await?.to_bytes();
    let seen = Seen { headers: parts.headers, body: serde_json::from_slice(&raw).unwrap_or_default(), raw };
    let known = (!seen.is_call()).then(|| found_out(&seen));
    let act = known.is_none().then(|| (state.plan)(&seen));
    state.seen.lock().expect("no panic while it is held").push(seen.clone());
    match (known, act) {
        (Some(reply), _) => Ok(reply),
        (None, Some(act)) => perform(&seen, act).await,
        (None, None) => Ok(json_reply(202, &json!({}))),
    }
}

async fn perform(seen: &Seen, act: Act) -> Result<Reply, Broken> {
    match act {
        Act::Echo if streams(seen) => Ok(events(seen.clone(), 3, Duration::ZERO, false)),
        Act::Echo => Ok(json_reply(200, &echo(seen))),
        Act::Late(pause) => {
            tokio::time::sleep(pause).await;
            Ok(json_reply(200, &echo(seen)))
        }
        Act::Events(count, pause) => Ok(events(seen.clone(), count, pause, false)),
        Act::Torn(count) => Ok(events(seen.clone(), count, Duration::from_millis(20), true)),
        Act::Silent => std::future::pending().await,
        Act::Cut => Err("cut, as asked".into()),
        Act::Raw(status, body) => Ok(reply(status, "application/json", full(body))),
    }
}

fn streams(seen: &Seen) -> bool {
    matches!(seen.method(), "SendStreamingMessage" | "message/stream")
}

/// What discovery gets.
fn found_out(seen: &Seen) -> Reply {
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
fn echo(seen: &Seen) -> Value {
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

/// A stream of status updates of one task, numbered in the metadata, the last one final.
fn events(seen: Seen, count: u32, pause: Duration, torn: bool) -> Reply {
    let task = uuid::Uuid::new_v4().to_string();
    let numbers = stream::iter(1..=count).then(move |number| async move {
        tokio::time::sleep(pause).await;
        number
    });
    let items = numbers.map(move |number| {
        let state = if number == count && !torn { "TASK_STATE_COMPLETED" } else { "TASK_STATE_WORKING" };
        let update =
            json!({"taskId": task, "contextId": task, "status": {"state": state}, "metadata": {"n": number}});
        let message = json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": {"statusUpdate": update}});
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

fn card(address: SocketAddr) -> Value {
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

fn json_reply(status: u16, body: &Value) -> Reply {
    reply(status, "application/json", full(body.to_string()))
}

fn full(body: impl Into<Bytes>) -> BoxBody<Bytes, Broken> {
    BodyExt::boxed(Full::new(body.into()).map_err(|never: Infallible| match never {}))
}

fn reply(status: u16, kind: &str, body: BoxBody<Bytes, Broken>) -> Reply {
    let builder = Response::builder().status(status).header("content-type", kind);
    builder.body(body).expect("a well-formed head")
}
