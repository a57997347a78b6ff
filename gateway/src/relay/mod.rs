//! The durable hop: the record format, the log, and what is owed to each accepted request.
//! This module alone names rdkafka for the requests and events of exchanges.

mod log;
pub mod record;
mod topic;

pub use log::{Log, LogError};
pub use topic::Topic;
