//! The records within an uncompressed batch, as far as compaction has to know them.

use bytes::{BufMut, BytesMut};

use super::batch::{BatchHeader, HEADER_BYTES, varint};

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    /// It has no value: its key is to be forgotten.
    pub(crate) deletes: bool,
    /// As it lies in the batch, its length included.
    bytes: &'a [u8],
}

/// The records of the whole batch in `bytes`; none when it is compressed, or when they do not follow their format.
pub(crate) fn of<'a>(header: &BatchHeader, bytes: &'a [u8]) -> Option<Vec<Record<'a>>> {
    if header.is_compressed() {
        return None;
    }
    let mut rest = bytes.get(HEADER_BYTES..header.bytes)?;
    let mut records = Vec::new();
    for _ in 0..header.records {
        let all = rest;
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let body = rest.get(..length)?;
        rest = &rest[length..];
        records.push(record(header, body, &all[..all.len() - rest.len()])?);
    }
    rest.is_empty().then_some(records)
}

fn record<'a>(header: &BatchHeader, mut body: &'a [u8], bytes: &'a [u8]) -> Option<Record<'a>> {
    body = body.get(1..)?;
    let timestamp = header.first_timestamp.checked_add(varint(&mut body)?)?;
    let offset = header.base_offset.checked_add(varint(&mut body)?)?;
    let key = sized(&mut body)?;
    let value = sized(&mut body)?;
    let within = (header.base_offset..=header.last_offset()).contains(&offset);
    within.then_some(Record { offset, timestamp, key, deletes: value.is_none(), bytes })
}

/// Bytes behind their length; -1 stands for none.
fn sized<'a>(body: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint(body)?;
    if length == -1 {
        return Some(None);
    }
    let (taken, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
    *body = rest;
    Some(Some(taken))
}

/// Adds the batch in `bytes` to `out` with only the records `kept`, at least one. It spans the same offsets and bears the
/// same sequence numbers as before.
pub(crate) fn rebuild(bytes: &[u8], kept: &[Record<'_>], out: &mut BytesMut) {
    let start = out.len();
    out.put_slice(&bytes[..HEADER_BYTES]);
    for record in kept {
        out.put_slice(record.bytes);
    }
    let batch = &mut out[start..];
    let length = i32::try_from(batch.len() - 12).unwrap_or(i32::MAX);
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let newest = kept.iter().map(|record| record.timestamp).max().unwrap_or(-1);
    batch[35..43].copy_from_slice(&newest.to_be_bytes());
    let count = i32::try_from(kept.len()).unwrap_or(i32::MAX);
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch, keyed};
    use super::*;

    #[test]
    fn a_batch_keeps_some_of_its_records() {
        let bytes = keyed(7, 3, &[("a", Some("1")), ("b", None), ("a", Some("3"))], 1000);
        let header = BatchHeader::check(&bytes).unwrap();
        let records = of(&header, &bytes).unwrap();
        let seen: Vec<_> =
            records.iter().map(|record| (record.offset, record.key.unwrap(), record.deletes)).collect();
        assert_eq!(seen, [(0, &b"a"[..], false), (1, b"b", true), (2, b"a", false)]);
        let mut out = BytesMut::from(&b"before"[..]);
        rebuild(&bytes, &records[1..2], &mut out);
        let rebuilt = out.split_off(6);
        let after = BatchHeader::read(&rebuilt).unwrap();
        assert!(after.matches(&rebuilt) && after.bytes == rebuilt.len());
        assert_eq!((after.base_offset, after.next_offset(), after.last_sequence()), (0, 3, 5));
        assert_eq!((after.records, after.max_timestamp), (1, 1001));
        let left = of(&after, &rebuilt).unwrap();
        assert_eq!(
            (left.len(), left[0].offset, left[0].timestamp, left[0].key),
            (1, 1, 1001, Some(&b"b"[..]))
        );
    }

    #[test]
    fn what_is_not_understood_is_not_opened() {
        let good = batch(7, 0, 3, 1000);
        for at in HEADER_BYTES..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] ^= flip;
                // Whatever it says, it is said without a panic, and stays within the batch.
                let header = BatchHeader::read(&bad).unwrap();
                let records = of(&header, &bad).unwrap_or_default();
                assert!(records.iter().all(|record| (0..3).contains(&record.offset)));
            }
        }
        let mut compressed = good.to_vec();
        compressed[22] = 1;
        assert!(of(&BatchHeader::read(&compressed).unwrap(), &compressed).is_none());
    }
}
