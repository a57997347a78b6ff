//! Answers of the gateway's own: the JSON-RPC error in each dialect's form, and results.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{RawId, Rejected, Violation, mcp};
use crate::message::Dialect;
use crate::outcome::Reason;

/// `domain` of errors that A2A defines.
const A2A_DOMAIN: &str = "a2a-protocol.org";
/// `domain` of the gateway's own conditions.
const OWN_DOMAIN: &str = "kamf";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// A JSON-RPC error response. Without an id it says `null`, in modern MCP nothing at all.
///
/// `error.data`: A2A 1.0 an array of `google.rpc.ErrorInfo` and `google.rpc.BadRequest`; elsewhere an object with
/// `reason` (the label of [`Reason`]) and `violations`.
pub fn error_body(
    dialect: Dialect,
    reason: Reason,
    id: Option<&RawId>,
    message: &str,
    violations: &[Violation],
) -> Bytes {
    error_with(dialect, reason, id, message, &data(dialect, reason, violations, None))
}

/// The error response to a message that was rejected.
pub(super) fn rejected_body(rejected: &Rejected) -> Bytes {
    let Rejected { reason, dialect, id, message, violations, requested } = rejected;
    let data = data(*dialect, *reason, violations, requested.as_deref());
    error_with(*dialect, *reason, id.as_ref(), message, &data)
}

/// A JSON-RPC response with `result`. One that cannot be written as JSON becomes an internal error.
pub fn result_body(id: &RawId, result: &impl Serialize) -> Bytes {
    match serde_json::to_vec(result) {
        Ok(json) => result_body_raw(id, &json),
        Err(_) => envelope(
            Some(id.as_bytes()),
            "error",
            br#"{"code":-32603,"message":"the answer could not be written"}"#,
        ),
    }
}

/// A JSON-RPC response whose `result` is the JSON text `result`.
pub fn result_body_raw(id: &RawId, result: &[u8]) -> Bytes {
    envelope(Some(id.as_bytes()), "result", result)
}

fn error_with(dialect: Dialect, reason: Reason, id: Option<&RawId>, message: &str, data: &Value) -> Bytes {
    let error = json!({ "code": reason.rpc_code(dialect), "message": message, "data": data });
    let id = match (id, dialect) {
        (Some(id), _) => Some(id.as_bytes()),
        (None, Dialect::McpModern) => None,
        (None, _) => Some(&b"null"[..]),
    };
    envelope(id, "error", error.to_string().as_bytes())
}

fn envelope(id: Option<&[u8]>, member: &str, json: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(json.len() + id.map_or(0, <[u8]>::len) + 48);
    text.extend_from_slice(br#"{"jsonrpc":"2.0","#);
    if let Some(id) = id {
        text.extend_from_slice(br#""id":"#);
        text.extend_from_slice(id);
        text.push(b',');
    }
    text.push(b'"');
    text.extend_from_slice(member.as_bytes());
    text.extend_from_slice(br#"":"#);
    text.extend_from_slice(json);
    text.push(b'}');
    text.into()
}

fn data(dialect: Dialect, reason: Reason, violations: &[Violation], requested: Option<&str>) -> Value {
    if dialect == Dialect::A2aV10 {
        return details(reason, violations);
    }
    let mut data = serde_json::Map::new();
    let supported = match (reason, dialect) {
        (Reason::UnsupportedVersion, Dialect::McpModern) => Some(mcp::MODERN_VERSIONS),
        (Reason::UnsupportedVersion, Dialect::McpLegacy) => Some(mcp::LEGACY_VERSIONS),
        _ => None,
    };
    if let Some(supported) = supported {
        data.insert("supported".into(), json!(supported));
        data.insert("requested".into(), json!(requested.unwrap_or_default()));
    }
    data.insert("reason".into(), json!(reason.label()));
    if !violations.is_empty() {
        data.insert("violations".into(), json!(violations));
    }
    data.into()
}

/// A2A 1.0: `data` is an array of objects that each name their type (A2A 1.0 section 9.5).
fn details(reason: Reason, violations: &[Violation]) -> Value {
    let (domain, name) = match defined(reason) {
        Some(name) => (A2A_DOMAIN, name.to_owned()),
        None => (OWN_DOMAIN, reason.label().to_ascii_uppercase()),
    };
    let mut details = vec![json!({ "@type": ERROR_INFO, "reason": name, "domain": domain })];
    if !violations.is_empty() {
        let fields: Vec<Value> = violations
            .iter()
            .map(|violation| json!({ "field": violation.path, "description": violation.message }))
            .collect();
        details.push(json!({ "@type": BAD_REQUEST, "fieldViolations": fields }));
    }
    details.into()
}

/// The name of a reason that A2A defines itself.
fn defined(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::UnknownTask => "TASK_NOT_FOUND",
        Reason::Unsupported => "UNSUPPORTED_OPERATION",
        Reason::PushUnsupported => "PUSH_NOTIFICATION_NOT_SUPPORTED",
        Reason::UnsupportedVersion => "VERSION_NOT_SUPPORTED",
        Reason::UpstreamInvalid => "INVALID_AGENT_RESPONSE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
