//! Which requests of a partition are finished: they end in any order, the committed offset only passes
//! over finished ones.

use std::collections::{BTreeMap, BTreeSet};

/// Requests that may be known before the reader comes to them; further ones wait for it.
const AHEAD: usize = 16_384;

/// The requests of one partition that are under way.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// Offsets of the requests that have not ended.
    open: BTreeSet<i64>,
    /// Of every request at or after the mark, ended or not: the position in the events below which nothing concerns it.
    /// Whoever takes over reads all of them again, and has to find their ends.
    taken: BTreeMap<i64, i64>,
    /// The reader has come to here.
    next: i64,
    /// Offsets at or after `next` that need nothing of the reader.
    ahead: BTreeSet<i64>,
    committed: Option<Mark>,
    inherited: Inherited,
}

/// Requests that were on the log before this owner had their partition: they may have records that are older than
/// their being taken here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inherited {
    /// They have offsets before this one.
    pub(super) until: i64,
    /// No event before this offset concerns one of them.
    pub(super) events: i64,
}

/// What is committed for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// All requests before this offset have ended.
    pub(super) requests: i64,
    /// No event before this offset concerns a request at or after `requests`.
    pub(super) events: i64,
}

impl Tracker {
    /// The tracker of an owner who takes over.
    pub(super) fn after(inherited: Inherited) -> Self {
        Self { inherited, ..Self::default() }
    }

    /// The request at `offset` is taken before the reader comes to it, while the events stand at `events`. False when
    /// the reader was there first: then it is the reader's.
    pub(super) fn claim(&mut self, offset: i64, events: i64) -> bool {
        let claimed = self.pass_ahead(offset);
        if claimed {
            self.begin(offset, events);
        }
        claimed
    }

    /// The record at `offset` will need nothing of the reader. False when it cannot be kept in mind.
    pub(super) fn pass_ahead(&mut self, offset: i64) -> bool {
        offset >= self.next && self.ahead.len() < AHEAD && self.ahead.insert(offset)
    }

    /// The reader has come to `offset`. Says whether it has anything to do there.
    pub(super) fn reach(&mut self, offset: i64) -> bool {
        self.next = self.next.max(offset + 1);
        let known = self.ahead.remove(&offset);
        // What it has passed over without a word is not there.
        while self.ahead.first().is_some_and(|first| *first < self.next) {
            self.ahead.pop_first();
        }
        !known
    }

    /// The request at `offset` is taken while the events stand at `events`.
    pub(super) fn take(&mut self, offset: i64, events: i64) {
        // Whoever takes over from this owner has to find what the one before it wrote.
        let events = if offset < self.inherited.until { events.min(self.inherited.events) } else { events };
        self.begin(offset, events);
    }

    fn begin(&mut self, offset: i64, events: i64) {
        self.open.insert(offset);
        self.taken.insert(offset, events);
    }

    /// The request at `offset` has its terminal record.
    pub(super) fn finish(&mut self, offset: i64) {
        self.open.remove(&offset);
    }

    /// How many requests are under way.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// What to commit now, if it differs from what was committed before. `events`: where the events stand.
    pub(super) fn mark(&mut self, events: i64) -> Option<Mark> {
        let requests = self.open.first().map_or(self.next, |first| self.next.min(*first));
        self.taken = self.taken.split_off(&requests);
        let events = self.taken.values().copied().min().unwrap_or(events);
        let mark = Mark { requests, events };
        if self.next == 0 || self.committed.is_some_and(|committed| committed.requests == mark.requests) {
            return None;
        }
        self.committed = Some(mark);
        Some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tracker: &mut Tracker, offset: i64, events: i64) {
        if tracker.reach(offset) {
            tracker.take(offset, events);
        }
    }

    #[test]
    fn the_lowest_open_request_holds_the_mark() {
        let mut tracker = Tracker::default();
        read(&mut tracker, 5, 100);
        read(&mut tracker, 6, 101);
        read(&mut tracker, 7, 102);
        tracker.finish(6);
        assert_eq!(tracker.mark(110), Some(Mark { requests: 5, events: 100 }));
        tracker.finish(5);
        assert_eq!(tracker.mark(110), Some(Mark { requests: 7, events: 102 }));
        tracker.finish(7);
        assert_eq!(tracker.mark(110), Some(Mark { requests: 8, events: 110 }));
        assert_eq!(tracker.mark(111), None);
    }

    #[test]
    fn the_records_of_an_inherited_request_stay_within_the_mark() {
        let mut tracker = Tracker::after(Inherited { until: 7, events: 40 });
        read(&mut tracker, 6, 100);
        read(&mut tracker, 7, 101);
        assert_eq!(tracker.mark(110), Some(Mark { requests: 6, events: 40 }));
        tracker.finish(6);
        assert_eq!(tracker.mark(110), Some(Mark { requests: 7, events: 101 }));
    }

    #[test]
    fn the_end_of_a_request_that_will_be_read_again_stays_within_the_mark() {
        let mut tracker = Tracker::default();
        read(&mut tracker, 5, 100);
        tracker.finish(5);
        // Claimed and ended before the reader came there.
        assert!(tracker.claim(6, 101));
        tracker.finish(6);
        assert_eq!(tracker.mark(110), Some(Mark { requests: 6, events: 101 }));
        // Claimed later than one behind it that has ended.
        assert!(tracker.claim(8, 111));
        tracker.finish(8);
        assert!(tracker.claim(7, 120));
        read(&mut tracker, 6, 120);
        assert_eq!(tracker.mark(130), Some(Mark { requests: 7, events: 111 }));
    }

    #[test]
    fn nothing_read_means_nothing_to_commit() {
        let mut tracker = Tracker::default();
        assert!(tracker.claim(3, 0));
        assert_eq!(tracker.mark(3), None);
    }

    #[test]
    fn records_that_need_nothing_move_the_mark() {
        let mut tracker = Tracker::default();
        assert!(tracker.reach(9));
        assert_eq!(tracker.mark(4), Some(Mark { requests: 10, events: 4 }));
    }

    #[test]
    fn a_request_is_either_claimed_or_read() {
        let mut tracker = Tracker::default();
        assert!(tracker.claim(5, 50));
        assert!(!tracker.reach(5), "claimed before");
        assert!(tracker.reach(6));
        assert!(!tracker.claim(6, 50), "read before");
        assert!(!tracker.claim(5, 50), "once only");
    }

    #[test]
    fn the_mark_does_not_pass_what_was_not_read() {
        let mut tracker = Tracker::default();
        read(&mut tracker, 4, 40);
        tracker.finish(4);
        assert!(tracker.claim(7, 70));
        assert_eq!(tracker.mark(71), Some(Mark { requests: 5, events: 70 }));
        tracker.finish(7);
        assert_eq!(tracker.mark(72), None, "5 and 6 may still need something");
        assert!(tracker.reach(5) && tracker.reach(6));
        assert!(!tracker.reach(7));
        assert_eq!(tracker.mark(73), Some(Mark { requests: 8, events: 73 }));
    }

    #[test]
    fn what_is_known_ahead_is_bounded_and_forgotten() {
        let mut tracker = Tracker::default();
        for offset in 0..AHEAD as i64 {
            assert!(tracker.pass_ahead(offset));
        }
        assert!(!tracker.pass_ahead(AHEAD as i64));
        assert!(tracker.reach(AHEAD as i64 + 5));
        assert!(tracker.ahead.is_empty());
    }
}
