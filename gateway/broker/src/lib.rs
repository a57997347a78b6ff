//! The embedded log.

mod api;
mod broker;
mod error;
mod groups;
mod health;
mod net;
mod node;
mod options;
mod storage;
mod sync;
mod wire;

pub use broker::Broker;
pub use error::StartError;
pub use health::Health;
pub use options::{Limits, Options};
