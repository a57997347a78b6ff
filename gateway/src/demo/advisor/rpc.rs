//! A2A over JSON-RPC: bytes to a request, and errors back. No I/O.
//!
//! Checks go from the outside in, as the codes do: JSON, envelope, method, version, parameters.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::dialect::{Dialect, Violation, read_message};
use super::error::{Kind, RpcError};
use super::model::Message;

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Answer with the task, when it is over if `wait`.
    Send {
        message: Message,
        wait: bool,
        history: Option<usize>,
    },
    /// Answer with a stream of events.
    Stream {
        message: Message,
        history: Option<usize>,
    },
    Get {
        id: String,
        history: Option<usize>,
    },
    Cancel {
        id: String,
    },
    Subscribe {
        id: String,
    },
}

/// A request that may be served.
#[derive(Debug)]
pub(crate) struct Request {
    /// As it came, for the answer.
    pub(crate) id: Box<RawValue>,
    pub(crate) dialect: Dialect,
    pub(crate) operation: Operation,
}

/// A body that is no request that may be served, with what is needed to answer it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) id: Option<Box<RawValue>>,
    pub(crate) dialect: Dialect,
    pub(crate) error: RpcError,
}

#[derive(Deserialize)]
struct Envelope {
    jsonrpc: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    id: Option<Box<RawValue>>,
    method: Option<Value>,
    params: Option<Box<RawValue>>,
}

/// Keeps an id of null apart from one that is missing.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(d).map(Some)
}

/// Reads a request. `version` is what the client named in `A2A-Version`.
pub(crate) fn read(body: &[u8], version: Option<&str>) -> Result<Request, Refused> {
    let version = version.map(str::trim).filter(|v| !v.is_empty()).unwrap_or("0.3");
    let spoken = dialect_of(version);
    let mut dialect = spoken.unwrap_or(Dialect::V10);
    let mut id = None;
    let outcome = read_steps(body, version, spoken, &mut dialect, &mut id);
    match (outcome, id) {
        (Ok(operation), Some(id)) => Ok(Request { id, dialect, operation }),
        (Err(error), id) => Err(Refused { id, dialect, error }),
        (Ok(_), None) => {
            let error = RpcError::new(Kind::InvalidRequest, "`id` must be a string or an integer");
            Err(Refused { id: None, dialect, error })
        }
    }
}

fn read_steps(
    body: &[u8],
    version: &str,
    spoken: Option<Dialect>,
    dialect: &mut Dialect,
    id: &mut Option<Box<RawValue>>,
) -> Result<Operation, RpcError> {
    let invalid = |text: &str| RpcError::new(Kind::InvalidRequest, text);
    let json: &RawValue = serde_json::from_slice(body)
        .map_err(|e| RpcError::new(Kind::Parse, format!("the body is not JSON: {e}")))?;
    if !json.get().starts_with('{') {
        return Err(invalid("the body must be one JSON-RPC object; batches are not served"));
    }
    let envelope: Envelope = serde_json::from_str(json.get())
        .map_err(|e| RpcError::new(Kind::InvalidRequest, format!("not a JSON-RPC request: {e}")))?;
    let given =
        envelope.id.filter(|id| is_id(id)).ok_or_else(|| invalid("`id` must be a string or an integer"))?;
    *id = Some(given);
    if envelope.jsonrpc != Some(Value::from("2.0")) {
        return Err(invalid("`jsonrpc` must be \"2.0\""));
    }
    let Some(Value::String(method)) = envelope.method else {
        return Err(invalid("`method` must be a string"));
    };
    let (family, method) = find(&method)
        .ok_or_else(|| RpcError::new(Kind::MethodNotFound, format!("there is no method `{method}`")))?;
    *dialect = family;
    if spoken != Some(family) {
        let text = format!(
            "the method is of A2A {}, but the request's A2A-Version is {version}",
            if family == Dialect::V10 { "1.0" } else { "0.3" }
        );
        return Err(RpcError::new(Kind::VersionNotSupported, text));
    }
    let params = match envelope.params.map(|raw| serde_json::from_str(raw.get())) {
        Some(Ok(Value::Object(params))) => params,
        None => Map::new(),
        _ => return Err(RpcError::new(Kind::InvalidParams, "`params` must be an object")),
    };
    read_params(family, method, &params)
}

fn is_id(raw: &RawValue) -> bool {
    serde_json::from_str::<Value>(raw.get()).is_ok_and(|id| id.is_string() || id.is_i64() || id.is_u64())
}

/// The dialect of a version text; only its first two numbers count.
fn dialect_of(version: &str) -> Option<Dialect> {
    let mut numbers = version.split('.');
    match (numbers.next()?, numbers.next()?, numbers.next(), numbers.next()) {
        ("1", "0", _, None) => Some(Dialect::V10),
        ("0", "3", _, None) => Some(Dialect::V03),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Method {
    Send,
    Stream,
    Get,
    Cancel,
    Subscribe,
    Push,
    Unsupported,
}

fn find(method: &str) -> Option<(Dialect, Method)> {
    Some(match method {
        "SendMessage" => (Dialect::V10, Method::Send),
        "SendStreamingMessage" => (Dialect::V10, Method::Stream),
        "GetTask" => (Dialect::V10, Method::Get),
        "CancelTask" => (Dialect::V10, Method::Cancel),
        "SubscribeToTask" => (Dialect::V10, Method::Subscribe),
        "CreateTaskPushNotificationConfig"
        | "GetTaskPushNotificationConfig"
        | "ListTaskPushNotificationConfigs"
        | "DeleteTaskPushNotificationConfig" => (Dialect::V10, Method::Push),
        "ListTasks" | "GetExtendedAgentCard" => (Dialect::V10, Method::Unsupported),
        "message/send" => (Dialect::V03, Method::Send),
        "message/stream" => (Dialect::V03, Method::Stream),
        "tasks/get" => (Dialect::V03, Method::Get),
        "tasks/cancel" => (Dialect::V03, Method::Cancel),
        "tasks/resubscribe" => (Dialect::V03, Method::Subscribe),
        "tasks/pushNotificationConfig/set"
        | "tasks/pushNotificationConfig/get"
        | "tasks/pushNotificationConfig/list"
        | "tasks/pushNotificationConfig/delete" => (Dialect::V03, Method::Push),
        "agent/getAuthenticatedExtendedCard" => (Dialect::V03, Method::Unsupported),
        _ => return None,
    })
}

fn read_params(dialect: Dialect, method: Method, params: &Map<String, Value>) -> Result<Operation, RpcError> {
    let id = || match params.get("id").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => Ok(id.to_owned()),
        _ => Err(RpcError::invalid(vec![Violation::new("id", "must be the id of a task")])),
    };
    Ok(match method {
        Method::Send | Method::Stream => {
            let message = read_message(dialect, params.get("message")).map_err(RpcError::invalid)?;
            let empty = Map::new();
            let configuration = match params.get("configuration") {
                None | Some(Value::Null) => &empty,
                Some(Value::Object(configuration)) => configuration,
                Some(_) => {
                    return Err(RpcError::invalid(vec![Violation::new(
                        "configuration",
                        "must be an object",
                    )]));
                }
            };
            let history = history(dialect, configuration, "configuration.historyLength")?;
            match method {
                Method::Send => Operation::Send { message, wait: wait(dialect, configuration)?, history },
                _ => Operation::Stream { message, history },
            }
        }
        Method::Get => Operation::Get { id: id()?, history: history(dialect, params, "historyLength")? },
        Method::Cancel => Operation::Cancel { id: id()? },
        Method::Subscribe => Operation::Subscribe { id: id()? },
        Method::Push => {
            return Err(RpcError::new(Kind::PushNotSupported, "the advisor sends no push notifications"));
        }
        Method::Unsupported => {
            return Err(RpcError::new(
                Kind::UnsupportedOperation,
                "the advisor does not offer this operation",
            ));
        }
    })
}

/// Whether a send waits for the task's end: yes, unless the client says otherwise.
fn wait(dialect: Dialect, configuration: &Map<String, Value>) -> Result<bool, RpcError> {
    let (name, at_once) = match dialect {
        Dialect::V10 => ("returnImmediately", true),
        Dialect::V03 => ("blocking", false),
    };
    match configuration.get(name) {
        None | Some(Value::Null) => Ok(true),
        Some(Value::Bool(given)) => Ok(*given != at_once),
        Some(_) => {
            let field = format!("configuration.{name}");
            Err(RpcError::invalid(vec![Violation::new(field, "must be true or false")]))
        }
    }
}

/// How many messages of the history are wanted; none means all. In 0.3 zero means all, too.
fn history(dialect: Dialect, object: &Map<String, Value>, field: &str) -> Result<Option<usize>, RpcError> {
    let given = match object.get("historyLength") {
        None | Some(Value::Null) => return Ok(None),
        Some(given) => given.as_u64().and_then(|n| usize::try_from(n).ok()),
    };
    let wrong = || RpcError::invalid(vec![Violation::new(field, "must be an integer of at least 0")]);
    Ok(Some(given.ok_or_else(wrong)?).filter(|n| dialect == Dialect::V10 || *n > 0))
}

#[cfg(test)]
mod tests;
