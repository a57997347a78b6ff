//! What happened, written down as it happens: in memory and, where a file is named, on disk. This process outlives
//! the gateways that the tests kill.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Result;

/// Entries of one kind; see `tests/checker/ledger.rs` for what they are.
pub(crate) struct Ledger<T>(Mutex<Pages<T>>);

struct Pages<T> {
    entries: Vec<T>,
    file: Option<File>,
}

impl<T: Serialize + Clone> Ledger<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Pages { entries: Vec::new(), file: None }))
    }

    /// From now on entries are appended to the file `path` as well, a JSON line each.
    pub(crate) fn keep_in(&self, path: &Path) -> Result {
        let file = File::options().create(true).append(true).open(path)?;
        self.lock().file = Some(file);
        Ok(())
    }

    pub(crate) fn add(&self, entry: T) {
        let mut pages = self.lock();
        if let Some(file) = &mut pages.file {
            let mut line = serde_json::to_vec(&entry).expect("an entry is plain data");
            line.push(b'\n');
            file.write_all(&line).expect("the ledger can be written");
        }
        pages.entries.push(entry);
    }

    pub(crate) fn entries(&self) -> Vec<T> {
        self.lock().entries.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pages<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a clock before the year 500 million")
}
