//! Everything on disk: segments, journals, the write-ahead file, and the thread that commits.
//!
//! One thread writes ([`committer`]); connections hand it work through a [`queue`]. It takes what waits, writes it to
//! the segments and to the write-ahead file, syncs once, and then answers and shows readers the new records. Readers
//! take them from memory or, when they lag, from the segment files on threads for blocking work.

pub(crate) mod batch;
pub(crate) mod catalog;
pub(crate) mod checkpoint;
pub(crate) mod clean;
pub(crate) mod committer;
pub(crate) mod delivery;
pub(crate) mod disk;
pub(crate) mod fatal;
pub(crate) mod journal;
pub(crate) mod keys;
pub(crate) mod meta;
pub(crate) mod offsets;
pub(crate) mod open;
pub(crate) mod partition;
pub(crate) mod producers;
pub(crate) mod queue;
pub(crate) mod records;
pub(crate) mod round;
pub(crate) mod segment;
pub(crate) mod settings;
pub(crate) mod summary;
pub(crate) mod tail;
pub(crate) mod topics;
pub(crate) mod wal;

#[cfg(test)]
pub(crate) mod testing;
