//! The advisor as a client of the gateway: tool calls by MCP 2026-07-28 over HTTP.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::{Map, Value, json};

use crate::demo::DemoError;
use crate::message::Trace;

const VERSION: &str = "2026-07-28";
/// A gateway that takes no connection within this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The tools answer in milliseconds; the rest is room for a gateway that waits for one to start.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Far more than the tools answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A connection pool to the gateway, with the key that names the advisor there.
pub(crate) struct Gateway {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: Uri,
    authorization: HeaderValue,
    next_id: AtomicU64,
}

/// What a tool answered.
#[derive(Debug)]
pub(crate) struct ToolAnswer {
    /// All its text.
    pub(crate) text: String,
    data: Map<String, Value>,
}

impl ToolAnswer {
    /// A whole number of the answer.
    pub(crate) fn number(&self, name: &str) -> Result<i64, CallError> {
        self.data.get(name).and_then(Value::as_i64).ok_or_else(|| CallError::Lacks(name.to_owned()))
    }

    /// Any member of the answer.
    pub(crate) fn member(&self, name: &str) -> Value {
        self.data.get(name).cloned().unwrap_or_default()
    }
}

/// Why a call did not give an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the gateway cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the gateway did not answer within {CALL_TIMEOUT:?}")]
    Timeout,
    #[error("the gateway refused it with HTTP {status}{detail}")]
    Refused { status: StatusCode, detail: String },
    #[error("the gateway answered error {code}: {message}")]
    Rpc { code: i64, message: String },
    #[error("the tool answered: {0}")]
    Tool(String),
    #[error("the answer is not what MCP {VERSION} says: {0}")]
    Malformed(&'static str),
    #[error("the tool's answer lacks the whole number `{0}`")]
    Lacks(String),
}

impl Gateway {
    pub(crate) fn new(gateway: &Uri, key: &str) -> Result<Self, DemoError> {
        let wrong = || DemoError::Gateway { address: gateway.to_string() };
        let authority = gateway.authority().ok_or_else(wrong)?;
        if gateway.scheme_str() != Some("http") {
            return Err(wrong());
        }
        let endpoint = format!("http://{authority}{}/mcp", gateway.path().trim_end_matches('/'));
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| DemoError::Key)?;
        if key.trim().is_empty() {
            return Err(DemoError::Key);
        }
        authorization.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let endpoint = endpoint.parse().map_err(|_| wrong())?;
        Ok(Self { client, endpoint, authorization, next_id: AtomicU64::new(1) })
    }

    /// Calls a tool by its prefixed name as a span of its own below `trace`. Dropping the call
    /// closes its exchange, which is how this version of MCP cancels.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: Value,
        trace: &Trace,
    ) -> Result<ToolAnswer, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let traceparent = Trace::continue_from(Some(&trace.traceparent())).traceparent();
        let body = json!({
            "jsonrpc": "2.0",
            "id": id,
            "method": "tools/call",
            "params": {
                "name": tool,
                "arguments": arguments,
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": VERSION,
                    "io.modelcontextprotocol/clientCapabilities": {},
                    "io.modelcontextprotocol/clientInfo": {
                        "name": "advisor",
                        "version": env!("CARGO_PKG_VERSION"),
                    },
                    "traceparent": traceparent,
                },
            },
        });
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header(AUTHORIZATION, self.authorization.clone())
            .header("mcp-protocol-version", VERSION)
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool)
            .header("traceparent", traceparent)
            .body(Full::from(body.to_string()))
            .map_err(|e| CallError::Unreachable(e.into()))?;
        let exchange = async {
            let response =
                self.client.request(request).await.map_err(|e| CallError::Unreachable(e.into()))?;
            read_answer(response, id).await
        };
        tokio::time::timeout(CALL_TIMEOUT, exchange).await.unwrap_or(Err(CallError::Timeout))
    }
}

async fn read_answer(response: Response<hyper::body::Incoming>, id: u64) -> Result<ToolAnswer, CallError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|_| CallError::Malformed("the body broke off or is too long"))?.to_bytes();
    let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let message = if media_type.starts_with("text/event-stream") {
        response_in_stream(&body, id)
    } else {
        serde_json::from_slice(&body).ok()
    };
    if !head.status.is_success() {
        return Err(CallError::Refused { status: head.status, detail: refusal_text(message.as_ref()) });
    }
    read_message(message.ok_or(CallError::Malformed("there is no JSON-RPC response"))?, id)
}

/// The message of an error body, JSON-RPC or the gateway's own.
fn refusal_text(body: Option<&Value>) -> String {
    let text = body.and_then(|body| body.get("error")?.get("message")?.as_str());
    text.map_or_else(String::new, |text| format!(": {text}"))
}

/// The response among the events of a stream; notifications on the way are passed over.
fn response_in_stream(stream: &[u8], id: u64) -> Option<Value> {
    let text = std::str::from_utf8(stream).ok()?;
    let mut data = String::new();
    for line in text.lines().chain([""]) {
        if let Some(more) = line.strip_prefix("data:") {
            data.push_str(more);
            data.push('\n');
        } else if line.is_empty() && !data.is_empty() {
            let message: Option<Value> = serde_json::from_str(&data).ok();
            if let Some(message) =
                message.filter(|message| message["id"] == id && message["method"].is_null())
            {
                return Some(message);
            }
            data.clear();
        }
    }
    None
}

fn read_message(mut message: Value, id: u64) -> Result<ToolAnswer, CallError> {
    if let Some(error) = message.get("error") {
        return Err(CallError::Rpc {
            code: error["code"].as_i64().unwrap_or_default(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
        });
    }
    if message["id"] != id {
        return Err(CallError::Malformed("it is not the response to this request"));
    }
    let blocks =
        message["result"]["content"].as_array().ok_or(CallError::Malformed("it has no `content`"))?;
    let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
    let text = texts.join("\n");
    if message["result"]["isError"] == true {
        return Err(CallError::Tool(text));
    }
    match message["result"]["structuredContent"].take() {
        Value::Object(data) => Ok(ToolAnswer { text, data }),
        _ => Err(CallError::Malformed("it has no `structuredContent`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_is_found_among_notifications() {
        let stream =
            b": hello\r\n\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\r\n\r\n\
            event: message\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"id\":4,\"result\":{}}\n\n";
        assert_eq!(response_in_stream(stream, 4).unwrap()["result"], json!({}));
        assert!(response_in_stream(stream, 5).is_none());
    }

    #[test]
    fn addresses_and_keys_that_cannot_work_are_refused_at_once() {
        let gateway = |address: &str, key: &str| Gateway::new(&address.parse().unwrap(), key);
        for address in ["https://127.0.0.1:8080", "/mcp", "127.0.0.1:8080"] {
            assert!(matches!(gateway(address, "k"), Err(DemoError::Gateway { .. })), "{address}");
        }
        for key in ["", " ", "a\nb"] {
            assert!(matches!(gateway("http://127.0.0.1:8080", key), Err(DemoError::Key)));
        }
        let below = gateway("http://127.0.0.1:8080/base/", "k").ok().unwrap();
        assert_eq!(below.endpoint, "http://127.0.0.1:8080/base/mcp");
    }
}
