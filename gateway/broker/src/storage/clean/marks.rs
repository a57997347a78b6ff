//! How far a partition is compacted, and since when: what decides when a record that deletes its key may go itself.
//!
//! A reader that saw an older record of the key must get to see its deletion, so the deletion stays for
//! `delete.retention.ms` after everything before it is gone. The file `compacted` in the partition's folder says when
//! that was; without it compaction begins anew, and deletions stay longer.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Everything below an offset was compacted at a time, or earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) below: i64,
    pub(crate) at_ms: i64,
}

/// Marks kept at most. Marks closer to each other than a share of the retention are made one, so they always suffice.
const MARKS: usize = 64;
const NAME: &str = "compacted";

/// Marks of one partition; both their offsets and their times rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(Vec<Mark>);

impl Marks {
    /// Offset up to which the partition is compacted.
    pub(crate) fn below(&self) -> i64 {
        self.0.last().map_or(0, |mark| mark.below)
    }

    /// Offset below which deletions have stood for `retention_ms`.
    pub(crate) fn settled(&self, now_ms: i64, retention_ms: i64) -> i64 {
        let oldest = now_ms.saturating_sub(retention_ms);
        self.0.iter().rev().find(|mark| mark.at_ms <= oldest).map_or(0, |mark| mark.below)
    }

    /// Takes in a pass of compaction.
    pub(crate) fn add(&mut self, mark: Mark, retention_ms: i64) {
        if mark.below <= self.below() {
            return;
        }
        let apart = retention_ms / (MARKS as i64 / 2);
        if let [.., before, last] = self.0[..]
            && last.at_ms.saturating_sub(before.at_ms) < apart
        {
            // The new one covers its offsets, if a little later.
            self.0.pop();
        }
        self.0.push(mark);
        if self.0.len() > MARKS {
            self.0.remove(0);
        }
    }

    /// Reads those of the partition in `folder`; none when they are missing or damaged.
    pub(crate) fn read(folder: &Path) -> Marks {
        let text = fs::read_to_string(folder.join(NAME)).unwrap_or_default();
        let Some((lines, checksum)) = text.trim_end().rsplit_once('\n') else {
            return Marks::default();
        };
        if checksum != sum(lines) {
            return Marks::default();
        }
        let mark = |line: &str| -> Option<Mark> {
            let (below, at_ms) = line.split_once(' ')?;
            Some(Mark { below: below.parse().ok()?, at_ms: at_ms.parse().ok()? })
        };
        lines.lines().map(mark).collect::<Option<Vec<_>>>().map(Marks).unwrap_or_default()
    }

    /// Writes them, lasting, into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let lines: Vec<_> = self.0.iter().map(|mark| format!("{} {}", mark.below, mark.at_ms)).collect();
        let lines = lines.join("\n");
        let fresh = folder.join("compacted.new");
        fs::write(&fresh, format!("{lines}\n{}\n", sum(&lines)))?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(fresh, folder.join(NAME))
    }
}

fn sum(lines: &str) -> String {
    format!("{:08x}", crc32c::crc32c(lines.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_settle_after_their_time_however_often_it_is_compacted() {
        let mut marks = Marks::default();
        let day = 86_400_000;
        // Every ten seconds for three days.
        for pass in 1..=25_920 {
            marks.add(Mark { below: pass * 10, at_ms: pass * 10_000 }, day);
            assert!(marks.0.len() <= MARKS);
        }
        assert_eq!(marks.below(), 259_200);
        let settled = marks.settled(3 * day, day);
        assert!(settled <= 2 * day / 1000, "{settled}: not before its time");
        assert!(settled > day / 1000, "{settled}: not much later");
        assert_eq!(marks.settled(3 * day, 0), 259_200);
        assert_eq!(Marks::default().settled(day, 0), 0);
    }

    #[test]
    fn marks_are_read_again_and_damage_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Marks::read(folder.path()), Marks::default());
        let marks = Marks(vec![Mark { below: 5, at_ms: 1000 }, Mark { below: 9, at_ms: 2000 }]);
        marks.write(folder.path()).unwrap();
        assert_eq!(Marks::read(folder.path()), marks);
        let path = folder.path().join(NAME);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(Marks::read(folder.path()), Marks::default(), "damage at {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert_eq!(Marks::read(folder.path()), Marks::default(), "cut at {at}");
        }
    }
}
