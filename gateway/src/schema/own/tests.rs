use serde_json::json;

use super::*;
use crate::protocol::{ReadLimits, a2a};

fn check(method: &str, params: Option<&Value>) -> Result<Checked, Rejected> {
    let mut request = json!({ "jsonrpc": "2.0", "id": "i", "method": method });
    if let Some(params) = params {
        request["params"] = params.clone();
    }
    let version = if method.contains('/') { "0.3" } else { "1.0" };
    let parsed =
        a2a::read(request.to_string().into(), Some(version), &ReadLimits::default()).expect("parsed");
    Schemas::compile().expect("compiles").check(parsed)
}

fn violations(method: &str, params: &Value) -> Vec<(String, String)> {
    let rejected = check(method, Some(params)).expect_err("refused");
    assert_eq!(
        (rejected.reason, rejected.id.map(|id| id.to_string())),
        (Reason::InvalidParams, Some("\"i\"".into()))
    );
    rejected.violations.into_iter().map(|violation| (violation.path, violation.message)).collect()
}

#[test]
fn violations_name_the_place_in_the_callers_terms() {
    let message =
        |parts: Value| json!({ "message": { "messageId": "m", "role": "ROLE_USER", "parts": parts } });
    let rows = [
        (message(json!([{ "text": 5 }])), "/message/parts/0/text", "must be null or a string"),
        (
            message(json!([{ "text": "x" }, {}])),
            "/message/parts/1",
            "a part has exactly one of `text`, `raw`, `url`, `data`",
        ),
        (
            message(json!([{ "text": "x", "url": "y" }])),
            "/message/parts/0",
            "a part has exactly one of `text`, `raw`, `url`, `data`",
        ),
        (message(json!([{ "raw": "not base64!" }])), "/message/parts/0/raw", "must be base64"),
        (message(json!([])), "/message/parts", "must have an element"),
        (json!({}), "", "member `message` is missing"),
        (json!([]), "", "must be an object"),
        (json!("text"), "", "must be an object"),
        (json!(null), "", "must be an object"),
        (
            json!({ "message": { "messageId": "m", "role": "user", "parts": [{ "text": "x" }] } }),
            "/message/role",
            "must be ROLE_USER or ROLE_AGENT",
        ),
        (
            json!({ "message": { "messageId": "", "role": 1, "parts": [{ "text": "x" }] } }),
            "/message/messageId",
            "must not be empty",
        ),
        (
            json!({ "message": { "role": 1, "parts": [{ "text": "x" }] } }),
            "/message",
            "member `messageId` is missing or written in two spellings",
        ),
    ];
    for (params, path, message) in rows {
        assert_eq!(violations("SendMessage", &params), [(path.to_owned(), message.to_owned())], "{params}");
    }
    let old = json!({ "message": { "kind": "message", "messageId": "m", "role": "user", "parts": [{ "kind": "text" }, { "kind": "video" }, { "kind": "file", "file": {} }] } });
    let found = violations("message/send", &old);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], ("/message/parts/0".into(), "member `text` is missing".into()));
    assert_eq!(
        found[1],
        ("/message/parts/1/kind".into(), "must be one of \"text\", \"file\", \"data\"".into())
    );
    assert_eq!(found[2], ("/message/parts/2/file".into(), "a file has exactly one of `bytes`, `uri`".into()));
    assert_eq!(violations("GetTask", &json!({ "id": "t", "historyLength": -1 }))[0].0, "/historyLength");
}

#[test]
fn absent_parameters_count_as_none() {
    let rejected = check("tasks/get", None).expect_err("an id is needed");
    assert_eq!(rejected.message, "the parameters are not valid: params member `id` is missing");
}

#[test]
fn violations_are_bounded() {
    let parts = |count: usize| json!({ "message": { "messageId": "m", "role": "ROLE_USER", "parts": vec![json!({}); count] } });
    assert_eq!(violations("SendMessage", &parts(100)).len(), VIOLATIONS);
    assert_eq!(violations("SendMessage", &parts(10_000)).len(), 1);
    let long =
        json!({ "message": { "messageId": "m", "role": "x".repeat(1 << 19), "parts": [{ "text": 5 }] } });
    let rejected = check("SendMessage", Some(&long)).expect_err("refused");
    assert!(rejected.body().len() < 4_096, "values are not repeated");
}

#[test]
fn every_operation_that_is_parsed_has_a_schema() {
    let schemas = Schemas::compile().expect("compiles");
    let operations = [
        Operation::Send,
        Operation::Stream,
        Operation::GetTask,
        Operation::CancelTask,
        Operation::Subscribe,
        Operation::Initialize,
        Operation::Initialized,
        Operation::Discover,
        Operation::Ping,
        Operation::ListTools,
        Operation::CallTool,
        Operation::Cancelled,
    ];
    for dialect in [Dialect::A2aV03, Dialect::A2aV10, Dialect::McpLegacy, Dialect::McpModern] {
        for operation in operations {
            let served = Operation::from_method(dialect, operation.method(dialect)).is_some();
            let known = schemas
                .methods
                .iter()
                .any(|method| method.dialect == dialect && method.operation == operation);
            assert_eq!(served, known, "{operation:?} in {dialect:?}");
        }
    }
}

#[test]
fn every_definition_of_a_file_compiles() {
    for (_, text) in FILES {
        let file: Value = serde_json::from_str(text).expect("JSON");
        for name in file["$defs"].as_object().expect("definitions").keys() {
            let schema = standalone(&file, &json!({ "$ref": format!("#/$defs/{name}") }));
            jsonschema::options().with_pattern_options(PatternOptions::regex()).build(&schema).expect(name);
        }
    }
}

/// The files stand by themselves: any validator can check a whole request with them.
#[test]
fn a_file_checks_a_whole_request() {
    let file: Value = serde_json::from_str(FILES[0].1).expect("JSON");
    let validator = jsonschema::validator_for(&file).expect("compiles");
    let request = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    assert!(validator.is_valid(&request("tasks/get", json!({ "id": "t" }))));
    assert!(!validator.is_valid(&request("tasks/get", json!({}))));
    assert!(!validator.is_valid(&request("GetTask", json!({ "id": "t" }))));
}
