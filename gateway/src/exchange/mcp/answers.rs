//! What the gateway answers by itself: the handshake, discovery, lists.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::names::Names;
use super::scope::Scope;
use crate::exchange::Gateway;
use crate::message::{Dialect, Operation};
use crate::policy::{Principal, Resource};
use crate::protocol::{self, Parsed, RawId, mcp};
use crate::upstream::Catalog;

/// How long a client may keep a list of ours, in milliseconds.
const TTL_MS: u64 = 5_000;

/// Instructions of all servers together, in bytes: they go into a model's context.
const INSTRUCTIONS_MAX: usize = 16 * 1024;

/// `InitializeResult` (2025-11-25).
pub(super) fn initialize(parsed: &Parsed, id: &RawId, catalog: &Catalog, scope: &Scope) -> Bytes {
    let version = mcp::pick_version(parsed.requested_version().unwrap_or_default());
    let mut result = json!({
        "protocolVersion": version,
        "capabilities": { "tools": {} },
        "serverInfo": server_info(),
    });
    if let Some(instructions) = instructions(catalog, scope) {
        result["instructions"] = instructions.into();
    }
    protocol::result_body(id, &result)
}

/// `DiscoverResult` (2026-07-28).
pub(super) fn discover(id: &RawId, catalog: &Catalog, scope: &Scope) -> Bytes {
    let mut result = json!({
        "resultType": "complete",
        "supportedVersions": mcp::MODERN_VERSIONS,
        "capabilities": { "tools": {} },
        "ttlMs": TTL_MS,
        "cacheScope": "private",
        "_meta": { "io.modelcontextprotocol/serverInfo": server_info() },
    });
    if let Some(instructions) = instructions(catalog, scope) {
        result["instructions"] = instructions.into();
    }
    protocol::result_body(id, &result)
}

/// The list of tools that `principal` may call. Definitions are the servers' own bytes; only the name may differ.
pub(super) fn tools(
    gateway: &Gateway,
    names: &Names,
    scope: &Scope,
    principal: &Principal,
    dialect: Dialect,
    id: &RawId,
) -> Bytes {
    let mut result = BytesMut::with_capacity(4096);
    result.put_slice(b"{\"tools\":[");
    let mut first = true;
    let mut put = |definition: &[u8]| {
        if !std::mem::take(&mut first) {
            result.put_u8(b',');
        }
        result.put_slice(definition);
    };
    let visible = |server: &str, tool: &str| {
        let resource = Resource::Tool { server, tool };
        gateway.policies.visible(principal, Operation::CallTool, resource, dialect)
    };
    match scope {
        Scope::All => {
            for entry in names.table(dialect).offered() {
                if names.tool(entry).is_some_and(|tool| visible(&entry.server, &tool.name)) {
                    put(entry.definition.get().as_bytes());
                }
            }
        }
        Scope::One(server) => {
            let tools = names.catalog().servers.get(server).filter(|entry| entry.speaks(dialect));
            for tool in tools.into_iter().flat_map(|entry| &entry.tools) {
                if visible(server, &tool.name) {
                    put(tool.definition.get().as_bytes());
                }
            }
        }
    }
    result.put_slice(b"]");
    if dialect == Dialect::McpModern {
        let rest = json!({
            "resultType": "complete",
            "ttlMs": TTL_MS,
            "cacheScope": "private",
            "_meta": { "io.modelcontextprotocol/serverInfo": server_info() },
        });
        result.put_u8(b',');
        result.put_slice(rest.to_string().trim_start_matches('{').as_bytes());
    } else {
        result.put_u8(b'}');
    }
    protocol::result_body_raw(id, &result)
}

fn server_info() -> Value {
    json!({ "name": "kamf", "title": "KAMF gateway", "version": env!("CARGO_PKG_VERSION") })
}

fn instructions(catalog: &Catalog, scope: &Scope) -> Option<String> {
    let mut text = String::new();
    for (name, entry) in &catalog.servers {
        let Some(own) = entry.instructions().filter(|_| scope.includes(name)) else { continue };
        if text.len() + name.len() + own.len() > INSTRUCTIONS_MAX {
            continue;
        }
        match scope {
            Scope::One(_) => text.push_str(own),
            Scope::All => text.push_str(&format!("## {name}\n{own}\n\n")),
        }
    }
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}
