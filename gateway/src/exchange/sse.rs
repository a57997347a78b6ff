//! Streams to clients: messages as server-sent events.

use bytes::Bytes;
use futures_util::Stream;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};

use crate::config::Limits;
use crate::edge::{self, Body, SseItem};
use crate::message::{Dialect, Protocol};
use crate::outcome::Reason;

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

/// One message.
pub(super) fn item(data: Bytes) -> SseItem {
    SseItem::Data { id: None, event: None, data }
}

/// The last message, if the end has one: the answer of an MCP call, or an error. A2A names an error in
/// mid-stream by its event type, as its servers do.
pub(super) fn last(dialect: Dialect, reason: Reason, body: Bytes) -> Option<SseItem> {
    if body.is_empty() {
        return None;
    }
    let failed = !matches!(reason, Reason::Completed | Reason::UpstreamError);
    let event = (failed && dialect.protocol() == Protocol::A2a).then_some("error");
    Some(SseItem::Data { id: None, event, data: body })
}
