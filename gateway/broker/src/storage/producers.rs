//! What a partition remembers of idempotent producers, so that a batch sent twice is written once.

use std::collections::HashMap;

use bytes::{Buf, BufMut};

use super::batch::BatchHeader;

/// Batches remembered of each producer: as many as a client may have in flight.
const REMEMBERED: usize = 5;
/// Half the range of sequence numbers; what lies further back than this lies ahead.
const HALF_RANGE: i32 = 1 << 30;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    first: i32,
    last: i32,
    offset: i64,
}

/// One producer in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    epoch: i16,
    /// Newest last; `count` of them are filled.
    written: [Written; REMEMBERED],
    count: u8,
    /// When its newest batch was written, which decides who is forgotten first; after a crash, what the batch says.
    seen_ms: i64,
}

/// What the sequence numbers of a batch say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// To be written.
    Next,
    /// Written already, at this offset.
    Duplicate(i64),
    /// Written already, too long ago to know where.
    OldDuplicate,
    /// A batch before it is missing.
    Gap,
    /// Not its producer's first, and the producer is unknown here.
    Unknown,
    /// A newer incarnation of the producer has written.
    Fenced,
}

/// All producers of one partition; at most `limit` of them.
#[derive(Clone, Debug)]
pub(crate) struct Producers {
    known: HashMap<i64, Producer>,
    limit: usize,
}

impl Producers {
    pub(crate) fn new(limit: usize) -> Producers {
        Producers { known: HashMap::new(), limit }
    }

    /// Judges a batch against what was written before it.
    pub(crate) fn judge(&self, batch: &BatchHeader) -> Sequence {
        if batch.producer_id < 0 {
            return Sequence::Next;
        }
        let starts = batch.base_sequence == 0;
        let Some(known) = self.known.get(&batch.producer_id) else {
            return if starts { Sequence::Next } else { Sequence::Unknown };
        };
        if batch.producer_epoch != known.epoch {
            return match (batch.producer_epoch > known.epoch, starts) {
                (true, true) => Sequence::Next,
                (true, false) => Sequence::Gap,
                (false, _) => Sequence::Fenced,
            };
        }
        let written = &known.written[..usize::from(known.count)];
        if let Some(same) =
            written.iter().find(|w| w.first == batch.base_sequence && w.last == batch.last_sequence())
        {
            return Sequence::Duplicate(same.offset);
        }
        let Some(newest) = written.last() else {
            return Sequence::Next;
        };
        let expected = newest.last.wrapping_add(1) & i32::MAX;
        match expected.wrapping_sub(batch.base_sequence) & i32::MAX {
            0 => Sequence::Next,
            behind if behind < HALF_RANGE => Sequence::OldDuplicate,
            _ => Sequence::Gap,
        }
    }

    /// Remembers a batch written at `offset` at a time; returns what was known before, for [`Producers::restore`].
    pub(crate) fn remember(
        &mut self,
        batch: &BatchHeader,
        offset: i64,
        now_ms: i64,
    ) -> Option<(i64, Option<Producer>)> {
        if batch.producer_id < 0 {
            return None;
        }
        let before = self.known.get(&batch.producer_id).copied();
        if before.is_none() && self.known.len() >= self.limit {
            self.forget_longest_silent();
        }
        let mut producer = before.filter(|known| known.epoch == batch.producer_epoch).unwrap_or(Producer {
            epoch: batch.producer_epoch,
            written: [Written::default(); REMEMBERED],
            count: 0,
            seen_ms: 0,
        });
        let written = Written { first: batch.base_sequence, last: batch.last_sequence(), offset };
        if usize::from(producer.count) == REMEMBERED {
            producer.written.rotate_left(1);
            producer.written[REMEMBERED - 1] = written;
        } else {
            producer.written[usize::from(producer.count)] = written;
            producer.count += 1;
        }
        producer.seen_ms = now_ms;
        self.known.insert(batch.producer_id, producer);
        Some((batch.producer_id, before))
    }

    /// Takes back a [`Producers::remember`] whose write failed.
    pub(crate) fn restore(&mut self, id: i64, before: Option<Producer>) {
        match before {
            Some(producer) => self.known.insert(id, producer),
            None => self.known.remove(&id),
        };
    }

    /// Forgets those that have not written since.
    pub(crate) fn forget_silent_since(&mut self, before_ms: i64) {
        self.known.retain(|_, producer| producer.seen_ms >= before_ms);
    }

    fn forget_longest_silent(&mut self) {
        if let Some(id) = self.known.iter().min_by_key(|(_, producer)| producer.seen_ms).map(|(id, _)| *id) {
            self.known.remove(&id);
        }
    }

    /// Writes all producers: a count, then id, epoch, time, and the batches of each.
    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        out.put_u32(u32::try_from(self.known.len()).unwrap_or(u32::MAX));
        for (id, producer) in &self.known {
            out.put_i64(*id);
            out.put_i16(producer.epoch);
            out.put_i64(producer.seen_ms);
            out.put_u8(producer.count);
            for written in &producer.written[..usize::from(producer.count)] {
                out.put_i32(written.first);
                out.put_i32(written.last);
                out.put_i64(written.offset);
            }
        }
    }

    /// Reads what [`Producers::encode`] wrote; `None` when it is cut.
    pub(crate) fn decode(bytes: &mut &[u8], limit: usize) -> Option<Producers> {
        let mut producers = Producers::new(limit);
        for _ in 0..bytes.try_get_u32().ok()? {
            let id = bytes.try_get_i64().ok()?;
            let (epoch, seen_ms, count) =
                (bytes.try_get_i16().ok()?, bytes.try_get_i64().ok()?, bytes.try_get_u8().ok()?);
            let mut producer = Producer { epoch, written: [Written::default(); REMEMBERED], count, seen_ms };
            for written in producer.written.get_mut(..usize::from(count))? {
                *written = Written {
                    first: bytes.try_get_i32().ok()?,
                    last: bytes.try_get_i32().ok()?,
                    offset: bytes.try_get_i64().ok()?,
                };
            }
            if producers.known.len() < limit {
                producers.known.insert(id, producer);
            }
        }
        Some(producers)
    }
}

#[cfg(test)]
#[path = "producers_tests.rs"]
mod tests;
