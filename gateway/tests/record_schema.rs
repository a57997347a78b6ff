//! Records as they are written keep the schema that is published for them.

use std::time::{Duration, SystemTime};

use jsonschema::PatternOptions;
use kamf::message::{Dialect, Mode, RelayId};
use kamf::outcome::Reason;
use kamf::relay::record::{Draft, End, Fields, Kind};
use kamf::schema::RECORD_SCHEMA;
use rdkafka::message::Headers;
use serde_json::{Map, Value, json};

#[test]
fn records_keep_their_schema() {
    let schema: Value = serde_json::from_str(RECORD_SCHEMA).expect("JSON");
    let validator =
        jsonschema::options().with_pattern_options(PatternOptions::regex()).build(&schema).expect("compiles");
    let end = End {
        state: Reason::Completed.state(),
        reason: Reason::Completed,
        duration: Duration::from_micros(5),
        request_bytes: 1,
        answer_bytes: 2,
    };
    for (kind, lines) in Kind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let fields = Fields {
            kind,
            id: RelayId::generate(),
            time: SystemTime::UNIX_EPOCH,
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            parent_span: Some("00f067aa0ba902b7"),
            principal: "p",
            tenant: "t",
            agent: "a",
            dialect: Dialect::McpModern,
            method: "tools/call",
            tool: Some("x"),
            mode: Mode::Relay,
            key: Some("k"),
            deadline: Some(SystemTime::UNIX_EPOCH),
            policies: Some("p"),
            lines,
            repeatable: kind == Kind::Request,
            redrives: (kind == Kind::Request).then(RelayId::generate),
            attempt: u32::from(matches!(kind, Kind::Started | Kind::Retry)),
            epoch: (kind != Kind::Request).then_some(7),
            idempotency: Some(("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef")),
            replay_of: (kind == Kind::Terminal).then(RelayId::generate),
            sequence: u32::from(kind == Kind::Event),
            end: matches!(kind, Kind::Terminal | Kind::Refusal).then_some(end),
        };
        let headers: Map<String, Value> = Draft::new(&fields)
            .headers
            .iter()
            .map(|header| {
                (header.key.to_owned(), json!(String::from_utf8_lossy(header.value.unwrap_or_default())))
            })
            .collect();
        let mut record = json!({ "headers": headers, "value": null });
        let faults: Vec<_> = validator.iter_errors(&record).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{kind:?}: {faults:?}");
        record["headers"]["kamf_version"] = json!("1.0");
        // An epoch belongs to no exchange and speaks no protocol.
        assert!(kind == Kind::Epoch || !validator.is_valid(&record), "a version of another protocol");
    }
}
