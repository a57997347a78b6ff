//! One decision: what can be decided once is decided once.
//!
//! Cedar walks every policy that it is given, so it is given few, and seldom. The policies that name an
//! action and a resource are found beforehand ([`slices`](super::slices)). The first time a caller asks for
//! something they are all evaluated **without** arguments. Evaluation in Cedar knows no way back from
//! an error, and reading an absent member is one; so a policy that comes out without an error has not
//! looked at the arguments, and comes out the same for all of them. What the policies decide among
//! themselves without looking is kept; only those that looked are evaluated again for each call.
//!
//! Cedar passes over a policy whose evaluation fails. Here a `forbid` that fails denies, and a `permit`
//! that fails grants nothing.

use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision as Effect, Entities, EntityUid, EvaluationError,
    PolicyId, PolicySet, Request, RestrictedExpression,
};
use serde_json::Value;

use crate::message::Dialect;

use super::action::{Action, Kind, Resource};
use super::analysis::Shape;
use super::book::Book;
use super::decision::Decision;
use super::entities;
use super::identity::Principal;
use super::value;

/// What is known before the arguments are.
pub(super) enum Verdict {
    /// The same for all arguments.
    Fixed(Decision),
    Open(Box<Open>),
}

/// Policies that look at the arguments, and what the others decide.
pub(super) struct Open {
    /// The ids that permit it, unless an open policy forbids it.
    permitted: Option<Arc<str>>,
    policies: PolicySet,
    shape: Shape,
    entities: Entities,
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
}

/// Evaluates the slice without arguments and keeps apart what looked at them.
pub(super) fn judge(
    book: &Book,
    principal: &Principal,
    action: Action,
    resource: Resource<'_>,
    dialect: Dialect,
) -> Verdict {
    let internal = || Verdict::Fixed(Decision::undecidable("".into(), "the request has no form in Cedar"));
    // No policy is validated for such a pair, so none is asked.
    if !action.resources().contains(&resource.kind()) {
        return Verdict::Fixed(Decision::not_permitted());
    }
    let slice = book.slices.find(action, resource);
    let policies = slice.iter().map(|position| book.rules[*position].policy.clone());
    let Ok(policies) = PolicySet::from_policies(policies) else { return internal() };
    let entity = book.actions[action as usize].clone();
    let Some(entities) = entities::entities(principal, entity, resource) else { return internal() };
    let (caller, action, resource) = (Kind::Caller.uid(principal.id()), action.uid(), resource.uid());
    let Some(request) = request(&caller, &action, &resource, dialect, None) else { return internal() };

    let response = Authorizer::new().is_authorized(&request, &policies, &entities);
    let satisfied = book.ids(response.diagnostics().reason());
    let looked: Vec<usize> =
        response.diagnostics().errors().map(|error| book.position(id_of(error))).collect();
    let permitted = match response.decision() {
        Effect::Allow => Some(satisfied),
        // A `forbid` that holds is final, whatever the others would say.
        Effect::Deny if !satisfied.is_empty() => return Verdict::Fixed(book.forbidden(&response)),
        Effect::Deny => None,
    };
    let open = looked.iter().map(|position| &book.rules[*position]);
    // Nothing can be granted to who has it, and nothing taken from who has nothing.
    let open: Vec<_> = match &permitted {
        Some(_) => open.filter(|rule| rule.forbids).collect(),
        None if !open.clone().any(|rule| !rule.forbids) => Vec::new(),
        None => open.collect(),
    };
    if open.is_empty() {
        return Verdict::Fixed(permitted.map_or_else(Decision::not_permitted, Decision::permitted));
    }
    let mut shape = Shape::default();
    open.iter().for_each(|rule| shape.merge(&rule.arguments));
    let Ok(policies) = PolicySet::from_policies(open.iter().map(|rule| rule.policy.clone())) else {
        return internal();
    };
    Verdict::Open(Box::new(Open {
        permitted,
        policies,
        shape,
        entities,
        principal: caller,
        action,
        resource,
    }))
}

impl Open {
    pub(super) fn decide(&self, book: &Book, arguments: Option<&Value>, dialect: Dialect) -> Decision {
        let all = || book.ids(self.policies.policies().map(|policy| policy.id()));
        let arguments = match value::record(arguments, &self.shape) {
            Ok(arguments) => arguments,
            Err(incomparable) => {
                let name = incomparable.argument;
                let why = format!("argument `{name}` holds a number that is no 64-bit integer");
                return Decision::undecidable(all(), &why);
            }
        };
        let request = request(&self.principal, &self.action, &self.resource, dialect, Some(arguments));
        let Some(request) = request else {
            return Decision::undecidable(all(), "the arguments have no form in Cedar");
        };
        let response = Authorizer::new().is_authorized(&request, &self.policies, &self.entities);
        let diagnostics = response.diagnostics();
        let satisfied = book.ids(diagnostics.reason());
        let mut failed = diagnostics.errors().filter(|error| book.rule(id_of(error)).forbids);
        match response.decision() {
            Effect::Deny if !satisfied.is_empty() => book.forbidden(&response),
            // Cedar passes over a policy that fails. One that would have forbidden must not be passed over.
            _ if let Some(error) = failed.next() => undecidable(error),
            Effect::Allow => Decision::permitted(satisfied),
            Effect::Deny => match (&self.permitted, diagnostics.errors().next()) {
                (Some(permitted), _) => Decision::permitted(permitted.clone()),
                (None, Some(error)) => undecidable(error),
                (None, None) => Decision::not_permitted(),
            },
        }
    }
}

fn request(
    principal: &EntityUid,
    action: &EntityUid,
    resource: &EntityUid,
    dialect: Dialect,
    arguments: Option<RestrictedExpression>,
) -> Option<Request> {
    let dialect = RestrictedExpression::new_string(dialect.version().to_owned());
    let members = [("dialect".to_owned(), dialect)];
    let arguments = arguments.map(|arguments| ("arguments".to_owned(), arguments));
    let context = Context::from_pairs(members.into_iter().chain(arguments)).ok()?;
    Request::new(principal.clone(), action.clone(), resource.clone(), context, None).ok()
}

/// The denial for a policy that failed; nobody is told the values.
fn undecidable(error: &AuthorizationError) -> Decision {
    let AuthorizationError::PolicyEvaluationError(failure) = error;
    let why = match failure.inner() {
        EvaluationError::RecordAttrDoesNotExist(_) => "an argument that it compares is missing",
        EvaluationError::TypeError(_) => "an argument that it compares is of another type",
        EvaluationError::IntegerOverflow(_) => "an argument is too large to calculate with",
        _ => "its evaluation failed",
    };
    Decision::undecidable(failure.policy_id().to_string().into(), why)
}

fn id_of(error: &AuthorizationError) -> &PolicyId {
    let AuthorizationError::PolicyEvaluationError(failure) = error;
    failure.policy_id()
}
