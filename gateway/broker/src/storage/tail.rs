//! Recent batches in memory, so that consumers that keep up cost no file access.

use std::collections::VecDeque;

use bytes::Bytes;

/// A batch as it lies in the segment.
#[derive(Debug)]
struct Recent {
    base_offset: i64,
    next_offset: i64,
    bytes: Bytes,
}

/// The newest batches of one partition, without gaps, up to `limit` bytes.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: VecDeque<Recent>,
    bytes: usize,
    limit: usize,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Tail {
        Tail { batches: VecDeque::new(), bytes: 0, limit }
    }

    /// Forgets the batches that begin below `offset`.
    pub(crate) fn drop_below(&mut self, offset: i64) {
        while let Some(oldest) = self.batches.pop_front_if(|oldest| oldest.base_offset < offset) {
            self.bytes -= oldest.bytes.len();
        }
    }

    /// Adds the batch that follows the newest one.
    pub(crate) fn push(&mut self, base_offset: i64, next_offset: i64, bytes: Bytes) {
        self.bytes += bytes.len();
        self.batches.push_back(Recent { base_offset, next_offset, bytes });
        while self.bytes > self.limit {
            let Some(oldest) = self.batches.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// Whole batches from the one with `offset` on: about `max` bytes, and one batch whatever its size when `at_least_one`.
    ///
    /// `None` when `offset` is older than what is kept here.
    pub(crate) fn read(&self, offset: i64, max: usize, at_least_one: bool) -> Option<Vec<Bytes>> {
        if self.batches.front().is_none_or(|oldest| oldest.base_offset > offset) {
            return None;
        }
        let from = self.batches.partition_point(|batch| batch.next_offset <= offset);
        let mut taken = Vec::new();
        let mut bytes = 0;
        for batch in self.batches.range(from..) {
            if bytes + batch.bytes.len() > max && !(taken.is_empty() && at_least_one) {
                break;
            }
            bytes += batch.bytes.len();
            taken.push(batch.bytes.clone());
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_reads_whole_batches() {
        let mut tail = Tail::new(250);
        assert!(tail.read(0, 100, true).is_none());
        for n in 0..4 {
            tail.push(n * 2, n * 2 + 2, Bytes::from(vec![n as u8; 100]));
        }
        assert!(tail.read(3, 1000, true).is_none(), "evicted");
        let firsts =
            |read: Option<Vec<Bytes>>| read.unwrap().iter().map(|bytes| bytes[0]).collect::<Vec<_>>();
        assert_eq!(firsts(tail.read(5, 1000, true)), [2, 3], "from inside a batch");
        assert_eq!(firsts(tail.read(4, 150, true)), [2]);
        assert_eq!(firsts(tail.read(4, 50, true)), [2]);
        assert!(firsts(tail.read(4, 50, false)).is_empty());
        assert!(firsts(tail.read(8, 50, true)).is_empty(), "the end");
    }
}
