//! What the MCP servers offer, as learned from them; read without a lock by everyone who lists or checks tools.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::message::{Dialect, Name};
use crate::protocol::splice::Splice;
use crate::schema::ToolSchema;

/// All servers by their configured names; those never reached yet have an entry without tools.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub servers: BTreeMap<Name, Arc<ServerEntry>>,
    /// Grows with each change of what is offered.
    pub revision: u64,
}

/// One server. What it offered last is kept while it is away.
#[derive(Clone, Debug, Default)]
pub struct ServerEntry {
    /// It can be called now.
    pub up: bool,
    /// What it said to `initialize`; none if it does not speak 2025-11-25 or older.
    pub legacy: Option<ServerInfo>,
    /// What it said to `server/discover`; none if it does not speak 2026-07-28.
    pub modern: Option<ServerInfo>,
    /// In the order in which it lists them.
    pub tools: Vec<Arc<Tool>>,
}

impl ServerEntry {
    pub fn speaks(&self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::McpLegacy => self.legacy.is_some(),
            Dialect::McpModern => self.modern.is_some(),
            Dialect::A2aV03 | Dialect::A2aV10 => false,
        }
    }

    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.iter().find(|tool| tool.name.as_ref() == name)
    }

    fn is_same(&self, other: &Self) -> bool {
        let eras = |entry: &Self| (entry.up, entry.legacy.is_some(), entry.modern.is_some());
        eras(self) == eras(other)
            && self.instructions() == other.instructions()
            && self.tools.len() == other.tools.len()
            && self
                .tools
                .iter()
                .zip(&other.tools)
                .all(|(one, two)| one.definition.get() == two.definition.get())
    }

    /// Instructions for the model, of whichever era gives them.
    pub fn instructions(&self) -> Option<&str> {
        [&self.modern, &self.legacy].into_iter().flatten().find_map(|info| info.instructions.as_deref())
    }
}

/// What a server says of itself. Its identity is self-declared: for display only.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// Negotiated or chosen protocol version.
    pub version: String,
    pub capabilities: Value,
    pub identity: Option<Value>,
    pub instructions: Option<String>,
}

/// One tool as its server defined it.
#[derive(Debug)]
pub struct Tool {
    /// The server's own name of it.
    pub name: Arc<str>,
    /// The definition, byte for byte: unknown members, order and numbers as they came.
    pub definition: Box<RawValue>,
    /// Its compiled `inputSchema`.
    pub input: ToolSchema,
    /// Untrusted hints.
    pub annotations: Annotations,
}

/// Hints of a server about a tool; policy may take them for a floor only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Annotations {
    pub read_only_hint: Option<bool>,
    pub destructive_hint: Option<bool>,
    pub idempotent_hint: Option<bool>,
    pub open_world_hint: Option<bool>,
}

impl Tool {
    /// The definition under another name; every other byte stays.
    pub fn renamed(&self, name: &str) -> Box<RawValue> {
        #[derive(serde::Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            name: &'a RawValue,
        }
        let text = self.definition.get();
        let Ok(named) = serde_json::from_str::<Named<'_>>(text) else { return self.definition.clone() };
        let quoted = Value::from(name).to_string();
        let spliced = Splice::of(text.as_bytes()).replace(named.name.get(), quoted.as_bytes()).finish();
        String::from_utf8(spliced.into())
            .ok()
            .and_then(|text| RawValue::from_string(text).ok())
            .unwrap_or_else(|| self.definition.clone())
    }
}

/// The catalog in force and who waits for its changes.
#[derive(Debug)]
pub(in crate::upstream) struct Published {
    catalog: ArcSwap<Catalog>,
    revision: watch::Sender<u64>,
}

impl Published {
    pub(in crate::upstream) fn new(servers: impl Iterator<Item = Name>) -> Self {
        let servers = servers.map(|name| (name, Arc::default())).collect();
        Self {
            catalog: ArcSwap::from_pointee(Catalog { servers, revision: 0 }),
            revision: watch::channel(0).0,
        }
    }

    pub(in crate::upstream) fn load(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    pub(in crate::upstream) fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Replaces one server's entry by what `change` makes of it; when that is the same, nothing changes for anyone.
    pub(super) fn update(&self, server: &Name, change: impl Fn(&ServerEntry) -> ServerEntry) {
        let before = self.catalog.rcu(|catalog| {
            let now = catalog.servers.get(server).map(|entry| change(entry)).unwrap_or_default();
            if catalog.servers.get(server).is_some_and(|entry| entry.is_same(&now)) {
                return catalog.clone();
            }
            let mut next = Catalog::clone(catalog);
            next.revision += 1;
            next.servers.insert(server.clone(), Arc::new(now));
            Arc::new(next)
        });
        if self.catalog.load().revision == before.revision {
            return;
        }
        self.revision.send_if_modified(|revision| {
            let newer = before.revision + 1 > *revision;
            *revision = (*revision).max(before.revision + 1);
            newer
        });
    }

    /// The server can or cannot be called from now on.
    pub(super) fn set_up(&self, server: &Name, up: bool) {
        if self.catalog.load().servers.get(server).is_some_and(|entry| entry.up != up) {
            self.update(server, |entry| ServerEntry { up, ..entry.clone() });
        }
    }
}
