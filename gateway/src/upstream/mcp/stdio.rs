//! MCP servers that are child processes: started, introduced, listed, called, started again.

use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::learn::{self, Ask, AskError};
use super::link::{Link, LinkLimits, Pending};
use super::remap::{Framing, Ticket, outgoing};
use super::shelf::{Introduced, Shelf};
use crate::config::{Process, Timeouts};
use crate::message::Dialect;
use crate::upstream::agent_process::{RAN_WELL, RESTART_FIRST, RESTART_MAX};
use crate::upstream::backoff::Backoff;
use crate::upstream::error::Limit;
use crate::upstream::metrics::Metrics;
use crate::upstream::process::{Child, Pipes, ending, start_error};
use crate::upstream::{Answer, Call, CallError, Event};

/// How long a call waits for a server that is starting.
pub(super) const READY_WAIT: Duration = Duration::from_secs(3);
/// `server/discover` is answered at once by who knows it; who does not may say nothing.
pub(super) const DISCOVER_LIMIT: Duration = Duration::from_secs(3);
/// A server may be installing itself before it answers its first request.
pub(super) const INITIALIZE_LIMIT: Duration = Duration::from_secs(30);
/// Between the end of a process and the end of its output.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Announcements of changes come in bursts.
pub(super) const DEBOUNCE: Duration = Duration::from_millis(200);

/// One configured stdio server.
#[derive(Debug)]
pub(in crate::upstream) struct StdioServer {
    process: Process,
    timeouts: Timeouts,
    state: watch::Sender<Option<Ready>>,
    pub(super) shelf: Shelf,
    metrics: Metrics,
}

/// A process that can be called.
#[derive(Clone, Debug)]
struct Ready {
    link: Arc<Link>,
    legacy: bool,
    modern: bool,
}

impl StdioServer {
    pub(super) fn new(process: &Process, timeouts: Timeouts, shelf: Shelf, metrics: &Metrics) -> Self {
        Self {
            process: process.clone(),
            timeouts,
            state: watch::channel(None).0,
            shelf,
            metrics: metrics.clone(),
        }
    }

    pub(in crate::upstream) async fn call(&self, call: &Call) -> Result<Answer, CallError> {
        let first_byte = Instant::now() + self.timeouts.first_byte;
        let (until, limit) = if call.deadline < first_byte {
            (call.deadline, Limit::Total)
        } else {
            (first_byte, Limit::FirstByte)
        };
        let mut pending = self.send(call, until).await?;
        let first = pending.next(until, limit).await?;
        if first.last {
            return Ok(Answer::Unary(first.body));
        }
        let calling =
            Calling { pending, first: Some(first), deadline: call.deadline, silence: self.timeouts.silence };
        Ok(Answer::Stream(Box::pin(stream::unfold(Some(calling), |calling| async move {
            let mut calling = calling?;
            let item = calling.next().await;
            let more = item.as_ref().is_ok_and(|event| !event.last);
            Some((item, more.then_some(calling)))
        }))))
    }

    async fn send(&self, call: &Call, until: Instant) -> Result<Pending, CallError> {
        let name = &self.shelf.name;
        loop {
            let ready = self.ready(call.deadline).await?;
            let speaks = if call.dialect == Dialect::McpModern { ready.modern } else { ready.legacy };
            if !speaks {
                return Err(CallError::Unsupported {
                    upstream: name.clone(),
                    version: call.dialect.version(),
                });
            }
            let (line, ticket) =
                outgoing(&call.body, ready.link.number(), call.tool.as_deref(), Framing::Line)
                    .map_err(|error| CallError::invalid(name, error.to_string()))?;
            match ready.link.send(ticket, line, until).await {
                // The process went before the line was taken: the next one may have it.
                Err(error)
                    if ready.link.is_closed() && error.nothing_was_sent() && Instant::now() < until => {}
                outcome => return outcome,
            }
        }
    }

    /// Waits a little for a server that is starting.
    async fn ready(&self, deadline: Instant) -> Result<Ready, CallError> {
        fn lives(ready: &Option<Ready>) -> bool {
            ready.as_ref().is_some_and(|ready| !ready.link.is_closed())
        }
        if let Some(ready) = self.state.borrow().as_ref().filter(|ready| !ready.link.is_closed()) {
            return Ok(ready.clone());
        }
        let mut state = self.state.subscribe();
        let until = (Instant::now() + READY_WAIT).min(deadline);
        let ready = timeout_at(until, state.wait_for(lives)).await;
        let ready = ready.ok().and_then(Result::ok).and_then(|ready| ready.clone());
        ready.ok_or_else(|| CallError::unreachable(&self.shelf.name, "its process is not running"))
    }

    /// Keeps the process running until `stop`.
    pub(in crate::upstream) async fn keep_running(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let name = &self.shelf.name;
        let mut backoff = Backoff::new(RESTART_FIRST, RESTART_MAX);
        let mut skip_discover = false;
        loop {
            let started = Clock::now();
            let Err(why) = self.run(&mut stop, &mut skip_discover).await else { return };
            if started.elapsed() >= RAN_WELL {
                backoff.reset();
            }
            let pause = backoff.pause();
            self.shelf.down(&why);
            self.shelf.vital.restarted();
            self.metrics.restarted(name);
            tracing::warn!(server = %name, error = why, pause_ms = pause.as_millis(), "MCP server is started again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// One life of the process. `Ok`: it was stopped.
    async fn run(&self, stop: &mut watch::Receiver<bool>, skip_discover: &mut bool) -> Result<(), String> {
        let (mut child, pipes) = Child::start(&self.shelf.name, &self.process)
            .map_err(|error| start_error(&self.process, &error))?;
        let link = self.link(pipes);
        let outcome = tokio::select! {
            why = self.live(&link, skip_discover) => Err(why),
            status = child.exited() => {
                // What it answered before it went may still be in the pipe.
                let _ = timeout(LAST_WORDS, link.closed()).await;
                Err(ending(&status))
            }
            () = link.closed() => Err(match timeout(LAST_WORDS, child.exited()).await {
                Ok(status) => ending(&status),
                Err(_) => "its process closed a pipe or stopped reading".to_owned(),
            }),
            _ = stop.changed() => Ok(()),
        };
        self.state.send_replace(None);
        match outcome {
            Ok(()) => {
                link.close("the gateway is shutting down");
                child.end().await;
                Ok(())
            }
            Err(why) => {
                link.close(&why);
                child.kill().await;
                Err(why)
            }
        }
    }

    fn link(&self, pipes: Pipes) -> Arc<Link> {
        let Shelf { name, limits, .. } = &self.shelf;
        let limits = LinkLimits {
            line_bytes: limits.answer_bytes,
            event_bytes: limits.event_bytes,
            events: limits.events_per_stream,
        };
        let (garbage, discarded) = (self.metrics.garbage(name), self.metrics.discarded(name));
        Link::start(name.clone(), pipes.stdin, pipes.stdout, limits, garbage, discarded)
    }

    /// Introduces the server, publishes its tools, then again with each change. Gives back why that cannot go on.
    async fn live(&self, link: &Arc<Link>, skip_discover: &mut bool) -> String {
        let peer = Peer(link.clone());
        let introduced = match self.introduce(&peer, skip_discover).await {
            Ok(introduced) => introduced,
            Err(why) => return why,
        };
        let mut fresh = self.shelf.fill(&peer, &introduced).await;
        let (legacy, modern) = (introduced.legacy.is_some(), introduced.modern.is_some());
        self.state.send_replace(Some(Ready { link: link.clone(), legacy, modern }));
        self.shelf.vital.up();
        loop {
            tokio::select! {
                () = link.relist.notified() => tokio::time::sleep(DEBOUNCE).await,
                () = tokio::time::sleep(fresh) => {}
            }
            fresh = self.shelf.fill(&peer, &introduced).await;
        }
    }

    /// Finds out which eras the server speaks. Both are kept: its process serves clients of either.
    async fn introduce(&self, peer: &Peer, skip_discover: &mut bool) -> Result<Introduced, String> {
        let mut modern = Err(AskError::Shape { method: "server/discover", why: "it was not asked".into() });
        if !*skip_discover {
            // A server that dies of the question is not asked again: this stays set when we are cut off here.
            *skip_discover = true;
            modern = learn::discover(peer, DISCOVER_LIMIT).await;
            *skip_discover = peer.0.is_closed();
        }
        let limit = if modern.is_ok() { DISCOVER_LIMIT } else { INITIALIZE_LIMIT };
        let legacy = learn::initialize(peer, limit).await;
        if legacy.is_ok() {
            peer.0.notify(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        } else if matches!(modern, Err(AskError::Call(CallError::Timeout { .. }))) {
            // It was too slow for the first question, not ignorant of it.
            modern = learn::discover(peer, DISCOVER_LIMIT).await;
        }
        if let (Err(_), Err(error)) = (&modern, &legacy) {
            return Err(format!("it speaks no version of MCP known here: {error}"));
        }
        let introduced = Introduced { legacy: legacy.ok(), modern: modern.ok() };
        tracing::info!(
            server = %self.shelf.name,
            legacy = introduced.legacy.is_some(),
            modern = introduced.modern.is_some(),
            "MCP server introduced itself"
        );
        if introduced.legacy.is_none() {
            peer.listen().await;
        }
        Ok(introduced)
    }
}

/// The gateway's own requests on a link.
struct Peer(Arc<Link>);

impl Peer {
    fn request(&self, method: &str, params: &Value) -> (Ticket, Bytes) {
        let number = self.0.number();
        let body = json!({"jsonrpc": "2.0", "id": number, "method": method, "params": params});
        (Ticket::own(number), format!("{body}\n").into())
    }

    /// Modern servers announce changes only to who listens. The request stays open as long as the process.
    async fn listen(&self) {
        let params = json!({"_meta": learn::modern_meta(), "notifications": {"toolsListChanged": true}});
        let (ticket, line) = self.request("subscriptions/listen", &params);
        if let Ok(pending) = self.0.send(ticket, line, Instant::now() + DISCOVER_LIMIT).await {
            pending.forget();
        }
    }
}

impl Ask for Peer {
    async fn ask(
        &self,
        _: Dialect,
        method: &'static str,
        params: Value,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        let until = Instant::now() + limit;
        let (ticket, line) = self.request(method, &params);
        let mut pending = self.0.send(ticket, line, until).await?;
        match pending.next(until, Limit::Total).await {
            Ok(event) => Ok(event.body),
            Err(error) => {
                pending.abandon();
                Err(error)
            }
        }
    }
}

/// A call whose server reports progress.
struct Calling {
    pending: Pending,
    first: Option<Event>,
    deadline: Instant,
    silence: Duration,
}

impl Calling {
    async fn next(&mut self) -> Result<Event, CallError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let silence = Instant::now() + self.silence;
        let (until, limit) =
            if self.deadline < silence { (self.deadline, Limit::Total) } else { (silence, Limit::Silence) };
        self.pending.next(until, limit).await
    }
}
