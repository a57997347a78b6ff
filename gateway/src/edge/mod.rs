//! The door to the network: sockets, TLS, HTTP/1.1 and HTTP/2, and every limit that can be held before a
//! message is understood. What comes through is a well-formed request of bounded size for this listener.
//!
//! - [`Server`] binds, runs one runtime and listener per core, and drains;
//! - [`DoorLayer`] refuses heads that are too large, contradictory, or meant for another place;
//! - [`collect`] reads a body within its limits;
//! - [`Body`] is what goes back: bytes, or a stream of server-sent events that, cut off, never looks complete.
//!
//! Knows nothing of A2A, MCP, or JSON-RPC, and nothing of who calls.

mod body;
mod collect;
mod cors;
mod door;
mod host;
mod metrics;
mod refusal;
mod server;
mod sse;

pub use body::{Body, BoxError, empty, full};
pub use collect::{BodyLimits, collect};
pub use door::{Door, DoorLayer};
pub use metrics::Metrics;
pub use refusal::{json, refusal};
pub use server::{BindError, Drained, Peer, Running, Server, Setting};
pub use sse::{SseItem, event_stream, events};

#[cfg(test)]
mod tests;
