//! Which servers a path stands for.

use crate::message::Name;
use crate::policy::Resource;

/// All servers as one, or one alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    One(Name),
}

impl Scope {
    pub(super) fn includes(&self, server: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(name) => &**name == server,
        }
    }

    pub(super) fn resource(&self) -> Resource<'_> {
        match self {
            Self::All => Resource::Gateway,
            Self::One(name) => Resource::Server(name),
        }
    }

    /// The name in records of what the gateway answers by itself.
    pub(super) fn name(&self) -> Name {
        match self {
            Self::All => "mcp".into(),
            Self::One(name) => name.clone(),
        }
    }
}
