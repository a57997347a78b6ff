//! Verifying the audit chain of one partition, against itself and against what it was made from.
//!
//! Pure: records come in as values, sources through [`Sources`]. Because an audit record is a function of its
//! sources and of the record before it, it is rendered again and compared byte for byte. Where retention has removed the
//! sources, the chain and the record's own hash remain.

mod fault;

use std::collections::VecDeque;

use serde::Deserialize;

use super::audit::{Ended, Hash, Source, render};
use crate::message::RelayId;

pub use fault::{Fault, Wrong};

/// How far back a copy may lie from what it is a copy of.
const COPIES: usize = 4_096;

/// One record of `kamf.audit`.
#[derive(Clone, Copy, Debug)]
pub struct Audited<'a> {
    pub offset: i64,
    pub value: &'a [u8],
    /// Value of its hash header.
    pub hash: Option<&'a [u8]>,
    /// Value of its epoch header.
    pub epoch: Option<i64>,
}

/// What the audit records of one partition were made from.
pub trait Sources {
    /// Why the sources cannot be read.
    type Error;

    /// The first offset of `kamf.events` that is still there.
    fn first_event(&self) -> i64;

    /// The next end of an exchange, in the order of `kamf.events`; none at its end.
    fn next_end(&mut self) -> Result<Option<Ended<Box<str>>>, Self::Error>;

    /// The request record of `id`; its record of audit says that it is at `offset`. To be given at most once.
    fn request(&mut self, id: RelayId, offset: Option<i64>) -> Result<Request, Self::Error>;
}

/// The request record of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    There(Source),
    /// Retention has removed the place where it should be.
    Removed,
    Missing,
    /// An exchange that ended before had it.
    Taken,
}

/// Why verifying stopped.
#[derive(Debug)]
pub enum Stopped<E> {
    Fault(Fault),
    Sources(E),
}

/// Verifies the records of one partition, one after the other.
pub struct Verifier {
    partition: i32,
    previous: Option<Hash>,
    last_end: i64,
    next_offset: i64,
    checked: u64,
    removed: u64,
    /// Hash and epoch of the last records, oldest first.
    recent: VecDeque<(Hash, Option<i64>)>,
    /// An end that was read and is not matched yet.
    ahead: Option<Ended<Box<str>>>,
}

impl Verifier {
    /// For `partition`, whose first audit record still there is at `first`: when that is 0, the chain begins there.
    pub fn new(partition: i32, first: i64) -> Self {
        let previous = (first == 0).then_some(Hash::GENESIS);
        Self {
            partition,
            previous,
            last_end: -1,
            next_offset: first,
            checked: 0,
            removed: 0,
            recent: VecDeque::new(),
            ahead: None,
        }
    }

    /// How many records were found good.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// For how many of them the log no longer has what they were made from.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Verifies the next record.
    pub fn check<S: Sources>(
        &mut self,
        record: &Audited<'_>,
        sources: &mut S,
    ) -> Result<(), Stopped<S::Error>> {
        self.next_offset = record.offset + 1;
        let entry: Entry = serde_json::from_slice(record.value)
            .map_err(|error| self.fault(record.offset, None, Wrong::Unreadable(error.to_string())))?;
        let fault = |what| self.fault(record.offset, Some(&entry), what);
        let hash = Hash::of_leaf(record.value);
        if record.hash != Some(hash.to_string().as_bytes()) {
            return Err(fault(Wrong::Hash));
        }
        if entry.partition != self.partition {
            return Err(fault(Wrong::Partition(entry.partition)));
        }
        if self.last_end >= entry.terminal.offset && self.is_copy(hash, record.epoch) {
            return Ok(());
        }
        if self.previous.is_some_and(|previous| previous != entry.previous) {
            return Err(fault(Wrong::Chain));
        }
        if entry.terminal.offset <= self.last_end {
            return Err(fault(Wrong::Order(entry.terminal.offset)));
        }
        if entry.terminal.offset < sources.first_event() {
            self.removed += 1;
        } else {
            self.compare(record, &entry, sources)?;
        }
        if self.recent.len() == COPIES {
            self.recent.pop_front();
        }
        self.recent.push_back((hash, record.epoch));
        self.previous = Some(hash);
        self.last_end = entry.terminal.offset;
        self.checked += 1;
        Ok(())
    }

    /// Says whether exchanges have ended that no audit record was checked for; the first is kept for the next call
    /// of [`Verifier::check`]. More records may be on their way.
    pub fn is_behind<S: Sources>(&mut self, sources: &mut S) -> Result<bool, S::Error> {
        if self.ahead.is_none() {
            self.ahead = sources.next_end()?;
        }
        Ok(self.ahead.is_some())
    }

    /// The end: nothing may be left without an audit record.
    pub fn finish<S: Sources>(mut self, sources: &mut S) -> Result<(), Stopped<S::Error>> {
        let Some(first) = self.next(sources)? else { return Ok(()) };
        let mut more = 0;
        while sources.next_end().map_err(Stopped::Sources)?.is_some() {
            more += 1;
        }
        let what = Wrong::Cut { exchange: first.id, offset: first.source.offset, more };
        Err(self.fault(self.next_offset, None, what))
    }

    /// What another replica wrote as well, before or after it lost its place: the same bytes under another epoch. The
    /// same under the same epoch is a record put in.
    fn is_copy(&self, hash: Hash, epoch: Option<i64>) -> bool {
        self.recent.iter().rev().any(|(seen, by)| *seen == hash && *by != epoch)
    }

    fn compare<S: Sources>(
        &mut self,
        record: &Audited<'_>,
        entry: &Entry,
        sources: &mut S,
    ) -> Result<(), Stopped<S::Error>> {
        let end = self.next(sources)?;
        let fault = |what| Err(self.fault(record.offset, Some(entry), what));
        let Some(end) = end else { return fault(Wrong::NoEnd(entry.terminal.offset)) };
        if end.source.offset < entry.terminal.offset {
            return fault(Wrong::Skipped { exchange: end.id, offset: end.source.offset });
        }
        if end.source.offset > entry.terminal.offset {
            return fault(Wrong::NoEnd(entry.terminal.offset));
        }
        let request = match (end.refusal, entry.request) {
            (true, _) => None,
            (false, claimed) => {
                let found =
                    sources.request(end.id, claimed.map(|source| source.offset)).map_err(Stopped::Sources)?;
                match (found, claimed) {
                    (Request::There(source), _) => Some(source),
                    (Request::Removed, claimed) => claimed,
                    (Request::Missing, None) => None,
                    (Request::Missing | Request::Taken, _) => return fault(Wrong::Request),
                }
            }
        };
        if render(&end, request, entry.previous) != record.value {
            return fault(Wrong::Differs(entry.difference(&end, request)));
        }
        Ok(())
    }

    fn next<S: Sources>(&mut self, sources: &mut S) -> Result<Option<Ended<Box<str>>>, Stopped<S::Error>> {
        match self.ahead.take() {
            Some(end) => Ok(Some(end)),
            None => sources.next_end().map_err(Stopped::Sources),
        }
    }

    fn fault<E>(&self, offset: i64, entry: Option<&Entry>, what: Wrong) -> Stopped<E> {
        let exchange = entry.map(|entry| entry.id.clone());
        Stopped::Fault(Fault { partition: self.partition, offset, exchange, what })
    }
}

/// An audit record as it reads.
#[derive(Deserialize)]
struct Entry {
    id: String,
    partition: i32,
    request: Option<Source>,
    terminal: Source,
    principal: String,
    tenant: String,
    agent: String,
    method: String,
    tool: Option<String>,
    state: String,
    reason: String,
    policies: Option<String>,
    previous: Hash,
}

impl Entry {
    /// The first member that is not as `end` and `request` say.
    fn difference(&self, end: &Ended<Box<str>>, request: Option<Source>) -> &'static str {
        let checks = [
            ("id", self.id == end.id.to_string()),
            ("request", self.request == request),
            ("terminal", self.terminal == end.source),
            ("principal", *self.principal == *end.principal),
            ("tenant", *self.tenant == *end.tenant),
            ("agent", *self.agent == *end.agent),
            ("method", *self.method == *end.method),
            ("tool", self.tool.as_deref() == end.tool.as_deref()),
            ("state", self.state == end.state),
            ("reason", self.reason == end.reason),
            ("policies", self.policies.as_deref() == end.policies.as_deref()),
        ];
        checks.into_iter().find(|(_, same)| !same).map_or("time or the form", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests;
