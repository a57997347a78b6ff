//! The one thread that changes files: it puts rounds together and runs administrative tasks between them.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::catalog::Catalog;
use super::checkpoint::{Checkpointer, Cover, Work};
use super::clean::Cleaner;
use super::delivery::Deliveries;
use super::disk::Disk;
use super::fatal;
use super::journal::{Journal, sync_folder};
use super::meta::Meta;
use super::offsets::Offsets;
use super::partition::Partition;
use super::queue::{Job, Queue};
use super::round::Round;
use super::segment::Segment;
use super::wal::{self, Wal};
use crate::health::HealthCell;
use crate::sync::lock;

/// Longest sleep without work; short enough that nothing waits for the thread to notice a change.
const IDLE: Duration = Duration::from_secs(5);
/// Bytes synced without the write-ahead file after which summaries are written, so that a start reads little.
const BYPASSED_MAX: u64 = 64 << 20;
/// Growth of the offsets journal after which it is written anew, beyond twice what is in force.
const OFFSETS_GROWTH: u64 = 4 << 20;

/// State of the committing thread.
pub(crate) struct Committer {
    pub(crate) folder: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) health: Arc<HealthCell>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) wal: Wal,
    pub(crate) offsets_journal: Journal,
    pub(crate) meta_journal: Journal,
    pub(crate) meta: Meta,
    pub(crate) checkpointer: Checkpointer,
    /// Segments with bytes that only the write-ahead file makes durable, or that no summary covers yet.
    pub(crate) dirty: HashMap<(u64, i64), (Arc<Partition>, Arc<Segment>)>,
    /// Bytes synced directly since the last checkpoint.
    pub(crate) bypassed: u64,
    pub(crate) cleaner: Cleaner,
    /// Bytes of segments that had to be read to open the directory, because no summary covered them.
    pub(crate) scanned: u64,
}

impl Committer {
    /// Works until the queue is closed, then leaves everything synced and summarised.
    pub(crate) fn run(mut self, queue: &Queue) {
        let mut jobs = Vec::new();
        while queue.take(&mut jobs, IDLE) {
            let bytes = wal::FRAME_BYTES + jobs.iter().map(Job::bytes).sum::<usize>();
            if (bytes <= wal::ROUND_BYTES_MAX && !self.wal.has_room(bytes)) || self.bypassed > BYPASSED_MAX {
                self.switch_wal();
            }
            let mut round = Round::default();
            for job in jobs.drain(..) {
                match job {
                    Job::Append(append) => round.add(append),
                    Job::Offsets(offsets) => round.add_offsets(offsets),
                    Job::Task(task) => {
                        self.commit_if_any(std::mem::take(&mut round));
                        task(&mut self);
                    }
                }
            }
            self.commit_if_any(round);
            if self.offsets_journal.bytes > 2 * self.offsets_journal.began_with + OFFSETS_GROWTH {
                self.rewrite_offsets();
            }
        }
        self.cleaner.stop();
        self.switch_wal();
        self.checkpointer.stop();
    }

    fn commit_if_any(&mut self, round: Round) {
        if !round.is_empty() {
            self.commit(round);
        }
    }

    pub(crate) fn mark_dirty(&mut self, partition: &Arc<Partition>, segment: &Arc<Segment>) {
        let key = (partition.log, segment.base_offset);
        self.dirty.entry(key).or_insert_with(|| (Arc::clone(partition), Arc::clone(segment)));
    }

    /// Goes to the other write-ahead file and has everything of this one made safe elsewhere. Only between rounds.
    pub(crate) fn switch_wal(&mut self) {
        let generation = self.wal.generation;
        let covers = self.dirty.drain().map(|(_, (partition, segment))| cover(partition, segment)).collect();
        self.checkpointer.send(Work::Cover(covers));
        self.checkpointer.send(Work::Journal(Arc::clone(&self.offsets_journal.file), self.folder.clone()));
        self.checkpointer.send(Work::Finished(generation));
        self.checkpointer.wait_for(generation - 1);
        self.wal.switch();
        self.bypassed = 0;
    }

    /// Begins a new segment when the partition's is full. Only before a round writes to it.
    pub(crate) fn roll_if_full(&mut self, partition: &Arc<Partition>) -> io::Result<()> {
        let full = u64::try_from(partition.settings.get().segment_bytes).unwrap_or(u64::MAX);
        let state = lock(&partition.write);
        let (bytes, base) =
            (state.bytes, state.staged.first().map_or(state.next_offset, |staged| staged.header.base_offset));
        drop(state);
        if bytes == 0 || bytes < full { Ok(()) } else { self.roll(partition, base) }
    }

    /// Begins a new segment at `base`, the offset of the next batch.
    pub(crate) fn roll(&mut self, partition: &Arc<Partition>, base: i64) -> io::Result<()> {
        let segment = Arc::new(Segment::create(&partition.folder, base)?);
        sync_folder(&partition.folder)?;
        let old = {
            let mut write = lock(&partition.write);
            write.bytes = 0;
            std::mem::replace(&mut write.segment, Arc::clone(&segment))
        };
        partition.add_segment(segment);
        self.mark_dirty(partition, &old);
        Ok(())
    }

    fn rewrite_offsets(&mut self) {
        let framed = self.offsets.framed();
        if let Err(error) = self.offsets_journal.rewrite(&framed) {
            self.health.refused(&error);
            // Not tried again before it has grown once more.
            self.offsets_journal.began_with = self.offsets_journal.bytes;
        }
    }

    /// Tries to write while the disk is known to be full, so that health recovers without a producer's help.
    pub(crate) fn probe(&mut self) {
        let path = self.folder.join("probe");
        let written = std::fs::write(&path, vec![0u8; PROBE_BYTES])
            .and_then(|()| std::fs::File::open(&path)?.sync_all());
        let _ = std::fs::remove_file(&path);
        if written.is_ok() {
            self.health.accepted();
        }
    }
}

/// Bytes written to see whether a full disk has space again.
const PROBE_BYTES: usize = 1 << 20;

/// What a summary of `segment` says now, between rounds.
fn cover(partition: Arc<Partition>, segment: Arc<Segment>) -> Cover {
    let write = lock(&partition.write);
    let (bytes, next_offset, producers) = (segment.synced(), write.next_offset, write.producers.clone());
    drop(write);
    let next_offset = partition.next_segment_base(segment.base_offset).unwrap_or(next_offset);
    Cover { partition, segment, bytes, next_offset, producers }
}

/// Ends the process when the committing thread panics: nobody else can say what is on the disk.
pub(crate) struct Abort;

impl Drop for Abort {
    fn drop(&mut self) {
        if std::thread::panicking() {
            fatal::die("the committing thread panicked");
        }
    }
}
