//! The edge over real sockets.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::{Request, Response, StatusCode};
use prometheus::Registry;
use prometheus::proto::Metric;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service};

use super::*;
use crate::config::{Limits, Public};

mod connections;
mod drain;
mod http2;
mod requests;
mod streams;
mod tls;

/// Longer than anything here takes, shorter than a test that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Limits that a test can wait for.
fn quick() -> Limits {
    let short = Duration::from_millis(300);
    Limits {
        first_byte: short,
        header: short,
        tls_handshake: short,
        body_idle: short,
        body_total: Duration::from_millis(900),
        idle: Duration::from_millis(900),
        write_stall: short,
        sse_keep_alive: Duration::from_millis(200),
        ..Limits::default()
    }
}

/// A server on a port of its own, on two workers, behind its door.
struct Gateway {
    running: Running,
    address: SocketAddr,
    registry: Registry,
}

fn serve(limits: &Limits) -> Gateway {
    serve_public(&Public::default(), limits)
}

fn serve_public(public: &Public, limits: &Limits) -> Gateway {
    let public = Public { listen: "127.0.0.1:0".parse().unwrap(), ..public.clone() };
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).unwrap();
    let server = Server::bind(&public, limits).unwrap().with_metrics(metrics.clone());
    let address = server.address();
    let door = DoorLayer::public(&public, address, limits, metrics);
    let limits = Arc::new(limits.clone());
    let running = server.serve(move |_| door.layer(Paths(Arc::clone(&limits)))).unwrap();
    Gateway { running, address, registry }
}

impl Gateway {
    /// The counter or gauge `name`, of the series with the label value `label` unless that is empty.
    fn metric(&self, name: &str, label: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect(name);
        let fits = |series: &&Metric| {
            label.is_empty() || series.get_label().iter().any(|pair| pair.value() == label)
        };
        let series = family.get_metric().iter().find(fits).expect(label);
        series.get_counter().get_value() + series.get_gauge().get_value()
    }
}

/// What the tests call.
#[derive(Clone)]
struct Paths(Arc<Limits>);

impl Service<Request<Incoming>> for Paths {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let limits = Arc::clone(&self.0);
        Box::pin(async move { Ok(respond(&limits, request).await) })
    }
}

async fn respond(limits: &Limits, request: Request<Incoming>) -> Response<Body> {
    let event = |data: &'static str| SseItem::Data { id: None, event: None, data: Bytes::from(data) };
    match request.uri().path() {
        "/peer" => json(StatusCode::OK, request.extensions().get::<Peer>().unwrap().0.to_string().into()),
        "/slow" => {
            sleep(Duration::from_millis(500)).await;
            json(StatusCode::OK, Bytes::from("\"slow\""))
        }
        "/echo" => {
            let length = request.headers().get(CONTENT_LENGTH);
            let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
            match collect(request.into_body(), length, &BodyLimits::from(limits)).await {
                Ok(body) => json(StatusCode::OK, body),
                Err(reason) => refusal(reason, "the body"),
            }
        }
        "/events" => event_stream(stream::iter([event("1"), event("2")]), limits.sse_keep_alive),
        "/abort" => event_stream(stream::iter([event("1"), SseItem::Abort]), limits.sse_keep_alive),
        "/quiet" => event_stream(stream::iter([event("1")]).chain(stream::pending()), limits.sse_keep_alive),
        "/flood" => {
            let data = Bytes::from(vec![b'x'; 64 * 1024]);
            let item = SseItem::Data { id: None, event: None, data };
            event_stream(stream::repeat(item), limits.sse_keep_alive)
        }
        _ => json(StatusCode::OK, Bytes::from("\"ok\"")),
    }
}

/// A client that writes what it likes.
struct Raw(TcpStream);

impl Raw {
    async fn to(gateway: &Gateway) -> Self {
        Self(TcpStream::connect(gateway.address).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// What comes until the gateway closes; a reset is an error.
    async fn rest(&mut self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.expect("the gateway closes")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What comes until `end` was seen.
    async fn until(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        while !String::from_utf8_lossy(&bytes).contains(end) {
            let read = timeout(PATIENCE, self.0.read_buf(&mut bytes)).await.expect("an answer").unwrap();
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        }
        String::from_utf8(bytes).unwrap()
    }

    /// How long the gateway keeps the connection from now on.
    async fn kept(&mut self) -> Duration {
        let start = Instant::now();
        let _ = self.rest().await;
        start.elapsed()
    }
}

const HEAD: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Status code of a raw answer.
fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// A POST to /echo whose body is `body`.
fn post(body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Asserts that `took` is `limit`, give or take what a busy machine adds.
fn about(took: Duration, limit: Duration) {
    assert!(took >= limit - Duration::from_millis(50), "{took:?} is before {limit:?}");
    assert!(took < limit + Duration::from_millis(700), "{took:?} is long after {limit:?}");
}
