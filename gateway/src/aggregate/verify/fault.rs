//! What can be wrong with an audit trail.

use std::fmt;

use crate::message::RelayId;

/// The first bad record of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub partition: i32,
    /// Offset in `kamf.audit` of the bad record, or where one is missing.
    pub offset: i64,
    /// Relay id of the exchange, when it can be read.
    pub exchange: Option<String>,
    pub what: Wrong,
}

/// What is wrong with an audit record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("it is no audit record of this version: {0}")]
    Unreadable(String),
    #[error("it belongs to partition {0}")]
    Partition(i32),
    #[error("its own hash is not that of its bytes: the record was changed")]
    Hash,
    #[error(
        "`previous` is not the hash of the record before it: a record was changed, dropped, moved or put in"
    )]
    Chain,
    #[error("it audits offset {0} of the events a second time or out of order")]
    Order(i64),
    #[error(
        "exchange {exchange}, ended at offset {offset} of the events, has no audit record before this one"
    )]
    Skipped { exchange: RelayId, offset: i64 },
    #[error("no exchange ended at offset {0} of the events")]
    NoEnd(i64),
    #[error("its request is not in the requests, or an exchange before has it")]
    Request,
    #[error("`{0}` is not what the log says")]
    Differs(&'static str),
    #[error(
        "exchange {exchange}, ended at offset {offset} of the events, and {more} after it have no audit record: \
         the end of the audit was cut, or the gateway does not write it"
    )]
    Cut { exchange: RelayId, offset: i64, more: u64 },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}, offset {}", self.partition, self.offset)?;
        if let Some(exchange) = &self.exchange {
            write!(f, " (exchange {exchange})")?;
        }
        write!(f, ": {}", self.what)
    }
}
