//! Configurations: JSON is YAML, so a test writes what it needs as a value.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Value, files, json, ports};

/// Callers that every configuration knows; a caller's key is its name and `-key`.
const CALLERS: &[(&str, &str, &[&str])] = &[
    ("analyst", "demo", &["readers"]),
    ("treasurer", "demo", &["readers", "writers"]),
    ("advisor", "demo", &["readers"]),
    ("stranger", "elsewhere", &[]),
];

/// The keys of all callers.
pub(crate) fn secrets() -> Vec<String> {
    CALLERS.iter().map(|(name, ..)| format!("{name}-key")).collect()
}

/// A configuration in the making.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) log: SocketAddr,
    pub(crate) value: Value,
}

impl Settings {
    /// Callers and addresses; no upstream, no policy, no limit on the rate that a test could meet.
    pub(crate) fn new() -> Self {
        let (public, admin, log) = (ports::free(), ports::free(), ports::free());
        let keys: Vec<Value> = CALLERS
            .iter()
            .map(|(name, tenant, groups)| {
                let hash = kamf::config::hash_key(&format!("{name}-key"));
                json!({"name": name, "tenant": tenant, "groups": groups, "hash": hash})
            })
            .collect();
        let value = json!({
            "public": {"listen": public},
            "admin": {"listen": admin},
            "log": {"directory": "log", "listen": log},
            "identity": {"keys": keys},
            "agents": {},
            "mcpServers": {},
            "limits": {"rate": {"per_second": 100_000, "burst": 100_000}},
        });
        Self { public, admin, log, value }
    }

    /// With the example's three servers, its advisor, its policies.
    pub(crate) fn example() -> Self {
        let advisor = ports::free();
        let mut settings = Self::new();
        settings.value["policies"] = json!(files::repository().join("policies"));
        settings.value["agents"]["advisor"] = json!({
            "url": format!("http://{advisor}/"),
            "process": {
                "command": "kamf",
                "args": ["demo", "advisor", "--listen", advisor],
                "env": {"KAMF_URL": format!("http://{}", settings.public), "KAMF_KEY": "advisor-key"},
            },
        });
        settings
            .stdio("gold_price", json!({"command": "kamf", "args": ["demo", "gold-price"]}))
            .stdio("ledger", json!({"command": "kamf", "args": ["demo", "ledger", "--file", "ledger.jsonl"]}))
            .stdio("profit_clac", json!({"command": "kamf", "args": ["demo", "profit-clac"]}))
    }

    pub(crate) fn agent(mut self, name: &str, url: &str) -> Self {
        self.value["agents"][name] = json!({"url": url});
        self
    }

    /// An MCP server over streamable HTTP.
    pub(crate) fn server(mut self, name: &str, url: &str) -> Self {
        self.value["mcpServers"][name] = json!({"type": "http", "url": url});
        self
    }

    pub(crate) fn stdio(mut self, name: &str, server: Value) -> Self {
        self.value["mcpServers"][name] = server;
        self
    }

    /// The agent `echo` and the server `tools` at `url`, whose calls must have ended after `total`.
    pub(crate) fn echo(self, url: &str, total: Duration) -> Self {
        let mut settings = self.agent("echo", url).server("tools", url);
        let timeouts = json!({"total": format!("{}ms", total.as_millis())});
        settings.value["agents"]["echo"]["timeouts"] = timeouts.clone();
        settings.value["mcp"]["timeouts"]["tools"] = timeouts;
        settings
    }

    /// On the log at `bootstrap` in place of an embedded one.
    pub(crate) fn on(mut self, bootstrap: &str, prefix: &str) -> Self {
        self.value["log"] = json!({"brokers": [bootstrap], "replication": 1, "prefix": prefix});
        self
    }

    /// Sets what `path` names, as in `limits.body_bytes`.
    pub(crate) fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let place = path.split('.').fold(&mut self.value, |place, name| &mut place[name]);
        *place = value.into();
        self
    }
}
