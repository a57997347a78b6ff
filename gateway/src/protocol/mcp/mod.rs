//! MCP 2025-11-25 (legacy, opened by `initialize`) and 2026-07-28 (modern, every request stands alone) on one
//! endpoint. A request is modern when its `_meta` names a protocol version, or the header does with one that is
//! not of the legacy line.

mod header;
mod param;
mod request;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::envelope::{self, Kind};
use super::{Parsed, ReadLimits, Rejected};
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
    let request = request::Request { id, method: &method, params: params.as_ref(), dialect };
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
