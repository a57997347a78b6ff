//! What a number is counted for: tenant x agent x method x tool x outcome.

use serde::{Deserialize, Serialize};

/// The label that takes what is over the bound on the number of keys.
pub const OTHER: &str = "other";

/// The dimensions of one cell, as values of `kamf.aggregates` write them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dimensions {
    pub tenant: Box<str>,
    pub agent: Box<str>,
    /// The method on the wire.
    pub method: Box<str>,
    /// The server's own name of the tool.
    pub tool: Option<Box<str>>,
    /// The last state of the exchange, `kamf_state`.
    pub state: Box<str>,
    /// Why it ended so, `kamf_reason`.
    pub reason: Box<str>,
}

/// The same, borrowed from a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels<'a> {
    pub tenant: &'a str,
    pub agent: &'a str,
    pub method: &'a str,
    pub tool: Option<&'a str>,
    pub state: &'a str,
    pub reason: &'a str,
}

impl Labels<'_> {
    /// Where the numbers go once a window holds as many keys as it may.
    pub const OVERFLOW: Labels<'static> =
        Labels { tenant: OTHER, agent: OTHER, method: OTHER, tool: None, state: OTHER, reason: OTHER };

    pub fn to_dimensions(self) -> Dimensions {
        Dimensions {
            tenant: self.tenant.into(),
            agent: self.agent.into(),
            method: self.method.into(),
            tool: self.tool.map(Into::into),
            state: self.state.into(),
            reason: self.reason.into(),
        }
    }

    /// Writes an unambiguous byte form: each part with its length in front, no tool as `u32::MAX`.
    pub(super) fn write_key(self, key: &mut Vec<u8>) {
        key.clear();
        for part in [Some(self.tenant), Some(self.agent), Some(self.method), self.tool, Some(self.state)]
            .into_iter()
            .chain([Some(self.reason)])
        {
            let length = part.map_or(u32::MAX, |text| u32::try_from(text.len()).unwrap_or(u32::MAX - 1));
            key.extend_from_slice(&length.to_le_bytes());
            key.extend_from_slice(part.unwrap_or_default().as_bytes());
        }
    }
}

impl Dimensions {
    pub fn labels(&self) -> Labels<'_> {
        Labels {
            tenant: &self.tenant,
            agent: &self.agent,
            method: &self.method,
            tool: self.tool.as_deref(),
            state: &self.state,
            reason: &self.reason,
        }
    }
}
