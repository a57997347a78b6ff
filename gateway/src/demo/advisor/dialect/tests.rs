use super::*;

fn sample() -> Task {
    let message = Message {
        id: "m".to_owned(),
        from_user: true,
        parts: vec![Part::text("hi"), Part::data(json!([1]))],
        context_id: Some("c".to_owned()),
        task_id: Some("t".to_owned()),
        metadata: None,
    };
    Task {
        id: "t".to_owned(),
        context_id: "c".to_owned(),
        status: Status {
            state: State::Completed,
            message: None,
            timestamp: "2026-11-22T00:00:00.000Z".to_owned(),
        },
        artifacts: vec![Artifact { id: "a".to_owned(), name: "answer", parts: vec![Part::text("yes")] }],
        history: vec![message.clone(), message],
        metadata: Some(json!({"n": 1})),
    }
}

#[test]
fn a_task_has_the_shape_of_its_dialect() {
    let new = task(Dialect::V10, &sample(), Some(1));
    assert_eq!(new["status"]["state"], "TASK_STATE_COMPLETED");
    assert_eq!(new["history"].as_array().unwrap().len(), 1);
    assert_eq!(new["history"][0]["role"], "ROLE_USER");
    assert_eq!(new["history"][0]["parts"], json!([{"text": "hi"}, {"data": [1]}]));
    assert_eq!(new["artifacts"][0]["parts"], json!([{"text": "yes"}]));
    assert!(new.get("kind").is_none());

    let old = task(Dialect::V03, &sample(), None);
    assert_eq!((&old["kind"], &old["status"]["state"]), (&json!("task"), &json!("completed")));
    assert_eq!(old["history"].as_array().unwrap().len(), 2);
    assert_eq!(old["history"][0]["kind"], "message");
    let boxed = json!({"kind": "data", "data": {"value": [1]}});
    assert_eq!(old["history"][0]["parts"], json!([{"kind": "text", "text": "hi"}, boxed]));
    assert_eq!(send_result(Dialect::V03, old.clone()), old);
    assert_eq!(send_result(Dialect::V10, new.clone()), json!({"task": new}));
}

#[test]
fn only_the_last_status_of_0_3_is_final() {
    let at = |state| Event::Status {
        status: Box::new(Status { state, message: None, timestamp: String::new() }),
        metadata: None,
    };
    let old = event(Dialect::V03, "t", "c", &at(State::Working));
    assert_eq!((&old["kind"], &old["final"]), (&json!("status-update"), &json!(false)));
    assert_eq!(event(Dialect::V03, "t", "c", &at(State::Canceled))["final"], true);
    let new = event(Dialect::V10, "t", "c", &at(State::Failed));
    assert_eq!(new["statusUpdate"]["status"]["state"], "TASK_STATE_FAILED");
    assert!(new["statusUpdate"].get("final").is_none());
    let made = Event::Artifact(sample().artifacts.remove(0));
    assert_eq!(event(Dialect::V10, "t", "c", &made)["artifactUpdate"]["artifact"]["artifactId"], "a");
    assert_eq!(event(Dialect::V03, "t", "c", &made)["kind"], "artifact-update");
}

#[test]
fn a_message_reads_back_as_it_was_written() {
    let mut kept = sample().history.remove(0);
    let file = |content| Part {
        content,
        media_type: Some("image/png".to_owned()),
        filename: Some("a.png".to_owned()),
        metadata: Some(json!({"k": 1})),
    };
    kept.parts = vec![
        Part::text("hi"),
        Part::data(json!({"a": null})),
        file(Content::Raw("AA==".to_owned())),
        file(Content::Url("https://example.com/a.png".to_owned())),
    ];
    for dialect in [Dialect::V10, Dialect::V03] {
        assert_eq!(read_message(dialect, Some(&message(dialect, &kept))), Ok(kept.clone()));
    }
}

#[test]
fn what_is_wrong_in_a_message_is_named() {
    let fields = |dialect, given: Value| -> Vec<String> {
        let wrong = read_message(dialect, Some(&given)).unwrap_err();
        wrong.into_iter().map(|violation| violation.field).collect()
    };
    assert_eq!(fields(Dialect::V10, json!({})), ["message.messageId", "message.role", "message.parts"]);
    let two = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a"}, {"text": "a", "data": 1}, {}]});
    assert_eq!(fields(Dialect::V10, two), ["message.parts[1]", "message.parts[2]"]);
    let mixed = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "a"}], "taskId": 5});
    assert_eq!(fields(Dialect::V03, mixed), ["message.taskId", "message.role", "message.parts[0]"]);
    assert!(read_message(Dialect::V10, None).is_err());
}
