//! The JSON-RPC 2.0 envelope: exactly `jsonrpc`, `id`, `method`, `params`, and nothing beside.

use bytes::Bytes;
use serde_json::Value;

use super::json::{self, Document, Object, quoted};
use super::{Params, RawId, ReadLimits, Rejected};
use crate::message::Dialect;
use crate::outcome::Reason;

/// An envelope that holds.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) id: Option<RawId>,
    pub(super) message: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A request, or without an id a notification.
    Call { method: String, params: Option<Params> },
    /// An answer: exactly one of `result` and `error`.
    Answer,
}

/// Why an envelope does not hold.
#[derive(Debug)]
pub(super) struct Broken {
    reason: Reason,
    id: Option<RawId>,
    message: String,
}

impl Broken {
    pub(super) fn rejected(self, dialect: Dialect) -> Rejected {
        Rejected::new(self.reason, dialect, self.id, self.message)
    }
}

/// Reads one message. Answers are taken only where `answers` says so.
pub(super) fn open(body: &Bytes, answers: bool, limits: &ReadLimits) -> Result<Envelope, Broken> {
    let invalid = |id: Option<RawId>, message: String| Broken { reason: Reason::InvalidRequest, id, message };
    let mut object = match json::read(body, limits) {
        Ok(Document::Object(object)) => object,
        Ok(Document::Other(Value::Array(_))) => {
            return Err(invalid(None, "a batch is not taken here: send each message by itself".into()));
        }
        Ok(Document::Other(_)) => return Err(invalid(None, "a JSON-RPC message is a JSON object".into())),
        Err(malformed) => {
            let message = format!("the body is not a strict JSON document: {malformed}");
            return Err(Broken { reason: Reason::ParseError, id: None, message });
        }
    };
    let id = read_id(body, &object, limits).map_err(|message| invalid(None, message))?;
    match read_message(body, &mut object, id.is_some(), answers, limits) {
        Ok(message) => Ok(Envelope { id, message }),
        Err(message) => Err(invalid(id, message)),
    }
}

fn read_id(body: &Bytes, object: &Object<'_>, limits: &ReadLimits) -> Result<Option<RawId>, String> {
    let Some(id) = object.members.get("id") else { return Ok(None) };
    match id {
        Value::String(text) if text.len() > limits.id_bytes => {
            return Err(format!("`id` is {} bytes long; {} are taken", text.len(), limits.id_bytes));
        }
        Value::Number(number) if number.is_i64() => {}
        Value::Number(number) if number.is_u64() => {
            return Err("`id` is an integer beyond 64 bits with a sign; send it as a string".into());
        }
        Value::String(_) => {}
        _ => return Err("`id` must be a string or an integer".into()),
    }
    // A member whose place is not remembered stands behind others that are unknown: refused just below.
    Ok(object.span("id").map(|span| RawId::new(body.slice(span))))
}

fn read_message(
    body: &Bytes,
    object: &mut Object<'_>,
    has_id: bool,
    answers: bool,
    limits: &ReadLimits,
) -> Result<Kind, String> {
    match object.members.get("jsonrpc") {
        Some(Value::String(version)) if version == "2.0" => {}
        Some(_) => return Err("`jsonrpc` must be the string \"2.0\"".into()),
        None => return Err("member `jsonrpc` is missing; it is the string \"2.0\"".into()),
    }
    let known = |name: &str| match name {
        "jsonrpc" | "id" | "method" | "params" => true,
        "result" | "error" => answers,
        _ => false,
    };
    if let Some(stranger) = object.members.keys().find(|name| !known(name)) {
        return Err(format!("member {} does not belong into a JSON-RPC request", quoted(stranger)));
    }
    let outcomes = ["result", "error"].iter().filter(|name| object.members.contains_key(**name)).count();
    let params = object.members.remove("params");
    match object.members.remove("method") {
        Some(_) if outcomes > 0 => Err("a message is a request or an answer, not both".into()),
        Some(Value::String(method)) if method.len() > limits.method_bytes => {
            Err(format!("`method` is {} bytes long; {} are taken", method.len(), limits.method_bytes))
        }
        Some(Value::String(method)) => {
            let raw = object.span("params").map(|span| body.slice(span));
            let params = params.zip(raw).map(|(tree, raw)| Params { raw, tree });
            Ok(Kind::Call { method, params })
        }
        Some(_) => Err("`method` must be a string".into()),
        None if outcomes == 1 && has_id && params.is_none() => Ok(Kind::Answer),
        None if outcomes > 0 => Err("an answer has an `id`, and exactly one of `result` and `error`".into()),
        None => Err("member `method` is missing".into()),
    }
}
