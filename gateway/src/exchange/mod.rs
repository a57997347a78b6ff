//! One exchange from its HTTP request to its HTTP response: the order of the stages for each kind of request.
//!
//! A path is read into [`path::Path`] once and leads to the file of its kind: `a2a.rs`, `card.rs`, `mcp/`. Each
//! authenticates, reads, checks, permits, and then has the request relayed ([`relayed`]) or sent at
//! once ([`direct`]). A refusal at any stage ends it, in the caller's own protocol.

mod a2a;
mod caller;
mod card;
mod direct;
mod door;
mod idempotency;
mod mcp;
mod metrics;
mod path;
mod positions;
mod relayed;
mod respond;
mod resume;
mod sse;
mod subscribe;
mod tasks;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use tokio::time::Instant;

pub use caller::Upstream;
pub use mcp::{Cache, Sessions};
pub use metrics::Metrics;
pub use positions::Positions;

use crate::config::{Delivery, Limits, Prefix, Timeouts};
use crate::edge::Body;
use crate::message::{Dialect, Mode, Name, Operation};
use crate::outcome::Reason;
use crate::policy::{Authenticator, Policies, RateLimiter};
use crate::protocol::ReadLimits;
use crate::relay::{Admitted, Follower, Intake, Tasks};
use crate::schema::Schemas;
use crate::upstream::{Upstreams, Worker};
use path::Path;
use respond::Refused;

/// What all workers share.
pub struct Gateway {
    pub authenticator: Authenticator,
    pub policies: Policies,
    pub limiter: RateLimiter,
    pub schemas: Schemas,
    pub intake: Intake,
    pub tasks: Arc<Tasks>,
    pub follower: Arc<Follower>,
    pub positions: Positions,
    pub upstreams: Arc<Upstreams>,
    /// Agents by name, with their time limits.
    pub agents: HashMap<Name, Timeouts>,
    /// MCP servers by name, with their time limits.
    pub servers: HashMap<Name, Timeouts>,
    pub sessions: Arc<Sessions>,
    pub names: Cache,
    pub metrics: Arc<Metrics>,
    pub delivery: Delivery,
    pub limits: Arc<Limits>,
    pub read_limits: ReadLimits,
    pub prefix: Prefix,
    /// Base URL that clients use, without a trailing slash.
    pub public_url: String,
    /// Requests in work at most; more are told to come again.
    pub room: Arc<tokio::sync::Semaphore>,
    /// Where work goes on that outlives its connection.
    pub background: tokio::runtime::Handle,
}

/// One worker's door: the shared gateway and the worker's own connections to upstreams.
#[derive(Clone)]
pub struct Front {
    gateway: Arc<Gateway>,
    upstream: Arc<Upstream>,
}

impl Front {
    pub fn new(gateway: Arc<Gateway>, worker: Worker) -> Self {
        let (tasks, delivery) = (Arc::clone(&gateway.tasks), gateway.delivery.clone());
        Self { gateway, upstream: Arc::new(Upstream { worker, tasks, delivery }) }
    }

    async fn handle(self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let Ok(_room) = Arc::clone(&self.gateway.room).try_acquire_owned() else {
            self.gateway.metrics.refused("", Reason::Overloaded);
            return Refused::new(
                Reason::Overloaded,
                Dialect::A2aV10,
                None,
                "the gateway has as many requests in work as it may",
            )
            .response(None);
        };
        match (Path::parse(&path), request.method()) {
            (Path::Agent(agent), &Method::POST) => a2a::post(&self, agent, request).await,
            (Path::Card(agent), &Method::GET | &Method::HEAD) => card::get(&self, agent, &request),
            (Path::Servers, &Method::POST) => mcp::post(&self, None, request).await,
            (Path::Server(server), &Method::POST) => mcp::post(&self, Some(server), request).await,
            (known @ (Path::Servers | Path::Server(_)), &Method::GET) => {
                mcp::get(&self, known, &request).await
            }
            (Path::Servers | Path::Server(_), &Method::DELETE) => mcp::delete(&self, &request),
            (Path::Unknown, _) => door::not_found(&self.gateway, &path),
            (known, _) => door::method_not_allowed(&self.gateway, known),
        }
    }

    /// The mode of a call to `upstream`.
    fn mode(&self, upstream: &str, operation: Operation) -> Mode {
        match operation {
            Operation::Send | Operation::Stream | Operation::CallTool => {
                self.gateway.delivery.route(upstream).mode
            }
            _ => Mode::Direct,
        }
    }

    fn deadline(&self, admitted: &Admitted) -> Instant {
        Instant::now() + admitted.deadline.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

impl tower::Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.handle(request).await) })
    }
}
