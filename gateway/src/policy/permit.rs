//! The type that says "judged": nothing goes upstream without it.

use serde_json::Value;

use crate::message::{Dialect, Operation};
use crate::schema::Checked;

use super::action::Resource;
use super::decision::Decision;
use super::identity::Principal;
use super::policies::Policies;

/// A message that a policy can be asked about: a checked request.
pub trait Subject {
    fn operation(&self) -> Operation;
    fn dialect(&self) -> Dialect;
    /// The arguments of a tool call, after they held against the tool's schema.
    fn arguments(&self) -> Option<&Value>;
}

impl Subject for Checked {
    fn operation(&self) -> Operation {
        self.operation
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn arguments(&self) -> Option<&Value> {
        self.tool_arguments()
    }
}

/// A message whose caller may send it. Only [`Policies::permit`] makes one.
#[derive(Debug)]
pub struct Permitted<T = Checked> {
    message: T,
    principal: Principal,
    decision: Decision,
}

/// A message whose caller may not, with what the record of the refusal needs.
#[derive(Debug, thiserror::Error)]
#[error("{}", decision.message)]
pub struct Denied<T = Checked> {
    pub message: T,
    pub principal: Principal,
    pub decision: Decision,
}

impl Policies {
    /// Decides on `message` and marks it.
    ///
    /// # Errors
    /// The denial (`Reason::Forbidden`), with the message for its record.
    pub fn permit<T: Subject>(
        &self,
        message: T,
        principal: Principal,
        resource: Resource<'_>,
    ) -> Result<Permitted<T>, Box<Denied<T>>> {
        let decision =
            self.decide(&principal, message.operation(), resource, message.arguments(), message.dialect());
        if decision.allowed {
            Ok(Permitted { message, principal, decision })
        } else {
            Err(Box::new(Denied { message, principal, decision }))
        }
    }
}

impl<T> Permitted<T> {
    pub fn message(&self) -> &T {
        &self.message
    }

    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    pub fn into_parts(self) -> (T, Principal, Decision) {
        (self.message, self.principal, self.decision)
    }
}
