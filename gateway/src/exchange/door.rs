//! What stands before every protocol: who calls, whether it is JSON, and the body itself.

use std::time::SystemTime;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, http::request::Parts};

use super::path::Path;
use super::respond::{self, Refused};
use super::{Front, Gateway};
use crate::edge::{self, Body, BodyLimits};
use crate::message::{Dialect, Mode, Name, Operation, RelayId, Trace};
use crate::outcome::Reason;
use crate::policy::{Decision, Principal};
use crate::protocol::Parsed;
use crate::relay::{Admitted, Asked};

/// Who calls; refused before anything else is looked at.
pub(super) fn authenticate(
    gateway: &Gateway,
    headers: &HeaderMap,
    dialect: Dialect,
) -> Result<Principal, Box<Refused>> {
    gateway.authenticator.authenticate(headers, SystemTime::now()).map_err(|error| {
        let mut refused = Refused::new(Reason::Unauthenticated, dialect, None, error.to_string());
        refused.challenge = Some(error.www_authenticate());
        Box::new(refused)
    })
}

/// The body of a POST that says it is JSON.
pub(super) async fn body(
    gateway: &Gateway,
    parts: &Parts,
    body: Incoming,
    dialect: Dialect,
) -> Result<Bytes, Box<Refused>> {
    if !is_json(&parts.headers) {
        let message = "the content type must be application/json";
        return Err(Box::new(Refused::new(Reason::UnsupportedMedia, dialect, None, message)));
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let limits = BodyLimits::from(&*gateway.limits);
    edge::collect(body, length, &limits).await.map_err(|reason| {
        let message = match reason {
            Reason::BodyTooLarge => format!("the body is larger than {} bytes", gateway.limits.body_bytes),
            Reason::BodyTimeout => "the body did not arrive in time".to_owned(),
            _ => "the body could not be read".to_owned(),
        };
        Box::new(Refused::new(reason, dialect, None, message))
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = value.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.eq_ignore_ascii_case("application/a2a+json")
}

/// What a request is about, once policy let it through.
pub(super) struct Route<'a> {
    pub(super) agent: Name,
    pub(super) tool: Option<Name>,
    pub(super) mode: Mode,
    pub(super) repeatable: bool,
    pub(super) key: Option<String>,
    /// Where its records go.
    pub(super) partition: i32,
    pub(super) idempotency: Option<Asked>,
    pub(super) total: std::time::Duration,
    pub(super) headers: &'a HeaderMap,
}

/// What the records of an exchange say of its message; outlives the message itself.
#[derive(Clone, Copy)]
pub(super) struct Brief {
    dialect: Dialect,
    operation: Operation,
    bytes: usize,
}

impl From<&Parsed> for Brief {
    fn from(parsed: &Parsed) -> Self {
        Self { dialect: parsed.dialect, operation: parsed.operation, bytes: parsed.body.len() }
    }
}

/// The exchange that `message` opens.
pub(super) fn admit(
    message: impl Into<Brief>,
    principal: &Principal,
    decision: Option<&Decision>,
    route: Route<'_>,
) -> Admitted {
    let message = message.into();
    let at = SystemTime::now();
    let trace = Trace::continue_from(route.headers.get("traceparent").and_then(|value| value.to_str().ok()));
    Admitted {
        id: RelayId::generate(),
        traceparent: trace.traceparent(),
        parent_span: trace.parent_hex(),
        principal: principal.name().into(),
        tenant: principal.tenant().into(),
        agent: route.agent,
        dialect: message.dialect,
        operation: message.operation,
        tool: route.tool,
        mode: route.mode,
        repeatable: route.repeatable,
        redrives: None,
        key: route.key,
        partition: route.partition,
        idempotency: route.idempotency,
        policies: decision.map_or_else(|| "".into(), |decision| decision.policies.clone()),
        at,
        deadline: at + route.total,
        request_bytes: message.bytes as u64,
    }
}

/// Records a refusal of a known caller and answers it. With the log silent even a refusal does not count.
pub(super) async fn refuse(front: &Front, admitted: &Admitted, refused: &Refused) -> Response<Body> {
    refuse_as(front, admitted, refused.reason, refused).await
}

/// As [`refuse`], where the record knows more than the caller is told.
pub(super) async fn refuse_as(
    front: &Front,
    admitted: &Admitted,
    reason: Reason,
    refused: &Refused,
) -> Response<Body> {
    let gateway = &front.gateway;
    let body = refused.body();
    if let Err(error) = gateway.intake.refuse(admitted, reason, &body).await {
        tracing::warn!(id = %admitted.id, %error, "a refusal is not on the log");
        let silent = Refused::new(
            Reason::LogUnavailable,
            refused.dialect,
            refused.id.as_ref(),
            "the log does not acknowledge; the request was not accepted",
        );
        gateway.metrics.refused(refused.dialect.protocol().as_str(), Reason::LogUnavailable);
        return silent.response(Some(admitted.id));
    }
    gateway.metrics.refused(refused.dialect.protocol().as_str(), reason);
    tracing::info!(
        id = %admitted.id, principal = %admitted.principal, agent = %admitted.agent, reason = reason.label(),
        "a request was refused"
    );
    refused.response(Some(admitted.id))
}

/// Counts a refusal that is not worth a record, and answers it.
pub(super) fn turn_away(gateway: &Gateway, refused: &Refused) -> Response<Body> {
    gateway.metrics.refused(refused.dialect.protocol().as_str(), refused.reason);
    tracing::debug!(reason = refused.reason.label(), message = refused.message, "a request was refused");
    refused.response(None)
}

pub(super) fn not_found(gateway: &Gateway, path: &str) -> Response<Body> {
    let hint = if path.contains("agent-card") || path.ends_with("agent.json") {
        "; an agent's card is at /a2a/{agent}/.well-known/agent-card.json (give clients the base URL with a closing slash)"
    } else {
        "; agents are at /a2a/{agent}, MCP servers at /mcp and /mcp/{server}"
    };
    turn_away(
        gateway,
        &Refused::new(Reason::PathNotFound, Dialect::A2aV10, None, format!("no such path{hint}")),
    )
}

pub(super) fn method_not_allowed(gateway: &Gateway, path: Path<'_>) -> Response<Body> {
    let allowed = match path {
        Path::Card(_) => "GET, HEAD",
        // GET only with `Last-Event-ID`.
        Path::Servers | Path::Server(_) => "POST, DELETE",
        _ => "POST",
    };
    let refused = Refused::new(
        Reason::MethodNotAllowed,
        Dialect::A2aV10,
        None,
        format!("this path takes {allowed} only"),
    );
    let mut response = turn_away(gateway, &refused);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Whether the client takes `media` by its `Accept` header (absent: everything).
pub(super) fn accepts(headers: &HeaderMap, media: &str) -> bool {
    let mut values = headers.get_all(hyper::header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let main = media.split('/').next().unwrap_or_default();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let range = range.split(';').next().unwrap_or_default().trim();
        range.eq_ignore_ascii_case(media)
            || range == "*/*"
            || range.strip_suffix("/*").is_some_and(|kind| kind.eq_ignore_ascii_case(main))
    })
}

/// A plain JSON answer with status 200.
pub(super) fn ok(body: Bytes) -> Response<Body> {
    respond::json(hyper::StatusCode::OK, body, None)
}
