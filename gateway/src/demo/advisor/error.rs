//! JSON-RPC answers: results, and errors with the details that 1.0 wants.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::dialect::{Dialect, Violation};

/// The errors of A2A and JSON-RPC that the advisor gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Parse,
    InvalidRequest,
    MethodNotFound,
    InvalidParams,
    Internal,
    TaskNotFound,
    TaskNotCancelable,
    PushNotSupported,
    UnsupportedOperation,
    ContentTypeNotSupported,
    VersionNotSupported,
}

impl Kind {
    /// Code and `ErrorInfo` reason.
    fn table(self) -> (i32, &'static str) {
        match self {
            Self::Parse => (-32_700, "PARSE_ERROR"),
            Self::InvalidRequest => (-32_600, "INVALID_REQUEST"),
            Self::MethodNotFound => (-32_601, "METHOD_NOT_FOUND"),
            Self::InvalidParams => (-32_602, "INVALID_PARAMS"),
            Self::Internal => (-32_603, "INTERNAL_ERROR"),
            Self::TaskNotFound => (-32_001, "TASK_NOT_FOUND"),
            Self::TaskNotCancelable => (-32_002, "TASK_NOT_CANCELABLE"),
            Self::PushNotSupported => (-32_003, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
            Self::UnsupportedOperation => (-32_004, "UNSUPPORTED_OPERATION"),
            Self::ContentTypeNotSupported => (-32_005, "CONTENT_TYPE_NOT_SUPPORTED"),
            Self::VersionNotSupported => (-32_009, "VERSION_NOT_SUPPORTED"),
        }
    }
}

/// A refusal in words.
#[derive(Debug)]
pub(crate) struct RpcError {
    kind: Kind,
    message: String,
    violations: Vec<Violation>,
}

impl RpcError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), violations: Vec::new() }
    }

    /// A refusal of parameters that names each mistake.
    pub(crate) fn invalid(violations: Vec<Violation>) -> Self {
        let listed: Vec<String> =
            violations.iter().map(|v| format!("`params.{}` {}", v.field, v.description)).collect();
        Self { kind: Kind::InvalidParams, message: listed.join("; "), violations }
    }

    /// The whole answer, with the details that 1.0 wants. Without an id, as after a body that could
    /// not be read, the answer's id is null.
    pub(crate) fn body(&self, dialect: Dialect, id: Option<&RawValue>) -> String {
        let (code, reason) = self.kind.table();
        let mut error = json!({"code": code, "message": self.message});
        if dialect == Dialect::V10 {
            let mut details = vec![json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": reason,
                "domain": "a2a-protocol.org",
                "metadata": {},
            })];
            if !self.violations.is_empty() {
                let violation = |v: &Violation| json!({"field": v.field, "description": v.description});
                details.push(json!({
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": self.violations.iter().map(violation).collect::<Value>(),
                }));
            }
            error["data"] = details.into();
        }
        let id = id.map_or("null", RawValue::get);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
    }
}

/// The answer that carries a result.
pub(crate) fn result_body(id: &RawValue, result: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.get())
}
