//! `agents`, `mcpServers` and `mcp`: what the gateway stands in front of.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Field, Group, suggestion};
use super::secret::Plain;
use super::value::Secret;
use crate::message::Name;

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
    /// The gateway's own working directory unless set.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Members of `mcpServers` that hosts write for themselves and that change nothing here.
const HOST_ONLY: &[&str] = &["autoApprove", "alwaysAllow", "timeout", "description", "note"];

/// Headers that carry credentials, so that their values come by reference.
const CREDENTIAL_HEADERS: &[&str] =
    &["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"];

/// Names of the spelling of a transport, and whether it is HTTP.
const TRANSPORTS: &[(&str, bool)] =
    &[("stdio", false), ("http", true), ("streamable-http", true), ("streamable_http", true)];

pub(super) fn read_agents(field: &Field<'_>) -> BTreeMap<Name, Agent> {
    let named = field.entries().into_iter().filter(|(name, _, agent)| agent.name_is_fit(name));
    named.filter_map(|(name, _, agent)| Some((Name::from(name), agent.group(read_agent)?))).collect()
}

/// The servers that are not `disabled`, and the names of all.
pub(super) fn read_servers(field: &Field<'_>) -> (BTreeMap<Name, Server>, Vec<String>) {
    let (mut servers, mut names) = (BTreeMap::new(), Vec::new());
    for (name, _, server) in field.entries() {
        names.push(name.to_owned());
        if is_disabled(&server) || !server.name_is_fit(name) {
            continue;
        }
        if let Some(transport) = server.group(read_transport) {
            servers.insert(Name::from(name), Server { transport, timeouts: Timeouts::default() });
        }
    }
    (servers, names)
}

/// Reads `mcp`, and sets the timeouts that it has for servers; `names` are the servers that may be named.
pub(super) fn read_mcp(group: &mut Group<'_>, servers: &mut BTreeMap<Name, Server>, names: &[String]) -> Mcp {
    const PREFIXES: &[(&str, Prefix)] =
        &[("always", Prefix::Always), ("conditional", Prefix::Conditional), ("never", Prefix::Never)];
    let mut mcp = Mcp { prefix: Prefix::Always };
    group.set("prefix", &mut mcp.prefix, |field| field.choice(PREFIXES));
    for (name, _, field) in group.get("timeouts").iter().flat_map(Field::entries) {
        let timeouts = field.group(read_timeouts);
        match servers.get_mut(name) {
            Some(server) => server.timeouts = timeouts,
            None if names.iter().any(|known| known == name) => {}
            None => refuse_unknown_upstream(&field, name, names.iter().map(String::as_str)),
        }
    }
    mcp
}

/// Notes that `name` is no agent or server.
pub(super) fn refuse_unknown_upstream<'n>(
    field: &Field<'_>,
    name: &str,
    known: impl Iterator<Item = &'n str>,
) {
    let known: Vec<_> = known.collect();
    field.refuse(format!("no upstream is called `{name}`{}", suggestion(name, &known)));
}

fn is_disabled(server: &Field<'_>) -> bool {
    let disabled = |(key, _, field): (&str, _, Field<'_>)| key == "disabled" && field.flag() == Some(true);
    server.is_map() && server.entries().into_iter().any(disabled)
}

fn read_agent(group: &mut Group<'_>) -> Option<Agent> {
    let url = group.require("url").and_then(|field| field.url());
    let card = group.get("card").and_then(|field| field.url());
    let authorization = group.get("authorization").and_then(|field| field.secret(Plain::Refused));
    let process = group.get("process").and_then(|field| field.group(read_process));
    let timeouts = group.get("timeouts").map(|field| field.group(read_timeouts)).unwrap_or_default();
    Some(Agent { url: url?, card, authorization, process, timeouts })
}

fn read_transport(group: &mut Group<'_>) -> Option<Transport> {
    group.ignore(HOST_ONLY);
    group.ignore(&["disabled"]);
    let said: Vec<_> = ["type", "transport"].into_iter().filter_map(|name| group.get(name)).collect();
    let said: Vec<bool> = said.iter().filter_map(|field| field.choice(TRANSPORTS)).collect();
    let (command, url) = (group.get("command").is_some(), group.get("url").is_some());
    let http = said.first().copied().unwrap_or(url);
    if said.iter().any(|other| *other != http) || (command && url) || (if http { command } else { url }) {
        group.field.refuse("either `command` (stdio) or `url` (http), and a `type` that agrees");
        group.ignore(&["args", "env", "cwd", "headers"]);
        return None;
    }
    if http { read_http(group) } else { read_process(group).map(Transport::Stdio) }
}

fn read_http(group: &mut Group<'_>) -> Option<Transport> {
    let url = group.require("url").and_then(|field| field.url());
    let mut headers = BTreeMap::new();
    group.set("headers", &mut headers, |field| Some(read_headers(field)));
    Some(Transport::Http { url: url?, headers })
}

fn read_headers(field: &Field<'_>) -> BTreeMap<String, Secret> {
    for (name, place, header) in field.entries() {
        if hyper::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
            field.reader.refuse(place, &header.name, "no header name");
        }
    }
    let headers = field.secrets(|name| {
        let credential = CREDENTIAL_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header));
        if credential { Plain::Refused } else { Plain::Allowed }
    });
    for (name, value) in &headers {
        if hyper::header::HeaderValue::from_str(value.expose()).is_err() {
            field.refuse(format!(
                "the value of `{name}` cannot stand in a header: it has a control character"
            ));
        }
    }
    headers
}

fn read_process(group: &mut Group<'_>) -> Option<Process> {
    let command = group.require("command").and_then(|field| field.word());
    let (mut args, mut env, mut cwd) = (Vec::new(), BTreeMap::new(), None);
    group.set("args", &mut args, |field| Some(field.items().iter().filter_map(Field::string).collect()));
    group.set("env", &mut env, |field| Some(field.secrets(|_| Plain::Allowed)));
    group.set("cwd", &mut cwd, |field| field.path().map(Some));
    Some(Process { command: command?, args, env, cwd })
}

fn read_timeouts(group: &mut Group<'_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    group.set("connect", &mut timeouts.connect, Field::duration);
    group.set("first_byte", &mut timeouts.first_byte, Field::duration);
    group.set("total", &mut timeouts.total, Field::duration);
    group.set("silence", &mut timeouts.silence, Field::duration);
    timeouts
}
