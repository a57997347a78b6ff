//! What an agent's answer says about a task, in both dialects of A2A.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use super::value::TaskState;
use crate::message::Operation;

/// Longest id of a task or context that is remembered; agents use UUIDs.
const ID_BYTES_MAX: usize = 512;

/// A task that a message names.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::relay) struct Seen<'a> {
    pub(in crate::relay) task: Cow<'a, str>,
    pub(in crate::relay) context: Option<Cow<'a, str>>,
    /// None when the message says nothing of it, as one with an artifact.
    pub(in crate::relay) state: Option<TaskState>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    result: Body<'a>,
}

/// A task, a message, an update, or (A2A 1.0) an object around one of them.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "task_id", rename = "taskId")]
    task_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "context_id", rename = "contextId")]
    context_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
    #[serde(borrow, default)]
    task: Option<Box<Body<'a>>>,
    #[serde(borrow, default)]
    message: Option<Box<Body<'a>>>,
    #[serde(borrow, default, alias = "status_update", rename = "statusUpdate")]
    status_update: Option<Box<Body<'a>>>,
    #[serde(borrow, default, alias = "artifact_update", rename = "artifactUpdate")]
    artifact_update: Option<Box<Body<'a>>>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, default)]
    state: Option<Cow<'a, str>>,
}

/// Reads the JSON-RPC response `body` to a request for `operation`.
pub(in crate::relay) fn seen(operation: Operation, body: &[u8]) -> Option<Seen<'_>> {
    /// Every send's answer that names a task has this word; the task itself, which the others answer with, need not.
    static WORD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"task"));
    match operation {
        Operation::Send | Operation::Stream | Operation::Subscribe => {
            WORD.find(body)?;
        }
        Operation::GetTask | Operation::CancelTask => {}
        _ => return None,
    }
    let response: Response<'_> = serde_json::from_slice(body).ok()?;
    let inner = match response.result {
        Body { task: Some(inner), .. }
        | Body { message: Some(inner), .. }
        | Body { status_update: Some(inner), .. }
        | Body { artifact_update: Some(inner), .. } => *inner,
        bare => bare,
    };
    let state = inner.status.and_then(|status| TaskState::parse(&status.state?));
    // Updates and messages name their task; a task is named by its own id.
    let task = inner.task_id.or(inner.id)?;
    let fits = |id: &str| !id.is_empty() && id.len() <= ID_BYTES_MAX;
    if !fits(&task) {
        return None;
    }
    Some(Seen { task, context: inner.context_id.filter(|id| fits(id)), state })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: &str) -> Option<(String, Option<String>, Option<&'static str>)> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let seen = seen(Operation::Send, body.as_bytes())?;
        Some((seen.task.into_owned(), seen.context.map(Cow::into_owned), seen.state.map(TaskState::as_str)))
    }

    fn of(
        task: &str,
        context: &str,
        state: Option<&'static str>,
    ) -> Option<(String, Option<String>, Option<&'static str>)> {
        Some((task.to_owned(), Some(context.to_owned()), state))
    }

    #[test]
    fn a_task_is_found_wherever_a_dialect_puts_it() {
        let v10 = [
            (
                r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#,
                Some("working"),
            ),
            (
                r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_INPUT_REQUIRED"}}}"#,
                Some("input-required"),
            ),
            (
                r#"{"artifactUpdate":{"taskId":"t","contextId":"c","artifact":{"artifactId":"a","parts":[]}}}"#,
                None,
            ),
            (r#"{"message":{"messageId":"m","taskId":"t","contextId":"c","parts":[]}}"#, None),
        ];
        let v03 = [
            (r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"completed"}}"#, Some("completed")),
            (
                r#"{"kind":"status-update","taskId":"t","contextId":"c","final":true,"status":{"state":"canceled"}}"#,
                Some("canceled"),
            ),
            (r#"{"kind":"artifact-update","taskId":"t","contextId":"c","artifact":{}}"#, None),
        ];
        for (body, state) in v10.into_iter().chain(v03) {
            assert_eq!(read(body), of("t", "c", state), "{body}");
        }
    }

    #[test]
    fn what_names_no_task_is_none() {
        for body in [
            r#"{"message":{"messageId":"task","contextId":"c","parts":[]}}"#,
            r#"{"kind":"message","messageId":"m","task":null}"#,
            r#"{"task":{"id":"","status":{}}}"#,
            "7",
            "null",
        ] {
            assert_eq!(read(body), None, "{body}");
        }
        assert_eq!(seen(Operation::Send, br#"{"jsonrpc":"2.0","id":1,"error":{"message":"task"}}"#), None);
        assert_eq!(seen(Operation::CallTool, br#"{"result":{"task":{"id":"t"}}}"#), None);
        let long = "x".repeat(ID_BYTES_MAX + 1);
        assert_eq!(read(&format!(r#"{{"task":{{"id":"{long}"}}}}"#)), None);
    }
}
