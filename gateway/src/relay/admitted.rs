//! One admitted request: what all of its records repeat.

use std::time::{Duration, SystemTime};

use super::record::{End, Fields, Kind, View};
use crate::message::{Dialect, Mode, Name, Operation, RelayId, Trace};
use crate::outcome::Reason;

/// What a request with an idempotency key is known by, as hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Hash of the key, and of the caller, agent and method that it holds for.
    pub key: String,
    /// Hash of what is asked for.
    pub body: String,
}

/// A request that policy let through, without its body.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub id: RelayId,
    pub traceparent: String,
    pub parent_span: Option<String>,
    pub principal: Name,
    pub tenant: Name,
    pub agent: Name,
    pub dialect: Dialect,
    pub operation: Operation,
    pub tool: Option<Name>,
    pub mode: Mode,
    /// It may be carried out more than once.
    pub repeatable: bool,
    /// The exchange that it is another attempt at, taken from the dead letters.
    pub redrives: Option<RelayId>,
    /// Task, context or session that orders it; its own id when there is none.
    pub key: Option<String>,
    /// Where its records go, in both topics.
    pub partition: i32,
    pub idempotency: Option<Asked>,
    pub policies: Name,
    pub at: SystemTime,
    pub deadline: SystemTime,
    pub request_bytes: u64,
}

impl Admitted {
    /// Continues `trace` for the records of this exchange.
    pub fn set_trace(&mut self, trace: &Trace) {
        self.traceparent = trace.traceparent();
        self.parent_span = trace.parent_hex();
    }

    /// The fields of a record of this exchange that happens at `time`.
    pub fn fields(&self, kind: Kind, time: SystemTime) -> Fields<'_> {
        Fields {
            kind,
            id: self.id,
            time,
            traceparent: &self.traceparent,
            parent_span: self.parent_span.as_deref(),
            principal: &self.principal,
            tenant: &self.tenant,
            agent: &self.agent,
            dialect: self.dialect,
            method: self.operation.method(self.dialect),
            tool: self.tool.as_deref(),
            mode: self.mode,
            key: self.key.as_deref(),
            deadline: (kind == Kind::Request).then_some(self.deadline),
            policies: (!self.policies.is_empty()).then_some(&*self.policies),
            repeatable: self.repeatable && kind == Kind::Request,
            attempt: 0,
            redrives: self.redrives.filter(|_| kind == Kind::Request),
            sequence: 0,
            epoch: None,
            idempotency: self.idempotency.as_ref().map(|asked| (asked.key.as_str(), asked.body.as_str())),
            replay_of: None,
            lines: false,
            end: None,
        }
    }

    /// The fields of its last record.
    pub fn ending(&self, kind: Kind, time: SystemTime, reason: Reason, answer_bytes: u64) -> Fields<'_> {
        let end = End {
            state: reason.state(),
            reason,
            duration: self.age(time),
            request_bytes: self.request_bytes,
            answer_bytes,
        };
        Fields { end: Some(end), ..self.fields(kind, time) }
    }

    /// Time since its admission.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.at).unwrap_or_default()
    }

    /// The admitted request that a `request` record holds; none when it names a method unknown here.
    pub fn from_record(view: &View<'_>) -> Option<Self> {
        let fields = &view.fields;
        Some(Self {
            id: fields.id,
            traceparent: fields.traceparent.to_owned(),
            parent_span: fields.parent_span.map(str::to_owned),
            principal: fields.principal.into(),
            tenant: fields.tenant.into(),
            agent: fields.agent.into(),
            dialect: fields.dialect,
            operation: Operation::from_method(fields.dialect, fields.method)?,
            tool: fields.tool.map(Name::from),
            mode: fields.mode,
            repeatable: fields.repeatable,
            redrives: fields.redrives,
            key: fields.key.map(str::to_owned),
            partition: view.partition,
            idempotency: fields
                .idempotency
                .map(|(key, body)| Asked { key: key.to_owned(), body: body.to_owned() }),
            policies: fields.policies.unwrap_or_default().into(),
            at: fields.time,
            deadline: fields.deadline.unwrap_or(fields.time + Duration::from_secs(60)),
            request_bytes: view.body.len() as u64,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A request like any other.
    pub(in crate::relay) fn admitted() -> Admitted {
        Admitted {
            id: RelayId::generate(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            parent_span: None,
            principal: "analyst".into(),
            tenant: "demo".into(),
            agent: "advisor".into(),
            dialect: Dialect::A2aV10,
            operation: Operation::Send,
            tool: None,
            mode: Mode::Relay,
            repeatable: false,
            redrives: None,
            key: None,
            partition: 0,
            idempotency: None,
            policies: "".into(),
            at: SystemTime::UNIX_EPOCH,
            deadline: SystemTime::UNIX_EPOCH + Duration::from_secs(60),
            request_bytes: 2,
        }
    }
}
