//! A small MCP server core for tools over stdin and stdout.
//!
//! One process speaks both eras. A request whose `_meta` names a protocol version or the client's
//! capabilities is of the stateless era (2026-07-28) and stands alone; `initialize` opens a legacy
//! session (2025-11-25) beside it, for the requests without such `_meta`. Messages are JSON-RPC, one
//! a line; nothing else is written to stdout, log lines go where `tracing` sends them.
//!
//! - [`tool`]: what a tool server states about itself, and what a call gets and gives
//! - [`message`]: a line of input to a request or notification, and answers back to lines
//! - [`era`]: which era a request is of, and what its results must carry for it
//! - [`server`]: which method does what; no I/O
//! - [`lines`]: bounded lines in and out
//! - [`stdio`]: reading, running calls side by side, cancelling, writing

mod era;
mod lines;
mod message;
mod server;
mod stdio;
mod tool;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use stdio::serve;
pub(crate) use stdio::serve_stdio;
pub(crate) use tool::{Answer, Identity, Progress, Tool, ToolFailure, Tools};
