//! MCP servers: processes on stdio, and streamable HTTP, in both eras of the protocol.

mod catalog;
mod http;
mod http_follow;
mod http_listen;
mod http_stream;
mod learn;
mod lines;
mod link;
mod param_headers;
mod remap;
mod shelf;
mod stdio;

use std::sync::Arc;

pub use catalog::{Annotations, Catalog, ServerEntry, ServerInfo, Tool};

pub(super) use catalog::Published;
pub(super) use http::HttpServer;
pub(super) use http_follow::follow;
pub(super) use stdio::StdioServer;

use super::StartError;
use super::health::{Health, Vital};
use super::metrics::Metrics;
use crate::config::{self, Transport};
use crate::message::Name;

/// One configured MCP server.
#[derive(Debug)]
pub(super) enum Server {
    Stdio(Arc<StdioServer>),
    Http(Arc<HttpServer>),
}

impl Server {
    pub(super) fn new(
        name: &Name,
        server: &config::Server,
        limits: &config::Limits,
        published: &Arc<Published>,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let shelf = shelf::Shelf {
            name: name.clone(),
            limits: limits.clone(),
            published: published.clone(),
            vital: Vital::server(name),
            over_http: matches!(server.transport, Transport::Http { .. }),
        };
        Ok(match &server.transport {
            Transport::Stdio(process) => {
                Self::Stdio(Arc::new(StdioServer::new(process, server.timeouts, shelf, metrics)))
            }
            Transport::Http { url, headers } => {
                Self::Http(Arc::new(HttpServer::new(shelf, url, server.timeouts, headers)?))
            }
        })
    }

    pub(super) fn health(&self) -> Health {
        match self {
            Self::Stdio(server) => server.shelf.vital.health(),
            Self::Http(server) => server.shelf.vital.health(),
        }
    }
}
