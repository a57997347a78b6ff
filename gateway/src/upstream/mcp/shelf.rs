//! One server's part of the catalog, and who fills it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::catalog::{Published, ServerEntry, ServerInfo};
use super::learn::{self, Ask};
use crate::config::Limits;
use crate::message::{Dialect, Name};
use crate::upstream::health::Vital;

/// After a list that failed.
const RELIST_PAUSE: Duration = Duration::from_secs(10);

/// What a server said when it was introduced. At least one is there.
#[derive(Clone, Debug)]
pub(super) struct Introduced {
    pub(super) legacy: Option<ServerInfo>,
    pub(super) modern: Option<ServerInfo>,
}

impl Introduced {
    /// The era in which the gateway asks for lists.
    fn preferred(&self) -> Option<(Dialect, &ServerInfo)> {
        let modern = self.modern.as_ref().map(|info| (Dialect::McpModern, info));
        modern.or_else(|| self.legacy.as_ref().map(|info| (Dialect::McpLegacy, info)))
    }
}

/// Where a server's task puts what it learns.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) name: Name,
    pub(super) limits: Limits,
    pub(super) published: Arc<Published>,
    pub(super) vital: Vital,
    /// The server is reached over HTTP.
    pub(super) over_http: bool,
}

impl Shelf {
    /// Lists the server's tools and publishes them. When that fails, what was known stays. Gives back when to do it again.
    pub(super) async fn fill(&self, peer: &impl Ask, introduced: &Introduced) -> Duration {
        let Some((dialect, info)) = introduced.preferred() else { return RELIST_PAUSE };
        let has_tools = info.capabilities.get("tools").is_some_and(Value::is_object);
        let listed = match has_tools {
            true => learn::list_tools(peer, dialect, &self.limits, self.over_http).await,
            false => Ok(learn::Listed::nothing()),
        };
        let (tools, pause) = match listed {
            Ok(listed) => {
                for (tool, why) in &listed.refused {
                    tracing::warn!(server = %self.name, tool, why, "tool is not offered");
                }
                tracing::info!(server = %self.name, tools = listed.tools.len(), "tools listed");
                self.vital.refused_tools(listed.refused);
                (Some(listed.tools), listed.fresh)
            }
            Err(error) => {
                tracing::warn!(server = %self.name, error = %error, "tools cannot be listed; trying again");
                self.vital.failed(&error.to_string());
                (None, RELIST_PAUSE)
            }
        };
        self.publish(|entry| ServerEntry {
            up: true,
            legacy: introduced.legacy.clone(),
            modern: introduced.modern.clone(),
            tools: tools.clone().unwrap_or_else(|| entry.tools.clone()),
        });
        pause
    }

    /// The server cannot be called now. What it offered stays known.
    pub(super) fn down(&self, why: &str) -> bool {
        self.published.set_up(&self.name, false);
        self.vital.down(why)
    }

    fn publish(&self, change: impl Fn(&ServerEntry) -> ServerEntry) {
        self.published.update(&self.name, change);
    }
}
