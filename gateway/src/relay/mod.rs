//! The durable hop: the record format, the log, and what is owed to each accepted request.
//!
//! [`Intake`] appends a request; [`Dispatcher`] takes it from the log and calls the upstream through a
//! [`Caller`]; what comes back is appended too; [`Replies`] hands it from the log to the client that waits.

mod abandoned;
mod admitted;
mod append_error;
mod appender;
mod caller;
mod deadletters;
mod deliveries;
pub mod delivery;
mod dispatch;
mod drive;
mod fence;
mod follow;
mod idempotency;
mod intake;
mod line;
mod log;
mod metrics;
mod ownership;
mod promise;
pub mod record;
mod recover;
mod replay;
mod replies;
#[cfg(test)]
mod simulation;
mod tasks;
mod topic;
mod tracker;

pub use abandoned::Abandoned;
pub use admitted::{Admitted, Asked};
pub use append_error::AppendError;
pub use appender::{Appender, Listeners, Position};
pub use caller::{Answer, Caller, Failure, Message, Messages};
pub use deadletters::{DeadLetters, Letter, Place, ReadError, RedriveError, Redriver, letters};
pub use deliveries::{Claim, Deliveries};
pub use dispatch::{Dispatcher, Joined};
pub use fence::Fence;
pub use follow::{FollowError, Follower, Following};
pub use idempotency::Idempotency;
pub use intake::{Accepted, Intake};
pub use log::{Log, LogError};
pub use metrics::Metrics;
pub use ownership::Ownership;
pub use promise::Promise;
pub use replies::{Replies, Reply, Waiting};
pub use tasks::{NotLoaded, SomebodyElses, Task, TaskState, Tasks, TasksReader, names_task};
pub use topic::Topic;
