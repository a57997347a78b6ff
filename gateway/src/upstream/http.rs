//! The HTTP client: one pool per upstream and worker, its limits, and the one thing that a call must know when it fails:
//! whether anything of the request was sent.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Request, Response, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tower::Service;

use super::CallError;
use super::error::Limit;
use crate::config::Timeouts;
use crate::message::Name;

/// Node and uvicorn close a connection after 5 s without a request; ours are dropped before, so that a request seldom
/// meets a connection that is being closed.
const POOL_IDLE: Duration = Duration::from_secs(4);
/// Idle connections kept per upstream and worker.
const POOL_SIZE: usize = 256;
/// Answers are read in steps of at most this size.
const READ_BUFFER_MAX: usize = 256 * 1024;

/// TLS towards upstreams: the roots of Mozilla's programme, TLS 1.2 and 1.3. Shared by all clients.
pub(super) fn tls() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_webpki_roots()
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A client for one upstream, on one runtime.
#[derive(Clone, Debug)]
pub(super) struct HttpClient {
    upstream: Name,
    first_byte: Duration,
    inner: Client<Connector, Once>,
}

impl HttpClient {
    pub(super) fn new(upstream: Name, timeouts: &Timeouts, tls: &Arc<ClientConfig>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector =
            Connector { inner: HttpsConnector::from((tcp, tls.clone())), limit: timeouts.connect };
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .http1_max_buf_size(READ_BUFFER_MAX)
            // Off: `send` decides, by what it knows of the body.
            .retry_canceled_requests(false)
            .build(connector);
        Self { upstream, first_byte: timeouts.first_byte, inner }
    }

    /// Sends a request and waits for the head of its answer. `build` makes the request around the body.
    ///
    /// Nothing is sent twice. A pooled connection may turn out to have been closed by the upstream while it was idle; then
    /// the request is sent once more, on the proof that hyper never asked [`Once`] for its data: at most a head without its
    /// body was written, which no server can act on.
    pub(super) async fn send(
        &self,
        body: &Bytes,
        deadline: Instant,
        build: impl Fn(Once) -> Request<Once>,
    ) -> Result<Response<Incoming>, CallError> {
        let first_byte = Instant::now() + self.first_byte;
        let (limit, which) =
            if deadline < first_byte { (deadline, Limit::Total) } else { (first_byte, Limit::FirstByte) };
        let mut may_retry = true;
        loop {
            let (once, taken) = Once::new(body.clone());
            let outcome = timeout_at(limit, self.inner.request(build(once))).await;
            let sent = taken.load(Ordering::Acquire);
            return match outcome {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(error)) if !sent && may_retry && !error.is_connect() => {
                    may_retry = false;
                    continue;
                }
                Ok(Err(error)) if sent => Err(CallError::broken(&self.upstream, why(&error))),
                Ok(Err(error)) => Err(CallError::unreachable(&self.upstream, why(&error))),
                Err(_) if sent => Err(CallError::timeout(&self.upstream, which)),
                Err(_) => Err(CallError::unreachable(&self.upstream, "no connection in time")),
            };
        }
    }

    /// Reads a whole answer of at most `limit` bytes.
    pub(super) async fn collect(
        &self,
        mut body: Incoming,
        limit: usize,
        deadline: Instant,
    ) -> Result<Bytes, CallError> {
        let too_large = || CallError::invalid(&self.upstream, format!("it is larger than {limit} bytes"));
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let frame = timeout_at(deadline, body.frame())
                .await
                .map_err(|_| CallError::timeout(&self.upstream, Limit::Total))?;
            let data = match frame {
                None => return Ok(if rest.is_empty() { first } else { rest.freeze() }),
                Some(Err(error)) => return Err(CallError::broken(&self.upstream, why(&error))),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            if first.len().max(rest.len()) + data.len() > limit {
                return Err(too_large());
            }
            if first.is_empty() {
                first = data;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
        }
    }
}

/// A whole body that remembers whether it was asked for its data.
#[derive(Debug)]
pub(super) struct Once {
    data: Option<Bytes>,
    taken: Arc<AtomicBool>,
}

impl Once {
    fn new(data: Bytes) -> (Self, Arc<AtomicBool>) {
        let taken = Arc::new(AtomicBool::new(false));
        (Self { data: Some(data).filter(|data| !data.is_empty()), taken: taken.clone() }, taken)
    }
}

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.store(true, Ordering::Release);
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

/// Opens connections: name lookup, TCP and TLS together within the connect limit.
#[derive(Clone, Debug)]
struct Connector {
    inner: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            tokio::time::timeout(limit, connecting)
                .await
                .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
        })
    }
}

/// What went wrong, in words that name no address.
pub(super) fn why(error: &(dyn Error + 'static)) -> Cow<'static, str> {
    std::iter::successors(Some(error), |error| beneath(*error))
        .find_map(known)
        .unwrap_or("connection failed")
        .into()
}

/// What `error` was made of. An I/O error that wraps another hides it from `source`, which gives the source of that one.
fn beneath<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn known(error: &(dyn Error + 'static)) -> Option<&'static str> {
    use std::io::ErrorKind;
    if error.is::<rustls::Error>() {
        return Some("the TLS handshake failed");
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return match error.kind() {
            ErrorKind::ConnectionRefused => Some("connection refused"),
            ErrorKind::TimedOut => Some("no connection in time"),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Some("connection reset"),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Some("no route to it"),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        if error.is_parse() {
            return Some("what it sent is not HTTP");
        }
        if error.is_incomplete_message() {
            return Some("connection closed");
        }
    }
    error.to_string().starts_with("dns error").then_some("its name cannot be resolved")
}
