//! Is this body the answer to that request? Shared by every HTTP upstream.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};

use super::CallError;
use crate::message::Name;
use crate::protocol::splice::{Kind, Message, same_id};

/// Whether the head announces an event stream.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"text/event-stream";
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..TYPE.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(TYPE))
}

/// The body of one unary answer, checked to be a JSON-RPC response to the request with `sent_id`, with `client_id` in the
/// place of that id. The very bytes that came when both ids are spelled alike.
///
/// A status outside 2xx is let pass when the body is a JSON-RPC error; see [`by_status`] otherwise.
pub(super) fn unary(
    upstream: &Name,
    sent_id: &str,
    client_id: &str,
    status: StatusCode,
    body: &Bytes,
) -> Result<Bytes, CallError> {
    let message = match Message::read(body) {
        Ok(message) if status.is_success() || message.kind() == Kind::Error => message,
        _ if !status.is_success() => return Err(by_status(upstream, status)),
        Ok(message) => message,
        Err(error) => return Err(CallError::invalid(upstream, error.to_string())),
    };
    for_client(upstream, &message, sent_id, client_id, body)
}

/// A response that came for the request with `sent_id`, as the client shall see it.
pub(super) fn for_client(
    upstream: &Name,
    message: &Message<'_>,
    sent_id: &str,
    client_id: &str,
    body: &Bytes,
) -> Result<Bytes, CallError> {
    if !message.kind().is_response() {
        return Err(CallError::invalid(upstream, "it is no JSON-RPC response"));
    }
    match message.id() {
        Some(id) if id == client_id && id == sent_id => Ok(body.clone()),
        Some(id) if same_id(id, sent_id) => Ok(message.with_id(client_id.as_bytes())),
        // Who could not read the request could not read its id; one request a connection tells whose error it is.
        None if message.kind() == Kind::Error => Ok(message.with_id(client_id.as_bytes())),
        _ => Err(CallError::invalid(upstream, "its id is not that of the request")),
    }
}

/// An answer that is no JSON-RPC at all, by its status.
fn by_status(upstream: &Name, status: StatusCode) -> CallError {
    let code = status.as_u16();
    match code {
        // RFC 9110, 15.6.4: the server is not able to handle the request, so it has not.
        503 => CallError::unreachable(upstream, "HTTP status 503"),
        // Someone between us and it lost it; it may have acted.
        502 | 504 => CallError::broken(upstream, format!("HTTP status {code}")),
        300..=399 => CallError::invalid(upstream, format!("HTTP status {code}; redirects are not followed")),
        401 | 403 => {
            CallError::invalid(upstream, format!("HTTP status {code}; it refuses the gateway's credential"))
        }
        _ => CallError::invalid(upstream, format!("HTTP status {code} without a JSON-RPC error")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Bytes, CallError> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        unary(&"x".into(), "7", "7", StatusCode::from_u16(status).unwrap(), &body)
    }

    #[test]
    fn the_answer_must_be_the_one_to_the_request() {
        let good = r#"{"jsonrpc":"2.0","id":7,"result":{"n":1.50}}"#;
        assert_eq!(read(200, good).unwrap(), good.as_bytes());
        for bad in [
            r#"{"jsonrpc":"2.0","id":8,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"7","result":{}}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"x"}"#,
            "<html>",
            "",
        ] {
            assert!(matches!(read(200, bad), Err(CallError::Invalid { .. })), "{bad}");
        }
    }

    #[test]
    fn an_error_without_an_id_gets_the_clients() {
        let text = read(400, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}"#).unwrap();
        assert_eq!(text, &br#"{"jsonrpc":"2.0","id":7,"error":{"code":-32700,"message":"?"}}"#[..]);
    }

    #[test]
    fn a_status_speaks_where_the_body_does_not() {
        let reason = |status, body| read(status, body).unwrap_err().reason().label();
        assert_eq!(reason(500, "oops"), "upstream_invalid");
        assert_eq!(reason(302, ""), "upstream_invalid");
        assert_eq!(reason(401, "{}"), "upstream_invalid");
        assert_eq!(reason(503, "busy"), "upstream_unreachable");
        assert_eq!(reason(502, "bad gateway"), "upstream_broken");
        assert_eq!(reason(404, r#"{"jsonrpc":"2.0","id":7,"result":{}}"#), "upstream_invalid");
    }
}
