use super::*;

fn code(body: &str, version: Option<&str>) -> (i64, Value) {
    let refused = read(body.as_bytes(), version).unwrap_err();
    let text = refused.error.body(refused.dialect, refused.id.as_deref());
    let answer: Value = serde_json::from_str(&text).unwrap();
    (answer["error"]["code"].as_i64().unwrap(), answer["error"]["data"].clone())
}

#[test]
fn the_outermost_mistake_is_answered() {
    for (body, version, expected) in [
        ("{", None, -32700),
        ("[]", None, -32600),
        (r#"{"jsonrpc":"2.0","method":"GetTask","params":{}}"#, Some("1.0"), -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"GetTask"}"#, Some("1.0"), -32600),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"GetTask"}"#, Some("1.0"), -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"GetTask"}"#, Some("1.0"), -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"Nope"}"#, Some("9.9"), -32601),
        (r#"{"jsonrpc":"2.0","id":1,"method":"GetTask"}"#, None, -32009),
        (r#"{"jsonrpc":"2.0","id":1,"method":"GetTask"}"#, Some("2.0"), -32009),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get"}"#, Some("1.0"), -32009),
        (r#"{"jsonrpc":"2.0","id":1,"method":"GetTask"}"#, Some("1.0"), -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":[]}"#, Some("0.3"), -32602),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"a","historyLength":-1}}"#,
            Some("1.0"),
            -32602,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ListTasks"}"#, Some("1.0"), -32004),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tasks/pushNotificationConfig/set"}"#, Some(""), -32003),
    ] {
        assert_eq!(code(body, version).0, expected, "{body} {version:?}");
    }
}

#[test]
fn details_are_given_in_1_0_only() {
    let get = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":"x","method":"{method}","params":{{}}}}"#);
    let (_, details) = code(&get("GetTask"), Some("1.0.1"));
    assert_eq!(details[0]["reason"], "INVALID_PARAMS");
    assert_eq!(details[0]["domain"], "a2a-protocol.org");
    assert_eq!(details[1]["fieldViolations"][0]["field"], "id");
    assert_eq!(code(&get("tasks/get"), None).1, Value::Null);
}

#[test]
fn waiting_and_history_follow_the_dialect() {
    let send = |version: &str, configuration: &str| {
        let (method, role, kind) = if version == "1.0" {
            ("SendMessage", "ROLE_USER", "")
        } else {
            ("message/send", "user", r#""kind":"text","#)
        };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"message":{{"messageId":"m",
            "role":"{role}","parts":[{{{kind}"text":"hi"}}]}},"configuration":{configuration}}}}}"#
        );
        match read(body.as_bytes(), Some(version)).unwrap().operation {
            Operation::Send { wait, history, .. } => (wait, history),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(send("1.0", "{}"), (true, None));
    assert_eq!(send("1.0", r#"{"returnImmediately":true,"historyLength":0}"#), (false, Some(0)));
    assert_eq!(send("1.0", r#"{"returnImmediately":false,"historyLength":2}"#), (true, Some(2)));
    assert_eq!(send("0.3", r#"{"blocking":false,"historyLength":0}"#), (false, None));
    assert_eq!(send("0.3", r#"{"blocking":true}"#), (true, None));
}
