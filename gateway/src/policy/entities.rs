//! Callers and resources as Cedar sees them: just the entities that one decision can look at.

use std::collections::{HashMap, HashSet};

use cedar_policy::{Entities, Entity, RestrictedExpression};

use super::action::{Kind, Resource};
use super::identity::Principal;

/// The caller, the resource, and the action with its group.
///
/// `None` when Cedar does not take them; it has no reason to, and the caller is then denied.
pub(super) fn entities(principal: &Principal, action: Entity, resource: Resource<'_>) -> Option<Entities> {
    Entities::from_entities([caller(principal)?, asked(resource)?, action], None).ok()
}

fn caller(principal: &Principal) -> Option<Entity> {
    let mut parents: HashSet<_> = principal.groups().map(|group| Kind::Group.uid(group)).collect();
    parents.insert(Kind::Tenant.uid(principal.tenant()));
    let attributes = texts([("name", principal.name()), ("tenant", principal.tenant())]);
    Entity::new(Kind::Caller.uid(principal.id()), attributes, parents).ok()
}

fn asked(resource: Resource<'_>) -> Option<Entity> {
    let (attributes, parent) = match resource {
        Resource::Gateway => (HashMap::new(), None),
        Resource::Agent(name) | Resource::Server(name) => (texts([("name", name)]), None),
        Resource::Tool { server, tool } => {
            (texts([("name", tool), ("server", server)]), Some(Kind::Server.uid(server)))
        }
    };
    Entity::new(resource.uid(), attributes, parent.into_iter().collect()).ok()
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> HashMap<String, RestrictedExpression> {
    pairs.map(|(name, text)| (name.to_owned(), RestrictedExpression::new_string(text.to_owned()))).into()
}
