//! What is sent, and what must come back.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::wire::Answer;

/// Size of every request body.
pub(crate) const BODY_BYTES: usize = 1024;

/// Events in the answer to one A2A stream.
pub(crate) const EVENTS: usize = 20;

/// Ids of requests are written in this many digits, so that they can be replaced in place.
const ID_DIGITS: usize = 10;

/// The smallest number of [`ID_DIGITS`] digits: the first id.
pub(crate) const FIRST_ID: u64 = 1_000_000_000;

/// The tool that the MCP server offers.
pub(crate) const TOOL: &str = "echo";

/// The agent's and the MCP server's name in the gateway's configuration; part of the paths.
pub(crate) const UPSTREAM_NAME: &str = "bench";

/// A kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    /// A2A 1.0 `SendMessage`, answered by a task of about 1 KiB.
    A2aSend,
    /// A2A 1.0 `SendStreamingMessage`, answered by 20 events.
    A2aStream,
    /// MCP 2026-07-28 `tools/call`, answered by a result of about 1 KiB.
    McpCall,
}

impl Case {
    pub(crate) const ALL: [Self; 3] = [Self::A2aSend, Self::A2aStream, Self::McpCall];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A2aSend => "a2a_send",
            Self::A2aStream => "a2a_stream",
            Self::McpCall => "mcp_call",
        }
    }

    /// The JSON-RPC text with `padding` in its longest member.
    fn body(self, padding: &str) -> String {
        let id = FIRST_ID;
        match self {
            Self::A2aSend | Self::A2aStream => {
                let method = if self == Self::A2aSend { "SendMessage" } else { "SendStreamingMessage" };
                format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"message":{{"messageId":"m-{id}","role":"ROLE_USER","parts":[{{"text":"{padding}"}}]}},"configuration":{{"acceptedOutputModes":["text/plain"]}}}}}}"#
                )
            }
            Self::McpCall => format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{TOOL}","arguments":{{"text":"{padding}","count":7,"tags":["load","test"]}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"loadtest","version":"1"}}}}}}}}"#
            ),
        }
    }

    /// Request line and headers, without the length.
    fn head(self, host: &str, key: &str) -> String {
        let (path, own) = match self {
            Self::A2aSend => ("a2a", "Accept: application/json\r\nA2A-Version: 1.0\r\n".to_owned()),
            Self::A2aStream => ("a2a", "Accept: text/event-stream\r\nA2A-Version: 1.0\r\n".to_owned()),
            Self::McpCall => (
                "mcp",
                format!(
                    "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {TOOL}\r\n"
                ),
            ),
        };
        format!(
            "POST /{path}/{UPSTREAM_NAME} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n{own}"
        )
    }

    /// Whether `answer` is the right and whole answer to the request with this id.
    pub(crate) fn check(self, id: u64, answer: &Answer<'_>) -> Result<()> {
        let body = answer.body;
        ensure!(answer.status == 200, "status {}: {}", answer.status, excerpt(body));
        match (self, answer.event_stream) {
            (Self::A2aStream, true) => check_stream(id, body),
            (Self::A2aStream, false) => bail!("an answer that is no stream: {}", excerpt(body)),
            (_, false) => check_response(id, body),
            (Self::A2aSend, true) => bail!("a stream in answer to a send: {}", excerpt(body)),
            // Notifications may come before the response, which is last.
            (Self::McpCall, true) => check_response(id, events(body).last().unwrap_or_default()),
        }
    }
}

/// One request, complete as bytes; only its id changes from use to use.
pub(crate) struct Request {
    bytes: Vec<u8>,
    ids: Vec<usize>,
}

impl Request {
    /// The request of `case` to the server at `host`, with a body of [`BODY_BYTES`].
    pub(crate) fn new(case: Case, host: &str, key: &str) -> Self {
        let padding = BODY_BYTES - case.body("").len();
        let body = case.body(&"a question of some length ".repeat(BODY_BYTES / 26 + 1)[..padding]);
        let text = format!("{}Content-Length: {}\r\n\r\n{body}", case.head(host, key), body.len());
        let ids = text.match_indices(&FIRST_ID.to_string()).map(|(at, _)| at).collect();
        Self { bytes: text.into_bytes(), ids }
    }

    /// The request's bytes under this id.
    pub(crate) fn with_id(&mut self, id: u64) -> &[u8] {
        let mut digits = [b'0'; ID_DIGITS];
        let mut rest = id;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        for &at in &self.ids {
            self.bytes[at..at + ID_DIGITS].copy_from_slice(&digits);
        }
        &self.bytes
    }
}

/// The members of a JSON-RPC response that show whether it is the right one.
#[derive(Deserialize)]
struct Response<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

fn check_response(id: u64, text: &[u8]) -> Result<()> {
    result_of(id, text).map(drop)
}

fn result_of(id: u64, text: &[u8]) -> Result<&str> {
    let response: Response<'_> = serde_json::from_slice(text)
        .with_context(|| format!("an answer that is no JSON-RPC response: {}", excerpt(text)))?;
    ensure!(response.error.is_none(), "an error: {}", excerpt(text));
    ensure!(response.id == Some(id), "the answer to another request than {id}: {}", excerpt(text));
    let result = response.result.with_context(|| format!("no result: {}", excerpt(text)))?;
    ensure!(!result.get().contains("\"isError\":true"), "a failed tool: {}", excerpt(text));
    Ok(result.get())
}

/// Every event once, in order, under the request's id.
fn check_stream(id: u64, body: &[u8]) -> Result<()> {
    let mut count = 0;
    for event in events(body) {
        let result = result_of(id, event)?;
        let position = [b'0' + u8::try_from(count / 10)?, b'0' + u8::try_from(count % 10)?];
        ensure!(
            position_of(result) == Some(&position[..]),
            "event {count} is another or out of order: {}",
            excerpt(event)
        );
        count += 1;
    }
    ensure!(count == EVENTS, "{count} events instead of {EVENTS}");
    Ok(())
}

/// The two digits behind the mark that the agent puts into each event.
fn position_of(result: &str) -> Option<&[u8]> {
    let at = result.rfind(POSITION_MARK)? + POSITION_MARK.len();
    result.as_bytes().get(at..at + 2)
}

/// What stands before an event's position in its text.
pub(crate) const POSITION_MARK: &str = "\"position\":\"";

/// The data of each event of an SSE body; every event here is one line of data.
fn events(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|&byte| byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(<[u8]>::trim_ascii)
        .filter(|data| !data.is_empty())
}

/// The beginning of a text, for an error message.
fn excerpt(text: &[u8]) -> String {
    const LONGEST: usize = 200;
    String::from_utf8_lossy(&text[..text.len().min(LONGEST)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Answers;

    fn answer(body: &[u8], event_stream: bool) -> Answer<'_> {
        Answer { status: 200, event_stream, body }
    }

    #[test]
    fn requests_have_the_size_and_the_id_that_is_asked_for() {
        for case in Case::ALL {
            let mut request = Request::new(case, "127.0.0.1:1", "secret");
            let text = String::from_utf8(request.with_id(1_234_567_890).to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with("Content-Length: 1024"), "{head}");
            assert_eq!(body.len(), BODY_BYTES);
            let value: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(value["id"], 1_234_567_890);
        }
    }

    #[test]
    fn a_stream_is_right_only_whole_in_order_and_under_its_id() {
        let frames = Answers::new().stream(b"1000000007", 3);
        let body = frames.concat();
        Case::A2aStream.check(1_000_000_007, &answer(&body, true)).unwrap();
        assert!(Case::A2aStream.check(1_000_000_008, &answer(&body, true)).is_err());
        assert!(Case::A2aStream.check(1_000_000_007, &answer(&frames[..19].concat(), true)).is_err());
        let mut swapped = frames;
        swapped.swap(4, 5);
        assert!(Case::A2aStream.check(1_000_000_007, &answer(&swapped.concat(), true)).is_err());
    }

    #[test]
    fn errors_and_foreign_answers_are_wrong() {
        let right = br#"{"jsonrpc":"2.0","id":5,"result":{}}"#;
        Case::McpCall.check(5, &answer(right, false)).unwrap();
        let events =
            [b"event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\ndata: ", &right[..], b"\n\n"];
        Case::McpCall.check(5, &answer(&events.concat(), true)).unwrap();
        for text in [
            r#"{"jsonrpc":"2.0","id":6,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"5","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":5,"error":{"code":1,"message":"x"}}"#,
            r#"{"jsonrpc":"2.0","id":5,"result":{"isError":true}}"#,
            r#"{"jsonrpc":"2.0","id":5}"#,
            "",
        ] {
            assert!(Case::McpCall.check(5, &answer(text.as_bytes(), false)).is_err(), "{text}");
        }
    }
}
