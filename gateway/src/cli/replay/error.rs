//! Why a replay cannot begin.

use crate::upstream::StartError;

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("nothing on the log matches: widen the range or the filters (`kamf tail` takes the same ones)")]
    Nothing,
    #[error(
        "`--to` is one agent or server, and the range has requests to {agents}: pick one with `--agent`, or give \
         `--gateway`"
    )]
    Several { agents: String },
    #[error("the range holds more than {mib} MiB of requests and answers: narrow it, and replay it in parts")]
    TooMuch { mib: usize },
    #[error("the target cannot be used: {0}")]
    Target(#[from] StartError),
    #[error("the target cannot be counted: {0}")]
    Metrics(#[from] prometheus::Error),
}
