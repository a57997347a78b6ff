//! One group commit: everything that waits is written, synced once, and only then acknowledged and shown.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

use super::batch;
use super::committer::Committer;
use super::delivery::Delivery;
use super::partition::{Partition, Staged};
use super::producers::Sequence;
use super::queue::{Append, AppendBatch, AppendError, Line, OffsetsAppend, Outcome, Settle};
use super::segment::Segment;
use super::wal::{self, Target};
use crate::sync::{lock, now_ms};

/// What is being put together.
pub(crate) struct Round {
    now_ms: i64,
    requests: Vec<Request>,
    offsets: Vec<OffsetsAppend>,
    /// Partitions with staged batches.
    touched: Vec<Arc<Partition>>,
    bytes: usize,
}

/// A produce request that waits for the round.
struct Request {
    reply: Option<Box<dyn Settle>>,
    outcomes: Vec<(Arc<Partition>, Outcome)>,
    /// Given back when the request is answered.
    permit: Option<OwnedSemaphorePermit>,
}

impl Request {
    /// Hands in its answer, given the partitions whose writes failed.
    fn settle(self, failed: &[u64]) -> Option<Arc<dyn Line>> {
        drop(self.permit);
        let outcome = |(partition, outcome): (Arc<Partition>, Outcome)| {
            if failed.contains(&partition.log) { Err(AppendError::Storage) } else { outcome }
        };
        let outcomes = self.outcomes.into_iter().map(outcome).collect();
        self.reply.map(|reply| reply.settle(outcomes))
    }
}

/// Answers all requests: each connection once, as its requests come one after the other.
fn answer_all(requests: Vec<Request>, failed: &[u64]) {
    let mut last: Option<Arc<dyn Line>> = None;
    for line in requests.into_iter().filter_map(|request| request.settle(failed)) {
        match &last {
            Some(same) if Arc::ptr_eq(same, &line) => {}
            _ => {
                if let Some(before) = last.replace(line) {
                    before.send();
                }
            }
        }
    }
    if let Some(line) = last {
        line.send();
    }
}

/// A partition's batches of this round, written to its segment but not synced.
struct Region {
    partition: Arc<Partition>,
    segment: Arc<Segment>,
    staged: Vec<Staged>,
    /// Where they lie in the round's buffer.
    range: Range<usize>,
}

impl Default for Round {
    /// One that begins now.
    fn default() -> Round {
        Round { now_ms: now_ms(), requests: Vec::new(), offsets: Vec::new(), touched: Vec::new(), bytes: 0 }
    }
}

impl Round {
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.offsets.is_empty()
    }

    pub(crate) fn add_offsets(&mut self, offsets: OffsetsAppend) {
        self.bytes += offsets.framed.len() + wal::ENTRY_BYTES;
        self.offsets.push(offsets);
    }

    /// Gives every batch of a request its offset.
    pub(crate) fn add(&mut self, append: Append) {
        let outcomes = append.batches.into_iter().map(|batch| self.stage(batch)).collect();
        self.requests.push(Request { reply: append.reply, outcomes, permit: append.permit });
    }

    fn stage(&mut self, batch: AppendBatch) -> (Arc<Partition>, Outcome) {
        let AppendBatch { partition, mut header, bytes } = batch;
        if partition.is_deleted() {
            return (partition, Err(AppendError::Deleted));
        }
        let mut write = lock(&partition.write);
        let outcome = match write.producers.judge(&header) {
            Sequence::Next => Ok(write.next_offset),
            Sequence::Duplicate(offset) => Err(Ok(offset)),
            Sequence::OldDuplicate => Err(Err(AppendError::OldDuplicate)),
            Sequence::Gap => Err(Err(AppendError::OutOfOrder)),
            Sequence::Unknown => Err(Err(AppendError::UnknownProducer)),
            Sequence::Fenced => Err(Err(AppendError::Fenced)),
        };
        let offset = match outcome {
            Ok(offset) => offset,
            Err(answer) => {
                drop(write);
                return (partition, answer);
            }
        };
        header.base_offset = offset;
        write.next_offset = header.next_offset();
        let before = write.producers.remember(&header, offset, self.now_ms);
        self.bytes += bytes.len();
        write.staged.push(Staged { header, bytes, before });
        let first = write.staged.len() == 1;
        drop(write);
        if first {
            self.bytes += wal::ENTRY_BYTES;
            self.touched.push(Arc::clone(&partition));
        }
        (partition, Ok(offset))
    }
}

impl Committer {
    /// Writes, syncs, shows and answers a round.
    pub(crate) fn commit(&mut self, round: Round) {
        let mut frame = wal::frame(round.bytes);
        let mut failed: Vec<u64> = Vec::new();
        let mut regions = Vec::with_capacity(round.touched.len());
        for partition in round.touched {
            match self.write_region(Arc::clone(&partition), &mut frame) {
                Ok(region) => regions.push(region),
                Err(error) => {
                    self.health.refused(&error);
                    failed.push(partition.log);
                }
            }
        }
        let mut journal_grew = self.write_offsets(&round.offsets, &mut frame);
        let wrote = frame.len() > wal::FRAME_BYTES;
        if wrote && let Err(error) = self.make_durable(&mut frame, &regions, journal_grew) {
            self.health.refused(&error);
            for region in regions.drain(..) {
                failed.push(region.partition.log);
                take_back(region);
            }
            journal_grew = 0;
        } else if wrote && failed.is_empty() {
            self.health.accepted();
        }
        self.offsets_journal.bytes += journal_grew;
        let mut deliveries = Vec::new();
        publish(regions, frame, &mut deliveries);
        for offsets in round.offsets {
            let done = journal_grew > 0;
            if done {
                self.offsets.apply(offsets.changes);
            }
            deliveries.extend(offsets.reply.map(|reply| Delivery::Committed(reply, done)));
        }
        answer_all(round.requests, &failed);
        self.deliveries.leave(&mut deliveries);
    }

    /// Puts a partition's staged batches into the round's buffer and its segment. After an error neither has them.
    fn write_region(&mut self, partition: Arc<Partition>, frame: &mut BytesMut) -> io::Result<Region> {
        let rolled = self.roll_if_full(&partition);
        let mut write = lock(&partition.write);
        let staged = std::mem::take(&mut write.staged);
        let segment = Arc::clone(&write.segment);
        let start = frame.len();
        let bytes = staged.iter().map(|staged| staged.bytes.len()).sum();
        wal::put_entry(
            Target { log: partition.log, base: segment.base_offset, position: write.bytes },
            bytes,
            frame,
        );
        let range = frame.len()..frame.len() + bytes;
        for staged in &staged {
            batch::place(&staged.bytes, staged.header.base_offset, frame);
        }
        let written =
            rolled.and_then(|()| self.disk.write(&segment.file, &frame[range.clone()], write.bytes));
        write.bytes += bytes as u64;
        drop(write);
        let region = Region { partition, segment, staged, range };
        match written {
            Ok(()) => Ok(region),
            Err(error) => {
                frame.truncate(start);
                take_back(region);
                Err(error)
            }
        }
    }

    /// Puts records for the offsets journal into the round's buffer and the journal; says how many bytes it grew.
    fn write_offsets(&mut self, offsets: &[OffsetsAppend], frame: &mut BytesMut) -> u64 {
        if offsets.is_empty() {
            return 0;
        }
        let start = frame.len();
        let bytes = offsets.iter().map(|offsets| offsets.framed.len()).sum::<usize>();
        let journal = &self.offsets_journal;
        wal::put_entry(
            Target { log: OFFSETS_LOG, base: journal.edition, position: journal.bytes },
            bytes,
            frame,
        );
        for offsets in offsets {
            frame.extend_from_slice(&offsets.framed);
        }
        let from = start + wal::ENTRY_BYTES;
        if let Err(error) = self.disk.write(&journal.file, &frame[from..], journal.bytes) {
            self.health.refused(&error);
            frame.truncate(start);
            let _ = journal.file.set_len(journal.bytes);
            return 0;
        }
        bytes as u64
    }

    /// Syncs a round: a small one by the write-ahead file, a large one segment by segment.
    fn make_durable(
        &mut self,
        frame: &mut BytesMut,
        regions: &[Region],
        journal_grew: u64,
    ) -> io::Result<()> {
        for region in regions {
            self.mark_dirty(&region.partition, &region.segment);
        }
        if frame.len() <= wal::ROUND_BYTES_MAX && self.wal.has_room(frame.len()) {
            return self.wal.commit(frame);
        }
        self.bypassed += frame.len() as u64;
        std::thread::scope(|scope| {
            if journal_grew > 0 {
                scope.spawn(|| super::fatal::sync(&self.offsets_journal.file, &self.folder));
            }
            let (first, rest) =
                regions.split_first().map_or((None, regions), |(first, rest)| (Some(first), rest));
            for some in rest.chunks(rest.len().div_ceil(SYNC_THREADS).max(1)) {
                scope.spawn(|| {
                    some.iter()
                        .for_each(|region| super::fatal::sync(&region.segment.file, &region.segment.path))
                });
            }
            if let Some(region) = first {
                super::fatal::sync(&region.segment.file, &region.segment.path);
            }
        });
        Ok(())
    }
}

/// Threads beside the committing one that sync the segments of a large round; their journal commits are shared.
const SYNC_THREADS: usize = 3;
/// Stands for the journal of committed offsets in the write-ahead file; partitions count from 1.
pub(crate) const OFFSETS_LOG: u64 = 0;

/// Undoes a region, as if its batches had never come.
fn take_back(region: Region) {
    let mut write = lock(&region.partition.write);
    let bytes: usize = region.staged.iter().map(|staged| staged.bytes.len()).sum();
    write.bytes -= bytes as u64;
    // What remains of it is not counted, and overwritten by the next batch; cutting it gives the space back.
    let _ = region.segment.file.set_len(write.bytes);
    for staged in region.staged.into_iter().rev() {
        write.next_offset = staged.header.base_offset;
        if let Some((id, before)) = staged.before {
            write.producers.restore(id, before);
        }
    }
}

/// Shows readers the synced batches. A large round's buffer is copied by partition, lest one batch kept holds all.
fn publish(regions: Vec<Region>, frame: BytesMut, deliveries: &mut Vec<Delivery>) {
    let small = frame.len() <= wal::ROUND_BYTES_MAX;
    let frame = frame.freeze();
    for region in regions {
        let mut bytes = frame.slice(region.range);
        if !small {
            bytes = Bytes::copy_from_slice(&bytes);
        }
        let batches =
            region.staged.into_iter().map(|staged| (staged.header, bytes.split_to(staged.header.bytes)));
        region.partition.publish(&region.segment, batches, deliveries);
    }
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
