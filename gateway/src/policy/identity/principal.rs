//! The caller, proven.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

/// Longest tenant, name or group, in bytes: far above what issuers use, and it bounds cache keys.
const PART_BYTES_MAX: usize = 256;
/// Most groups of one caller; directories cap the claim near 200.
const GROUPS_MAX: usize = 256;

/// Keyed at random in each process, so that nobody can choose names that collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Who calls. Only the [`Authenticator`](super::Authenticator) makes one; a clone costs one counter.
///
/// Identity is tenant and name together: `analyst` of two tenants is two callers. Groups are what the
/// credential grants at this moment and take part in equality, so that a decision that was kept for a
/// caller is not used once the groups change.
#[derive(Clone)]
pub struct Principal(Arc<Caller>);

struct Caller {
    id: Box<str>,
    tenant_bytes: usize,
    groups: Box<[Box<str>]>,
    fingerprint: u64,
}

/// Why a set of names makes no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::policy) enum BadName {
    #[error("a name, tenant or group is empty")]
    Empty,
    #[error("a name, tenant or group is longer than {PART_BYTES_MAX} bytes")]
    TooLong,
    #[error("a name, tenant or group holds a control character")]
    Control,
    #[error("a tenant holds a `/`, which parts tenant from name")]
    Slash,
    #[error("there are more than {GROUPS_MAX} groups")]
    TooManyGroups,
}

impl Principal {
    pub(in crate::policy) fn new(tenant: &str, name: &str, groups: &[String]) -> Result<Self, BadName> {
        check(tenant)?;
        check(name)?;
        if tenant.contains('/') {
            return Err(BadName::Slash);
        }
        if groups.len() > GROUPS_MAX {
            return Err(BadName::TooManyGroups);
        }
        groups.iter().try_for_each(|group| check(group))?;
        let mut groups: Vec<Box<str>> = groups.iter().map(|group| group.as_str().into()).collect();
        groups.sort_unstable();
        groups.dedup();
        let id = format!("{tenant}/{name}").into_boxed_str();
        let fingerprint = HASHER.hash_one((&id, &groups));
        Ok(Self(Arc::new(Caller { id, tenant_bytes: tenant.len(), groups: groups.into(), fingerprint })))
    }

    /// The name within the tenant: of the API key, or `sub` (else `client_id`) of the token.
    pub fn name(&self) -> &str {
        &self.0.id[self.0.tenant_bytes + 1..]
    }

    pub fn tenant(&self) -> &str {
        &self.0.id[..self.0.tenant_bytes]
    }

    /// Sorted, each once.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.groups.iter().map(|group| &**group)
    }

    /// `<tenant>/<name>`: unique, because a tenant holds no `/`. The id of the Cedar entity.
    pub fn id(&self) -> &str {
        &self.0.id
    }
}

fn check(part: &str) -> Result<(), BadName> {
    match part {
        "" => Err(BadName::Empty),
        part if part.len() > PART_BYTES_MAX => Err(BadName::TooLong),
        part if part.chars().any(char::is_control) => Err(BadName::Control),
        _ => Ok(()),
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.id == other.0.id && self.0.groups == other.0.groups)
    }
}

impl Eq for Principal {}

impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.fingerprint);
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Principal").field(&self.0.id).finish()
    }
}
