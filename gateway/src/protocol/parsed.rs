//! One request that was read, or the reason why none was.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;

use super::answer;
use crate::message::{Dialect, Operation, Protocol};
use crate::outcome::Reason;

/// One A2A or MCP request or notification: its envelope holds, its method is served. Its parameters are not
/// checked yet.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The message, byte for byte.
    pub body: Bytes,
    pub dialect: Dialect,
    pub operation: Operation,
    /// Absent for notifications.
    pub id: Option<RawId>,
    pub params: Option<Params>,
}

/// The JSON text of a JSON-RPC id as the client wrote it: a string or an integer, never null.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawId(Bytes);

impl RawId {
    /// `text` must be the JSON text of a string or an integer.
    pub(super) fn new(text: Bytes) -> Self {
        Self(text)
    }

    /// An id of the gateway's own making.
    pub fn from_number(number: u64) -> Self {
        Self(Bytes::from(number.to_string()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether `value` names the same id, however its string is escaped.
    pub fn matches(&self, value: &Value) -> bool {
        serde_json::from_slice::<Value>(&self.0).is_ok_and(|own| own == *value)
    }
}

impl fmt::Display for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The parameters of a request.
#[derive(Clone, Debug)]
pub struct Params {
    /// A slice of the body.
    pub raw: Bytes,
    /// The same, read once; any JSON value until the schema has been checked.
    pub tree: Value,
}

/// A message that goes no further.
#[derive(Clone, Debug)]
pub struct Rejected {
    pub reason: Reason,
    /// The dialect in which the answer is written: the client's, as far as it can be told.
    pub dialect: Dialect,
    pub id: Option<RawId>,
    /// For the caller: what was wrong, where, how to mend it.
    pub message: String,
    pub violations: Vec<Violation>,
    /// The protocol version that the client asked for, when that is what was wrong.
    pub requested: Option<String>,
}

impl Rejected {
    pub fn new(reason: Reason, dialect: Dialect, id: Option<RawId>, message: impl Into<String>) -> Self {
        Self { reason, dialect, id, message: message.into(), violations: Vec::new(), requested: None }
    }

    /// The JSON-RPC error for the client.
    pub fn body(&self) -> Bytes {
        answer::rejected_body(self)
    }
}

/// One fault in the parameters.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// JSON pointer (RFC 6901) from `params`, or from `arguments` for a tool's own schema; `""` is the whole.
    pub path: String,
    pub message: String,
}

impl Parsed {
    /// The member of `params` that the path of names leads to.
    fn param(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.params.as_ref()?.tree, |value, name| value.get(name))
    }

    /// A member of an A2A object; A2A 1.0 reads it in snake_case too (ProtoJSON), Python's 0.3 agents as well.
    fn either(&self, parent: &[&str], camel: &str, snake: &str) -> Option<&Value> {
        let object = self.param(parent)?;
        object.get(camel).filter(|value| !value.is_null()).or_else(|| object.get(snake))
    }

    /// `params.name` of an MCP `tools/call`, as the client wrote it.
    pub fn tool_name(&self) -> Option<&str> {
        self.call_param("name")?.as_str()
    }

    /// `params.arguments` of an MCP `tools/call`.
    pub fn tool_arguments(&self) -> Option<&Value> {
        self.call_param("arguments")
    }

    fn call_param(&self, name: &str) -> Option<&Value> {
        if self.operation == Operation::CallTool { self.param(&[name]) } else { None }
    }

    /// The task that an A2A request is about.
    pub fn task_id(&self) -> Option<&str> {
        let id = match self.operation {
            Operation::Send | Operation::Stream => self.either(&["message"], "taskId", "task_id"),
            Operation::GetTask | Operation::CancelTask | Operation::Subscribe => self.param(&["id"]),
            _ => None,
        };
        id?.as_str().filter(|id| !id.is_empty())
    }

    /// Other tasks that an A2A message refers to.
    pub fn reference_task_ids(&self) -> impl Iterator<Item = &str> {
        let sends = matches!(self.operation, Operation::Send | Operation::Stream);
        let ids = self.either(&["message"], "referenceTaskIds", "reference_task_ids").filter(|_| sends);
        ids.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// The context that an A2A message belongs to.
    pub fn context_id(&self) -> Option<&str> {
        if self.dialect.protocol() != Protocol::A2a {
            return None;
        }
        self.either(&["message"], "contextId", "context_id")?.as_str().filter(|id| !id.is_empty())
    }

    /// `messageId` of an A2A message.
    pub fn message_id(&self) -> Option<&str> {
        if self.dialect.protocol() != Protocol::A2a {
            return None;
        }
        self.either(&["message"], "messageId", "message_id")?.as_str()
    }

    /// Whether an A2A send wants an answer before the task has ended.
    pub fn wants_return_immediately(&self) -> bool {
        let wish = match self.dialect {
            Dialect::A2aV10 => self.either(&["configuration"], "returnImmediately", "return_immediately"),
            Dialect::A2aV03 => self.param(&["configuration", "blocking"]),
            Dialect::McpLegacy | Dialect::McpModern => None,
        };
        wish.and_then(Value::as_bool) == Some(self.dialect == Dialect::A2aV10)
    }

    /// The token under which an MCP client wants progress: a string or a number.
    pub fn progress_token(&self) -> Option<&Value> {
        if self.dialect.protocol() == Protocol::Mcp { self.param(&["_meta", "progressToken"]) } else { None }
    }

    /// `params.protocolVersion` of an MCP `initialize`.
    pub fn requested_version(&self) -> Option<&str> {
        if self.operation == Operation::Initialize {
            self.param(&["protocolVersion"])?.as_str()
        } else {
            None
        }
    }

    /// `params.requestId` of MCP's `notifications/cancelled`.
    pub fn cancelled_id(&self) -> Option<&Value> {
        if self.operation == Operation::Cancelled { self.param(&["requestId"]) } else { None }
    }
}
