//! One run of the module: from what the log says about itself until a failure or the end.

mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;

use super::join::Join;
use super::live::Snapshot;
use super::meter::Meter;
use super::metrics::Metrics;
use super::reader::{Partition, Reader, Wake};
use super::restore::{self, RestoreError};
use super::row::{Micros, Size};
use super::sink::{Sink, SinkError};
use super::window::{Bounds, Windows};
use crate::config::Prices;
use crate::relay::{Fence, Log, Topic};
use state::State;

/// Why a run ended. The next one begins from what is on the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("the log cannot be read: {0}")]
    Read(#[from] KafkaError),
}

/// Readers and state of one run.
pub(super) struct Session {
    reader: Reader,
    /// Answers questions without standing behind a fetch.
    asker: Reader,
    requests: Vec<Partition>,
    events: Vec<Partition>,
    state: State,
}

impl Session {
    /// Finds out where to go on and begins to read there. `counted` is where the last run's metrics ended.
    /// Results are written in the name of `epoch`, or not at all without one.
    pub(super) fn open(
        log: &Log,
        prices: &Prices,
        bounds: Bounds,
        metrics: &Arc<Metrics>,
        counted: BTreeMap<i32, i64>,
        wake: &Arc<Wake>,
        epoch: Option<i64>,
    ) -> Result<Self, SessionError> {
        let asker = Reader::new(log, "stream")?;
        let count = log.partitions();
        let found = restore::chains(&asker, count)?;
        let position = restore::position(&asker)?;
        let mut windows = Windows::new(count, bounds);
        windows.restore(&position);
        let row_ends = restore::row_ends(&asker, count)?;
        restore::written_rows(&asker, &row_ends, &position, &mut windows)?;
        let mut state = State {
            fence: Fence::default(),
            windows,
            meter: Meter::new(prices.clone()),
            joins: (0..count).map(|_| Join::default()).collect(),
            chains: found.chains,
            sink: Sink::new(log, found.ends, row_ends, prices.currency.clone(), epoch)?,
            metrics: metrics.clone(),
            currency: prices.currency.clone(),
            idle_since: (0..count).map(|_| None).collect(),
            counted,
            flushed: 0,
            positioned: 0,
            position,
            overflowed: 0,
            usage_dropped: 0,
            now: 0,
        };
        let places = state.places(&asker, count)?;
        let reader = Reader::gathering(log, "stream")?;
        let mut queues = reader.assign(&places)?;
        queues.iter_mut().for_each(|queue| queue.wake(wake));
        let events = queues.split_off(count.unsigned_abs() as usize);
        Ok(Self { reader, asker, requests: queues, events, state })
    }

    /// Reads what there is, a batch of each partition; gives how many records that were.
    pub(super) fn turn(&mut self, now: Micros) -> Result<usize, SessionError> {
        let state = &mut self.state;
        state.now = now;
        state.windows.set_now(now);
        let limit = state.event_time_limit(&self.events);
        let mut work = 0;
        for (p, (requests, events)) in self.requests.iter_mut().zip(&mut self.events).enumerate() {
            work += state.read_requests(p, requests)?;
            if state.windows.watermark_of(p as i32) <= limit {
                work += state.read_events(p, events)?;
            }
            state.audit_ready(p, requests.at_end)?;
            state.note_idle(p, events.at_end);
        }
        state.sink.serve()?;
        self.reader.serve(Duration::ZERO)?;
        if state.flush_is_due() {
            state.flush()?;
        }
        Ok(work)
    }

    /// Writes what is complete, before the end.
    pub(super) fn close(mut self) -> Result<BTreeMap<i32, i64>, SessionError> {
        if self.state.windows.is_whole() {
            self.state.flush()?;
        }
        self.state.sink.wait()?;
        Ok(self.state.counted)
    }

    /// Where the metrics of this run end.
    pub(super) fn counted(&self) -> BTreeMap<i32, i64> {
        self.state.counted.clone()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.state.windows.is_whole()
    }

    /// Whether everything that the log has is read.
    #[cfg(test)]
    pub(super) fn is_read_out(&self) -> bool {
        self.requests.iter().chain(&self.events).all(|queue| queue.at_end)
    }

    pub(super) fn snapshot(&self, size: Size, since: Micros) -> Snapshot {
        let windows = &self.state.windows;
        Snapshot {
            rows: windows.rows(size, since),
            currency: self.state.currency.clone(),
            watermark: windows.watermark(),
            whole: windows.is_whole(),
        }
    }

    /// Measures how much is still to be read. Asks the log, so not for every turn.
    pub(super) fn measure_lag(&self) {
        let lag = |topic, queues: &[Partition]| -> i64 {
            let behind = queues.iter().enumerate().filter(|(_, queue)| !queue.at_end);
            behind
                .filter_map(|(p, queue)| Some(self.asker.extent(topic, p as i32).ok()?.high - queue.next))
                .sum()
        };
        let lag = lag(Topic::Requests, &self.requests) + lag(Topic::Events, &self.events);
        self.state.metrics.lag.set(lag.max(0));
    }
}
