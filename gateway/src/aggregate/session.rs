//! One run of the module: from what the log says about itself until a failure or the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};

use super::audit::{Chain, Ended};
use super::join::Join;
use super::live::Snapshot;
use super::meter::Meter;
use super::metrics::Metrics;
use super::position::Position;
use super::reader::{Partition, Polled, Reader, Wake, written};
use super::restore::{self, RestoreError};
use super::row::{Micros, Size};
use super::sink::{Sink, SinkError};
use super::window::{Bounds, Placement, Windows};
use crate::config::Prices;
use crate::relay::record::{Kind, View};
use crate::relay::{Log, Topic};

/// Records of one partition before the next has its turn.
const BATCH: usize = 500;

/// A partition at its end for this long promises nothing older than that.
const IDLE: Micros = 1_000_000;

/// How far one partition may run ahead of the others in event time while old records are read: windows of all that
/// time are held at once.
const SPREAD: Micros = 600_000_000;

/// How often rows are written, and how often the position is when there are none.
const FLUSH: Micros = 1_000_000;
const POSITION: Micros = 10_000_000;

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
    requests: Vec<Partition>,
    events: Vec<Partition>,
    state: State,
}

struct State {
    windows: Windows,
    meter: Meter,
    joins: Vec<Join>,
    chains: Vec<Chain>,
    sink: Sink,
    metrics: Arc<Metrics>,
    currency: String,
    /// By partition: when it was first seen at its end, with nothing since.
    idle_since: Vec<Option<Micros>>,
    /// By partition: up to where exchanges are in the metrics.
    counted: BTreeMap<i32, i64>,
    flushed: Micros,
    positioned: Micros,
    position: Position,
    overflowed: u64,
    usage_dropped: u64,
    now: Micros,
}

impl Session {
    /// Finds out where to go on and begins to read there. `counted` is where the last run's metrics ended.
    pub(super) fn open(
        log: &Log,
        prices: &Prices,
        bounds: Bounds,
        metrics: &Arc<Metrics>,
        counted: BTreeMap<i32, i64>,
        wake: &Arc<Wake>,
    ) -> Result<Self, SessionError> {
        let reader = Reader::searching(log, "stream")?;
        let count = log.partitions();
        let found = restore::chains(&reader, count)?;
        let position = restore::position(&reader)?;
        let mut windows = Windows::new(count, bounds);
        windows.restore(&position);
        let row_ends = restore::row_ends(&reader, count)?;
        restore::written_rows(&reader, &row_ends, &position, &mut windows)?;
        let mut state = State {
            windows,
            meter: Meter::new(prices.clone()),
            joins: (0..count).map(|_| Join::default()).collect(),
            chains: found.chains,
            sink: Sink::new(log, found.ends, row_ends, prices.currency.clone())?,
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
        let places = state.places(&reader, count)?;
        let reader = Reader::gathering(log, "stream")?;
        let mut queues = reader.assign(&places)?;
        queues.iter_mut().for_each(|queue| queue.wake(wake));
        let events = queues.split_off(count.unsigned_abs() as usize);
        Ok(Self { reader, requests: queues, events, state })
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
        self.reader.serve(std::time::Duration::ZERO)?;
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
                .filter_map(|(p, queue)| Some(self.reader.extent(topic, p as i32).ok()?.high - queue.next))
                .sum()
        };
        let lag = lag(Topic::Requests, &self.requests) + lag(Topic::Events, &self.events);
        self.state.metrics.lag.set(lag.max(0));
    }
}

impl State {
    /// The first record to read in each partition of the requests, then of the events.
    fn places(&mut self, reader: &Reader, count: i32) -> Result<Vec<(Topic, i32, i64)>, SessionError> {
        let (mut requests, mut events) = (Vec::new(), Vec::new());
        for p in 0..count {
            let chain = self.chains[p.unsigned_abs() as usize];
            let extent = reader.extent(Topic::Events, p)?;
            let offsets = self.position.partitions.get(&p).copied();
            let known = offsets.map_or(0, |offsets| offsets.next).max(chain.audited + 1);
            if known > extent.high {
                return Err(RestoreError::Behind { partition: p, high: extent.high, known }.into());
            }
            let start = offsets.map_or(0, |offsets| offsets.start).min(chain.audited + 1).max(extent.low);
            self.windows.read(p, start);
            self.counted.entry(p).or_insert(offsets.map_or(0, |offsets| offsets.next));
            events.push((Topic::Events, p, start));
            let from = chain.requests_from.max(reader.extent(Topic::Requests, p)?.low);
            self.joins[p.unsigned_abs() as usize].start_at(from);
            requests.push((Topic::Requests, p, from));
        }
        requests.append(&mut events);
        Ok(requests)
    }

    /// Event time beyond which a partition waits for the others.
    fn event_time_limit(&self, events: &[Partition]) -> Micros {
        let behind = events.iter().enumerate().filter(|(_, queue)| !queue.at_end);
        let slowest = behind.map(|(p, _)| self.windows.watermark_of(p as i32)).min();
        match slowest {
            // One that has given nothing yet holds nobody up for longer than its first fetch takes.
            Some(Micros::MIN) | None => Micros::MAX,
            Some(slowest) => slowest.saturating_add(SPREAD),
        }
    }

    fn read_requests(&mut self, p: usize, queue: &mut Partition) -> Result<usize, SessionError> {
        let mut read = 0;
        while read < BATCH && self.joins[p].takes_requests() {
            let Polled::Record(message) = queue.poll(std::time::Duration::ZERO)? else { break };
            read += 1;
            match View::decode(&message) {
                Ok(view) => self.joins[p].asked(&view, written(&message)),
                Err(error) => self.passed_over(&message, &error),
            }
        }
        self.metrics.requests_read.inc_by(read as u64);
        Ok(read)
    }

    fn read_events(&mut self, p: usize, queue: &mut Partition) -> Result<usize, SessionError> {
        let mut read = 0;
        while read < BATCH && self.joins[p].takes_ends() {
            let Polled::Record(message) = queue.poll(std::time::Duration::ZERO)? else { break };
            read += 1;
            match View::decode(&message) {
                Ok(view) => self.event(p, &view, written(&message))?,
                Err(error) => self.passed_over(&message, &error),
            }
            self.windows.read(p as i32, message.offset() + 1);
        }
        if read > 0 {
            self.idle_since[p] = None;
        }
        self.metrics.events_read.inc_by(read as u64);
        Ok(read)
    }

    fn passed_over(&self, message: &BorrowedMessage<'_>, error: &crate::relay::record::DecodeError) {
        self.metrics.unreadable.inc();
        tracing::debug!(
            topic = message.topic(),
            partition = message.partition(),
            offset = message.offset(),
            %error,
            "a record that cannot be read was passed over"
        );
    }

    fn event(&mut self, p: usize, view: &View<'_>, written: Micros) -> Result<(), SessionError> {
        if let Some(observation) = self.meter.take(view, written) {
            let placement = self.windows.record(&observation);
            let counted = self.counted.entry(view.partition).or_default();
            if view.offset >= *counted {
                *counted = view.offset + 1;
                self.metrics.count(&observation, placement);
            }
            debug_assert!(placement != Placement::Known || view.offset < *counted);
        }
        if !matches!(view.fields.kind, Kind::Terminal | Kind::Refusal) {
            return Ok(());
        }
        if view.offset <= self.chains[p].audited {
            self.joins[p].forget(view.fields.id);
            return Ok(());
        }
        let Some(ended) = Ended::of(view) else { return Ok(()) };
        match self.joins[p].ended(ended, written, self.now) {
            Ok((ended, request)) => self.audit(p, &ended, request),
            Err(super::join::Parked) => Ok(()),
        }
    }

    fn audit_ready(&mut self, p: usize, read_out: bool) -> Result<(), SessionError> {
        while let Some((ended, request)) = self.joins[p].ready(self.now, read_out) {
            self.audit(p, &ended, request)?;
        }
        Ok(())
    }

    fn audit<S: AsRef<str>>(
        &mut self,
        p: usize,
        ended: &Ended<S>,
        request: Option<super::audit::Source>,
    ) -> Result<(), SessionError> {
        let (value, hash) = self.chains[p].append(ended, request);
        let from = self.joins[p].requests_from();
        self.sink.audit(p as i32, &value, hash, from)?;
        self.metrics.audited.inc();
        Ok(())
    }

    fn note_idle(&mut self, p: usize, at_end: bool) {
        if !at_end {
            self.idle_since[p] = None;
            return;
        }
        let since = *self.idle_since[p].get_or_insert(self.now);
        if self.now - since >= IDLE {
            self.windows.idle(p as i32, self.now - IDLE);
        }
    }

    fn flush_is_due(&self) -> bool {
        self.windows.is_whole() && (self.now - self.flushed >= FLUSH || self.windows.wants_flush())
    }

    fn flush(&mut self) -> Result<(), SessionError> {
        self.flushed = self.now;
        let mut flush = self.windows.flush(|p| self.meter.oldest(p));
        let moved = flush.position.partitions != self.position.partitions
            || flush.position.floor != self.position.floor;
        let due = self.now - self.positioned >= POSITION && moved;
        if !flush.rows.is_empty() || due {
            self.sink.flush(&flush.rows, &mut flush.position)?;
            self.windows.settle(&flush.position);
            self.metrics.rows_written.inc_by(flush.rows.len() as u64);
            self.positioned = self.now;
            self.position = flush.position;
        }
        self.expire();
        self.publish_gauges();
        Ok(())
    }

    fn expire(&mut self) {
        for (p, join) in self.joins.iter_mut().enumerate() {
            let overdue = join.expire(self.windows.watermark_of(p as i32));
            self.metrics.overdue.inc_by(overdue as u64);
        }
        let dropped = self.meter.forget_abandoned(self.windows.watermark());
        self.metrics.usage_dropped.inc_by(dropped - self.usage_dropped);
        self.usage_dropped = dropped;
    }

    fn publish_gauges(&mut self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (windows, cells) = self.windows.held();
        self.metrics.windows.set(gauge(windows));
        self.metrics.cells.set(gauge(cells));
        self.metrics.open.set(gauge(self.joins.iter().map(|join| join.held().0).sum()));
        let overflowed = self.windows.overflowed();
        self.metrics.overflowed.inc_by(overflowed - self.overflowed);
        self.overflowed = overflowed;
        let lag = self.now.saturating_sub(self.windows.watermark().max(0)) / 1_000_000;
        self.metrics.watermark_lag.set(lag);
    }
}
