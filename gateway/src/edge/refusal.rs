//! An answer of the edge itself. Refusals that a protocol has words for are made there, not here.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::body::{Body, full};
use crate::outcome::Reason;

/// The refusal for `reason`: its HTTP status, `Retry-After` where a later try may do, and
/// `{"error":{"reason":…,"message":…}}`.
pub fn refusal(reason: Reason, message: &str) -> Response<Body> {
    let text = serde_json::json!({"error": {"reason": reason.label(), "message": message}}).to_string();
    let status = StatusCode::from_u16(reason.row().http).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = json(status, Bytes::from(text));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = reason.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer whose body is JSON.
pub fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
