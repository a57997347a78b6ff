//! MCP 2025-11-25 (legacy, opened by `initialize`) and 2026-07-28 (modern, every request stands alone) on one
//! endpoint. A request is modern when its `_meta` names a protocol version, or the header does with one that is
//! not of the legacy line.

mod header;
mod param;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde_json::Value;

use super::envelope::{self, Kind};
use super::json::quoted;
use super::{Params, Parsed, RawId, ReadLimits, Rejected, Violation};
use crate::message::{Dialect, Operation};
use crate::outcome::Reason;

pub use header::{McpHeaders, decode_header, encode_header};
pub use param::{ParamHeaders, check_param_headers};

/// Versions of the modern era that are served.
pub const MODERN_VERSIONS: &[&str] = &["2026-07-28"];
/// Versions of the legacy era that are served, the newest first.
pub const LEGACY_VERSIONS: &[&str] = &["2025-11-25"];
/// The last version of the legacy era; versions are dates and compare as text.
const LEGACY_LAST: &str = "2025-11-25";

/// Key in `params._meta` of every modern request.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Key in `params._meta` of every modern request.
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// What a client posted.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request, or one of the notifications that matter here (it has no id).
    Request(Parsed),
    /// A client's answer to a request of a server: accepted, 202.
    Response,
    /// A notification that nothing here acts on: accepted, 202.
    Notice(Dialect),
}

/// The version that answers an `initialize`: the client's own when it is served, else the newest of its era.
pub fn pick_version(requested: &str) -> &'static str {
    LEGACY_VERSIONS.iter().find(|version| **version == requested).unwrap_or(&LEGACY_VERSIONS[0])
}

/// Reads one message of a POST to the MCP endpoint. The order of checks: JSON, envelope, version, headers,
/// method; the schema of `params` comes later.
pub fn read(body: Bytes, headers: &McpHeaders<'_>, limits: &ReadLimits) -> Result<Message, Rejected> {
    let by_header = match headers.version {
        Some(version) if is_modern(version) => Dialect::McpModern,
        _ => Dialect::McpLegacy,
    };
    let envelope = envelope::open(&body, true, limits).map_err(|broken| broken.rejected(by_header))?;
    let id = envelope.id;
    let (method, params) = match envelope.message {
        Kind::Call { method, params } => (method, params),
        Kind::Answer if by_header == Dialect::McpModern => {
            let message =
                "an answer cannot be posted in MCP 2026-07-28: repeat the request with `inputResponses`";
            return Err(Rejected::new(Reason::InvalidRequest, by_header, None, message));
        }
        Kind::Answer => return Ok(Message::Response),
    };
    let meta = params.as_ref().and_then(|params| params.tree.get("_meta")?.get(META_VERSION));
    let dialect = match meta {
        Some(_) => Dialect::McpModern,
        None if method == Operation::Initialize.method(Dialect::McpLegacy) => Dialect::McpLegacy,
        None => by_header,
    };
    let request = Request { id, method: &method, params: params.as_ref(), dialect };
    match dialect {
        Dialect::McpModern => request.check_modern(headers, meta)?,
        _ => request.check_legacy(headers)?,
    }
    let Some(operation) = request.operation(limits)? else { return Ok(Message::Notice(dialect)) };
    let id = request.id;
    Ok(Message::Request(Parsed { body, dialect, operation, id, params }))
}

fn is_modern(version: &str) -> bool {
    let dated = version.len() == LEGACY_LAST.len() && version.as_bytes()[0].is_ascii_digit();
    dated && version > LEGACY_LAST
}

/// A request while its version, headers and method are checked.
struct Request<'a> {
    id: Option<RawId>,
    method: &'a str,
    params: Option<&'a Params>,
    dialect: Dialect,
}

impl Request<'_> {
    fn reject(&self, reason: Reason, message: impl Into<String>) -> Rejected {
        Rejected::new(reason, self.dialect, self.id.clone(), message)
    }

    fn refuse_version(&self, version: &str) -> Rejected {
        let served = if self.dialect == Dialect::McpModern { MODERN_VERSIONS } else { LEGACY_VERSIONS };
        let message = format!(
            "MCP version {} is not spoken here: this endpoint serves {}",
            quoted(version),
            served.join(", ")
        );
        let mut rejected = self.reject(Reason::UnsupportedVersion, message);
        rejected.requested = Some(version.chars().take(64).collect());
        rejected
    }

    /// 2025-11-25, transports: a version header, if there is one, names a version that is served.
    fn check_legacy(&self, headers: &McpHeaders<'_>) -> Result<(), Rejected> {
        if let Some(fault) = &headers.fault {
            return Err(self.reject(Reason::BadHttp, fault.clone()));
        }
        match headers.version {
            // `initialize` negotiates in its parameters.
            _ if self.method == "initialize" => Ok(()),
            Some(version) if !LEGACY_VERSIONS.contains(&version) => Err(self.refuse_version(version)),
            _ => Ok(()),
        }
    }

    /// 2026-07-28, transports: the headers repeat what the body says.
    fn check_modern(&self, headers: &McpHeaders<'_>, meta: Option<&Value>) -> Result<(), Rejected> {
        let mismatch = |message: String| self.reject(Reason::HeaderMismatch, message);
        if let Some(fault) = &headers.fault {
            return Err(mismatch(fault.clone()));
        }
        match (headers.version, meta.map(Value::as_str)) {
            (Some(version), None) if !MODERN_VERSIONS.contains(&version) => {
                return Err(self.refuse_version(version));
            }
            (_, None) => return Err(self.meta_refused("is missing")),
            (_, Some(None)) => return Err(self.meta_refused("must be a string")),
            (None, Some(Some(_))) => return Err(mismatch("header `MCP-Protocol-Version` is missing".into())),
            (Some(version), Some(Some(meta))) if version != meta => {
                return Err(mismatch(format!(
                    "header `MCP-Protocol-Version` says {}, `_meta` says {}",
                    quoted(version),
                    quoted(meta)
                )));
            }
            (Some(version), _) if !MODERN_VERSIONS.contains(&version) => {
                return Err(self.refuse_version(version));
            }
            _ => {}
        }
        match headers.method {
            Some(method) if method == self.method => {}
            Some(method) => {
                return Err(mismatch(format!(
                    "header `Mcp-Method` says {}, the body says {}",
                    quoted(method),
                    quoted(self.method)
                )));
            }
            None => return Err(mismatch("header `Mcp-Method` is missing".into())),
        }
        self.check_name(headers)
    }

    fn meta_refused(&self, what: &str) -> Rejected {
        let mut rejected =
            self.reject(Reason::InvalidParams, format!("`_meta` member `{META_VERSION}` {what}"));
        let path = format!("/_meta/{}", META_VERSION.replace('/', "~1"));
        rejected.violations.push(Violation { path, message: what.to_owned() });
        rejected
    }

    /// `Mcp-Name` repeats the member by which a method names its object.
    fn check_name(&self, headers: &McpHeaders<'_>) -> Result<(), Rejected> {
        let member = match self.method {
            "tools/call" | "prompts/get" => "name",
            "resources/read" => "uri",
            "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
            _ => return Ok(()),
        };
        let named = self.params.and_then(|params| params.tree.get(member)).and_then(Value::as_str);
        let message = match (headers.name, named) {
            // A name that is missing from the body is told with the parameters.
            (_, None) => return Ok(()),
            (None, Some(_)) => "header `Mcp-Name` is missing".to_owned(),
            (Some(header), Some(named)) => match decode_header(header) {
                Some(name) if name == named => return Ok(()),
                Some(name) => {
                    format!("header `Mcp-Name` says {}, the body says {}", quoted(&name), quoted(named))
                }
                None => "header `Mcp-Name` is not valid `=?base64?…?=`".to_owned(),
            },
        };
        Err(self.reject(Reason::HeaderMismatch, message))
    }

    /// The operation, or none for a notification that nothing here acts on.
    fn operation(&self, limits: &ReadLimits) -> Result<Option<Operation>, Rejected> {
        let notification = self.method.starts_with("notifications/");
        let operation = Operation::from_method(self.dialect, self.method);
        match (operation, &self.id) {
            (_, None) if notification => return Ok(operation),
            (_, None) => return Err(self.reject(Reason::InvalidRequest, "member `id` is missing")),
            (_, Some(_)) if notification => {
                let message = format!("{} is a notification: send it without an `id`", quoted(self.method));
                return Err(self.reject(Reason::InvalidRequest, message));
            }
            _ => {}
        }
        let Some(operation) = operation else {
            let (reason, what) = if unserved(self.method) {
                (Reason::Unsupported, "is not offered by this gateway".to_owned())
            } else {
                (Reason::UnknownMethod, format!("is not known in MCP {}", self.dialect.version()))
            };
            return Err(self.reject(reason, format!("method {} {what}", quoted(self.method))));
        };
        let name = self.params.and_then(|params| params.tree.get("name")).and_then(Value::as_str);
        match name {
            Some(name) if operation == Operation::CallTool && name.len() > limits.tool_name_bytes => {
                let message = format!("is {} bytes long; {} are taken", name.len(), limits.tool_name_bytes);
                let mut rejected = self.reject(Reason::InvalidParams, format!("`params.name` {message}"));
                rejected.violations.push(Violation { path: "/name".into(), message });
                Err(rejected)
            }
            _ => Ok(Some(operation)),
        }
    }
}

/// Methods of the protocol that are known and not served.
fn unserved(method: &str) -> bool {
    matches!(
        method,
        "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "prompts/list"
            | "prompts/get"
            | "completion/complete"
            | "logging/setLevel"
            | "subscriptions/listen"
            | "tasks/get"
            | "tasks/result"
            | "tasks/list"
            | "tasks/cancel"
            | "tasks/update"
    )
}
