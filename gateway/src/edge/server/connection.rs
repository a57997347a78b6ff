//! One connection from its accept to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tower::{Service, ServiceExt};

use super::Shared;
use super::activity::{Activity, Times};
use super::drive::{drive, is_draining};
use super::io::{Io, Stream};
use super::sniff::{Http, sniff};
use crate::config::Limits;
use crate::edge::body::Body;
use crate::edge::metrics::Cut;
use crate::edge::refusal::refusal;
use crate::outcome::Reason;

/// Headers that hyper has room for without an allocation; asked for more, it allocates for each request.
const HYPER_HEADER_COUNT: usize = 100;
/// HTTP/2: how much of one stream, and of one connection, may be under way unread.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// HTTP/2: how much of one answer waits for the peer.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// HTTP/2: streams reset for a peer's errors, and by the peer before they were looked at, until it is cut off.
const RESET_STREAMS: usize = 256;
const UNSEEN_RESET_STREAMS: usize = 20;
/// HTTP/2: a peer that answers no ping is gone.
const PING: Duration = Duration::from_secs(20);

/// When the drain begins: how long a new connection has to say what it wants.
const LAST_WORD: Duration = Duration::from_millis(500);

/// The other end of the connection that a request came on (a request extension).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves `tcp` until it ends. What ended it is counted here; nothing of it concerns anyone else.
pub(super) async fn serve<S>(
    tcp: TcpStream,
    peer: Peer,
    service: S,
    shared: Shared,
    draining: watch::Receiver<Option<Instant>>,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut opening = pin!(open(tcp, &shared));
    let mut told = draining.clone();
    let opened = tokio::select! {
        opened = &mut opening => opened,
        // A connection that says nothing even now has nothing to lose.
        _ = told.changed() => timeout(LAST_WORD, opening).await.unwrap_or(Ok(None)),
    };
    let ended = match opened {
        Ok(Some((stream, http, start))) => {
            let connection = Connection { stream, start, peer, shared: shared.clone(), draining };
            match http {
                Http::One => connection.serve_one(service).await,
                Http::Two => connection.serve_two(service).await,
            }
        }
        Ok(None) => return,
        Err(cut) => Err(cut),
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(peer = %peer.0, %error, "a connection broke off"),
        Err(cut) => {
            shared.metrics.cut(cut);
            tracing::debug!(peer = %peer.0, cause = ?cut, "a connection was cut");
        }
    }
}

/// TLS, if any, and the first bytes: what the peer speaks. `None` when it left.
async fn open(tcp: TcpStream, shared: &Shared) -> Result<Option<(Stream, Http, Bytes)>, Cut> {
    // Small answers leave at once. A socket that refuses is broken, which the next read tells.
    let _ = tcp.set_nodelay(true);
    let limits = &shared.limits;
    let mut stream = match &shared.tls {
        None => Stream::Plain(tcp),
        Some(tls) => match timeout(limits.tls_handshake, tls.accept(tcp)).await {
            Err(_) => return Err(Cut::Handshake),
            Ok(Err(_)) => return Ok(None),
            Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
        },
    };
    match timeout(limits.first_byte, sniff(&mut stream)).await {
        Err(_) => Err(Cut::FirstByte),
        Ok(Err(_) | Ok(None)) => Ok(None),
        Ok(Ok(Some((http, start)))) => Ok(Some((stream, http, start))),
    }
}

/// A connection that has shown what it speaks.
struct Connection {
    stream: Stream,
    start: Bytes,
    peer: Peer,
    shared: Shared,
    draining: watch::Receiver<Option<Instant>>,
}

impl Connection {
    async fn serve_one<S>(self, service: S) -> Result<hyper::Result<()>, Cut>
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let mut builder = http1::Builder::new();
        // Deadlines are the driver's: hyper's own would set a timer for each head and end idle connections.
        builder.header_read_timeout(None).max_buf_size(self.shared.limits.head_bytes);
        if self.shared.limits.header_count != HYPER_HEADER_COUNT {
            builder.max_headers(self.shared.limits.header_count);
        }
        let activity = Arc::new(Activity::new(Arc::clone(&self.shared.open)));
        let entry = Arc::new(Entry {
            peer: self.peer,
            activity: Arc::clone(&activity),
            shared: self.shared.clone(),
            draining: self.draining.clone(),
        });
        let metrics = self.shared.metrics.clone();
        let io = Io::new(self.stream, self.start, Arc::clone(&activity), true, metrics);
        let service = service_fn(move |request| answer(Arc::clone(&entry), service.clone(), request));
        let connection = builder.serve_connection(TokioIo::new(io), service);
        let times = times(&self.shared.limits);
        drive(connection, http1::Connection::graceful_shutdown, Http::One, &activity, &times, self.draining)
            .await
    }

    async fn serve_two<S>(self, service: S) -> Result<hyper::Result<()>, Cut>
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let limits = &self.shared.limits;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.http2_streams)
            .max_header_list_size(u32::try_from(limits.head_bytes / 2).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_local_error_reset_streams(RESET_STREAMS)
            .max_pending_accept_reset_streams(UNSEEN_RESET_STREAMS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        let activity = Arc::new(Activity::new(Arc::clone(&self.shared.open)));
        let entry = Arc::new(Entry {
            peer: self.peer,
            activity: Arc::clone(&activity),
            shared: self.shared.clone(),
            draining: self.draining.clone(),
        });
        let metrics = self.shared.metrics.clone();
        let io = Io::new(self.stream, self.start, Arc::clone(&activity), false, metrics);
        let service = service_fn(move |request| answer(Arc::clone(&entry), service.clone(), request));
        let connection = builder.serve_connection(TokioIo::new(io), service);
        let times = times(&self.shared.limits);
        drive(connection, http2::Connection::graceful_shutdown, Http::Two, &activity, &times, self.draining)
            .await
    }
}

fn times(limits: &Limits) -> Times {
    Times { head: limits.header, idle: limits.idle, stall: limits.write_stall }
}

/// What every request of a connection needs.
struct Entry {
    peer: Peer,
    activity: Arc<Activity>,
    shared: Shared,
    draining: watch::Receiver<Option<Instant>>,
}

/// Takes one request in, sheds it when there are too many, and sees its answer out.
async fn answer<S>(
    entry: Arc<Entry>,
    service: S,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    let started = Instant::now();
    let version = request.version();
    let open = entry.activity.open();
    let shared = &entry.shared;
    let mut response = match Turn::take(&shared.waiting, shared.limits.in_flight) {
        Some(_turn) => {
            request.extensions_mut().insert(entry.peer);
            match service.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
        None => {
            shared.metrics.refused(Reason::Overloaded);
            refusal(Reason::Overloaded, "The gateway holds as many requests as it may; try again later.")
        }
    };
    shared.metrics.answered(response.status(), started.elapsed().as_secs_f64());
    response.body_mut().hold(open);
    if is_draining(&entry.draining) && version <= Version::HTTP_11 {
        // HTTP/1.1's way to say that the next request goes elsewhere; hyper closes after it.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// One of the requests that may wait for their answer at one time.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let turn = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
