//! Which policies can apply to an action on a resource: found when they are loaded.

use std::collections::HashMap;

use cedar_policy::{ActionConstraint, EntityUid, Policy, ResourceConstraint};

use super::action::{Action, Kind, Resource};

/// Positions of policies, by action and by the resource that their head names. A slice may hold a policy
/// that does not apply after all (Cedar decides that), but never lacks one that does.
pub(super) struct Slices(Vec<Slice>);

#[derive(Default)]
struct Slice {
    /// Policies whose head names no single resource.
    anywhere: Vec<usize>,
    /// `resource == x` and `resource in x`, by `x`.
    named: HashMap<EntityUid, Vec<usize>>,
}

impl Slices {
    pub(super) fn new<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut slices: Vec<Slice> = Action::ALL.iter().map(|_| Slice::default()).collect();
        for (position, policy) in policies.enumerate() {
            let (actions, resource) = (policy.action_constraint(), policy.resource_constraint());
            for (action, slice) in Action::ALL.iter().zip(&mut slices) {
                if names(&actions, *action) {
                    slice.add(position, &resource);
                }
            }
        }
        Self(slices)
    }

    /// In ascending order.
    pub(super) fn find(&self, action: Action, resource: Resource<'_>) -> Vec<usize> {
        // `Action::ALL` is in the order of declaration.
        let slice = &self.0[action as usize];
        let named = |uid: &EntityUid| slice.named.get(uid).map_or(&[][..], Vec::as_slice);
        let mut found = slice.anywhere.clone();
        found.extend_from_slice(named(&resource.uid()));
        if let Resource::Tool { server, .. } = resource {
            found.extend_from_slice(named(&Kind::Server.uid(server)));
        }
        found.sort_unstable();
        found
    }
}

impl Slice {
    fn add(&mut self, position: usize, resource: &ResourceConstraint) {
        match resource {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => self.anywhere.push(position),
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                self.named.entry(uid.clone()).or_default().push(position);
            }
        }
    }
}

fn names(constraint: &ActionConstraint, action: Action) -> bool {
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => action.is_in(uid),
        ActionConstraint::In(uids) => uids.iter().any(|uid| action.is_in(uid)),
    }
}
