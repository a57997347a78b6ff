//! What can become of a message: the closed list, and the one table that says how each reads on the
//! wire. `Reason` is what happened; `Reason::row` gives its label, its JSON-RPC code in each dialect,
//! its HTTP status, and the state that its terminal record carries.

use crate::message::Dialect;

/// The last state of an exchange, as its terminal record says it (`kamf_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Completed,
    Failed,
    Cancelled,
    Refused,
    Expired,
    Unknown,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Completed, Self::Failed, Self::Cancelled, Self::Refused, Self::Expired, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

macro_rules! reasons {
    ($($variant:ident $label:literal $state:ident $http:literal $a2a:literal $legacy:literal $modern:literal $doc:literal;)*) => {
        /// Why a message ended as it did. Each message ends in exactly one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $doc] $variant,)* }

        impl Reason {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// How this reason reads in records, on the wire and in metrics.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        label: $label, state: State::$state, http: $http, a2a: $a2a, mcp_legacy: $legacy, mcp_modern: $modern,
                    },)*
                }
            }
        }
    };
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `kamf_reason` in records and `reason` in metrics.
    pub label: &'static str,
    pub state: State,
    /// HTTP status of an answer that is not an ordinary JSON-RPC error. A2A and legacy MCP carry
    /// JSON-RPC level errors (200 here) with status 200; see [`Reason::http_status`] for modern MCP.
    pub http: u16,
    pub a2a: i32,
    pub mcp_legacy: i32,
    pub mcp_modern: i32,
}

reasons! {
    // variant           label                  state     http  a2a     legacy  modern
    Completed            "completed"            Completed 200   0       0       0      "The upstream answered with a result.";
    UpstreamError        "upstream_error"       Failed    200   0       0       0      "The upstream answered with an error of its own, passed on as it came.";
    BadHttp              "bad_http"             Refused   400   -32600  -32600  -32600 "A malformed or contradictory header, or a path that cannot be read.";
    PathNotFound         "path_not_found"       Refused   404   -32600  -32600  -32600 "No such path on this listener.";
    MethodNotAllowed     "method_not_allowed"   Refused   405   -32600  -32600  -32600 "The path knows another HTTP method.";
    NotAcceptable        "not_acceptable"       Refused   406   -32600  -32600  -32600 "The client takes neither JSON nor an event stream.";
    BodyTimeout          "body_timeout"         Refused   408   -32600  -32600  -32600 "The body did not arrive in time.";
    BodyTooLarge         "body_too_large"       Refused   413   -32600  -32600  -32600 "The body is over the configured limit.";
    UnsupportedMedia     "unsupported_media"    Refused   415   -32600  -32600  -32600 "The content type is not JSON.";
    HostRefused          "host_refused"         Refused   421   -32600  -32600  -32600 "The Host names another place than this listener.";
    OriginRefused        "origin_refused"       Refused   403   -32600  -32600  -32600 "A browser origin that is not allowed.";
    HeadTooLarge         "head_too_large"       Refused   431   -32600  -32600  -32600 "Head, header count or request target over the limit.";
    ParseError           "parse_error"          Refused   200   -32700  -32700  -32700 "Not one strict JSON document.";
    InvalidRequest       "invalid_request"      Refused   200   -32600  -32600  -32600 "JSON, but no JSON-RPC 2.0 message that is taken here.";
    UnknownMethod        "unknown_method"       Refused   200   -32601  -32601  -32601 "A method that this version does not know or the gateway does not serve.";
    Unsupported          "unsupported"          Refused   200   -32004  -32601  -32601 "A known operation that the gateway or the agent does not offer.";
    PushUnsupported      "push_unsupported"     Refused   200   -32003  -32601  -32601 "Push notifications, which the gateway does not offer.";
    UnsupportedVersion   "unsupported_version"  Refused   200   -32009  -32602  -32022 "A protocol version that is not spoken here.";
    HeaderMismatch       "header_mismatch"      Refused   400   -32600  -32600  -32020 "A header that contradicts the body.";
    InvalidParams        "invalid_params"       Refused   200   -32602  -32602  -32602 "Parameters that break the method's schema.";
    InvalidArguments     "invalid_arguments"    Refused   200   -32602  -32602  -32602 "Tool arguments that break the tool's inputSchema.";
    UnknownAgent         "unknown_agent"        Refused   404   -32004  -32602  -32602 "No such agent or MCP server, or none that the caller may see.";
    UnknownTool          "unknown_tool"         Refused   200   -32004  -32602  -32602 "No such tool, or none that the caller may see.";
    UnknownTask          "unknown_task"         Refused   200   -32001  -32602  -32602 "No such task or context, or one of another caller.";
    UnknownPosition      "unknown_position"     Refused   400   -32600  -32600  -32600 "A Last-Event-ID that was not made for this caller and place, or that the log does not reach back to.";
    UnknownSession       "unknown_session"      Refused   404   -32600  -32001  -32600 "A session that never was, has ended, or belongs to someone else.";
    Unauthenticated      "unauthenticated"      Refused   401   -31401  -31401  -31401 "No credential, or none that holds.";
    Forbidden            "forbidden"            Refused   403   -31403  -31403  -31403 "Policy denies it.";
    KeyReused            "key_reused"           Refused   422   -31422  -31422  -31422 "The idempotency key was used before, with something else to ask for.";
    RateLimited          "rate_limited"         Refused   429   -31429  -31429  -31429 "Over the caller's rate for this agent.";
    Overloaded           "overloaded"           Refused   503   -31503  -31503  -31503 "The gateway holds as much as it may.";
    ShuttingDown         "shutting_down"        Refused   503   -31503  -31503  -31503 "The gateway is draining.";
    LogUnavailable       "log_unavailable"      Refused   503   -31503  -31503  -31503 "The log did not acknowledge in time.";
    LogUnconfirmed       "log_unconfirmed"      Unknown   503   -31503  -31503  -31503 "The log did not confirm the request in time; it may still be carried out.";
    UpstreamUnreachable  "upstream_unreachable" Failed    502   -31502  -31502  -31502 "The upstream could not be reached; nothing was done.";
    UpstreamBroken       "upstream_broken"      Unknown   502   -31502  -31502  -31502 "The upstream went away in the middle; it may have acted.";
    UpstreamInvalid      "upstream_invalid"     Failed    502   -32006  -31502  -31502 "The upstream answered something that is no valid answer.";
    UpstreamTimeout      "upstream_timeout"     Expired   504   -31504  -31504  -31504 "The deadline passed; the upstream may have acted.";
    Expired              "expired"              Expired   504   -31504  -31504  -31504 "The deadline passed before the upstream could be called; nothing was done.";
    Lost                 "lost"                 Unknown   502   -31502  -31502  -31502 "The gateway stopped during the call; the upstream may have acted.";
    Cancelled            "cancelled"            Cancelled 200   -32603  -32603  -32603 "The client cancelled it.";
    ClientGone           "client_gone"          Cancelled 503   -31503  -31503  -31503 "The client went away before there was an answer.";
    Dropped              "dropped"              Failed    503   -31503  -31503  -31503 "Given up without an outcome: a fault of the gateway, counted as such.";
}

impl Reason {
    pub fn label(self) -> &'static str {
        self.row().label
    }

    pub fn state(self) -> State {
        self.row().state
    }

    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.label() == label)
    }

    /// The JSON-RPC error code in `dialect`. Codes of our own lie outside the range that JSON-RPC reserves.
    pub fn rpc_code(self, dialect: Dialect) -> i32 {
        let row = self.row();
        match dialect {
            Dialect::A2aV03 | Dialect::A2aV10 => row.a2a,
            Dialect::McpLegacy => row.mcp_legacy,
            Dialect::McpModern => row.mcp_modern,
        }
    }

    /// The HTTP status in `dialect`: modern MCP gives 400 and 404 to the errors for which the others use 200
    /// (2026-07-28, streamable HTTP); legacy MCP answers a wrong version header with 400, and whatever comes of a
    /// call that it understood with 200.
    pub fn http_status(self, dialect: Dialect) -> u16 {
        let row = self.row();
        match (dialect, self) {
            (Dialect::McpModern, Self::UnknownMethod | Self::Unsupported) => 404,
            (
                Dialect::McpModern | Dialect::McpLegacy,
                Self::ParseError | Self::InvalidRequest | Self::UnsupportedVersion,
            )
            | (Dialect::McpModern, Self::InvalidParams) => 400,
            (Dialect::McpModern | Dialect::McpLegacy, Self::UnknownAgent) => 404,
            // What becomes of one call must not end the session: clients made with mcp 1.x give up all of it, calls
            // under way included, on any other status than 200 and 404.
            (
                Dialect::McpLegacy,
                Self::Forbidden
                | Self::KeyReused
                | Self::RateLimited
                | Self::UpstreamUnreachable
                | Self::UpstreamBroken
                | Self::UpstreamInvalid
                | Self::UpstreamTimeout
                | Self::Expired
                | Self::Lost,
            ) => 200,
            _ => row.http,
        }
    }

    /// Whether the same request may succeed later without a change, and after how many seconds.
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Self::RateLimited | Self::Overloaded | Self::LogUnavailable | Self::LogUnconfirmed => Some(1),
            Self::ShuttingDown => Some(5),
            Self::UpstreamUnreachable => Some(2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn labels_are_unique_and_parse_back() {
        let labels: HashSet<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.label()), Some(*reason));
        }
    }

    #[test]
    fn server_errors_are_502_503_504_only() {
        for reason in Reason::ALL {
            for dialect in [Dialect::A2aV03, Dialect::A2aV10, Dialect::McpLegacy, Dialect::McpModern] {
                let status = reason.http_status(dialect);
                assert!(status < 500 || matches!(status, 502..=504), "{reason:?} gives {status}");
            }
        }
    }

    #[test]
    fn every_refusal_has_a_code_in_every_dialect() {
        for reason in
            Reason::ALL.iter().filter(|reason| !matches!(reason, Reason::Completed | Reason::UpstreamError))
        {
            for dialect in [Dialect::A2aV03, Dialect::A2aV10, Dialect::McpLegacy, Dialect::McpModern] {
                assert_ne!(reason.rpc_code(dialect), 0, "{reason:?} in {dialect:?}");
            }
        }
    }
}
