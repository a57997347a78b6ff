//! Many clients, one connection: each request gets a number of the gateway's in the place of its id and of its progress
//! token, and what comes back gets the client's own again. The number is never taken from a client, so equal ids of two
//! clients cannot meet.

use bytes::Bytes;
use serde_json::Value;

use crate::protocol::splice::{Message, Splice};

/// What a number stands for.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// JSON text, as the client wrote it.
    pub(super) client_id: Box<str>,
    pub(super) client_token: Option<Box<str>>,
}

/// A body without an id, or none at all: the doors let none through.
#[derive(Debug, thiserror::Error)]
#[error("the request cannot be read again: {0}")]
pub(super) struct Unreadable(String);

/// How the message is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// stdio: one line.
    Line,
    /// The body of an HTTP request.
    Body,
}

/// A client's request as the server shall get it: under `number`, the tool by the server's own name.
pub(super) fn outgoing(
    body: &[u8],
    number: u64,
    tool: Option<&str>,
    framing: Framing,
) -> Result<(Bytes, Ticket), Unreadable> {
    let message = Message::read(body).map_err(|error| Unreadable(error.to_string()))?;
    let id = message.id().ok_or_else(|| Unreadable("it has no id".into()))?;
    let params = message.params();
    let digits = number.to_string();
    let digits = digits.as_bytes();
    let mut splice = Splice::of(body);
    splice.replace(id, digits);
    let token = params.wanted_token();
    if let Some(token) = token {
        splice.replace(token, digits);
    }
    if let (Some(tool), Some(name)) = (tool, params.name) {
        let quoted = Value::from(tool).to_string();
        if quoted != name.get() {
            splice.replace(name.get(), quoted.as_bytes());
        }
    }
    let bytes = if framing == Framing::Line { splice.finish_line() } else { splice.finish() };
    Ok((bytes, Ticket { number, client_id: id.into(), client_token: token.map(Into::into) }))
}

impl Ticket {
    /// A ticket for a request of the gateway's own.
    pub(super) fn own(number: u64) -> Self {
        Self { number, client_id: number.to_string().into(), client_token: None }
    }

    /// A `notifications/progress` that came under this ticket's number, as the client shall see it.
    pub(super) fn progress(&self, message: &Message<'_>, body: &[u8]) -> Option<Bytes> {
        let token = message.params().progress_token?;
        let mut splice = Splice::of(body);
        splice.replace(token.get(), self.client_token.as_deref()?.as_bytes());
        Some(splice.finish())
    }
}

/// The number that a `notifications/progress` names.
pub(super) fn progress_number(message: &Message<'_>) -> Option<u64> {
    // Some servers give an integer token back as a string.
    message.params().progress_token?.get().trim_matches('"').parse().ok()
}

/// `notifications/cancelled` for the request under `number`.
pub(super) fn cancelled(number: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{number},"reason":"the caller gave up"}}}}"#
    )
}

/// What a server's own request is answered with: only `ping` means something to a gateway that offers no capabilities.
pub(super) fn to_server_request(message: &Message<'_>) -> Option<String> {
    let id = message.id()?;
    Some(if message.method() == Some("ping") {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
    } else {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"the gateway does not offer this"}}}}"#
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_out_under_the_gateways_number_and_comes_back_under_the_clients() {
        let body = b"{\"jsonrpc\":\"2.0\",\r\n\"id\":\"a\\u0062\",\"method\":\"tools/call\",\"params\":\
                     {\"name\":\"gold__price\",\"arguments\":{\"n\":1e400},\"_meta\":{\"progressToken\":\"t\"}}}";
        let (line, ticket) = outgoing(body, 41, Some("price"), Framing::Line).unwrap();
        assert_eq!(
            std::str::from_utf8(&line).unwrap(),
            "{\"jsonrpc\":\"2.0\",  \"id\":41,\"method\":\"tools/call\",\"params\":\
             {\"name\":\"price\",\"arguments\":{\"n\":1e400},\"_meta\":{\"progressToken\":41}}}\n"
        );
        assert_eq!((&*ticket.client_id, ticket.client_token.as_deref()), ("\"a\\u0062\"", Some("\"t\"")));

        let progress = br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":41}}"#;
        let message = Message::read(progress).unwrap();
        assert_eq!(progress_number(&message), Some(41));
        let progress = ticket.progress(&message, progress).unwrap();
        assert_eq!(
            progress,
            &br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":"t"}}"#[..]
        );
    }

    #[test]
    fn servers_requests_are_answered_at_once() {
        let read = |text: &str| to_server_request(&Message::read(text.as_bytes()).unwrap()).unwrap();
        assert!(read(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#).contains(r#""id":"p","result":{}"#));
        assert!(
            read(r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}"#)
                .contains("-32601")
        );
    }

    #[test]
    fn what_the_gateway_writes_itself_is_json_rpc() {
        assert!(Message::read(cancelled(7).as_bytes()).is_ok());
    }
}
