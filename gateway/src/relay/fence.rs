//! What a replica wrote after it lost a partition counts for nothing.
//!
//! No group mechanism of Kafka keeps a frozen owner from writing once it wakes up. So a new owner of a partition first
//! appends an epoch record to its events; **the epoch is the offset of that record**, and all that the owner writes
//! there carries it. Every reader passes over what carries an older epoch than it has seen.

use std::collections::HashMap;

use rdkafka::message::Message;

use super::record::{DecodeError, Kind, View, is_epoch};

/// What one reader of the events has seen of the epochs. Starts anywhere in a partition: what carries an epoch names it
/// as well as the epoch record does.
#[derive(Clone, Debug, Default)]
pub struct Fence(HashMap<i32, i64>);

impl Fence {
    /// Reads a record; none when it counts for nothing: an epoch record, or one of an owner that was replaced.
    pub fn read<'m, M: Message>(&mut self, message: &'m M) -> Option<Result<View<'m>, DecodeError>> {
        if is_epoch(message) {
            self.raise(message.partition(), message.offset());
            return None;
        }
        match View::decode(message) {
            Ok(view) => self.admits(&view).then_some(Ok(view)),
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether `view` counts. To be asked for each record of the events, in the order of the log; of the requests all
    /// count.
    pub fn admits(&mut self, view: &View<'_>) -> bool {
        let fields = &view.fields;
        let owned = matches!(fields.kind, Kind::Started | Kind::Retry | Kind::Event | Kind::Terminal);
        !owned || fields.epoch.is_none_or(|epoch| self.raise(view.partition, epoch))
    }

    /// Whether no newer epoch than `epoch` is known.
    fn raise(&mut self, partition: i32, epoch: i64) -> bool {
        let known = self.0.entry(partition).or_insert(epoch);
        *known = epoch.max(*known);
        *known == epoch
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::super::record::Draft;
    use super::*;
    use crate::message::RelayId;

    fn message(partition: i32, offset: i64, headers: OwnedHeaders) -> OwnedMessage {
        OwnedMessage::new(None, None, "t".into(), Timestamp::NotAvailable, partition, offset, Some(headers))
    }

    fn epoch(partition: i32, offset: i64) -> OwnedMessage {
        let draft = Draft::epoch(RelayId::generate(), SystemTime::UNIX_EPOCH);
        message(partition, offset, draft.headers)
    }

    fn started(partition: i32, offset: i64, epoch: Option<i64>) -> OwnedMessage {
        let id = RelayId::generate().to_string();
        let mut headers = OwnedHeaders::new();
        let pairs = [
            ("kamf_kind", "started"),
            ("ce_id", &id),
            ("ce_time", "2026-01-01T00:00:00.000000Z"),
            ("kamf_protocol", "a2a"),
            ("kamf_version", "1.0"),
        ];
        for (key, value) in pairs {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        if let Some(epoch) = epoch {
            headers = headers.insert(Header { key: "kamf_epoch", value: Some(&epoch.to_string()) });
        }
        message(partition, offset, headers)
    }

    #[test]
    fn what_an_older_owner_writes_counts_for_nothing() {
        let mut fence = Fence::default();
        assert!(fence.read(&epoch(0, 10)).is_none());
        assert!(fence.read(&started(0, 11, Some(10))).is_some());
        assert!(fence.read(&epoch(0, 12)).is_none());
        assert!(fence.read(&started(0, 13, Some(10))).is_none(), "the owner before");
        assert!(fence.read(&started(0, 14, Some(12))).is_some());
        assert!(fence.read(&started(0, 15, None)).is_some(), "no owner's record");
        assert!(fence.read(&started(1, 13, Some(10))).is_some(), "another partition");
    }

    #[test]
    fn a_reader_that_starts_after_the_epoch_record_learns_it_from_others() {
        let mut fence = Fence::default();
        assert!(fence.read(&started(0, 20, Some(12))).is_some());
        assert!(fence.read(&started(0, 21, Some(10))).is_none());
    }

    #[test]
    fn half_an_epoch_record_fences_nobody() {
        let mut fence = Fence::default();
        assert!(fence.read(&epoch(0, 10)).is_none());
        let half = OwnedHeaders::new().insert(Header { key: "kamf_kind", value: Some("epoch") });
        assert!(matches!(fence.read(&message(0, 11, half)), Some(Err(_))));
        assert!(fence.read(&started(0, 12, Some(10))).is_some(), "still the owner's");
    }

    #[test]
    fn a_record_of_others_is_an_error() {
        assert!(matches!(Fence::default().read(&message(0, 1, OwnedHeaders::new())), Some(Err(_))));
    }
}
