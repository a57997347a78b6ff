//! The texts that the instant upstreams answer with.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::cases::{EVENTS, POSITION_MARK, TOOL};

/// The MCP version in which every request stands alone.
pub(crate) const MODERN: &str = "2026-07-28";

/// The MCP version that is opened by `initialize`.
const LEGACY: &str = "2025-11-25";

/// Stands in a template for the request's id.
const ID_HOLE: &str = "<id>";

/// Stands in a template for the number of the request, which names its task.
const SERIAL_HOLE: &str = "<serial>";

/// Answers to the calls that are measured, ready but for id and task.
pub(crate) struct Answers {
    send: Template,
    stream: Vec<Template>,
    call_modern: Template,
    call_legacy: Template,
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self {
            send: Template::new(&task_text()),
            stream: (0..EVENTS).map(|position| Template::new(&event_text(position))).collect(),
            call_modern: Template::new(&call_text(true)),
            call_legacy: Template::new(&call_text(false)),
        }
    }

    /// A completed task, about 1 KiB.
    pub(crate) fn send(&self, id: &[u8], serial: u64) -> Bytes {
        self.send.fill(id, serial)
    }

    /// The events of one stream, each one SSE event.
    pub(crate) fn stream(&self, id: &[u8], serial: u64) -> Vec<Bytes> {
        self.stream.iter().map(|event| event.fill(id, serial)).collect()
    }

    /// The result of a tool, about 1 KiB.
    pub(crate) fn call(&self, id: &[u8], is_modern: bool) -> Bytes {
        let template = if is_modern { &self.call_modern } else { &self.call_legacy };
        template.fill(id, 0)
    }
}

/// A text with holes for the request's id and its number.
struct Template(Vec<Piece>);

enum Piece {
    Text(Vec<u8>),
    Id,
    Serial,
}

impl Template {
    fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        for (index, part) in text.split(ID_HOLE).enumerate() {
            if index > 0 {
                pieces.push(Piece::Id);
            }
            for (index, part) in part.split(SERIAL_HOLE).enumerate() {
                if index > 0 {
                    pieces.push(Piece::Serial);
                }
                pieces.push(Piece::Text(part.as_bytes().to_vec()));
            }
        }
        Self(pieces)
    }

    fn fill(&self, id: &[u8], serial: u64) -> Bytes {
        let serial = serial.to_string();
        let pieces = || {
            self.0.iter().map(|piece| match piece {
                Piece::Text(text) => text.as_slice(),
                Piece::Id => id,
                Piece::Serial => serial.as_bytes(),
            })
        };
        let mut bytes = Vec::with_capacity(pieces().map(<[u8]>::len).sum());
        pieces().for_each(|piece| bytes.extend_from_slice(piece));
        bytes.into()
    }
}

fn task_text() -> String {
    let answer = "an answer of some length that the agent gives to each question ".repeat(10);
    format!(
        r#"{{"jsonrpc":"2.0","id":{ID_HOLE},"result":{{"task":{{"id":"task-{SERIAL_HOLE}","contextId":"context-{SERIAL_HOLE}","status":{{"state":"TASK_STATE_COMPLETED","timestamp":"2026-01-01T00:00:00Z"}},"artifacts":[{{"artifactId":"answer","name":"answer","parts":[{{"text":"{answer}","mediaType":"text/plain"}}]}}],"metadata":{{"gen_ai.usage.input_tokens":120,"gen_ai.usage.output_tokens":80,"gen_ai.response.model":"bench-1"}}}}}}}}"#
    )
}

/// Event 0 is the task, the last one its end, those between are chunks of its artifact.
fn event_text(position: usize) -> String {
    let metadata = format!(r#""metadata":{{{POSITION_MARK}{position:02}"}}"#);
    let ids = format!(r#""taskId":"task-{SERIAL_HOLE}","contextId":"context-{SERIAL_HOLE}""#);
    let result = if position == 0 {
        format!(
            r#"{{"task":{{"id":"task-{SERIAL_HOLE}","contextId":"context-{SERIAL_HOLE}","status":{{"state":"TASK_STATE_WORKING"}},{metadata}}}}}"#
        )
    } else if position + 1 == EVENTS {
        format!(r#"{{"statusUpdate":{{{ids},"status":{{"state":"TASK_STATE_COMPLETED"}},{metadata}}}}}"#)
    } else {
        let append = position > 1;
        format!(
            r#"{{"artifactUpdate":{{{ids},"artifact":{{"artifactId":"answer","parts":[{{"text":"a few words of the answer "}}]}},"append":{append},{metadata}}}}}"#
        )
    };
    format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{ID_HOLE},\"result\":{result}}}\n\n")
}

fn call_text(is_modern: bool) -> String {
    let text = "a result of some length that the tool gives to each call ".repeat(16);
    let kind = if is_modern { r#""resultType":"complete","# } else { "" };
    format!(
        r#"{{"jsonrpc":"2.0","id":{ID_HOLE},"result":{{{kind}"content":[{{"type":"text","text":"{text}"}}]}}}}"#
    )
}

/// The agent's card; its interface is the listener itself.
pub(crate) fn card(address: SocketAddr) -> Bytes {
    serialise(&json!({
        "name": "bench", "description": "Answers at once.", "version": "1.0.0",
        "supportedInterfaces": [
            { "url": format!("http://{address}/a2a"), "protocolBinding": "JSONRPC", "protocolVersion": "1.0" }
        ],
        "capabilities": { "streaming": true },
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": "answer", "name": "answer", "description": "Answers at once.", "tags": ["bench"] }],
    }))
}

pub(crate) fn initialized(id: &[u8]) -> Bytes {
    respond(
        id,
        &json!({
            "protocolVersion": LEGACY,
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "bench", "version": "1.0.0" },
        }),
    )
}

pub(crate) fn discovered(id: &[u8]) -> Bytes {
    respond(
        id,
        &json!({
            "resultType": "complete", "supportedVersions": [MODERN, LEGACY], "capabilities": { "tools": {} },
            "ttlMs": 3_600_000, "cacheScope": "public",
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "bench", "version": "1.0.0" } },
        }),
    )
}

pub(crate) fn tools(id: &[u8], is_modern: bool) -> Bytes {
    let mut result = json!({ "tools": [{
        "name": TOOL,
        "description": "Gives a fixed text.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "text": { "type": "string", "minLength": 1, "maxLength": 4096 },
                "count": { "type": "integer", "minimum": 0, "maximum": 100 },
                "tags": { "type": "array", "items": { "type": "string" }, "maxItems": 10 },
            },
            "required": ["text", "count"],
            "additionalProperties": false,
        },
    }] });
    if is_modern {
        result["resultType"] = json!("complete");
        result["ttlMs"] = json!(3_600_000);
        result["cacheScope"] = json!("public");
    }
    respond(id, &result)
}

pub(crate) fn pong(id: &[u8]) -> Bytes {
    respond(id, &json!({}))
}

pub(crate) fn unknown_method(id: &[u8], method: &str) -> Bytes {
    let error = json!({ "code": -32601, "message": format!("{method} is not served here") });
    wrap(id, "error", &error)
}

fn respond(id: &[u8], result: &Value) -> Bytes {
    wrap(id, "result", result)
}

/// A JSON-RPC response around the id's bytes as they came.
fn wrap(id: &[u8], member: &str, value: &Value) -> Bytes {
    let id = String::from_utf8_lossy(id);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{value}}}"#).into()
}

fn serialise(value: &Value) -> Bytes {
    value.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_json_under_its_id_and_of_the_size_it_should_have() {
        let answers = Answers::new();
        for (text, size) in [
            (answers.send(b"\"a\"", 12), 900..1200),
            (answers.call(b"\"a\"", true), 900..1200),
            (answers.call(b"\"a\"", false), 900..1200),
            (discovered(b"\"a\""), 1..1000),
            (initialized(b"\"a\""), 1..1000),
            (tools(b"\"a\"", true), 1..1000),
        ] {
            let value: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(value["id"], "a");
            assert!(value["result"].is_object());
            assert!(size.contains(&text.len()), "{} bytes", text.len());
        }
        for event in answers.stream(b"7", 12) {
            let data = event.strip_prefix(b"data: ").unwrap();
            let value: Value = serde_json::from_slice(data).unwrap();
            assert_eq!(value["id"], 7);
        }
    }
}
