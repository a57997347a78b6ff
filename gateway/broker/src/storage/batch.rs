//! Record batches (message format 2) as they travel and as they lie in segments.
//!
//! The log reads the fixed header of a batch and never the records, except to find one by its timestamp.

use bytes::{Buf, BufMut, BytesMut};

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes of base offset and length, which the length field does not count.
const PREFIX_BYTES: usize = 12;
/// First byte that the checksum covers.
const CHECKED_FROM: usize = 21;

const COMPRESSION: i16 = 0x07;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The fixed header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    /// Bytes in all.
    pub(crate) bytes: usize,
    pub(crate) magic: i8,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) first_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: i32,
}

/// Why a produced batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    #[error("the batch is shorter or longer than its length field says")]
    Length,
    #[error("message format {0} is not taken, only 2")]
    Magic(i8),
    #[error("the checksum does not match")]
    Crc,
    #[error("the record count does not match the last offset")]
    Count,
    #[error("transactional and control batches are not taken")]
    Transactional,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; `None` when it is cut or cannot be one.
    pub(crate) fn read(mut bytes: &[u8]) -> Option<BatchHeader> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let base_offset = bytes.get_i64();
        let length = usize::try_from(bytes.get_i32()).ok()?;
        bytes.advance(4);
        let header = BatchHeader {
            base_offset,
            bytes: length + PREFIX_BYTES,
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            first_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            records: bytes.get_i32(),
        };
        (header.bytes >= HEADER_BYTES && header.last_offset_delta >= 0).then_some(header)
    }

    /// Checks what a producer sent: exactly one whole batch of format 2 that this log can hold.
    pub(crate) fn check(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        if let Some(magic) = bytes.get(16)
            && *magic != 2
        {
            return Err(BatchError::Magic(i8::from_be_bytes([*magic])));
        }
        let header = BatchHeader::read(bytes).ok_or(BatchError::Length)?;
        if header.bytes != bytes.len() {
            return Err(BatchError::Length);
        }
        if header.records < 1 || header.records - 1 != header.last_offset_delta {
            return Err(BatchError::Count);
        }
        if header.attributes & (TRANSACTIONAL | CONTROL) != 0 {
            return Err(BatchError::Transactional);
        }
        if !header.matches(bytes) {
            return Err(BatchError::Crc);
        }
        Ok(header)
    }

    /// Whether the checksum of the whole batch in `bytes` is right.
    pub(crate) fn matches(&self, bytes: &[u8]) -> bool {
        bytes.get(CHECKED_FROM..self.bytes).is_some_and(|checked| crc32c::crc32c(checked) == self.crc)
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.attributes & COMPRESSION != 0
    }

    /// Sequence number of the last record; numbers run to 2^31 - 1 and start over.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }
}

/// Copies a batch to `out` with its offset in the log; base offset and leader epoch lie outside the checksum.
pub(crate) fn place(batch: &[u8], base_offset: i64, out: &mut BytesMut) {
    out.put_i64(base_offset);
    out.put_slice(&batch[8..12]);
    out.put_i32(0);
    out.put_slice(&batch[16..]);
}

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

/// The first record of the whole batch in `bytes` that is not older than `timestamp`.
///
/// A compressed batch is not opened: its first offset stands for all its records, so that a reader starts at or before
/// the record asked for, never after.
pub(crate) fn first_not_older(bytes: &[u8], timestamp: i64) -> Option<Found> {
    let header = BatchHeader::read(bytes)?;
    if header.max_timestamp < timestamp {
        return None;
    }
    if header.is_compressed() {
        return Some(Found { offset: header.base_offset, timestamp: header.max_timestamp });
    }
    let mut records = bytes.get(HEADER_BYTES..header.bytes)?;
    for _ in 0..header.records {
        let length = usize::try_from(varint(&mut records)?).ok()?;
        let mut record = records.get(..length)?;
        records = &records[length..];
        record = record.get(1..)?;
        let time = header.first_timestamp.saturating_add(varint(&mut record)?);
        let offset = header.base_offset.saturating_add(varint(&mut record)?);
        if time >= timestamp {
            return Some(Found { offset, timestamp: time });
        }
    }
    None
}

/// A zigzag varint of at most ten bytes.
pub(crate) fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(((value >> 1) as i64) ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
