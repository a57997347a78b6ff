//! Finding out from the log alone where to go on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde::Deserialize;

use super::audit::{Chain, REQUESTS_HEADER};
use super::dimensions::Dimensions;
use super::position::{self, Position};
use super::reader::{Extent, Polled, Reader};
use super::row::{Size, micros};
use super::window::Windows;
use crate::relay::Topic;

/// How long the log may take to give what it says it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the end of a partition must stay where it is to be believed, when the log said before that there is more.
const AT_END: Duration = Duration::from_secs(2);

/// How many copies of earlier records a replica may append although another has taken its place: what it had on its way.
/// The end of the chain lies no further back.
const COPIES: i64 = 512;

/// How far back the position record is looked for, step by step; then the whole partition.
const STEPS: [i64; 3] = [1, 1_000, 100_000];

/// Why reading cannot go on where it stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    #[error("the log cannot be read: {0}")]
    Log(#[from] KafkaError),
    #[error("partition {partition} of `{topic}` did not give its record {offset} in time")]
    Silent { topic: &'static str, partition: i32, offset: i64 },
    #[error(
        "the last audit record of partition {partition} cannot be read, so the chain cannot be continued; \
         `kamf audit verify` says more"
    )]
    Unreadable { partition: i32 },
    #[error(
        "partition {partition} of the events ends at {high}, but results for records up to {known} exist: the topic \
         has been replaced or has lost records; remove the topics of results too, or choose another `log.prefix`"
    )]
    Behind { partition: i32, high: i64, known: i64 },
}

/// Where each partition's audit chain ends, and where the audit topic itself does.
pub(super) struct Chains {
    pub(super) chains: Vec<Chain>,
    pub(super) ends: BTreeMap<i32, i64>,
}

/// Finds the end of each partition's chain.
pub(super) fn chains(reader: &Reader, partitions: i32) -> Result<Chains, RestoreError> {
    let mut found =
        Chains { chains: vec![Chain::START; partitions.unsigned_abs() as usize], ends: BTreeMap::new() };
    for partition in 0..partitions {
        let extent = reader.extent(Topic::Audit, partition)?;
        found.ends.insert(partition, extent.high);
        if extent.low == extent.high {
            continue;
        }
        let mut tail = Vec::new();
        let from = (extent.high - COPIES).max(extent.low);
        scan(reader, Topic::Audit, partition, Extent { low: from, ..extent }, |message| {
            tail.push(Chain::resume(message.payload().unwrap_or_default(), requests_header(message)));
        })?;
        if tail.last().is_none_or(Option::is_none) {
            return Err(RestoreError::Unreadable { partition });
        }
        let head = tail.into_iter().flatten().max_by_key(|chain| chain.audited);
        found.chains[partition.unsigned_abs() as usize] =
            head.ok_or(RestoreError::Unreadable { partition })?;
    }
    Ok(found)
}

/// Reads the last position of the windows; the default when there is none.
pub(super) fn position(reader: &Reader) -> Result<Position, RestoreError> {
    let extent = reader.extent(Topic::Aggregates, 0)?;
    for back in STEPS.into_iter().chain([i64::MAX]) {
        let low = extent.high.saturating_sub(back).max(extent.low);
        let mut last = None;
        scan(reader, Topic::Aggregates, 0, Extent { low, ..extent }, |message| {
            if message.key() == Some(position::KEY) {
                last = serde_json::from_slice(message.payload().unwrap_or_default()).ok().or(last.take());
            }
        })?;
        if let Some(position) = last {
            return Ok(position);
        }
        if low == extent.low {
            break;
        }
    }
    Ok(Position::default())
}

/// Where each partition of the aggregates ends.
pub(super) fn row_ends(reader: &Reader, partitions: i32) -> Result<BTreeMap<i32, i64>, RestoreError> {
    let end = |p| Ok((p, reader.extent(Topic::Aggregates, p)?.high));
    (0..partitions).map(end).collect()
}

/// Makes room in `windows` for every row that was written for a window still held.
pub(super) fn written_rows(
    reader: &Reader,
    ends: &BTreeMap<i32, i64>,
    position: &Position,
    windows: &mut Windows,
) -> Result<(), RestoreError> {
    for (&partition, &high) in ends {
        let low = reader.extent(Topic::Aggregates, partition)?.low;
        let known = position.rows.get(&partition).copied().unwrap_or(low);
        let held = reader.offset_at(Topic::Aggregates, partition, position.floor)?;
        let low = held.min(known).max(low);
        scan(reader, Topic::Aggregates, partition, Extent { low, high }, |message| {
            let Ok(row) = serde_json::from_slice::<Written>(message.payload().unwrap_or_default()) else {
                return;
            };
            if let Ok(start) = humantime::parse_rfc3339(&row.start)
                && let Some(size) = Size::parse(&row.window)
                && !row.correction
            {
                let torn = message.offset() >= known;
                windows.expect(size, micros(start), row.dimensions.labels(), torn);
            }
        })?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Written {
    window: String,
    start: String,
    correction: bool,
    #[serde(flatten)]
    dimensions: Dimensions,
}

/// Gives every record of `extent` to `take`.
pub(super) fn scan(
    reader: &Reader,
    topic: Topic,
    partition: i32,
    extent: Extent,
    mut take: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), RestoreError> {
    if extent.low >= extent.high {
        return Ok(());
    }
    let mut queues = reader.assign(&[(topic, partition, extent.low)])?;
    let mut silent_since = Instant::now();
    while let Some(queue) = queues.first_mut().filter(|queue| queue.next < extent.high) {
        // Retention may have removed the rest; but an end seen a moment ago may also be that of before a late append.
        if queue.at_end && silent_since.elapsed() > AT_END {
            break;
        }
        if let Polled::Record(message) = queue.poll(Duration::from_millis(50))? {
            take(&message);
            silent_since = Instant::now();
        } else if silent_since.elapsed() > PATIENCE {
            return Err(RestoreError::Silent { topic: topic.as_str(), partition, offset: queue.next });
        }
        reader.serve(Duration::ZERO)?;
    }
    reader.rest()?;
    Ok(())
}

fn requests_header<'m>(message: &'m BorrowedMessage<'_>) -> Option<&'m str> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == REQUESTS_HEADER)?;
    std::str::from_utf8(header.value?).ok()
}
