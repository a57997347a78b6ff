//! Our schemas against the published ones: thousands of requests made from valid ones by breaking one thing at a
//! time. Where the decisions differ, a named erratum must explain it, and every erratum must explain something.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::message::Protocol;
use crate::protocol::Params;

/// Where the published schemas lie, relative to the repository; `KAMF_REFERENCE_SCHEMAS` names another place.
fn reference_schemas() -> Option<PathBuf> {
    let place = std::env::var_os("KAMF_REFERENCE_SCHEMAS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/protocols/reference-schemas")),
        PathBuf::from,
    );
    place.is_dir().then_some(place)
}

/// An intended difference: the name says what, the text why.
type Erratum = (&'static str, &'static str, fn(Dialect, &Value) -> bool);

const ERRATA: &[Erratum] = &[
    (
        "two spellings of one member",
        "readers disagree over which of `taskId` and `task_id` counts; policy and agent must see the same",
        |dialect, params| {
            dialect.protocol() == Protocol::A2a
                && any(params, &|value| {
                    value.as_object().is_some_and(|object| {
                        object.keys().any(|name| name.contains('_') && object.contains_key(&camel(name)))
                    })
                })
        },
    ),
    (
        "negative history",
        "A2A: a negative `historyLength` is an invalid parameter; the published schemas have no minimum",
        |_, params| {
            any_member(params, &["historyLength", "history_length"], &|value| {
                value.as_i64().is_some_and(|n| n < 0)
                    || value.as_str().is_some_and(|text| text.starts_with('-'))
            })
        },
    ),
    (
        "role number",
        "the enumeration has 1 and 2; the published schema takes every integer, and agents take others for unset",
        |dialect, params| dialect == Dialect::A2aV10 && any_member(params, &["role"], &Value::is_i64),
    ),
    (
        "empty parts",
        "A2A 0.3: a message without content says nothing; the text wants at least one part",
        |dialect, params| {
            dialect == Dialect::A2aV03 && any_member(params, &["parts"], &|value| *value == json!([]))
        },
    ),
    ("empty id", "A2A 0.3: an empty message or task id identifies nothing", |dialect, params| {
        dialect == Dialect::A2aV03 && any_member(params, &["messageId", "id"], &|value| value == "")
    }),
    (
        "file by two ways",
        "A2A 0.3: a file is inline or by reference, the types exclude both; the published union takes both",
        |dialect, params| {
            dialect == Dialect::A2aV03
                && any_member(params, &["file"], &|file| {
                    file.get("bytes").is_some() && file.get("uri").is_some()
                })
        },
    ),
    (
        "fraction in a form",
        "MCP 2026-07-28: elicited numbers may have fractions; the published file lists integers only",
        |dialect, params| {
            dialect == Dialect::McpModern
                && any_member(params, &["content"], &|value| any(value, &Value::is_f64))
        },
    ),
    (
        "null and fractions in capability settings",
        "MCP 2026-07-28: any JSON value may stand there; the published file leaves null and fractions out of it",
        |dialect, params| {
            dialect == Dialect::McpModern
                && any_member(params, &["experimental", "extensions", "tools", "form"], &|value| {
                    any(value, &|value| value.is_null() || value.is_f64())
                })
        },
    ),
    (
        "sampled content",
        "MCP 2026-07-28: what a client sampled is the server's to judge; only its outer form is checked here",
        |dialect, params| {
            dialect == Dialect::McpModern
                && any_member(params, &["inputResponses"], &|value| any_member(value, &["model"], &|_| true))
        },
    ),
];

fn any(value: &Value, test: &dyn Fn(&Value) -> bool) -> bool {
    test(value)
        || match value {
            Value::Array(elements) => elements.iter().any(|element| any(element, test)),
            Value::Object(members) => members.values().any(|member| any(member, test)),
            _ => false,
        }
}

fn any_member(value: &Value, names: &[&str], test: &dyn Fn(&Value) -> bool) -> bool {
    any(value, &|value| names.iter().any(|name| value.get(name).is_some_and(test)))
}

fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        name.extend(word.chars().take(1).flat_map(char::to_uppercase));
        name.extend(word.chars().skip(1));
    }
    name
}

/// One published definition of the parameters of a method, and requests that are valid.
struct Case {
    file: &'static str,
    definition: &'static str,
    dialect: Dialect,
    operation: Operation,
    samples: Vec<Value>,
}

fn a2a_v10() -> Vec<Case> {
    let message = json!({
        "messageId": "m", "role": "ROLE_USER", "contextId": "c", "taskId": "t", "metadata": { "k": 1.5 },
        "extensions": ["urn:x"], "referenceTaskIds": ["r"],
        "parts": [{ "text": "hello", "mediaType": "text/plain" }, { "raw": "aGk=", "filename": "f" }, { "url": "https://x" }, { "data": null, "metadata": {} }],
    });
    let configuration =
        json!({ "acceptedOutputModes": ["text"], "historyLength": 3, "returnImmediately": false });
    let snake = json!({ "message_id": "m", "role": "ROLE_AGENT", "context_id": "c", "parts": [{ "text": "x", "media_type": "t" }] });
    let send = vec![
        json!({ "message": message, "configuration": configuration, "metadata": {}, "tenant": "x" }),
        json!({ "message": snake, "configuration": { "history_length": "3", "return_immediately": true } }),
        json!({ "message": message, "configuration": { "taskPushNotificationConfig": { "url": "https://x", "token": "t", "id": "i" } } }),
    ];
    let case = |operation, definition, samples| Case {
        file: "a2a-1.0.json",
        definition,
        dialect: Dialect::A2aV10,
        operation,
        samples,
    };
    vec![
        case(Operation::Send, "SendMessageRequest", send.clone()),
        case(Operation::Stream, "SendMessageRequest", send),
        case(
            Operation::GetTask,
            "GetTaskRequest",
            vec![json!({ "id": "t", "historyLength": 2, "tenant": "x" })],
        ),
        case(
            Operation::CancelTask,
            "CancelTaskRequest",
            vec![json!({ "id": "t", "metadata": {}, "tenant": "x" })],
        ),
        case(Operation::Subscribe, "SubscribeToTaskRequest", vec![json!({ "id": "t", "tenant": "x" })]),
    ]
}

fn a2a_v03() -> Vec<Case> {
    let message = json!({
        "kind": "message", "messageId": "m", "role": "user", "contextId": "c", "taskId": "t", "metadata": { "k": 1 },
        "extensions": ["urn:x"], "referenceTaskIds": ["r"],
        "parts": [
            { "kind": "text", "text": "hello", "metadata": {} }, { "kind": "data", "data": { "a": [1] } },
            { "kind": "file", "file": { "bytes": "aGk=", "name": "n", "mimeType": "t" } }, { "kind": "file", "file": { "uri": "https://x" } },
        ],
    });
    let send = vec![
        json!({ "message": message, "metadata": {}, "configuration": { "acceptedOutputModes": ["text"], "blocking": true, "historyLength": 3 } }),
        json!({ "message": message, "configuration": { "pushNotificationConfig": { "url": "https://x", "token": "t" } } }),
    ];
    let task = || vec![json!({ "id": "t", "metadata": {} })];
    let case = |operation, definition, samples| Case {
        file: "a2a-0.3.json",
        definition,
        dialect: Dialect::A2aV03,
        operation,
        samples,
    };
    vec![
        case(Operation::Send, "MessageSendParams", send.clone()),
        case(Operation::Stream, "MessageSendParams", send),
        case(
            Operation::GetTask,
            "TaskQueryParams",
            vec![json!({ "id": "t", "historyLength": 2, "metadata": {} })],
        ),
        case(Operation::CancelTask, "TaskIdParams", task()),
        case(Operation::Subscribe, "TaskIdParams", task()),
    ]
}

fn mcp_legacy() -> Vec<Case> {
    let meta = json!({ "progressToken": "p", "other": 1 });
    let open = json!({
        "protocolVersion": "2025-11-25", "_meta": meta,
        "capabilities": { "roots": { "listChanged": true }, "sampling": { "tools": {} }, "elicitation": { "form": {} }, "experimental": { "x": {} }, "tasks": { "list": {} } },
        "clientInfo": { "name": "n", "version": "1", "title": "t", "icons": [{ "src": "https://x", "sizes": ["any"], "theme": "dark" }] },
    });
    let case = |operation, definition, samples| Case {
        file: "mcp-2025-11-25.json",
        definition,
        dialect: Dialect::McpLegacy,
        operation,
        samples,
    };
    vec![
        case(Operation::Initialize, "InitializeRequestParams", vec![open]),
        case(Operation::Initialized, "NotificationParams", vec![json!({ "_meta": { "a": 1 } })]),
        case(Operation::Ping, "RequestParams", vec![json!({ "_meta": meta })]),
        case(Operation::ListTools, "PaginatedRequestParams", vec![json!({ "cursor": "c", "_meta": meta })]),
        case(
            Operation::CallTool,
            "CallToolRequestParams",
            vec![
                json!({ "name": "t", "arguments": { "a": [1] }, "task": { "ttl": 5 }, "_meta": { "progressToken": 5 } }),
            ],
        ),
        case(
            Operation::Cancelled,
            "CancelledNotificationParams",
            vec![json!({ "requestId": 5, "reason": "r" }), json!({ "requestId": "a" })],
        ),
    ]
}

fn mcp_modern() -> Vec<Case> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "progressToken": "p",
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "form": { "a": 1 } }, "extensions": { "x/y": {} }, "sampling": { "tools": {} } },
        "io.modelcontextprotocol/clientInfo": { "name": "n", "version": "1" }, "io.modelcontextprotocol/logLevel": "info",
    });
    let answers = json!({
        "a": { "action": "accept", "content": { "n": 1, "s": "x", "l": ["y"], "b": true } },
        "b": { "roots": [{ "uri": "file:///x", "name": "n" }] },
        "c": { "role": "assistant", "model": "m", "content": { "type": "text", "text": "t" } },
    });
    let call = vec![
        json!({ "name": "t", "arguments": { "a": 1.5 }, "requestState": "s", "_meta": meta }),
        json!({ "name": "t", "inputResponses": answers, "_meta": meta }),
    ];
    let case = |operation, definition, samples| Case {
        file: "mcp-2026-07-28.json",
        definition,
        dialect: Dialect::McpModern,
        operation,
        samples,
    };
    vec![
        case(Operation::Discover, "RequestParams", vec![json!({ "_meta": meta })]),
        case(Operation::ListTools, "PaginatedRequestParams", vec![json!({ "cursor": "c", "_meta": meta })]),
        case(Operation::CallTool, "CallToolRequestParams", call),
    ]
}

/// Every value that `value` becomes by breaking one thing in it.
fn mutants(value: &Value) -> Vec<Value> {
    let mut made = [
        json!(null),
        json!(5),
        json!(-1),
        json!(1.5),
        json!("5"),
        json!(""),
        json!("other"),
        json!(true),
        json!([]),
        json!({}),
        json!([1]),
        json!({ "x": null }),
    ]
    .to_vec();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let mut without = members.clone();
                without.remove(name);
                made.push(without.into());
                for mutant in mutants(member) {
                    let mut with = members.clone();
                    with.insert(name.clone(), mutant);
                    made.push(with.into());
                }
                let snake: String = name
                    .chars()
                    .flat_map(|c| {
                        if c.is_ascii_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] }
                    })
                    .collect();
                let mut twice = members.clone();
                twice.insert(snake, member.clone());
                made.push(twice.into());
            }
            for (name, extra) in
                [("another", json!([null])), ("text", json!("x")), ("uri", json!("x")), ("data", json!({}))]
            {
                let mut with = members.clone();
                with.entry(name).or_insert(extra);
                made.push(with.into());
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                for mutant in mutants(element) {
                    let mut with = elements.clone();
                    with[index] = mutant;
                    made.push(with.into());
                }
            }
        }
        _ => {}
    }
    made
}

fn reference(folder: &std::path::Path, case: &Case) -> Validator {
    let text = std::fs::read_to_string(folder.join(case.file)).expect("a published schema");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    let place = if file.get("$defs").is_some() { "$defs" } else { "definitions" };
    let schema = json!({ "$schema": file["$schema"], "$ref": format!("#/{place}/{}", case.definition), place: file[place].take() });
    jsonschema::options()
        .should_validate_formats(false)
        .build(&schema)
        .expect("the published schema compiles")
}

fn ours(schemas: &Schemas, case: &Case, params: &Value) -> Result<Checked, Rejected> {
    let params = Some(Params { raw: Bytes::new(), tree: params.clone() });
    schemas.check(Parsed {
        body: Bytes::new(),
        dialect: case.dialect,
        operation: case.operation,
        id: None,
        params,
    })
}

#[test]
fn decides_like_the_published_schemas() {
    let Some(folder) = reference_schemas() else {
        eprintln!(
            "skipped: comparison with the published schemas of A2A 0.3 and 1.0, MCP 2025-11-25 and 2026-07-28 (not found)"
        );
        return;
    };
    let schemas = Schemas::compile().expect("our schemas compile");
    let mut used = BTreeSet::new();
    let mut unexplained = BTreeMap::new();
    let mut compared = 0;
    for case in [a2a_v10(), a2a_v03(), mcp_legacy(), mcp_modern()].into_iter().flatten() {
        let reference = reference(&folder, &case);
        for sample in &case.samples {
            assert!(reference.is_valid(sample), "{} refuses the sample {sample}", case.definition);
            ours(&schemas, &case, sample).expect("a valid request is taken");
            for params in mutants(sample) {
                compared += 1;
                let (theirs, result) = (reference.is_valid(&params), ours(&schemas, &case, &params));
                if theirs == result.is_ok() {
                    continue;
                }
                match ERRATA.iter().find(|(_, _, explains)| explains(case.dialect, &params)) {
                    Some((name, _, _)) => drop(used.insert(*name)),
                    None => {
                        let message = result.map_or_else(|rejected| rejected.message, |_| "taken".into());
                        unexplained.insert(
                            format!("{} {}: {params}", case.dialect.version(), case.definition),
                            message,
                        );
                    }
                }
            }
        }
    }
    assert!(unexplained.is_empty(), "{} unexplained of {compared}: {unexplained:#?}", unexplained.len());
    let stale: Vec<_> =
        ERRATA.iter().map(|(name, _, _)| name).filter(|name| !used.contains(**name)).collect();
    assert!(stale.is_empty(), "errata that explain nothing: {stale:?}");
    assert!(compared > 3_000, "only {compared} requests were compared");
}
