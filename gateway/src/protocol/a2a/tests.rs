use proptest::prelude::*;
use serde_json::json;

use super::*;

fn request(method: &str, params: &Value) -> Bytes {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string().into()
}

fn taken(body: impl Into<Bytes>, version: Option<&str>) -> Result<Parsed, Rejected> {
    read(body.into(), version, &ReadLimits::default())
}

fn refused(body: impl Into<Bytes>, version: Option<&str>) -> (Reason, Option<String>, String) {
    let rejected = taken(body, version).expect_err("refused");
    (rejected.reason, rejected.id.map(|id| id.to_string()), rejected.message)
}

#[test]
fn each_method_leads_to_its_operation() {
    let rows = [
        ("SendMessage", Some("1.0"), Operation::Send),
        ("SendStreamingMessage", Some("1.0.1"), Operation::Stream),
        ("GetTask", Some(" 1.0 "), Operation::GetTask),
        ("CancelTask", Some("1.0"), Operation::CancelTask),
        ("SubscribeToTask", Some("1.0"), Operation::Subscribe),
        ("message/send", None, Operation::Send),
        ("message/stream", Some(""), Operation::Stream),
        ("tasks/get", Some("0.3"), Operation::GetTask),
        ("tasks/cancel", Some("0.3.0"), Operation::CancelTask),
        ("tasks/resubscribe", None, Operation::Subscribe),
    ];
    for (method, version, operation) in rows {
        let parsed = taken(request(method, &json!({ "id": "t" })), version).expect(method);
        assert_eq!((parsed.operation, parsed.operation.method(parsed.dialect)), (operation, method));
    }
}

#[test]
fn bytes_stay_as_they_came() {
    let body = Bytes::from_static(br#" {"params": {"message" : {"n": 1.50e0}}, "jsonrpc":"2.0", "id":"\u0061", "method":"message/send"} "#);
    let parsed = taken(body.clone(), None).expect("taken");
    assert_eq!(parsed.body, body);
    assert_eq!(parsed.id.expect("has one").as_bytes(), br#""\u0061""#);
    assert_eq!(parsed.params.expect("has some").raw, &br#"{"message" : {"n": 1.50e0}}"#[..]);
}

#[test]
fn bad_envelopes() {
    let rows: &[(&str, Reason, Option<&str>, &str)] = &[
        ("", Reason::ParseError, None, "empty"),
        ("{\"jsonrpc\":", Reason::ParseError, None, "ends before"),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"GetTask"}"#, Reason::ParseError, None, "stands twice"),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"GetTask"}]"#, Reason::InvalidRequest, None, "batch"),
        ("[]", Reason::InvalidRequest, None, "batch"),
        ("5", Reason::InvalidRequest, None, "is a JSON object"),
        (r#"{"id":1,"method":"GetTask"}"#, Reason::InvalidRequest, Some("1"), "`jsonrpc` is missing"),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"GetTask"}"#,
            Reason::InvalidRequest,
            Some("1"),
            "must be the string",
        ),
        (r#"{"jsonrpc":"2.0","method":"GetTask"}"#, Reason::InvalidRequest, None, "`id` is missing"),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"GetTask"}"#,
            Reason::InvalidRequest,
            None,
            "string or an integer",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.0,"method":"GetTask"}"#,
            Reason::InvalidRequest,
            None,
            "string or an integer",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1e3,"method":"GetTask"}"#,
            Reason::InvalidRequest,
            None,
            "string or an integer",
        ),
        (
            r#"{"jsonrpc":"2.0","id":true,"method":"GetTask"}"#,
            Reason::InvalidRequest,
            None,
            "string or an integer",
        ),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"GetTask"}"#,
            Reason::InvalidRequest,
            None,
            "string or an integer",
        ),
        (
            r#"{"jsonrpc":"2.0","id":9223372036854775808,"method":"GetTask"}"#,
            Reason::InvalidRequest,
            None,
            "64 bits",
        ),
        (r#"{"jsonrpc":"2.0","id":"x"}"#, Reason::InvalidRequest, Some("\"x\""), "`method` is missing"),
        (
            r#"{"jsonrpc":"2.0","id":"x","method":5}"#,
            Reason::InvalidRequest,
            Some("\"x\""),
            "must be a string",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","Method":"x"}"#,
            Reason::InvalidRequest,
            Some("1"),
            "`Method`",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","extra":1}"#,
            Reason::InvalidRequest,
            Some("1"),
            "`extra`",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Reason::InvalidRequest, Some("1"), "`result`"),
    ];
    for (body, reason, id, said) in rows {
        let (got, got_id, message) = refused(body.to_string(), Some("1.0"));
        assert_eq!((got, got_id.as_deref()), (*reason, *id), "{body}: {message}");
        assert!(message.contains(said), "{body}: {message}");
    }
}

#[test]
fn lengths_are_bounded_at_the_limit() {
    let with = |id: &str, method: &str| format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"{method}"}}"#);
    taken(with(&"x".repeat(256), "tasks/get"), None).expect("256 bytes are taken");
    let (reason, id, message) = refused(with(&"x".repeat(257), "tasks/get"), None);
    assert_eq!((reason, id), (Reason::InvalidRequest, None), "{message}");
    assert_eq!(refused(with("1", &"m".repeat(128)), None).0, Reason::UnknownMethod);
    assert_eq!(refused(with("1", &"m".repeat(129)), None).0, Reason::InvalidRequest);
    for id in ["-9223372036854775808", "9223372036854775807", "0", "\"\""] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tasks/get"}}"#);
        assert_eq!(taken(body, None).expect(id).id.expect(id).to_string(), id);
    }
}

#[test]
fn method_and_version_must_agree() {
    let rows = [
        ("SendMessage", None, "send the header `A2A-Version: 1.0`"),
        ("SendMessage", Some("0.3"), "says `0.3`"),
        ("SendMessage", Some("2.0"), "version `2.0` is not spoken"),
        ("SendMessage", Some("1.7"), "version `1.7` is not spoken"),
        ("SendMessage", Some("1"), "version `1` is not spoken"),
        ("SendMessage", Some("one\u{1b}[0m"), "not spoken"),
        ("ListTasks", None, "send the header"),
        ("message/send", Some("1.0"), "says `1.0`"),
        ("message/send", Some("+0.3"), "not spoken"),
    ];
    for (method, version, said) in rows {
        let (reason, id, message) = refused(request(method, &json!({})), version);
        assert_eq!((reason, id.as_deref()), (Reason::UnsupportedVersion, Some("7")), "{method} {version:?}");
        assert!(message.contains(said) && !message.contains('\u{1b}'), "{message}");
    }
    // An unknown method comes before a wrong version.
    assert_eq!(refused(request("Nonsense", &json!({})), Some("9.9")).0, Reason::UnknownMethod);
}

#[test]
fn what_is_known_and_not_offered() {
    for (method, version) in
        [("ListTasks", "1.0"), ("GetExtendedAgentCard", "1.0"), ("agent/getAuthenticatedExtendedCard", "0.3")]
    {
        assert_eq!(refused(request(method, &json!({})), Some(version)).0, Reason::Unsupported);
    }
    for (method, version) in
        [("CreateTaskPushNotificationConfig", "1.0"), ("tasks/pushNotificationConfig/set", "0.3")]
    {
        assert_eq!(refused(request(method, &json!({})), Some(version)).0, Reason::PushUnsupported);
    }
    for (method, version, name) in [
        ("SendMessage", "1.0", "taskPushNotificationConfig"),
        ("SendMessage", "1.0", "task_push_notification_config"),
        ("message/stream", "0.3", "pushNotificationConfig"),
        ("message/stream", "0.3", "push_notification_config"),
    ] {
        let params = |value: Value| json!({ "message": {}, "configuration": { name: value } });
        assert_eq!(
            refused(request(method, &params(json!({ "url": "http://x" }))), Some(version)).0,
            Reason::PushUnsupported
        );
        taken(request(method, &params(Value::Null)), Some(version)).expect("null is unset");
    }
}

#[test]
fn what_a_message_is_about() {
    let send = |version, message: Value, configuration: Value| {
        let method = if version == "1.0" { "SendMessage" } else { "message/send" };
        taken(request(method, &json!({ "message": message, "configuration": configuration })), Some(version))
            .expect("taken")
    };
    let parsed = send(
        "1.0",
        json!({ "task_id": "t", "contextId": "c", "messageId": "m" }),
        json!({ "return_immediately": true }),
    );
    assert_eq!(
        (parsed.task_id(), parsed.context_id(), parsed.message_id()),
        (Some("t"), Some("c"), Some("m"))
    );
    assert!(parsed.wants_return_immediately());
    let parsed = send("0.3", json!({ "taskId": "", "context_id": "c" }), json!({ "blocking": false }));
    assert_eq!((parsed.task_id(), parsed.context_id()), (None, Some("c")));
    assert!(parsed.wants_return_immediately());
    assert!(!send("0.3", json!({}), json!({})).wants_return_immediately());
    let parsed = taken(request("tasks/cancel", &json!({ "id": "t" })), None).expect("taken");
    assert_eq!((parsed.task_id(), parsed.tool_name()), (Some("t"), None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_is_any_trouble(body in proptest::collection::vec(any::<u8>(), 0..100), version in ".{0,6}", method in ".{0,20}") {
        let _ = taken(body, Some(&version)).map_err(|rejected| rejected.body());
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": version }).to_string();
        let rejected = taken(body, Some(&version)).expect_err("no such method");
        serde_json::from_slice::<Value>(&rejected.body()).expect("an answer is JSON");
    }
}
