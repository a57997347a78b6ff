//! The advisor's HTTP side: the card, the JSON-RPC door, streams.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::Advisor;
use super::dialect::{self, Dialect};
use super::error::result_body;
use super::tasks::{Entry, Next};

/// Connections at once; further ones wait in the kernel.
const MAX_CONNECTIONS: usize = 512;
/// Largest request.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Time for a request's head, and again for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent stream shows that it lives; below the usual idle limits of proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long to wait when no connection can be accepted, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const CARD_PATH: &str = "/.well-known/agent-card.json";

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves connections for ever.
pub(crate) async fn serve(listener: TcpListener, advisor: Arc<Advisor>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the advisor could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small events must not wait for one another; without it they are only slower.
        let _ = stream.set_nodelay(true);
        let (advisor, builder) = (advisor.clone(), builder.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let advisor = advisor.clone();
                async move { Ok::<_, Infallible>(route(advisor, request).await) }
            });
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection to the advisor broke");
            }
            drop(slot);
        });
    }
}

async fn route(advisor: Arc<Advisor>, request: Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, CARD_PATH) => card(&advisor, request.headers()),
        (&Method::POST, "/") => rpc(advisor, request).await,
        (_, "/") => not_allowed("POST"),
        (_, CARD_PATH) => not_allowed("GET"),
        _ => {
            let text = format!("The advisor answers A2A by POST to / and has its card at {CARD_PATH}.\n");
            plain(StatusCode::NOT_FOUND, text)
        }
    }
}

fn card(advisor: &Advisor, headers: &HeaderMap) -> Response<Body> {
    let known = headers.get(IF_NONE_MATCH).is_some_and(|tag| *tag == advisor.card_tag);
    let mut response = match known {
        true => respond(StatusCode::NOT_MODIFIED, Bytes::new()),
        false => json_response(advisor.card.clone()),
    };
    response.headers_mut().insert(ETAG, advisor.card_tag.clone());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

async fn rpc(advisor: Arc<Advisor>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    if !is_json(&head.headers) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send the request as application/json.\n");
    }
    let body = match tokio::time::timeout(READ_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let text = format!("A request may have up to {MAX_BODY_BYTES} bytes.\n");
            return plain(StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        Ok(Err(_)) => return plain(StatusCode::BAD_REQUEST, "The request's body broke off.\n"),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "The request's body took too long.\n"),
    };
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let version = header("a2a-version").or_else(|| {
        let pairs = head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| name.eq_ignore_ascii_case("A2A-Version")).map(|(_, value)| value).next()
    });
    match advisor.handle(&body, version, header("traceparent")).await {
        Reply::Json(body) => json_response(body.into()),
        Reply::Stream(stream) => stream.into_response(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/json", "application/a2a+json"].iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// What the JSON-RPC door answers.
pub(crate) enum Reply {
    Json(String),
    Stream(EventStream),
}

/// A task's events from a position on, after the task itself.
pub(crate) struct EventStream {
    pub(crate) id: Box<serde_json::value::RawValue>,
    pub(crate) dialect: Dialect,
    pub(crate) entry: Arc<Entry>,
    /// The task as it was when the stream began, in the dialect's shape.
    pub(crate) first: Value,
    pub(crate) task_id: String,
    pub(crate) context_id: String,
    /// Position of the event that follows `first`.
    pub(crate) next: usize,
}

impl EventStream {
    fn into_response(self) -> Response<Body> {
        let count = self.entry.watch();
        let reader = Reader { stream: self, count, begun: false };
        let frames = stream::unfold(reader, |mut reader| async move {
            let text = reader.next().await?;
            Some((Ok(Frame::data(Bytes::from(text))), reader))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

struct Reader {
    stream: EventStream,
    count: watch::Receiver<usize>,
    begun: bool,
}

impl Reader {
    /// The next piece of the stream, or none after the task's last event.
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.begun, true) {
            return Some(self.event(&self.stream.first));
        }
        loop {
            // Marked as seen before the look, so that a change after it is not missed.
            self.count.borrow_and_update();
            match self.stream.entry.at(self.stream.next) {
                Next::Event(event) => {
                    self.stream.next += 1;
                    let EventStream { dialect, task_id, context_id, .. } = &self.stream;
                    return Some(self.event(&dialect::event(*dialect, task_id, context_id, &event)));
                }
                Next::End => return None,
                Next::Later => {}
            }
            match tokio::time::timeout(KEEP_ALIVE, self.count.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(": still working\n\n".to_owned()),
            }
        }
    }

    fn event(&self, result: &Value) -> String {
        format!("data: {}\n\n", result_body(&self.stream.id, result))
    }
}

fn respond(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn json_response(body: Bytes) -> Response<Body> {
    let mut response = respond(StatusCode::OK, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = respond(status, text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, format!("Only {allowed} is served here.\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
