//! Batches for tests.

use bytes::{BufMut, Bytes, BytesMut};

/// A batch of `count` small records, one millisecond apart from `timestamp` on, of producer `id` from `sequence` on.
pub(crate) fn batch(id: i64, sequence: i32, count: u8, timestamp: i64) -> Bytes {
    let mut records = BytesMut::new();
    for n in 0..count {
        // length, attributes, time and offset deltas, no key, a value of one byte, no headers
        records.put_slice(&[14, 0, n * 2, n * 2, 1, 2, n, 0]);
    }
    let mut checked = BytesMut::new();
    checked.put_i16(0);
    checked.put_i32(i32::from(count) - 1);
    checked.put_i64(timestamp);
    checked.put_i64(timestamp + i64::from(count) - 1);
    checked.put_i64(id);
    checked.put_i16(0);
    checked.put_i32(sequence);
    checked.put_i32(i32::from(count));
    checked.put_slice(&records);
    let mut out = BytesMut::new();
    out.put_i64(0);
    out.put_i32(i32::try_from(checked.len() + 9).unwrap());
    out.put_i32(-1);
    out.put_i8(2);
    out.put_u32(crc32c::crc32c(&checked));
    out.put_slice(&checked);
    out.freeze()
}
