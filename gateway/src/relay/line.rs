//! The events of one partition as this replica knows them: what it has read, and what it wrote itself.
//!
//! An event that this replica appended need not be read back to be told to a client, once it is acknowledged, **if
//! nothing before it is unknown**: an epoch record of another replica between would make it count for nothing. So what
//! is acknowledged ahead of the known part waits until the reader, or other acknowledgements, have closed the gap.

use std::collections::BTreeMap;

/// Own events that may wait for a gap to be closed; further ones are left to the reader.
const AHEAD: usize = 16_384;

/// `T`: what there is to tell of an own event, with the epoch under which it was written.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// All events before this offset are known, and what was to tell of them is told.
    known: i64,
    ahead: BTreeMap<i64, Option<(i64, T)>>,
    /// The newest epoch among them.
    epoch: i64,
    eager: bool,
}

impl<T> Line<T> {
    /// A line that is known up to `known`. Unless `eager`, everything waits for the reader.
    pub(super) fn new(known: i64, eager: bool) -> Self {
        Self { known, ahead: BTreeMap::new(), epoch: -1, eager }
    }

    pub(super) fn known(&self) -> i64 {
        self.known
    }

    /// This replica's own event at `offset` is acknowledged. `word`: its epoch, and what there is to tell of it. Gives
    /// the word back when the reader was there first.
    pub(super) fn acknowledged(
        &mut self,
        offset: i64,
        word: Option<(i64, T)>,
        tell: impl FnMut(T),
    ) -> Option<T> {
        if offset < self.known {
            return word.filter(|(epoch, _)| *epoch >= self.epoch).map(|(_, word)| word);
        }
        if offset == self.known || self.ahead.len() < AHEAD {
            self.ahead.insert(offset, word);
            self.close(tell);
        }
        None
    }

    /// Whether the reader, now at `offset`, has something new before it. If so it tells it itself, and all before it is
    /// known too; words that waited there are given to `passed`.
    pub(super) fn reach(&mut self, offset: i64, mut passed: impl FnMut(T)) -> bool {
        if offset < self.known {
            return false;
        }
        self.known = offset;
        while let Some(entry) = self.ahead.first_entry().filter(|entry| *entry.key() <= offset) {
            if let Some((epoch, word)) = entry.remove()
                && self.admits(Some(epoch))
            {
                passed(word);
            }
        }
        true
    }

    /// The reader has told what it read at `offset`.
    pub(super) fn read(&mut self, offset: i64, tell: impl FnMut(T)) {
        self.known = self.known.max(offset + 1);
        self.close(tell);
    }

    /// The next event was written under `epoch`: whether it counts. What is older than the newest one does not.
    pub(super) fn admits(&mut self, epoch: Option<i64>) -> bool {
        let Some(epoch) = epoch else { return true };
        self.epoch = self.epoch.max(epoch);
        self.epoch == epoch
    }

    fn close(&mut self, mut tell: impl FnMut(T)) {
        while self.eager
            && let Some(entry) = self.ahead.first_entry().filter(|entry| *entry.key() == self.known)
        {
            self.known += 1;
            if let Some((epoch, word)) = entry.remove()
                && self.admits(Some(epoch))
            {
                tell(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledge(line: &mut Line<i64>, offset: i64, epoch: i64) -> Vec<i64> {
        let mut told = Vec::new();
        let back = line.acknowledged(offset, Some((epoch, offset)), |word| told.push(word));
        told.extend(back.map(|word| -word));
        told
    }

    fn read(line: &mut Line<i64>, offset: i64) -> (bool, Vec<i64>) {
        let mut told = Vec::new();
        let new = line.reach(offset, |word| told.push(-word));
        if new {
            line.read(offset, |word| told.push(word));
        }
        (new, told)
    }

    #[test]
    fn own_events_in_a_row_are_told_on_acknowledgement_and_not_again() {
        let mut line = Line::new(5, true);
        assert_eq!(acknowledge(&mut line, 5, 0), [5]);
        assert_eq!(acknowledge(&mut line, 6, 0), [6]);
        assert_eq!(read(&mut line, 5), (false, vec![]));
        assert_eq!(read(&mut line, 6), (false, vec![]));
        assert_eq!(read(&mut line, 7), (true, vec![]));
        assert_eq!(line.known(), 8);
    }

    #[test]
    fn behind_a_gap_they_wait_for_the_reader() {
        let mut line = Line::new(5, true);
        assert!(acknowledge(&mut line, 7, 0).is_empty());
        assert!(acknowledge(&mut line, 8, 0).is_empty());
        assert_eq!(read(&mut line, 5), (true, vec![]));
        assert_eq!(read(&mut line, 6), (true, vec![7, 8]));
        assert_eq!(read(&mut line, 7), (false, vec![]));
    }

    #[test]
    fn the_reader_may_come_first() {
        let mut line = Line::new(5, true);
        assert!(acknowledge(&mut line, 6, 0).is_empty());
        assert_eq!(read(&mut line, 6), (true, vec![-6]), "offset 5 is not there; the reader tells 6 itself");
        assert_eq!(acknowledge(&mut line, 6, 0), [-6]);
        assert_eq!(acknowledge(&mut line, 7, 0), [7]);
    }

    #[test]
    fn what_an_older_epoch_wrote_is_not_told() {
        let mut line = Line::new(5, true);
        assert!(acknowledge(&mut line, 6, 3).is_empty());
        assert!(line.reach(5, |_| ()));
        assert!(line.admits(Some(5)));
        let mut told = Vec::new();
        line.read(5, |word| told.push(word));
        assert!(told.is_empty(), "the gap held another replica's epoch record");
        assert_eq!(line.known(), 7);
        assert!(acknowledge(&mut line, 6, 3).is_empty(), "nor later");
    }

    #[test]
    fn without_short_cuts_everything_waits_for_the_reader() {
        let mut line = Line::new(5, false);
        assert!(acknowledge(&mut line, 5, 0).is_empty());
        assert!(acknowledge(&mut line, 6, 0).is_empty());
        assert_eq!(read(&mut line, 5), (true, vec![-5]));
        assert_eq!(read(&mut line, 6), (true, vec![-6]));
    }

    #[test]
    fn an_own_epoch_counts_from_its_place_on() {
        let mut line = Line::new(5, true);
        assert!(acknowledge(&mut line, 6, 2).is_empty());
        // The epoch record itself, then what was under way under the one before.
        assert!(acknowledge(&mut line, 7, 7).is_empty());
        assert!(acknowledge(&mut line, 8, 2).is_empty());
        assert_eq!(acknowledge(&mut line, 5, 2), [5, 6, 7]);
        assert!(acknowledge(&mut line, 9, 2).is_empty());
        assert!(!line.admits(Some(2)), "what another owner of an older epoch wrote");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut line = Line::new(0, true);
        for offset in 1..=(AHEAD as i64 + 10) {
            acknowledge(&mut line, offset, 0);
        }
        assert_eq!(line.ahead.len(), AHEAD);
        assert_eq!(read(&mut line, 0).1.len(), AHEAD);
        assert_eq!(read(&mut line, AHEAD as i64 + 1), (true, vec![]));
    }
}
