//! The topics. Their names are the configured prefix, a dot, and the word below.

/// What is kept on the log, by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Admitted requests, and wishes to cancel them.
    Requests,
    /// All that became of them; same partition number as the request.
    Events,
    /// Owner, agent and state of each task (compacted).
    Tasks,
    /// Results of the stream module.
    Aggregates,
    /// One hash-chained record for each exchange.
    Audit,
    /// What could not be delivered.
    DeadLetters,
}

impl Topic {
    pub const ALL: [Self; 6] =
        [Self::Requests, Self::Events, Self::Tasks, Self::Aggregates, Self::Audit, Self::DeadLetters];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Events => "events",
            Self::Tasks => "tasks",
            Self::Aggregates => "aggregates",
            Self::Audit => "audit",
            Self::DeadLetters => "deadletters",
        }
    }

    /// How many partitions it is created with, where exchanges are spread over `exchanges`.
    pub(super) fn partitions(self, exchanges: i32) -> i32 {
        match self {
            // Small records that every replica reads all of; each partition more is a request more to write them.
            Self::Tasks => 1,
            _ => exchanges,
        }
    }

    /// `cleanup.policy` and `retention.ms` of a topic that the gateway creates.
    pub(super) fn retention(self) -> (&'static str, &'static str) {
        const WEEK: &str = "604800000";
        const QUARTER: &str = "7776000000";
        match self {
            Self::Requests | Self::Events => ("delete", WEEK),
            Self::Tasks => ("compact", "-1"),
            Self::Aggregates => ("compact,delete", QUARTER),
            Self::Audit | Self::DeadLetters => ("delete", QUARTER),
        }
    }

    /// `segment.ms` of a topic that the gateway creates. The newest segment is never compacted, and these are small.
    pub(super) fn segment(self) -> &'static str {
        const HOUR: &str = "3600000";
        const WEEK: &str = "604800000";
        match self {
            Self::Tasks | Self::Aggregates => HOUR,
            Self::Requests | Self::Events | Self::Audit | Self::DeadLetters => WEEK,
        }
    }
}
