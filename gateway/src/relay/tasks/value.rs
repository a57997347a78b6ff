//! What `kamf.tasks` says of a task: key `agent/task`, value JSON. Its layout is published in `schemas/records/`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::message::{Name, RelayId};

/// Version of the layout, member `v`.
const VERSION: u32 = 1;

/// Where a task is in its life (A2A 1.0, 4.1.3), named as in A2A 0.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    Submitted,
    Working,
    InputRequired,
    AuthRequired,
    Completed,
    Failed,
    Canceled,
    Rejected,
    /// The agent has not said, or says what neither version knows.
    Unknown,
}

impl TaskState {
    pub const ALL: [Self; 9] = [
        Self::Submitted,
        Self::Working,
        Self::InputRequired,
        Self::AuthRequired,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
        Self::Rejected,
        Self::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Working => "working",
            Self::InputRequired => "input-required",
            Self::AuthRequired => "auth-required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
        }
    }

    /// The state that either dialect names: `input-required`, `TASK_STATE_INPUT_REQUIRED`.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix("TASK_STATE_").unwrap_or(text).as_bytes();
        let same = |state: &Self| {
            let name = state.as_str().as_bytes();
            name.len() == bare.len()
                && name
                    .iter()
                    .zip(bare)
                    .all(|(own, byte)| own.eq_ignore_ascii_case(byte) || (*own == b'-' && *byte == b'_'))
        };
        // 0.3 over protobuf spells it with two l.
        if bare.eq_ignore_ascii_case(b"cancelled") {
            return Some(Self::Canceled);
        }
        Self::ALL.iter().find(|state| same(state)).copied()
    }

    /// Nothing more becomes of the task.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }
}

/// A task as the log remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub agent: Name,
    pub task: Box<str>,
    pub context: Option<Box<str>>,
    pub principal: Name,
    pub tenant: Name,
    pub state: TaskState,
    /// Of its requests and events.
    pub partition: i32,
    /// No event of it lies before this offset.
    pub from: i64,
    /// The last exchange that sent it a message.
    pub relay_id: RelayId,
    /// When this was written.
    pub time: SystemTime,
}

/// The same as it stands in the value.
#[derive(Deserialize, Serialize)]
struct Stored<'a> {
    v: u32,
    agent: &'a str,
    task: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<std::borrow::Cow<'a, str>>,
    principal: std::borrow::Cow<'a, str>,
    tenant: std::borrow::Cow<'a, str>,
    state: &'a str,
    partition: i32,
    from: i64,
    relay_id: &'a str,
    time: &'a str,
}

impl Task {
    /// The record's key.
    pub fn key(&self) -> String {
        key(&self.agent, &self.task)
    }

    /// The record's value.
    pub fn value(&self) -> Vec<u8> {
        let stored = Stored {
            v: VERSION,
            agent: &self.agent,
            task: (&*self.task).into(),
            context: self.context.as_deref().map(Into::into),
            principal: (&*self.principal).into(),
            tenant: (&*self.tenant).into(),
            state: self.state.as_str(),
            partition: self.partition,
            from: self.from,
            relay_id: &self.relay_id.to_string(),
            time: &humantime::format_rfc3339_micros(self.time).to_string(),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Reads a value; none when it is of another version or none of ours.
    pub fn read(value: &[u8]) -> Option<Self> {
        let stored: Stored<'_> = serde_json::from_slice(value).ok()?;
        if stored.v != VERSION {
            return None;
        }
        Some(Self {
            agent: stored.agent.into(),
            task: stored.task.into(),
            context: stored.context.map(Into::into),
            principal: (&*stored.principal).into(),
            tenant: (&*stored.tenant).into(),
            state: TaskState::parse(stored.state)?,
            partition: stored.partition,
            from: stored.from,
            relay_id: RelayId::parse(stored.relay_id)?,
            time: humantime::parse_rfc3339(stored.time).ok()?,
        })
    }

    /// Whether it belongs to this caller.
    pub fn is_of(&self, tenant: &str, principal: &str) -> bool {
        *self.tenant == *tenant && *self.principal == *principal
    }
}

/// The key of the record of `task`. Agents' names hold no `/`.
pub(super) fn key(agent: &str, task: &str) -> String {
    format!("{agent}/{task}")
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in crate::relay::tasks) fn task(name: &str) -> Task {
        Task {
            agent: "advisor".into(),
            task: name.into(),
            context: Some(format!("context of \"{name}\"").into()),
            principal: "analyst".into(),
            tenant: "demo".into(),
            state: TaskState::Working,
            partition: 3,
            from: 17,
            relay_id: RelayId::generate(),
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
        }
    }

    #[test]
    fn a_value_reads_back_as_it_was_written() {
        let mut written = task("t \u{e9}\"1");
        assert_eq!(Task::read(&written.value()).unwrap(), written);
        written.context = None;
        assert_eq!(Task::read(&written.value()).unwrap(), written);
        assert_eq!(written.key(), "advisor/t \u{e9}\"1");
    }

    #[test]
    fn foreign_values_are_none() {
        let mut newer: serde_json::Value = serde_json::from_slice(&task("t").value()).unwrap();
        newer["v"] = 2.into();
        for value in ["", "{}", "[1]", &newer.to_string()] {
            assert_eq!(Task::read(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn states_of_both_dialects_are_read() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::parse(state.as_str()), Some(state));
            let newer = format!("TASK_STATE_{}", state.as_str().to_uppercase().replace('-', "_"));
            assert_eq!(TaskState::parse(&newer), Some(state));
        }
        assert_eq!(TaskState::parse("TASK_STATE_CANCELLED"), Some(TaskState::Canceled));
        assert_eq!(TaskState::parse("done"), None);
    }
}
