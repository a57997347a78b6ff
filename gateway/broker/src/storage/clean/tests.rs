//! Compaction with real files, its steps taken one by one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;

use super::pass::{Pass, Plan};
use super::*;
use crate::options::Limits;
use crate::storage::batch::BatchHeader;
use crate::storage::committer::Committer;
use crate::storage::open::Directory;
use crate::storage::partition::{Available, Partition, read_segments};
use crate::storage::queue::AppendError;
use crate::storage::records;
use crate::storage::segment;
use crate::storage::testing::{batch, commit, committer, keyed, partition};
use crate::storage::topics::folder_of;

const DAY: i64 = 86_400_000;
/// When all records here were written, and when they are compacted.
const WRITTEN: i64 = 1_000_000;
const NOW: i64 = WRITTEN + 60_000;

/// Offset, key and value of a record; no value for a deletion.
type Seen = (i64, String, bool);

fn compacted(folder: &Path, settings: &[(&str, &str)]) -> (Committer, Directory) {
    let (mut committer, directory) = committer(folder);
    let mut given = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    given.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    committer.create_topic("t", 1, given, &Limits::default()).unwrap();
    (committer, directory)
}

/// Begins a new segment and has the old ones' summaries written.
fn close_segment(committer: &mut Committer) {
    let partition = partition(committer, 0);
    committer.roll(&partition, partition.ends().high_watermark).unwrap();
    committer.switch_wal();
    committer.checkpointer.wait_for(committer.wal.generation - 1);
}

fn plan(partition: &Arc<Partition>, now_ms: i64) -> Plan {
    let all = partition.segments();
    let ends = all.iter().skip(1).map(|next| next.base_offset);
    let segments = all.iter().cloned().zip(ends).collect();
    let marks = Progress::of(partition).marks.clone();
    let (partition, values) = (Arc::clone(partition), partition.settings.get());
    Plan { partition, segments, marks, values, now_ms, keys: 1000, producers: 1000 }
}

fn pass(partition: &Arc<Partition>, now_ms: i64) -> Pass {
    plan(partition, now_ms).run(&AtomicBool::new(false)).unwrap().unwrap()
}

fn compact(committer: &mut Committer, now_ms: i64) -> u64 {
    let partition = partition(committer, 0);
    let pass = pass(&partition, now_ms);
    let dropped = pass.dropped;
    committer.swap(&partition, pass, partition.settings.get().delete_retention_ms);
    dropped
}

/// What a reader gets who begins at `offset`.
fn read_from(partition: &Partition, mut offset: i64) -> Vec<Seen> {
    let mut seen = Vec::new();
    while offset < partition.ends().high_watermark {
        let batches = match partition.available(offset, 100, true).1 {
            Available::Batches(batches) => batches,
            Available::Files(segments) => read_segments(&segments, offset, 100, true).unwrap(),
            Available::OutOfRange => panic!("{offset} is out of range"),
        };
        assert!(!batches.is_empty(), "nothing at {offset}");
        for bytes in batches {
            let mut rest = &bytes[..];
            while let Some(header) = BatchHeader::read(rest) {
                assert!(header.matches(rest));
                for record in records::of(&header, rest).unwrap() {
                    let key = String::from_utf8(record.key.unwrap_or_default().to_vec()).unwrap();
                    if record.offset >= offset {
                        seen.push((record.offset, key, record.deletes));
                    }
                }
                offset = offset.max(header.next_offset());
                rest = &rest[header.bytes..];
            }
        }
    }
    seen
}

fn seen(records: &[(i64, &str, bool)]) -> Vec<Seen> {
    records.iter().map(|(offset, key, deletes)| (*offset, (*key).to_owned(), *deletes)).collect()
}

fn write(committer: &mut Committer, pairs: &[(&str, Option<&str>)]) {
    assert!(commit(committer, &[(0, keyed(-1, -1, pairs, WRITTEN))])[0].is_ok());
}

/// Opens it as after a crash: nothing is said to the one before.
fn reopened(before: (Committer, Directory), folder: &Path) -> (Committer, Directory) {
    drop(before);
    committer(folder)
}

#[test]
fn the_newest_record_of_each_key_stays_at_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let (mut committer, directory) = compacted(folder.path(), &[]);
    write(&mut committer, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
    write(&mut committer, &[("a", Some("4")), ("a", Some("5"))]);
    close_segment(&mut committer);
    write(&mut committer, &[("b", Some("6")), ("d", Some("7"))]);
    close_segment(&mut committer);
    write(&mut committer, &[("c", Some("8"))]);
    assert_eq!(compact(&mut committer, NOW), 3);
    let expected =
        seen(&[(2, "c", false), (4, "a", false), (5, "b", false), (6, "d", false), (7, "c", false)]);
    let partition_now = partition(&committer, 0);
    assert_eq!(partition_now.segments().len(), 2, "two became one, and the last is as it was");
    for offset in 0..8 {
        let left: Vec<_> = expected.iter().filter(|record| record.0 >= offset).cloned().collect();
        assert_eq!(read_from(&partition_now, offset), left, "from {offset}");
    }
    assert_eq!(
        partition_now.find_time(WRITTEN).unwrap().unwrap().offset,
        2,
        "the first that is left and not older"
    );
    drop(partition_now);
    let (committer, _directory) = reopened((committer, directory), folder.path());
    let again = partition(&committer, 0);
    assert_eq!((read_from(&again, 0), again.ends().log_start), (expected, 0));
}

#[test]
fn deletions_stay_for_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let (mut committer, _directory) = compacted(folder.path(), &[]);
    write(&mut committer, &[("a", Some("1")), ("b", Some("2")), ("a", None)]);
    close_segment(&mut committer);
    assert_eq!(compact(&mut committer, NOW), 1);
    let kept = seen(&[(1, "b", false), (2, "a", true)]);
    let partition = partition(&committer, 0);
    assert_eq!(read_from(&partition, 0), kept);
    assert_eq!(compact(&mut committer, NOW + DAY - 1), 0);
    assert_eq!(read_from(&partition, 0), kept);
    assert_eq!(compact(&mut committer, NOW + DAY), 1, "a day after all before it was gone");
    assert_eq!(partition.segments().len(), 2);
    write(&mut committer, &[("c", Some("3"))]);
    assert_eq!(read_from(&partition, 0), seen(&[(1, "b", false), (3, "c", false)]));
    assert_eq!(
        read_from(&partition, 2),
        seen(&[(3, "c", false)]),
        "past the end of what is left of a segment"
    );
}

/// A compressed batch may hold an older record of any key: it stays, and so do deletions after it.
#[test]
fn what_cannot_be_opened_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (mut committer, _directory) = compacted(folder.path(), &[]);
    let mut compressed = keyed(-1, -1, &[("a", Some("1"))], WRITTEN).to_vec();
    compressed[22] = 1;
    let checksum = crc32c::crc32c(&compressed[21..]).to_be_bytes();
    compressed[17..21].copy_from_slice(&checksum);
    assert_eq!(
        commit(&mut committer, &[(0, Bytes::from(compressed)), (0, batch(-1, -1, 2, WRITTEN))]),
        [Ok(0), Ok(1)]
    );
    write(&mut committer, &[("a", Some("2")), ("a", None)]);
    close_segment(&mut committer);
    assert_eq!(compact(&mut committer, NOW), 1, "only the value before the deletion goes");
    assert_eq!(compact(&mut committer, NOW + 2 * DAY), 0);
}

#[test]
fn more_keys_than_there_is_room_for_take_more_passes() {
    let folder = tempfile::tempdir().unwrap();
    let (mut committer, _directory) = compacted(folder.path(), &[]);
    for round in 0..2 {
        for n in 0..20 {
            write(&mut committer, &[(&format!("{n}"), Some(&format!("{round}")))]);
        }
    }
    close_segment(&mut committer);
    let partition = partition(&committer, 0);
    for (below, left) in [(8, 40), (16, 40), (24, 36), (32, 28), (40, 20)] {
        let plan = Plan { keys: 8, ..plan(&partition, NOW) };
        let pass = plan.run(&AtomicBool::new(false)).unwrap().unwrap();
        assert_eq!(pass.mark.below, below);
        committer.swap(&partition, pass, DAY);
        assert_eq!(read_from(&partition, 0).len(), left, "compacted below {below}");
    }
}

#[test]
fn producers_are_known_though_their_batches_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut before, directory) = compacted(folder.path(), &[]);
    for n in 0..3 {
        assert!(commit(&mut before, &[(0, keyed(7, n, &[("a", Some("1"))], WRITTEN))])[0].is_ok());
    }
    write(&mut before, &[("a", Some("2"))]);
    close_segment(&mut before);
    assert_eq!(compact(&mut before, NOW), 3);
    let (mut after, _directory) = reopened((before, directory), folder.path());
    let again = |n| [(0, keyed(7, n, &[("a", Some("1"))], WRITTEN))];
    assert_eq!(commit(&mut after, &again(1)), [Ok(1)], "a duplicate");
    assert_eq!(commit(&mut after, &again(4)), [Err(AppendError::OutOfOrder)]);
    assert_eq!(commit(&mut after, &again(3)), [Ok(4)]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The directory as a kill at each step would leave it: always all keys, each at its offset, and nothing from the past.
#[test]
fn a_kill_at_any_step_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, directory) = compacted(folder.path(), &[]);
    for round in 0..4 {
        for n in 0..6 {
            let pairs = [(["a", "b", "c"][n % 3], Some("v")), ("d", Some("w"))];
            write(&mut writer, &pairs[..1 + usize::from(round == 0)]);
        }
        close_segment(&mut writer);
    }
    write(&mut writer, &[("e", Some("v"))]);
    let first = partition(&writer, 0);
    let end = first.ends().high_watermark;
    let whole = read_from(&first, 0);
    let pass = pass(&first, NOW);
    assert_eq!(pass.groups.len(), 1);
    let group = &pass.groups[0];
    let states = tempfile::tempdir().unwrap();
    let steps = states.path();
    copy(folder.path(), &steps.join("0 written beside"));
    // Not all of it written.
    copy(folder.path(), &steps.join("1 half written"));
    let relative = |path: &Path| path.strip_prefix(folder.path()).unwrap().to_owned();
    let half = fs::File::options()
        .write(true)
        .open(steps.join("1 half written").join(relative(&group.fresh)))
        .unwrap();
    half.set_len(30).unwrap();
    let named = steps.join("2 named");
    copy(folder.path(), &named);
    fs::rename(named.join(relative(&group.fresh)), named.join(relative(&group.new.path))).unwrap();
    let mut last = named;
    for (n, old) in group.old.iter().enumerate() {
        let next = steps.join(format!("{} removed {n}", n + 3));
        copy(&last, &next);
        fs::remove_file(next.join(relative(&old.path))).unwrap();
        fs::remove_file(next.join(relative(&old.path)).with_extension("index")).unwrap();
        last = next;
    }
    let old_named = group.old.len();
    writer.swap(&first, pass, DAY);
    let compacted = read_from(&first, 0);
    assert!(compacted.len() < whole.len());
    drop((first, writer, directory));
    for (step, state) in fs::read_dir(steps).unwrap().map(|entry| entry.unwrap().path()).enumerate() {
        let before = state.file_name().unwrap().to_str().unwrap() < "2";
        let (mut store, _directory) = committer(&state);
        let partition = partition(&store, 0);
        let expected = if before { &whole } else { &compacted };
        assert_eq!(&read_from(&partition, 0), expected, "{}", state.display());
        assert_eq!(partition.ends().high_watermark, end, "step {step}");
        write(&mut store, &[("f", Some("v"))]);
        assert_eq!(partition.ends().high_watermark, end + 1);
        let (names, replaced) = segment::names(&folder_of(&state, partition.log)).unwrap();
        assert!(replaced.is_empty(), "what is replaced is gone");
        assert_eq!(names.len(), if before { old_named + 1 } else { 2 });
    }
}

/// Due when enough is new, and not again before.
#[test]
fn compaction_waits_until_it_is_worth_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut committer, _directory) = compacted(
        folder.path(),
        &[("min.cleanable.dirty.ratio", "0.9"), ("min.compaction.lag.ms", "1000"), ("segment.ms", "5000")],
    );
    let limits = Limits::default();
    write(&mut committer, &[("a", Some("1")), ("a", Some("2"))]);
    let partition = partition(&committer, 0);
    committer.compact(WRITTEN + 4000, &limits);
    assert_eq!(partition.segments().len(), 1, "not old enough for a new segment");
    committer.compact(WRITTEN + 6000, &limits);
    assert_eq!(partition.segments().len(), 2);
    assert!(!Progress::of(&partition).busy, "its summary comes first");
    committer.checkpointer.wait_for(committer.wal.generation - 1);
    committer.compact(WRITTEN + 900, &limits);
    assert!(!Progress::of(&partition).busy, "too young");
    committer.compact(WRITTEN + 6000, &limits);
    assert!(Progress::of(&partition).busy, "due");
    // The thread is not there; its work is done here.
    assert_eq!(compact(&mut committer, WRITTEN + 6000), 1);
    write(&mut committer, &[("a", Some("3"))]);
    close_segment(&mut committer);
    committer.compact(WRITTEN + 7000, &limits);
    assert!(!Progress::of(&partition).busy, "half of it is not worth it");
    let late = BTreeMap::from([
        ("cleanup.policy".to_owned(), "compact".to_owned()),
        ("max.compaction.lag.ms".to_owned(), "3000".to_owned()),
    ]);
    committer.set_settings("t", late, &limits).unwrap();
    committer.compact(WRITTEN + 7000, &limits);
    assert!(Progress::of(&partition).busy, "but its time has come");
}
