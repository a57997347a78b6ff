//! Upstreams that remember everything they were sent and do as they are told.

mod answers;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::ledger::{Ledger, now};
use super::{Value, json};
use crate::checker;
use answers::{card, echo, events, found_out, full, json_reply, reply, streams};

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
        let found_out = [
            "initialize",
            "notifications/initialized",
            "notifications/cancelled",
            "server/discover",
            "tools/list",
            "ping",
            "",
        ];
        !found_out.contains(&self.method())
    }

    fn entry(&self, at: u64) -> checker::Seen {
        let sha256 = Sha256::digest(&self.raw).iter().map(|byte| format!("{byte:02x}")).collect();
        checker::Seen {
            at,
            traceparent: self.header("traceparent").to_owned(),
            method: self.method().to_owned(),
            sha256,
            token: checker::ledger::tokens(self.text()).next().unwrap_or_default().to_owned(),
        }
    }

    /// The text that was sent: of an A2A message, or of the tool's argument `text`.
    pub(crate) fn text(&self) -> &str {
        let params = &self.body["params"];
        let part = &params["message"]["parts"][0];
        part["text"].as_str().or(params["arguments"]["text"].as_str()).unwrap_or_default()
    }
}

type Plan = dyn Fn(&Seen) -> Act + Send + Sync;

/// A port that the kernel picks.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// An A2A agent and an MCP server (both eras, one tool `echo`) on one port: any path does.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    /// Every call, as the checker wants it.
    pub(crate) ledger: Arc<Ledger<checker::Seen>>,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    address: SocketAddr,
    seen: Mutex<Vec<Seen>>,
    ledger: Arc<Ledger<checker::Seen>>,
    plan: Box<Plan>,
    /// Whether whole requests are kept, too.
    remembers: bool,
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

    /// Takes up to 40 ms, so that a crash finds some calls under way and some not begun; a stream has three events.
    /// Keeps the ledger only.
    pub(crate) async fn slow() -> Self {
        let turn = AtomicU64::new(0);
        let plan = move |seen: &Seen| {
            let pause = Duration::from_millis(turn.fetch_add(7, Ordering::Relaxed) % 41);
            if streams(seen) { Act::Events(3, pause / 3) } else { Act::Late(pause) }
        };
        Self::with(ANYWHERE, plan, false).await
    }

    /// Does for each call what `plan` says.
    pub(crate) async fn start(plan: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::with(ANYWHERE, plan, true).await
    }

    /// The same, at a given address: one that was down comes up.
    pub(crate) async fn at(address: SocketAddr, plan: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::with(address, plan, true).await
    }

    async fn with(
        address: SocketAddr,
        plan: impl Fn(&Seen) -> Act + Send + Sync + 'static,
        remembers: bool,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let ledger = Arc::new(Ledger::new());
        let state = Arc::new(State {
            address,
            seen: Mutex::default(),
            ledger: Arc::clone(&ledger),
            plan: Box::new(plan),
            remembers,
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { address, ledger, state, task }
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
    let at = now();
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
    if seen.is_call() {
        state.ledger.add(seen.entry(at));
    }
    if state.remembers {
        state.seen.lock().expect("no panic while it is held").push(seen.clone());
    }
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
