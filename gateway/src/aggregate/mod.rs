//! What the log says in numbers: windows of calls, latency, bytes, tokens and cost, and the audit chain.
//!
//! ```text
//! kamf.requests ─┐                        ┌─► windows ─► kamf.aggregates, the admin API, metrics
//!                ├─ task (reads, no group) ┤
//! kamf.events ───┘                        └─► join ─► audit ─► kamf.audit
//! ```
//!
//! The cores ([`window`], [`usage`], [`join`], [`audit`], [`verify`]) have no clock and no I/O: time and records
//! come in as values. [`task`] drives them. All state is a function of the log: what was written last to
//! `kamf.aggregates` and `kamf.audit` says where to go on, so that after a crash nothing is counted or
//! audited twice and nothing is left out. Every replica runs this module and reads every partition; the owner of
//! partition 0 of the requests is the one that writes. What a replica writes although another has taken its place is a
//! copy, byte for byte, of what that one writes, and readers of the audit trail pass over it.

pub mod audit;
pub mod dimensions;
pub mod join;
pub mod live;
pub mod meter;
pub mod metrics;
pub mod position;
pub mod row;
pub mod story;
pub mod task;
pub mod usage;
pub mod verify;
pub mod window;

mod cell;
mod hash;
pub(crate) mod lineage;
mod names;
pub(crate) mod reader;
mod restore;
mod session;
mod sink;

pub use live::Live;
pub use task::{Office, StartError, Stream};

#[cfg(test)]
pub(crate) mod tests;
