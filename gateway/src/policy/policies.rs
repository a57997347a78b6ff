//! Decisions: what can be decided once is decided once.
//!
//! Cedar walks every policy that it is given, so it is given few, and seldom. The policies that name an
//! action and a resource are found beforehand ([`slices`](super::slices)). The first time a caller asks for
//! something they are all evaluated **without** arguments. Evaluation in Cedar knows no way back from
//! an error, and reading an absent member is one; so a policy that comes out without an error has not
//! looked at the arguments, and comes out the same for all of them. What the policies decide among
//! themselves without looking is kept; only those that looked are evaluated again for each call.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision as Effect, Entities, EntityUid, EvaluationError,
    PolicyId, PolicySet, Request, Response, RestrictedExpression,
};
use serde_json::Value;

use crate::message::Dialect;

use super::action::{Action, Resource};
use super::analysis::Shape;
use super::cache::Cache;
use super::decision::Decision;
use super::entities;
use super::identity::Principal;
use super::load::{self, Book};
use super::metrics::Metrics;
use super::mistake::PolicyError;
use super::value;

/// Decisions that are remembered, each about half a KiB, 3 KiB where arguments matter.
const DECISIONS_MAX: usize = 8_192;

/// The policies in force. Immutable, shared by all workers: another version is another value, with a
/// cache of its own.
pub struct Policies {
    book: Option<Book>,
    cache: Cache<Arc<Known>>,
    hasher: RandomState,
    metrics: Arc<Metrics>,
}

/// What is known of one caller, action, resource and dialect.
struct Known {
    principal: Principal,
    action: Action,
    kind: &'static str,
    names: (Box<str>, Box<str>),
    dialect: Dialect,
    verdict: Verdict,
}

enum Verdict {
    /// The same for all arguments.
    Fixed(Decision),
    Open(Box<Open>),
}

/// Policies that look at the arguments, and what the others decide.
struct Open {
    /// The ids that permit it, unless an open policy forbids it.
    permitted: Option<Arc<str>>,
    policies: PolicySet,
    shape: Shape,
    entities: Entities,
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
}

impl Policies {
    /// Reads the `*.cedar` files of `directory`; without one, whoever is authenticated is permitted.
    ///
    /// # Errors
    /// Every mistake in the files at once, each with file, line and column.
    pub fn load(directory: Option<&Path>) -> Result<Self, PolicyError> {
        let book = directory.map(load::load).transpose()?;
        Ok(Self {
            book,
            cache: Cache::new(DECISIONS_MAX),
            hasher: RandomState::new(),
            metrics: Arc::new(Metrics::unregistered()),
        })
    }

    /// Counts into `metrics` from now on.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// How many policies are in force; none without a folder.
    pub fn count(&self) -> usize {
        self.book.as_ref().map_or(0, |book| book.rules.len())
    }

    /// Names the text of the policies in force: 16 hex digits, `none` without a folder.
    pub fn version(&self) -> &str {
        self.book.as_ref().map_or("none", |book| &book.version)
    }

    /// Whether `principal` may do `action` to `resource` with these arguments (an object, or none).
    ///
    /// `action` is an [`Action`] or the [`Operation`](crate::message::Operation) that was read.
    pub fn decide(
        &self,
        principal: &Principal,
        action: impl Into<Action>,
        resource: Resource<'_>,
        arguments: Option<&Value>,
        dialect: Dialect,
    ) -> Decision {
        let decision = match &self.book {
            None => Decision::unguarded(),
            Some(book) => {
                let known = self.known(book, principal, action.into(), resource, dialect);
                match &known.verdict {
                    Verdict::Fixed(decision) => decision.clone(),
                    Verdict::Open(open) => open.decide(book, arguments, dialect),
                }
            }
        };
        self.metrics.decided(&decision);
        decision
    }

    /// Whether a list or card may show `resource` to `principal`: whether it may be asked for with *some*
    /// arguments. A policy that looks at arguments counts as undetermined: it may permit, and it may leave
    /// a permitted call alone. So a listed tool may still refuse certain arguments, and a tool that is
    /// not listed refuses all.
    pub fn visible(
        &self,
        principal: &Principal,
        action: impl Into<Action>,
        resource: Resource<'_>,
        dialect: Dialect,
    ) -> bool {
        let Some(book) = &self.book else { return true };
        let known = self.known(book, principal, action.into(), resource, dialect);
        match &known.verdict {
            Verdict::Fixed(decision) => decision.allowed,
            // An open verdict is one that arguments can still turn to a permission.
            Verdict::Open(_) => true,
        }
    }

    fn known(
        &self,
        book: &Book,
        principal: &Principal,
        action: Action,
        resource: Resource<'_>,
        dialect: Dialect,
    ) -> Arc<Known> {
        let hash = self.hasher.hash_one((principal, action, resource, dialect));
        let found = self.cache.find(hash, |known| known.is(principal, action, resource, dialect));
        self.metrics.decision_looked_up(found.is_some());
        found.unwrap_or_else(|| {
            let verdict = judge(book, principal, action, resource, dialect);
            let known = Arc::new(Known::new(principal, action, resource, dialect, verdict));
            self.cache.insert(hash, known.clone());
            known
        })
    }
}

impl Known {
    fn new(
        principal: &Principal,
        action: Action,
        resource: Resource<'_>,
        dialect: Dialect,
        verdict: Verdict,
    ) -> Self {
        let (kind, first, second) = parts(resource);
        let names = (first.into(), second.into());
        Self { principal: principal.clone(), action, kind, names, dialect, verdict }
    }

    fn is(&self, principal: &Principal, action: Action, resource: Resource<'_>, dialect: Dialect) -> bool {
        let (kind, first, second) = parts(resource);
        self.action == action
            && self.dialect == dialect
            && self.kind == kind
            && *self.names.0 == *first
            && *self.names.1 == *second
            && self.principal == *principal
    }
}

fn parts(resource: Resource<'_>) -> (&'static str, &str, &str) {
    let (first, second) = match resource {
        Resource::Gateway => ("", ""),
        Resource::Agent(name) | Resource::Server(name) => (name, ""),
        Resource::Tool { server, tool } => (server, tool),
    };
    (resource.kind().name(), first, second)
}

/// Evaluates the slice without arguments and keeps apart what looked at them.
fn judge(
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
    let (caller, action, resource) =
        (super::action::Kind::Caller.uid(principal.id()), action.uid(), resource.uid());
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
    fn decide(&self, book: &Book, arguments: Option<&Value>, dialect: Dialect) -> Decision {
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

/// The denial for a policy that failed; the log has the place, nobody gets the values.
fn undecidable(error: &AuthorizationError) -> Decision {
    let AuthorizationError::PolicyEvaluationError(failure) = error;
    let why = match failure.inner() {
        EvaluationError::RecordAttrDoesNotExist(_) => "an argument that it compares is missing",
        EvaluationError::TypeError(_) => "an argument that it compares is of another type",
        EvaluationError::IntegerOverflow(_) => "an argument is too large to calculate with",
        _ => "its evaluation failed",
    };
    let id = failure.policy_id().to_string();
    tracing::warn!(policy = %id, "policy {id} could not be evaluated, the call is denied: {why}");
    Decision::undecidable(id.into(), why)
}

fn id_of(error: &AuthorizationError) -> &PolicyId {
    let AuthorizationError::PolicyEvaluationError(failure) = error;
    failure.policy_id()
}

impl Book {
    /// Sorted, comma separated.
    fn ids<'a>(&self, ids: impl Iterator<Item = &'a PolicyId>) -> Arc<str> {
        let mut ids: Vec<&str> = ids.map(AsRef::as_ref).collect();
        ids.sort_unstable();
        ids.join(",").into()
    }

    /// With the author's text of the first policy that has one, in the order of ids.
    fn forbidden(&self, response: &Response) -> Decision {
        let mut ids: Vec<&PolicyId> = response.diagnostics().reason().collect();
        ids.sort_unstable();
        let message = ids.iter().find_map(|id| self.rule(id).message.clone());
        Decision::forbidden(self.ids(ids.into_iter()), message)
    }
}
