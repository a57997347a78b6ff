//! What the events say about requests that were under way when their owner stopped.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::delivery::History;
use super::fence::Fence;
use super::log::Log;
use super::record::{Kind, View};
use super::replies::consumer;
use super::topic::Topic;
use super::tracker::Inherited;
use crate::message::RelayId;

/// How long the log may take for one answer.
const ASK: Duration = Duration::from_secs(5);

/// How long a whole partition may take before its owner gives up and tries again.
const WHOLE: Duration = Duration::from_secs(120);

/// What is known about a partition whose requests are taken over.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// Requests that may have a history.
    pub(super) inherited: Inherited,
    pub(super) histories: HashMap<RelayId, History>,
    /// Where reading the requests goes on.
    pub(super) next: i64,
}

/// Reads the events of `partition` that may concern a request that is not yet committed for `group`.
/// Blocks; bounded by the time that the oldest open request was open. `found` sees each event and end of them.
pub(super) fn recover(
    log: &Log,
    group: &str,
    partition: i32,
    found: impl Fn(&View<'_>),
) -> Result<Recovered, KafkaError> {
    let consumer: BaseConsumer = consumer(log, group).create()?;
    let requests = log.topic(Topic::Requests);
    let events = log.topic(Topic::Events);
    let (first, until) = log.extent(&consumer, Topic::Requests, partition, ASK)?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition(requests, partition);
    let committed = consumer.committed_offsets(asked, ASK)?;
    let element = committed.find_partition(requests, partition);
    let offset = match element.as_ref().map(rdkafka::topic_partition_list::TopicPartitionListElem::offset) {
        Some(Offset::Offset(offset)) => offset,
        _ => first,
    };
    if offset >= until {
        return Ok(Recovered { next: until, ..Recovered::default() });
    }
    let (low, high) = log.extent(&consumer, Topic::Events, partition, ASK)?;
    let from = element.and_then(|element| element.metadata().parse().ok()).unwrap_or(low).clamp(low, high);
    let histories = read(&consumer, events, partition, from..high, found)?;
    Ok(Recovered { inherited: Inherited { until, events: from }, histories, next: offset })
}

fn read(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    Range { start: from, end: until }: Range<i64>,
    found: impl Fn(&View<'_>),
) -> Result<HashMap<RelayId, History>, KafkaError> {
    let mut histories: HashMap<RelayId, History> = HashMap::new();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(from))?;
    consumer.assign(&list)?;
    let started = Instant::now();
    let mut fence = Fence::default();
    let mut next = from;
    while next < until && started.elapsed() < WHOLE {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        next = message.offset() + 1;
        let Some(Ok(view)) = fence.read(&message) else { continue };
        if matches!(view.fields.kind, Kind::Event | Kind::Terminal) {
            found(&view);
        }
        histories.entry(view.fields.id).or_default().saw(&view.fields);
    }
    if next < until {
        return Err(KafkaError::ClientCreation(format!(
            "reading {topic} of partition {partition} took over {} s",
            WHOLE.as_secs()
        )));
    }
    Ok(histories)
}
