//! The range of the log that is replayed: requests, and what was answered to each.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::Args;
use super::error::ReplayError;
use crate::aggregate::reader::{Polled, Reader};
use crate::aggregate::row::micros;
use crate::cli::CliError;
use crate::cli::select::is_outcome;
use crate::message::{Operation, Protocol, RelayId};
use crate::outcome::Reason;
use crate::relay::record::{Kind, View};
use crate::relay::{Admitted, Log, Topic};

/// Requests and answers together that are kept in memory.
const MOST_BYTES: usize = 512 * 1024 * 1024;

/// How long the log may keep silent about records that it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far the clocks of two replicas may be apart.
const CLOCKS: Duration = Duration::from_secs(10);

/// One recorded exchange.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) admitted: Admitted,
    pub(super) body: Bytes,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Messages of its stream, then its answer.
    pub(super) answer: Vec<Bytes>,
    pub(super) end: Option<Reason>,
}

impl Recorded {
    pub(super) fn protocol(&self) -> Protocol {
        self.admitted.dialect.protocol()
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Range {
    /// In the order of their admission.
    pub(super) exchanges: Vec<Recorded>,
    /// Left out, by reason.
    pub(super) open: usize,
    pub(super) without_answer: usize,
    pub(super) over_limit: usize,
}

/// Finds what `args` select. Blocks.
pub(super) fn gather(log: &Log, args: &Args) -> Result<Range, CliError> {
    let reader = Reader::new(log, "replay")?;
    let mut found = requests(&reader, log, args)?;
    answers(&reader, log, &mut found)?;
    let mut range = Range::default();
    let mut exchanges: Vec<Recorded> = found.into_values().collect();
    exchanges.sort_by_key(|recorded| (recorded.admitted.at, recorded.partition, recorded.offset));
    for recorded in exchanges {
        match recorded.end {
            None => range.open += 1,
            Some(reason) if !is_wanted(reason, args) => range.without_answer += 1,
            Some(_) if range.exchanges.len() >= args.limit => range.over_limit += 1,
            Some(_) => range.exchanges.push(recorded),
        }
    }
    Ok(range)
}

/// Unless an outcome was asked for: what the upstream answered, well or not, as there is nothing else to compare with.
fn is_wanted(reason: Reason, args: &Args) -> bool {
    match &args.outcome {
        Some(want) => is_outcome(want, reason),
        None => matches!(reason, Reason::Completed | Reason::UpstreamError),
    }
}

/// Whether a request stands alone: others name tasks of the agent that they were sent to.
fn stands_alone(operation: Operation) -> bool {
    matches!(operation, Operation::Send | Operation::Stream | Operation::CallTool)
}

fn requests(reader: &Reader, log: &Log, args: &Args) -> Result<HashMap<RelayId, Recorded>, CliError> {
    let mut places = Vec::new();
    let mut ends = Vec::new();
    for partition in 0..log.partitions() {
        let extent = reader.extent(Topic::Requests, partition)?;
        let Some(span) = args.span(partition) else { continue };
        let by_time = match args.select.since {
            Some(since) => reader.offset_at(Topic::Requests, partition, micros(since))?,
            None => extent.low,
        };
        let first = by_time.max(span.from).max(extent.low);
        let end = extent.high.min(span.to);
        if first < end {
            places.push((Topic::Requests, partition, first));
            ends.push(end);
        }
    }
    let (mut found, mut bytes) = (HashMap::new(), 0);
    read(reader, &places, &ends, |view| {
        let fields = &view.fields;
        if fields.kind != Kind::Request || !args.select.wants(view) {
            return Ok(true);
        }
        let Some(admitted) = Admitted::from_record(view) else { return Ok(true) };
        if args.select.method.is_none() && !stands_alone(admitted.operation) {
            return Ok(true);
        }
        bytes += view.body.len();
        within(bytes)?;
        let (body, partition, offset) = (Bytes::copy_from_slice(view.body), view.partition, view.offset);
        let recorded = Recorded { admitted, body, partition, offset, answer: Vec::new(), end: None };
        found.entry(fields.id).or_insert(recorded);
        Ok(true)
    })?;
    Ok(found)
}

/// Reads what became of `found`, each partition from its first request on and until all of its have ended.
fn answers(reader: &Reader, log: &Log, found: &mut HashMap<RelayId, Recorded>) -> Result<(), CliError> {
    let mut open: HashMap<i32, (usize, SystemTime)> = HashMap::new();
    let mut bytes = 0;
    for recorded in found.values() {
        let (count, first) = open.entry(recorded.partition).or_insert((0, recorded.admitted.at));
        *count += 1;
        *first = recorded.admitted.at.min(*first);
        bytes += recorded.body.len();
    }
    let (mut places, mut ends) = (Vec::new(), Vec::new());
    for partition in 0..log.partitions() {
        let Some((_, first)) = open.get(&partition) else { continue };
        let from = reader.offset_at(Topic::Events, partition, micros(*first - CLOCKS))?;
        places.push((Topic::Events, partition, from));
        ends.push(reader.extent(Topic::Events, partition)?.high);
    }
    read(reader, &places, &ends, |view| {
        let Some(recorded) = found.get_mut(&view.fields.id) else { return Ok(true) };
        if recorded.end.is_some() || !matches!(view.fields.kind, Kind::Event | Kind::Terminal) {
            return Ok(true);
        }
        bytes += view.body.len();
        within(bytes)?;
        if view.fields.lines {
            let lines = view.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            recorded.answer.extend(lines.map(Bytes::copy_from_slice));
        } else if !view.body.is_empty() {
            recorded.answer.push(Bytes::copy_from_slice(view.body));
        }
        let Some(end) = view.fields.end else { return Ok(true) };
        recorded.end = Some(end.reason);
        let left = open.get_mut(&view.partition).map_or(0, |(count, _)| {
            *count = count.saturating_sub(1);
            *count
        });
        Ok(left > 0)
    })
}

fn within(bytes: usize) -> Result<(), CliError> {
    if bytes > MOST_BYTES { Err(ReplayError::TooMuch { mib: MOST_BYTES >> 20 }.into()) } else { Ok(()) }
}

/// Gives every record of `places` up to `ends` to `take`, partition by partition in order; a partition of which `take`
/// wants no more is left.
fn read(
    reader: &Reader,
    places: &[(Topic, i32, i64)],
    ends: &[i64],
    mut take: impl FnMut(&View<'_>) -> Result<bool, CliError>,
) -> Result<(), CliError> {
    let queues = reader.assign(places)?;
    for (mut queue, (&(topic, partition, _), &end)) in queues.into_iter().zip(places.iter().zip(ends)) {
        let mut heard = Instant::now();
        while queue.next < end {
            reader.serve(Duration::ZERO)?;
            let Polled::Record(message) = queue.poll(Duration::from_millis(20))? else {
                if heard.elapsed() > PATIENCE {
                    return Err(CliError::Silent {
                        topic: topic.as_str(),
                        partition,
                        seconds: PATIENCE.as_secs(),
                    });
                }
                continue;
            };
            heard = Instant::now();
            if let Ok(view) = View::decode(&message)
                && !take(&view)?
            {
                break;
            }
        }
    }
    Ok(reader.rest()?)
}
