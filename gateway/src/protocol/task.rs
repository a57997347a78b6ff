//! A task put together from what its agent has said of it, event by event.

use serde_json::{Map, Value, json};

use super::{RawId, result_body};
use crate::message::Dialect;

/// The task as far as it is known: a JSON object in the dialect of its events.
#[derive(Debug)]
pub struct Snapshot {
    dialect: Dialect,
    id: String,
    task: Map<String, Value>,
    /// Of all that was taken in, as a bound of what the task takes.
    bytes: usize,
}

impl Snapshot {
    /// Nothing is known of task `id` yet.
    pub fn new(dialect: Dialect, id: &str) -> Self {
        Self { dialect, id: id.to_owned(), task: Map::new(), bytes: 0 }
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Bytes of all events that were taken in.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether its last event ended it or left it to the caller, so that no more is to come by itself.
    pub fn rests(&self) -> bool {
        let state = self.task.get("status").and_then(|status| status["state"].as_str()).unwrap_or_default();
        let bare = state.strip_prefix("TASK_STATE_").unwrap_or(state).to_ascii_lowercase().replace('_', "-");
        ["completed", "failed", "canceled", "cancelled", "rejected", "input-required", "auth-required"]
            .contains(&bare.as_str())
    }

    /// Takes in the JSON-RPC response `body`. Says whether it was about this task.
    pub fn take(&mut self, body: &[u8]) -> bool {
        let Ok(mut response) = serde_json::from_slice::<Value>(body) else { return false };
        let result = response["result"].take();
        let taken = match result {
            Value::Object(mut object) => match self.dialect {
                Dialect::A2aV10 => self.take_wrapped(&mut object),
                _ => self.take_kind(object),
            },
            _ => false,
        };
        if taken {
            self.bytes += body.len();
        }
        taken
    }

    /// The answer that gives the task to the request `id`; none when nothing is known.
    pub fn body(&self, id: &RawId) -> Option<bytes::Bytes> {
        self.task.contains_key("id").then(|| match self.dialect {
            Dialect::A2aV10 => result_body(id, &json!({ "task": self.task })),
            _ => result_body(id, &self.task),
        })
    }

    fn take_wrapped(&mut self, object: &mut Map<String, Value>) -> bool {
        let mut member = |name: &str| match object.remove(name) {
            Some(Value::Object(inner)) => Some(inner),
            _ => None,
        };
        if let Some(task) = member("task") {
            return self.whole(task);
        }
        member("statusUpdate").or_else(|| member("artifactUpdate")).is_some_and(|update| self.update(update))
    }

    fn take_kind(&mut self, object: Map<String, Value>) -> bool {
        match object.get("kind").and_then(Value::as_str) {
            Some("task") => self.whole(object),
            Some("status-update" | "artifact-update") => self.update(object),
            _ => false,
        }
    }

    /// A whole task: what it has replaces what was known, what it leaves out stays.
    fn whole(&mut self, task: Map<String, Value>) -> bool {
        if task.get("id").and_then(Value::as_str) != Some(&self.id) {
            return false;
        }
        for (name, value) in task {
            let keeps = matches!(&value, Value::Array(items) if items.is_empty());
            if !keeps || !self.task.contains_key(&name) {
                self.task.insert(name, value);
            }
        }
        true
    }

    fn update(&mut self, mut update: Map<String, Value>) -> bool {
        if update.get("taskId").and_then(Value::as_str) != Some(&self.id) {
            return false;
        }
        self.task.entry("id").or_insert_with(|| json!(self.id));
        if self.dialect == Dialect::A2aV03 {
            self.task.entry("kind").or_insert_with(|| json!("task"));
        }
        if let Some(context) = update.remove("contextId") {
            self.task.insert("contextId".to_owned(), context);
        }
        if let Some(status) = update.remove("status") {
            // What was said along the way belongs to the history (A2A 1.0, 4.1.1).
            if let Some(Value::Object(mut before)) = self.task.insert("status".to_owned(), status)
                && let Some(message) = before.remove("message").filter(Value::is_object)
            {
                list(&mut self.task, "history").push(message);
            }
        }
        if let Some(artifact) = update.remove("artifact") {
            let append = update.get("append").and_then(Value::as_bool).unwrap_or(false);
            put_artifact(list(&mut self.task, "artifacts"), artifact, append);
        }
        if let Some(Value::Object(news)) = update.remove("metadata")
            && let Value::Object(known) = self.task.entry("metadata").or_insert_with(|| json!({}))
        {
            known.extend(news);
        }
        true
    }
}

fn list<'t>(task: &'t mut Map<String, Value>, name: &str) -> &'t mut Vec<Value> {
    let slot = task.entry(name).or_insert(Value::Null);
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    #[expect(clippy::expect_used, reason = "it has just been made an array")]
    slot.as_array_mut().expect("an array")
}

/// A chunk is added to its artifact, anything else replaces the one of its id (A2A 1.0, 4.2.2).
fn put_artifact(artifacts: &mut Vec<Value>, mut artifact: Value, append: bool) {
    let known = artifacts.iter_mut().find(|known| known["artifactId"] == artifact["artifactId"]);
    match known {
        Some(known) if append => match (&mut known["parts"], artifact["parts"].take()) {
            (Value::Array(parts), Value::Array(more)) => parts.extend(more),
            (parts, more) => *parts = more,
        },
        Some(known) => *known = artifact,
        None => artifacts.push(artifact),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(dialect: Dialect, events: &[Value]) -> (Value, Vec<bool>) {
        let mut snapshot = Snapshot::new(dialect, "t");
        let taken = events
            .iter()
            .map(|event| {
                let body = json!({"jsonrpc": "2.0", "id": 1, "result": event});
                snapshot.take(body.to_string().as_bytes())
            })
            .collect();
        let body = snapshot.body(&RawId::from_number(9)).map(|body| serde_json::from_slice(&body).unwrap());
        (body.unwrap_or_default(), taken)
    }

    #[test]
    fn a_task_grows_by_its_events() {
        let part = |text: &str| json!({"text": text});
        let chunk = |text: &str, append: bool| {
            json!({"artifactUpdate": {"taskId": "t", "contextId": "c", "append": append,
                "artifact": {"artifactId": "a", "parts": [part(text)]}}})
        };
        let status = |state: &str, text: &str| {
            json!({"statusUpdate": {"taskId": "t", "contextId": "c", "metadata": {text: 1},
                "status": {"state": state, "message": {"messageId": text}}}})
        };
        let (answer, taken) = told(
            Dialect::A2aV10,
            &[
                json!({"task": {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_SUBMITTED"},
                    "history": [{"messageId": "u"}]}}),
                status("TASK_STATE_WORKING", "one"),
                chunk("a", false),
                chunk("b", true),
                json!({"message": {"messageId": "m"}}),
                json!({"statusUpdate": {"taskId": "other", "status": {"state": "TASK_STATE_FAILED"}}}),
                status("TASK_STATE_COMPLETED", "two"),
            ],
        );
        assert_eq!(taken, [true, true, true, true, false, false, true]);
        assert_eq!(answer["id"], 9);
        let task = &answer["result"]["task"];
        assert_eq!(task["artifacts"], json!([{"artifactId": "a", "parts": [part("a"), part("b")]}]));
        assert_eq!(task["history"], json!([{"messageId": "u"}, {"messageId": "one"}]));
        assert_eq!(task["status"], json!({"state": "TASK_STATE_COMPLETED", "message": {"messageId": "two"}}));
        assert_eq!(task["metadata"], json!({"one": 1, "two": 1}));
    }

    #[test]
    fn in_the_older_dialect_it_names_its_kind() {
        let (answer, _) = told(
            Dialect::A2aV03,
            &[json!({"kind": "status-update", "taskId": "t", "contextId": "c", "final": true,
                "status": {"state": "completed"}})],
        );
        let task = json!({"kind": "task", "id": "t", "contextId": "c", "status": {"state": "completed"}});
        assert_eq!(answer["result"], task);
    }

    #[test]
    fn what_is_nothing_of_it_changes_nothing() {
        for event in [json!(null), json!(7), json!({"task": {"id": "x"}}), json!({"task": 5}), json!({})] {
            let (answer, taken) = told(Dialect::A2aV10, &[event]);
            assert_eq!((answer, taken), (Value::Null, vec![false]));
        }
    }
}
