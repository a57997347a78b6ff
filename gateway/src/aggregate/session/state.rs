//! What one run knows, and what it does with each record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::{BorrowedMessage, Message};

use super::super::audit::{Chain, Ended, Source};
use super::super::join::{Join, Parked};
use super::super::meter::Meter;
use super::super::metrics::Metrics;
use super::super::position::Position;
use super::super::reader::{Partition, Polled, Reader, is_started, written};
use super::super::restore::RestoreError;
use super::super::row::Micros;
use super::super::sink::Sink;
use super::super::window::{Placement, Windows};
use super::SessionError;
use crate::relay::record::{DecodeError, Kind, View};
use crate::relay::{Fence, Topic};

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

/// Windows, joins, chains, and what they have written.
pub(super) struct State {
    pub(super) windows: Windows,
    pub(super) meter: Meter,
    pub(super) fence: Fence,
    pub(super) joins: Vec<Join>,
    pub(super) chains: Vec<Chain>,
    pub(super) sink: Sink,
    pub(super) metrics: Arc<Metrics>,
    pub(super) currency: String,
    /// By partition: when it was first seen at its end, with nothing since.
    pub(super) idle_since: Vec<Option<Micros>>,
    /// By partition: up to where exchanges are in the metrics.
    pub(super) counted: BTreeMap<i32, i64>,
    pub(super) flushed: Micros,
    pub(super) positioned: Micros,
    pub(super) position: Position,
    pub(super) overflowed: u64,
    pub(super) usage_dropped: u64,
    pub(super) now: Micros,
}

impl State {
    /// The first record to read in each partition of the requests, then of the events.
    pub(super) fn places(
        &mut self,
        reader: &Reader,
        count: i32,
    ) -> Result<Vec<(Topic, i32, i64)>, SessionError> {
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
    pub(super) fn event_time_limit(&self, events: &[Partition]) -> Micros {
        let behind = events.iter().enumerate().filter(|(_, queue)| !queue.at_end);
        let slowest = behind.map(|(p, _)| self.windows.watermark_of(p as i32)).min();
        match slowest {
            // One that has given nothing yet holds nobody up for longer than its first fetch takes.
            Some(Micros::MIN) | None => Micros::MAX,
            Some(slowest) => slowest.saturating_add(SPREAD),
        }
    }

    pub(super) fn read_requests(&mut self, p: usize, queue: &mut Partition) -> Result<usize, SessionError> {
        let mut read = 0;
        while read < BATCH && self.joins[p].takes_requests() {
            let Polled::Record(message) = queue.poll(Duration::ZERO)? else { break };
            read += 1;
            match View::decode(&message) {
                Ok(view) => self.joins[p].asked(&view, written(&message)),
                Err(error) => self.passed_over(&message, &error),
            }
        }
        self.metrics.requests_read.inc_by(read as u64);
        Ok(read)
    }

    pub(super) fn read_events(&mut self, p: usize, queue: &mut Partition) -> Result<usize, SessionError> {
        let mut read = 0;
        while read < BATCH && self.joins[p].takes_ends() {
            let Polled::Record(message) = queue.poll(Duration::ZERO)? else { break };
            read += 1;
            self.windows.read(p as i32, message.offset() + 1);
            if is_started(&message) {
                continue;
            }
            match self.fence.read(&message) {
                Some(Ok(view)) => self.event(p, &view, written(&message))?,
                Some(Err(error)) => self.passed_over(&message, &error),
                None => {}
            }
        }
        if read > 0 {
            self.idle_since[p] = None;
        }
        self.metrics.events_read.inc_by(read as u64);
        Ok(read)
    }

    fn passed_over(&self, message: &BorrowedMessage<'_>, error: &DecodeError) {
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
            Err(Parked) => Ok(()),
        }
    }

    pub(super) fn audit_ready(&mut self, p: usize, read_out: bool) -> Result<(), SessionError> {
        while let Some((ended, request)) = self.joins[p].ready(self.now, read_out) {
            self.audit(p, &ended, request)?;
        }
        Ok(())
    }

    fn audit<S: AsRef<str>>(
        &mut self,
        p: usize,
        ended: &Ended<S>,
        request: Option<Source>,
    ) -> Result<(), SessionError> {
        let (value, hash) = self.chains[p].append(ended, request);
        let from = self.joins[p].requests_from();
        self.sink.audit(p as i32, &value, hash, from)?;
        self.metrics.audited.inc();
        Ok(())
    }

    pub(super) fn note_idle(&mut self, p: usize, at_end: bool) {
        if !at_end {
            self.idle_since[p] = None;
            return;
        }
        let since = *self.idle_since[p].get_or_insert(self.now);
        if self.now - since >= IDLE {
            self.windows.idle(p as i32, self.now - IDLE);
        }
    }

    pub(super) fn flush_is_due(&self) -> bool {
        self.windows.is_whole() && (self.now - self.flushed >= FLUSH || self.windows.wants_flush())
    }

    pub(super) fn flush(&mut self) -> Result<(), SessionError> {
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
