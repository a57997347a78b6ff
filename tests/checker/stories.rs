//! The records of the two topics, gathered by relay id, without those that count for nothing.
//!
//! An `epoch` record at offset E of a partition of the events ends the time of every owner before it: what a record
//! behind it says in the name of an epoch below E counts for nothing. A record without `kamf_epoch` always counts.
//! Requests always count: their offsets belong to another topic, and whoever owns the partition answers for them.

use std::collections::{BTreeMap, HashMap};

use super::log::Record;

/// Everything about one relay id.
#[derive(Default)]
pub(crate) struct Story<'a> {
    pub(crate) requests: Vec<&'a Record>,
    pub(crate) started: Vec<&'a Record>,
    pub(crate) events: Vec<&'a Record>,
    pub(crate) terminals: Vec<&'a Record>,
    pub(crate) refusals: Vec<&'a Record>,
}

impl Story<'_> {
    /// Whether the log accepted it before anything was done.
    pub(crate) fn is_accepted(&self) -> bool {
        self.requests.iter().any(|request| request.get("kamf_mode") != "direct")
    }

    /// Whether it was written down after the fact.
    pub(crate) fn is_direct(&self) -> bool {
        let first = self.requests.first().or(self.terminals.first()).or(self.events.first());
        first.is_some_and(|record| record.get("kamf_mode") == "direct")
    }

    /// `kamf_reason` of its end.
    pub(crate) fn reason(&self) -> &str {
        self.terminals.first().map_or("", |terminal| terminal.get("kamf_reason"))
    }
}

/// All exchanges.
pub(crate) struct Stories<'a> {
    pub(crate) by_id: BTreeMap<&'a str, Story<'a>>,
    pub(crate) by_trace: HashMap<&'a str, &'a str>,
    /// Records that count for nothing, being of an older epoch.
    pub(crate) fenced: usize,
    /// Records that are no records of the gateway.
    pub(crate) foreign: usize,
}

impl<'a> Stories<'a> {
    /// `events` in the order of the log within each partition.
    pub(crate) fn of(requests: &'a [Record], events: &'a [Record]) -> Self {
        let mut stories = Self { by_id: BTreeMap::new(), by_trace: HashMap::new(), fenced: 0, foreign: 0 };
        for record in requests {
            match record.kind() {
                "request" if is_ours(record) => {
                    stories.by_trace.insert(record.get("traceparent"), record.id());
                    stories.by_id.entry(record.id()).or_default().requests.push(record);
                }
                "cancel" => {}
                _ => stories.foreign += 1,
            }
        }
        let mut epochs: HashMap<i32, i64> = HashMap::new();
        for record in events {
            if !is_ours(record) {
                stories.foreign += 1;
                continue;
            }
            if record.kind() == "epoch" {
                let epoch = epochs.entry(record.partition).or_insert(record.offset);
                *epoch = record.offset.max(*epoch);
                continue;
            }
            let now = epochs.get(&record.partition).copied().unwrap_or(-1);
            if record.number("kamf_epoch").is_some_and(|epoch| epoch < now) {
                stories.fenced += 1;
                continue;
            }
            stories.take(record);
        }
        stories
    }

    fn take(&mut self, record: &'a Record) {
        let story = self.by_id.entry(record.id()).or_default();
        match record.kind() {
            "started" => story.started.push(record),
            "event" => story.events.push(record),
            "terminal" => story.terminals.push(record),
            "refusal" => story.refusals.push(record),
            _ => self.foreign += 1,
        }
    }

    /// Exchanges that the log accepted before anything was done.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = (&'a str, &Story<'a>)> {
        self.by_id.iter().filter(|(_, story)| story.is_accepted()).map(|(id, story)| (*id, story))
    }
}

/// Whether it can be a record of the gateway: an id and a time are in all of them.
fn is_ours(record: &Record) -> bool {
    uuid::Uuid::try_parse(record.id()).is_ok() && humantime::parse_rfc3339(record.get("ce_time")).is_ok()
}
