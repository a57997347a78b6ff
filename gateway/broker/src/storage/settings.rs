//! Topic settings that the storage acts on.

use std::sync::RwLock;

use crate::sync::{read, write};

/// Values in force.
#[derive(Debug)]
pub(crate) struct Settings(RwLock<Values>);

/// One set of them; -1 means without limit where Kafka says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Values {
    pub(crate) retention_ms: i64,
    pub(crate) retention_bytes: i64,
    pub(crate) segment_bytes: i64,
    pub(crate) segment_ms: i64,
    pub(crate) batch_bytes: i64,
    /// Whether old segments may be deleted at all.
    pub(crate) deletes: bool,
    /// Whether of each key only the newest record need be kept.
    pub(crate) compacts: bool,
    /// How long a record that deletes its key stays after everything before it is gone.
    pub(crate) delete_retention_ms: i64,
    /// Records younger than this are left alone by compaction.
    pub(crate) lag_min_ms: i64,
    /// Records older than this are compacted whatever the ratio.
    pub(crate) lag_max_ms: i64,
    /// Share of bytes not compacted yet from which compaction is worth its while.
    pub(crate) dirty_ratio: f64,
}

impl Settings {
    pub(crate) fn new(values: Values) -> Settings {
        Settings(RwLock::new(values))
    }

    pub(crate) fn set(&self, values: Values) {
        *write(&self.0) = values;
    }

    pub(crate) fn get(&self) -> Values {
        *read(&self.0)
    }

    pub(crate) fn batch_bytes(&self) -> usize {
        usize::try_from(read(&self.0).batch_bytes).unwrap_or(0)
    }
}
