//! Closing windows and handing out what is to be written.

use std::collections::BTreeMap;

use super::super::names::NameId;
use super::super::position::{Offsets, Position};
use super::super::row::{Micros, Row, Size};
use super::Windows;
use super::rows::row;

/// Corrections wait in memory for the next flush.
const MAX_CORRECTIONS: usize = 2_000;

/// Rows to write, then the position that says so.
#[derive(Debug)]
pub struct Flush {
    pub rows: Vec<Row>,
    pub position: Position,
}

impl Windows {
    /// Whether memory asks for a [`Windows::flush`] before its time.
    pub fn wants_flush(&self) -> bool {
        let frees = self.next_floor() > self.floor && self.cells > self.bounds.cells / 2;
        frees || self.corrections.len() > MAX_CORRECTIONS
    }

    fn next_floor(&self) -> Micros {
        self.floor.max(Size::Minute.start_of(self.watermark().saturating_sub(self.bounds.keep)))
    }

    /// Closes what the watermark has passed and hands out all rows that changed. `open` gives by partition the first
    /// record of exchanges that have not ended yet and whose usage counts. After the rows and the position
    /// have been acknowledged, [`Windows::settle`] must follow before the next record.
    pub fn flush(&mut self, open: impl Fn(i32) -> Option<i64>) -> Flush {
        let watermark = self.watermark();
        self.closed = self.closed.max(watermark.saturating_sub(self.bounds.lateness));
        let mut rows = std::mem::take(&mut self.corrections);
        self.take_torn(&mut rows);
        self.take_seconds(&mut rows);
        self.take_minutes(&mut rows);
        let floor = self.next_floor();
        let position = Position {
            v: 1,
            floor,
            closed: self.closed,
            partitions: self.partitions.keys().map(|p| (*p, self.offsets(*p, floor, open(*p)))).collect(),
            rows: BTreeMap::new(),
        };
        Flush { rows, position }
    }

    /// Lets go of windows below the floor of a position that is on the log.
    pub fn settle(&mut self, position: &Position) {
        self.floor = self.floor.max(position.floor);
        while let Some(entry) = self.windows.first_entry().filter(|entry| *entry.key() < self.floor) {
            let window = entry.remove();
            self.cells -= window.cells.len();
            for id in window.cells.into_keys() {
                self.names.release(id);
            }
        }
    }

    fn offsets(&self, partition: i32, floor: Micros, open: Option<i64>) -> Offsets {
        let next = self.partitions.get(&partition).map_or(0, |progress| progress.next);
        let held = self.windows.range(floor..).filter_map(|(_, window)| window.since.get(&partition)).min();
        let start = held.copied().into_iter().chain(open).fold(next, i64::min);
        Offsets { start, next }
    }

    fn take_torn(&mut self, rows: &mut Vec<Row>) {
        for (size, start, id) in std::mem::take(&mut self.torn) {
            let cell = match size {
                Size::TenSeconds => {
                    self.windows.get(&start).and_then(|window| window.cells.get(&id)).cloned()
                }
                Size::Minute => self.minute(start, id),
            };
            let closed = start + size.micros() <= self.closed;
            rows.extend(cell.map(|cell| row(size, start, self.names.get(id), &cell, closed)));
        }
    }

    fn take_seconds(&mut self, rows: &mut Vec<Row>) {
        for (start, window) in &mut self.windows {
            if *start + Size::TenSeconds.micros() > self.closed {
                break;
            }
            for (id, cell) in window.cells.iter_mut().filter(|(_, cell)| cell.dirty) {
                cell.dirty = false;
                rows.push(row(Size::TenSeconds, *start, self.names.get(*id), cell, true));
            }
        }
    }

    fn take_minutes(&mut self, rows: &mut Vec<Row>) {
        let mut minutes: Vec<(Micros, NameId)> = Vec::new();
        for (start, window) in &mut self.windows {
            let minute = Size::Minute.start_of(*start);
            if minute + Size::Minute.micros() > self.closed {
                break;
            }
            for (id, cell) in window.cells.iter_mut().filter(|(_, cell)| cell.minute_dirty) {
                cell.minute_dirty = false;
                minutes.push((minute, *id));
            }
        }
        minutes.sort_unstable();
        minutes.dedup();
        for (minute, id) in minutes {
            if let Some(cell) = self.minute(minute, id) {
                rows.push(row(Size::Minute, minute, self.names.get(id), &cell, true));
            }
        }
    }
}
