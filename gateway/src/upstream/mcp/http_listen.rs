//! Hearing of changed tools from an HTTP server: a GET stream in a legacy session, `subscriptions/listen` in the modern era.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::http::{HttpServer, Session, method_header, tell};
use super::learn;
use super::remap;
use super::shelf::Introduced;
use crate::message::Dialect;
use crate::protocol::splice::{Kind, Message};
use crate::upstream::CallError;
use crate::upstream::answer::is_event_stream;
use crate::upstream::backoff::Backoff;
use crate::upstream::http::{HttpClient, Once};
use crate::upstream::sse_body::{SseBody, StreamLimits};

/// Pauses between streams that ended.
const REOPEN_FIRST: Duration = Duration::from_secs(1);
const REOPEN_MAX: Duration = Duration::from_secs(60);
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// Keeps a stream open for as long as it is polled, if the server says that it announces changes and offers one.
pub(super) async fn listen(
    server: &Arc<HttpServer>,
    client: &HttpClient,
    introduced: &Introduced,
    session: &Arc<Session>,
) -> Infallible {
    let announces = [&introduced.legacy, &introduced.modern]
        .into_iter()
        .flatten()
        .any(|info| info.capabilities["tools"]["listChanged"] == Value::Bool(true));
    let mut backoff = Backoff::new(REOPEN_FIRST, REOPEN_MAX);
    if !announces {
        return std::future::pending().await;
    }
    loop {
        match open(server, client, session).await {
            Ok(response) if response.status().is_success() && is_event_stream(response.headers()) => {
                hear(server, client, session, response.into_body()).await;
                // What was said in between is not repeated.
                server.relist.notify_one();
            }
            // It has no such stream: then lists are refreshed by their age alone.
            Ok(_) => return std::future::pending().await,
            Err(_) => {}
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn open(
    server: &HttpServer,
    client: &HttpClient,
    session: &Session,
) -> Result<Response<Incoming>, CallError> {
    let deadline = Instant::now() + HEAD_LIMIT;
    if session.modern {
        let params = json!({"_meta": learn::modern_meta(), "notifications": {"toolsListChanged": true}});
        let method = "subscriptions/listen";
        let body = json!({"jsonrpc": "2.0", "id": server.number(), "method": method, "params": params});
        let mut headers = server.headers(Dialect::McpModern, None);
        method_header(method, &mut headers);
        return server.post(client, &body.to_string().into(), &headers, deadline).await;
    }
    let mut headers = server.headers(Dialect::McpLegacy, session.legacy.as_ref());
    headers.remove(CONTENT_TYPE);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let build = |body: Once| {
        let mut request = Request::new(body);
        *request.uri_mut() = server.url.clone();
        *request.headers_mut() = headers.clone();
        request
    };
    client.send(&Bytes::new(), deadline, build).await
}

/// Reads one stream to its end, however that comes.
async fn hear(server: &Arc<HttpServer>, client: &HttpClient, session: &Arc<Session>, body: Incoming) {
    let limits = StreamLimits::new(server.limits(), server.timeouts.silence, None);
    let mut body = SseBody::new(server.name().clone(), body, limits);
    while let Ok(Some(event)) = body.next().await {
        let Ok(message) = Message::read(&event.data) else { continue };
        match message.kind() {
            Kind::Notification if message.method() == Some("notifications/tools/list_changed") => {
                server.relist.notify_one();
            }
            Kind::Request if !session.modern => {
                if let Some(answer) = remap::to_server_request(&message) {
                    tell(server, client, session, answer);
                }
            }
            _ => {}
        }
    }
}
