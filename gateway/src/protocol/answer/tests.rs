use super::*;

fn json_of(body: &Bytes) -> Value {
    serde_json::from_slice(body).expect("an answer is JSON")
}

fn id() -> RawId {
    RawId::new(Bytes::from_static(br#""\u0061""#))
}

#[test]
fn the_id_comes_back_byte_for_byte() {
    let body = error_body(Dialect::A2aV03, Reason::InvalidParams, Some(&id()), "no", &[]);
    assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":"\u0061","error":{"#), "{body:?}");
    assert_eq!(
        &result_body(&id(), &json!({ "a": 1 }))[..],
        br#"{"jsonrpc":"2.0","id":"\u0061","result":{"a":1}}"#
    );
    assert_eq!(
        &result_body_raw(&RawId::from_number(7), b"null")[..],
        br#"{"jsonrpc":"2.0","id":7,"result":null}"#
    );
}

#[test]
fn an_unknown_id_is_null_or_absent() {
    for (dialect, id) in [
        (Dialect::A2aV03, Some(Value::Null)),
        (Dialect::A2aV10, Some(Value::Null)),
        (Dialect::McpLegacy, Some(Value::Null)),
        (Dialect::McpModern, None),
    ] {
        let answer = json_of(&error_body(dialect, Reason::ParseError, None, "no", &[]));
        assert_eq!(answer.get("id").cloned(), id, "{dialect:?}");
        assert_eq!(answer["error"]["code"], -32700);
    }
}

#[test]
fn a2a_1_0_names_the_reason_and_the_fields() {
    let violation = Violation { path: "/message/parts/0/text".into(), message: "must be a string".into() };
    let body = error_body(Dialect::A2aV10, Reason::InvalidParams, Some(&id()), "no", &[violation]);
    let data = json_of(&body)["error"]["data"].clone();
    assert_eq!(data[0], json!({ "@type": ERROR_INFO, "reason": "INVALID_PARAMS", "domain": "kamf" }));
    assert_eq!(data[1]["@type"], BAD_REQUEST);
    assert_eq!(
        data[1]["fieldViolations"][0],
        json!({ "field": "/message/parts/0/text", "description": "must be a string" })
    );
    for (reason, code, name) in [
        (Reason::Unsupported, -32004, "UNSUPPORTED_OPERATION"),
        (Reason::PushUnsupported, -32003, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
        (Reason::UnsupportedVersion, -32009, "VERSION_NOT_SUPPORTED"),
        (Reason::UpstreamInvalid, -32006, "INVALID_AGENT_RESPONSE"),
    ] {
        let error = json_of(&error_body(Dialect::A2aV10, reason, None, "no", &[]))["error"].clone();
        assert_eq!((error["code"].clone(), error["data"][0]["reason"].clone()), (json!(code), json!(name)));
        assert_eq!(error["data"][0]["domain"], "a2a-protocol.org");
    }
}

#[test]
fn the_others_name_reason_and_violations() {
    let violation = Violation { path: "/name".into(), message: "member is missing".into() };
    for dialect in [Dialect::A2aV03, Dialect::McpLegacy, Dialect::McpModern] {
        let body =
            error_body(dialect, Reason::InvalidParams, Some(&id()), "no", std::slice::from_ref(&violation));
        let error = json_of(&body)["error"].clone();
        assert_eq!(error["message"], "no");
        assert_eq!(
            error["data"],
            json!({ "reason": "invalid_params", "violations": [{ "path": "/name", "message": "member is missing" }] })
        );
    }
}

#[test]
fn every_reason_has_a_body_in_every_dialect() {
    for reason in Reason::ALL {
        for dialect in [Dialect::A2aV03, Dialect::A2aV10, Dialect::McpLegacy, Dialect::McpModern] {
            let answer = json_of(&error_body(dialect, *reason, Some(&id()), "line\nbreak \"quoted\"", &[]));
            assert_eq!(answer["error"]["code"], reason.rpc_code(dialect));
            assert_eq!(answer["error"]["message"], "line\nbreak \"quoted\"");
        }
    }
}
