//! The story of a request: every exchange of its trace, as the log has them.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use serde::Serialize;

use super::lineage;
use super::meter::Meter;
use super::reader::{Extent, Partition, Polled, Reader, written};
use super::row::{Micros, micros};
use crate::config::Prices;
use crate::message::{RelayId, parse_traceparent};
use crate::relay::record::{Kind, View};
use crate::relay::{Fence, Log, Topic};

/// How long before an exchange the first of its trace may have begun. Reading starts there.
const BEFORE: Micros = 600_000_000;

/// How long after an exchange the last record of its trace may have been written.
const AFTER: Micros = 3_600_000_000;

/// Records of one trace beyond this number are left out.
const MAX_RECORDS: usize = 10_000;

/// How long a search may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The trace that this exchange belongs to.
    Exchange(RelayId),
    Trace([u8; 16]),
}

impl Subject {
    /// A relay id with hyphens, or a trace id of 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('-') {
            return RelayId::parse(text).map(Self::Exchange);
        }
        let traceparent = format!("00-{text}-0000000000000001-00");
        parse_traceparent(&traceparent).map(|(trace, ..)| Self::Trace(trace))
    }
}

/// All that the log has of one trace.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    /// 32 hex digits.
    pub trace: String,
    /// In the order of their first records.
    pub exchanges: Vec<Exchange>,
    /// False when the search ended early: there may be more.
    pub complete: bool,
    pub currency: String,
}

/// One exchange.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exchange {
    pub id: String,
    /// The gateway's span, and the caller's.
    pub span: String,
    pub parent_span: Option<String>,
    /// Id of the exchange that led to this one.
    pub parent: Option<String>,
    pub principal: String,
    pub tenant: String,
    pub agent: String,
    pub protocol: String,
    pub version: String,
    pub method: String,
    pub tool: Option<String>,
    pub mode: String,
    pub policies: Option<String>,
    pub state: Option<String>,
    pub reason: Option<String>,
    pub duration_us: Option<u64>,
    pub request_bytes: Option<u64>,
    pub answer_bytes: Option<u64>,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Millionths of the currency.
    pub cost: u64,
    pub estimated: bool,
    pub records: Vec<Record>,
}

/// One record of an exchange.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub kind: &'static str,
    pub topic: &'static str,
    pub partition: i32,
    pub offset: i64,
    /// Event time, RFC 3339.
    pub time: String,
    pub sequence: u32,
    pub bytes: usize,
}

/// Why there is no story.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    #[error("no exchange or trace {0} is on the log; it may have been removed by retention")]
    Unknown(String),
    #[error("{0} was not found within {seconds} s; the log holds much of that time", seconds = PATIENCE.as_secs())]
    Slow(String),
    #[error("the log cannot be read: {0}")]
    Log(#[from] KafkaError),
}

/// Searches the log for the trace of `subject`. Blocks: reads both topics around the time that the id tells.
pub fn find(log: &Log, prices: &Prices, subject: Subject) -> Result<Story, StoryError> {
    let reader = Reader::new(log, "story")?;
    let deadline = Instant::now() + PATIENCE;
    let mut complete = true;
    let trace = match subject {
        Subject::Trace(trace) => Some(trace),
        Subject::Exchange(id) => {
            let mut trace = None;
            let range = created(id).saturating_sub(60_000_000)..created(id).saturating_add(AFTER);
            complete = scan(&reader, log, range, deadline, |_, view, _| {
                if view.fields.id == id {
                    trace = parse_traceparent(view.fields.traceparent).map(|(trace, ..)| trace);
                }
                trace.is_none()
            })?;
            trace
        }
    };
    let unknown = |complete| {
        let name = match subject {
            Subject::Exchange(id) => id.to_string(),
            Subject::Trace(trace) => hex(&trace),
        };
        if complete { StoryError::Unknown(name) } else { StoryError::Slow(name) }
    };
    let trace = trace.ok_or_else(|| unknown(complete))?;
    let around = match subject {
        Subject::Exchange(id) => created(id).saturating_sub(BEFORE)..created(id).saturating_add(AFTER),
        Subject::Trace(_) => 0..Micros::MAX,
    };
    let mut teller = Teller { exchanges: Vec::new(), meter: Meter::new(prices.clone()), records: 0 };
    let complete = scan(&reader, log, around, deadline, |topic, view, written| {
        let same = parse_traceparent(view.fields.traceparent).is_some_and(|(found, ..)| found == trace);
        !same || teller.take(topic, view, written)
    })?;
    if teller.exchanges.is_empty() {
        return Err(unknown(complete));
    }
    let complete = complete && teller.records < MAX_RECORDS;
    let mut exchanges: Vec<Exchange> = teller.exchanges.into_iter().map(|(_, exchange)| exchange).collect();
    exchanges.iter_mut().for_each(|exchange| {
        exchange.records.sort_by(|a, b| (&a.time, a.sequence).cmp(&(&b.time, b.sequence)));
    });
    exchanges.sort_by(|a, b| first_time(a).cmp(first_time(b)));
    lineage::settle(&mut exchanges);
    Ok(Story { trace: hex(&trace), exchanges, complete, currency: prices.currency.clone() })
}

struct Teller {
    exchanges: Vec<(RelayId, Exchange)>,
    meter: Meter,
    records: usize,
}

impl Teller {
    /// Adds a record of the trace; false when there are too many.
    fn take(&mut self, topic: Topic, view: &View<'_>, written: Micros) -> bool {
        self.records += 1;
        let id = view.fields.id;
        let at = self.exchanges.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
            self.exchanges.push((id, describe(view)));
            self.exchanges.len() - 1
        });
        let exchange = &mut self.exchanges[at].1;
        exchange.records.push(Record {
            kind: view.fields.kind.as_str(),
            topic: topic.as_str(),
            partition: view.partition,
            offset: view.offset,
            time: humantime::format_rfc3339_micros(view.fields.time).to_string(),
            sequence: view.fields.sequence,
            bytes: view.body.len(),
        });
        if let Some(observation) = self.meter.take(view, written) {
            exchange.state = Some(observation.labels.state.to_owned());
            exchange.reason = Some(observation.labels.reason.to_owned());
            exchange.duration_us = Some(observation.duration_us);
            exchange.request_bytes = Some(observation.request_bytes);
            exchange.answer_bytes = Some(observation.answer_bytes);
            exchange.input_tokens = observation.usage.input_tokens;
            exchange.output_tokens = observation.usage.output_tokens;
            exchange.cost = observation.usage.cost;
            exchange.estimated = observation.usage.estimated;
        }
        if view.fields.kind == Kind::Request || exchange.policies.is_none() {
            exchange.policies = view.fields.policies.map(str::to_owned);
        }
        self.records < MAX_RECORDS
    }
}

fn describe(view: &View<'_>) -> Exchange {
    let fields = &view.fields;
    Exchange {
        id: fields.id.to_string(),
        span: fields.traceparent.get(36..52).unwrap_or_default().to_owned(),
        parent_span: fields.parent_span.map(str::to_owned),
        principal: fields.principal.to_owned(),
        tenant: fields.tenant.to_owned(),
        agent: fields.agent.to_owned(),
        protocol: fields.dialect.protocol().as_str().to_owned(),
        version: fields.dialect.version().to_owned(),
        method: fields.method.to_owned(),
        tool: fields.tool.map(str::to_owned),
        mode: fields.mode.as_str().to_owned(),
        policies: fields.policies.map(str::to_owned),
        ..Exchange::default()
    }
}

/// Gives every record written in `range` to `take` until that says no more. Gives whether all were read.
fn scan(
    reader: &Reader,
    log: &Log,
    range: std::ops::Range<Micros>,
    deadline: Instant,
    mut take: impl FnMut(Topic, &View<'_>, Micros) -> bool,
) -> Result<bool, StoryError> {
    let mut places = Vec::new();
    let mut ends = Vec::new();
    for partition in 0..log.partitions() {
        for topic in [Topic::Requests, Topic::Events] {
            let Extent { low, high } = reader.extent(topic, partition)?;
            let start = match range.start {
                ..=0 => low,
                time => reader.offset_at(topic, partition, time)?.max(low),
            };
            if start < high {
                places.push((topic, partition, start));
                ends.push(high);
            }
        }
    }
    let mut queues = reader.assign(&places)?;
    let mut done = vec![false; queues.len()];
    let mut fence = Fence::default();
    let mut take = |topic, view: &View<'_>, written| !fence.admits(view) || take(topic, view, written);
    while done.contains(&false) {
        if Instant::now() > deadline {
            return Ok(false);
        }
        let mut nothing = true;
        for (n, queue) in queues.iter_mut().enumerate().filter(|(n, _)| !done[*n]).collect::<Vec<_>>() {
            let (read, wants_more) = batch(queue, ends[n], range.end, places[n].0, &mut take)?;
            if !wants_more {
                return Ok(true);
            }
            nothing &= read == 0;
            done[n] = queue.next >= ends[n] || queue.at_end;
        }
        reader.serve(Duration::from_millis(if nothing { 10 } else { 0 }))?;
    }
    Ok(true)
}

fn batch(
    queue: &mut Partition,
    end: i64,
    until: Micros,
    topic: Topic,
    take: &mut impl FnMut(Topic, &View<'_>, Micros) -> bool,
) -> Result<(usize, bool), StoryError> {
    let mut read = 0;
    while read < 1_000 && queue.next < end {
        let Polled::Record(message) = queue.poll(Duration::ZERO)? else { break };
        read += 1;
        let written = written(&message);
        let more = match View::decode(&message) {
            Ok(view) if written <= until => take(topic, &view, written),
            _ => true,
        };
        if !more {
            return Ok((read, false));
        }
        if written > until {
            queue.at_end = true;
            break;
        }
    }
    Ok((read, true))
}

/// When an id was made: a UUID of version 7 begins with the milliseconds since 1970 (RFC 9562, section 5.7).
fn created(id: RelayId) -> Micros {
    let millis = id.as_bytes()[..6].iter().fold(0, |sum, byte| (sum << 8) | i64::from(*byte));
    millis.saturating_mul(1_000)
}

fn first_time(exchange: &Exchange) -> &str {
    exchange.records.first().map_or("", |record| record.time.as_str())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Event time of the first record, for those who have a story at hand.
impl Exchange {
    pub fn started(&self) -> Option<Micros> {
        let time = humantime::parse_rfc3339(&self.records.first()?.time).ok()?;
        Some(micros(time))
    }
}
