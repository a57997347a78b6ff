//! Reading the dead letters: all of the topic, the newest ones kept.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::{Place, header};
use crate::message::RelayId;
use crate::relay::log::Log;
use crate::relay::record::View;
use crate::relay::replies::consumer;
use crate::relay::topic::Topic;

/// Letters kept in mind while reading; the oldest go first.
const MOST: usize = 10_000;

/// How long one search may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the log may take to say how far a partition goes.
const ASK: Duration = Duration::from_secs(5);

/// Why the letters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the dead letters cannot be read: {0}")]
    Log(#[from] KafkaError),
    #[error("reading the log took over {} s", PATIENCE.as_secs())]
    Slow,
}

/// One letter.
#[derive(Clone, Debug)]
pub struct Letter {
    pub place: Place,
    /// The record, as it stood in the requests, and the headers of the letter.
    pub record: OwnedMessage,
    /// Its relay id when it was redriven, and where that was to come to lie.
    pub redriven: Option<(RelayId, Place)>,
}

impl Letter {
    /// What people are shown of it; `whole`: with the body.
    pub fn as_json(&self, whole: bool) -> Value {
        let text = |name| header(self.record.headers(), name);
        let body = self.record.payload().unwrap_or_default();
        let read = View::decode(&self.record).ok();
        let mut value = json!({
            "id": self.place.to_string(),
            "reason": text("kamf_dead_reason"),
            "attempts": text("kamf_dead_attempts").parse::<u32>().unwrap_or_default(),
            "time": text("kamf_dead_time"),
            "topic": text("kamf_dead_topic"),
            "partition": self.place.partition,
            "offset": self.place.offset,
            "relay_id": read.as_ref().map(|view| view.fields.id.to_string()),
            "principal": read.as_ref().map(|view| view.fields.principal),
            "agent": read.as_ref().map(|view| view.fields.agent),
            "method": read.as_ref().map(|view| view.fields.method),
            "tool": read.as_ref().and_then(|view| view.fields.tool),
            "bytes": body.len(),
            "redriven": self.redriven.map(|(id, _)| id.to_string()),
        });
        if whole {
            value["body"] = match serde_json::from_slice(body) {
                Ok(body) => body,
                Err(_) => String::from_utf8_lossy(body).into_owned().into(),
            };
        }
        value
    }
}

/// All letters, or the one at `only`, in the order of their places. Blocks.
///
/// # Errors
/// See [`ReadError`].
pub fn letters(log: &Log, only: Option<Place>) -> Result<Vec<Letter>, ReadError> {
    let mut letters: BTreeMap<Place, Letter> = BTreeMap::new();
    let mut marks: HashMap<Place, (RelayId, Place)> = HashMap::new();
    let mut order = VecDeque::new();
    let reader: BaseConsumer = consumer(log, "deadletters").create()?;
    let partitions = reader.fetch_metadata(Some(log.topic(Topic::DeadLetters)), ASK)?;
    let partitions = partitions.topics().first().map_or(0, |topic| topic.partitions().len());
    let from: Vec<(i32, i64)> =
        (0..i32::try_from(partitions).unwrap_or(i32::MAX)).map(|partition| (partition, 0)).collect();
    scan(&reader, log, Topic::DeadLetters, &from, |message| {
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
        let Some(place) = key.and_then(Place::parse).filter(|place| only.is_none_or(|only| only == *place))
        else {
            return;
        };
        let redriven = RelayId::parse(header(message.headers(), "kamf_dead_redriven"));
        if let Some((id, from)) = redriven.zip(Place::parse(header(message.headers(), "kamf_dead_from"))) {
            marks.entry(place).or_insert((id, from));
        } else if let Entry::Vacant(entry) = letters.entry(place) {
            entry.insert(Letter { place, record: message.detach(), redriven: None });
            order.push_back(place);
            if order.len() > MOST
                && let Some(oldest) = order.pop_front()
            {
                letters.remove(&oldest);
            }
        }
    })?;
    let marked = |mut letter: Letter| {
        letter.redriven = marks.get(&letter.place).copied();
        letter
    };
    Ok(letters.into_values().map(marked).collect())
}

/// Whether the requests have a record of `id` in the partition of `from`, at or after it. Blocks.
pub(super) fn has_request(log: &Log, id: RelayId, from: Place) -> Result<bool, ReadError> {
    let reader: BaseConsumer = consumer(log, "deadletters").create()?;
    let (id, mut found) = (id.to_string(), false);
    scan(&reader, log, Topic::Requests, &[(from.partition, from.offset)], |message| {
        found |= header(message.headers(), "ce_id") == id;
    })?;
    Ok(found)
}

/// Hands over each record that `topic` has now, from the given offsets of the given partitions on.
fn scan(
    reader: &BaseConsumer,
    log: &Log,
    topic: Topic,
    from: &[(i32, i64)],
    mut saw: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), ReadError> {
    let mut ends = HashMap::new();
    let mut places = TopicPartitionList::new();
    for (partition, offset) in from {
        let (low, high) = log.extent(reader, topic, *partition, ASK)?;
        if low.max(*offset) < high {
            places.add_partition_offset(log.topic(topic), *partition, Offset::Offset(low.max(*offset)))?;
            ends.insert(*partition, high);
        }
    }
    reader.assign(&places)?;
    let began = Instant::now();
    while !ends.is_empty() {
        if began.elapsed() > PATIENCE {
            return Err(ReadError::Slow);
        }
        let Some(message) = reader.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        let Some(end) = ends.get(&message.partition()).copied() else { continue };
        if message.offset() < end {
            saw(&message);
        }
        if message.offset() + 1 >= end {
            ends.remove(&message.partition());
        }
    }
    Ok(())
}
