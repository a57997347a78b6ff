//! Keeps an HTTP server known: introduced, listed, and introduced again when it has forgotten us.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, Request};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::catalog::ServerInfo;
use super::http::{HttpServer, LegacySession, SESSION_ID, Session, method_header};
use super::http_listen;
use super::learn::{self, Ask};
use super::remap::Ticket;
use super::shelf::Introduced;
use super::stdio::{DEBOUNCE, INITIALIZE_LIMIT};
use crate::message::Dialect;
use crate::protocol::splice::Message;
use crate::upstream::CallError;
use crate::upstream::answer::{for_client, is_event_stream, unary};
use crate::upstream::backoff::Backoff;
use crate::upstream::http::{HttpClient, Once};
use crate::upstream::sse_body::{SseBody, StreamLimits};

/// Pauses between attempts to reach a server.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A server over HTTP runs already: it answers the first question, or does not know it.
const DISCOVER_LIMIT: Duration = Duration::from_secs(10);
/// A goodbye is not waited for longer.
const DELETE_LIMIT: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub(in crate::upstream) async fn follow(
    server: Arc<HttpServer>,
    client: HttpClient,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        let known = tokio::select! {
            known = introduce(&server, &client) => known,
            _ = stop.changed() => return,
        };
        let pause = match known {
            Ok((introduced, session)) => {
                backoff.reset();
                tokio::select! {
                    () = live(&server, &client, &introduced, &session) => Duration::ZERO,
                    _ = stop.changed() => return end(&server, &client, &session).await,
                }
            }
            Err(why) => {
                if server.shelf.down(&why) {
                    tracing::warn!(server = %server.name(), error = why, "MCP server cannot be reached; trying again");
                }
                backoff.pause()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Lists tools now and with each change, until the session is lost.
async fn live(
    server: &Arc<HttpServer>,
    client: &HttpClient,
    introduced: &Introduced,
    session: &Arc<Session>,
) {
    let peer = Peer { server, client, legacy: session.legacy.clone() };
    let mut fresh = server.shelf.fill(&peer, introduced).await;
    server.learn_param_headers();
    server.state.send_replace(Some(session.clone()));
    server.shelf.vital.up();
    let mut listening = Box::pin(http_listen::listen(server, client, introduced, session));
    loop {
        tokio::select! {
            never = &mut listening => match never {},
            () = server.lost.notified() => return,
            () = server.relist.notified() => tokio::time::sleep(DEBOUNCE).await,
            () = tokio::time::sleep(fresh) => {}
        }
        fresh = server.shelf.fill(&peer, introduced).await;
        server.learn_param_headers();
    }
}

/// Finds out which eras the server speaks; for the older one this opens the session.
async fn introduce(
    server: &Arc<HttpServer>,
    client: &HttpClient,
) -> Result<(Introduced, Arc<Session>), String> {
    let mut peer = Peer { server, client, legacy: None };
    let modern = learn::discover(&peer, DISCOVER_LIMIT).await;
    let opened = peer.initialize().await;
    if let (Err(_), Err(error)) = (&modern, &opened) {
        return Err(error.clone());
    }
    let modern = modern.ok();
    let (legacy_info, legacy) = opened.ok().unzip();
    if legacy.is_some() {
        peer.legacy.clone_from(&legacy);
        peer.notify_initialized().await;
    }
    let session = Arc::new(Session { modern: modern.is_some(), legacy });
    let introduced = Introduced { legacy: legacy_info, modern };
    tracing::info!(
        server = %server.name(),
        legacy = introduced.legacy.is_some(),
        modern = introduced.modern.is_some(),
        "MCP server introduced itself"
    );
    Ok((introduced, session))
}

/// Ends the session on the server, if it has one.
async fn end(server: &HttpServer, client: &HttpClient, session: &Session) {
    let Some(legacy) = session.legacy.as_ref().filter(|legacy| legacy.id.is_some()) else { return };
    let headers = server.headers(Dialect::McpLegacy, Some(legacy));
    let build = |body: Once| {
        let mut request = Request::new(body);
        *request.method_mut() = Method::DELETE;
        *request.uri_mut() = server.url.clone();
        *request.headers_mut() = headers.clone();
        request
    };
    let _ = client.send(&Bytes::new(), Instant::now() + DELETE_LIMIT, build).await;
}

/// The gateway's own requests to a server.
struct Peer<'a> {
    server: &'a Arc<HttpServer>,
    client: &'a HttpClient,
    legacy: Option<LegacySession>,
}

impl Peer<'_> {
    /// `initialize`, with the session id from the head of its answer.
    async fn initialize(&self) -> Result<(ServerInfo, LegacySession), String> {
        let id = std::sync::Mutex::new(None);
        let asking = WithHead { peer: self, session_id: &id };
        let info = learn::initialize(&asking, INITIALIZE_LIMIT).await.map_err(|error| error.to_string())?;
        let version = HeaderValue::from_str(&info.version).map_err(|error| error.to_string())?;
        let id = id.into_inner().unwrap_or_default();
        Ok((info, LegacySession { id, version }))
    }

    async fn notify_initialized(&self) {
        let body = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let headers = self.server.headers(Dialect::McpLegacy, self.legacy.as_ref());
        let deadline = Instant::now() + DISCOVER_LIMIT;
        let _ = self.server.post(self.client, &body, &headers, deadline).await;
    }

    async fn exchange(
        &self,
        dialect: Dialect,
        method: &'static str,
        params: Value,
        limit: Duration,
    ) -> Result<(Bytes, Option<HeaderValue>), CallError> {
        let (server, name) = (self.server, self.server.name());
        let ticket = Ticket::own(server.number());
        let body =
            json!({"jsonrpc": "2.0", "id": ticket.number, "method": method, "params": params}).to_string();
        let mut headers = server.headers(dialect, self.legacy.as_ref());
        if dialect == Dialect::McpModern {
            method_header(method, &mut headers);
        }
        let deadline = Instant::now() + limit;
        let response = server.post(self.client, &body.into(), &headers, deadline).await?;
        let (head, body) = response.into_parts();
        let id = &ticket.client_id;
        let answer = if head.status.is_success() && is_event_stream(&head.headers) {
            let limits = StreamLimits::new(server.limits(), server.timeouts.silence, Some(deadline));
            // A list may be larger than an event of a call.
            let limits = StreamLimits { event_bytes: server.limits().answer_bytes, ..limits };
            self.last_of(SseBody::new(name.clone(), body, limits), id).await?
        } else {
            let body = self.client.collect(body, server.limits().answer_bytes, deadline).await?;
            unary(name, id, id, head.status, &body)?
        };
        Ok((answer, head.headers.get(&SESSION_ID).cloned()))
    }

    async fn last_of(&self, mut body: SseBody, id: &str) -> Result<Bytes, CallError> {
        let name = self.server.name();
        while let Some(event) = body.next().await? {
            if let Ok(message) = Message::read(&event.data)
                && message.kind().is_response()
            {
                return for_client(name, &message, id, id, &event.data);
            }
        }
        Err(CallError::broken(name, "its stream ended before the response"))
    }
}

impl Ask for Peer<'_> {
    async fn ask(
        &self,
        dialect: Dialect,
        method: &'static str,
        params: Value,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        self.exchange(dialect, method, params, limit).await.map(|(body, _)| body)
    }
}

/// A peer that also keeps the session id of the answer.
struct WithHead<'a> {
    peer: &'a Peer<'a>,
    session_id: &'a std::sync::Mutex<Option<HeaderValue>>,
}

impl Ask for WithHead<'_> {
    async fn ask(
        &self,
        dialect: Dialect,
        method: &'static str,
        params: Value,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        let (body, id) = self.peer.exchange(dialect, method, params, limit).await?;
        if let Ok(mut place) = self.session_id.lock() {
            *place = id;
        }
        Ok(body)
    }
}
