//! An append-only file of small records: topics in one, committed offsets in another.
//!
//! `00000000000000000003.log` in its folder is the third edition; an edition begins with everything that was in force
//! when it was written, and replaces the one before it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut};

/// Length and checksum before each record.
const FRAME_BYTES: usize = 8;
/// A record longer than this is taken for damage.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// The open edition.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    pub(crate) edition: i64,
    pub(crate) file: Arc<File>,
    pub(crate) bytes: u64,
    /// Bytes that the edition began with; what grew beyond says when a new one is due.
    pub(crate) began_with: u64,
}

impl Journal {
    /// Opens the newest edition and reads its records; a cut or damaged tail is cut off.
    pub(crate) fn open(folder: &Path) -> io::Result<(Journal, Vec<Vec<u8>>)> {
        fs::create_dir_all(folder)?;
        let editions = super::segment::list(folder)?;
        let edition = editions.last().copied().unwrap_or(1);
        let path = super::segment::path(folder, edition);
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let content = fs::read(&path)?;
        let (records, good) = split(&content);
        if good < content.len() {
            tracing::warn!(file = %path.display(), bytes = content.len() - good, "cut an unfinished record at the end of a journal");
            file.set_len(good as u64)?;
        }
        file.sync_all()?;
        sync_folder(folder)?;
        for old in editions.iter().filter(|old| **old != edition) {
            fs::remove_file(super::segment::path(folder, *old))?;
        }
        let bytes = good as u64;
        Ok((
            Journal { folder: folder.to_owned(), edition, file: Arc::new(file), bytes, began_with: bytes },
            records,
        ))
    }

    /// Appends records and syncs them. After an error the file is as it was.
    pub(crate) fn append(&mut self, framed: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(framed, self.bytes) {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        super::fatal::sync(&self.file, &self.folder);
        self.bytes += framed.len() as u64;
        Ok(())
    }

    /// Begins a new edition with `framed`, the records in force.
    pub(crate) fn rewrite(&mut self, framed: &[u8]) -> io::Result<()> {
        let edition = self.edition + 1;
        let path = super::segment::path(&self.folder, edition);
        let fresh = path.with_extension("new");
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&fresh)?;
        if let Err(error) = file.write_all_at(framed, 0) {
            fs::remove_file(&fresh)?;
            return Err(error);
        }
        super::fatal::sync(&file, &fresh);
        fs::rename(&fresh, &path)?;
        sync_folder(&self.folder)?;
        fs::remove_file(super::segment::path(&self.folder, self.edition))?;
        self.edition = edition;
        self.file = Arc::new(file);
        self.bytes = framed.len() as u64;
        self.began_with = self.bytes;
        Ok(())
    }
}

/// Makes names in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Adds one record with its length and checksum.
pub(crate) fn frame(record: &[u8], out: &mut impl BufMut) {
    out.put_u32(u32::try_from(record.len()).unwrap_or(u32::MAX));
    out.put_u32(crc32c::crc32c(record));
    out.put_slice(record);
}

/// The sound records at the start of `content`, and how many bytes they take.
fn split(content: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut records = Vec::new();
    let mut good = 0;
    while let Some(mut head) = content.get(good..good + FRAME_BYTES) {
        let (length, checksum) = (head.get_u32() as usize, head.get_u32());
        let start = good + FRAME_BYTES;
        let Some(record) = content.get(start..start.saturating_add(length)) else {
            break;
        };
        if length > RECORD_BYTES_MAX || crc32c::crc32c(record) != checksum {
            break;
        }
        records.push(record.to_vec());
        good = start + length;
    }
    (records, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_whole_records_and_cuts_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, records) = Journal::open(folder.path()).unwrap();
        assert!(records.is_empty());
        let mut framed = Vec::new();
        frame(b"one", &mut framed);
        frame(b"two", &mut framed);
        journal.append(&framed).unwrap();
        drop(journal);
        for cut in 1..FRAME_BYTES + 3 {
            let path = super::super::segment::path(folder.path(), 1);
            fs::write(&path, &framed[..framed.len() - cut]).unwrap();
            let (_, records) = Journal::open(folder.path()).unwrap();
            assert_eq!(records, [b"one".to_vec()], "cut by {cut}");
        }
    }

    #[test]
    fn a_new_edition_replaces_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        let mut framed = Vec::new();
        frame(b"one", &mut framed);
        journal.append(&framed).unwrap();
        let mut fresh = Vec::new();
        frame(b"two", &mut fresh);
        journal.rewrite(&fresh).unwrap();
        journal.append(&framed).unwrap();
        drop(journal);
        let (journal, records) = Journal::open(folder.path()).unwrap();
        assert_eq!((journal.edition, records), (2, vec![b"two".to_vec(), b"one".to_vec()]));
    }
}
