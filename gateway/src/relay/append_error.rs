//! Why an append was not acknowledged: one table of what each code of librdkafka's producer means for the record, for
//! the producer, and for the client that waits.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::outcome::Reason;

/// A verdict this soon is about the first attempt: librdkafka waits 100 ms, give or take a fifth, before a second.
pub(super) const FIRST_ATTEMPT: Duration = Duration::from_millis(75);

/// Why an append was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The queue is full and stayed so.
    #[error("the queue to the log is full")]
    Full,
    /// No clear word from the log in time: the record may or may not be there, now or later.
    #[error("the log did not acknowledge in time")]
    Unconfirmed,
    /// The record is on the log, but the acknowledgement that said where was lost.
    #[error("the log has the record, but did not say where")]
    Unplaced,
    /// The log, or the client of it, refused the record: it is not there.
    #[error("the log refused the record: {0}")]
    Refused(KafkaError),
}

impl AppendError {
    /// What `error` says about a record that was not handed over, or whose `age` is this since it was.
    pub(super) fn of(error: &KafkaError, age: Duration) -> Self {
        let row = row(error);
        match row.written {
            _ if error.rdkafka_error_code() == Some(Code::QueueFull) => Self::Full,
            Written::Always => Self::Unplaced,
            Written::Never => Self::Refused(error.clone()),
            Written::NotNow if age < FIRST_ATTEMPT => Self::Refused(error.clone()),
            Written::NotNow | Written::Perhaps => Self::Unconfirmed,
        }
    }

    /// Whether the record is larger than the log takes, so that trying again is no use.
    pub fn is_too_large(&self) -> bool {
        let Self::Refused(error) = self else { return false };
        error.rdkafka_error_code() == Some(Code::MessageSizeTooLarge)
    }

    /// No error where the record is on the log.
    pub(super) fn unless_written(self) -> Result<(), Self> {
        match self {
            Self::Unplaced => Ok(()),
            error => Err(error),
        }
    }

    /// What the client of a request is told whose record this became of. Only what is certainly not on the log is
    /// said not to be done.
    pub fn told(&self) -> (Reason, &'static str) {
        match self {
            Self::Full => (
                Reason::LogUnavailable,
                "the queue to the log is full; the request was not accepted and will not be carried out",
            ),
            Self::Unconfirmed | Self::Unplaced => (
                Reason::LogUnconfirmed,
                "the log did not confirm the request in time; it may still be carried out",
            ),
            Self::Refused(_) if self.is_too_large() => (
                Reason::BodyTooLarge,
                "the request is larger than the log takes (its `max.message.bytes`); it was not accepted",
            ),
            Self::Refused(_) => (
                Reason::LogUnavailable,
                "the log refused the request; it was not accepted and will not be carried out",
            ),
        }
    }
}

/// Whether a record that failed is on the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// An attempt has written it.
    Always,
    /// No attempt can have written it.
    Never,
    /// The last attempt did not; one before it, whose answer was lost, may have.
    NotNow,
    /// Nobody knows.
    Perhaps,
}

/// What becomes of the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Producer {
    /// It goes on; where the code allows it, librdkafka has tried again until the record's time was up.
    Stays,
    /// It fails every further record and is replaced.
    Replaced,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) written: Written,
    pub(super) producer: Producer,
}

const fn stays(written: Written) -> Row {
    Row { written, producer: Producer::Stays }
}

const fn replaced(written: Written) -> Row {
    Row { written, producer: Producer::Replaced }
}

/// The table. A code that it does not name leaves everything open.
pub(super) fn row(error: &KafkaError) -> Row {
    let Some(code) = error.rdkafka_error_code() else { return stays(Written::Never) };
    match code {
        // Refused by the client itself, or for what the record is: no attempt was any better.
        Code::QueueFull
        | Code::MessageSizeTooLarge
        | Code::InvalidArgument
        | Code::UnknownPartition
        | Code::UnknownTopic
        | Code::InvalidTopic
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::InvalidRequiredAcks
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType => stays(Written::Never),

        // Tried again by librdkafka until the record's time is up; seen here only when its retries are limited.
        Code::NotEnoughReplicas
        | Code::KafkaStorageError
        | Code::NotLeaderForPartition
        | Code::LeaderNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownTopicOrPartition
        | Code::TimedOutQueue
        | Code::PolicyViolation
        | Code::ThrottlingQuotaExceeded => stays(Written::NotNow),

        // librdkafka marks the topic as refused and asks for nothing more until it next looks at the metadata, minutes
        // later: a new producer finds out at once whether it is still so.
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => replaced(Written::NotNow),

        // The answer is missing, or says that the record is there with too few copies.
        Code::MessageTimedOut
        | Code::RequestTimedOut
        | Code::OperationTimedOut
        | Code::BrokerTransportFailure
        | Code::NetworkException
        | Code::NotEnoughReplicasAfterAppend
        // librdkafka has numbered the producer anew and goes on; which of its earlier attempts counted is lost.
        | Code::InvalidProducerEpoch
        // Given up with the producer: one that waited for another attempt may have been written by the first.
        | Code::PurgeQueue
        | Code::PurgeInflight => stays(Written::Perhaps),

        // Only its first acknowledgement, which was lost, said where. librdkafka reports it as delivered at no offset.
        Code::DuplicateSequenceNumber => stays(Written::Always),

        // Producer and log disagree about what was written: librdkafka takes nothing more.
        Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerIdMapping
        | Code::Fatal
        | Code::Fenced
        | Code::ProducerFenced
        | Code::GaplessGuarantee => replaced(Written::Perhaps),

        _ => stays(Written::Perhaps),
    }
}
