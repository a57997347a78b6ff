//! The file beside a segment that saves reading it at start: its index, and the producers as of its covered end.
//!
//! A summary speaks only of bytes that were synced before it was written. It need not be synced itself: one that is
//! missing, cut or damaged only means that the segment is read from its start.

use std::fs;
use std::io;
use std::path::Path;

use bytes::{Buf, BufMut};

use super::producers::Producers;
use super::segment::{Index, IndexEntry};

/// First bytes of the file; the last one is the version of its layout.
const MAGIC: &[u8; 8] = b"kamfidx1";

/// A segment up to `index.synced`.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) index: Index,
    pub(crate) next_offset: i64,
    pub(crate) producers: Producers,
}

impl Summary {
    /// Writes it beside the segment at `segment`, replacing an older one.
    pub(crate) fn write(&self, segment: &Path) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(64 + self.index.entries.len() * 24);
        bytes.put_slice(MAGIC);
        bytes.put_u64(self.index.synced);
        bytes.put_i64(self.index.max_timestamp);
        bytes.put_i64(self.next_offset);
        bytes.put_u32(u32::try_from(self.index.entries.len()).unwrap_or(u32::MAX));
        for entry in &self.index.entries {
            bytes.put_i64(entry.offset);
            bytes.put_u64(entry.position);
            bytes.put_i64(entry.max_timestamp);
        }
        self.producers.encode(&mut bytes);
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32(checksum);
        let path = segment.with_extension("index");
        let fresh = segment.with_extension("index.new");
        fs::write(&fresh, &bytes)?;
        fs::rename(fresh, path)
    }

    /// Reads the one beside the segment at `segment`, if there is a sound one.
    pub(crate) fn read(segment: &Path, producers: usize) -> Option<Summary> {
        let bytes = fs::read(segment.with_extension("index")).ok()?;
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
            return None;
        }
        let mut body = body.strip_prefix(MAGIC)?;
        let (synced, max_timestamp) = (body.try_get_u64().ok()?, body.try_get_i64().ok()?);
        let next_offset = body.try_get_i64().ok()?;
        let mut entries = Vec::new();
        for _ in 0..body.try_get_u32().ok()? {
            entries.push(IndexEntry {
                offset: body.try_get_i64().ok()?,
                position: body.try_get_u64().ok()?,
                max_timestamp: body.try_get_i64().ok()?,
            });
        }
        let producers = Producers::decode(&mut body, producers)?;
        Some(Summary { index: Index { entries, synced, max_timestamp }, next_offset, producers })
    }
}
