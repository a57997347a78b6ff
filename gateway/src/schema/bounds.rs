//! What a learned schema may be, and why one is refused.

use std::time::Duration;

use crate::config::Limits;

/// Distinct patterns in one schema: each holds a compiled automaton.
pub(super) const PATTERNS: usize = 32;
/// Bytes of one pattern.
pub(super) const PATTERN_BYTES: usize = 1_024;
/// Schemas within schemas that the validator may stand in at once, on its stack.
pub(super) const NESTED: u32 = 192;

/// Limits of a learned schema; the configuration's `limits.schema_*` and `limits.validation`.
#[derive(Clone, Copy, Debug)]
pub struct SchemaLimits {
    pub bytes: usize,
    /// Schemas within schemas.
    pub depth: usize,
    /// Schemas in all.
    pub count: usize,
    pub refs: usize,
    /// How long one validation may take; kept by an estimate, not by a clock.
    pub validation: Duration,
}

impl From<&Limits> for SchemaLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            bytes: limits.schema_bytes,
            depth: limits.schema_depth,
            count: limits.schema_count,
            refs: limits.schema_refs,
            validation: limits.validation,
        }
    }
}

impl Default for SchemaLimits {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

impl SchemaLimits {
    /// The time of one validation in nanoseconds.
    pub(super) fn budget(&self) -> u64 {
        u64::try_from(self.validation.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Why a learned schema is not taken. The tool cannot be offered with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaRefused {
    #[error("it is not a JSON object that describes an object")]
    NotAnObject,
    #[error("it is longer than {0} bytes (limits.schema_bytes)")]
    Bytes(usize),
    #[error("its schemas are nested deeper than {0} levels (limits.schema_depth)")]
    Depth(usize),
    #[error("it consists of more than {0} schemas (limits.schema_count)")]
    Count(usize),
    #[error("it has more than {0} references (limits.schema_refs)")]
    Refs(usize),
    #[error("its reference {0} leads out of the schema; nothing is fetched")]
    ExternalRef(String),
    #[error("its reference {0} leads to no schema within it")]
    DanglingRef(String),
    #[error("it uses `{0}`, which cannot be bounded")]
    Unbounded(&'static str),
    #[error("its `$schema` {0} is not supported: 2020-12, 2019-09 and draft-07 are")]
    Dialect(String),
    #[error("it refers to itself without going deeper into the value")]
    Loop,
    #[error("checking a value against it could take too long: references or alternatives multiply")]
    Costly,
    #[error("its pattern {0} cannot be matched in linear time, or is too large")]
    Pattern(String),
    #[error("it has more than {PATTERNS} patterns")]
    Patterns,
    #[error("it is no valid JSON Schema: {0}")]
    Invalid(String),
}
