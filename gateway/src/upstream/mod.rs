//! The calls to agents and MCP servers; alone dials out and starts processes.
//!
//! [`Upstreams::start`] keeps what is configured alive and known: cards of agents, tools of servers, processes. Each runtime
//! that calls takes a [`Worker`] with connection pools of its own. A call ends in an [`Answer`] or in a [`CallError`] that
//! tells whether the upstream may have acted. Requests are built from parsed values: no header of a client reaches an
//! upstream, redirects are not followed, and nothing is sent twice.

mod a2a;
mod agent_process;
mod answer;
mod backoff;
mod breaker;
mod budget;
mod call;
pub mod card;
mod card_watch;
mod child_log;
mod directory;
mod error;
mod gate;
mod health;
mod http;
pub mod mcp;
mod metrics;
mod process;
mod sse;
mod sse_body;
mod worker;

pub use call::{Answer, Call, Event, EventStream};
pub use card::Card;
pub use directory::{StartError, Upstreams};
pub use error::{CallError, Limit};
pub use gate::{Closed, Gate, GateHealth, Place};
pub use health::{Health, HealthState};
pub use mcp::{Catalog, ServerEntry, ServerInfo, Tool};
pub use metrics::Metrics;
pub use sse::{SseEvent, SseReader, TooLarge};
pub use worker::Worker;

use directory::{http_url, sensitive};

#[cfg(test)]
mod tests;
