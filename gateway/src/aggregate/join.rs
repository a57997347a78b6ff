//! Joins the request of an exchange to its end, within one partition, in the order of the ends.
//!
//! The two are read from two topics, so either may be seen first. An end whose request has not been read waits, and
//! all that ended after it waits behind it: the order of the audit chain is the order of `kamf.events`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::audit::{Ended, Hash, Source};
use super::row::{Micros, micros};
use crate::message::RelayId;
use crate::relay::record::{Kind, View};

/// Requests without an end, and ends without a request, that one partition may hold before the driver stops reading
/// the topic that runs ahead: about 100 and 400 bytes each.
pub const MAX_OPEN: usize = 20_000;
pub const MAX_WAITING: usize = 5_000;

/// How long after it was written an end is given up for good when `kamf.requests` is read to its end without its
/// request, and how long it waits here at least. An accepted request is on the log before its end is, or in `direct`
/// mode at the same time; only one that retention has deleted does not come.
pub const PATIENCE: Micros = 10_000_000;
const LEAST_WAIT: Micros = 1_000_000;

/// The same where there is more to read: by how much the requests read were written after the end.
const OVERTAKEN: Micros = 60_000_000;

/// How long past its deadline a request is remembered, in event time: its end is due 30 s after the deadline.
const OVERDUE: Micros = 3_600_000_000;

/// Requests and ends of one partition that have not met.
#[derive(Default)]
pub struct Join {
    open: HashMap<RelayId, Asked>,
    /// The open requests in the order of the log, and some that are no longer open.
    order: VecDeque<(i64, RelayId)>,
    waiting: VecDeque<Waiting>,
    /// After the last request read.
    next: i64,
    /// When the last request read was written.
    read_until: Micros,
}

struct Asked {
    source: Source,
    /// Event time after which no end is expected.
    until: Micros,
}

struct Waiting {
    ended: Ended<Box<str>>,
    since: Micros,
    written: Micros,
}

impl Join {
    /// Takes a record of `kamf.requests`, written at `written`.
    pub fn asked(&mut self, view: &View<'_>, written: Micros) {
        self.next = self.next.max(view.offset + 1);
        self.read_until = self.read_until.max(written);
        if view.fields.kind != Kind::Request {
            return;
        }
        let (id, deadline) = (view.fields.id, view.fields.deadline.unwrap_or(view.fields.time));
        let until = deadline.checked_add(Duration::from_micros(OVERDUE as u64)).unwrap_or(deadline);
        let source = Source { offset: view.offset, sha256: Hash::of_value(view.body) };
        self.open.insert(id, Asked { source, until: micros(until) });
        self.order.push_back((view.offset, id));
    }

    /// Takes the end of an exchange, written at `written` and read at `now`. Gives its request when its audit record
    /// can be written at once (none for a refusal), and keeps a copy until [`Join::ready`] gives it back when not.
    pub fn ended<'a>(
        &mut self,
        ended: Ended<&'a str>,
        written: Micros,
        now: Micros,
    ) -> Result<(Ended<&'a str>, Option<Source>), Parked> {
        if self.waiting.is_empty() {
            if ended.refusal {
                return Ok((ended, None));
            }
            if let Some(asked) = self.open.remove(&ended.id) {
                return Ok((ended, Some(asked.source)));
            }
        }
        self.waiting.push_back(Waiting { ended: ended.into_owned(), since: now, written });
        Err(Parked)
    }

    /// The next end in order whose request is known, or that has waited long enough by `now`. `read_out` says that
    /// `kamf.requests` is read to its end.
    pub fn ready(&mut self, now: Micros, read_out: bool) -> Option<(Ended<Box<str>>, Option<Source>)> {
        let head = self.waiting.front()?;
        let request = self.open.remove(&head.ended.id).map(|asked| asked.source);
        let overtaken = self.read_until.saturating_sub(head.written) > OVERTAKEN;
        let age = now.saturating_sub(head.written);
        let waited = read_out && age >= PATIENCE && now.saturating_sub(head.since) >= LEAST_WAIT;
        if request.is_none() && !head.ended.refusal && !overtaken && !waited {
            return None;
        }
        self.waiting.pop_front().map(|waiting| (waiting.ended, request))
    }

    /// The exchange `id` was audited before.
    pub fn forget(&mut self, id: RelayId) {
        self.open.remove(&id);
    }

    /// Drops requests that have been overdue for long at event time `watermark`; gives how many.
    pub fn expire(&mut self, watermark: Micros) -> usize {
        let mut dropped = 0;
        while let Some((offset, id)) = self.order.front() {
            match self.open.get(id) {
                Some(asked) if asked.source.offset == *offset && asked.until >= watermark => break,
                Some(asked) if asked.source.offset == *offset => {
                    self.open.remove(id);
                    dropped += 1;
                }
                _ => {}
            }
            self.order.pop_front();
        }
        dropped
    }

    /// The first request that has no audit record yet, or the next one to be read.
    pub fn requests_from(&mut self) -> i64 {
        while let Some((offset, id)) = self.order.front() {
            if self.open.get(id).is_some_and(|asked| asked.source.offset == *offset) {
                return *offset;
            }
            self.order.pop_front();
        }
        self.next
    }

    /// Starts reading requests at `offset`.
    pub fn start_at(&mut self, offset: i64) {
        self.next = offset;
    }

    /// Whether more requests may be read: not while many are open, unless an end waits for one of those to come.
    pub fn takes_requests(&self) -> bool {
        self.open.len() < MAX_OPEN || !self.waiting.is_empty()
    }

    /// Whether more ends may be read.
    pub fn takes_ends(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// How many requests are open, and how many ends wait.
    pub fn held(&self) -> (usize, usize) {
        (self.open.len(), self.waiting.len())
    }
}

/// The end waits for its request.
#[derive(Debug, PartialEq, Eq)]
pub struct Parked;

#[cfg(test)]
mod tests;
