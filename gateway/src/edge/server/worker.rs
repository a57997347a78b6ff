//! Accepting: one loop per core.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tower::Service;

use super::Shared;
use super::connection::{self, Peer};
use super::gate::Ticket;
use crate::edge::body::Body;
use crate::edge::metrics::Cut;

/// How long accepting rests when the process is out of descriptors.
const REST: Duration = Duration::from_millis(50);

/// How long a connection that is refused is kept so that its peer can read why.
const FAREWELL: Duration = Duration::from_millis(500);

/// How many of them at one time; the others are closed without a word.
const FAREWELLS: usize = 64;

/// What a refused connection is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 84\r\n\
    retry-after: 1\r\nconnection: close\r\n\r\n\
    {\"error\":{\"reason\":\"overloaded\",\"message\":\"Too many connections; try again later.\"}}";

/// What was still there at the end of the drain, and was cut.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    pub(super) connections: usize,
    /// Open requests of the whole listener, as this worker saw them.
    pub(super) requests: usize,
}

pub(super) struct Worker {
    pub(super) listener: std::net::TcpListener,
    pub(super) shared: Shared,
    pub(super) draining: watch::Receiver<Option<Instant>>,
}

impl Worker {
    /// Serves until the drain is over; gives back what it had to cut.
    pub(super) async fn run<S>(self, service: S) -> Left
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let mut loops =
            Loop { shared: self.shared, service, tasks: JoinSet::new(), farewells: JoinSet::new() };
        let mut told = self.draining.clone();
        match TcpListener::from_std(self.listener) {
            Ok(listener) => loops.accept(listener, &self.draining).await,
            Err(error) => tracing::error!(%error, "a listener cannot be used; its worker is idle"),
        }
        // `None`, and an error, mean that nobody waits: what is left ends at once.
        let deadline = match told.wait_for(Option::is_some).await {
            Ok(deadline) => *deadline,
            Err(_) => None,
        };
        loops.finish(deadline.unwrap_or_else(Instant::now)).await
    }
}

struct Loop<S> {
    shared: Shared,
    service: S,
    tasks: JoinSet<()>,
    farewells: JoinSet<()>,
}

impl<S> Loop<S>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    async fn accept(&mut self, listener: TcpListener, draining: &watch::Receiver<Option<Instant>>) {
        let mut told = draining.clone();
        loop {
            tokio::select! {
                biased;
                _ = told.changed() => break,
                Some(_) = self.tasks.join_next() => {}
                Some(_) = self.farewells.join_next() => {}
                accepted = listener.accept() => self.take(accepted, draining).await,
            }
        }
        // The kernel has completed these handshakes: closing the listener would reset them. Each gets its turn.
        while let Some(Ok(accepted)) = listener.accept().now_or_never() {
            self.take(Ok(accepted), draining).await;
        }
    }

    async fn take(
        &mut self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        draining: &watch::Receiver<Option<Instant>>,
    ) {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // The peer was gone before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return,
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted; trying again");
                return sleep(REST).await;
            }
        };
        match self.shared.gate.enter(address.ip()) {
            Ok(ticket) => {
                let service = self.service.clone();
                let connection =
                    connection::serve(stream, Peer(address), service, self.shared.clone(), draining.clone());
                let counted = Counted::new(ticket, &self.shared);
                self.tasks.spawn(async move {
                    connection.await;
                    drop(counted);
                });
            }
            Err(limit) => self.turn_away(stream, limit),
        }
    }

    fn turn_away(&mut self, stream: TcpStream, limit: Cut) {
        self.shared.metrics.cut(limit);
        if self.shared.tls.is_none() && self.farewells.len() < FAREWELLS {
            self.farewells.spawn(farewell(stream));
        }
    }

    /// Waits for the connections until `deadline`, then cuts what is left and counts it.
    async fn finish(mut self, deadline: Instant) -> Left {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, all).await.is_ok() {
            return Left::default();
        }
        let left = Left { connections: self.tasks.len(), requests: self.shared.open.load(Ordering::Relaxed) };
        for _ in 0..left.connections {
            self.shared.metrics.cut(Cut::Drain);
        }
        self.tasks.shutdown().await;
        left
    }
}

/// A connection in the gauge, for as long as its ticket.
struct Counted {
    _ticket: Ticket,
    shared: Shared,
}

impl Counted {
    fn new(ticket: Ticket, shared: &Shared) -> Self {
        shared.metrics.opened();
        Self { _ticket: ticket, shared: shared.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.metrics.closed();
    }
}

/// Says that there is no room, and waits for the peer to hang up so that it can read it.
async fn farewell(mut stream: TcpStream) {
    let said = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        let mut scrap = [0; 1024];
        while stream.read(&mut scrap).await? > 0 {}
        io::Result::Ok(())
    };
    // Neither its failure nor its length concerns anyone.
    let _ = timeout(FAREWELL, said).await;
}

#[cfg(test)]
mod tests {
    use super::FULL;

    #[test]
    fn the_farewell_announces_its_length() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
