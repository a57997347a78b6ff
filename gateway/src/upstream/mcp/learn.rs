//! Getting to know an MCP server: which eras it speaks, what it says of itself, and all of its tools.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::catalog::{Annotations, ServerInfo, Tool};
use crate::config::Limits;
use crate::message::Dialect;
use crate::protocol::mcp::ParamHeaders;
use crate::protocol::splice::{Kind, Message};
use crate::schema::{SchemaLimits, ToolSchema};
use crate::upstream::CallError;

/// Pages of one list. A server of the longest list seen has a handful.
const PAGES_MAX: usize = 100;
/// Tools of one server.
const TOOLS_MAX: usize = 1_000;
/// All definitions of one server together.
const DEFINITIONS_MAX: usize = 16 * 1024 * 1024;
/// One page.
const PAGE_LIMIT: Duration = Duration::from_secs(30);
/// Versions that are opened by `initialize`, all of which the gateway can drive a server with.
const LEGACY_VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// What a list without, or with a shorter, hint is taken to be fresh for.
const TTL_MIN: Duration = Duration::from_secs(60);
const TTL_MAX: Duration = Duration::from_secs(3600);
/// For servers that give no hint: they announce changes, so this is only for those that forget to.
const TTL_UNKNOWN: Duration = Duration::from_secs(300);

/// A connection that can carry a request of the gateway's own.
pub(super) trait Ask {
    /// Sends `method` with `params` and gives back the whole response.
    fn ask(
        &self,
        dialect: Dialect,
        method: &'static str,
        params: Value,
        limit: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send;
}

/// Why a question has no usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Call(#[from] CallError),
    /// It answered with an error of its own.
    #[error("it answered {method} with the error {code}: {message}")]
    Answered { method: &'static str, code: i64, message: String },
    #[error("it answered {method} with something else: {why}")]
    Shape { method: &'static str, why: String },
}

/// The `_meta` of the gateway's own modern requests.
pub(super) fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": Dialect::McpModern.version(),
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "kamf", "version": env!("CARGO_PKG_VERSION")},
    })
}

/// `server/discover`.
pub(super) async fn discover(peer: &impl Ask, limit: Duration) -> Result<ServerInfo, AskError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Discovered {
        supported_versions: Vec<String>,
        #[serde(default)]
        capabilities: Value,
        instructions: Option<String>,
        #[serde(rename = "_meta")]
        meta: Option<Value>,
    }
    const METHOD: &str = "server/discover";
    let body = peer.ask(Dialect::McpModern, METHOD, json!({"_meta": modern_meta()}), limit).await?;
    let found: Discovered = result(METHOD, &body)?;
    let version = Dialect::McpModern.version();
    if !found.supported_versions.iter().any(|supported| supported == version) {
        let why = format!("it does not support {version}");
        return Err(AskError::Shape { method: METHOD, why });
    }
    let identity = found.meta.and_then(|meta| meta.get("io.modelcontextprotocol/serverInfo").cloned());
    Ok(ServerInfo {
        version: version.to_owned(),
        capabilities: found.capabilities,
        identity,
        instructions: found.instructions,
    })
}

/// `initialize`. The gateway offers no capabilities: on a connection that many share, nobody could answer for them.
pub(super) async fn initialize(peer: &impl Ask, limit: Duration) -> Result<ServerInfo, AskError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Initialized {
        protocol_version: String,
        #[serde(default)]
        capabilities: Value,
        server_info: Option<Value>,
        instructions: Option<String>,
    }
    const METHOD: &str = "initialize";
    let params = json!({
        "protocolVersion": Dialect::McpLegacy.version(),
        "capabilities": {},
        "clientInfo": {"name": "kamf", "version": env!("CARGO_PKG_VERSION")},
    });
    let body = peer.ask(Dialect::McpLegacy, METHOD, params, limit).await?;
    let found: Initialized = result(METHOD, &body)?;
    if !LEGACY_VERSIONS.contains(&found.protocol_version.as_str()) {
        let why = "it chose a version that the gateway does not speak".into();
        return Err(AskError::Shape { method: METHOD, why });
    }
    Ok(ServerInfo {
        version: found.protocol_version,
        capabilities: found.capabilities,
        identity: found.server_info,
        instructions: found.instructions,
    })
}

/// All tools of a server.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) tools: Vec<Arc<Tool>>,
    /// Left out, each with the reason.
    pub(super) refused: Vec<(String, String)>,
    /// Ask again after this.
    pub(super) fresh: Duration,
}

impl Listed {
    /// Of a server that has no tools.
    pub(super) fn nothing() -> Self {
        Self { tools: Vec::new(), refused: Vec::new(), fresh: TTL_UNKNOWN }
    }
}

/// `tools/list`, all pages. `over_http`: annotations for headers must hold.
pub(super) async fn list_tools(
    peer: &impl Ask,
    dialect: Dialect,
    limits: &Limits,
    over_http: bool,
) -> Result<Listed, AskError> {
    let mut definitions = Vec::new();
    let mut bytes = 0;
    let mut cut = None;
    let mut cursor: Option<String> = None;
    let mut seen = HashSet::new();
    let mut ttl: Option<i64> = None;
    for page in 1.. {
        let listed = page_of_tools(peer, dialect, cursor.as_deref()).await?;
        ttl = [ttl, listed.ttl_ms].into_iter().flatten().min();
        bytes += listed.tools.iter().map(|tool| tool.get().len()).sum::<usize>();
        definitions.extend(listed.tools);
        let Some(next) = listed.next_cursor else { break };
        cut = if !seen.insert(next.clone()) {
            Some("its list repeats a page".to_owned())
        } else if page >= PAGES_MAX {
            Some(format!("its list has more than {PAGES_MAX} pages"))
        } else if definitions.len() > TOOLS_MAX {
            Some(format!("it has more than {TOOLS_MAX} tools"))
        } else if bytes > DEFINITIONS_MAX {
            Some(format!("its definitions are larger than {DEFINITIONS_MAX} bytes"))
        } else {
            None
        };
        if cut.is_some() {
            break;
        }
        cursor = Some(next);
    }
    if definitions.len() > TOOLS_MAX {
        cut = Some(format!("it has more than {TOOLS_MAX} tools"));
        definitions.truncate(TOOLS_MAX);
    }
    let fresh = ttl.map_or(TTL_UNKNOWN, |ttl| {
        Duration::from_millis(u64::try_from(ttl).unwrap_or(0)).clamp(TTL_MIN, TTL_MAX)
    });
    // Compiling a hostile schema may take its whole bound: not on the threads that serve.
    let limits = limits.clone();
    let compiled = tokio::task::spawn_blocking(move || compile(definitions, &limits, over_http)).await;
    let (tools, mut refused) = compiled.map_err(|_| AskError::Shape {
        method: "tools/list",
        why: "its definitions cannot be compiled".into(),
    })?;
    refused.extend(cut.map(|why| ("the rest of its tools".to_owned(), why)));
    Ok(Listed { tools, refused, fresh })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    tools: Vec<Box<RawValue>>,
    // Any JSON string is a cursor, the empty one too; some servers end with null.
    next_cursor: Option<String>,
    ttl_ms: Option<i64>,
}

async fn page_of_tools(peer: &impl Ask, dialect: Dialect, cursor: Option<&str>) -> Result<Page, AskError> {
    const METHOD: &str = "tools/list";
    let mut params = json!({});
    if dialect == Dialect::McpModern {
        params["_meta"] = modern_meta();
    }
    if let Some(cursor) = cursor {
        params["cursor"] = cursor.into();
    }
    let body = peer.ask(dialect, METHOD, params, PAGE_LIMIT).await?;
    result(METHOD, &body)
}

fn compile(
    definitions: Vec<Box<RawValue>>,
    limits: &Limits,
    over_http: bool,
) -> (Vec<Arc<Tool>>, Vec<(String, String)>) {
    let mut names = HashSet::new();
    let (mut tools, mut refused) = (Vec::new(), Vec::new());
    for (place, definition) in definitions.into_iter().enumerate() {
        match tool(definition, limits, over_http) {
            Ok(tool) if names.insert(tool.name.clone()) => tools.push(Arc::new(tool)),
            Ok(tool) => {
                refused.push((tool.name.to_string(), "another tool of this server has its name".into()))
            }
            Err((name, why)) => {
                refused.push((name.unwrap_or_else(|| format!("tool number {}", place + 1)), why))
            }
        }
    }
    (tools, refused)
}

fn tool(
    definition: Box<RawValue>,
    limits: &Limits,
    over_http: bool,
) -> Result<Tool, (Option<String>, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        name: String,
        input_schema: Value,
        #[serde(default)]
        annotations: Option<Value>,
    }
    let head: Head =
        serde_json::from_str(definition.get()).map_err(|error| (None, format!("its definition: {error}")))?;
    let name = head.name;
    let shown = || Some(name.chars().take(128).collect::<String>());
    if name.is_empty() || name.len() > limits.tool_name_bytes || name.chars().any(char::is_control) {
        let why =
            format!("its name is not of 1 to {} bytes without control characters", limits.tool_name_bytes);
        return Err((shown(), why));
    }
    if over_http {
        ParamHeaders::learn(&head.input_schema).map_err(|why| (shown(), why))?;
    }
    let input = ToolSchema::compile(&head.input_schema, &SchemaLimits::from(limits))
        .map_err(|refused| (shown(), format!("its inputSchema: {refused}")))?;
    let annotations = head
        .annotations
        .and_then(|annotations| serde_json::from_value::<Annotations>(annotations).ok())
        .unwrap_or_default();
    Ok(Tool { name: name.into(), definition, input, annotations })
}

/// The `result` of a response, read into `T`.
fn result<T: for<'de> Deserialize<'de>>(method: &'static str, body: &[u8]) -> Result<T, AskError> {
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: i64,
        #[serde(default)]
        message: String,
    }
    let shape = |why: String| AskError::Shape { method, why };
    let message = Message::read(body).map_err(|error| shape(error.to_string()))?;
    if message.kind() == Kind::Error {
        let error = message.error().and_then(|error| serde_json::from_str::<Error>(error).ok());
        let Error { code, message } = error.unwrap_or(Error { code: 0, message: String::new() });
        let message = crate::upstream::child_log::escape(&message.chars().take(200).collect::<String>());
        return Err(AskError::Answered { method, code, message });
    }
    serde_json::from_str(message.result().unwrap_or("null")).map_err(|error| shape(error.to_string()))
}
