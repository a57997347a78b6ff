//! MCP servers over streamable HTTP. Modern: each request stands alone. Legacy: one session of the gateway's own with each
//! server, opened once, opened again when the server has forgotten it. One upstream request for each call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use rustls::ClientConfig;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::http_stream::Exchange;
use super::param_headers;
use super::remap::{self, Framing, Ticket, outgoing};
use super::shelf::Shelf;
use super::stdio::READY_WAIT;
use crate::config::{Limits, Secret, Timeouts};
use crate::message::{Dialect, Name, Operation};
use crate::protocol::mcp::ParamHeaders;
use crate::protocol::splice::Message;
use crate::upstream::a2a::{BOTH_TYPES, JSON, TRACEPARENT};
use crate::upstream::answer::{is_event_stream, unary};
use crate::upstream::http::{HttpClient, Once};
use crate::upstream::sse_body::{SseBody, StreamLimits};
use crate::upstream::{Answer, Call, CallError, StartError};

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// One configured HTTP server.
#[derive(Debug)]
pub(in crate::upstream) struct HttpServer {
    pub(super) shelf: Shelf,
    pub(super) url: Uri,
    pub(super) timeouts: Timeouts,
    /// The configured headers: the gateway's own credential there.
    pub(super) own_headers: HeaderMap,
    numbers: AtomicU64,
    pub(super) state: watch::Sender<Option<Arc<Session>>>,
    pub(super) relist: Notify,
    /// The session in force is gone.
    pub(super) lost: Notify,
    param_headers: ArcSwap<HashMap<Arc<str>, ParamHeaders>>,
}

/// What was agreed with the server.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) modern: bool,
    pub(super) legacy: Option<LegacySession>,
}

/// A session opened by `initialize`.
#[derive(Clone, Debug)]
pub(super) struct LegacySession {
    /// Servers may do without.
    pub(super) id: Option<HeaderValue>,
    pub(super) version: HeaderValue,
}

impl HttpServer {
    pub(super) fn new(
        shelf: Shelf,
        url: &str,
        timeouts: Timeouts,
        headers: &std::collections::BTreeMap<String, Secret>,
    ) -> Result<Self, StartError> {
        let mut own_headers = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| StartError::Header { upstream: shelf.name.clone(), header: name.clone() })?;
            own_headers.insert(header, crate::upstream::sensitive(&shelf.name, value)?);
        }
        Ok(Self {
            url: crate::upstream::http_url(&shelf.name, url)?,
            shelf,
            timeouts,
            own_headers,
            numbers: AtomicU64::new(1),
            state: watch::channel(None).0,
            relist: Notify::new(),
            lost: Notify::new(),
            param_headers: ArcSwap::default(),
        })
    }

    pub(super) fn name(&self) -> &Name {
        &self.shelf.name
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shelf.limits
    }

    /// A client for this server, with a pool of its own.
    pub(in crate::upstream) fn client(&self, tls: &Arc<ClientConfig>) -> HttpClient {
        HttpClient::new(self.name().clone(), &self.timeouts, tls)
    }

    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(in crate::upstream) async fn call(
        self: &Arc<Self>,
        client: &HttpClient,
        call: &Call,
    ) -> Result<Answer, CallError> {
        let session = self.session(call.deadline).await?;
        match self.attempt(client, call, &session).await? {
            Attempt::Answered(answer) => Ok(answer),
            Attempt::SessionLost => {
                // The server has not looked at the request: once more, in a new session.
                self.forget(&session);
                let session = self.session(call.deadline).await?;
                match self.attempt(client, call, &session).await? {
                    Attempt::Answered(answer) => Ok(answer),
                    Attempt::SessionLost => Err(CallError::unreachable(
                        self.name(),
                        "it forgets the session that it has just opened",
                    )),
                }
            }
        }
    }

    /// Waits a little for a server that is being introduced.
    async fn session(&self, deadline: Instant) -> Result<Arc<Session>, CallError> {
        if let Some(session) = &*self.state.borrow() {
            return Ok(session.clone());
        }
        let mut state = self.state.subscribe();
        let until = (Instant::now() + READY_WAIT).min(deadline);
        let session = timeout_at(until, state.wait_for(Option::is_some)).await;
        let session = session.ok().and_then(Result::ok).and_then(|session| session.clone());
        session.ok_or_else(|| CallError::unreachable(self.name(), "it has not been reached yet"))
    }

    pub(super) fn forget(&self, session: &Arc<Session>) {
        let ours = |now: &Option<Arc<Session>>| now.as_ref().is_some_and(|now| Arc::ptr_eq(now, session));
        if self.state.send_if_modified(|now| ours(now) && now.take().is_some()) {
            tracing::info!(server = %self.name(), "MCP server has forgotten the session; opening a new one");
            self.lost.notify_one();
        }
    }

    async fn attempt(
        self: &Arc<Self>,
        client: &HttpClient,
        call: &Call,
        session: &Arc<Session>,
    ) -> Result<Attempt, CallError> {
        let modern = call.dialect == Dialect::McpModern;
        if !(if modern { session.modern } else { session.legacy.is_some() }) {
            let version = call.dialect.version();
            return Err(CallError::Unsupported { upstream: self.name().clone(), version });
        }
        let (body, ticket) = outgoing(&call.body, self.number(), call.tool.as_deref(), Framing::Body)
            .map_err(|error| CallError::invalid(self.name(), error.to_string()))?;
        let mut headers = self.headers(call.dialect, session.legacy.as_ref());
        if modern {
            self.modern_headers(call, &mut headers);
        }
        if let Ok(traceparent) = HeaderValue::from_str(&call.traceparent) {
            headers.insert(TRACEPARENT, traceparent);
        }
        let mut running = Running::new(self, client, (!modern).then_some(session), ticket.number);
        let response = self.post(client, &body, &headers, call.deadline).await;
        self.shelf.vital.saw(&response);
        if response.as_ref().is_err_and(CallError::nothing_was_sent) {
            running.over();
        }
        let response = response?;
        let attempt = self.read(client, call, session, ticket, response, &mut running).await?;
        running.over();
        Ok(attempt)
    }

    async fn read(
        self: &Arc<Self>,
        client: &HttpClient,
        call: &Call,
        session: &Arc<Session>,
        ticket: Ticket,
        response: Response<Incoming>,
        running: &mut Running,
    ) -> Result<Attempt, CallError> {
        let (head, body) = response.into_parts();
        if head.status.is_success() && is_event_stream(&head.headers) {
            let limits = StreamLimits::new(self.limits(), self.timeouts.silence, Some(call.deadline));
            let body = SseBody::new(self.name().clone(), body, limits);
            let exchange = Exchange::new(self.clone(), client.clone(), ticket, body, running.take());
            return exchange.answer().await.map(Attempt::Answered);
        }
        let body = client.collect(body, self.limits().answer_bytes, call.deadline).await?;
        if call.dialect == Dialect::McpLegacy && session_is_lost(session, head.status, &body) {
            return Ok(Attempt::SessionLost);
        }
        let sent_id = ticket.number.to_string();
        unary(self.name(), &sent_id, &ticket.client_id, head.status, &body)
            .map(Answer::Unary)
            .map(Attempt::Answered)
    }

    pub(super) async fn post(
        &self,
        client: &HttpClient,
        body: &Bytes,
        headers: &HeaderMap,
        deadline: Instant,
    ) -> Result<Response<Incoming>, CallError> {
        let build = |body: Once| {
            let mut request = Request::new(body);
            *request.method_mut() = Method::POST;
            *request.uri_mut() = self.url.clone();
            *request.headers_mut() = headers.clone();
            request
        };
        client.send(body, deadline, build).await
    }

    /// The head of every request: the gateway's own, nothing of a client's.
    pub(super) fn headers(&self, dialect: Dialect, legacy: Option<&LegacySession>) -> HeaderMap {
        let mut headers = self.own_headers.clone();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, BOTH_TYPES);
        if dialect == Dialect::McpModern {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(Dialect::McpModern.version()));
        } else if let Some(legacy) = legacy {
            headers.insert(PROTOCOL_VERSION, legacy.version.clone());
            if let Some(id) = &legacy.id {
                headers.insert(SESSION_ID, id.clone());
            }
        }
        headers
    }

    /// Computed from the body that goes out: names differ from those that the client used.
    fn modern_headers(&self, call: &Call, headers: &mut HeaderMap) {
        method_header(call.operation.method(call.dialect), headers);
        let Some(tool) = call.tool.as_deref().filter(|_| call.operation == Operation::CallTool) else {
            return;
        };
        headers.insert(NAME, param_headers::encoded(tool));
        let learned = self.param_headers.load();
        if let Some(learned) = learned.get(tool)
            && let Ok(message) = Message::read(&call.body)
        {
            let arguments = message.params().arguments.map(|arguments| arguments.get());
            param_headers::add(learned, arguments, headers);
        }
    }

    /// Learns the annotations of the tools now in the catalog; those of refused tools are not there.
    pub(super) fn learn_param_headers(&self) {
        let catalog = self.shelf.published.load();
        let tools = catalog.servers.get(self.name()).map(|entry| entry.tools.as_slice()).unwrap_or_default();
        let annotated = tools
            .iter()
            .filter_map(|tool| Some((tool.name.clone(), ParamHeaders::learn(tool.input.raw()).ok()?)))
            .filter(|(_, headers)| !headers.is_empty())
            .collect();
        self.param_headers.store(Arc::new(annotated));
    }
}

pub(super) fn method_header(method: &'static str, headers: &mut HeaderMap) {
    headers.insert(METHOD, HeaderValue::from_static(method));
}

enum Attempt {
    Answered(Answer),
    SessionLost,
}

/// 404 is what the protocol asks for. Servers built on the official TypeScript SDK that know nothing of a session say 400
/// with code -32000 and a text about the session.
fn session_is_lost(session: &Session, status: StatusCode, body: &[u8]) -> bool {
    let had_id = session.legacy.as_ref().is_some_and(|legacy| legacy.id.is_some());
    had_id
        && match status {
            StatusCode::NOT_FOUND => true,
            StatusCode::BAD_REQUEST => {
                let text = String::from_utf8_lossy(&body[..body.len().min(1024)]).to_ascii_lowercase();
                text.contains("-32000") && text.contains("session")
            }
            _ => false,
        }
}

/// A request that the server may be working on. When its caller goes before the answer, a legacy server is told; a modern
/// one sees the stream close.
#[derive(Debug)]
pub(super) struct Running(Option<(Arc<HttpServer>, HttpClient, Arc<Session>, u64)>);

impl Running {
    fn new(
        server: &Arc<HttpServer>,
        client: &HttpClient,
        legacy: Option<&Arc<Session>>,
        number: u64,
    ) -> Self {
        Self(legacy.map(|session| (server.clone(), client.clone(), session.clone(), number)))
    }

    pub(super) fn over(&mut self) {
        self.0 = None;
    }

    fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Sends a message in the session that this request runs in, without waiting for it.
    pub(super) fn tell(&self, text: String) {
        if let Some((server, client, session, _)) = &self.0 {
            tell(server, client, session, text);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some((server, client, session, number)) = self.0.take() {
            tell(&server, &client, &session, remap::cancelled(number));
        }
    }
}

/// Sends a message of the gateway's own in a legacy session, without waiting for it.
pub(super) fn tell(server: &Arc<HttpServer>, client: &HttpClient, session: &Arc<Session>, text: String) {
    // Dropped outside a runtime only when that is ending, and every connection with it.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let (server, client, session) = (server.clone(), client.clone(), session.clone());
    runtime.spawn(async move {
        let headers = server.headers(Dialect::McpLegacy, session.legacy.as_ref());
        let deadline = Instant::now() + server.timeouts.first_byte;
        let _ = server.post(&client, &text.into(), &headers, deadline).await;
    });
}
