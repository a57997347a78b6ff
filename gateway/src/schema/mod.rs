//! Compiled schemas: [`Parsed`] to [`Checked`], or the violations. Pure.
//!
//! The gateway's own schemas lie in `schemas/` at the top of the repository, one file a protocol version, and are
//! compiled once at start; [`Schemas::check`] picks the one of the request's method, so that an error names the
//! place in the caller's terms. [`ToolSchema`] is a schema learned from a server: hostile input, and bounded.

mod bounds;
mod charge;
mod cost;
mod explain;
mod keyword;
mod own;
mod survey;
mod tool;

use std::ops::Deref;

pub use bounds::{SchemaLimits, SchemaRefused};
pub use own::{SchemaError, Schemas};
pub use tool::ToolSchema;

use crate::protocol::Parsed;

/// The schema of a record in the log, for readers of the topics.
pub const RECORD_SCHEMA: &str = include_str!("../../../schemas/records/kamf-record.json");

/// The schema of a task in the log.
pub const TASK_SCHEMA: &str = include_str!("../../../schemas/records/kamf-task.json");

/// The schema of a dead letter in the log.
pub const DEAD_LETTER_SCHEMA: &str = include_str!("../../../schemas/records/kamf-deadletter.json");

/// Violations that are named at most; a caller mends the first few and asks again.
pub const VIOLATIONS: usize = 8;

/// A request whose parameters keep the schema of its method. Only [`Schemas::check`] makes one.
#[derive(Clone, Debug)]
pub struct Checked(Parsed);

impl Checked {
    pub fn into_parsed(self) -> Parsed {
        self.0
    }
}

impl Deref for Checked {
    type Target = Parsed;

    fn deref(&self) -> &Parsed {
        &self.0
    }
}
