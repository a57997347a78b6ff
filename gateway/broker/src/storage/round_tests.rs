//! A disk that refuses writes, at any point, without a disk that is full.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::super::open::Directory;
use super::super::partition::Available;
use super::super::testing::{batch, commit, committer, partition};
use super::*;
use crate::health::Health;
use crate::options::Limits;

fn with_topic(folder: &std::path::Path) -> (Committer, Directory) {
    let (mut committer, directory) = committer(folder);
    committer.create_topic("t", 2, BTreeMap::new(), &Limits::default()).unwrap();
    (committer, directory)
}

#[test]
fn a_full_disk_takes_nothing_and_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut committer, _directory) = with_topic(folder.path());
    assert_eq!(commit(&mut committer, &[(0, batch(7, 0, 2, 1))]), [Ok(0)]);
    committer.disk.full.store(true, Ordering::Relaxed);
    let refused = Err(AppendError::Storage);
    let both = [(0, batch(7, 2, 2, 1)), (1, batch(7, 0, 1, 1)), (0, batch(7, 4, 1, 1))];
    assert_eq!(commit(&mut committer, &both), [refused, refused, refused]);
    assert!(matches!(committer.health.get(), Health::DiskFull(_)));
    assert_eq!(partition(&committer, 0).ends().high_watermark, 2);
    committer.disk.full.store(false, Ordering::Relaxed);
    assert_eq!(commit(&mut committer, &[(0, batch(7, 4, 1, 1))]), [Err(AppendError::OutOfOrder)]);
    assert_eq!(commit(&mut committer, &[(0, batch(7, 0, 2, 1))]), [Ok(0)], "the first is known");
    assert_eq!(commit(&mut committer, &both), [Ok(2), Ok(0), Ok(4)]);
    assert_eq!(committer.health.get(), Health::Ok);
    let Available::Batches(found) = partition(&committer, 0).available(0, 10_000, true).1 else {
        panic!("not in memory");
    };
    assert_eq!(found.len(), 3);
}

#[test]
fn a_batch_of_the_same_round_is_known_as_a_duplicate() {
    let folder = tempfile::tempdir().unwrap();
    let (mut committer, _directory) = with_topic(folder.path());
    let twice = [(0, batch(7, 0, 2, 1)), (0, batch(7, 0, 2, 1)), (0, batch(7, 2, 1, 1))];
    assert_eq!(commit(&mut committer, &twice), [Ok(0), Ok(0), Ok(2)]);
    assert_eq!(commit(&mut committer, &[(0, batch(9, 3, 1, 1))]), [Err(AppendError::UnknownProducer)]);
}

/// Without an orderly stop: what the producers wrote is known again, by the write-ahead file and the segments alone.
#[test]
fn producers_are_known_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (mut before, directory) = with_topic(folder.path());
    for n in 0..8 {
        assert_eq!(commit(&mut before, &[(1, batch(7, n * 2, 2, 1))]), [Ok(i64::from(n) * 2)]);
    }
    drop((before, directory));
    let (mut after, _directory) = committer(folder.path());
    assert_eq!(commit(&mut after, &[(1, batch(7, 14, 2, 1))]), [Ok(14)], "a duplicate");
    assert_eq!(commit(&mut after, &[(1, batch(7, 2, 2, 1))]), [Err(AppendError::OldDuplicate)]);
    assert_eq!(commit(&mut after, &[(1, batch(7, 16, 1, 1))]), [Ok(16)]);
}

/// More than the write-ahead files hold, in small rounds and in large ones, over several segments.
#[test]
fn rounds_of_all_sizes_survive_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (mut before, directory) = committer(folder.path());
    let settings = BTreeMap::from([("segment.bytes".to_owned(), "3000000".to_owned())]);
    before.create_topic("t", 2, settings, &Limits::default()).unwrap();
    let mut next = [0i64; 2];
    for round in 0..400 {
        let count = if round % 20 == 0 { 4000 } else { 700 };
        let batches: Vec<_> = (0..count).map(|n| (n % 2, batch(-1, -1, 20, round))).collect();
        // As the committing thread does it.
        if !before.wal.has_room(wal::ROUND_BYTES_MAX) {
            before.switch_wal();
        }
        for ((index, _), outcome) in batches.iter().zip(commit(&mut before, &batches)) {
            let at = usize::try_from(*index).unwrap();
            assert_eq!(outcome, Ok(next[at]));
            next[at] += 20;
        }
    }
    drop((before, directory));
    let (after, _directory) = committer(folder.path());
    for index in 0..2 {
        let partition = partition(&after, index);
        assert_eq!(partition.ends().high_watermark, next[usize::try_from(index).unwrap()]);
        assert!(partition.segments().len() > 3, "{}", partition.segments().len());
        let found = partition.find_time(200).unwrap().unwrap();
        assert_eq!(found.timestamp, 200, "{found:?}");
    }
}

/// A start after a crash reads what the write-ahead files may hold, and no more, whatever lies before.
#[test]
fn a_start_reads_what_no_summary_covers() {
    let folder = tempfile::tempdir().unwrap();
    let (mut before, directory) = with_topic(folder.path());
    let mut written = 0;
    while written < 5 * wal::FILE_BYTES {
        let batches: Vec<_> = (0..200).map(|n| (n % 2, batch(-1, -1, 100, 1))).collect();
        written += batches.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        if !before.wal.has_room(wal::ROUND_BYTES_MAX) {
            before.switch_wal();
        }
        commit(&mut before, &batches);
    }
    before.checkpointer.wait_for(before.wal.generation - 1);
    drop((before, directory));
    let (mut after, directory) = committer(folder.path());
    assert!((1..=wal::FILE_BYTES).contains(&after.scanned), "{} of {written} bytes", after.scanned);
    after.switch_wal();
    after.checkpointer.wait_for(after.wal.generation - 1);
    drop((after, directory));
    let (again, _directory) = committer(folder.path());
    assert_eq!(again.scanned, 0, "all is covered");
}
