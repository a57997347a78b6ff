//! One call and its answer, whatever the upstream is and however it is reached.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Instant;

use super::CallError;
use crate::message::{Dialect, Name, Operation, RelayId};

/// A request that has been checked, permitted and recorded, on its way to an upstream.
#[derive(Clone, Debug)]
pub struct Call {
    pub upstream: Name,
    pub dialect: Dialect,
    pub operation: Operation,
    /// `tools/call`: the server's own name of the tool.
    pub tool: Option<Arc<str>>,
    /// As the client sent it.
    pub body: Bytes,
    /// Bounds the whole of a unary call and of every MCP call. For an A2A stream it bounds the wait for the head of the
    /// answer; from there on only silence ends the stream.
    pub deadline: Instant,
    pub traceparent: String,
    pub relay_id: RelayId,
}

/// JSON-RPC messages as the client shall see them: its own id, byte for byte, and its own progress token. A2A bytes
/// are as the agent sent them.
pub enum Answer {
    Unary(Bytes),
    Stream(EventStream),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unary(body) => f.debug_tuple("Unary").field(body).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Events in order. A clean end is `None` without an error before it; after an error nothing follows.
///
/// A2A: the agent ended its stream. MCP: never without an event that is `last`.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Event, CallError>> + Send>>;

/// One message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub body: Bytes,
    /// MCP: this is the response itself, nothing follows. A2A: this is a JSON-RPC error.
    pub last: bool,
}
