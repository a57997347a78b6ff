//! The policies in force, and what is remembered of their decisions.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::message::Dialect;

use super::action::{Action, Resource};
use super::book::Book;
use super::cache::Cache;
use super::decision::{Cause, Decision};
use super::identity::Principal;
use super::judge::{self, Verdict};
use super::load;
use super::metrics::Metrics;
use super::mistake::PolicyError;

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
        if decision.cause == Cause::Undecidable {
            let (caller, message) = (principal.id(), &*decision.message);
            tracing::warn!(caller, "a call of {caller} is denied: {message}");
        }
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
            let verdict = judge::judge(book, principal, action, resource, dialect);
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
