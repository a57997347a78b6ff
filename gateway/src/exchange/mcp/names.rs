//! The names under which clients see the servers' tools, as an exact table built from the catalog: a name is
//! looked up, never taken apart.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde_json::value::RawValue;

use crate::config::Prefix;
use crate::message::{Dialect, Name};
use crate::upstream::{Catalog, Tool};

/// Between server and tool. Model providers take letters, digits, `_` and `-` only.
const SEPARATOR: &str = "__";

/// Longest name that model providers take.
const PROVIDER_MAX: usize = 64;

/// One tool as clients see it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) server: Name,
    /// Place among the server's tools in the catalog.
    index: usize,
    /// The tool's definition with its public name.
    pub(super) definition: Box<RawValue>,
}

/// All tools of one era, in the order of servers and then of their own lists.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

/// The tables for one state of the catalog.
#[derive(Debug)]
pub(super) struct Names {
    catalog: Arc<Catalog>,
    legacy: Table,
    modern: Table,
}

impl Names {
    fn build(catalog: Arc<Catalog>, prefix: Prefix) -> Self {
        let legacy = Table::build(&catalog, prefix, Dialect::McpLegacy);
        let modern = Table::build(&catalog, prefix, Dialect::McpModern);
        Self { catalog, legacy, modern }
    }

    pub(super) fn table(&self, dialect: Dialect) -> &Table {
        if dialect == Dialect::McpModern { &self.modern } else { &self.legacy }
    }

    pub(super) fn tool(&self, entry: &Entry) -> Option<&Arc<Tool>> {
        self.catalog.servers.get(&entry.server)?.tools.get(entry.index)
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }
}

impl Table {
    fn build(catalog: &Catalog, prefix: Prefix, dialect: Dialect) -> Self {
        let prefixed = match prefix {
            Prefix::Always => true,
            Prefix::Conditional => catalog.servers.len() > 1,
            Prefix::Never => false,
        };
        let mut table = Self::default();
        let mut clashes = Vec::new();
        for (server, entry) in &catalog.servers {
            if !entry.speaks(dialect) {
                continue;
            }
            for (index, tool) in entry.tools.iter().enumerate() {
                let name = if prefixed {
                    format!("{server}{SEPARATOR}{}", tool.name)
                } else {
                    tool.name.to_string()
                };
                if name.len() > PROVIDER_MAX {
                    tracing::warn!(
                        tool = name,
                        "a tool's name is longer than the {PROVIDER_MAX} characters that model providers take; shorten the server's name"
                    );
                }
                if table.by_name.contains_key(&name) {
                    clashes.push(name);
                    continue;
                }
                let definition = tool.renamed(&name);
                table.by_name.insert(name, table.entries.len());
                table.entries.push(Entry { server: server.clone(), index, definition });
            }
        }
        table.leave_out(&clashes);
        table
    }

    /// A bare name that two servers have means neither.
    fn leave_out(&mut self, clashes: &[String]) {
        for name in clashes {
            if self.by_name.remove(name).is_some() {
                tracing::warn!(
                    tool = name,
                    "two MCP servers have this tool, so neither is offered under its bare name; set `mcp.prefix`"
                );
            }
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.get(*self.by_name.get(name)?)
    }

    /// Entries that are reachable by name.
    pub(super) fn offered(&self) -> impl Iterator<Item = &Entry> {
        let mut reachable: Vec<_> = self.by_name.values().copied().collect();
        reachable.sort_unstable();
        reachable.into_iter().filter_map(|index| self.entries.get(index))
    }
}

/// Builds tables when the catalog changes, and keeps them until then.
#[derive(Debug, Default)]
pub struct Cache(ArcSwapOption<Names>);

impl Cache {
    pub(super) fn get(&self, catalog: Arc<Catalog>, prefix: Prefix) -> Arc<Names> {
        if let Some(names) = &*self.0.load()
            && Arc::ptr_eq(&names.catalog, &catalog)
        {
            return Arc::clone(names);
        }
        let names = Arc::new(Names::build(catalog, prefix));
        self.0.store(Some(Arc::clone(&names)));
        names
    }
}
