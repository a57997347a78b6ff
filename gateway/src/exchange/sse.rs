//! Streams to clients: messages as server-sent events.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};

use crate::config::Limits;
use crate::edge::{self, Body, SseItem};
use crate::message::{Dialect, Protocol};
use crate::outcome::Reason;

/// When a client whose stream broke should come again.
const RETRY: Duration = Duration::from_millis(500);

/// A response body of `items`, with comments while nothing comes.
pub(super) fn body(items: impl Stream<Item = SseItem> + Send + 'static, limits: &Limits) -> Body {
    edge::events(items, limits.sse_keep_alive)
}

/// The head of an event stream that no proxy may hold back.
pub(super) fn headers(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

/// One message; `id` where the client can go on from it.
pub(super) fn item(id: Option<String>, data: Bytes) -> SseItem {
    SseItem::Data { id, event: None, data }
}

/// What a stream begins with for clients that know it: a place to go on from before anything was said (MCP
/// 2025-11-25, streamable HTTP).
pub(super) fn prime(id: String) -> [SseItem; 2] {
    [SseItem::Retry(RETRY), SseItem::Data { id: Some(id), event: None, data: Bytes::new() }]
}

/// The last message, if the end has one: the answer of an MCP call, or an error. A2A names an error in
/// mid-stream by its event type, as its servers do.
pub(super) fn last(dialect: Dialect, reason: Reason, id: Option<String>, body: Bytes) -> Option<SseItem> {
    if body.is_empty() {
        return None;
    }
    let failed = !matches!(reason, Reason::Completed | Reason::UpstreamError);
    let event = (failed && dialect.protocol() == Protocol::A2a).then_some("error");
    Some(SseItem::Data { id, event, data: body })
}
