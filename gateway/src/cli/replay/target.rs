//! Where recorded requests are sent: another agent or server, or another gateway, called as the gateway calls its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use prometheus::Registry;
use tokio::time::{Instant, timeout_at};

use super::Args;
use super::error::ReplayError;
use super::gather::Recorded;
use crate::config::{Agent, Config, Secret, Server, Timeouts, Transport};
use crate::message::{Name, Protocol, RelayId, Trace};
use crate::upstream::{Answer, Call, Metrics, Upstreams, Worker};

/// The upstreams that are called instead of the recorded ones, under the names of these.
pub(super) struct Target {
    upstreams: Arc<Upstreams>,
    worker: Worker,
    timeout: Duration,
}

impl Target {
    pub(super) fn start(config: &Config, args: &Args, exchanges: &[Recorded]) -> Result<Self, ReplayError> {
        let names: BTreeSet<(&str, Name)> = exchanges
            .iter()
            .map(|recorded| (recorded.protocol().as_str(), recorded.admitted.agent.clone()))
            .collect();
        if args.to.is_some() && names.len() > 1 {
            let agents = names.iter().map(|(_, name)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(ReplayError::Several { agents });
        }
        let timeouts = Timeouts { total: args.timeout, first_byte: args.timeout, ..Timeouts::default() };
        let bearer = args.key.as_deref().map(|key| Secret::new(format!("Bearer {key}")));
        let mut config = Config { agents: BTreeMap::new(), servers: BTreeMap::new(), ..config.clone() };
        for (protocol, name) in names {
            let url = args.url(protocol, &name);
            if protocol == Protocol::A2a.as_str() {
                let authorization = bearer.clone();
                config.agents.insert(name, Agent { url, card: None, authorization, process: None, timeouts });
            } else {
                let headers =
                    bearer.iter().map(|bearer| ("authorization".to_owned(), bearer.clone())).collect();
                config.servers.insert(name, Server { transport: Transport::Http { url, headers }, timeouts });
            }
        }
        let upstreams = Upstreams::start(&config, &Metrics::register(&Registry::new())?)?;
        Ok(Self { worker: upstreams.worker(), upstreams, timeout: args.timeout })
    }

    /// Sends the request of `recorded` in a trace of its own; the messages that come, or why there are none.
    pub(super) async fn ask(&self, recorded: &Recorded) -> Result<Vec<Bytes>, String> {
        let admitted = &recorded.admitted;
        let deadline = Instant::now() + self.timeout;
        let call = Call {
            upstream: admitted.agent.clone(),
            dialect: admitted.dialect,
            operation: admitted.operation,
            tool: admitted.tool.clone(),
            body: recorded.body.clone(),
            deadline,
            traceparent: Trace::continue_from(None).traceparent(),
            relay_id: RelayId::generate(),
        };
        let gate = self.worker.gate(&admitted.agent).ok_or("the target is not set up")?;
        let place = timeout_at(deadline, gate.enter_open()).await.map_err(|_| self.late("answer"))?;
        let mut place = place.map_err(|closed| closed.to_string())?;
        let answer = self.worker.call(call, &mut place).await;
        let mut events = match answer.map_err(|error| error.to_string())? {
            Answer::Unary(body) => return Ok(vec![body]),
            Answer::Stream(events) => events,
        };
        let mut messages = Vec::new();
        loop {
            match timeout_at(deadline, events.next()).await {
                Ok(Some(Ok(event))) => messages.push(event.body),
                Ok(Some(Err(error))) => return Err(error.to_string()),
                Ok(None) => return Ok(messages),
                Err(_) => return Err(self.late("end of its stream")),
            }
        }
    }

    fn late(&self, what: &str) -> String {
        format!("no {what} within {:?}", self.timeout)
    }

    pub(super) async fn stop(&self) {
        self.upstreams.shutdown().await;
    }
}

impl Args {
    /// Where requests to `name` go.
    fn url(&self, protocol: &str, name: &str) -> String {
        match (&self.to, &self.gateway) {
            (Some(url), _) => url.clone(),
            (None, Some(base)) => format!("{}/{protocol}/{name}", base.trim_end_matches('/')),
            // A dry run, which sends nothing.
            (None, None) => String::new(),
        }
    }
}
