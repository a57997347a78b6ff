//! The loaded policies, as decisions need them.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{Entity, Policy, PolicyId, Response, Schema};

use super::action::Action;
use super::analysis::Shape;
use super::decision::Decision;
use super::slices::Slices;

/// Everything that decisions need.
pub(super) struct Book {
    pub(super) rules: Vec<Rule>,
    pub(super) slices: Slices,
    /// The action entities with their groups, in the order of [`Action::ALL`].
    pub(super) actions: Vec<Entity>,
    pub(super) version: String,
    positions: HashMap<PolicyId, usize>,
}

/// One policy.
pub(super) struct Rule {
    pub(super) policy: Policy,
    pub(super) forbids: bool,
    /// What it looks at in the arguments of a call.
    pub(super) arguments: Shape,
    /// `@message("…")`: what a caller is told whom it forbids something.
    pub(super) message: Option<Arc<str>>,
}

impl Book {
    /// `schema` has the action groups.
    pub(super) fn new(rules: Vec<Rule>, schema: &Schema, version: String) -> Self {
        let slices = Slices::new(rules.iter().map(|rule| &rule.policy));
        let positions =
            rules.iter().enumerate().map(|(place, rule)| (rule.policy.id().clone(), place)).collect();
        let known = schema.action_entities().ok();
        let actions = Action::ALL.iter().map(|action| {
            let uid = action.uid();
            known.as_ref().and_then(|known| known.get(&uid).cloned()).unwrap_or_else(|| Entity::with_uid(uid))
        });
        Self { actions: actions.collect(), slices, version, positions, rules }
    }

    /// The position of a policy that Cedar reported; it only knows those that it was given.
    pub(super) fn position(&self, id: &PolicyId) -> usize {
        self.positions[id]
    }

    pub(super) fn rule(&self, id: &PolicyId) -> &Rule {
        &self.rules[self.position(id)]
    }

    /// Sorted, comma separated.
    pub(super) fn ids<'a>(&self, ids: impl Iterator<Item = &'a PolicyId>) -> Arc<str> {
        let mut ids: Vec<&str> = ids.map(AsRef::as_ref).collect();
        ids.sort_unstable();
        ids.join(",").into()
    }

    /// With the author's text of the first policy that has one, in the order of ids.
    pub(super) fn forbidden(&self, response: &Response) -> Decision {
        let mut ids: Vec<&PolicyId> = response.diagnostics().reason().collect();
        ids.sort_unstable();
        let message = ids.iter().find_map(|id| self.rule(id).message.clone());
        Decision::forbidden(self.ids(ids.into_iter()), message)
    }
}
