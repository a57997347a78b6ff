//! What can go wrong with a call, told apart by whether the upstream may have acted. Texts are for the caller: they name
//! the upstream as the configuration does and never its address.

use std::borrow::Cow;

use crate::message::Name;
use crate::outcome::Reason;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing of the request left the gateway: it may be sent again.
    #[error("`{upstream}` cannot be reached: {why}; nothing was sent to it")]
    Unreachable { upstream: Name, why: Cow<'static, str> },
    /// A time limit passed after the request was sent: the upstream may have acted.
    #[error("`{upstream}` did not answer within its time limit ({limit}); it may have acted")]
    Timeout { upstream: Name, limit: Limit },
    /// The upstream went away after the request was sent: it may have acted.
    #[error("`{upstream}` went away before its answer was complete: {why}; it may have acted")]
    Broken { upstream: Name, why: Cow<'static, str> },
    /// The upstream answered, but not with a valid answer.
    #[error("`{upstream}` gave no valid answer: {why}")]
    Invalid { upstream: Name, why: Cow<'static, str> },
    /// The upstream does not speak the caller's version of the protocol.
    #[error("`{upstream}` does not speak {version}")]
    Unsupported { upstream: Name, version: &'static str },
    /// No upstream has this name. The exchange asks only for configured ones.
    #[error("there is no upstream `{upstream}`")]
    Unknown { upstream: Name },
}

/// Which time limit passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    FirstByte,
    Total,
    Silence,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FirstByte => "first byte",
            Self::Total => "total",
            Self::Silence => "silence on a stream",
        })
    }
}

impl CallError {
    /// The row of the outcome table that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable { .. } => Reason::UpstreamUnreachable,
            Self::Timeout { .. } => Reason::UpstreamTimeout,
            Self::Broken { .. } => Reason::UpstreamBroken,
            Self::Invalid { .. } => Reason::UpstreamInvalid,
            Self::Unsupported { .. } => Reason::Unsupported,
            Self::Unknown { .. } => Reason::UnknownAgent,
        }
    }

    /// Whether the upstream cannot have acted, so that the same request may be sent again.
    pub fn nothing_was_sent(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unsupported { .. } | Self::Unknown { .. })
    }

    pub(super) fn unreachable(upstream: &Name, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Unreachable { upstream: upstream.clone(), why: why.into() }
    }

    pub(super) fn timeout(upstream: &Name, limit: Limit) -> Self {
        Self::Timeout { upstream: upstream.clone(), limit }
    }

    pub(super) fn broken(upstream: &Name, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Broken { upstream: upstream.clone(), why: why.into() }
    }

    pub(super) fn invalid(upstream: &Name, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid { upstream: upstream.clone(), why: why.into() }
    }
}
