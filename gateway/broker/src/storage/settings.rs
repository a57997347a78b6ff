//! Topic settings that the storage acts on, readable without a lock.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Values in force; -1 means without limit where Kafka says so.
#[derive(Debug)]
pub(crate) struct Settings {
    retention_ms: AtomicI64,
    retention_bytes: AtomicI64,
    segment_bytes: AtomicI64,
    batch_bytes: AtomicI64,
    /// Whether old segments may be deleted at all.
    deletes: AtomicBool,
}

/// One consistent set of [`Settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) retention_ms: i64,
    pub(crate) retention_bytes: i64,
    pub(crate) segment_bytes: i64,
    pub(crate) batch_bytes: i64,
    pub(crate) deletes: bool,
}

impl Settings {
    pub(crate) fn new(values: Values) -> Settings {
        Settings {
            retention_ms: AtomicI64::new(values.retention_ms),
            retention_bytes: AtomicI64::new(values.retention_bytes),
            segment_bytes: AtomicI64::new(values.segment_bytes),
            batch_bytes: AtomicI64::new(values.batch_bytes),
            deletes: AtomicBool::new(values.deletes),
        }
    }

    pub(crate) fn set(&self, values: Values) {
        self.retention_ms.store(values.retention_ms, Ordering::Relaxed);
        self.retention_bytes.store(values.retention_bytes, Ordering::Relaxed);
        self.segment_bytes.store(values.segment_bytes, Ordering::Relaxed);
        self.batch_bytes.store(values.batch_bytes, Ordering::Relaxed);
        self.deletes.store(values.deletes, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Values {
        Values {
            retention_ms: self.retention_ms.load(Ordering::Relaxed),
            retention_bytes: self.retention_bytes.load(Ordering::Relaxed),
            segment_bytes: self.segment_bytes(),
            batch_bytes: self.batch_bytes.load(Ordering::Relaxed),
            deletes: self.deletes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn segment_bytes(&self) -> i64 {
        self.segment_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn batch_bytes(&self) -> usize {
        usize::try_from(self.batch_bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }
}
