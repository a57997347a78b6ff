//! The write-ahead file: one sync makes a round of appends durable, whatever number of partitions it touches.
//!
//! Two files of fixed size, written in turn. Both are filled with zeros when made, so that a sync has to move neither
//! the file's size nor its blocks, only data: a third of the time of a sync after an append. A frame holds the very
//! bytes that went to segment files and where they belong. What a file holds is needed until those segment files are
//! synced themselves, which happens in the background after the other file has taken over.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, BytesMut};

/// Bytes of each of the two files.
pub(crate) const FILE_BYTES: u64 = 16 << 20;
/// Rounds larger than this bypass the file: they are worth a sync of each segment.
pub(crate) const ROUND_BYTES_MAX: usize = 512 << 10;

const MAGIC: u32 = 0x6b61_6d66;
/// Magic, checksum, generation, sequence, length.
pub(crate) const FRAME_BYTES: usize = 4 + 4 + 8 + 8 + 4;
/// Log, file, position, length.
pub(crate) const ENTRY_BYTES: usize = 8 + 8 + 8 + 4;

/// Bytes that belong at `position` of the file `base` of the log `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) log: u64,
    pub(crate) base: i64,
    pub(crate) position: u64,
}

/// Adds an entry to a round; its bytes follow.
pub(crate) fn put_entry(target: Target, bytes: usize, out: &mut BytesMut) {
    out.put_u64(target.log);
    out.put_i64(target.base);
    out.put_u64(target.position);
    out.put_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
}

/// The file in use.
#[derive(Debug)]
pub(crate) struct Wal {
    files: [(File, PathBuf); 2],
    active: usize,
    position: u64,
    /// Counts the takings-over; a frame of an older generation in the same file is stale.
    pub(crate) generation: u64,
    sequence: u64,
}

impl Wal {
    /// Opens or makes both files and forgets what they hold, which was replayed before.
    ///
    /// Frames of earlier runs stay in them, so `generation` must never have been used: the clock in nanoseconds serves.
    pub(crate) fn open(folder: &Path, generation: u64) -> io::Result<Wal> {
        let open = |name: &str| -> io::Result<(File, PathBuf)> {
            let path = folder.join(name);
            let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
            fill(&file)?;
            file.write_all_at(&[0; FRAME_BYTES], 0)?;
            file.sync_all()?;
            Ok((file, path))
        };
        let files = [open("wal.0")?, open("wal.1")?];
        super::journal::sync_folder(folder)?;
        Ok(Wal { files, active: 0, position: 0, generation, sequence: 0 })
    }

    /// Whether a round of this many bytes fits into what is left.
    pub(crate) fn has_room(&self, frame: usize) -> bool {
        self.position + frame as u64 <= FILE_BYTES
    }

    /// Goes to the other file. Everything of the generation before the last must be synced elsewhere.
    pub(crate) fn switch(&mut self) {
        self.active = 1 - self.active;
        self.position = 0;
        self.generation += 1;
    }

    /// Writes and syncs a round; `frame` begins with room for the frame's head. After an error nothing of it counts.
    pub(crate) fn commit(&mut self, frame: &mut BytesMut) -> io::Result<()> {
        let body = frame.len() - FRAME_BYTES;
        let mut head = &mut frame[8..FRAME_BYTES];
        head.put_u64(self.generation);
        head.put_u64(self.sequence);
        head.put_u32(u32::try_from(body).unwrap_or(u32::MAX));
        let checksum = crc32c::crc32c(&frame[8..]);
        let mut head = &mut frame[..8];
        head.put_u32(MAGIC);
        head.put_u32(checksum);
        let (file, path) = &self.files[self.active];
        file.write_all_at(frame, self.position)?;
        super::fatal::sync(file, path);
        self.position += frame.len() as u64;
        self.sequence += 1;
        Ok(())
    }
}

/// Gives the file its full size, written out.
fn fill(file: &File) -> io::Result<()> {
    let zeros = vec![0u8; 1 << 20];
    let mut position = file.metadata()?.len().min(FILE_BYTES);
    while position < FILE_BYTES {
        let bytes = zeros.len().min(usize::try_from(FILE_BYTES - position).unwrap_or(usize::MAX));
        file.write_all_at(&zeros[..bytes], position)?;
        position += bytes as u64;
    }
    Ok(())
}

/// Reads the sound frames of both files in `folder`: their entries in the order in which they were written.
pub(crate) fn replay(folder: &Path) -> io::Result<Vec<(Target, bytes::Bytes)>> {
    let mut files = Vec::new();
    for name in ["wal.0", "wal.1"] {
        match std::fs::read(folder.join(name)) {
            Ok(content) => files.push(frames(&content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    files.sort_by_key(|(generation, _)| *generation);
    Ok(files.into_iter().flat_map(|(_, entries)| entries).collect())
}

/// The generation of a file's first frame, and the entries of all sound frames of that generation.
fn frames(content: &bytes::Bytes) -> (u64, Vec<(Target, bytes::Bytes)>) {
    let mut entries = Vec::new();
    let mut generation = None;
    let mut sequence = None;
    let mut at = 0;
    while let Some(mut head) = content.get(at..at + FRAME_BYTES) {
        let (magic, checksum, of, number, length) =
            (head.get_u32(), head.get_u32(), head.get_u64(), head.get_u64(), head.get_u32() as usize);
        let body = at + FRAME_BYTES..(at + FRAME_BYTES).saturating_add(length);
        let Some(checked) = content.get(at + 8..body.end) else {
            break;
        };
        let follows =
            *generation.get_or_insert(of) == of && sequence.is_none_or(|before: u64| before + 1 == number);
        if magic != MAGIC || !follows || crc32c::crc32c(checked) != checksum {
            break;
        }
        sequence = Some(number);
        at = body.end;
        split_entries(content.slice(body), &mut entries);
    }
    (generation.unwrap_or(0), entries)
}

fn split_entries(mut body: bytes::Bytes, entries: &mut Vec<(Target, bytes::Bytes)>) {
    while body.len() >= ENTRY_BYTES {
        let target = Target { log: body.get_u64(), base: body.get_i64(), position: body.get_u64() };
        let length = body.get_u32() as usize;
        if length > body.len() {
            return;
        }
        entries.push((target, body.split_to(length)));
    }
}

#[cfg(test)]
#[path = "wal_tests.rs"]
mod tests;
