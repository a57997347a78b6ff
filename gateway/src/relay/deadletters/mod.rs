//! `kamf.deadletters`: requests that could not be delivered, and records in the requests that cannot be read.
//!
//! A letter is the record as it stood in `kamf.requests`, headers and body, with `kamf_dead_*` headers that say where it stood
//! and why it is here. Its key is its [`Place`], so one that is written twice (after a crash) is one letter. That it was
//! redriven is noted by a second record of the same key with `kamf_dead_redriven`, the new relay id, and no value.

mod read;
mod redrive;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::admitted::Admitted;
use super::log::Log;
use super::metrics::Metrics;
use super::record::{Draft, Fields, Kind};
use super::topic::Topic;
use crate::message::RelayId;

pub use read::{Letter, ReadError, letters};
pub use redrive::{RedriveError, Redriver};

/// How long the log may take for a letter. What it concerns ends in any case.
const DELIVERY: &str = "10000";

/// Letters that may wait for the log.
const QUEUE_RECORDS: &str = "10000";

/// How long a letter waits while the queue is full.
const QUEUE: Duration = Duration::from_secs(5);

/// Where a record stands in the requests, written `PARTITION-OFFSET`: the id of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

impl Place {
    pub fn parse(text: &str) -> Option<Self> {
        let (partition, offset) = text.split_once('-')?;
        let place = Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? };
        (place.partition >= 0 && place.offset >= 0).then_some(place)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

/// Why a record cannot be read: the reason of its letter.
pub(super) const UNREADABLE: &str = "unreadable";

/// Writes letters; seldom, so with a producer of its own.
pub struct DeadLetters {
    producer: FutureProducer,
    log: Log,
    metrics: Arc<Metrics>,
}

impl DeadLetters {
    /// # Errors
    /// The producer cannot be set up.
    pub fn new(log: &Log, metrics: Arc<Metrics>) -> Result<Self, KafkaError> {
        let mut config = log.client_config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("message.timeout.ms", DELIVERY)
            .set("queue.buffering.max.messages", QUEUE_RECORDS);
        Ok(Self { producer: config.create()?, log: log.clone(), metrics })
    }

    /// Writes the letter of a request that ended for `reason` after `attempts` calls.
    pub(super) async fn bury(
        &self,
        place: Place,
        admitted: &Admitted,
        body: &[u8],
        reason: &str,
        attempts: u32,
    ) {
        let headers = Draft::new(&admitted.fields(Kind::Request, admitted.at)).headers;
        self.write(place, headers, body, reason, attempts).await;
    }

    /// Writes the letter of a record with `headers` that nobody can read.
    pub(super) async fn bury_unreadable(&self, place: Place, headers: Option<OwnedHeaders>, body: &[u8]) {
        self.write(place, headers.unwrap_or_default(), body, UNREADABLE, 0).await;
    }

    async fn write(&self, place: Place, headers: OwnedHeaders, body: &[u8], reason: &str, attempts: u32) {
        let topic = self.log.topic(Topic::Requests);
        let (partition, offset) = (place.partition.to_string(), place.offset.to_string());
        let (attempts, time) = (attempts.to_string(), now());
        let headers = [
            ("kamf_dead_reason", reason),
            ("kamf_dead_attempts", &attempts),
            ("kamf_dead_time", &time),
            ("kamf_dead_topic", topic),
            ("kamf_dead_partition", &partition),
            ("kamf_dead_offset", &offset),
        ]
        .into_iter()
        .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        match self.append(place, headers, body).await {
            Ok(()) => self.metrics.dead_letters.inc(),
            Err(error) => {
                self.metrics.dead_letters_lost.inc();
                tracing::error!(%place, reason, %error, "a dead letter is not on the log; the record itself is, in the requests");
            }
        }
    }

    /// Notes that the letter at `place` was, or is about to be, redriven as `id`, whose record stands at or after `from`
    /// in the requests.
    async fn mark(&self, place: Place, id: RelayId, from: Place) -> Result<(), KafkaError> {
        let (id, time) = (id.to_string(), now());
        let from = from.to_string();
        let headers = [("kamf_dead_redriven", &id), ("kamf_dead_time", &time), ("kamf_dead_from", &from)]
            .into_iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            });
        self.append(place, headers, b"").await
    }

    /// Appends a request that was among the letters.
    async fn send_again(&self, partition: i32, fields: &Fields<'_>, body: &[u8]) -> Result<(), KafkaError> {
        let id = fields.id.to_string();
        let record = FutureRecord::to(self.log.topic(Topic::Requests))
            .partition(partition)
            .key(fields.key.unwrap_or(&id))
            .payload(body)
            .headers(Draft::new(fields).headers);
        self.producer.send(record, QUEUE).await.map(drop).map_err(|(error, _)| error)
    }

    async fn append(&self, place: Place, headers: OwnedHeaders, body: &[u8]) -> Result<(), KafkaError> {
        let key = place.to_string();
        let record =
            FutureRecord::to(self.log.topic(Topic::DeadLetters)).key(&key).payload(body).headers(headers);
        self.producer.send(record, QUEUE).await.map(drop).map_err(|(error, _)| error)
    }
}

fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

/// The value of header `name` as text; empty without one.
fn header<'m>(headers: Option<&'m impl Headers>, name: &str) -> &'m str {
    let value = headers
        .and_then(|headers| headers.iter().find(|header| header.key == name).and_then(|header| header.value));
    value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let place = Place { partition: 3, offset: 1_234 };
        assert_eq!(Place::parse(&place.to_string()), Some(place));
        for text in ["", "3", "-1-2", "3--4", "a-1", "1-b", "1-2-3"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
