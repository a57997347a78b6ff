//! The listener itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::routes;
use super::site::Site;
use crate::config;

/// Connections at once: a scraper, a browser and some people with `kamf top`.
const CONNECTIONS: usize = 128;

/// How long a client may take for the head of a request; also how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(30);

/// How long one answer may take to be taken, the search through the log included.
const ANSWER: Duration = Duration::from_secs(60);

/// The admin address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the admin listener cannot use {address}: {source}; change `admin.listen`, or stop what uses it")]
pub struct BindError {
    pub address: SocketAddr,
    pub source: std::io::Error,
}

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the configured address; port 0 lets the kernel pick.
    ///
    /// # Errors
    /// When the address is taken or not permitted.
    pub async fn bind(config: &config::Admin) -> Result<Self, BindError> {
        let address = config.listen;
        let fault = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Self { listener, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped: it listens through the drain, so that the drain can be watched.
    pub async fn serve(self, site: Arc<Site>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            match (self.listener.accept().await, room.clone().try_acquire_owned()) {
                (Ok((stream, _)), Ok(permit)) => {
                    let (site, address) = (site.clone(), self.address);
                    tokio::spawn(async move {
                        connection(stream, address, site).await;
                        drop(permit);
                    });
                }
                // Closed at once: full.
                (Ok(_), Err(_)) => {}
                (Err(error), _) => {
                    tracing::warn!(%error, "the admin listener could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, site: Arc<Site>) {
    let service = service_fn(move |request| {
        let site = site.clone();
        async move {
            let answer = tokio::time::timeout(ANSWER, routes::answer(&site, address, &request)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| routes::too_slow()))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the admin listener broke");
    }
}
