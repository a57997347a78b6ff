//! One pass of compaction over one partition: reads its closed segments and writes new ones beside them.
//!
//! Of each key the newest record stays, at its offset. What is not understood (a compressed batch, a record without a
//! key) stays too. Segments that lie side by side and fit into one become one. Nothing here changes what readers see:
//! the committing thread puts the new files in place, see [`super::swap`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;

use super::marks::{Mark, Marks};
use super::newest::Newest;
use crate::storage::batch::BatchHeader;
use crate::storage::partition::Partition;
use crate::storage::records::{self, Record};
use crate::storage::segment::{Index, Name, Scan, Segment};
use crate::storage::settings::Values;
use crate::storage::summary::Summary;
use crate::sync::lock;

/// What is to be compacted.
pub(crate) struct Plan {
    pub(crate) partition: Arc<Partition>,
    /// From the oldest on, each with the offset at which the next begins. None of them changes any more.
    pub(crate) segments: Vec<(Arc<Segment>, i64)>,
    pub(crate) marks: Marks,
    pub(crate) values: Values,
    pub(crate) now_ms: i64,
    /// Keys, and producers of a partition, held at most.
    pub(crate) keys: usize,
    pub(crate) producers: usize,
}

/// What a pass made.
pub(crate) struct Pass {
    pub(crate) groups: Vec<Group>,
    pub(crate) mark: Mark,
    /// Offset below which deletions were dropped.
    pub(crate) settled: i64,
    pub(crate) dropped: u64,
}

/// Segments and the one that is to take their place.
pub(crate) struct Group {
    pub(crate) old: Vec<Arc<Segment>>,
    pub(crate) new: Arc<Segment>,
    /// Where the new one lies until then.
    pub(crate) fresh: PathBuf,
}

impl Group {
    /// Removes what was made and is not wanted.
    pub(crate) fn discard(self) {
        // Whatever stays is removed at the next start.
        let _ = fs::remove_file(self.fresh);
        let _ = fs::remove_file(self.new.path.with_extension("index"));
    }
}

/// Decides about records in the order of the log.
#[derive(Clone)]
struct Judge<'a> {
    newest: &'a Newest,
    /// Deletions below this have stood long enough.
    settled: i64,
    /// Something was passed that may hold an older record of any key.
    opaque: bool,
    dropped: u64,
}

impl Judge<'_> {
    fn keeps(&mut self, record: &Record<'_>) -> bool {
        let Some(key) = record.key else { return true };
        let over = record.deletes && record.offset < self.settled && !self.opaque;
        let kept = !over && !self.newest.supersedes(key, record.offset);
        self.dropped += u64::from(!kept);
        kept
    }
}

impl Plan {
    /// Does it; none when `stop` was set meanwhile, or when the partition is not ready for it.
    pub(crate) fn run(&self, stop: &AtomicBool) -> io::Result<Option<Pass>> {
        let (newest, below) = self.newest()?;
        let settled = self.marks.settled(self.now_ms, self.values.delete_retention_ms);
        let mut judge = Judge { newest: &newest, settled, opaque: false, dropped: 0 };
        let mark = Mark { below, at_ms: self.now_ms };
        let mut pass = Pass { groups: Vec::new(), mark, settled, dropped: 0 };
        for group in self.grouped() {
            let mut trial = judge.clone();
            for (segment, _) in group {
                filter(segment, &mut trial, None)?;
            }
            let changes = group.len() > 1 || trial.dropped > judge.dropped;
            if stop.load(Ordering::Relaxed) {
                pass.groups.drain(..).for_each(Group::discard);
                return Ok(None);
            }
            if changes {
                match self.write(group, &mut judge) {
                    Ok(Some(group)) => pass.groups.push(group),
                    other => {
                        pass.groups.drain(..).for_each(Group::discard);
                        return other.map(|_| None);
                    }
                }
            }
            judge = trial;
        }
        pass.dropped = judge.dropped;
        Ok(Some(pass))
    }

    /// The newest offset of each key in what was not compacted before, and where that ends.
    fn newest(&self) -> io::Result<(Newest, i64)> {
        let mut newest = Newest::new(self.keys);
        let from = self.marks.below();
        for (segment, end) in &self.segments {
            if *end <= from {
                continue;
            }
            let mut scan = Scan::new(&segment.file, 0, segment.synced());
            while let Some((header, bytes)) = scan.next()? {
                if header.next_offset() <= from {
                    continue;
                }
                for record in records::of(&header, bytes).into_iter().flatten() {
                    if record.key.is_some_and(|key| !newest.take(key, record.offset)) {
                        return Ok((newest, header.base_offset.max(from)));
                    }
                }
            }
        }
        Ok((newest, self.segments.last().map_or(from, |(_, end)| *end)))
    }

    /// The segments by the files that they are to become.
    fn grouped(&self) -> Vec<&[(Arc<Segment>, i64)]> {
        let most = u64::try_from(self.values.segment_bytes).unwrap_or(u64::MAX);
        let mut groups = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (at, (segment, _)) in self.segments.iter().enumerate() {
            if at > start && bytes + segment.synced() > most {
                groups.push(&self.segments[start..at]);
                (start, bytes) = (at, 0);
            }
            bytes += segment.synced();
        }
        groups.push(&self.segments[start..]);
        groups
    }

    /// Writes what stays of a group, lasting, beside it; none when the producers as of its end are not known.
    fn write(&self, group: &[(Arc<Segment>, i64)], judge: &mut Judge<'_>) -> io::Result<Option<Group>> {
        let ([(first, _), ..], Some((last, end))) = (group, group.last()) else { return Ok(None) };
        let Some(summary) = Summary::read(&last.path, self.producers) else { return Ok(None) };
        let edition = group.iter().filter_map(|(segment, _)| segment.name.edition()).max().unwrap_or(0) + 1;
        let name = Name::compacted(first.base_offset, *end, edition);
        let path = name.path(&self.partition.folder);
        let fresh = path.with_extension("log.new");
        let written = Writer::create(&fresh).and_then(|mut writer| {
            for (segment, _) in group {
                filter(segment, judge, Some(&mut writer))?;
            }
            let (file, index) = writer.finish()?;
            Summary { index: index.clone(), next_offset: *end, producers: summary.producers }.write(&path)?;
            File::open(path.with_extension("index"))?.sync_all()?;
            Ok(Arc::new(Segment::of(name, path.clone(), file, index)))
        });
        let new = written.inspect_err(|_| drop(fs::remove_file(&fresh)))?;
        let old = group.iter().map(|(segment, _)| Arc::clone(segment)).collect();
        Ok(Some(Group { old, new, fresh }))
    }
}

/// Judges the records of a segment, and writes what stays.
fn filter(segment: &Segment, judge: &mut Judge<'_>, mut writer: Option<&mut Writer>) -> io::Result<()> {
    let synced = segment.synced();
    let mut scan = Scan::new(&segment.file, 0, synced);
    while let Some((header, bytes)) = scan.next()? {
        let Some(all) = records::of(&header, bytes) else {
            judge.opaque = true;
            if let Some(writer) = &mut writer {
                writer.put(&header, bytes)?;
            }
            continue;
        };
        let kept: Vec<_> = all.iter().copied().filter(|record| judge.keeps(record)).collect();
        match &mut writer {
            Some(writer) if kept.len() == all.len() => writer.put(&header, bytes)?,
            Some(writer) if !kept.is_empty() => writer.put_some(bytes, &kept)?,
            _ => {}
        }
    }
    if scan.position() < synced {
        let what = format!("{} cannot be read from byte {} on", segment.path.display(), scan.position());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(())
}

/// A new segment file, written in large pieces.
struct Writer {
    file: File,
    index: Index,
    waiting: BytesMut,
}

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 256 << 10;

impl Writer {
    fn create(path: &std::path::Path) -> io::Result<Writer> {
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
        Ok(Writer { file, index: Index::empty(), waiting: BytesMut::new() })
    }

    fn put(&mut self, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        self.index.push(header);
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn put_some(&mut self, bytes: &[u8], kept: &[Record<'_>]) -> io::Result<()> {
        let mut rebuilt = BytesMut::new();
        records::rebuild(bytes, kept, &mut rebuilt);
        BatchHeader::read(&rebuilt).map_or(Ok(()), |header| self.put(&header, &rebuilt))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<(File, Index)> {
        self.flush()?;
        self.file.sync_all()?;
        Ok((self.file, self.index))
    }
}

/// What a partition remembers of its compaction between passes.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) marks: Marks,
    /// A pass is under way.
    pub(crate) busy: bool,
    /// Offset below which deletions were dropped.
    pub(crate) settled: i64,
}

impl Progress {
    pub(crate) fn of(partition: &Partition) -> std::sync::MutexGuard<'_, Progress> {
        lock(&partition.compaction)
    }
}
