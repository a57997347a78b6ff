//! Answers: what happened, as an HTTP response in the caller's own protocol.

use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::edge::{self, Body};
use crate::message::{Dialect, RelayId};
use crate::outcome::Reason;
use crate::protocol::{RawId, Rejected, Violation};

/// Names the exchange, so that `kamf audit show` finds it.
const RELAY_ID: HeaderName = HeaderName::from_static("kamf-relay-id");

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) dialect: Dialect,
    pub(super) id: Option<RawId>,
    pub(super) message: String,
    pub(super) violations: Vec<Violation>,
    /// The protocol version asked for, when that is what was wrong.
    pub(super) requested: Option<String>,
    /// Value of `WWW-Authenticate`, for [`Reason::Unauthenticated`].
    pub(super) challenge: Option<String>,
    /// Seconds, when more is known than the reason's own.
    pub(super) retry_after: Option<u64>,
}

impl Refused {
    pub(super) fn new(
        reason: Reason,
        dialect: Dialect,
        id: Option<&RawId>,
        message: impl Into<String>,
    ) -> Self {
        Rejected::new(reason, dialect, id.cloned(), message).into()
    }

    /// The JSON-RPC error in the caller's dialect.
    pub(super) fn body(&self) -> Bytes {
        let mut rejected = Rejected::new(self.reason, self.dialect, self.id.clone(), self.message.as_str());
        rejected.violations.clone_from(&self.violations);
        rejected.requested.clone_from(&self.requested);
        rejected.body()
    }

    pub(super) fn response(&self, relay_id: Option<RelayId>) -> Response<Body> {
        let mut response = json(status(self.reason, self.dialect), self.body(), relay_id);
        let headers = response.headers_mut();
        let seconds = self.retry_after.or(self.reason.retry_after().map(u64::from));
        if let Some(seconds) = seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        // The rest of the body is not read, so an HTTP/1.1 connection cannot carry another request; a client that is
        // not told would send one and lose it. (On HTTP/2 hyper takes the header out.)
        if matches!(self.reason, Reason::BodyTooLarge | Reason::BodyTimeout) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(challenge) = self.challenge.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Rejected> for Refused {
    fn from(rejected: Rejected) -> Self {
        Self {
            reason: rejected.reason,
            dialect: rejected.dialect,
            id: rejected.id,
            message: rejected.message,
            violations: rejected.violations,
            requested: rejected.requested,
            challenge: None,
            retry_after: None,
        }
    }
}

/// The HTTP status of an answer that ended for `reason`.
pub(super) fn status(reason: Reason, dialect: Dialect) -> StatusCode {
    StatusCode::from_u16(reason.http_status(dialect)).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: Bytes, relay_id: Option<RelayId>) -> Response<Body> {
    let mut response = Response::new(edge::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    name(&mut response, relay_id);
    response
}

/// The answer to a notification.
pub(super) fn accepted() -> Response<Body> {
    let mut response = Response::new(edge::full(Bytes::new()));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Puts the relay id on a response.
pub(super) fn name(response: &mut Response<Body>, relay_id: Option<RelayId>) {
    if let Some(value) = relay_id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        response.headers_mut().insert(RELAY_ID, value);
    }
}
