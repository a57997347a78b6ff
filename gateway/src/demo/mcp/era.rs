//! Which era a request is of, and what its results must carry for it.

use serde_json::{Map, Value, json};

use super::message::{INVALID_PARAMS, METHOD_NOT_FOUND, RpcError, UNSUPPORTED_VERSION};

/// The stateless protocol version that is served.
pub(crate) const MODERN: &str = "2026-07-28";
/// The legacy versions that are served, the preferred one first.
pub(crate) const LEGACY: [&str; 2] = ["2025-11-25", "2025-06-18"];

const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const SERVER_KEY: &str = "io.modelcontextprotocol/serverInfo";

/// How long a client may keep lists. They change with the program only.
const LIST_TTL_MS: u64 = 300_000;

/// The era of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// A session that `initialize` opened.
    Legacy,
    /// Stateless.
    Modern,
}

impl Era {
    /// Tells the era of a request other than `initialize`. `session` says whether this process was
    /// initialized.
    pub(crate) fn of(method: &str, params: &Map<String, Value>, session: bool) -> Result<Self, RpcError> {
        let empty = Map::new();
        let meta = match params.get("_meta") {
            None => &empty,
            Some(Value::Object(meta)) => meta,
            Some(_) => {
                let text = "`params._meta` must be an object";
                return Err(RpcError::new(INVALID_PARAMS, text));
            }
        };
        let version = meta.get(VERSION_KEY);
        let capabilities = meta.get(CAPABILITIES_KEY);
        if version.is_none() && capabilities.is_none() && (session || method == "ping") {
            return Ok(Self::Legacy);
        }
        let Some(Value::String(version)) = version else {
            return Err(missing(VERSION_KEY, "a string", session));
        };
        if version != MODERN {
            return Err(RpcError {
                code: UNSUPPORTED_VERSION,
                message: format!("protocol version `{version}` is not served"),
                data: Some(json!({"supported": [MODERN], "requested": version})),
            });
        }
        if !capabilities.is_some_and(Value::is_object) {
            return Err(missing(CAPABILITIES_KEY, "an object", session));
        }
        Ok(Self::Modern)
    }

    /// The error for a method that this era does not have here.
    pub(crate) fn no_such_method(self, method: &str) -> RpcError {
        let era = match self {
            Self::Legacy => LEGACY[0],
            Self::Modern => MODERN,
        };
        let text = format!("method `{method}` is not served under {era}");
        RpcError::new(METHOD_NOT_FOUND, text)
    }

    /// Adds to a result what the era requires of every result.
    pub(crate) fn dress(self, mut result: Value, server: &Value) -> Value {
        if self == Self::Modern {
            result["resultType"] = "complete".into();
            result["_meta"][SERVER_KEY] = server.clone();
        }
        result
    }

    /// Adds to a list, besides, how long and by whom it may be kept.
    pub(crate) fn dress_list(self, mut result: Value, server: &Value) -> Value {
        if self == Self::Modern {
            result["ttlMs"] = LIST_TTL_MS.into();
            result["cacheScope"] = "public".into();
        }
        self.dress(result, server)
    }
}

fn missing(key: &str, kind: &str, session: bool) -> RpcError {
    let hint = if session { "" } else { "; without it, open a session with `initialize` first" };
    let text = format!("`params._meta` must hold `{key}`, {kind}{hint}");
    RpcError::new(INVALID_PARAMS, text)
}
