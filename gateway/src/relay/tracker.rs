//! Which requests of a partition are finished: they end in any order, the committed offset only passes
//! over finished ones.

use std::collections::BTreeMap;

/// The requests of one partition that are under way.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// Offset of the request, and the position in the events below which nothing concerns it.
    open: BTreeMap<i64, i64>,
    next: i64,
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

    /// A request was read at `offset` while the events stood at `events`.
    pub(super) fn take(&mut self, offset: i64, events: i64) {
        // Whoever takes over from this owner has to find what the one before it wrote.
        let events = if offset < self.inherited.until { events.min(self.inherited.events) } else { events };
        self.open.insert(offset, events);
        self.next = self.next.max(offset + 1);
    }

    /// A record at `offset` was read that needs nothing.
    pub(super) fn pass(&mut self, offset: i64) {
        self.next = self.next.max(offset + 1);
    }

    /// The request at `offset` has its terminal record.
    pub(super) fn finish(&mut self, offset: i64) {
        self.open.remove(&offset);
    }

    /// What to commit now, if it differs from what was committed before. `events`: where the events stand.
    pub(super) fn mark(&mut self, events: i64) -> Option<Mark> {
        let mark = match self.open.first_key_value() {
            Some((offset, _)) => {
                Mark { requests: *offset, events: self.open.values().copied().min().unwrap_or(events) }
            }
            None => Mark { requests: self.next, events },
        };
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

    #[test]
    fn the_lowest_open_request_holds_the_mark() {
        let mut tracker = Tracker::default();
        tracker.take(5, 100);
        tracker.take(6, 101);
        tracker.take(7, 102);
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
        tracker.take(6, 100);
        tracker.take(7, 101);
        assert_eq!(tracker.mark(110), Some(Mark { requests: 6, events: 40 }));
        tracker.finish(6);
        assert_eq!(tracker.mark(110), Some(Mark { requests: 7, events: 101 }));
    }

    #[test]
    fn nothing_read_means_nothing_to_commit() {
        assert_eq!(Tracker::default().mark(3), None);
    }

    #[test]
    fn records_that_need_nothing_move_the_mark() {
        let mut tracker = Tracker::default();
        tracker.pass(9);
        assert_eq!(tracker.mark(4), Some(Mark { requests: 10, events: 4 }));
    }
}
