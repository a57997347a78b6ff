//! Configurations: JSON is YAML, so a test writes what it needs as a value.

use std::net::SocketAddr;

use super::{Value, files, json, ports};

/// Callers that every configuration knows; a caller's key is its name and `-key`.
const CALLERS: &[(&str, &str, &[&str])] = &[
    ("analyst", "demo", &["readers"]),
    ("treasurer", "demo", &["readers", "writers"]),
    ("advisor", "demo", &["readers"]),
    ("stranger", "elsewhere", &[]),
];

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

    /// Sets what `path` names, as in `limits.body_bytes`.
    pub(crate) fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let place = path.split('.').fold(&mut self.value, |place, name| &mut place[name]);
        *place = value.into();
        self
    }
}
