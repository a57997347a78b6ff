//! `Last-Event-ID`: the rest of a stream, from the log, on any replica.

use futures_util::{Stream, stream};
use hyper::Response;
use hyper::header::{HeaderMap, HeaderName};

use super::positions::{At, Bound};
use super::respond::{self, Refused};
use super::{Gateway, sse};
use crate::edge::{Body, SseItem};
use crate::message::Dialect;
use crate::outcome::Reason;
use crate::protocol::RawId;
use crate::protocol::splice::Message;
use crate::relay::{FollowError, Following, Reply};

/// Names the last event that a client has (WHATWG HTML, 9.2.4).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a client says of where it stands; none when it says nothing.
pub(super) fn asked(headers: &HeaderMap) -> Option<&str> {
    headers.get(&LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default())
}

/// The rest of the stream whose event `text` is, as far as `bound` knows it. `id`: of the request that asks, where events
/// must carry it.
///
/// # Errors
/// The position was not made for this caller and place, or the log does not have it.
pub(super) async fn go_on(
    gateway: &Gateway,
    dialect: Dialect,
    bound: Bound,
    text: &str,
    id: Option<&RawId>,
) -> Result<Response<Body>, Box<Refused>> {
    let refused = |reason, message: String| Box::new(Refused::new(reason, dialect, id, message));
    let Some(at) = bound.read(text) else {
        let message = "Last-Event-ID is no position that this caller was given here";
        return Err(refused(Reason::UnknownPosition, message.to_owned()));
    };
    let following = match gateway.follower.follow(at.id, at.position).await {
        Ok(following) => following,
        Err(error @ FollowError::Gone) => return Err(refused(Reason::UnknownPosition, error.to_string())),
        Err(error) => return Err(refused(Reason::LogUnavailable, error.to_string())),
    };
    gateway.metrics.resumed(dialect);
    tracing::debug!(id = %at.id, sequence = at.sequence, "a client goes on with its stream");
    Ok(response(gateway, at, rest(dialect, bound, at, following, id.cloned())))
}

/// The answer with `items`, named after the exchange whose stream they are.
pub(super) fn response(
    gateway: &Gateway,
    at: At,
    items: impl Stream<Item = SseItem> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(sse::body(items, &gateway.limits));
    sse::headers(&mut response);
    respond::name(&mut response, Some(at.id));
    response
}

/// What follows on `at`.
pub(super) fn rest(
    dialect: Dialect,
    bound: Bound,
    at: At,
    following: Following,
    id: Option<RawId>,
) -> impl Stream<Item = SseItem> + Send + 'static {
    stream::unfold(Some((following, at, bound, id)), move |state| async move {
        let (mut following, mut at, bound, id) = state?;
        match following.next().await {
            Some(Reply::Event { position, sequence, body }) => {
                (at.position, at.sequence) = (position, sequence);
                let item = sse::item(Some(bound.write(at)), named(body, id.as_ref()));
                Some((item, Some((following, at, bound, id))))
            }
            Some(Reply::End { position, reason, body, .. }) => {
                at.position = position;
                let body = if body.is_empty() { body } else { named(body, id.as_ref()) };
                sse::last(dialect, reason, Some(bound.write(at)), body).map(|item| (item, None))
            }
            None => Some((SseItem::Abort, None)),
        }
    })
}

/// The message as the answer to the request `id`.
fn named(body: bytes::Bytes, id: Option<&RawId>) -> bytes::Bytes {
    match id.zip(Message::read(&body).ok()) {
        Some((id, message)) => message.with_id(id.as_bytes()),
        None => body,
    }
}
