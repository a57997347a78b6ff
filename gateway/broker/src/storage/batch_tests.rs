use bytes::{Bytes, BytesMut};

use super::super::testing::batch;
use super::*;

#[test]
fn a_good_batch_passes_and_is_placed() {
    let bytes = batch(7, 0, 3, 1000);
    let header = BatchHeader::check(&bytes).unwrap();
    assert_eq!((header.records, header.last_sequence(), header.producer_id), (3, 2, 7));
    let mut out = BytesMut::new();
    place(&bytes, 41, &mut out);
    let placed = BatchHeader::read(&out).unwrap();
    assert_eq!((placed.base_offset, placed.next_offset()), (41, 44));
    assert!(placed.matches(&out), "the checksum does not cover the offset");
}

#[test]
fn broken_batches_are_refused() {
    let good = batch(7, 0, 3, 1000);
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(BatchHeader::check(&flipped), Err(BatchError::Crc));
    assert_eq!(BatchHeader::check(&good[..good.len() - 1]), Err(BatchError::Length));
    assert_eq!(BatchHeader::check(&[]), Err(BatchError::Length));
    let mut old = good.to_vec();
    old[16] = 1;
    assert_eq!(BatchHeader::check(&old), Err(BatchError::Magic(1)));
    let twice: Bytes = [good.clone(), good].concat().into();
    assert_eq!(BatchHeader::check(&twice), Err(BatchError::Length));
}

#[test]
fn no_cut_or_flip_panics() {
    let good = batch(7, 0, 3, 1000);
    for end in 0..good.len() {
        assert!(BatchHeader::check(&good[..end]).is_err());
        let _ = first_not_older(&good[..end], 1001);
    }
    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0xff;
        let _ = BatchHeader::check(&bytes);
        let _ = first_not_older(&bytes, 1001);
    }
}

#[test]
fn finds_a_record_by_its_time() {
    let mut bytes = BytesMut::new();
    place(&batch(-1, -1, 3, 1000), 10, &mut bytes);
    assert_eq!(first_not_older(&bytes, 0), Some(Found { offset: 10, timestamp: 1000 }));
    assert_eq!(first_not_older(&bytes, 1001), Some(Found { offset: 11, timestamp: 1001 }));
    assert_eq!(first_not_older(&bytes, 1003), None);
}
