//! The instant upstreams: an A2A agent and an MCP server of both eras behind one listener.
//!
//! They answer from ready-made texts, so that what is measured is what stands before them. Every
//! POST is counted; `GET /count` tells how many there were.

mod answers;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

pub(crate) use answers::Answers;

type Events = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;
type Body = Either<Full<Bytes>, Events>;

/// Serves on a port that the kernel picks, which it tells on standard output, until it is ended.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let state = Arc::new(State {
        address: listener.local_addr()?,
        answers: Answers::new(),
        posts: AtomicU64::new(0),
    });
    crate::process::announce(state.address)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = Arc::clone(&state);
        let service = service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { state.answer(request).await }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // A connection that breaks is its client's business, who counts it.
        tokio::spawn(async move { connection.await.ok() });
    }
}

struct State {
    address: SocketAddr,
    answers: Answers,
    posts: AtomicU64,
}

/// What the answer depends on.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> hyper::Result<Response<Body>> {
        let path = request.uri().path();
        if request.method() == Method::GET {
            return Ok(match path {
                "/count" => text(self.posts.load(Ordering::Relaxed).to_string()),
                _ if path.ends_with("/.well-known/agent-card.json") => json(answers::card(self.address)),
                _ => status(StatusCode::METHOD_NOT_ALLOWED),
            });
        }
        if request.method() != Method::POST {
            return Ok(status(StatusCode::OK));
        }
        let serial = self.posts.fetch_add(1, Ordering::Relaxed);
        let is_mcp = path.starts_with("/mcp");
        let is_modern = request
            .headers()
            .get("mcp-protocol-version")
            .is_some_and(|version| version.as_bytes() == answers::MODERN.as_bytes());
        let body = request.into_body().collect().await?.to_bytes();
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&body) else {
            return Ok(status(StatusCode::BAD_REQUEST));
        };
        let Some(id) = envelope.id.map(|id| id.get().as_bytes()) else {
            return Ok(status(StatusCode::ACCEPTED));
        };
        Ok(match envelope.method {
            "SendMessage" if !is_mcp => json(self.answers.send(id, serial)),
            "SendStreamingMessage" if !is_mcp => events(self.answers.stream(id, serial)),
            "tools/call" if is_mcp => json(self.answers.call(id, is_modern)),
            method if is_mcp => mcp_setup(id, method, is_modern),
            method => json(answers::unknown_method(id, method)),
        })
    }
}

/// The messages that a gateway sends before the first call.
fn mcp_setup(id: &[u8], method: &str, is_modern: bool) -> Response<Body> {
    match (method, is_modern) {
        ("initialize", _) => {
            let mut response = json(answers::initialized(id));
            response.headers_mut().insert("mcp-session-id", HeaderValue::from_static("bench-session"));
            response
        }
        ("server/discover", true) => json(answers::discovered(id)),
        ("tools/list", _) => json(answers::tools(id, is_modern)),
        ("ping", false) => json(answers::pong(id)),
        _ => {
            let mut response = json(answers::unknown_method(id, method));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

fn json(body: Bytes) -> Response<Body> {
    with_type(Either::Left(Full::new(body)), "application/json")
}

fn text(body: String) -> Response<Body> {
    with_type(Either::Left(Full::new(body.into())), "text/plain")
}

fn events(frames: Vec<Bytes>) -> Response<Body> {
    let frames: Vec<_> = frames.into_iter().map(|frame| Ok(Frame::data(frame))).collect();
    with_type(Either::Right(StreamBody::new(stream::iter(frames))), "text/event-stream")
}

fn with_type(body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}
