use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::protocol::RawId;

const MODERN: &str = "2026-07-28";

fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({ META_VERSION: MODERN, META_CAPABILITIES: {} });
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

fn legacy(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params })
}

fn headers<'a>(version: Option<&'a str>, method: Option<&'a str>, name: Option<&'a str>) -> McpHeaders<'a> {
    McpHeaders { version, method, name, ..McpHeaders::default() }
}

fn post(body: &Value, headers: &McpHeaders<'_>) -> Result<Message, Rejected> {
    read(body.to_string().into(), headers, &ReadLimits::default())
}

fn parsed(body: &Value, headers: &McpHeaders<'_>) -> Parsed {
    match post(body, headers).expect("taken") {
        Message::Request(parsed) => parsed,
        other => panic!("a request: {other:?}"),
    }
}

fn refused(body: &Value, headers: &McpHeaders<'_>) -> (Dialect, i32, u16) {
    let rejected = post(body, headers).expect_err("refused");
    let (dialect, reason) = (rejected.dialect, rejected.reason);
    (dialect, reason.rpc_code(dialect), reason.http_status(dialect))
}

#[test]
fn both_eras_on_one_endpoint() {
    let call = parsed(
        &modern("tools/call", json!({ "name": "t", "arguments": { "a": 1 } })),
        &headers(Some(MODERN), Some("tools/call"), Some("t")),
    );
    assert_eq!(
        (call.dialect, call.operation, call.tool_name()),
        (Dialect::McpModern, Operation::CallTool, Some("t"))
    );
    assert_eq!(call.tool_arguments(), Some(&json!({ "a": 1 })));
    let discover =
        parsed(&modern("server/discover", json!({})), &headers(Some(MODERN), Some("server/discover"), None));
    assert_eq!(discover.operation, Operation::Discover);
    for version in [None, Some("2025-11-25")] {
        let call = parsed(&legacy("tools/call", &json!({ "name": "t" })), &headers(version, None, None));
        assert_eq!((call.dialect, call.operation), (Dialect::McpLegacy, Operation::CallTool));
        assert_eq!(call.tool_arguments(), None);
    }
    let open = parsed(
        &legacy("initialize", &json!({ "protocolVersion": "2025-06-18" })),
        &headers(Some("2025-06-18"), None, None),
    );
    assert_eq!((open.operation, open.requested_version()), (Operation::Initialize, Some("2025-06-18")));
    assert_eq!((pick_version("2025-11-25"), pick_version("2024-11-05")), ("2025-11-25", "2025-11-25"));
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    assert!(parsed(&ping, &headers(None, None, None)).params.is_none());
}

#[test]
fn modern_headers_repeat_the_body() {
    let call = modern("tools/call", json!({ "name": "naïve" }));
    let list = modern("tools/list", json!({}));
    let encoded = encode_header("naïve");
    let mismatch = (Dialect::McpModern, -32020, 400);
    parsed(&call, &headers(Some(MODERN), Some("tools/call"), Some(&encoded)));
    parsed(&list, &headers(Some(MODERN), Some("tools/list"), None));
    let rows = [
        (&call, headers(None, Some("tools/call"), Some(&*encoded))),
        (&call, headers(Some("2025-11-25"), Some("tools/call"), Some(&encoded))),
        (&call, headers(Some(MODERN), None, Some(&encoded))),
        (&call, headers(Some(MODERN), Some("Tools/Call"), Some(&encoded))),
        (&call, headers(Some(MODERN), Some("tools/list"), Some(&encoded))),
        (&call, headers(Some(MODERN), Some("tools/call"), None)),
        (&call, headers(Some(MODERN), Some("tools/call"), Some("naive"))),
        (&call, headers(Some(MODERN), Some("tools/call"), Some("=?base64?bmFpdmU?="))),
        (&call, headers(Some(MODERN), Some("tools/call"), Some("=?base64?%%?="))),
        (&list, headers(Some(MODERN), None, None)),
    ];
    for (body, headers) in rows {
        assert_eq!(refused(body, &headers), mismatch, "{headers:?}");
    }
}

#[test]
fn versions_that_are_not_served() {
    let mut body = modern("tools/list", json!({}));
    body["params"]["_meta"][META_VERSION] = json!("2099-01-01");
    let sent = headers(Some("2099-01-01"), Some("tools/list"), None);
    assert_eq!(refused(&body, &sent), (Dialect::McpModern, -32022, 400));
    let answer: Value =
        serde_json::from_slice(&post(&body, &sent).expect_err("refused").body()).expect("JSON");
    assert_eq!(answer["error"]["data"]["supported"], json!([MODERN]));
    assert_eq!(answer["error"]["data"]["requested"], "2099-01-01");
    assert_eq!(answer["id"], 1);
    // The header alone says so too, before a client knows what else is missing.
    let bare = legacy("tools/list", &json!({}));
    assert_eq!(
        refused(&bare, &headers(Some("2099-01-01"), Some("tools/list"), None)),
        (Dialect::McpModern, -32022, 400)
    );
    for version in ["2024-11-05", "2025-06-18", "junk", "", "2025-11-2é"] {
        assert_eq!(
            refused(&bare, &headers(Some(version), None, None)),
            (Dialect::McpLegacy, -32602, 400),
            "{version}"
        );
    }
}

#[test]
fn a_modern_request_needs_its_meta() {
    let bare = legacy("tools/list", &json!({}));
    assert_eq!(
        refused(&bare, &headers(Some(MODERN), Some("tools/list"), None)),
        (Dialect::McpModern, -32602, 400)
    );
    let mut odd = modern("tools/list", json!({}));
    odd["params"]["_meta"][META_VERSION] = json!(5);
    let rejected = post(&odd, &headers(Some(MODERN), Some("tools/list"), None)).expect_err("refused");
    assert_eq!(rejected.reason, Reason::InvalidParams);
    assert_eq!(rejected.violations[0].path, "/_meta/io.modelcontextprotocol~1protocolVersion");
}

#[test]
fn methods_that_are_not_served() {
    let none = McpHeaders::default();
    assert_eq!(refused(&legacy("no/such", &json!({})), &none), (Dialect::McpLegacy, -32601, 200));
    assert_eq!(refused(&legacy("server/discover", &json!({})), &none), (Dialect::McpLegacy, -32601, 200));
    assert_eq!(
        post(&legacy("resources/list", &json!({})), &none).expect_err("refused").reason,
        Reason::Unsupported
    );
    for method in ["no/such", "ping", "initialize", "subscriptions/listen"] {
        let sent = headers(Some(MODERN), Some(method), None);
        assert_eq!(refused(&modern(method, json!({})), &sent), (Dialect::McpModern, -32601, 404), "{method}");
    }
    let long = "n".repeat(129);
    let rejected = post(&legacy("tools/call", &json!({ "name": long })), &none).expect_err("refused");
    assert_eq!((rejected.reason, rejected.violations[0].path.as_str()), (Reason::InvalidParams, "/name"));
}

#[test]
fn notifications_and_answers() {
    let none = McpHeaders::default();
    let notice = |method: &str| json!({ "jsonrpc": "2.0", "method": method, "params": { "requestId": 5 } });
    assert_eq!(parsed(&notice("notifications/initialized"), &none).operation, Operation::Initialized);
    let cancelled = parsed(&notice("notifications/cancelled"), &none);
    assert!(
        cancelled.id.is_none() && RawId::from_number(5).matches(cancelled.cancelled_id().expect("has one"))
    );
    for method in ["notifications/roots/list_changed", "notifications/whatever"] {
        assert!(matches!(post(&notice(method), &none), Ok(Message::Notice(Dialect::McpLegacy))), "{method}");
    }
    let answer = json!({ "jsonrpc": "2.0", "id": 3, "result": {} });
    assert!(matches!(post(&answer, &none), Ok(Message::Response)));
    assert_eq!(refused(&answer, &headers(Some(MODERN), None, None)), (Dialect::McpModern, -32600, 400));
    for odd in [
        json!({ "jsonrpc": "2.0", "id": 3, "result": {}, "error": {} }),
        json!({ "jsonrpc": "2.0", "result": {} }),
        json!({ "jsonrpc": "2.0", "id": 3, "result": {}, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": 3, "result": {}, "params": {} }),
        json!({ "jsonrpc": "2.0", "method": "tools/list" }),
        json!({ "jsonrpc": "2.0", "id": 3, "method": "notifications/initialized" }),
        json!([{ "jsonrpc": "2.0", "id": 3, "method": "ping" }]),
    ] {
        assert_eq!(refused(&odd, &none), (Dialect::McpLegacy, -32600, 400), "{odd}");
    }
}

#[test]
fn headers_are_taken_once_and_as_text() {
    let mut map = hyper::HeaderMap::new();
    for (name, value) in [
        ("mcp-protocol-version", MODERN),
        ("Mcp-Method", "tools/call"),
        ("mcp-name", " t "),
        ("mcp-param-region", "eu"),
        ("mcp-session-id", "x"),
        ("accept", "*/*"),
    ] {
        map.insert(hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let taken = McpHeaders::new(&map);
    assert_eq!(
        (taken.version, taken.method, taken.name, taken.param("Region")),
        (Some(MODERN), Some("tools/call"), Some("t"), Some("eu"))
    );
    assert_eq!(taken.fault, None);
    map.append("mcp-method", "tools/list".parse().unwrap());
    let twice = McpHeaders::new(&map);
    assert_eq!(
        refused(&modern("tools/call", json!({ "name": "t" })), &twice),
        (Dialect::McpModern, -32020, 400)
    );
}

#[test]
fn header_values_are_written_and_read_back() {
    for text in ["plain", "with blank", "", " outer", "naïve", "=?base64?eA==?=", "a\nb", "tab\tin"] {
        let written = encode_header(text);
        assert!(written.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')), "{written}");
        assert_eq!(decode_header(&written).as_deref(), Some(text));
    }
    assert_eq!(encode_header("plain"), "plain");
    for wrong in ["=?base64?eB==?=", "=?base64?e A==?=", "=?base64?/w==?="] {
        assert_eq!(decode_header(wrong), None, "{wrong}");
    }
}

#[test]
fn arguments_repeated_as_headers() {
    let schema = json!({ "type": "object", "properties": {
        "region": { "type": "string", "x-mcp-header": "Region" },
        "deep": { "type": "object", "properties": { "count": { "type": "integer", "x-mcp-header": "Count" } } },
        "dry": { "type": "boolean", "x-mcp-header": "Dry" },
    } });
    let sent = |params: &[(&'static str, &'static str)]| McpHeaders {
        params: params.to_vec(),
        ..McpHeaders::default()
    };
    let arguments = json!({ "region": "eü", "deep": { "count": 42 }, "dry": null });
    let check = |headers| check_param_headers(&schema, Some(&arguments), &headers);
    check(sent(&[("region", "=?base64?ZcO8?="), ("count", "42"), ("other", "x")])).expect("agrees");
    for (wrong, said) in [
        (sent(&[("count", "42")]), "`Mcp-Param-Region` is missing"),
        (sent(&[("region", "eu"), ("count", "42")]), "contradicts the argument /region"),
        (sent(&[("region", "=?base64?ZcO8?="), ("count", "43")]), "contradicts the argument /deep/count"),
        (sent(&[("region", "=?base64?ZcO8?="), ("count", "42"), ("dry", "true")]), "not given"),
        (sent(&[("region", "=?base64?*?="), ("count", "42")]), "not valid"),
    ] {
        let message = check(wrong).expect_err(said);
        assert!(message.contains(said), "{message}");
    }
    check_param_headers(&schema, None, &sent(&[])).expect("no arguments, no headers");
}

#[test]
fn annotations_that_break_the_rules() {
    let property = |schema: Value| json!({ "type": "object", "properties": { "a": schema } });
    for wrong in [
        property(json!({ "type": "number", "x-mcp-header": "A" })),
        property(json!({ "type": "string", "x-mcp-header": "not a token" })),
        property(json!({ "type": "string", "x-mcp-header": "" })),
        property(json!({ "type": "array", "items": { "type": "string", "x-mcp-header": "A" } })),
        property(json!({ "anyOf": [{ "type": "string", "x-mcp-header": "A" }] })),
        json!({ "type": "object", "x-mcp-header": "A" }),
        json!({ "properties": { "a": { "type": "string", "x-mcp-header": "A" }, "b": { "type": "string", "x-mcp-header": "a" } } }),
    ] {
        ParamHeaders::learn(&wrong).expect_err(&wrong.to_string());
    }
    assert!(ParamHeaders::learn(&property(json!({ "type": "string" }))).expect("no annotation").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_is_any_trouble(body in proptest::collection::vec(any::<u8>(), 0..100), version in ".{0,12}", method in ".{0,12}") {
        let sent = headers(Some(&version), Some(&method), Some(&method));
        let _ = read(body.into(), &sent, &ReadLimits::default()).map_err(|rejected| rejected.body());
        for body in [legacy(&method, &json!(version)), modern(&method, json!({ "name": version }))] {
            let _ = post(&body, &sent).map_err(|rejected| rejected.body());
        }
        let _ = decode_header(&version);
        let written = encode_header(&version).into_owned();
        let back = decode_header(&written).map(|text| text.into_owned());
        prop_assert_eq!(back, Some(version));
    }
}
