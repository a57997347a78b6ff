//! A crowd of clients: many requests at a time, each with a token of its own, all that came of them in a ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy;

use super::caller::{Caller, message};
use super::http::{Answer, Stream};
use super::ledger::{Ledger, now};
use super::{Result, json};
use crate::checker::Sent;
use crate::checker::ledger::{Outcome, TOKEN};

/// Clients that work side by side, unless told otherwise.
const CLIENTS: usize = 24;

/// Between two tries while nobody listens.
const PAUSE: Duration = Duration::from_millis(20);

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A2A 1.0 `SendMessage` to the agent `echo`.
    Send,
    /// A2A 1.0 `SendStreamingMessage` to the agent `echo`.
    Stream,
    /// `tools/call` of the tool `echo` of the server `tools`, MCP 2026-07-28.
    Modern,
    /// The same in a session of MCP 2025-11-25.
    Legacy,
}

impl Ask {
    pub(crate) const ALL: &[Self] = &[Self::Send, Self::Modern, Self::Stream, Self::Legacy];
}

/// A gateway that clients may use.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) caller: Caller,
}

/// What a crowd does.
#[derive(Clone)]
pub(crate) struct Plan {
    /// Each client keeps to one of these while somebody listens there.
    pub(crate) targets: Vec<Target>,
    pub(crate) asks: &'static [Ask],
    pub(crate) clients: usize,
    /// Requests in all; a connection that is refused is no request.
    pub(crate) total: usize,
    /// What the routes give a call.
    pub(crate) deadline: Duration,
}

impl Plan {
    pub(crate) fn new(targets: Vec<Target>, total: usize, deadline: Duration) -> Self {
        Self { targets, asks: Ask::ALL, clients: CLIENTS, total, deadline }
    }
}

/// Clients at work.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

struct Shared {
    plan: Plan,
    ledger: Arc<Ledger<Sent>>,
    next: AtomicUsize,
    ended: AtomicUsize,
    stop: AtomicBool,
}

impl Crowd {
    pub(crate) fn start(plan: Plan, ledger: &Arc<Ledger<Sent>>) -> Self {
        let shared = Arc::new(Shared {
            plan,
            ledger: Arc::clone(ledger),
            next: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let clients =
            (0..shared.plan.clients).map(|own| tokio::spawn(Arc::clone(&shared).client(own))).collect();
        Self { shared, clients }
    }

    /// Requests that have ended so far, well or not.
    pub(crate) fn ended(&self) -> usize {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// Tells what [`Crowd::ended`] tells, also elsewhere.
    pub(crate) fn counter(&self) -> impl Fn() -> usize + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.ended.load(Ordering::Relaxed)
    }

    /// Waits for the last request.
    pub(crate) async fn finish(self) {
        for client in self.clients {
            client.await.expect("a client does not panic");
        }
    }

    /// Begins no more requests, and waits for the last one.
    pub(crate) async fn stop(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.finish().await;
    }
}

impl Shared {
    async fn client(self: Arc<Self>, own: usize) {
        let mut turn = own;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.plan.total || self.stop.load(Ordering::Relaxed) {
                return;
            }
            let ask = self.plan.asks[number % self.plan.asks.len()];
            while !self.stop.load(Ordering::Relaxed) {
                let target = &self.plan.targets[turn % self.plan.targets.len()];
                if let Some(sent) = one(target, ask, number, self.plan.deadline).await {
                    self.ledger.add(sent);
                    break;
                }
                // Nobody listened, so nothing was sent: the next gateway, or the same one in a while.
                turn += 1;
                tokio::time::sleep(PAUSE).await;
            }
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A token that no other request has.
pub(crate) fn token() -> String {
    format!("{TOKEN}{}", uuid::Uuid::new_v4().simple())
}

/// Sends one request; none when no connection could be made.
async fn one(target: &Target, ask: Ask, number: usize, deadline: Duration) -> Option<Sent> {
    let token = token();
    let session = if ask == Ask::Legacy { session(&target.caller).await? } else { String::new() };
    let (request, body) = keep_body(request(&target.caller, ask, number, &token, &session)).await;
    send(target, request, (token, body), None, deadline).await
}

/// Sends `request` and notes what comes of it; none when no connection could be made.
pub(crate) async fn send(
    target: &Target,
    request: Request<Full<Bytes>>,
    (token, body): (String, Bytes),
    key: Option<String>,
    deadline: Duration,
) -> Option<Sent> {
    let at = now();
    // A minute beyond the last moment for an answer: what takes longer is a hang.
    let patience = deadline + Duration::from_secs(65);
    let outcome = match tokio::time::timeout(patience, outcome(&target.caller, request)).await {
        Ok(Err(error)) if refused(&error) => return None,
        Ok(outcome) => Some(outcome.unwrap_or_else(|error| Outcome::Nothing { error: format!("{error:#}") })),
        Err(_) => None,
    };
    Some(Sent {
        at,
        ended: outcome.is_some().then(now),
        gateway: target.name.clone(),
        principal: "analyst".to_owned(),
        key,
        token,
        body: String::from_utf8_lossy(&body).into_owned(),
        deadline: u64::try_from(deadline.as_millis()).expect("a short time"),
        outcome: outcome.unwrap_or_else(|| Outcome::Nothing { error: "a hang".to_owned() }),
    })
}

async fn outcome(caller: &Caller, request: Request<Full<Bytes>>) -> Result<Outcome> {
    let response = caller.client.open(request).await?;
    let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
        return Ok(stream(Stream::of(response)).await);
    }
    let answer = Answer::of(response).await?;
    Ok(Outcome::Answer {
        status: answer.status,
        relay_id: answer.relay_id().to_owned(),
        retry_after: !answer.header("retry-after").is_empty(),
        body: answer.text(),
    })
}

/// Reads a stream to its end, good or bad.
pub(crate) async fn stream(mut stream: Stream) -> Outcome {
    let mut messages = Vec::new();
    let complete = loop {
        match stream.next_text().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    Outcome::Stream { relay_id: stream.relay_id, messages, complete }
}

/// Opens a session of MCP 2025-11-25; none when nobody listens.
pub(crate) async fn session(caller: &Caller) -> Option<String> {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let answer = caller.post("/mcp/tools", &[], body.to_string()).await.ok()?;
    Some(answer.header("mcp-session-id").to_owned())
}

/// The request `number` for `ask`.
pub(crate) fn request(
    caller: &Caller,
    ask: Ask,
    number: usize,
    token: &str,
    session: &str,
) -> Request<Full<Bytes>> {
    let body =
        |method: &str, params| json!({"jsonrpc": "2.0", "id": number, "method": method, "params": params});
    let call = || json!({"name": "echo", "arguments": {"text": token}});
    match ask {
        Ask::Send | Ask::Stream => {
            let method = if ask == Ask::Send { "SendMessage" } else { "SendStreamingMessage" };
            caller.request("/a2a/echo", &[("a2a-version", "1.0")], body(method, message(token)).to_string())
        }
        Ask::Modern => caller.modern("/mcp/tools", "tools/call", call()),
        Ask::Legacy => {
            let headers = [("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", session)];
            caller.request("/mcp/tools", &headers, body("tools/call", call()).to_string())
        }
    }
}

/// A request and its body.
pub(crate) async fn keep_body(request: Request<Full<Bytes>>) -> (Request<Full<Bytes>>, Bytes) {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (Request::from_parts(parts, Full::new(bytes.clone())), bytes)
}

fn refused(error: &anyhow::Error) -> bool {
    error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
}
