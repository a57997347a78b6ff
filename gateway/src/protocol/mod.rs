//! Bytes to [`Parsed`], and an outcome back to a JSON-RPC error: no I/O, no clock, no panic on input.
//!
//! Every door reads with the one strict reader in [`json`]. [`a2a::read`] and [`mcp::read`] check in the
//! order JSON, envelope, method, version and headers; parameters are the business of [`crate::schema`].
//! The bytes stay as they came: ids and parameters are slices of the body.

pub mod a2a;
pub mod answer;
mod envelope;
mod id;
pub mod json;
pub mod mcp;
mod parsed;
pub mod splice;
mod task;

pub use answer::{error_body, result_body, result_body_raw};
pub use id::request_id;
pub use parsed::{Params, Parsed, RawId, Rejected, Violation};
pub use task::Snapshot;

use crate::config::Limits;

/// Values in one document. An object counts as [`json::OBJECT_COST`] values, because an empty one costs about as
/// much memory: 1 MiB of `{"":0},` would otherwise become over 60 MiB of tree.
const VALUES: usize = 262_144;

/// What the reader bounds. The length of the body is bounded before, where it is collected.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Nesting of objects and arrays.
    pub depth: usize,
    /// Values in one document.
    pub values: usize,
    /// Bytes of a string id.
    pub id_bytes: usize,
    /// Bytes of a method name.
    pub method_bytes: usize,
    /// Bytes of a tool name.
    pub tool_name_bytes: usize,
}

impl From<&Limits> for ReadLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            depth: limits.json_depth,
            values: VALUES,
            id_bytes: limits.id_bytes,
            method_bytes: limits.method_bytes,
            tool_name_bytes: limits.tool_name_bytes,
        }
    }
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}
