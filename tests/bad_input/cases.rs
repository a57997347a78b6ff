//! Bad requests, and the error that each must get.

use crate::common::caller::message;
use crate::common::{Value, json};

const A2A: &[(&str, &str)] = &[("a2a-version", "1.0")];
const OLD_A2A: &[(&str, &str)] = &[];

/// One bad request, and the error that it must get.
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
    pub(super) status: u16,
    /// The JSON-RPC code; none when the answer is an error of HTTP.
    pub(super) code: Option<i64>,
    /// Stands in the error's message or data.
    pub(super) says: &'static str,
}

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let groups =
        [a2a_cases(), old_a2a_cases(), modern_cases(), modern_shape_cases(), legacy_cases(), http_cases()];
    groups.into_iter().flatten().collect()
}

impl Case {
    fn a2a(what: &'static str, body: impl Into<Vec<u8>>, code: i64, says: &'static str) -> Self {
        let (body, headers) = (body.into(), A2A.to_vec());
        Self { what, path: "/a2a/echo", headers, body, status: 200, code: Some(code), says }
    }

    /// A request of MCP 2026-07-28 with fitting headers.
    fn modern(what: &'static str, params: Value, status: u16, code: i64, says: &'static str) -> Self {
        let headers =
            vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "echo")];
        let body = call(params, "2026-07-28").to_string().into_bytes();
        Self { what, path: "/mcp/tools", headers, body, status, code: Some(code), says }
    }

    fn at(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

fn call(mut params: Value, version: &str) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
}

fn send(params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": "SendMessage", "params": params}).to_string()
}

fn nested(levels: usize) -> String {
    let value = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let mut params = message("deep");
    params["message"]["metadata"] = json!({"deep": "HERE"});
    send(&params).replace("\"HERE\"", &value)
}

fn a2a_cases() -> Vec<Case> {
    let good = send(&message("hello"));
    let mut without_id = message("hello");
    without_id["message"].as_object_mut().expect("a message").remove("messageId");
    let mut bad_role = message("hello");
    bad_role["message"]["role"] = json!("ROLE_KING");
    vec![
        Case::a2a("no JSON", "{\"jsonrpc\":", -32700, ""),
        Case::a2a("nothing", "", -32700, ""),
        Case::a2a("no UTF-8", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}".to_vec(), -32700, ""),
        Case::a2a("a byte order mark", format!("\u{feff}{good}"), -32700, ""),
        Case::a2a("two documents", format!("{good}{good}"), -32700, ""),
        Case::a2a("a member twice", good.replace("\"id\":7", "\"id\":7,\"id\":8"), -32700, "id"),
        Case::a2a(
            "a member twice, deep down, escaped",
            good.replace("\"role\":", "\"r\\u006fle\":\"ROLE_AGENT\",\"role\":"),
            -32700,
            "role",
        ),
        Case::a2a("too deep", nested(64), -32700, "64"),
        Case::a2a("an array of requests", format!("[{good}]"), -32600, ""),
        Case::a2a("a bare value", "1", -32600, ""),
        Case::a2a("another JSON-RPC", good.replace("2.0", "1.0"), -32600, "jsonrpc"),
        Case::a2a("a look-alike of `method`", good.replace("\"method\"", "\"Method\""), -32600, "Method"),
        Case::a2a("an unknown member", good.replace("\"id\":7", "\"id\":7,\"extra\":1"), -32600, "extra"),
        Case::a2a("an object as id", good.replace("\"id\":7", "\"id\":{}"), -32600, "id"),
        Case::a2a(
            "an endless id",
            good.replace("\"id\":7", &format!("\"id\":\"{}\"", "x".repeat(300))),
            -32600,
            "id",
        ),
        Case::a2a("no id", good.replace("\"id\":7,", ""), -32600, "id"),
        Case::a2a("an unknown method", good.replace("SendMessage", "SendMassage"), -32601, "SendMassage"),
        Case::a2a("parameters as a list", send(&json!([1])), -32602, "params"),
        Case::a2a("no message id", send(&without_id), -32602, "messageId"),
        Case::a2a("an unknown role", send(&bad_role), -32602, "role"),
        Case::a2a("another version", good.clone(), -32009, "9.9").with("a2a-version", "9.9"),
        Case::a2a(
            "a method of 0.3 under 1.0",
            good.replace("SendMessage", "message/send"),
            -32009,
            "message/send",
        ),
        Case::a2a("an unknown agent", good.clone(), -32004, "nobody").at("/a2a/nobody").status(404),
        Case::a2a("no key", good.clone(), -31401, "").with("authorization", "Bearer ").status(401),
        Case::a2a("a wrong key", good.clone(), -31401, "").with("authorization", "Bearer wrong").status(401),
        Case::a2a("a forged token", good.clone(), -31401, "")
            .with("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmFseXN0In0.")
            .status(401),
        Case::a2a("text", good.clone(), -32600, "application/json")
            .with("content-type", "text/plain")
            .status(415),
        Case::a2a("more than a mebibyte", " ".repeat((1 << 20) + 1), -32600, "").status(413),
    ]
}

fn old_a2a_cases() -> Vec<Case> {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "message/send", "params": {
        "message": {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text"}]}}});
    let unknown = json!({"jsonrpc": "2.0", "id": 7, "method": "message/sent", "params": {}});
    let case = |what, body: Value, code, says| Case {
        headers: OLD_A2A.to_vec(),
        ..Case::a2a(what, body.to_string(), code, says)
    };
    vec![
        case("0.3: a text part without text", body, -32602, "text"),
        case("0.3: an unknown method", unknown, -32601, "message/sent"),
    ]
}

fn modern_cases() -> Vec<Case> {
    let good = json!({"name": "echo", "arguments": {"text": "hello"}});
    let modern = |what, status, code, says| Case::modern(what, good.clone(), status, code, says);
    let bad_type = json!({"name": "echo", "arguments": {"text": 5}});
    vec![
        Case::modern("an argument of another type", bad_type, 200, -32602, "text"),
        Case::modern("an argument missing", json!({"name": "echo", "arguments": {}}), 200, -32602, "text"),
        Case::modern(
            "arguments as a list",
            json!({"name": "echo", "arguments": []}),
            400,
            -32602,
            "arguments",
        ),
        Case::modern("an unknown tool", json!({"name": "ohce", "arguments": {}}), 200, -32602, "ohce")
            .with("mcp-name", "ohce"),
        Case::modern("no tool", json!({"arguments": {}}), 400, -32602, "name").without("mcp-name"),
        modern("a header that contradicts the tool", 400, -32020, "Mcp-Name").with("mcp-name", "other"),
        modern("a header that contradicts the method", 400, -32020, "Mcp-Method")
            .with("mcp-method", "tools/list"),
        modern("no method header", 400, -32020, "Mcp-Method").without("mcp-method"),
        modern("a header that contradicts the version", 400, -32020, "2031-01-01")
            .with("mcp-protocol-version", "2031-01-01"),
        modern("an unknown server", 404, -32602, "nowhere").at("/mcp/nowhere"),
        modern("no key", 401, -31401, "").with("authorization", "Bearer wrong"),
        modern("takes neither JSON nor a stream", 406, -32600, "").with("accept", "text/html"),
    ]
}

fn modern_shape_cases() -> Vec<Case> {
    let base = || Case::modern("", json!({"name": "echo", "arguments": {"text": "x"}}), 400, -32700, "");
    let shape = |what, body: Vec<u8>, status, code, says| Case {
        what,
        body,
        status,
        code: Some(code),
        says,
        ..base()
    };
    let unknown = call(json!({}), "2026-07-28").to_string().replace("tools/call", "tools/cull");
    let future = call(json!({"name": "echo", "arguments": {"text": "x"}}), "2031-01-01").to_string();
    vec![
        shape("a version to come", future.into_bytes(), 400, -32022, "2031-01-01")
            .with("mcp-protocol-version", "2031-01-01"),
        shape("no JSON in MCP", b"{".to_vec(), 400, -32700, ""),
        shape("a batch in MCP", b"[]".to_vec(), 400, -32600, ""),
        shape("an unknown method in MCP", unknown.into_bytes(), 404, -32601, "tools/cull")
            .with("mcp-method", "tools/cull")
            .without("mcp-name"),
    ]
}

fn legacy_cases() -> Vec<Case> {
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}).to_string();
    let case = |what, body: &str, status, code, says| Case {
        what,
        path: "/mcp",
        headers: vec![("mcp-protocol-version", "2025-11-25")],
        body: body.as_bytes().to_vec(),
        status,
        code: Some(code),
        says,
    };
    vec![
        case("a session that never was", &list, 404, -32001, "session").with("mcp-session-id", "stranger"),
        case("no session", &list, 400, -32600, "Mcp-Session-Id"),
    ]
}

/// The cases of HTTP itself.
fn http_cases() -> Vec<Case> {
    let case =
        |what, status| Case { code: None, ..Case::a2a(what, send(&message("hello")), 0, "").status(status) };
    vec![
        case("no such path", 404).at("/b2b/echo"),
        case("a path that climbs", 404).at("/a2a/../mcp/x/y"),
        case("a header name with an underscore", 400).with("x_forwarded_user", "root"),
        case("a foreign host", 421).with("host", "attacker.example"),
        case("a foreign origin", 403).with("origin", "https://attacker.example"),
    ]
}
