//! MCP at `/mcp` (all servers) and `/mcp/{server}`: 2025-11-25 with sessions, 2026-07-28 without.

mod answers;
mod call;
mod names;
mod scope;
mod session;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};

use super::door::{self, Brief, Route};
use super::path::Path;
use super::respond::{self, Refused};
use super::{Front, Gateway, resume};
use crate::edge::Body;
use crate::message::{Dialect, Mode, Operation};
use crate::outcome::Reason;
use crate::policy::Principal;
use crate::protocol::mcp::{self, McpHeaders, Message};
use crate::protocol::{Parsed, RawId};
use crate::schema::Checked;
use scope::Scope;

pub use names::Cache;
pub(super) use session::Guard;
pub use session::Sessions;

/// Names a legacy session (2025-11-25, transports).
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Names the version that a client speaks.
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// One POST: a request, a notification, or a client's answer.
pub(super) async fn post(front: &Front, server: Option<&str>, request: Request<Incoming>) -> Response<Body> {
    let gateway = &front.gateway;
    let (parts, incoming) = request.into_parts();
    let headers = McpHeaders::new(&parts.headers);
    let guess = if headers.version == Some(Dialect::McpModern.version()) {
        Dialect::McpModern
    } else {
        Dialect::McpLegacy
    };
    let away = |refused: Box<Refused>| door::turn_away(gateway, &refused);
    let principal = match door::authenticate(gateway, &parts.headers, guess) {
        Ok(principal) => principal,
        Err(refused) => return away(refused),
    };
    let Some(scope) = scope_of(gateway, server) else {
        let message = format!("there is no MCP server `{}` here", server.unwrap_or_default());
        return away(Box::new(Refused::new(Reason::UnknownAgent, guess, None, message)));
    };
    let streams = door::accepts(&parts.headers, "text/event-stream");
    if !streams && !door::accepts(&parts.headers, "application/json") {
        let message = "accept application/json and text/event-stream";
        return away(Box::new(Refused::new(Reason::NotAcceptable, guess, None, message)));
    }
    let body = match door::body(gateway, &parts, incoming, guess).await {
        Ok(body) => body,
        Err(refused) => return away(refused),
    };
    let parsed = match mcp::read(body, &headers, &gateway.read_limits) {
        Ok(Message::Request(parsed)) => parsed,
        Ok(Message::Response | Message::Notice(_)) => return respond::accepted(),
        Err(rejected) => return away(Box::new(rejected.into())),
    };
    let session = match session_of(gateway, &parts.headers, &parsed, &principal) {
        Ok(session) => session,
        Err(refused) => return away(refused),
    };
    let visit = Visit { front, principal, scope, session, streams, headers: &parts.headers };
    visit.judge(parsed, &headers).await
}

/// The rest of a stream that broke (2025-11-25, streamable HTTP, resumability); the same for 2026-07-28 as an extension of
/// this gateway's. Without `Last-Event-ID` there is nothing to get: the gateway sends nothing of its own accord.
pub(super) async fn get<B>(front: &Front, path: Path<'_>, request: &Request<B>) -> Response<Body> {
    let gateway = &front.gateway;
    let headers = request.headers();
    let Some(position) = resume::asked(headers) else { return door::method_not_allowed(gateway, path) };
    let version = headers.get(&VERSION).and_then(|value| value.to_str().ok());
    let modern = version == Some(Dialect::McpModern.version());
    let dialect = if modern { Dialect::McpModern } else { Dialect::McpLegacy };
    let away = |refused: Box<Refused>| door::turn_away(gateway, &refused);
    let principal = match door::authenticate(gateway, headers, dialect) {
        Ok(principal) => principal,
        Err(refused) => return away(refused),
    };
    if !door::accepts(headers, "text/event-stream") {
        let message = "what is left of a stream is a stream: accept text/event-stream";
        return away(Box::new(Refused::new(Reason::NotAcceptable, dialect, None, message)));
    }
    let session = if modern { Ok(None) } else { named_session(gateway, headers, None, &principal) };
    let session = match session {
        Ok(session) => session.unwrap_or_default(),
        Err(refused) => return away(refused),
    };
    let bound = gateway.positions.bound(principal.id(), dialect, &session);
    match resume::go_on(gateway, dialect, bound, position, None).await {
        Ok(response) => response,
        Err(refused) => away(refused),
    }
}

/// The end of a legacy session.
pub(super) fn delete<B>(front: &Front, request: &Request<B>) -> Response<Body> {
    let gateway = &front.gateway;
    let principal = match door::authenticate(gateway, request.headers(), Dialect::McpLegacy) {
        Ok(principal) => principal,
        Err(refused) => return door::turn_away(gateway, &refused),
    };
    let token = request.headers().get(&SESSION).and_then(|value| value.to_str().ok());
    match token {
        Some(token) if gateway.sessions.is_open(token, &principal) => {
            gateway.sessions.end(token);
            let mut response = respond::accepted();
            *response.status_mut() = hyper::StatusCode::NO_CONTENT;
            response
        }
        Some(_) => door::turn_away(gateway, &unknown_session(None)),
        None => {
            let message = "DELETE ends a session; the header Mcp-Session-Id is missing";
            door::turn_away(gateway, &Refused::new(Reason::BadHttp, Dialect::McpLegacy, None, message))
        }
    }
}

/// One authenticated request to a set of servers.
struct Visit<'a> {
    front: &'a Front,
    principal: Principal,
    scope: Scope,
    /// The legacy session that it belongs to.
    session: Option<String>,
    streams: bool,
    headers: &'a HeaderMap,
}

impl Visit<'_> {
    async fn judge(&self, parsed: Parsed, headers: &McpHeaders<'_>) -> Response<Body> {
        let gateway = &self.front.gateway;
        let brief = Brief::from(&parsed);
        let checked = match gateway.schemas.check(parsed) {
            Ok(checked) => checked,
            Err(rejected) => {
                let admitted = door::admit(brief, &self.principal, None, self.route(None));
                return door::refuse(self.front, &admitted, &rejected.into()).await;
            }
        };
        if checked.operation == Operation::CallTool {
            return call::run(self, checked, headers).await;
        }
        self.answer(checked).await
    }

    /// What the gateway answers by itself, or only takes notice of.
    async fn answer(&self, checked: Checked) -> Response<Body> {
        let gateway = &self.front.gateway;
        let resource = self.scope.resource();
        let permitted = match gateway.policies.permit(checked, self.principal.clone(), resource) {
            Ok(permitted) => permitted,
            Err(denied) => {
                let checked = &denied.message;
                let admitted = door::admit(
                    &**checked,
                    &self.principal,
                    Some(&denied.decision),
                    self.route(Some(checked)),
                );
                let method = checked.operation.method(checked.dialect);
                let message = format!("`{}` may not call {method} here: {denied}", self.principal.name());
                let refused = Refused::new(Reason::Forbidden, checked.dialect, checked.id.as_ref(), message);
                return door::refuse(self.front, &admitted, &refused).await;
            }
        };
        let parsed = permitted.message();
        let ending = gateway.metrics.begin(parsed.dialect, parsed.operation, Mode::Direct);
        let response = match (&parsed.id, parsed.operation) {
            (None, Operation::Cancelled) => self.cancel(parsed).await,
            (None, _) => respond::accepted(),
            (Some(id), _) => self.by_ourselves(parsed, id),
        };
        ending.finish(Reason::Completed);
        response
    }

    fn by_ourselves(&self, parsed: &Parsed, id: &RawId) -> Response<Body> {
        let gateway = &self.front.gateway;
        let catalog = gateway.upstreams.catalog();
        match parsed.operation {
            Operation::Initialize => {
                let mut response = door::ok(answers::initialize(parsed, id, &catalog, &self.scope));
                let token = gateway.sessions.open(&self.principal);
                if let Ok(token) = HeaderValue::from_str(&token) {
                    response.headers_mut().insert(SESSION, token);
                }
                response
            }
            Operation::Discover => door::ok(answers::discover(id, &catalog, &self.scope)),
            Operation::ListTools => {
                let names = gateway.names.get(catalog, gateway.prefix);
                door::ok(answers::tools(gateway, &names, &self.scope, &self.principal, parsed.dialect, id))
            }
            _ => door::ok(crate::protocol::result_body_raw(id, b"{}")),
        }
    }

    /// `notifications/cancelled`: ends a call that still runs in this session; anything else is ignored.
    async fn cancel(&self, parsed: &Parsed) -> Response<Body> {
        let gateway = &self.front.gateway;
        let wanted = parsed.cancelled_id().map(ToString::to_string);
        let running = self.session.as_deref().zip(wanted.as_deref());
        if let Some(running) = running.and_then(|(token, id)| gateway.sessions.running(token, id.as_bytes()))
        {
            running.cancel.notify_one();
            if running.admitted.mode != Mode::Direct
                && let Err(error) = gateway.intake.cancel(&running.admitted).await
            {
                tracing::warn!(id = %running.admitted.id, %error, "the wish to cancel a request is not on the log");
            }
        }
        respond::accepted()
    }

    /// Whether its client knows streams that begin with an id and no message: so the newest of the legacy versions has it.
    fn primed(&self) -> bool {
        let version = self.headers.get(&VERSION).and_then(|value| value.to_str().ok());
        version == Some(Dialect::McpLegacy.version())
    }

    fn route(&self, parsed: Option<&Parsed>) -> Route<'_> {
        Route {
            agent: self.scope.name(),
            tool: parsed.and_then(Parsed::tool_name).map(Into::into),
            mode: Mode::Direct,
            repeatable: false,
            idempotency: None,
            key: self.session.clone(),
            partition: self
                .front
                .gateway
                .intake
                .partition(self.session.as_deref(), std::time::SystemTime::now()),
            total: crate::config::Timeouts::default().total,
            headers: self.headers,
        }
    }
}

fn scope_of(gateway: &Gateway, server: Option<&str>) -> Option<Scope> {
    match server {
        None => Some(Scope::All),
        Some(name) => gateway.servers.get_key_value(name).map(|(name, _)| Scope::One(name.clone())),
    }
}

/// The session of a legacy request: all but `initialize` name one.
fn session_of(
    gateway: &Gateway,
    headers: &HeaderMap,
    parsed: &Parsed,
    principal: &Principal,
) -> Result<Option<String>, Box<Refused>> {
    if parsed.dialect != Dialect::McpLegacy || parsed.operation == Operation::Initialize {
        return Ok(None);
    }
    named_session(gateway, headers, parsed.id.as_ref(), principal)
}

/// The session that `headers` name.
fn named_session(
    gateway: &Gateway,
    headers: &HeaderMap,
    id: Option<&RawId>,
    principal: &Principal,
) -> Result<Option<String>, Box<Refused>> {
    match headers.get(&SESSION).map(HeaderValue::to_str) {
        Some(Ok(token)) if gateway.sessions.is_open(token, principal) => Ok(Some(token.to_owned())),
        Some(_) => Err(Box::new(unknown_session(id))),
        None => {
            let message = "the header Mcp-Session-Id is missing; open a session with `initialize`, or speak MCP 2026-07-28";
            Err(Box::new(Refused::new(Reason::BadHttp, Dialect::McpLegacy, id, message)))
        }
    }
}

fn unknown_session(id: Option<&RawId>) -> Refused {
    let message = "there is no such session; open one with `initialize`";
    Refused::new(Reason::UnknownSession, Dialect::McpLegacy, id, message)
}
