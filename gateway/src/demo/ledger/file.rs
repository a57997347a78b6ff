//! The entries on disk: one JSON object a line, appended and synced under the file's lock.
//!
//! An entry is there wholly or not at all: a line without its end, left by a crash in the middle of
//! a write, is cut off by the next who holds the lock, and a write that fails is taken back.
//! Other processes may append to the same file; their entries are read before each operation.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::book::{Book, BookError, Entry, examples};

/// How long to wait for another process's operation. One takes milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// Why an operation on the ledger did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("The ledger file cannot be read or written: {0}.")]
    Io(#[from] io::Error),
    #[error("Another process holds the ledger file for longer than {LOCK_WAIT:?}.")]
    Busy,
    #[error("Entry {number} of the ledger file cannot be used: {reason}.")]
    Corrupt { number: usize, reason: String },
    #[error(transparent)]
    Book(#[from] BookError),
}

/// The ledger's file and what was read of it so far. All operations block.
pub(crate) struct LedgerFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Device and inode, to notice when the file was replaced.
    identity: (u64, u64),
    read_to: u64,
    book: Book,
}

impl LedgerFile {
    /// Opens the ledger, makes it when it is missing, and reads it.
    pub(crate) fn open(path: PathBuf) -> Result<Self, FileError> {
        if let Some(folder) = parent(&path) {
            std::fs::create_dir_all(folder)?;
        }
        let ledger = Self { path, seen: Mutex::default() };
        ledger.read(|_| ())?;
        Ok(ledger)
    }

    /// Looks into the book as it is now.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Book) -> R) -> Result<R, FileError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.locked(&mut seen)?;
        Ok(look(&seen.book))
    }

    /// Enters a purchase or sale; on the disk when this returns.
    pub(crate) fn enter(&self, entry: Entry) -> Result<(), FileError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = self.locked(&mut seen)?;
        seen.append(&mut file, entry)
    }

    /// The file, locked until it is dropped, with everything in it read.
    fn locked(&self, seen: &mut Seen) -> Result<File, FileError> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        lock(&file)?;
        seen.catch_up(&mut file)?;
        if seen.read_to == 0 {
            for entry in examples() {
                seen.append(&mut file, entry)?;
            }
            // The file's name must survive a crash as well as its content.
            File::open(parent(&self.path).unwrap_or(Path::new(".")))?.sync_all()?;
            tracing::info!(file = %self.path.display(), "started a new ledger with example purchases");
        }
        Ok(file)
    }
}

impl Seen {
    /// Reads what came to the file since the last time, and cuts off a torn last line.
    fn catch_up(&mut self, file: &mut File) -> Result<(), FileError> {
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        if self.identity != identity || metadata.len() < self.read_to {
            *self = Self { identity, ..Self::default() };
        }
        if metadata.len() == self.read_to {
            return Ok(());
        }
        let mut fresh = Vec::new();
        file.seek(SeekFrom::Start(self.read_to))?;
        file.read_to_end(&mut fresh)?;
        for line in fresh.split_inclusive(|byte| *byte == b'\n') {
            if !line.ends_with(b"\n") {
                tracing::warn!(bytes = line.len(), "cut off a torn entry at the ledger's end");
                file.set_len(self.read_to)?;
                file.sync_data()?;
                break;
            }
            let corrupt =
                |reason: String| FileError::Corrupt { number: self.book.entries().len() + 1, reason };
            let entry = serde_json::from_slice(line).map_err(|e| corrupt(e.to_string()))?;
            let holdings = self.book.check(&entry);
            holdings.map_err(|e| corrupt(e.to_string()))?;
            self.book.enter(entry)?;
            self.read_to += line.len() as u64;
        }
        Ok(())
    }

    fn append(&mut self, file: &mut File, entry: Entry) -> Result<(), FileError> {
        self.book.check(&entry)?;
        let mut line = serde_json::to_vec(&entry).map_err(io::Error::other)?;
        line.push(b'\n');
        if let Err(failed) = file.write_all(&line).and_then(|()| file.sync_data()) {
            file.set_len(self.read_to)?;
            return Err(failed.into());
        }
        self.book.enter(entry)?;
        self.read_to += line.len() as u64;
        Ok(())
    }
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

fn lock(file: &File) -> Result<(), FileError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(failed)) => return Err(failed.into()),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(FileError::Busy);
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::ledger::book::Side;

    fn sale(milli_ounces: i64) -> Entry {
        Entry { date: "2026-11-22".to_owned(), side: Side::Sell, milli_ounces, price_cents: 424_755 }
    }

    fn held(ledger: &LedgerFile) -> i64 {
        ledger.read(|book| book.holdings().milli_ounces).unwrap()
    }

    #[test]
    fn a_new_ledger_has_examples_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/ledger.jsonl");
        assert_eq!(held(&LedgerFile::open(path.clone()).unwrap()), 3_000);
        assert_eq!(held(&LedgerFile::open(path).unwrap()), 3_000);
    }

    #[test]
    fn two_holders_of_one_file_see_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let one = LedgerFile::open(path.clone()).unwrap();
        let other = LedgerFile::open(path.clone()).unwrap();
        one.enter(sale(1_000)).unwrap();
        other.enter(sale(500)).unwrap();
        assert_eq!((held(&one), held(&other)), (1_500, 1_500));
        let refused = one.enter(sale(1_501)).unwrap_err();
        assert!(matches!(refused, FileError::Book(BookError::TooLittleHeld { .. })));
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 4);
    }

    #[test]
    fn sales_side_by_side_never_oversell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let sold: usize = std::thread::scope(|scope| {
            let seller = || {
                let ledger = LedgerFile::open(path.clone()).unwrap();
                (0..5).filter(|_| ledger.enter(sale(400)).is_ok()).count()
            };
            let sellers: Vec<_> = (0..4).map(|_| scope.spawn(seller)).collect();
            sellers.into_iter().map(|seller| seller.join().unwrap()).sum()
        });
        assert_eq!(sold, 7);
        assert_eq!(held(&LedgerFile::open(path).unwrap()), 200);
    }

    #[test]
    fn a_torn_last_line_is_cut_and_a_broken_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let ledger = LedgerFile::open(path.clone()).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{{\"date\":\"2026-")).unwrap();
        ledger.enter(sale(1_000)).unwrap();
        assert_eq!(held(&LedgerFile::open(path.clone()).unwrap()), 2_000);

        std::fs::write(&path, format!("{whole}nonsense\n")).unwrap();
        let refused = LedgerFile::open(path).err().unwrap();
        assert!(matches!(refused, FileError::Corrupt { number: 3, .. }), "{refused}");
    }

    #[test]
    fn a_deleted_file_is_a_new_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let ledger = LedgerFile::open(path.clone()).unwrap();
        ledger.enter(sale(1_000)).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(held(&ledger), 3_000);
    }
}
