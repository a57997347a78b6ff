//! The ledgers: what clients, upstreams and those who made the faults wrote down. A file is JSON, one entry a line;
//! times are milliseconds since 1970.

use std::path::Path;

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Precedes each token: a text that is in one request of one client and in no other.
pub(crate) const TOKEN: &str = "tok-";

/// Hex digits of a token.
const DIGITS: usize = 32;

/// One request of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// When it was sent.
    pub(crate) at: u64,
    /// When its outcome was known; none when the client gave up waiting.
    pub(crate) ended: Option<u64>,
    /// Name of the gateway, as in [`Freeze`].
    pub(crate) gateway: String,
    pub(crate) principal: String,
    /// Its `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) token: String,
    /// The body as it was sent.
    pub(crate) body: String,
    /// Milliseconds that its route gives it.
    pub(crate) deadline: u64,
    pub(crate) outcome: Outcome,
}

/// What a client got.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// A complete answer.
    Answer { status: u16, relay_id: String, retry_after: bool, body: String },
    /// The messages of an event stream; `complete`: it ended in order.
    Stream { relay_id: String, messages: Vec<String>, complete: bool },
    /// No answer, or half of one.
    Nothing { error: String },
}

impl Outcome {
    /// How it is counted.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Answer { status, .. } => format!("answer {status}"),
            Self::Stream { complete: true, .. } => "whole stream".to_owned(),
            Self::Stream { .. } => "broken stream".to_owned(),
            Self::Nothing { .. } => "no answer".to_owned(),
        }
    }

    pub(crate) fn relay_id(&self) -> &str {
        match self {
            Self::Answer { relay_id, .. } | Self::Stream { relay_id, .. } => relay_id,
            Self::Nothing { .. } => "",
        }
    }

    /// All the text that the client got.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Self::Answer { body, .. } => (Some(body), &[][..]),
            Self::Stream { messages, .. } => (None, &messages[..]),
            Self::Nothing { .. } => (None, &[][..]),
        };
        one.into_iter().chain(many).map(String::as_str)
    }
}

/// One call that an upstream saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) at: u64,
    pub(crate) traceparent: String,
    pub(crate) method: String,
    /// SHA-256 of the body, in hex.
    pub(crate) sha256: String,
    pub(crate) token: String,
}

/// A time in which a gateway, or the log below it, was stopped or gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Freeze {
    /// The gateway that could not answer.
    pub(crate) gateway: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Freeze {
    /// Milliseconds of this time within `from..to`.
    pub(crate) fn within(&self, from: u64, to: u64) -> u64 {
        self.to.min(to).saturating_sub(self.from.max(from))
    }
}

/// A process, measured at the end of a test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) name: String,
    pub(crate) memory_kib: u64,
    pub(crate) memory_cap_kib: u64,
    pub(crate) descriptors: u64,
    /// Before the load, or an allowed level.
    pub(crate) descriptors_before: u64,
}

/// The entries of a ledger's file. A last line without an end is what a kill left, and is passed over.
///
/// # Errors
/// When it cannot be read, or a whole line is no entry.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let entry = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), number + 1))
    };
    whole.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(entry).collect()
}

/// The tokens in `text`.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(TOKEN).filter_map(|(at, _)| text.get(at..at + TOKEN.len() + DIGITS))
}
