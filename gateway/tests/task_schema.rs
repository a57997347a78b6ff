//! Tasks as they are written keep the schema that is published for them.

use std::time::SystemTime;

use kamf::message::RelayId;
use kamf::relay::{Task, TaskState};
use kamf::schema::TASK_SCHEMA;
use serde_json::{Value, json};

#[test]
fn tasks_keep_their_schema() {
    let schema: Value = serde_json::from_str(TASK_SCHEMA).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("compiles");
    for state in TaskState::ALL {
        let task = Task {
            agent: "advisor".into(),
            task: "t".into(),
            context: (state == TaskState::Working).then(|| "c".into()),
            principal: "analyst".into(),
            tenant: "demo".into(),
            state,
            partition: 0,
            from: 0,
            relay_id: RelayId::generate(),
            time: SystemTime::UNIX_EPOCH,
        };
        let mut value: Value = serde_json::from_slice(&task.value()).expect("JSON");
        let faults: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{state:?}: {faults:?}");
        value["state"] = json!("TASK_STATE_WORKING");
        assert!(!validator.is_valid(&value), "a state of another dialect");
    }
}
