//! A listener: bound once, served by one single-threaded runtime per core, drained before it ends.
//!
//! Each worker has its own `SO_REUSEPORT` socket, so the kernel spreads connections and no connection
//! ever moves between cores. Everything that a connection may take is in [`Times`] and [`Gate`].

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use crate::config::{Admin, Limits, Public};
use crate::edge::body::Body;
use crate::edge::metrics::Metrics;

mod activity;
mod bind;
mod connection;
mod drive;
mod gate;
mod io;
mod sniff;
mod tls;
mod worker;

pub(super) use activity::Open;
pub use bind::{BindError, Setting};
pub use connection::Peer;

use gate::Gate;
use worker::{Left, Worker};

/// A bound listener that does not serve yet.
#[derive(Debug)]
pub struct Server {
    setting: Setting,
    address: SocketAddr,
    listeners: Vec<TcpListener>,
    shared: Shared,
}

/// What all connections of a listener share.
#[derive(Clone)]
struct Shared {
    gate: Arc<Gate>,
    tls: Option<TlsAcceptor>,
    limits: Arc<Limits>,
    metrics: Metrics,
    /// Requests whose answer's last byte is not taken yet.
    open: Arc<AtomicUsize>,
    /// Requests without an answer yet.
    waiting: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("tls", &self.tls.is_some())
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the public listener, with a worker per core that this process may use.
    ///
    /// # Errors
    /// The address is taken or not ours, or the TLS files do not fit; the text names the setting.
    pub fn bind(public: &Public, limits: &Limits) -> Result<Self, BindError> {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let tls = public.tls.as_ref().map(tls::acceptor).transpose()?;
        Self::with_workers(Setting::Public, public.listen, tls, limits, workers)
    }

    /// Binds the admin listener, with one worker.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn bind_admin(admin: &Admin, limits: &Limits) -> Result<Self, BindError> {
        Self::with_workers(Setting::Admin, admin.listen, None, limits, 1)
    }

    pub(super) fn with_workers(
        setting: Setting,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        limits: &Limits,
        workers: usize,
    ) -> Result<Self, BindError> {
        let (address, listeners) = bind::listeners(setting, address, workers)?;
        let shared = Shared {
            gate: Arc::new(Gate::new(limits.connections, limits.connections_per_address)),
            tls,
            limits: Arc::new(limits.clone()),
            metrics: Metrics::default(),
            open: Arc::default(),
            waiting: Arc::default(),
        };
        Ok(Self { setting, address, listeners, shared })
    }

    /// Counts with `metrics`.
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.shared.metrics = metrics;
        self
    }

    /// Where the listener is bound; the port that the kernel picked when 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many workers there will be: the indices that [`Server::serve`] gives to `make`.
    pub fn workers(&self) -> usize {
        self.listeners.len()
    }

    /// Serves on one thread per worker. `make` runs inside the worker's runtime with the worker's index; what
    /// it gives is cloned for each request. Tasks that it spawns live until [`Drained`] is dropped.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn serve<F, S>(self, make: F) -> Result<Running, BindError>
    where
        F: Fn(usize) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let make = Arc::new(make);
        let (drain, draining) = watch::channel(None);
        let mut workers = Vec::with_capacity(self.listeners.len());
        for (index, listener) in self.listeners.into_iter().enumerate() {
            let make = Arc::clone(&make);
            let worker = Worker { listener, shared: self.shared.clone(), draining: draining.clone() };
            workers.push(start(self.setting, index, worker, move || make(index))?);
        }
        Ok(Running { drain, workers, open: self.shared.open })
    }
}

fn start<S>(
    setting: Setting,
    index: usize,
    worker: Worker,
    make: impl FnOnce() -> S + Send + 'static,
) -> Result<Started, BindError>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| BindError::Start { setting, source })?;
    let (report, left) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let thread = thread::Builder::new()
        .name(format!("{}-{index}", setting.listener()))
        .spawn(move || {
            runtime.block_on(async move {
                let service = make();
                // Whoever asked may be gone; the worker then ends as soon as it is released.
                let _ = report.send(worker.run(service).await);
                let _ = released.await;
            });
            runtime.shutdown_timeout(Duration::from_millis(100));
        })
        .map_err(|source| BindError::Start { setting, source })?;
    Ok(Started { left, release, thread })
}

#[derive(Debug)]
struct Started {
    left: oneshot::Receiver<Left>,
    release: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A listener that serves. Dropped without [`Running::drain`] it stops at once.
#[derive(Debug)]
pub struct Running {
    drain: watch::Sender<Option<Instant>>,
    workers: Vec<Started>,
    open: Arc<AtomicUsize>,
}

impl Running {
    /// Requests whose answers are not out yet.
    pub fn open_requests(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Stops accepting, lets every connection end after the request it is at (HTTP/2: `GOAWAY`), and cuts what
    /// is left after `grace`. The workers' runtimes go on until the result is dropped, so that what was
    /// spawned on them can still be ended in order.
    pub async fn drain(self, grace: Duration) -> Drained {
        self.drain.send_replace(Some(Instant::now() + grace));
        let mut drained =
            Drained { cut_connections: 0, cut_requests: 0, release: Vec::new(), threads: Vec::new() };
        for worker in self.workers {
            // A worker that panicked has cut its connections itself; how many is not known.
            let left = worker.left.await.unwrap_or_default();
            drained.cut_connections += left.connections;
            drained.cut_requests = drained.cut_requests.max(left.requests);
            drained.release.push(worker.release);
            drained.threads.push(worker.thread);
        }
        drained
    }
}

/// The end of a listener. Dropping it ends the workers and waits for their threads.
#[derive(Debug)]
pub struct Drained {
    /// Connections that were still open after the grace period.
    pub cut_connections: usize,
    /// Requests on them whose answers were not complete.
    pub cut_requests: usize,
    release: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Drained {
    fn drop(&mut self) {
        self.release.clear();
        for thread in self.threads.drain(..) {
            // A panic was reported by its thread already.
            let _ = thread.join();
        }
    }
}
