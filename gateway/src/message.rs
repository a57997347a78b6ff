//! The words that every stage shares: ids, dialects, operations. No behaviour beyond naming.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The gateway's own id of one exchange (UUID version 7, RFC 9562): `ce_id` of all its records and
/// the `kamf-relay-id` header of its answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId(Uuid);

impl RelayId {
    /// A new id; ids made later sort later (to the millisecond).
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which protocol an exchange speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    A2a,
    Mcp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A2a => "a2a",
            Self::Mcp => "mcp",
        }
    }
}

/// A protocol in one of the versions that the gateway speaks on both of its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// A2A 0.3, JSON-RPC binding.
    A2aV03,
    /// A2A 1.0, JSON-RPC binding.
    A2aV10,
    /// MCP 2025-11-25: opened by `initialize`.
    McpLegacy,
    /// MCP 2026-07-28: every request stands alone.
    McpModern,
}

impl Dialect {
    pub fn protocol(self) -> Protocol {
        match self {
            Self::A2aV03 | Self::A2aV10 => Protocol::A2a,
            Self::McpLegacy | Self::McpModern => Protocol::Mcp,
        }
    }

    /// The version as the protocol writes it.
    pub fn version(self) -> &'static str {
        match self {
            Self::A2aV03 => "0.3",
            Self::A2aV10 => "1.0",
            Self::McpLegacy => "2025-11-25",
            Self::McpModern => "2026-07-28",
        }
    }

    /// The dialect that record headers `kamf_protocol` and `kamf_version` name.
    pub fn from_names(protocol: &str, version: &str) -> Option<Self> {
        [Self::A2aV03, Self::A2aV10, Self::McpLegacy, Self::McpModern]
            .into_iter()
            .find(|dialect| dialect.protocol().as_str() == protocol && dialect.version() == version)
    }
}

/// What a caller asks for, whatever the dialect calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A2A `SendMessage`, `message/send`.
    Send,
    /// A2A `SendStreamingMessage`, `message/stream`.
    Stream,
    /// A2A `GetTask`, `tasks/get`.
    GetTask,
    /// A2A `CancelTask`, `tasks/cancel`.
    CancelTask,
    /// A2A `SubscribeToTask`, `tasks/resubscribe`.
    Subscribe,
    /// MCP `initialize` (legacy).
    Initialize,
    /// MCP `notifications/initialized` (legacy).
    Initialized,
    /// MCP `server/discover` (modern).
    Discover,
    /// MCP `ping` (legacy).
    Ping,
    /// MCP `tools/list`.
    ListTools,
    /// MCP `tools/call`.
    CallTool,
    /// MCP `notifications/cancelled`.
    Cancelled,
}

impl Operation {
    /// The name on the wire in `dialect`; also the value of `kamf_method` and of the `method` label.
    pub fn method(self, dialect: Dialect) -> &'static str {
        let old = dialect == Dialect::A2aV03;
        match self {
            Self::Send if old => "message/send",
            Self::Send => "SendMessage",
            Self::Stream if old => "message/stream",
            Self::Stream => "SendStreamingMessage",
            Self::GetTask if old => "tasks/get",
            Self::GetTask => "GetTask",
            Self::CancelTask if old => "tasks/cancel",
            Self::CancelTask => "CancelTask",
            Self::Subscribe if old => "tasks/resubscribe",
            Self::Subscribe => "SubscribeToTask",
            Self::Initialize => "initialize",
            Self::Initialized => "notifications/initialized",
            Self::Discover => "server/discover",
            Self::Ping => "ping",
            Self::ListTools => "tools/list",
            Self::CallTool => "tools/call",
            Self::Cancelled => "notifications/cancelled",
        }
    }

    /// The operation that `method` names in `dialect`.
    pub fn from_method(dialect: Dialect, method: &str) -> Option<Self> {
        let candidates: &[Self] = match dialect {
            Dialect::A2aV03 | Dialect::A2aV10 => {
                &[Self::Send, Self::Stream, Self::GetTask, Self::CancelTask, Self::Subscribe]
            }
            Dialect::McpLegacy => &[
                Self::CallTool,
                Self::ListTools,
                Self::Initialize,
                Self::Initialized,
                Self::Ping,
                Self::Cancelled,
            ],
            Dialect::McpModern => &[Self::CallTool, Self::ListTools, Self::Discover],
        };
        candidates.iter().copied().find(|operation| operation.method(dialect) == method)
    }

    /// Whether a successful answer is a stream of events in both dialects that know it.
    pub fn streams(self) -> bool {
        matches!(self, Self::Stream | Self::Subscribe)
    }
}

/// How an exchange is kept: see the delivery table in `ARCHITECTURE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// On the log before the upstream is called, and again before the client is answered.
    Relay,
    /// As `relay`, but tried once: without a `started` record, so what a crash cuts off ends as `unknown`.
    Journal,
    /// Recorded after the fact.
    Direct,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Relay, Self::Journal, Self::Direct];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Journal => "journal",
            Self::Direct => "direct",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// Place of one exchange in a W3C trace (Trace Context, level 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub trace_id: [u8; 16],
    /// The span of this exchange, made by the gateway.
    pub span_id: [u8; 8],
    /// The caller's span, when it sent one.
    pub parent: Option<[u8; 8]>,
    pub flags: u8,
}

impl Trace {
    /// Continues the trace that `traceparent` names, or starts one when there is none or it is malformed.
    pub fn continue_from(traceparent: Option<&str>) -> Self {
        let mut span_id = [0; 8];
        span_id.copy_from_slice(&Uuid::new_v4().as_bytes()[8..]);
        match traceparent.and_then(parse_traceparent) {
            Some((trace_id, parent, flags)) => Self { trace_id, span_id, parent: Some(parent), flags },
            None => Self { trace_id: *Uuid::new_v4().as_bytes(), span_id, parent: None, flags: 1 },
        }
    }

    /// The header value that continues the trace below this exchange.
    pub fn traceparent(&self) -> String {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        push_hex(&mut text, &self.trace_id);
        text.push('-');
        push_hex(&mut text, &self.span_id);
        text.push('-');
        push_hex(&mut text, &[self.flags]);
        text
    }

    /// The caller's span as hex, for `kamf_parent_span`.
    pub fn parent_hex(&self) -> Option<String> {
        self.parent.map(|parent| {
            let mut text = String::with_capacity(16);
            push_hex(&mut text, &parent);
            text
        })
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Trace id, parent span and flags of a well-formed version-00 header value.
pub fn parse_traceparent(text: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let bytes = text.as_bytes();
    if bytes.len() != 55 || !text.starts_with("00-") || bytes[35] != b'-' || bytes[52] != b'-' {
        return None;
    }
    let (mut trace_id, mut parent, mut flags) = ([0; 16], [0; 8], [0; 1]);
    read_hex(&bytes[3..35], &mut trace_id)?;
    read_hex(&bytes[36..52], &mut parent)?;
    read_hex(&bytes[53..55], &mut flags)?;
    (trace_id != [0; 16] && parent != [0; 8]).then_some((trace_id, parent, flags[0]))
}

fn read_hex(digits: &[u8], into: &mut [u8]) -> Option<()> {
    for (pair, byte) in digits.chunks_exact(2).zip(into) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// Name of an agent or MCP server, as the configuration writes it.
pub type Name = Arc<str>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_round_trips_and_keeps_the_trace() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = Trace::continue_from(Some(text));
        assert_eq!(&trace.traceparent()[..36], &text[..36]);
        assert_eq!(trace.parent_hex().as_deref(), Some("b7ad6b7169203331"));
    }

    #[test]
    fn malformed_traceparent_starts_a_new_trace() {
        for text in ["", "00-xyz", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            assert_eq!(Trace::continue_from(Some(text)).parent, None, "{text}");
        }
    }

    #[test]
    fn every_method_name_leads_back_to_its_operation() {
        for dialect in [Dialect::A2aV03, Dialect::A2aV10, Dialect::McpLegacy, Dialect::McpModern] {
            assert_eq!(Dialect::from_names(dialect.protocol().as_str(), dialect.version()), Some(dialect));
            for method in ["SendMessage", "message/send", "tools/call", "ping", "server/discover"] {
                if let Some(operation) = Operation::from_method(dialect, method) {
                    assert_eq!(operation.method(dialect), method);
                }
            }
        }
    }
}
