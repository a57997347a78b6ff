//! What was decided, by which policies, and what the caller is told.

use std::sync::{Arc, LazyLock};

/// Why a decision is as it is. Closed, so that it can be a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A `permit` holds and no `forbid` does.
    Permitted,
    /// No folder of policies is configured.
    Unguarded,
    /// A `forbid` holds.
    Forbidden,
    /// Nothing permits it.
    NotPermitted,
    /// A policy that might forbid it could not be evaluated.
    Undecidable,
}

impl Cause {
    pub const ALL: [Self; 5] =
        [Self::Permitted, Self::Unguarded, Self::Forbidden, Self::NotPermitted, Self::Undecidable];

    pub fn label(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Unguarded => "unguarded",
            Self::Forbidden => "forbidden",
            Self::NotPermitted => "not_permitted",
            Self::Undecidable => "undecidable",
        }
    }
}

/// The answer to one question. Three counters to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// The ids of the policies that made it, sorted, comma separated; empty when none did.
    pub policies: Arc<str>,
    pub cause: Cause,
    /// For the caller, when it is denied.
    pub message: Arc<str>,
}

static NOTHING: LazyLock<Arc<str>> = LazyLock::new(|| "".into());
static NOT_PERMITTED: LazyLock<Arc<str>> = LazyLock::new(|| "no policy permits it".into());

impl Decision {
    pub(super) fn unguarded() -> Self {
        let nothing = NOTHING.clone();
        Self { allowed: true, policies: nothing.clone(), cause: Cause::Unguarded, message: nothing }
    }

    pub(super) fn permitted(policies: Arc<str>) -> Self {
        Self { allowed: true, policies, cause: Cause::Permitted, message: NOTHING.clone() }
    }

    pub(super) fn not_permitted() -> Self {
        let (policies, message) = (NOTHING.clone(), NOT_PERMITTED.clone());
        Self { allowed: false, policies, cause: Cause::NotPermitted, message }
    }

    /// `message` is what the policy's author wrote for callers, when they did.
    pub(super) fn forbidden(policies: Arc<str>, message: Option<Arc<str>>) -> Self {
        let message = message.unwrap_or_else(|| format!("forbidden by policy {policies}").into());
        Self { allowed: false, policies, cause: Cause::Forbidden, message }
    }

    pub(super) fn undecidable(policies: Arc<str>, why: &str) -> Self {
        let message = match &*policies {
            "" => format!("the policies could not be evaluated: {why}"),
            ids => format!("policy {ids} could not be evaluated: {why}"),
        };
        Self { allowed: false, policies, cause: Cause::Undecidable, message: message.into() }
    }
}
