//! Calls, from one runtime.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::Stream;

use super::directory::Directory;
use super::http::HttpClient;
use super::mcp::Server;
use super::metrics::{CallMetrics, label};
use super::{Answer, Call, CallError, Event, EventStream, Gate, Place};
use crate::message::{Name, Protocol};

/// A cheap handle; its clones share pools. Belongs to the runtime in which it calls first.
#[derive(Clone, Debug)]
pub struct Worker {
    directory: Arc<Directory>,
    clients: Arc<Clients>,
}

#[derive(Debug)]
struct Clients {
    agents: HashMap<Name, HttpClient>,
    servers: HashMap<Name, HttpClient>,
}

impl Worker {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        let agents = directory
            .agents
            .iter()
            .map(|(name, (agent, _))| {
                (name.clone(), HttpClient::new(name.clone(), &agent.config.timeouts, &directory.tls))
            })
            .collect();
        let servers = directory
            .servers
            .iter()
            .filter_map(|(name, (server, _))| match server {
                Server::Stdio(_) => None,
                Server::Http(server) => Some((name.clone(), server.client(&directory.tls))),
            })
            .collect();
        Self { directory, clients: Arc::new(Clients { agents, servers }) }
    }

    /// The way in to `upstream`; every call goes through it.
    pub fn gate(&self, upstream: &str) -> Option<&Arc<Gate>> {
        self.directory.gate(upstream)
    }

    /// Makes one call with leave to make it, and tells the gate what came of it.
    ///
    /// Dropping the future, or the stream of its answer, ends the HTTP exchange; a stdio server, or one in a legacy session, is
    /// sent `notifications/cancelled`. A2A tasks outlive their streams: nothing is cancelled there.
    pub async fn call(&self, call: Call, place: &mut Place) -> Result<Answer, CallError> {
        let outcome = self.send(call).await;
        place.saw(&outcome);
        outcome
    }

    async fn send(&self, call: Call) -> Result<Answer, CallError> {
        let unknown = || CallError::Unknown { upstream: call.upstream.clone() };
        match call.dialect.protocol() {
            Protocol::A2a => {
                let (agent, metrics) = self.directory.agents.get(&call.upstream).ok_or_else(unknown)?;
                let client = self.clients.agents.get(&call.upstream).ok_or_else(unknown)?;
                let count = Count::start(metrics);
                count.outcome(agent.call(client, &call).await)
            }
            Protocol::Mcp => {
                let (server, metrics) = self.directory.servers.get(&call.upstream).ok_or_else(unknown)?;
                let count = Count::start(metrics);
                count.outcome(match server {
                    Server::Stdio(server) => server.call(&call).await,
                    Server::Http(server) => {
                        let client = self.clients.servers.get(&call.upstream).ok_or_else(unknown)?;
                        server.call(client, &call).await
                    }
                })
            }
        }
    }
}

/// Counts a call once, when it is over, however that comes about.
struct Count {
    metrics: Arc<CallMetrics>,
    started: Instant,
    result: &'static str,
}

impl Count {
    fn start(metrics: &Arc<CallMetrics>) -> Self {
        Self { metrics: metrics.clone(), started: Instant::now(), result: "dropped" }
    }

    fn outcome(mut self, outcome: Result<Answer, CallError>) -> Result<Answer, CallError> {
        match outcome {
            Ok(Answer::Stream(inner)) => Ok(Answer::Stream(Box::pin(Counted { inner, count: self }))),
            Ok(unary) => {
                self.result = "answered";
                Ok(unary)
            }
            Err(error) => {
                self.result = label(&error);
                Err(error)
            }
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.metrics.observe(self.result, self.started.elapsed());
    }
}

/// A stream that counts as answered when it has ended cleanly.
struct Counted {
    inner: EventStream,
    count: Count,
}

impl Stream for Counted {
    type Item = Result<Event, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.inner.as_mut().poll_next(cx);
        match &item {
            Poll::Ready(None) => self.count.result = "answered",
            Poll::Ready(Some(Ok(event))) if event.last => self.count.result = "answered",
            Poll::Ready(Some(Err(error))) => self.count.result = label(error),
            _ => {}
        }
        item
    }
}
