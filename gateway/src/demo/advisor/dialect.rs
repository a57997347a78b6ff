//! The shapes of A2A 1.0 and 0.3 over JSON-RPC, both ways; pure.

use serde_json::{Map, Value, json};

use super::model::{Artifact, Content, Event, Message, Part, State, Status, Task};

/// The protocol version of one request, told by its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    V10,
    V03,
}

/// What is wrong in a request, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Path of members from the parameters on, as `message.parts[0]`.
    pub(crate) field: String,
    pub(crate) description: String,
}

impl Violation {
    pub(crate) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

/// The result of a send: the task, in 1.0 inside a member that says so.
pub(crate) fn send_result(dialect: Dialect, task: Value) -> Value {
    match dialect {
        Dialect::V10 => json!({"task": task}),
        Dialect::V03 => task,
    }
}

/// A task with at most `history` of its newest messages.
pub(crate) fn task(dialect: Dialect, task: &Task, history: Option<usize>) -> Value {
    let kept = history.unwrap_or(usize::MAX).min(task.history.len());
    let newest = &task.history[task.history.len() - kept..];
    let mut object = json!({
        "id": task.id,
        "contextId": task.context_id,
        "status": status(dialect, &task.status),
        "artifacts": task.artifacts.iter().map(|a| artifact(dialect, a)).collect::<Value>(),
        "history": newest.iter().map(|m| message(dialect, m)).collect::<Value>(),
    });
    set(&mut object, "metadata", task.metadata.as_ref());
    with_kind(dialect, object, "task")
}

/// An element of a stream after the first.
pub(crate) fn event(dialect: Dialect, task_id: &str, context_id: &str, event: &Event) -> Value {
    let mut object = json!({"taskId": task_id, "contextId": context_id});
    let (member, kind) = match event {
        Event::Status { status: new, metadata } => {
            object["status"] = status(dialect, new);
            set(&mut object, "metadata", metadata.as_ref());
            if dialect == Dialect::V03 {
                object["final"] = event.is_last().into();
            }
            ("statusUpdate", "status-update")
        }
        Event::Artifact(new) => {
            object["artifact"] = artifact(dialect, new);
            object["lastChunk"] = true.into();
            ("artifactUpdate", "artifact-update")
        }
    };
    match dialect {
        Dialect::V10 => json!({ member: object }),
        Dialect::V03 => with_kind(dialect, object, kind),
    }
}

fn with_kind(dialect: Dialect, mut object: Value, kind: &str) -> Value {
    if dialect == Dialect::V03 {
        object["kind"] = kind.into();
    }
    object
}

fn set(object: &mut Value, name: &str, value: Option<&(impl serde::Serialize + ?Sized)>) {
    if let Some(value) = value {
        object[name] = json!(value);
    }
}

fn status(dialect: Dialect, status: &Status) -> Value {
    let mut object = json!({"state": state(dialect, status.state), "timestamp": status.timestamp});
    set(&mut object, "message", status.message.as_ref().map(|m| message(dialect, m)).as_ref());
    object
}

fn state(dialect: Dialect, state: State) -> &'static str {
    match (dialect, state) {
        (Dialect::V10, State::Submitted) => "TASK_STATE_SUBMITTED",
        (Dialect::V10, State::Working) => "TASK_STATE_WORKING",
        (Dialect::V10, State::Completed) => "TASK_STATE_COMPLETED",
        (Dialect::V10, State::Failed) => "TASK_STATE_FAILED",
        (Dialect::V10, State::Canceled) => "TASK_STATE_CANCELED",
        (Dialect::V03, State::Submitted) => "submitted",
        (Dialect::V03, State::Working) => "working",
        (Dialect::V03, State::Completed) => "completed",
        (Dialect::V03, State::Failed) => "failed",
        (Dialect::V03, State::Canceled) => "canceled",
    }
}

fn artifact(dialect: Dialect, artifact: &Artifact) -> Value {
    json!({
        "artifactId": artifact.id,
        "name": artifact.name,
        "parts": artifact.parts.iter().map(|p| part(dialect, p)).collect::<Value>(),
    })
}

fn role(dialect: Dialect, from_user: bool) -> &'static str {
    match (dialect, from_user) {
        (Dialect::V10, true) => "ROLE_USER",
        (Dialect::V10, false) => "ROLE_AGENT",
        (Dialect::V03, true) => "user",
        (Dialect::V03, false) => "agent",
    }
}

fn message(dialect: Dialect, message: &Message) -> Value {
    let mut object = json!({
        "messageId": message.id,
        "role": role(dialect, message.from_user),
        "parts": message.parts.iter().map(|p| part(dialect, p)).collect::<Value>(),
    });
    set(&mut object, "contextId", message.context_id.as_ref());
    set(&mut object, "taskId", message.task_id.as_ref());
    set(&mut object, "metadata", message.metadata.as_ref());
    with_kind(dialect, object, "message")
}

fn part(dialect: Dialect, part: &Part) -> Value {
    let mut object = match (dialect, &part.content) {
        (Dialect::V10, Content::Text(text)) => json!({"text": text}),
        (Dialect::V10, Content::Data(data)) => json!({"data": data}),
        (Dialect::V10, Content::Raw(raw)) => json!({"raw": raw}),
        (Dialect::V10, Content::Url(url)) => json!({"url": url}),
        (Dialect::V03, Content::Text(text)) => json!({"kind": "text", "text": text}),
        // 0.3 knows objects only.
        (Dialect::V03, Content::Data(data)) if data.is_object() => json!({"kind": "data", "data": data}),
        (Dialect::V03, Content::Data(data)) => json!({"kind": "data", "data": {"value": data}}),
        (Dialect::V03, Content::Raw(raw)) => json!({"kind": "file", "file": {"bytes": raw}}),
        (Dialect::V03, Content::Url(url)) => json!({"kind": "file", "file": {"uri": url}}),
    };
    set(&mut object, "metadata", part.metadata.as_ref());
    if dialect == Dialect::V10 {
        set(&mut object, "mediaType", part.media_type.as_ref());
        set(&mut object, "filename", part.filename.as_ref());
    } else if let Some(file) = object.get_mut("file") {
        set(file, "mimeType", part.media_type.as_ref());
        set(file, "name", part.filename.as_ref());
    }
    object
}

/// Reads the message of a send.
pub(crate) fn read_message(dialect: Dialect, message: Option<&Value>) -> Result<Message, Vec<Violation>> {
    let Some(Value::Object(object)) = message else {
        return Err(vec![Violation::new("message", "must be an object")]);
    };
    let mut wrong = Vec::new();
    let mut text = |name: &str, required: bool| match object.get(name) {
        Some(Value::String(text)) if !(required && text.is_empty()) => Some(text.clone()),
        None | Some(Value::Null) if !required => None,
        _ => {
            wrong.push(Violation::new(format!("message.{name}"), "must be a text that is not empty"));
            None
        }
    };
    let id = text("messageId", true).unwrap_or_default();
    let context_id = text("contextId", false).filter(|id| !id.is_empty());
    let task_id = text("taskId", false).filter(|id| !id.is_empty());
    let user = role(dialect, true);
    if object.get("role").and_then(Value::as_str) != Some(user) {
        wrong.push(Violation::new("message.role", format!("must be \"{user}\"")));
    }
    let metadata = object.get("metadata").filter(|m| !m.is_null());
    if metadata.is_some_and(|m| !m.is_object()) {
        wrong.push(Violation::new("message.metadata", "must be an object"));
    }
    let mut parts = Vec::new();
    match object.get("parts") {
        Some(Value::Array(given)) if !given.is_empty() => {
            for (index, given) in given.iter().enumerate() {
                match read_part(dialect, given) {
                    Ok(part) => parts.push(part),
                    Err(text) => wrong.push(Violation::new(format!("message.parts[{index}]"), text)),
                }
            }
        }
        _ => wrong.push(Violation::new("message.parts", "must be a list of at least one part")),
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Message { id, from_user: true, parts, context_id, task_id, metadata: metadata.cloned() })
}

fn read_part(dialect: Dialect, part: &Value) -> Result<Part, &'static str> {
    let object = part.as_object().ok_or("must be an object")?;
    let text = |object: &Map<String, Value>, name: &str| object.get(name)?.as_str().map(str::to_owned);
    let metadata = object.get("metadata").filter(|m| !m.is_null()).cloned();
    if dialect == Dialect::V10 {
        let present =
            |name: &&str| object.get(*name).is_some_and(|value| *name == "data" || !value.is_null());
        let mut members = ["text", "raw", "url", "data"].into_iter().filter(present);
        let (Some(member), None) = (members.next(), members.next()) else {
            return Err("must hold exactly one of `text`, `raw`, `url`, `data`");
        };
        let given = || text(object, member).ok_or("must hold a text in `text`, `raw` or `url`");
        let content = match member {
            "text" => Content::Text(given()?),
            "raw" => Content::Raw(given()?),
            "url" => Content::Url(given()?),
            _ => Content::Data(object[member].clone()),
        };
        let (media_type, filename) = (text(object, "mediaType"), text(object, "filename"));
        return Ok(Part { content, media_type, filename, metadata });
    }
    match object.get("kind").and_then(Value::as_str) {
        Some("text") => {
            let content = Content::Text(text(object, "text").ok_or("must hold a text in `text`")?);
            Ok(Part { content, media_type: None, filename: None, metadata })
        }
        Some("data") => {
            let data = object.get("data").filter(|d| d.is_object()).ok_or("must hold an object in `data`")?;
            Ok(Part { content: Content::Data(data.clone()), media_type: None, filename: None, metadata })
        }
        Some("file") => {
            let file =
                object.get("file").and_then(Value::as_object).ok_or("must hold an object in `file`")?;
            let content = match (text(file, "bytes"), text(file, "uri")) {
                (Some(raw), None) => Content::Raw(raw),
                (None, Some(url)) => Content::Url(url),
                _ => return Err("must hold exactly one of `file.bytes`, `file.uri`"),
            };
            Ok(Part { content, media_type: text(file, "mimeType"), filename: text(file, "name"), metadata })
        }
        _ => Err("must have a `kind`: \"text\", \"file\" or \"data\""),
    }
}

#[cfg(test)]
mod tests;
