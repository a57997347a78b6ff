//! The audit record: one for each exchange, made from its end and its request, chained by partition.
//!
//! A record is a JSON object written by [`render`]; its hash is SHA-256 of a zero byte and the bytes as written
//! (RFC 6962, section 2.1), and the next record of the partition carries it as `previous`. The record of an
//! exchange is a function of `kamf.requests`, `kamf.events` and the record before it and of nothing else, so
//! verifying means rendering it again.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize, Serializer};

pub use super::hash::Hash;
use crate::message::RelayId;
use crate::relay::record::{Kind, View};

/// Header of an audit record: its own hash, so that a change to the last one shows as well.
pub const HASH_HEADER: &str = "kamf_hash";

/// Header of an audit record: the epoch of the replica that wrote it; not part of the chain. A record is a function of
/// the log, so what a replica writes although another has taken its place is a copy, and readers pass over it.
pub const EPOCH_HEADER: &str = "kamf_epoch";

/// Header of an audit record: the first request of this partition that had no audit record yet. Where reading
/// goes on after a restart; not part of the chain.
pub const REQUESTS_HEADER: &str = "kamf_requests_from";

/// One record of `kamf.requests` or `kamf.events`: where it is, and the hash of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub offset: i64,
    pub sha256: Hash,
}

/// The end of an exchange, as its terminal or refusal record says it. `S` is `&str` or `Box<str>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<S> {
    pub id: RelayId,
    pub partition: i32,
    pub source: Source,
    /// A refused exchange has no request record.
    pub refusal: bool,
    pub time: SystemTime,
    pub principal: S,
    pub tenant: S,
    pub agent: S,
    pub method: S,
    pub tool: Option<S>,
    pub state: &'static str,
    pub reason: &'static str,
    pub policies: Option<S>,
}

impl<'a> Ended<&'a str> {
    /// Reads a record of `kamf.events`; none when it ends nothing.
    pub fn of(view: &View<'a>) -> Option<Self> {
        let refusal = match view.fields.kind {
            Kind::Terminal => false,
            Kind::Refusal => true,
            _ => return None,
        };
        let (fields, end) = (&view.fields, view.fields.end?);
        Some(Self {
            id: fields.id,
            partition: view.partition,
            source: Source { offset: view.offset, sha256: Hash::of_value(view.body) },
            refusal,
            time: fields.time,
            principal: fields.principal,
            tenant: fields.tenant,
            agent: fields.agent,
            method: fields.method,
            tool: fields.tool,
            state: end.state.as_str(),
            reason: end.reason.label(),
            policies: fields.policies,
        })
    }

    pub fn into_owned(self) -> Ended<Box<str>> {
        Ended {
            id: self.id,
            partition: self.partition,
            source: self.source,
            refusal: self.refusal,
            time: self.time,
            principal: self.principal.into(),
            tenant: self.tenant.into(),
            agent: self.agent.into(),
            method: self.method.into(),
            tool: self.tool.map(Into::into),
            state: self.state,
            reason: self.reason,
            policies: self.policies.map(Into::into),
        }
    }
}

/// The bytes of the audit record of `ended`, whose request is `request`, after the record with hash `previous`.
pub fn render<S: AsRef<str>>(ended: &Ended<S>, request: Option<Source>, previous: Hash) -> Vec<u8> {
    let record = Record {
        v: 1,
        id: Shown(ended.id),
        partition: ended.partition,
        request,
        terminal: ended.source,
        principal: ended.principal.as_ref(),
        tenant: ended.tenant.as_ref(),
        agent: ended.agent.as_ref(),
        method: ended.method.as_ref(),
        tool: ended.tool.as_ref().map(AsRef::as_ref),
        state: ended.state,
        reason: ended.reason,
        policies: ended.policies.as_ref().map(AsRef::as_ref),
        time: Shown(humantime::format_rfc3339_micros(ended.time)),
        previous,
    };
    let mut bytes = Vec::with_capacity(640);
    // A derived structure of strings and numbers always serialises, and a vector takes every byte.
    let _ = serde_json::to_writer(&mut bytes, &record);
    bytes
}

#[derive(Serialize)]
struct Record<'a> {
    v: u32,
    id: Shown<RelayId>,
    partition: i32,
    request: Option<Source>,
    terminal: Source,
    principal: &'a str,
    tenant: &'a str,
    agent: &'a str,
    method: &'a str,
    tool: Option<&'a str>,
    state: &'a str,
    reason: &'a str,
    policies: Option<&'a str>,
    time: Shown<humantime::Rfc3339Timestamp>,
    previous: Hash,
}

struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The end of one partition's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    pub previous: Hash,
    /// Offset in `kamf.events` of the last exchange audited; -1 before the first.
    pub audited: i64,
    /// Where reading `kamf.requests` goes on.
    pub requests_from: i64,
}

impl Chain {
    pub const START: Self = Self { previous: Hash::GENESIS, audited: -1, requests_from: 0 };

    /// Appends `ended`; gives the record's bytes and hash.
    pub fn append<S: AsRef<str>>(&mut self, ended: &Ended<S>, request: Option<Source>) -> (Vec<u8>, Hash) {
        let bytes = render(ended, request, self.previous);
        self.previous = Hash::of_leaf(&bytes);
        self.audited = ended.source.offset;
        (bytes, self.previous)
    }

    /// Goes on after the last audit record: its value and its [`REQUESTS_HEADER`].
    pub fn resume(value: &[u8], requests_from: Option<&str>) -> Option<Self> {
        let last: Last = serde_json::from_slice(value).ok()?;
        Some(Self {
            previous: Hash::of_leaf(value),
            audited: last.terminal.offset,
            requests_from: requests_from.and_then(|text| text.parse().ok()).unwrap_or_default(),
        })
    }
}

#[derive(Deserialize)]
struct Last {
    terminal: Source,
}
