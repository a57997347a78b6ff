use super::super::testing::batch;
use super::*;

fn header(id: i64, epoch: i16, sequence: i32, count: u8) -> BatchHeader {
    let bytes = batch(id, sequence, count, i64::from(sequence));
    BatchHeader { producer_epoch: epoch, ..BatchHeader::read(&bytes).unwrap() }
}

#[test]
fn sequences_follow_each_other() {
    let mut producers = Producers::new(10);
    assert_eq!(producers.judge(&header(1, 0, 5, 1)), Sequence::Unknown);
    for n in 0..7 {
        let batch = header(1, 0, n * 2, 2);
        assert_eq!(producers.judge(&batch), Sequence::Next, "batch {n}");
        producers.remember(&batch, i64::from(n) * 2 + 100, 0);
    }
    assert_eq!(producers.judge(&header(1, 0, 12, 2)), Sequence::Duplicate(112));
    assert_eq!(producers.judge(&header(1, 0, 4, 2)), Sequence::Duplicate(104));
    assert_eq!(producers.judge(&header(1, 0, 2, 2)), Sequence::OldDuplicate);
    assert_eq!(producers.judge(&header(1, 0, 16, 2)), Sequence::Gap);
    assert_eq!(producers.judge(&header(1, 1, 3, 1)), Sequence::Gap);
    assert_eq!(producers.judge(&header(1, 1, 0, 1)), Sequence::Next);
    producers.remember(&header(1, 1, 0, 1), 200, 0);
    assert_eq!(producers.judge(&header(1, 0, 14, 2)), Sequence::Fenced);
}

#[test]
fn numbers_start_over_at_their_end() {
    let mut producers = Producers::new(10);
    producers.remember(&header(1, 0, i32::MAX - 1, 2), 0, 0);
    assert_eq!(producers.judge(&header(1, 0, 0, 1)), Sequence::Next);
    producers.remember(&header(1, 0, 0, 1), 2, 0);
    assert_eq!(producers.judge(&header(1, 0, i32::MAX - 3, 1)), Sequence::OldDuplicate);
}

#[test]
fn a_failed_write_is_taken_back() {
    let mut producers = Producers::new(10);
    let (id, before) = producers.remember(&header(1, 0, 0, 1), 0, 0).unwrap();
    producers.restore(id, before);
    assert_eq!(producers.judge(&header(1, 0, 0, 1)), Sequence::Next);
    assert_eq!(producers.judge(&header(1, 0, 1, 1)), Sequence::Unknown);
}

#[test]
fn survives_encoding_and_stays_bounded() {
    let mut producers = Producers::new(2);
    for id in 0..3 {
        producers.remember(&header(id, 0, i32::try_from(id).unwrap(), 1), id, id);
    }
    let mut bytes = Vec::new();
    producers.encode(&mut bytes);
    let read = Producers::decode(&mut bytes.as_slice(), 2).unwrap();
    assert_eq!(read.known, producers.known);
    assert!(!read.known.contains_key(&0), "the longest silent one went");
    for end in 0..bytes.len() {
        let _ = Producers::decode(&mut &bytes[..end], 2);
    }
}

#[test]
fn the_silent_are_forgotten() {
    let mut producers = Producers::new(10);
    for (id, written) in [(1, 1000), (2, 2000)] {
        producers.remember(&header(id, 0, 0, 1), 0, written);
    }
    producers.forget_silent_since(1001);
    assert_eq!(producers.judge(&header(1, 0, 1, 1)), Sequence::Unknown);
    assert_eq!(producers.judge(&header(2, 0, 1, 1)), Sequence::Next);
}
