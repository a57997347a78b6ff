//! The record format: a CloudEvent in Kafka's binary mode.
//!
//! Attributes are headers (`ce_*`, `traceparent`, `kamf_*`), the value is the JSON body byte for byte.
//! [`Draft`] writes a record, [`View`] reads one without copying. The layout as JSON Schema:
//! `schemas/records/`. Readers skip headers that they do not know.

use std::time::{Duration, SystemTime};

use rdkafka::Message;
use rdkafka::message::{Header, Headers, OwnedHeaders};

use crate::message::{Dialect, Mode, RelayId};
use crate::outcome::{Reason, State};

/// Version of the layout, `kamf_v`.
pub const VERSION: &str = "1";

/// What a record is about, `kamf_kind`; `ce_type` is `kamf.` and this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `kamf.requests`: an admitted request. Value: the request.
    Request,
    /// `kamf.requests`: a client's wish to cancel the request `ce_id`. Empty value.
    Cancel,
    /// `kamf.events`: the upstream is about to be called. Empty value.
    Started,
    /// `kamf.events`: attempt `kamf_attempt` failed in a way that lets the request be sent again, and it will be. Empty
    /// value.
    Retry,
    /// `kamf.events`: one message of a stream, numbered by `kamf_sequence` from 1. Value: the message.
    Event,
    /// `kamf.events`: the end of an exchange, exactly one each. Value: the answer that the client gets;
    /// empty when a stream said everything before.
    Terminal,
    /// `kamf.events`: a request that was not accepted. Value: the error that the client got.
    Refusal,
    /// `kamf.events`: a replica has taken this partition over; see [`super::Fence`]. Belongs to no exchange.
    Epoch,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Request,
        Self::Cancel,
        Self::Started,
        Self::Retry,
        Self::Event,
        Self::Terminal,
        Self::Refusal,
        Self::Epoch,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Cancel => "cancel",
            Self::Started => "started",
            Self::Retry => "retry",
            Self::Event => "event",
            Self::Terminal => "terminal",
            Self::Refusal => "refusal",
            Self::Epoch => "epoch",
        }
    }

    fn ce_type(self) -> &'static str {
        match self {
            Self::Request => "kamf.request",
            Self::Cancel => "kamf.cancel",
            Self::Started => "kamf.started",
            Self::Retry => "kamf.retry",
            Self::Event => "kamf.event",
            Self::Terminal => "kamf.terminal",
            Self::Refusal => "kamf.refusal",
            Self::Epoch => "kamf.epoch",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == text)
    }
}

/// What one record says besides its body. Borrowed on both ways: written from the exchange at hand, read from
/// the log's own buffer.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub kind: Kind,
    pub id: RelayId,
    /// Event time.
    pub time: SystemTime,
    pub traceparent: &'a str,
    /// Span of the caller within the same trace, 16 hex digits.
    pub parent_span: Option<&'a str>,
    pub principal: &'a str,
    pub tenant: &'a str,
    /// Name of the agent or MCP server.
    pub agent: &'a str,
    pub dialect: Dialect,
    /// The method on the wire.
    pub method: &'a str,
    /// The server's own name of the tool, for `tools/call`.
    pub tool: Option<&'a str>,
    pub mode: Mode,
    /// Ordering key: task, context or session; the relay id when absent.
    pub key: Option<&'a str>,
    /// When the exchange must have ended.
    pub deadline: Option<SystemTime>,
    /// Ids of the policies that decided, comma separated.
    pub policies: Option<&'a str>,
    /// It may be carried out more than once: by its route, or by the word of a trusted server.
    pub repeatable: bool,
    /// Which call of the upstream this is about, from 1; 0 where that says nothing.
    pub attempt: u32,
    /// The exchange that this request is another attempt at, taken from the dead letters.
    pub redrives: Option<RelayId>,
    pub sequence: u32,
    /// The epoch of the partition's owner that wrote the record; of a request: that accepted it and called at once.
    pub epoch: Option<i64>,
    /// Hashes of an idempotency key, with all that it holds for, and of what was asked with it.
    pub idempotency: Option<(&'a str, &'a str)>,
    /// The exchange whose answer this one was given.
    pub replay_of: Option<RelayId>,
    /// The value is several messages, a line each (`content-type` is `application/jsonl`).
    pub lines: bool,
    /// For [`Kind::Terminal`] and [`Kind::Refusal`].
    pub end: Option<End>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub state: State,
    pub reason: Reason,
    /// From admission to the last byte known.
    pub duration: Duration,
    pub request_bytes: u64,
    pub answer_bytes: u64,
}

/// A record about to be written.
#[derive(Debug)]
pub struct Draft {
    pub headers: OwnedHeaders,
}

impl Draft {
    pub fn new(fields: &Fields<'_>) -> Self {
        let time = humantime::format_rfc3339_micros(fields.time).to_string();
        let id = fields.id.to_string();
        let mut headers = Writer(OwnedHeaders::new_with_capacity(24));
        // What readers decide by comes first: see [`is_direct_request`].
        headers.put("kamf_kind", fields.kind.as_str());
        headers.put("kamf_mode", fields.mode.as_str());
        headers.put("kamf_v", VERSION);
        headers.put("ce_specversion", "1.0");
        headers.put("ce_id", &id);
        headers.put("ce_source", fields.agent);
        headers.put("ce_type", fields.kind.ce_type());
        headers.put("ce_time", &time);
        headers.put("content-type", if fields.lines { "application/jsonl" } else { "application/json" });
        headers.put("traceparent", fields.traceparent);
        headers.put("kamf_principal", fields.principal);
        headers.put("kamf_tenant", fields.tenant);
        headers.put("kamf_agent", fields.agent);
        headers.put("kamf_protocol", fields.dialect.protocol().as_str());
        headers.put("kamf_version", fields.dialect.version());
        headers.put("kamf_method", fields.method);
        headers.put_some("kamf_tool", fields.tool);
        headers.put_some("kamf_parent_span", fields.parent_span);
        headers.put_some("kamf_key", fields.key);
        headers.put_some("kamf_policies", fields.policies);
        if let Some(deadline) = fields.deadline {
            headers.put("kamf_deadline", &millis(deadline).to_string());
        }
        if fields.repeatable {
            headers.put("kamf_repeatable", "true");
        }
        if fields.attempt > 0 {
            headers.put("kamf_attempt", &fields.attempt.to_string());
        }
        if let Some(old) = fields.redrives {
            headers.put("kamf_redrives", &old.to_string());
        }
        if fields.sequence > 0 {
            headers.put("kamf_sequence", &fields.sequence.to_string());
        }
        if let Some(epoch) = fields.epoch {
            headers.put("kamf_epoch", &epoch.to_string());
        }
        if let Some((key, body)) = fields.idempotency {
            headers.put("kamf_idempotency_key", key);
            headers.put("kamf_idempotency_body", body);
        }
        if let Some(first) = fields.replay_of {
            headers.put("kamf_replay_of", &first.to_string());
        }
        if let Some(end) = fields.end {
            headers.put("kamf_state", end.state.as_str());
            headers.put("kamf_reason", end.reason.label());
            headers.put("kamf_duration_us", &end.duration.as_micros().to_string());
            headers.put("kamf_request_bytes", &end.request_bytes.to_string());
            headers.put("kamf_answer_bytes", &end.answer_bytes.to_string());
        }
        Self { headers: headers.0 }
    }
}

impl Draft {
    /// The record by which a replica takes a partition over at `time`; its offset becomes the epoch.
    pub(super) fn epoch(id: RelayId, time: SystemTime) -> Self {
        let mut headers = Writer(OwnedHeaders::new_with_capacity(8));
        headers.put("kamf_kind", Kind::Epoch.as_str());
        headers.put("kamf_v", VERSION);
        headers.put("ce_specversion", "1.0");
        headers.put("ce_id", &id.to_string());
        headers.put("ce_source", "kamf");
        headers.put("ce_type", Kind::Epoch.ce_type());
        headers.put("ce_time", &humantime::format_rfc3339_micros(time).to_string());
        Self { headers: headers.0 }
    }
}

/// Whether `message` is an epoch record, told by its first headers. Half of one is none: it would take a partition from
/// its owner and give it to nobody.
pub(super) fn is_epoch<M: Message>(message: &M) -> bool {
    let Some(headers) = message.headers().filter(|headers| headers.count() > 3) else { return false };
    let value = |at: usize, key: &str| Some(headers.get(at)).filter(|header| header.key == key)?.value;
    let id = || std::str::from_utf8(value(3, "ce_id")?).ok().and_then(RelayId::parse);
    value(0, "kamf_kind") == Some(Kind::Epoch.as_str().as_bytes())
        && value(1, "kamf_v") == Some(VERSION.as_bytes())
        && id().is_some()
}

struct Writer(OwnedHeaders);

impl Writer {
    fn put(&mut self, key: &str, value: &str) {
        let headers = std::mem::replace(&mut self.0, OwnedHeaders::new_with_capacity(0));
        self.0 = headers.insert(Header { key, value: Some(value.as_bytes()) });
    }

    fn put_some(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }
}

/// A record read from the log.
#[derive(Clone, Copy, Debug)]
pub struct View<'m> {
    pub fields: Fields<'m>,
    pub body: &'m [u8],
    pub partition: i32,
    pub offset: i64,
}

/// Why a record cannot be read. Such a record is counted and passed over, never fatal.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("the record has no header `{0}`")]
    Missing(&'static str),
    #[error("header `{0}` has a value that this version does not know")]
    Unknown(&'static str),
}

impl<'m> View<'m> {
    /// Reads headers and body of `message` in place.
    pub fn decode<M: Message>(message: &'m M) -> Result<Self, DecodeError> {
        let mut raw = Raw::default();
        if let Some(headers) = message.headers() {
            for header in headers.iter() {
                raw.take(header.key, header.value.unwrap_or_default());
            }
        }
        Ok(Self {
            fields: raw.finish()?,
            body: message.payload().unwrap_or_default(),
            partition: message.partition(),
            offset: message.offset(),
        })
    }
}

/// Whether `message` is the request of a direct exchange, told by its first two headers.
pub fn is_direct_request<M: Message>(message: &M) -> bool {
    let Some(headers) = message.headers().filter(|headers| headers.count() > 1) else { return false };
    let is = |at: usize, key: &str, value: &str| {
        let header = headers.get(at);
        header.key == key && header.value == Some(value.as_bytes())
    };
    is(0, "kamf_kind", Kind::Request.as_str()) && is(1, "kamf_mode", Mode::Direct.as_str())
}

#[derive(Default)]
struct Raw<'m> {
    kind: Option<Kind>,
    id: &'m str,
    time: &'m str,
    traceparent: &'m str,
    parent_span: Option<&'m str>,
    principal: &'m str,
    tenant: &'m str,
    agent: &'m str,
    protocol: &'m str,
    version: &'m str,
    method: &'m str,
    tool: Option<&'m str>,
    mode: &'m str,
    key: Option<&'m str>,
    deadline: Option<u64>,
    policies: Option<&'m str>,
    repeatable: bool,
    attempt: u32,
    redrives: Option<RelayId>,
    sequence: u32,
    epoch: Option<i64>,
    idempotency_key: Option<&'m str>,
    idempotency_body: &'m str,
    replay_of: Option<RelayId>,
    lines: bool,
    state: Option<State>,
    reason: Option<Reason>,
    duration_us: u64,
    request_bytes: u64,
    answer_bytes: u64,
}

impl<'m> Raw<'m> {
    fn take(&mut self, key: &str, value: &'m [u8]) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match key {
            "kamf_kind" => self.kind = Kind::parse(value),
            "ce_id" => self.id = text,
            "ce_time" => self.time = text,
            "traceparent" => self.traceparent = text,
            "kamf_parent_span" => self.parent_span = Some(text),
            "kamf_principal" => self.principal = text,
            "kamf_tenant" => self.tenant = text,
            "kamf_agent" => self.agent = text,
            "kamf_protocol" => self.protocol = text,
            "kamf_version" => self.version = text,
            "kamf_method" => self.method = text,
            "kamf_tool" => self.tool = Some(text),
            "kamf_mode" => self.mode = text,
            "kamf_key" => self.key = Some(text),
            "kamf_deadline" => self.deadline = text.parse().ok(),
            "kamf_policies" => self.policies = Some(text),
            "kamf_repeatable" => self.repeatable = value == b"true",
            "kamf_attempt" => self.attempt = text.parse().unwrap_or_default(),
            "kamf_redrives" => self.redrives = RelayId::parse(text),
            "kamf_sequence" => self.sequence = text.parse().unwrap_or_default(),
            "kamf_epoch" => self.epoch = text.parse().ok(),
            "kamf_idempotency_key" => self.idempotency_key = Some(text),
            "kamf_idempotency_body" => self.idempotency_body = text,
            "kamf_replay_of" => self.replay_of = RelayId::parse(text),
            "content-type" => self.lines = value == b"application/jsonl",
            "kamf_state" => self.state = State::parse(text),
            "kamf_reason" => self.reason = Reason::parse(text),
            "kamf_duration_us" => self.duration_us = text.parse().unwrap_or_default(),
            "kamf_request_bytes" => self.request_bytes = text.parse().unwrap_or_default(),
            "kamf_answer_bytes" => self.answer_bytes = text.parse().unwrap_or_default(),
            _ => {}
        }
    }

    fn finish(self) -> Result<Fields<'m>, DecodeError> {
        let kind = self.kind.ok_or(DecodeError::Missing("kamf_kind"))?;
        let end = match (self.state, self.reason) {
            (Some(state), Some(reason)) => Some(End {
                state,
                reason,
                duration: Duration::from_micros(self.duration_us),
                request_bytes: self.request_bytes,
                answer_bytes: self.answer_bytes,
            }),
            _ if matches!(kind, Kind::Terminal | Kind::Refusal) => {
                return Err(DecodeError::Missing("kamf_state"));
            }
            _ => None,
        };
        Ok(Fields {
            kind,
            id: RelayId::parse(self.id).ok_or(DecodeError::Missing("ce_id"))?,
            time: humantime::parse_rfc3339(self.time).map_err(|_| DecodeError::Missing("ce_time"))?,
            traceparent: self.traceparent,
            parent_span: self.parent_span,
            principal: self.principal,
            tenant: self.tenant,
            agent: self.agent,
            dialect: Dialect::from_names(self.protocol, self.version)
                .ok_or(DecodeError::Unknown("kamf_version"))?,
            method: self.method,
            tool: self.tool,
            // A mode that a later version knows is none that may be repeated here.
            mode: Mode::parse(self.mode).unwrap_or(Mode::Journal),
            key: self.key,
            deadline: self.deadline.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms)),
            policies: self.policies,
            repeatable: self.repeatable,
            attempt: self.attempt,
            redrives: self.redrives,
            sequence: self.sequence,
            epoch: self.epoch,
            idempotency: self.idempotency_key.map(|key| (key, self.idempotency_body)),
            replay_of: self.replay_of,
            lines: self.lines,
            end,
        })
    }
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn fields() -> Fields<'static> {
        Fields {
            kind: Kind::Terminal,
            id: RelayId::generate(),
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            parent_span: Some("00f067aa0ba902b7"),
            principal: "analyst",
            tenant: "demo",
            agent: "ledger",
            dialect: Dialect::McpModern,
            method: "tools/call",
            tool: Some("holdings"),
            mode: Mode::Relay,
            key: Some("session"),
            deadline: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_060_123)),
            policies: Some("readers"),
            repeatable: true,
            attempt: 2,
            redrives: Some(RelayId::generate()),
            sequence: 3,
            epoch: Some(41),
            idempotency: Some(("k", "b")),
            replay_of: Some(RelayId::generate()),
            lines: false,
            end: Some(End {
                state: State::Completed,
                reason: Reason::Completed,
                duration: Duration::from_micros(1234),
                request_bytes: 10,
                answer_bytes: 20,
            }),
        }
    }

    fn message(headers: OwnedHeaders) -> OwnedMessage {
        OwnedMessage::new(
            Some(b"{}".to_vec()),
            None,
            "t".into(),
            Timestamp::NotAvailable,
            2,
            7,
            Some(headers),
        )
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let fields = fields();
        let message = message(Draft::new(&fields).headers);
        let view = View::decode(&message).unwrap();
        assert_eq!(format!("{:?}", view.fields), format!("{fields:?}"));
        assert_eq!((view.body, view.partition, view.offset), (&b"{}"[..], 2, 7));
    }

    #[test]
    fn a_foreign_record_is_an_error_and_no_panic() {
        let message = message(OwnedHeaders::new().insert(Header { key: "ce_id", value: Some("x") }));
        assert_eq!(View::decode(&message).unwrap_err(), DecodeError::Missing("kamf_kind"));
    }
}
