//! The commands beside `run`: `check` looks at the configuration, the others at a running gateway and its log.

pub mod audit;
pub mod check;
pub mod deadletters;
pub mod key;
pub mod replay;
pub mod tail;
pub mod tasks;
pub mod top;

mod http;
mod print;
mod reach;
mod select;

use std::io;

use rdkafka::error::KafkaError;

use crate::aggregate::story::StoryError;
use crate::relay::LogError;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(
        "no gateway answers on the admin address {address} ({why}): start it with `kamf`, or set `log.brokers` \
         or `admin.listen` in the configuration that this command reads"
    )]
    NoGateway { address: String, why: String },
    #[error(
        "the configuration lets the kernel pick the port of the admin listener, so it cannot be found: set `admin.listen` \
         to the address that the gateway printed"
    )]
    NoAddress,
    #[error("the gateway answered {path} with {status}: {body}")]
    Answer { path: String, status: u16, body: String },
    #[error("the gateway's answer to {path} cannot be read: {source}")]
    Unreadable { path: String, source: serde_json::Error },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the log cannot be read: {0}")]
    Read(#[from] KafkaError),
    #[error("`{0}` is no id: give a relay id (`kamf-relay-id` of an answer) or a trace id of 32 hex digits")]
    BadId(String),
    #[error(
        "`{0}` is no id of a dead letter: it is its place in the requests, PARTITION-OFFSET, as `kamf deadletters list` prints it"
    )]
    BadLetter(String),
    #[error(transparent)]
    Story(#[from] StoryError),
    #[error("partition {partition} of `{topic}` gave nothing for {seconds} s, though it has more")]
    Silent { topic: &'static str, partition: i32, seconds: u64 },
    #[error(transparent)]
    Replay(#[from] replay::ReplayError),
    #[error("no key came on standard input: try `printf %s \"$KEY\" | kamf key`")]
    NoKey,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the command broke: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl CliError {
    /// Whether whoever read our output has gone, as `head` does: no error to speak of.
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests;
