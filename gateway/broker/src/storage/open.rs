//! From a directory to a running store: lock, format, replay, cutting of torn tails.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::catalog::{Catalog, Topic};
use super::checkpoint::Checkpointer;
use super::clean::{Cleaner, Marks};
use super::committer::Committer;
use super::disk::Disk;
use super::journal::{Journal, sync_folder};
use super::keys;
use super::meta::{self, Change, Meta};
use super::offsets::{self, Offsets};
use super::partition::{Opened, Partition};
use super::producers::{Producers, Sequence};
use super::round::OFFSETS_LOG;
use super::segment::{self, Index, Name, Scan, Segment};
use super::settings::Settings;
use super::summary::Summary;
use super::topics::{folder_of, tail_bytes};
use super::wal::{self, Wal};
use crate::error::StartError;
use crate::health::HealthCell;
use crate::options::Limits;
use crate::sync::lock;

/// What the `format` file says; changes with any change that an older build could not read.
const FORMAT: &str = "kamf-log 1";

/// The directory, locked as long as this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Makes the directory when missing, locks it, and checks its format.
    pub(crate) fn open(path: &Path) -> Result<Directory, StartError> {
        fs::create_dir_all(path).map_err(StartError::io("make the log directory", path))?;
        let format = path.join("format");
        let found = match fs::read_to_string(&format) {
            Ok(found) => Some(found.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StartError::io("read", format)(error)),
        };
        if found.is_none() && !is_fresh(path).map_err(StartError::io("list", path))? {
            return Err(StartError::Foreign(path.to_owned()));
        }
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(StartError::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StartError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => {
                return Err(StartError::io("lock", lock_path)(error));
            }
        }
        match found {
            Some(found) if found != FORMAT => {
                return Err(StartError::Format { directory: path.to_owned(), found, expected: FORMAT });
            }
            Some(_) => {}
            None => write_format(path, &format).map_err(StartError::io("write", format))?,
        }
        Ok(Directory { path: path.to_owned(), lock })
    }

    /// Whether the last process to use it stopped in order. Taken away until this one does.
    fn take_clean_mark(&self) -> bool {
        fs::remove_file(self.path.join("clean")).is_ok()
    }

    /// Says that everything is synced and summarised, and lets others in.
    pub(crate) fn close(self) {
        let marked = fs::write(self.path.join("clean"), b"").and_then(|()| sync_folder(&self.path));
        if let Err(error) = marked.and_then(|()| self.lock.unlock()) {
            tracing::warn!(%error, "cannot mark the log as closed in order; the next start reads more");
        }
    }
}

/// Nothing in it but what an interrupted first start leaves.
fn is_fresh(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != "lock" && name != "format.new" && name != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn write_format(path: &Path, format: &Path) -> io::Result<()> {
    let fresh = path.join("format.new");
    fs::write(&fresh, format!("{FORMAT}\n"))?;
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, format)?;
    sync_folder(path)
}

/// Reads everything and makes it ready for work.
pub(crate) fn open(
    directory: &Directory,
    limits: &Limits,
    health: Arc<HealthCell>,
) -> Result<Committer, StartError> {
    let root = &directory.path;
    let clean = directory.take_clean_mark();
    let partitions = root.join("partitions");
    fs::create_dir_all(&partitions).map_err(StartError::io("make", &partitions))?;
    if !clean {
        replay(root).map_err(StartError::io("replay the write-ahead files in", root))?;
    }
    let (meta_journal, meta) = open_meta(root)?;
    let (offsets_journal, offsets) = open_offsets(root)?;
    let (catalog, dirty, scanned) = open_topics(root, &meta, limits)?;
    remove_strays(&partitions, &meta);
    // Never used before: the clock, in nanoseconds.
    let generation = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |elapsed| u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX / 2));
    let wal = Wal::open(root, generation).map_err(StartError::io("open the write-ahead files in", root))?;
    let checkpointer = Checkpointer::start(generation - 1).map_err(StartError::Threads)?;
    Ok(Committer {
        folder: root.clone(),
        disk: Disk::default(),
        health,
        catalog: Arc::new(catalog),
        offsets: Arc::new(offsets),
        deliveries: Arc::default(),
        wal,
        offsets_journal,
        meta_journal,
        meta,
        checkpointer,
        dirty,
        bypassed: 0,
        cleaner: Cleaner::default(),
        scanned,
    })
}

type Dirty = HashMap<(u64, i64), (Arc<Partition>, Arc<Segment>)>;

/// Opens every partition of every topic; also says which segments have no summary that covers them, and how many bytes
/// were read for that.
fn open_topics(root: &Path, meta: &Meta, limits: &Limits) -> Result<(Catalog, Dirty, u64), StartError> {
    let catalog = Catalog::default();
    let mut dirty = Dirty::new();
    let mut scanned = 0;
    let count = meta.topics.values().map(|topic| topic.logs.len()).sum();
    for (name, topic) in &meta.topics {
        let settings = Arc::new(Settings::new(keys::values(&topic.settings, limits.batch_bytes)));
        let mut made = Vec::with_capacity(topic.logs.len());
        for log in &topic.logs {
            let folder = folder_of(root, *log);
            let start = meta.starts.get(log).copied().unwrap_or(0);
            let (opened, uncovered, bytes) = open_partition(&folder, start, limits)
                .map_err(StartError::io("open the partition in", &folder))?;
            scanned += bytes;
            let (settings, tail) = (Arc::clone(&settings), tail_bytes(limits, count));
            let partition = Arc::new(Partition::new(*log, folder, settings, opened, tail));
            for segment in uncovered {
                dirty.insert((*log, segment.base_offset), (Arc::clone(&partition), segment));
            }
            made.push(partition);
        }
        let topic = Topic::new(settings, topic.settings.clone(), made);
        catalog.insert(name.clone(), Arc::new(topic));
    }
    Ok((catalog, dirty, scanned))
}

/// Puts the bytes of the write-ahead files where they belong, and syncs them there.
fn replay(root: &Path) -> io::Result<()> {
    let mut open: Option<(u64, i64, Option<File>)> = None;
    let mut count = 0usize;
    let mut touched = BTreeSet::new();
    for (target, bytes) in wal::replay(root)? {
        if open.as_ref().is_none_or(|(log, base, _)| (*log, *base) != (target.log, target.base)) {
            let path = target_path(root, target.log, target.base);
            // A file that is gone was deleted after all of it was done with.
            let file = OpenOptions::new().write(true).open(&path).ok();
            open = Some((target.log, target.base, file));
        }
        if let Some((log, base, Some(file))) = &open {
            file.write_all_at(&bytes, target.position)?;
            touched.insert((*log, *base));
            count += 1;
        }
    }
    for (log, base) in touched {
        File::open(target_path(root, log, base))?.sync_all()?;
    }
    if count > 0 {
        tracing::info!(
            entries = count,
            "the log was not closed in order; what was acknowledged last is replayed"
        );
    }
    Ok(())
}

fn target_path(root: &Path, log: u64, base: i64) -> PathBuf {
    let folder = if log == OFFSETS_LOG { root.join("offsets") } else { folder_of(root, log) };
    segment::path(&folder, base)
}

fn open_meta(root: &Path) -> Result<(Journal, Meta), StartError> {
    let folder = root.join("topics");
    let (mut journal, records) =
        Journal::open(&folder).map_err(StartError::io("read the journal in", &folder))?;
    let mut meta = Meta::default();
    for record in records {
        let change = serde_json::from_slice(&record)
            .map_err(|error| StartError::Damaged { path: folder.clone(), what: error.to_string() })?;
        meta.apply(change);
    }
    if meta.cluster.is_empty() {
        let id = Change::Cluster { id: Uuid::new_v4().simple().to_string() };
        journal
            .append(&meta::framed(std::slice::from_ref(&id)))
            .map_err(StartError::io("write the journal in", &folder))?;
        meta.apply(id);
    }
    let compact = meta.framed();
    if journal.bytes > 2 * compact.len() as u64 {
        unless_full(journal.rewrite(&compact)).map_err(StartError::io("write the journal in", &folder))?;
    }
    Ok((journal, meta))
}

fn open_offsets(root: &Path) -> Result<(Journal, Offsets), StartError> {
    let folder = root.join("offsets");
    let (mut journal, records) =
        Journal::open(&folder).map_err(StartError::io("read the journal in", &folder))?;
    let offsets = Offsets::default();
    let changes: Result<Vec<offsets::Change>, _> =
        records.iter().map(|record| serde_json::from_slice(record)).collect();
    offsets.apply(
        changes.map_err(|error| StartError::Damaged { path: folder.clone(), what: error.to_string() })?,
    );
    let compact = offsets.framed();
    if journal.bytes > 2 * compact.len() as u64 {
        unless_full(journal.rewrite(&compact)).map_err(StartError::io("write the journal in", &folder))?;
    }
    Ok((journal, offsets))
}

/// A journal that cannot be made shorter for want of room serves as it is.
fn unless_full(rewritten: io::Result<()>) -> io::Result<()> {
    rewritten.or_else(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Ok(()),
        _ => Err(error),
    })
}

/// Reads a partition: of each segment what its summary does not cover. Also hands back the segments read in part, and the
/// bytes read of them.
fn open_partition(
    folder: &Path,
    start: i64,
    limits: &Limits,
) -> io::Result<(Opened, Vec<Arc<Segment>>, u64)> {
    fs::create_dir_all(folder)?;
    remove_unfinished(folder)?;
    let (mut names, replaced) = segment::names(folder)?;
    for name in replaced {
        fs::remove_file(name.path(folder))?;
    }
    // A compacted segment is never written to.
    let end = names.last().map_or(Some(start), |last| last.end());
    if let Some(end) = end {
        Segment::create(folder, end)?;
        sync_folder(folder)?;
        names.push(Name::plain(end));
    }
    let mut producers = Producers::new(limits.producers);
    let mut segments = Vec::with_capacity(names.len());
    let mut uncovered = Vec::new();
    let mut scanned = 0;
    let first = names[0].base_offset;
    let mut next_offset = first;
    for (at, name) in names.iter().enumerate() {
        let path = name.path(folder);
        let size = fs::metadata(&path)?.len();
        let summary = Summary::read(&path, limits.producers).filter(|summary| summary.index.synced <= size);
        let index = if let Some(summary) = summary {
            producers = summary.producers;
            next_offset = summary.next_offset;
            summary.index
        } else {
            next_offset = name.base_offset;
            Index::empty()
        };
        let covered = index.synced;
        scanned += size - covered;
        let segment = Arc::new(Segment::open(folder, *name, index)?);
        next_offset = scan(&segment, size, next_offset, &mut producers)?;
        if segment.synced() == size {
            next_offset = name.end().unwrap_or(next_offset);
        }
        if segment.synced() != covered || covered == 0 {
            uncovered.push(Arc::clone(&segment));
        }
        match names.get(at + 1) {
            None => cut(&segment, size)?,
            Some(next) if next.base_offset != next_offset => {
                tracing::error!(file = %path.display(), next_offset, "a segment of the log is damaged; its records up to the next segment cannot be read");
            }
            Some(_) => {}
        }
        segments.push(segment);
    }
    let log_start = start.max(first).min(next_offset);
    let marks = Marks::read(folder);
    let opened = Opened { segments, log_start, next_offset, producers, marks };
    Ok((opened, uncovered, scanned))
}

/// Removes what a compaction or a checkpoint left that had not come to its end.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Takes in the sound batches after what the index covers. Returns the next offset.
fn scan(segment: &Segment, size: u64, mut next_offset: i64, producers: &mut Producers) -> io::Result<i64> {
    let mut index = lock(&segment.index);
    let mut batches = Scan::new(&segment.file, index.synced, size);
    while let Some((header, bytes)) = batches.next()? {
        // Compaction leaves gaps.
        let follows = header.base_offset == next_offset
            || (segment.name.end().is_some() && header.base_offset > next_offset);
        if header.magic != 2 || !follows || !header.matches(bytes) {
            break;
        }
        if !matches!(producers.judge(&header), Sequence::Duplicate(_)) {
            producers.remember(&header, header.base_offset, header.max_timestamp);
        }
        index.push(&header);
        next_offset = header.next_offset();
    }
    Ok(next_offset)
}

/// Cuts off what follows the sound batches of the newest segment: the remains of a write that was never acknowledged.
fn cut(segment: &Segment, size: u64) -> io::Result<()> {
    let sound = segment.synced();
    if sound < size {
        let bytes = size - sound;
        tracing::warn!(file = %segment.path.display(), bytes, "cut an unfinished batch at the end of the log");
        segment.file.set_len(sound)?;
        segment.file.sync_all()?;
    }
    Ok(())
}

/// Removes folders of partitions that no topic has: remains of a deletion or of a failed creation.
fn remove_strays(partitions: &Path, meta: &Meta) {
    let logs: HashSet<String> =
        meta.topics.values().flat_map(|topic| &topic.logs).map(|log| format!("{log:08}")).collect();
    for entry in fs::read_dir(partitions).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| !logs.contains(name))
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, folder = %entry.path().display(), "cannot remove the folder of a deleted partition; it only takes space");
        }
    }
}
