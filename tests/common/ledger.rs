//! What happened, written down as it happens: in memory. This process outlives
//! the gateways that the tests kill.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Entries of one kind; see `tests/checker/ledger.rs` for what they are.
pub(crate) struct Ledger<T>(Mutex<Vec<T>>);

impl<T: Clone> Ledger<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(crate) fn add(&self, entry: T) {
        self.lock().push(entry);
    }

    pub(crate) fn entries(&self) -> Vec<T> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a clock before the year 500 million")
}
