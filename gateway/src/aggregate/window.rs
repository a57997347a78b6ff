//! Tumbling windows over event time, by 10 seconds; a minute is the sum of six of them.
//!
//! No clock and no I/O. Each partition of `kamf.events` has a watermark: the greatest event time seen in it, or
//! what the driver promises for a partition that is read to its end. A window closes when the least of them is
//! [`Bounds::lateness`] past its end, and its rows are handed out by [`Windows::flush`]. A record that comes later
//! is counted as late, added, and the row handed out again. Below the *floor* ([`Bounds::keep`] behind the watermark)
//! windows are no longer held: a record for one becomes a correction, a row of its own, so that the sum over all
//! rows always equals a recount.
//!
//! After a restart, [`Windows::restore`] takes the last position written; records from before it rebuild what is
//! held and are not handed out a second time.

mod flush;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::cell::Cell;
use super::dimensions::Labels;
use super::names::{NameId, Names};
use super::position::Position;
use super::row::{Micros, Row, Size};
use super::usage::Usage;

pub use flush::Flush;

/// An event time this far ahead of the time of writing comes from a broken clock: it must neither move the
/// watermark nor hold a window open, so it is written as a correction at once.
const AHEAD: Micros = 600_000_000;

/// What is held in memory.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Keys in one window; the next goes to the key `other`. Refusals, whose names a caller can invent, may
    /// take half of them.
    pub keys: usize,
    /// Cells in all windows, about 1.3 KiB each.
    pub cells: usize,
    /// How long a window waits for records after its end, in event time.
    pub lateness: Micros,
    /// How long a closed window is held for the API and for late records.
    pub keep: Micros,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { keys: 512, cells: 20_000, lateness: 5_000_000, keep: 3_600_000_000 }
    }
}

/// The end of one exchange: what its terminal or refusal record says, and its usage.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    pub partition: i32,
    pub offset: i64,
    /// Offset of the first record that this observation was made from.
    pub since: i64,
    /// Event time.
    pub time: Micros,
    /// When the record was written.
    pub written: Micros,
    pub labels: Labels<'a>,
    pub duration_us: u64,
    pub request_bytes: u64,
    pub answer_bytes: u64,
    pub usage: Usage,
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In a window that was still open.
    Counted,
    /// In a window whose rows were handed out before; they will be again.
    Late,
    /// As a row of its own: its window is no longer held.
    Corrected,
    /// Counted before the restart, and its window is no longer held.
    Known,
}

/// All windows that are held.
pub struct Windows {
    bounds: Bounds,
    names: Names,
    windows: BTreeMap<Micros, Window>,
    cells: usize,
    partitions: BTreeMap<i32, Progress>,
    now: Micros,
    floor: Micros,
    closed: Micros,
    /// `closed` as it was before the restart.
    restored: Micros,
    corrections: Vec<Row>,
    /// Cells whose rows were torn off from their position; written by the first flush, closed or not.
    torn: Vec<(Size, Micros, NameId)>,
    overflowed: u64,
}

#[derive(Default)]
struct Window {
    cells: HashMap<NameId, Cell>,
    /// How many of them are of refusals.
    refused: usize,
    /// By partition: the first record that it was made from.
    since: BTreeMap<i32, i64>,
}

struct Progress {
    watermark: Micros,
    next: i64,
    /// Records before were counted before the restart.
    replayed: i64,
}

impl Windows {
    /// Empty windows over `partitions` partitions, numbered from 0.
    pub fn new(partitions: i32, bounds: Bounds) -> Self {
        let fresh = |p| (p, Progress { watermark: Micros::MIN, next: 0, replayed: 0 });
        Self {
            bounds,
            names: Names::default(),
            windows: BTreeMap::new(),
            cells: 0,
            partitions: (0..partitions).map(fresh).collect(),
            now: Micros::MAX,
            floor: Micros::MIN,
            closed: Micros::MIN,
            restored: Micros::MIN,
            corrections: Vec::new(),
            torn: Vec::new(),
            overflowed: 0,
        }
    }

    /// Goes on after `position`. The records from each partition's `start` on are to follow.
    pub fn restore(&mut self, position: &Position) {
        self.floor = position.floor;
        self.closed = position.closed;
        self.restored = position.closed;
        for (partition, offsets) in &position.partitions {
            if let Some(progress) = self.partitions.get_mut(partition) {
                progress.next = offsets.start;
                progress.replayed = offsets.next;
            }
        }
    }

    /// Makes room for a key whose row was written before the restart, so that it does not end under `other` this
    /// time. A row that was written after the last position is `torn` off from it: it is written again, be it with
    /// nothing in it, because this time its records may be read in another order and become corrections. To be
    /// called between [`Windows::restore`] and the first record.
    pub fn expect(&mut self, size: Size, start: Micros, labels: Labels<'_>, torn: bool) {
        if start < self.floor || (size == Size::Minute && !torn) {
            return;
        }
        self.cell(Size::TenSeconds.start_of(start), labels);
        if let Some(id) = self.names.find(labels).filter(|_| torn) {
            self.torn.push((size, start, id));
        }
    }

    /// The present time: no watermark passes it, whatever clocks wrote into the records.
    pub fn set_now(&mut self, now: Micros) {
        self.now = now;
    }

    /// Everything before `next` in `partition` has been read, also records that are not counted.
    pub fn read(&mut self, partition: i32, next: i64) {
        if let Some(progress) = self.partitions.get_mut(&partition) {
            progress.next = progress.next.max(next);
        }
    }

    /// `partition` is read to its end and nothing from before `until` is expected in it any more.
    pub fn idle(&mut self, partition: i32, until: Micros) {
        if let Some(progress) = self.partitions.get_mut(&partition) {
            progress.watermark = progress.watermark.max(until.min(self.now));
        }
    }

    /// Counts the end of one exchange.
    pub fn record(&mut self, observation: &Observation<'_>) -> Placement {
        let now = self.now;
        let Some(progress) = self.partitions.get_mut(&observation.partition) else {
            return Placement::Known;
        };
        let replayed = observation.offset < progress.replayed;
        let ahead = observation.time.saturating_sub(observation.written) > AHEAD;
        progress.next = progress.next.max(observation.offset + 1);
        if !ahead {
            progress.watermark = progress.watermark.max(observation.time.min(now));
        }
        let start = Size::TenSeconds.start_of(observation.time);
        match (start < self.floor || ahead, replayed) {
            (true, true) => Placement::Known,
            (true, false) => {
                self.correct(observation);
                Placement::Corrected
            }
            (false, _) => self.count(start, observation, replayed),
        }
    }

    fn count(&mut self, start: Micros, observation: &Observation<'_>, replayed: bool) -> Placement {
        let written_until = if replayed { self.restored } else { Micros::MIN };
        let minute_end = Size::Minute.start_of(start) + Size::Minute.micros();
        let end = start + Size::TenSeconds.micros();
        let cell = self.cell(start, observation.labels);
        cell.add(observation);
        cell.dirty |= end > written_until;
        cell.minute_dirty |= minute_end > written_until;
        if let Some(window) = self.windows.get_mut(&start) {
            let since = window.since.entry(observation.partition).or_insert(observation.since);
            *since = observation.since.min(*since);
        }
        if !replayed && end <= self.closed { Placement::Late } else { Placement::Counted }
    }

    fn correct(&mut self, observation: &Observation<'_>) {
        let dimensions = Arc::new(observation.labels.to_dimensions());
        let mut cell = Cell::new();
        cell.add(observation);
        for size in Size::ALL {
            self.corrections.push(Row {
                size,
                start: size.start_of(observation.time),
                dimensions: dimensions.clone(),
                totals: cell.totals,
                latency: cell.quantiles(),
                closed: true,
                correction: Some((observation.partition, observation.offset)),
            });
        }
    }

    /// The cell for `labels` in the window at `start`, or that window's `other`.
    fn cell(&mut self, start: Micros, labels: Labels<'_>) -> &mut Cell {
        let window = self.windows.entry(start).or_default();
        let known = self.names.find(labels).filter(|id| window.cells.contains_key(id));
        let refused = labels.state == "refused";
        let room = window.cells.len() < self.bounds.keys
            && (!refused || window.refused < self.bounds.keys / 2)
            && self.cells < self.bounds.cells;
        let labels = if known.is_some() || room { labels } else { Labels::OVERFLOW };
        if known.is_none() && !room {
            self.overflowed += 1;
        }
        let known = known.or_else(|| self.names.find(labels).filter(|id| window.cells.contains_key(id)));
        let id = known.unwrap_or_else(|| {
            self.cells += 1;
            window.refused += usize::from(labels.state == "refused");
            self.names.acquire(labels)
        });
        window.cells.entry(id).or_insert_with(Cell::new)
    }

    /// Event time up to which every partition has been read.
    pub fn watermark(&self) -> Micros {
        self.partitions.values().map(|progress| progress.watermark).min().unwrap_or(Micros::MIN)
    }

    /// Event time up to which `partition` has been read.
    pub fn watermark_of(&self, partition: i32) -> Micros {
        self.partitions.get(&partition).map_or(Micros::MIN, |progress| progress.watermark)
    }

    /// Whether everything that was counted before a restart has been read again. Until then rows are too small,
    /// and nothing may be flushed.
    pub fn is_whole(&self) -> bool {
        self.partitions.values().all(|progress| progress.next >= progress.replayed)
    }
}

#[cfg(test)]
mod tests;
