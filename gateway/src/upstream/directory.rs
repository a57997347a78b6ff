//! All upstreams, and the tasks that keep them alive and known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::a2a::Agent;
use super::card::Card;
use super::http::{self, HttpClient};
use super::mcp::{self, Catalog, Published, Server};
use super::metrics::{CallMetrics, Metrics};
use super::{Gate, Health, Worker, agent_process, card_watch};
use crate::config::{Config, Secret};
use crate::message::{Name, Protocol};

/// Ending a process takes three seconds at most; whoever is not done then is cut off.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// A configuration that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "upstream `{upstream}`: its url is not an http or https URL without user name, such as http://127.0.0.1:9000/"
    )]
    Url { upstream: Name },
    #[error("upstream `{upstream}`: a configured secret holds characters that no HTTP header may have")]
    Secret { upstream: Name },
    #[error("upstream `{upstream}`: `{header}` is not the name of an HTTP header")]
    Header { upstream: Name, header: String },
    #[error("TLS towards upstreams cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// The agents and servers of one configuration. Dropping it ends their processes too, without waiting.
#[derive(Debug)]
pub struct Upstreams {
    directory: Arc<Directory>,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

/// What workers share.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) agents: HashMap<Name, (Arc<Agent>, Arc<CallMetrics>)>,
    pub(super) servers: HashMap<Name, (Server, Arc<CallMetrics>)>,
    gates: HashMap<Name, Arc<Gate>>,
    pub(super) tls: Arc<ClientConfig>,
    published: Arc<Published>,
}

impl Upstreams {
    /// Starts processes, fetches cards and lists tools in the background, on the runtime that this is called in.
    pub fn start(config: &Config, metrics: &Metrics) -> Result<Arc<Self>, StartError> {
        let published = Arc::new(Published::new(config.servers.keys().cloned()));
        let mut directory = Directory {
            agents: HashMap::new(),
            servers: HashMap::new(),
            gates: HashMap::new(),
            tls: http::tls()?,
            published: published.clone(),
        };
        for (name, agent) in &config.agents {
            let agent = Arc::new(Agent::new(name, agent, &config.limits)?);
            directory.agents.insert(name.clone(), (agent, metrics.calls(Protocol::A2a, name)));
        }
        for (name, server) in &config.servers {
            let server = Server::new(name, server, &config.limits, &published, metrics)?;
            directory.servers.insert(name.clone(), (server, metrics.calls(Protocol::Mcp, name)));
        }
        for name in config.agents.keys().chain(config.servers.keys()) {
            let route = config.delivery.route(name);
            directory.gates.insert(name.clone(), Gate::new(name, &route, metrics.gate(name)));
        }
        let (stop, stopped) = watch::channel(false);
        let tasks = directory.tasks(metrics, &stopped);
        Ok(Arc::new(Self { directory: Arc::new(directory), stop, tasks: Mutex::new(tasks) }))
    }

    /// A handle with connection pools of its own. Make one in each runtime that calls, and clone that.
    pub fn worker(&self) -> Worker {
        Worker::new(self.directory.clone())
    }

    /// The tools that are known now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.directory.published.load()
    }

    /// Sees each new revision of the catalog.
    pub fn catalog_changes(&self) -> watch::Receiver<u64> {
        self.directory.published.changes()
    }

    /// The agent's card as it was fetched last; none before the first time.
    pub fn card(&self, agent: &str) -> Option<Arc<Card>> {
        self.directory.agents.get(agent)?.0.card.load_full()
    }

    /// The way in to one upstream.
    pub fn gate(&self, upstream: &str) -> Option<&Arc<Gate>> {
        self.directory.gate(upstream)
    }

    /// All upstreams: agents, then servers, by name.
    pub fn health(&self) -> Vec<Health> {
        let agents = self.directory.agents.values().map(|(agent, _)| agent.vital.health());
        let servers = self.directory.servers.values().map(|(server, _)| server.health());
        let mut health: Vec<Health> = agents.chain(servers).collect();
        for one in &mut health {
            one.gate = self.gate(&one.name).map(|gate| gate.health());
        }
        health.sort_by(|a, b| (a.protocol.as_str(), &a.name).cmp(&(b.protocol.as_str(), &b.name)));
        health
    }

    /// Ends sessions and processes. Calls in flight end with them, so drain first.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_LIMIT, all).await.is_err() {
            tracing::warn!("some upstream processes did not end in time and are cut off");
        }
    }
}

impl Directory {
    pub(super) fn gate(&self, upstream: &str) -> Option<&Arc<Gate>> {
        self.gates.get(upstream)
    }

    fn tasks(&self, metrics: &Metrics, stop: &watch::Receiver<bool>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (agent, _) in self.agents.values() {
            if let Some(process) = &agent.config.process {
                let process = process.clone();
                tasks.spawn(agent_process::keep_running(
                    agent.clone(),
                    process,
                    metrics.clone(),
                    stop.clone(),
                ));
            }
            let client = HttpClient::new(agent.name.clone(), &agent.config.timeouts, &self.tls);
            tasks.spawn(card_watch::watch(agent.clone(), client, stop.clone()));
        }
        for (server, _) in self.servers.values() {
            match server {
                Server::Stdio(server) => {
                    tasks.spawn(server.clone().keep_running(stop.clone()));
                }
                Server::Http(server) => {
                    let client = server.client(&self.tls);
                    tasks.spawn(mcp::follow(server.clone(), client, stop.clone()));
                }
            }
        }
        tasks
    }
}

/// `text` as the URL of an upstream.
pub(super) fn http_url(upstream: &Name, text: &str) -> Result<Uri, StartError> {
    let wrong = || StartError::Url { upstream: upstream.clone() };
    let url: Uri = text.parse().map_err(|_| wrong())?;
    let scheme = matches!(url.scheme_str(), Some("http" | "https"));
    let host = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if scheme && host { Ok(url) } else { Err(wrong()) }
}

/// `secret` as a header value that no debug output shows.
pub(super) fn sensitive(upstream: &Name, secret: &Secret) -> Result<HeaderValue, StartError> {
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| StartError::Secret { upstream: upstream.clone() })?;
    value.set_sensitive(true);
    Ok(value)
}
