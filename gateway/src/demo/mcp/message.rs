//! JSON-RPC 2.0 as MCP uses it: a line of input to a request or notification, answers to lines.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The line is not JSON.
pub(crate) const PARSE_ERROR: i32 = -32_700;
/// The JSON is not a message.
pub(crate) const INVALID_REQUEST: i32 = -32_600;
/// The method is not served in the request's era.
pub(crate) const METHOD_NOT_FOUND: i32 = -32_601;
/// The parameters do not fit the method, or name an unknown tool.
pub(crate) const INVALID_PARAMS: i32 = -32_602;
/// The server's own fault.
pub(crate) const INTERNAL_ERROR: i32 = -32_603;
/// The stateless protocol version is not served.
pub(crate) const UNSUPPORTED_VERSION: i32 = -32_022;

/// A request's id: as it came, for the answer, and by value, to tell requests apart.
#[derive(Debug, Clone)]
pub(crate) struct RequestId {
    raw: Box<RawValue>,
    value: Value,
}

impl RequestId {
    /// Whether another message speaks of this id.
    pub(crate) fn is(&self, value: &Value) -> bool {
        self.value == *value
    }

    /// The id by value.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }
}

/// A message from the client that asks for something.
#[derive(Debug)]
pub(crate) enum Incoming {
    Request {
        id: RequestId,
        method: String,
        params: Map<String, Value>,
    },
    Notification {
        method: String,
        params: Map<String, Value>,
    },
    /// An answer; this server asks nothing, so there is nothing that it could belong to.
    Response,
}

/// A JSON-RPC error object.
#[derive(Debug)]
pub(crate) struct RpcError {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl RpcError {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

/// A line that is no message, with the id if that much could be read.
#[derive(Debug)]
pub(crate) struct BadLine {
    pub(crate) id: Option<RequestId>,
    pub(crate) error: RpcError,
}

#[derive(Deserialize)]
struct Envelope {
    jsonrpc: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    id: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    method: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    params: Option<Box<RawValue>>,
    result: Option<serde::de::IgnoredAny>,
    error: Option<serde::de::IgnoredAny>,
}

/// Keeps a member that is there with the value null apart from one that is missing.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

/// Reads one line.
pub(crate) fn parse(line: &[u8]) -> Result<Incoming, Box<BadLine>> {
    let bad = |id: Option<RequestId>, code, message: String| {
        Box::new(BadLine { id, error: RpcError::new(code, message) })
    };
    // Syntax first, and without recursion, so that the two kinds of mistake keep their codes.
    let json: &RawValue = serde_json::from_slice(line)
        .map_err(|e| bad(None, PARSE_ERROR, format!("the line is not JSON: {e}")))?;
    if !json.get().starts_with('{') {
        let text = "a message is one JSON object a line; batches are not served";
        return Err(bad(None, INVALID_REQUEST, text.to_owned()));
    }
    let envelope: Envelope = serde_json::from_str(json.get())
        .map_err(|e| bad(None, INVALID_REQUEST, format!("not a JSON-RPC message: {e}")))?;
    let id = match envelope.id {
        None => None,
        Some(raw) => Some(read_id(raw).ok_or_else(|| {
            let text = "`id` must be a string or an integer";
            bad(None, INVALID_REQUEST, text.to_owned())
        })?),
    };
    if envelope.jsonrpc != Some(Value::from("2.0")) {
        let text = "`jsonrpc` must be \"2.0\"".to_owned();
        return Err(bad(id, INVALID_REQUEST, text));
    }
    let method = match envelope.method {
        Some(Value::String(method)) => method,
        None if envelope.result.is_some() || envelope.error.is_some() => {
            return Ok(Incoming::Response);
        }
        _ => {
            let text = "`method` must be a string".to_owned();
            return Err(bad(id, INVALID_REQUEST, text));
        }
    };
    let params = match envelope.params.map(|raw| serde_json::from_str(raw.get())) {
        None => Map::new(),
        Some(Ok(Value::Object(params))) => params,
        Some(Ok(_)) => {
            let text = "`params` must be an object".to_owned();
            return Err(bad(id, INVALID_PARAMS, text));
        }
        Some(Err(e)) => {
            return Err(bad(id, INVALID_PARAMS, format!("`params` cannot be read: {e}")));
        }
    };
    Ok(match id {
        Some(id) => Incoming::Request { id, method, params },
        None => Incoming::Notification { method, params },
    })
}

fn read_id(raw: Box<RawValue>) -> Option<RequestId> {
    let value: Value = serde_json::from_str(raw.get()).ok()?;
    let whole = value.is_string() || value.is_i64() || value.is_u64();
    whole.then_some(RequestId { raw, value })
}

/// The line that answers a request. Without an id, as after a line that could not be read, the
/// answer's id is null.
pub(crate) fn answer(id: Option<&RequestId>, outcome: Result<Value, RpcError>) -> String {
    let id = id.map_or("null", |id| id.raw.get());
    match outcome {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err(error) => {
            let mut object = json!({"code": error.code, "message": error.message});
            if let Some(data) = error.data {
                object["data"] = data;
            }
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{object}}}"#)
        }
    }
}
