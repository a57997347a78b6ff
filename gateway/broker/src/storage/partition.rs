//! One partition: what readers see of it, and what the committing thread keeps to append to it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Notify;

use super::batch::{BatchHeader, Found, first_not_older};
use super::clean::{Marks, Progress};
use super::delivery::Delivery;
use super::producers::{Producer, Producers};
use super::segment::{Scan, Segment};
use super::settings::Settings;
use super::tail::Tail;
use crate::sync::lock;

/// A partition of a topic.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Names the partition's folder; never used twice, so that a topic made anew never meets files of its namesake.
    pub(crate) log: u64,
    pub(crate) folder: PathBuf,
    pub(crate) settings: Arc<Settings>,
    deleted: AtomicBool,
    read: Mutex<ReadState>,
    /// Touched by the committing thread alone.
    pub(crate) write: Mutex<WriteState>,
    pub(crate) compaction: Mutex<Progress>,
}

#[derive(Debug)]
struct ReadState {
    log_start: i64,
    /// First offset that is not synced; readers see what lies below.
    high_watermark: i64,
    /// Oldest first, never empty.
    segments: Vec<Arc<Segment>>,
    tail: Tail,
    waiting: Vec<Arc<Arrival>>,
}

impl ReadState {
    fn position(&self, segments: &[Arc<Segment>]) -> Option<usize> {
        let same = |(a, b): (&Arc<Segment>, &Arc<Segment>)| Arc::ptr_eq(a, b);
        self.segments.windows(segments.len().max(1)).position(|run| run.iter().zip(segments).all(same))
    }
}

/// What the committing thread knows of the partition's end.
#[derive(Debug)]
pub(crate) struct WriteState {
    pub(crate) next_offset: i64,
    pub(crate) segment: Arc<Segment>,
    /// Bytes written to `segment`, synced or not.
    pub(crate) bytes: u64,
    pub(crate) producers: Producers,
    /// Batches of the round that is being put together.
    pub(crate) staged: Vec<Staged>,
}

/// A batch that has its offset but is not written yet.
#[derive(Debug)]
pub(crate) struct Staged {
    /// With its offset in the log.
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Bytes,
    /// What the producer's state was, should the write fail.
    pub(crate) before: Option<(i64, Option<Producer>)>,
}

/// Wakes one fetch that waits for records.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// The fetch is over, or woken already.
    done: AtomicBool,
    notify: Notify,
}

impl Arrival {
    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Nobody waits any more; the partitions may forget it.
    pub(crate) fn finish(&self) {
        self.done.store(true, Ordering::Release);
    }

    pub(crate) fn wake(&self) {
        if !self.done.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }
}

/// Ends of a partition as a reader sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) log_start: i64,
    pub(crate) high_watermark: i64,
}

/// How the records from an offset on can be had.
pub(crate) enum Available {
    /// The offset lies outside the log.
    OutOfRange,
    /// Here they are, from memory; none when the offset is the end.
    Batches(Vec<Bytes>),
    /// They lie in the first of these files that has any; reading it blocks.
    Files(Vec<Arc<Segment>>),
}

impl Partition {
    pub(crate) fn new(
        log: u64,
        folder: PathBuf,
        settings: Arc<Settings>,
        opened: Opened,
        tail_bytes: usize,
    ) -> Partition {
        let Opened { segments, log_start, next_offset, producers, marks } = opened;
        let segment = Arc::clone(&segments[segments.len() - 1]);
        let bytes = segment.synced();
        let read = ReadState {
            log_start,
            high_watermark: next_offset,
            segments,
            tail: Tail::new(tail_bytes),
            waiting: Vec::new(),
        };
        let write = WriteState { next_offset, segment, bytes, producers, staged: Vec::new() };
        Partition {
            log,
            folder,
            settings,
            deleted: AtomicBool::new(false),
            read: Mutex::new(read),
            write: Mutex::new(write),
            compaction: Mutex::new(Progress { marks, ..Progress::default() }),
        }
    }

    pub(crate) fn ends(&self) -> Ends {
        let read = lock(&self.read);
        Ends { log_start: read.log_start, high_watermark: read.high_watermark }
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// No more appends; whoever waits for records is told.
    pub(crate) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
        for arrival in std::mem::take(&mut lock(&self.read).waiting) {
            arrival.wake();
        }
    }

    /// Looks for the records from `offset` on, with the ends as of the same moment.
    pub(crate) fn available(&self, offset: i64, max: usize, at_least_one: bool) -> (Ends, Available) {
        let read = lock(&self.read);
        let ends = Ends { log_start: read.log_start, high_watermark: read.high_watermark };
        let available = if offset < ends.log_start || offset > ends.high_watermark {
            Available::OutOfRange
        } else if offset == ends.high_watermark || (max == 0 && !at_least_one) {
            Available::Batches(Vec::new())
        } else if let Some(batches) = read.tail.read(offset, max, at_least_one) {
            Available::Batches(batches)
        } else {
            let after = read.segments.partition_point(|segment| segment.base_offset <= offset);
            // Compaction may have left nothing behind the offset in the segment in which it lies.
            Available::Files(read.segments[after.saturating_sub(1)..].to_vec())
        };
        (ends, available)
    }

    /// Has `arrival` woken by the next records, unless some lie beyond `seen` already: then `false`.
    pub(crate) fn wait_beyond(&self, seen: i64, arrival: &Arc<Arrival>) -> bool {
        let mut read = lock(&self.read);
        if read.high_watermark != seen || self.is_deleted() {
            return false;
        }
        read.waiting.retain(|waiting| !waiting.done.load(Ordering::Acquire));
        read.waiting.push(Arc::clone(arrival));
        true
    }

    /// Shows readers a round's batches of this partition, which are synced now, and adds those to be woken.
    pub(crate) fn publish(
        &self,
        segment: &Segment,
        batches: impl Iterator<Item = (BatchHeader, Bytes)>,
        deliveries: &mut Vec<Delivery>,
    ) {
        let mut read = lock(&self.read);
        let mut index = lock(&segment.index);
        for (header, bytes) in batches {
            index.push(&header);
            read.tail.push(header.base_offset, header.next_offset(), bytes);
            read.high_watermark = header.next_offset();
        }
        drop(index);
        deliveries.extend(read.waiting.drain(..).map(Delivery::Arrived));
    }

    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        lock(&self.read).segments.clone()
    }

    /// First offset of the segment after the one that begins at `base`.
    pub(crate) fn next_segment_base(&self, base: i64) -> Option<i64> {
        let read = lock(&self.read);
        read.segments.iter().map(|segment| segment.base_offset).find(|other| *other > base)
    }

    /// Whether these segments are all there, one after the other.
    pub(crate) fn has(&self, segments: &[Arc<Segment>]) -> bool {
        lock(&self.read).position(segments).is_some()
    }

    /// Puts a compacted segment in the place of others that are there.
    pub(crate) fn replace(&self, old: &[Arc<Segment>], new: Arc<Segment>) {
        let mut read = lock(&self.read);
        if let Some(at) = read.position(old) {
            read.tail.drop_below(new.name.end().unwrap_or(0));
            read.segments.splice(at..at + old.len(), [new]);
        }
    }

    pub(crate) fn add_segment(&self, segment: Arc<Segment>) {
        lock(&self.read).segments.push(segment);
    }

    /// Moves the start of the log up and returns the segments that lie wholly before it.
    pub(crate) fn advance_start(&self, to: i64) -> Vec<Arc<Segment>> {
        let mut read = lock(&self.read);
        read.log_start = to.clamp(read.log_start, read.high_watermark);
        let start = read.log_start;
        let keep = read.segments[1..].iter().take_while(|segment| segment.base_offset <= start).count();
        read.segments.drain(..keep).collect()
    }

    /// The first record not older than `timestamp`. Blocks on files.
    pub(crate) fn find_time(&self, timestamp: i64) -> io::Result<Option<Found>> {
        let ends = self.ends();
        for segment in self.segments() {
            let (from, synced) = {
                let index = lock(&segment.index);
                (index.position_of_time(timestamp), index.synced)
            };
            let Some(from) = from else { continue };
            let mut scan = Scan::new(&segment.file, from, synced);
            while let Some((header, bytes)) = scan.next()? {
                if header.max_timestamp < timestamp || header.last_offset() < ends.log_start {
                    continue;
                }
                if let Some(found) = first_not_older(bytes, timestamp) {
                    return Ok(Some(Found { offset: found.offset.max(ends.log_start), ..found }));
                }
            }
        }
        Ok(None)
    }

    /// The first of the records with the newest timestamp. Blocks on files.
    pub(crate) fn find_newest(&self) -> io::Result<Option<Found>> {
        let newest = self.segments().iter().map(|segment| segment.max_timestamp()).max().unwrap_or(-1);
        if newest < 0 { Ok(None) } else { self.find_time(newest) }
    }
}

/// A partition as read from its folder.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) log_start: i64,
    pub(crate) next_offset: i64,
    pub(crate) producers: Producers,
    pub(crate) marks: Marks,
}

/// Reads as [`read_segment`] does, from the first segment that has something.
pub(crate) fn read_segments(
    segments: &[Arc<Segment>],
    offset: i64,
    max: usize,
    at_least_one: bool,
) -> io::Result<Vec<Bytes>> {
    for segment in segments {
        let batches = read_segment(segment, offset, max, at_least_one)?;
        if !batches.is_empty() || max == 0 {
            return Ok(batches);
        }
    }
    Ok(Vec::new())
}

/// Reads whole batches from the one with `offset` on out of a segment: about `max` bytes, and one batch whatever its
/// size when `at_least_one`. Blocks.
fn read_segment(segment: &Segment, offset: i64, max: usize, at_least_one: bool) -> io::Result<Vec<Bytes>> {
    let (from, synced) = {
        let index = lock(&segment.index);
        (index.position_of(offset), index.synced)
    };
    let mut scan = Scan::new(&segment.file, from, synced);
    let mut taken = Vec::new();
    while let Some((header, bytes)) = scan.next()? {
        if header.last_offset() < offset {
            continue;
        }
        if taken.len() + bytes.len() > max && !(taken.is_empty() && at_least_one) {
            break;
        }
        taken.extend_from_slice(bytes);
    }
    Ok(if taken.is_empty() { Vec::new() } else { vec![taken.into()] })
}
