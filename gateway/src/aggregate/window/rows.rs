//! The windows as rows, for those who look at them.

use std::sync::Arc;

use super::super::cell::Cell;
use super::super::dimensions::Dimensions;
use super::super::names::NameId;
use super::super::row::{Micros, Row, Size};
use super::Windows;

impl Windows {
    /// All rows of windows that end after `since`, open ones too, by start and dimensions.
    pub fn rows(&self, size: Size, since: Micros) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut last = None;
        let from = since.saturating_sub(size.micros());
        for (start, window) in self.windows.range(size.start_of(from)..) {
            let start = size.start_of(*start);
            let closed = start + size.micros() <= self.closed;
            match size {
                _ if start + size.micros() <= since => {}
                Size::TenSeconds => rows.extend(
                    window.cells.iter().map(|(id, cell)| row(size, start, self.names.get(*id), cell, closed)),
                ),
                Size::Minute if last == Some(start) => {}
                Size::Minute => {
                    last = Some(start);
                    let windows = self.windows.range(start..start + size.micros());
                    let mut ids: Vec<NameId> = windows.flat_map(|(_, w)| w.cells.keys().copied()).collect();
                    ids.sort_unstable();
                    ids.dedup();
                    let cells = ids.iter().filter_map(|id| self.minute(start, *id).map(|cell| (id, cell)));
                    rows.extend(cells.map(|(id, cell)| row(size, start, self.names.get(*id), &cell, closed)));
                }
            }
        }
        rows.retain(|row| row.totals.calls > 0);
        rows.sort_by(|a, b| (a.start, &a.dimensions).cmp(&(b.start, &b.dimensions)));
        rows
    }

    /// The sum of one key over the minute that begins at `start`.
    pub(super) fn minute(&self, start: Micros, id: NameId) -> Option<Cell> {
        let windows = self.windows.range(start..start + Size::Minute.micros());
        let mut cells = windows.filter_map(|(_, window)| window.cells.get(&id));
        let mut sum = cells.next()?.clone();
        cells.for_each(|cell| sum.merge(cell));
        Some(sum)
    }

    /// How many windows are held, and how many cells in them.
    pub fn held(&self) -> (usize, usize) {
        (self.windows.len(), self.cells)
    }

    /// How many exchanges went to `other`.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

pub(super) fn row(size: Size, start: Micros, dimensions: &Arc<Dimensions>, cell: &Cell, closed: bool) -> Row {
    Row {
        size,
        start,
        dimensions: dimensions.clone(),
        totals: cell.totals,
        latency: cell.quantiles(),
        closed,
        correction: None,
    }
}
