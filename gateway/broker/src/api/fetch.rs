//! Fetch: records to consumers, waiting for them when there are none.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use tokio::time::Instant;

use crate::node::Node;
use crate::storage::partition::{Arrival, Available, Ends, Partition, read_segments};
use crate::wire::answer::{Answer, Fetched, FetchedPartition};

/// Longest wait, whatever the client asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Fetch sessions are kept from this version on; this broker opens none.
const SESSIONS_FROM: i16 = 7;

/// What one pass over the partitions gave.
struct Pass {
    fetched: Fetched,
    bytes: usize,
    /// Something that the client should hear of at once.
    failed: bool,
}

pub(super) async fn handle(node: Arc<Node>, request: FetchRequest, version: i16) -> Answer {
    if version >= SESSIONS_FROM && request.session_id != 0 {
        return Answer::Fetched(Fetched {
            error: ResponseError::FetchSessionIdNotFound.code(),
            topics: Vec::new(),
        });
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let until = Instant::now() + wait;
    let enough = size(request.min_bytes);
    loop {
        let pass = collect(&node, &request).await;
        if pass.failed || pass.bytes >= enough || Instant::now() >= until {
            return Answer::Fetched(pass.fetched);
        }
        let arrival = Arc::new(Arrival::default());
        if wait_on_all(&node, &pass.fetched, &arrival) {
            // The deadline ends the wait as an arrival does: what is there then goes back.
            let _ = tokio::time::timeout_at(until, arrival.wait()).await;
        }
        arrival.finish();
    }
}

/// Has `arrival` woken by any partition; `false` when one of them has more already.
fn wait_on_all(node: &Node, fetched: &Fetched, arrival: &Arc<Arrival>) -> bool {
    fetched.topics.iter().all(|(name, partitions)| {
        let Some(topic) = node.catalog.topic(name) else {
            return false;
        };
        partitions.iter().all(|part| {
            topic
                .partition(part.index)
                .is_some_and(|partition| partition.wait_beyond(part.ends.high_watermark, arrival))
        })
    })
}

async fn collect(node: &Node, request: &FetchRequest) -> Pass {
    let mut pass = Pass { fetched: Fetched::default(), bytes: 0, failed: false };
    let most = size(request.max_bytes).min(node.limits.fetch_bytes);
    pass.fetched.topics.reserve(request.topics.len());
    for asked in &request.topics {
        let topic = node.catalog.topic(&asked.topic);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for part in &asked.partitions {
            let partition = topic.as_ref().and_then(|topic| topic.partition(part.partition));
            let read = match partition {
                None => Err(ResponseError::UnknownTopicOrPartition),
                Some(partition) => {
                    let left = most.saturating_sub(pass.bytes).min(size(part.partition_max_bytes));
                    read(&partition, part.fetch_offset, left, pass.bytes == 0).await
                }
            };
            partitions.push(take_in(&mut pass, part, read));
        }
        pass.fetched.topics.push((asked.topic.clone(), partitions));
    }
    pass
}

type Batches = Vec<bytes::Bytes>;

/// Batches from `offset` on, with the ends as of the same moment.
async fn read(
    partition: &Partition,
    offset: i64,
    most: usize,
    at_least_one: bool,
) -> Result<(Ends, Batches), ResponseError> {
    let (ends, available) = partition.available(offset, most, at_least_one);
    match available {
        Available::OutOfRange => Err(ResponseError::OffsetOutOfRange),
        Available::Batches(batches) => Ok((ends, batches)),
        Available::Files(segments) => {
            let read =
                tokio::task::spawn_blocking(move || read_segments(&segments, offset, most, at_least_one))
                    .await;
            match read {
                Ok(Ok(batches)) => Ok((ends, batches)),
                Ok(Err(error)) => {
                    tracing::error!(%error, "cannot read a segment of the log");
                    Err(ResponseError::KafkaStorageError)
                }
                Err(_) => Err(ResponseError::UnknownServerError),
            }
        }
    }
}

fn take_in(
    pass: &mut Pass,
    part: &FetchPartition,
    read: Result<(Ends, Batches), ResponseError>,
) -> FetchedPartition {
    match read {
        Ok((ends, batches)) => {
            pass.bytes += batches.iter().map(bytes::Bytes::len).sum::<usize>();
            FetchedPartition { index: part.partition, error: 0, ends, batches }
        }
        Err(error) => {
            pass.failed = true;
            let ends = Ends { log_start: -1, high_watermark: -1 };
            FetchedPartition { index: part.partition, error: error.code(), ends, batches: Vec::new() }
        }
    }
}

/// A size as the protocol has it; less than none is none.
fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}
