//! The invariants, one file for what is judged from the same evidence.

pub(crate) mod answers;
pub(crate) mod audit;
pub(crate) mod calls;
pub(crate) mod ends;
pub(crate) mod keys;
pub(crate) mod liveness;
pub(crate) mod processes;
pub(crate) mod secrets;
pub(crate) mod streams;
pub(crate) mod sums;
