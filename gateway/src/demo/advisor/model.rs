//! Tasks and messages as the advisor keeps them, apart from any dialect's spelling.

use serde_json::Value;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Submitted,
    Working,
    Completed,
    Failed,
    Canceled,
}

impl State {
    /// Whether nothing can follow.
    pub(crate) fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }
}

/// What a part holds; files are kept as they came and not looked into.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Text(String),
    Data(Value),
    /// Base64, as it came.
    Raw(String),
    Url(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) content: Content,
    pub(crate) media_type: Option<String>,
    pub(crate) filename: Option<String>,
    pub(crate) metadata: Option<Value>,
}

impl Part {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::bare(Content::Text(text.into()))
    }

    pub(crate) fn data(data: Value) -> Self {
        Self::bare(Content::Data(data))
    }

    fn bare(content: Content) -> Self {
        Self { content, media_type: None, filename: None, metadata: None }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) from_user: bool,
    pub(crate) parts: Vec<Part>,
    pub(crate) context_id: Option<String>,
    pub(crate) task_id: Option<String>,
    pub(crate) metadata: Option<Value>,
}

impl Message {
    /// All text parts, joined by line ends; none when there is no text part.
    pub(crate) fn text(&self) -> Option<String> {
        let texts = self.parts.iter().filter_map(|part| match &part.content {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.map(str::to_owned).reduce(|all, next| all + "\n" + &next)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) state: State,
    pub(crate) message: Option<Message>,
    pub(crate) timestamp: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Artifact {
    pub(crate) id: String,
    pub(crate) name: &'static str,
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) context_id: String,
    pub(crate) status: Status,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) history: Vec<Message>,
    /// Token usage, once the task is over.
    pub(crate) metadata: Option<Value>,
}

/// A change of a task, as streams carry it.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Status { status: Box<Status>, metadata: Option<Value> },
    Artifact(Artifact),
}

impl Event {
    /// Whether it is the last one of its task.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self, Self::Status { status, .. } if status.state.is_terminal())
    }
}
