//! Real processes and real sockets: every fault that an upstream can show, and what becomes of the call.

mod a2a;
mod fixture;
mod http_server;
mod mcp_http;
mod stdio;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::*;
use crate::config::{self, Limits, Timeouts, Transport};
use crate::message::{Dialect, Name, Operation, RelayId};

const EVENTS_MAX: usize = 1_000;
const WAIT: Duration = Duration::from_secs(20);

/// A configuration with nothing but upstreams.
fn config(agents: Vec<(&str, config::Agent)>, servers: Vec<(&str, config::Server)>) -> config::Config {
    let loopback = "127.0.0.1:0".parse().unwrap();
    config::Config {
        public: config::Public { listen: loopback, url: None, tls: None, hosts: vec![], origins: vec![] },
        admin: config::Admin { listen: loopback },
        log: config::Log {
            directory: PathBuf::new(),
            listen: loopback,
            brokers: vec![],
            prefix: "kamf".into(),
            partitions: 1,
            replication: 1,
            properties: BTreeMap::new(),
            acknowledge: Duration::from_secs(5),
            task_retention: Duration::from_secs(3600),
        },
        identity: config::Identity::default(),
        policies: None,
        agents: agents.into_iter().map(|(name, agent)| (name.into(), agent)).collect(),
        servers: servers.into_iter().map(|(name, server)| (name.into(), server)).collect(),
        mcp: config::Mcp { prefix: config::Prefix::Always },
        delivery: config::Delivery::default(),
        // Few enough that a flood is quick to make.
        limits: Limits { events_per_stream: EVENTS_MAX, ..Limits::default() },
        prices: config::Prices::default(),
        telemetry: config::Telemetry { json: false, filter: String::new() },
        welcome: None,
    }
}

fn timeouts() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(1),
        first_byte: Duration::from_secs(4),
        total: Duration::from_secs(8),
        silence: Duration::from_secs(2),
    }
}

fn agent(url: &str) -> config::Agent {
    config::Agent { url: url.into(), card: None, authorization: None, process: None, timeouts: timeouts() }
}

fn start(config: &config::Config) -> (Arc<Upstreams>, Worker) {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let upstreams = Upstreams::start(config, &metrics).unwrap();
    let worker = upstreams.worker();
    (upstreams, worker)
}

fn call(upstream: &str, dialect: Dialect, operation: Operation, tool: Option<&str>, body: &str) -> Call {
    Call {
        upstream: Name::from(upstream),
        dialect,
        operation,
        tool: tool.map(Into::into),
        body: Bytes::copy_from_slice(body.as_bytes()),
        deadline: Instant::now() + timeouts().total,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        relay_id: RelayId::generate(),
    }
}

#[tokio::test]
async fn calls_are_counted_by_what_became_of_them() {
    let server = http_server::HttpServer::start(|_| vec![http_server::Step::Close]).await;
    let registry = prometheus::Registry::new();
    let metrics = Metrics::register(&registry).unwrap();
    let config = config(vec![("one", agent(&server.url))], vec![("fix", stdio("both"))]);
    let upstreams = Upstreams::start(&config, &metrics).unwrap();
    let worker = upstreams.worker();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let echo = call("fix", Dialect::McpLegacy, Operation::CallTool, Some("echo"), body);
    unary(&worker, echo).await.unwrap();
    unary(&worker, call("one", Dialect::A2aV10, Operation::Send, None, body)).await.unwrap_err();
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        r#"kamf_upstream_calls_total{protocol="mcp",result="answered",upstream="fix"} 1"#,
        r#"kamf_upstream_calls_total{protocol="a2a",result="broken",upstream="one"} 1"#,
        r#"kamf_upstream_call_seconds_count{protocol="mcp",upstream="fix"} 1"#,
    ] {
        assert!(text.contains(line), "{text}");
    }
    upstreams.shutdown().await;
}

/// Waits for a state, not for a time.
async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + WAIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn enter_and_call(worker: &Worker, call: Call) -> Result<Answer, CallError> {
    let unknown = || CallError::Unknown { upstream: call.upstream.clone() };
    let mut place = worker.gate(&call.upstream).ok_or_else(unknown)?.enter(1).await;
    worker.call(call, &mut place).await
}

async fn unary(worker: &Worker, call: Call) -> Result<String, CallError> {
    match enter_and_call(worker, call).await? {
        Answer::Unary(body) => Ok(String::from_utf8(body.to_vec()).unwrap()),
        Answer::Stream(_) => panic!("a stream"),
    }
}

/// All events, and how the stream ended.
async fn events(worker: &Worker, call: Call) -> (Vec<String>, Result<(), CallError>) {
    let mut stream = match enter_and_call(worker, call).await {
        Ok(Answer::Stream(stream)) => stream,
        Ok(Answer::Unary(body)) => return (vec![String::from_utf8(body.to_vec()).unwrap()], Ok(())),
        Err(error) => return (vec![], Err(error)),
    };
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => seen.push(String::from_utf8(event.body.to_vec()).unwrap()),
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing follows an error");
                return (seen, Err(error));
            }
        }
    }
    (seen, Ok(()))
}

fn stdio(mode: &str) -> config::Server {
    let env = [("KAMF_FIXTURE", mode), ("SECRET", "hunter22hunter22")];
    let process = config::Process {
        command: std::env::current_exe().unwrap().to_str().unwrap().into(),
        args: ["--exact", fixture::TEST, "--nocapture"].map(str::to_owned).to_vec(),
        env: env.map(|(name, value)| (name.to_owned(), config::Secret::new(value.to_owned()))).into(),
        cwd: None,
    };
    config::Server { transport: Transport::Stdio(process), timeouts: timeouts() }
}
