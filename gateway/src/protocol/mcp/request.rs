//! A request of the MCP endpoint between its envelope and its parameters: version, headers, method.

use serde_json::Value;

use super::{LEGACY_VERSIONS, META_VERSION, MODERN_VERSIONS, McpHeaders, decode_header};
use crate::message::{Dialect, Operation};
use crate::outcome::Reason;
use crate::protocol::json::quoted;
use crate::protocol::{Params, RawId, ReadLimits, Rejected, Violation};

/// A request while its version, headers and method are checked.
pub(super) struct Request<'a> {
    pub(super) id: Option<RawId>,
    pub(super) method: &'a str,
    pub(super) params: Option<&'a Params>,
    pub(super) dialect: Dialect,
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
    pub(super) fn check_legacy(&self, headers: &McpHeaders<'_>) -> Result<(), Rejected> {
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
    pub(super) fn check_modern(
        &self,
        headers: &McpHeaders<'_>,
        meta: Option<&Value>,
    ) -> Result<(), Rejected> {
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
    pub(super) fn operation(&self, limits: &ReadLimits) -> Result<Option<Operation>, Rejected> {
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
