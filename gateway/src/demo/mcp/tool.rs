//! What a tool server states about itself, and what a call gets and gives.

use std::future::Future;

use serde_json::{Map, Value, json};

use super::lines::Outbox;

/// Who the server is. Display only, as all self-declared identity.
pub(crate) struct Identity {
    /// Program name.
    pub(crate) name: &'static str,
    /// The name that people read.
    pub(crate) title: &'static str,
    /// What a model should know about the server as a whole.
    pub(crate) instructions: &'static str,
}

/// A tool as it is listed.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    /// Properties of the arguments, and which of them must be there.
    pub(crate) input: (Value, &'static [&'static str]),
    /// Properties of the structured result; all of them are always there.
    pub(crate) output: Value,
    /// Whether a call leaves something behind. Such a call adds and never destroys, but a second
    /// one adds again.
    pub(crate) writes: bool,
}

impl Tool {
    /// The tool's entry in the answer to `tools/list`.
    pub(crate) fn to_json(&self) -> Value {
        let (input, required) = &self.input;
        let output_names: Vec<&String> = self.output.as_object().into_iter().flat_map(Map::keys).collect();
        json!({
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": closed_object(input, &json!(required)),
            "outputSchema": closed_object(&self.output, &json!(output_names)),
            "annotations": {
                "title": self.title,
                "readOnlyHint": !self.writes,
                "destructiveHint": false,
                "idempotentHint": !self.writes,
                "openWorldHint": false,
            },
        })
    }
}

fn closed_object(properties: &Value, required: &Value) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// What a call that worked answers.
#[derive(Debug)]
pub(crate) struct Answer {
    /// A sentence for people and models.
    pub(crate) text: String,
    /// The same as data, of the shape that the tool's `output` states.
    pub(crate) structured: Value,
}

impl Answer {
    /// The result of `tools/call`: the sentence, the data as text for clients that only read text,
    /// and the data.
    pub(crate) fn into_result(self) -> Value {
        json!({
            "content": [
                {"type": "text", "text": self.text},
                {"type": "text", "text": self.structured.to_string()},
            ],
            "structuredContent": self.structured,
            "isError": false,
        })
    }
}

/// Why a call did not work, in words that help its caller to mend it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ToolFailure(String);

impl ToolFailure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The result of `tools/call` for a failure of the tool itself.
    pub(crate) fn into_result(self) -> Value {
        json!({"content": [{"type": "text", "text": self.0}], "isError": true})
    }
}

/// The tools of one server.
pub(crate) trait Tools: Send + Sync + 'static {
    /// Who the server is.
    fn identity(&self) -> Identity;

    /// Its tools, always the same ones in the same order.
    fn list(&self) -> Vec<Tool>;

    /// Runs the listed tool `name`. May be dropped at any await when the caller cancels.
    fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        progress: Progress,
    ) -> impl Future<Output = Result<Answer, ToolFailure>> + Send;
}

/// Tells the caller how far a call has come, if the caller asked for that.
pub(crate) struct Progress {
    token: Option<Value>,
    outbox: Outbox,
}

impl Progress {
    pub(crate) fn new(token: Option<Value>, outbox: Outbox) -> Self {
        Self { token, outbox }
    }

    /// Reports `done` of `total` steps. `done` must rise from report to report.
    pub(crate) async fn report(&self, done: u32, total: u32, text: &str) {
        let Some(token) = &self.token else { return };
        let notification = json!({
            "jsonrpc": "2.0",
            "method": "notifications/progress",
            "params": {"progressToken": token, "progress": done, "total": total, "message": text},
        });
        self.outbox.send(notification.to_string()).await;
    }
}
