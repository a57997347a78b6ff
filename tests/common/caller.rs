//! Callers that know how A2A and MCP requests look.

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};

use super::http::{Answer, Client, Stream};
use super::{Result, Value, json};

/// Somebody with a key.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) client: Client,
    base: String,
    key: String,
}

impl Caller {
    pub(crate) fn new(base: &str, key: &str) -> Self {
        Self::with(Client::new(), base, key)
    }

    pub(crate) fn with(client: Client, base: &str, key: &str) -> Self {
        Self { client, base: base.to_owned(), key: key.to_owned() }
    }

    /// A POST of `body` with the caller's key and `headers` (later ones win).
    pub(crate) fn request(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let bearer = format!("Bearer {}", self.key);
        let usual = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("{}{path}", self.base).parse().expect("a URL");
        for (name, value) in usual.iter().chain(headers) {
            let name: hyper::header::HeaderName = name.parse().expect("a header name");
            request.headers_mut().insert(name, value.parse().expect("a header value"));
        }
        request
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        self.client.send(self.request(path, headers, body)).await
    }

    /// An A2A 1.0 request.
    pub(crate) async fn a2a(&self, agent: &str, method: &str, params: Value) -> Result<Answer> {
        let body = json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params});
        self.post(&format!("/a2a/{agent}"), &[("a2a-version", "1.0")], body.to_string()).await
    }

    /// A2A 1.0 `SendMessage` with `text`.
    pub(crate) async fn ask(&self, agent: &str, text: &str) -> Result<Answer> {
        self.a2a(agent, "SendMessage", message(text)).await
    }

    /// A2A 1.0 `SendStreamingMessage` with `text`.
    pub(crate) async fn stream(&self, agent: &str, text: &str) -> Result<Stream> {
        let body =
            json!({"jsonrpc": "2.0", "id": "q", "method": "SendStreamingMessage", "params": message(text)});
        let request = self.request(&format!("/a2a/{agent}"), &[("a2a-version", "1.0")], body.to_string());
        Ok(Stream::of(self.client.open(request).await?))
    }

    /// A request of MCP 2026-07-28.
    pub(crate) async fn mcp(&self, path: &str, method: &str, params: Value) -> Result<Answer> {
        self.client.send(self.modern(path, method, params)).await
    }

    pub(crate) fn modern(&self, path: &str, method: &str, mut params: Value) -> Request<Full<Bytes>> {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let name = params["name"].as_str().unwrap_or_default().to_owned();
        let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        if !name.is_empty() {
            headers.push(("mcp-name", &name));
        }
        let body = json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params});
        self.request(path, &headers, body.to_string())
    }

    /// MCP `tools/call`.
    pub(crate) async fn call(&self, path: &str, tool: &str, arguments: Value) -> Result<Answer> {
        self.mcp(path, "tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// The names that MCP `tools/list` gives.
    pub(crate) async fn tools(&self, path: &str) -> Result<Vec<String>> {
        let answer = self.mcp(path, "tools/list", json!({})).await?;
        let result = answer.last()?;
        let tools = result["result"]["tools"].as_array().with_context(|| result.to_string())?;
        Ok(tools.iter().filter_map(|tool| Some(tool["name"].as_str()?.to_owned())).collect())
    }
}

/// Parameters of an A2A 1.0 send with a fresh message id.
pub(crate) fn message(text: &str) -> Value {
    let id = uuid::Uuid::new_v4().to_string();
    json!({"message": {"messageId": id, "role": "ROLE_USER", "parts": [{"text": text}]}})
}
