//! Batches, and a store without threads, for tests.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::BatchHeader;
use super::committer::Committer;
use super::open::{self, Directory};
use super::partition::Partition;
use super::queue::{Append, AppendBatch, Line, Outcome, Settle};
use super::round::Round;
use crate::health::HealthCell;
use crate::options::Limits;
use crate::sync::lock;

/// A batch of `count` small records, one millisecond apart from `timestamp` on, of producer `id` from `sequence` on.
pub(crate) fn batch(id: i64, sequence: i32, count: u8, timestamp: i64) -> Bytes {
    let mut records = BytesMut::new();
    for n in 0..count {
        // length, attributes, time and offset deltas, no key, a value of one byte, no headers
        records.put_slice(&[14, 0, n * 2, n * 2, 1, 2, n, 0]);
    }
    framed(id, sequence, count, timestamp, &records)
}

/// A batch of records with short keys and short values or none, otherwise as [`batch`].
pub(crate) fn keyed(id: i64, sequence: i32, pairs: &[(&str, Option<&str>)], timestamp: i64) -> Bytes {
    let zigzag = |length: usize| u8::try_from(length * 2).unwrap();
    let mut records = BytesMut::new();
    for (n, (key, value)) in pairs.iter().enumerate() {
        let mut record = vec![0, zigzag(n), zigzag(n), zigzag(key.len())];
        record.extend(key.as_bytes());
        match value {
            Some(value) => {
                record.push(zigzag(value.len()));
                record.extend(value.as_bytes());
            }
            None => record.push(1),
        }
        record.push(0);
        records.put_u8(zigzag(record.len()));
        records.put_slice(&record);
    }
    framed(id, sequence, u8::try_from(pairs.len()).unwrap(), timestamp, &records)
}

fn framed(id: i64, sequence: i32, count: u8, timestamp: i64, records: &[u8]) -> Bytes {
    let mut checked = BytesMut::new();
    checked.put_i16(0);
    checked.put_i32(i32::from(count) - 1);
    checked.put_i64(timestamp);
    checked.put_i64(timestamp + i64::from(count) - 1);
    checked.put_i64(id);
    checked.put_i16(0);
    checked.put_i32(sequence);
    checked.put_i32(i32::from(count));
    checked.put_slice(records);
    let mut out = BytesMut::new();
    out.put_i64(0);
    out.put_i32(i32::try_from(checked.len() + 9).unwrap());
    out.put_i32(-1);
    out.put_i8(2);
    out.put_u32(crc32c::crc32c(&checked));
    out.put_slice(&checked);
    out.freeze()
}

/// A store without its thread; the directory is locked as long as the second lives.
pub(crate) fn committer(folder: &Path) -> (Committer, Directory) {
    let directory = Directory::open(folder).unwrap();
    let health = Arc::new(HealthCell::default());
    (open::open(&directory, &Limits::default(), health).unwrap(), directory)
}

/// A partition of the topic `t`.
pub(crate) fn partition(committer: &Committer, index: i32) -> Arc<Partition> {
    committer.catalog.partition("t", index).unwrap()
}

/// Keeps outcomes for a test.
#[derive(Default)]
struct Kept(Mutex<Vec<Outcome>>);

impl Line for Kept {
    fn send(&self) {}
}

struct Keep(Arc<Kept>);

impl Settle for Keep {
    fn settle(self: Box<Self>, outcomes: Vec<Outcome>) -> Arc<dyn Line> {
        *lock(&self.0.0) = outcomes;
        self.0
    }
}

/// Commits a round of batches for partitions of the topic `t` and returns their outcomes.
pub(crate) fn commit(committer: &mut Committer, batches: &[(i32, Bytes)]) -> Vec<Outcome> {
    let kept = Arc::new(Kept::default());
    let batches = batches.iter().map(|(index, bytes)| AppendBatch {
        partition: partition(committer, *index),
        header: BatchHeader::check(bytes).unwrap(),
        bytes: bytes.clone(),
    });
    let append =
        Append { batches: batches.collect(), reply: Some(Box::new(Keep(Arc::clone(&kept)))), permit: None };
    let mut round = Round::default();
    round.add(append);
    committer.commit(round);
    std::mem::take(&mut *lock(&kept.0))
}
