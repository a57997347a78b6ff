//! What the broker says about itself.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::sync::lock;

/// Whether records are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Records are taken, synced and served.
    Ok,
    /// The disk refuses writes. Produce requests get a retriable error, reading goes on; it passes by itself once there is space.
    DiskFull(String),
    /// The broker cannot go on; the reason says why.
    Failed(String),
}

const OK: u8 = 0;
const FULL: u8 = 1;
const FAILED: u8 = 2;

/// The state behind [`Health`], cheap to ask on every write.
#[derive(Debug, Default)]
pub(crate) struct HealthCell {
    state: AtomicU8,
    reason: Mutex<String>,
}

impl HealthCell {
    pub(crate) fn get(&self) -> Health {
        match self.state.load(Ordering::Acquire) {
            OK => Health::Ok,
            FULL => Health::DiskFull(lock(&self.reason).clone()),
            _ => Health::Failed(lock(&self.reason).clone()),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.state.load(Ordering::Acquire) == FULL
    }

    /// A write was refused.
    pub(crate) fn refused(&self, error: &io::Error) {
        if self.state.load(Ordering::Acquire) == OK {
            tracing::error!(%error, "the disk refuses writes of the log; producers are asked to retry");
            *lock(&self.reason) = error.to_string();
            self.state.store(FULL, Ordering::Release);
        }
    }

    /// A write went through.
    pub(crate) fn accepted(&self) {
        if self.is_full() {
            tracing::info!("the disk takes writes of the log again");
            self.state.store(OK, Ordering::Release);
        }
    }

    pub(crate) fn failed(&self, reason: &str) {
        *lock(&self.reason) = reason.to_owned();
        self.state.store(FAILED, Ordering::Release);
    }
}
