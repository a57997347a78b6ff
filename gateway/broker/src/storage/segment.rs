//! One segment file: whole batches one after the other, with a sparse index kept in memory and beside it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::batch::{BatchHeader, HEADER_BYTES};
use crate::sync::lock;

/// Distance of index entries in the file. A lookup reads at most this much too much.
pub(crate) const INDEX_INTERVAL: u64 = 32 * 1024;

/// The batches from `position` up to the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) offset: i64,
    pub(crate) position: u64,
    /// Newest timestamp from the segment's start to the end of this entry's stretch.
    pub(crate) max_timestamp: i64,
}

/// What is known about the synced part of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) entries: Vec<IndexEntry>,
    /// Bytes that are synced; readers see no more.
    pub(crate) synced: u64,
    pub(crate) max_timestamp: i64,
}

impl Index {
    pub(crate) fn empty() -> Index {
        Index { entries: Vec::new(), synced: 0, max_timestamp: -1 }
    }

    /// Takes in the batch that ends the synced part.
    pub(crate) fn push(&mut self, batch: &BatchHeader) {
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp);
        if self.entries.last().is_none_or(|entry| self.synced - entry.position >= INDEX_INTERVAL) {
            self.entries.push(IndexEntry {
                offset: batch.base_offset,
                position: self.synced,
                max_timestamp: self.max_timestamp,
            });
        } else if let Some(entry) = self.entries.last_mut() {
            entry.max_timestamp = self.max_timestamp;
        }
        self.synced += batch.bytes as u64;
    }

    /// Where to begin to look for `offset`.
    pub(crate) fn position_of(&self, offset: i64) -> u64 {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        after.checked_sub(1).map_or(0, |at| self.entries[at].position)
    }

    /// Where to begin to look for a record not older than `timestamp`; `None` when all are older.
    pub(crate) fn position_of_time(&self, timestamp: i64) -> Option<u64> {
        let at = self.entries.partition_point(|entry| entry.max_timestamp < timestamp);
        self.entries.get(at).map(|entry| entry.position)
    }
}

/// Name of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) base_offset: i64,
    compacted: Option<Compacted>,
}

/// What only the name of a compacted segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Compacted {
    /// Offset after the last that it stands for, whether it still has that record or not.
    end: i64,
    /// Tells it from those that it replaced.
    edition: u64,
}

impl Name {
    pub(crate) fn plain(base_offset: i64) -> Name {
        Name { base_offset, compacted: None }
    }

    pub(crate) fn compacted(base_offset: i64, end: i64, edition: u64) -> Name {
        Name { base_offset, compacted: Some(Compacted { end, edition }) }
    }

    /// Offset after the last of a compacted one.
    pub(crate) fn end(self) -> Option<i64> {
        self.compacted.map(|compacted| compacted.end)
    }

    pub(crate) fn edition(self) -> Option<u64> {
        self.compacted.map(|compacted| compacted.edition)
    }

    /// `00000000000000000042.log` holds the batches from offset 42 on; `…42-00000000000000000100-3.log` stands, compacted
    /// for the third time, for all up to 99. The write-ahead file never names the latter, so no replay can touch it.
    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        match self.compacted {
            None => path(folder, self.base_offset),
            Some(Compacted { end, edition }) => {
                folder.join(format!("{:020}-{end:020}-{edition}.log", self.base_offset))
            }
        }
    }

    fn parse(file: &str) -> Option<Name> {
        let mut parts = file.strip_suffix(".log")?.split('-');
        let base_offset = parts.next()?.parse().ok()?;
        let compacted = match (parts.next(), parts.next(), parts.next()) {
            (None, None, None) => None,
            (Some(end), Some(edition), None) => {
                Some(Compacted { end: end.parse().ok()?, edition: edition.parse().ok()? })
            }
            _ => return None,
        };
        Some(Name { base_offset, compacted })
    }
}

/// The segments in `folder` that count, in order, and those that compacted ones have replaced.
pub(crate) fn names(folder: &Path) -> io::Result<(Vec<Name>, Vec<Name>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        all.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    all.sort_by_key(|name| (name.base_offset, std::cmp::Reverse(name.edition())));
    let mut covered = i64::MIN;
    Ok(all.into_iter().partition(|name| {
        let counts = name.base_offset >= covered;
        if counts {
            covered = covered.max(name.end().unwrap_or(i64::MIN));
        }
        counts
    }))
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: Name,
    pub(crate) base_offset: i64,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) index: Mutex<Index>,
}

impl Segment {
    /// Makes a new, empty segment; the caller syncs the folder.
    pub(crate) fn create(folder: &Path, base_offset: i64) -> io::Result<Segment> {
        let name = Name::plain(base_offset);
        let path = name.path(folder);
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(Segment::of(name, path, file, Index::empty()))
    }

    pub(crate) fn open(folder: &Path, name: Name, index: Index) -> io::Result<Segment> {
        let path = name.path(folder);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Segment::of(name, path, file, index))
    }

    /// The segment in `file`, which is, or is to be, at `path`.
    pub(crate) fn of(name: Name, path: PathBuf, file: File, index: Index) -> Segment {
        Segment { name, base_offset: name.base_offset, path, file, index: Mutex::new(index) }
    }

    /// Time of its first records; the earliest of all times when it has none.
    pub(crate) fn began_ms(&self) -> i64 {
        lock(&self.index).entries.first().map_or(i64::MIN, |entry| entry.max_timestamp)
    }

    pub(crate) fn synced(&self) -> u64 {
        lock(&self.index).synced
    }

    pub(crate) fn max_timestamp(&self) -> i64 {
        lock(&self.index).max_timestamp
    }

    /// Removes the file and what lies beside it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(self.path.with_extension("index")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::remove_file(&self.path)
    }
}

/// `00000000000000000042.log` holds the batches from offset 42 on.
pub(crate) fn path(folder: &Path, base_offset: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}.log"))
}

/// First offsets of the segments in `folder`, in order.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<i64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(base) =
            name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|base| base.parse().ok())
        {
            bases.push(base);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Reads a file batch by batch, in large pieces.
pub(crate) struct Scan<'a> {
    file: &'a File,
    end: u64,
    /// Where `buffer` begins in the file.
    start: u64,
    buffer: Vec<u8>,
    /// Next batch within `buffer`.
    at: usize,
}

/// Bytes read at once while scanning.
const SCAN_BYTES: usize = 256 * 1024;

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a File, from: u64, end: u64) -> Scan<'a> {
        Scan { file, end, start: from, buffer: Vec::new(), at: 0 }
    }

    /// Position of the next batch.
    pub(crate) fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    /// The next whole batch with its header, or `None` at the end and where no whole batch follows.
    pub(crate) fn next(&mut self) -> io::Result<Option<(BatchHeader, &[u8])>> {
        if !self.fill(HEADER_BYTES)? {
            return Ok(None);
        }
        let Some(header) = BatchHeader::read(&self.buffer[self.at..]) else {
            return Ok(None);
        };
        if !self.fill(header.bytes)? {
            return Ok(None);
        }
        let at = self.at;
        self.at += header.bytes;
        Ok(Some((header, &self.buffer[at..at + header.bytes])))
    }

    /// Has `wanted` bytes in the buffer from the next batch on, if the file has them.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.buffer.len() - self.at >= wanted {
            return Ok(true);
        }
        let left = self.end.saturating_sub(self.position());
        if left < wanted as u64 {
            return Ok(false);
        }
        self.start = self.position();
        self.at = 0;
        let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(SCAN_BYTES.max(wanted));
        self.buffer.resize(bytes, 0);
        self.file.read_exact_at(&mut self.buffer, self.start)?;
        Ok(true)
    }
}
