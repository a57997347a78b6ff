//! The write-ahead file: one sync makes a round of appends durable, whatever number of partitions it touches.
//!
//! Two files of fixed size, written in turn. Both are filled with zeros when made, so that a sync has to move neither
//! the file's size nor its blocks, only data: a third of the time of a sync after an append. A frame holds the very
//! bytes that went to segment files and where they belong. What a file holds is needed until those segment files are
//! synced themselves, which happens in the background after the other file has taken over.
//!
//! Where the file system takes it, a frame goes past the page cache in one call that returns when it is on the disk
//! (`O_DIRECT | O_DSYNC`): a quarter less of the processor's time than a write and a sync. Such writes are made of whole
//! [`UNIT`]s at addresses that are multiples of it, so every frame is filled up to one with zeros, which its length counts.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, BytesMut};

/// Bytes of each of the two files: some ten thousand rounds, so that the syncs of segments after each are rare, and a
/// start after a crash reads both within a tenth of a second.
pub(crate) const FILE_BYTES: u64 = 16 << 20;
/// Frames begin and end at multiples of this, the size of a disk's sector.
const UNIT: usize = 512;
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

/// An empty frame for a round of `bytes`, of entries and their heads: it lies so in memory that it can be written as it is.
pub(crate) fn frame(bytes: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(FRAME_BYTES + bytes + 2 * UNIT);
    let skipped = frame.as_ptr().align_offset(UNIT).min(UNIT);
    frame.resize(skipped + FRAME_BYTES, 0);
    frame.advance(skipped);
    frame
}

/// One of the two files, opened in two ways.
#[derive(Debug)]
struct Half {
    path: PathBuf,
    /// Through the page cache.
    cached: File,
    /// Past it, where that is possible.
    direct: Option<File>,
}

/// The file in use.
#[derive(Debug)]
pub(crate) struct Wal {
    files: [Half; 2],
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
        let files = [Half::open(folder.join("wal.0"))?, Half::open(folder.join("wal.1"))?];
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

    /// Writes and syncs a round; `frame` comes from [`frame`]. After an error nothing of it counts.
    pub(crate) fn commit(&mut self, frame: &mut BytesMut) -> io::Result<()> {
        frame.resize(frame.len().next_multiple_of(UNIT), 0);
        let body = frame.len() - FRAME_BYTES;
        let mut head = &mut frame[8..FRAME_BYTES];
        head.put_u64(self.generation);
        head.put_u64(self.sequence);
        head.put_u32(u32::try_from(body).unwrap_or(u32::MAX));
        let checksum = crc32c::crc32c(&frame[8..]);
        let mut head = &mut frame[..8];
        head.put_u32(MAGIC);
        head.put_u32(checksum);
        self.files[self.active].write(frame, self.position)?;
        self.position += frame.len() as u64;
        self.sequence += 1;
        Ok(())
    }
}

impl Half {
    /// Opens or makes the file at its full size, without a frame in it.
    fn open(path: PathBuf) -> io::Result<Half> {
        let cached = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        fill(&cached)?;
        cached.write_all_at(&[0; FRAME_BYTES], 0)?;
        cached.sync_all()?;
        let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(&path);
        // Some file systems take the flags and refuse the write, or know larger sectors.
        let mut zeros = frame(UNIT - FRAME_BYTES);
        zeros.resize(UNIT, 0);
        let direct = direct.ok().filter(|file| file.write_all_at(&zeros, 0).is_ok());
        Ok(Half { path, cached, direct })
    }

    /// Has `frame` on the disk when it returns; without room nothing counts, any other failure ends the process.
    fn write(&self, frame: &[u8], position: u64) -> io::Result<()> {
        match &self.direct {
            Some(direct) if frame.as_ptr().align_offset(UNIT) == 0 => {
                let written = direct.write_all_at(frame, position);
                written.or_else(|error| super::fatal::unless_full(error, &self.path))
            }
            _ => {
                self.cached.write_all_at(frame, position)?;
                super::fatal::sync(&self.cached, &self.path);
                Ok(())
            }
        }
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
        // Zeros fill a frame up.
        if length > 0 {
            entries.push((target, body.split_to(length)));
        }
    }
}

#[cfg(test)]
#[path = "wal_tests.rs"]
mod tests;
