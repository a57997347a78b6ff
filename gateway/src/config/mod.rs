//! The configuration in force: one YAML file, checked into these types before anything starts.
//!
//! [`load`] reports every mistake at once, each with line and column. Everything below is plain data:
//! a stage takes the section that is its own and never the whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::message::{Mode, Name};

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub public: Public,
    pub admin: Admin,
    pub log: Log,
    pub identity: Identity,
    /// Folder of `*.cedar` files. Without one everything that is authenticated is permitted.
    pub policies: Option<PathBuf>,
    /// A2A agents by name; `/a2a/{name}`.
    pub agents: BTreeMap<Name, Agent>,
    /// MCP servers by name, in the order of their names; `/mcp/{name}`.
    pub servers: BTreeMap<Name, Server>,
    pub mcp: Mcp,
    pub delivery: Delivery,
    pub limits: Limits,
    pub prices: Prices,
    pub telemetry: Telemetry,
    /// Printed when the gateway serves; `{public}` and `{admin}` stand for the two base URLs.
    pub welcome: Option<String>,
}

/// The listener that agents and clients use.
#[derive(Clone, Debug)]
pub struct Public {
    pub listen: SocketAddr,
    /// The base URL that clients use, without a trailing slash; `http(s)://<listen>` unless set. Cards carry it.
    pub url: Option<String>,
    pub tls: Option<Tls>,
    /// Hosts (without port) that a request may name besides the listener's own and loopback names.
    pub hosts: Vec<String>,
    /// Browser origins that may call; none by default.
    pub origins: Vec<String>,
}

/// Certificate chain and key, PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The second listener: metrics, health, API.
#[derive(Clone, Debug)]
pub struct Admin {
    pub listen: SocketAddr,
}

/// Where the log is: embedded, or a Kafka cluster.
#[derive(Clone, Debug)]
pub struct Log {
    /// Data directory of the embedded log; used when `brokers` is empty.
    pub directory: PathBuf,
    /// Address of the embedded log; port 0 lets the kernel pick.
    pub listen: SocketAddr,
    /// `host:port` of a Kafka cluster.
    pub brokers: Vec<String>,
    /// Prefix of all topics, `kamf` unless set.
    pub prefix: String,
    /// Partitions of topics that the gateway creates.
    pub partitions: i32,
    /// Replication factor of topics that the gateway creates on a cluster.
    pub replication: i32,
    /// Further librdkafka properties (security.protocol, sasl.*, ssl.*), secrets resolved.
    pub properties: BTreeMap<String, Secret>,
    /// How long a client waits for an acknowledgement of the log before it is told 503.
    pub acknowledge: Duration,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself; for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Who may call.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub keys: Vec<ApiKey>,
    pub jwt: Vec<JwtIssuer>,
    /// The caller that a request without any credential is; none unless configured.
    pub anonymous: Option<Anonymous>,
}

/// One API key, by its hash: `sha256:` and 64 hex digits.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub name: String,
    pub tenant: String,
    pub groups: Vec<String>,
    pub sha256: [u8; 32],
}

/// One issuer of JWT access tokens (RFC 9068), with a static JWKS file.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    pub issuer: String,
    pub audience: String,
    pub jwks: PathBuf,
    /// Claim that names the tenant; the issuer's `tenant` when the claim is absent.
    pub tenant_claim: Option<String>,
    pub tenant: String,
    /// Claim that lists the groups.
    pub groups_claim: Option<String>,
}

/// The caller without a credential.
#[derive(Clone, Debug)]
pub struct Anonymous {
    pub name: String,
    pub tenant: String,
    pub groups: Vec<String>,
}

/// An A2A agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its JSON-RPC endpoint.
    pub url: String,
    /// Its card; `<url>/.well-known/agent-card.json`, then the origin's, unless set.
    pub card: Option<String>,
    /// Sent to the agent as `Authorization`.
    pub authorization: Option<Secret>,
    /// A process that the gateway starts and keeps running, when the agent is a local program.
    pub process: Option<Process>,
    pub timeouts: Timeouts,
}

/// A child process: never from a request, no shell, a clean environment plus `env`.
#[derive(Clone, Debug)]
pub struct Process {
    /// `kamf` means the running executable itself.
    pub command: String,
    pub args: Vec<String>,
    pub env: BTreeMap<String, Secret>,
    pub cwd: Option<PathBuf>,
}

/// An MCP server.
#[derive(Clone, Debug)]
pub struct Server {
    pub transport: Transport,
    pub timeouts: Timeouts,
}

/// How an MCP server is reached.
#[derive(Clone, Debug)]
pub enum Transport {
    Stdio(Process),
    /// Streamable HTTP.
    Http {
        url: String,
        headers: BTreeMap<String, Secret>,
    },
}

/// Time limits of calls to one upstream.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub connect: Duration,
    pub first_byte: Duration,
    /// A whole unary call; the deadline of its exchange.
    pub total: Duration,
    /// Silence on a stream.
    pub silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(30),
            total: Duration::from_secs(60),
            silence: Duration::from_secs(300),
        }
    }
}

/// How the servers appear together under `/mcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mcp {
    pub prefix: Prefix,
}

/// When a tool's name is `<server>__<tool>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    Always,
    /// With more than one server.
    Conditional,
    /// Bare names; a name that two servers have is left out and reported.
    Never,
}

/// How exchanges are kept.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For A2A sends and MCP tool calls. Everything else that goes upstream is `direct`.
    pub default: Mode,
    /// By agent or server name.
    pub routes: BTreeMap<String, Mode>,
}

/// What the gateway bounds. Defaults and reasons: `limits.rs`.
#[derive(Clone, Debug)]
pub struct Limits {
    pub first_byte: Duration,
    pub header: Duration,
    pub tls_handshake: Duration,
    pub body_idle: Duration,
    pub body_total: Duration,
    pub head_bytes: usize,
    pub header_count: usize,
    pub target_bytes: usize,
    pub body_bytes: usize,
    pub json_depth: usize,
    pub id_bytes: usize,
    pub method_bytes: usize,
    pub tool_name_bytes: usize,
    pub http2_streams: u32,
    pub connections: usize,
    pub connections_per_address: usize,
    pub streams_per_caller: usize,
    pub in_flight: usize,
    pub answer_bytes: usize,
    pub event_bytes: usize,
    pub events_per_stream: usize,
    pub sse_keep_alive: Duration,
    pub queue_records: usize,
    pub queue_bytes: usize,
    pub schema_bytes: usize,
    pub schema_depth: usize,
    pub schema_count: usize,
    pub schema_refs: usize,
    pub validation: Duration,
    pub drain: Duration,
    pub sessions: usize,
    pub session_idle: Duration,
    /// Token bucket per caller and agent.
    pub rate: Rate,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(10),
            header: Duration::from_secs(10),
            tls_handshake: Duration::from_secs(10),
            body_idle: Duration::from_secs(10),
            body_total: Duration::from_secs(30),
            head_bytes: 64 * 1024,
            header_count: 100,
            target_bytes: 8 * 1024,
            body_bytes: 1024 * 1024,
            json_depth: 64,
            id_bytes: 256,
            method_bytes: 128,
            tool_name_bytes: 128,
            http2_streams: 100,
            connections: 15_000,
            connections_per_address: 500,
            streams_per_caller: 100,
            in_flight: 10_000,
            answer_bytes: 8 * 1024 * 1024,
            event_bytes: 1024 * 1024,
            events_per_stream: 100_000,
            sse_keep_alive: Duration::from_secs(15),
            queue_records: 10_000,
            queue_bytes: 64 * 1024 * 1024,
            schema_bytes: 256 * 1024,
            schema_depth: 32,
            schema_count: 2_000,
            schema_refs: 500,
            validation: Duration::from_millis(20),
            drain: Duration::from_secs(25),
            sessions: 10_000,
            session_idle: Duration::from_secs(3600),
            rate: Rate { per_second: 100, burst: 200 },
        }
    }
}

/// What tokens and calls cost. Money is integers of a millionth of `currency`.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    pub currency: String,
    /// By model name as the answer reports it.
    pub models: BTreeMap<String, ModelPrice>,
    /// Fixed price of a call where no usage is reported, by agent or server name; marked as estimated.
    pub calls: BTreeMap<String, u64>,
}

/// Millionths of the currency for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelPrice {
    pub input_per_million: u64,
    pub output_per_million: u64,
}

/// Logs of the gateway itself.
#[derive(Clone, Debug)]
pub struct Telemetry {
    pub json: bool,
    /// A `tracing` filter, `info` unless set.
    pub filter: String,
}
