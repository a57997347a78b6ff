//! What an acknowledgement of the log stands for: how many brokers have a record by then, and on what.

use std::fmt;

/// What keeps an acknowledged record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The embedded log syncs a record to its disk before it acknowledges it.
    Disk,
    /// Brokers of a cluster have it, most of them in memory for a while.
    Brokers {
        /// Copies of the partition that has fewest.
        copies: usize,
        /// Of which so many have the record when it is acknowledged (`min.insync.replicas`); none when the cluster
        /// does not say.
        needed: Option<usize>,
    },
}

impl Promise {
    /// Whether the loss of one disk, or of one broker, loses no acknowledged record.
    pub fn survives_a_loss(self) -> bool {
        matches!(self, Self::Brokers { copies, needed: Some(needed) } if needed >= 2 && copies >= needed)
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Disk => f.write_str(
                "an acknowledged record is synced to one disk, that of the embedded log; it is lost with that disk",
            ),
            Self::Brokers { copies, needed: None } => write!(
                f,
                "of {copies} copies of a record the cluster does not say how many there are when it is acknowledged: permit \
                 DescribeConfigs on the topics, and see that min.insync.replicas is 2 or more"
            ),
            Self::Brokers { copies, needed: Some(needed) } if needed > copies => write!(
                f,
                "no record can be acknowledged: min.insync.replicas is {needed}, and a partition has {copies} copies"
            ),
            Self::Brokers { copies, needed: Some(needed) } if needed < 2 => write!(
                f,
                "an acknowledged record may be in the memory of one broker only ({copies} copies, min.insync.replicas \
                 {needed}); to outlive the loss of a broker, topics need 3 copies and min.insync.replicas 2"
            ),
            Self::Brokers { copies, needed: Some(needed) } if needed == copies => write!(
                f,
                "an acknowledged record is with {needed} of {copies} brokers; while one of them is away nothing is \
                 acknowledged, as there is no copy to spare"
            ),
            Self::Brokers { copies, needed: Some(needed) } => {
                write!(f, "an acknowledged record is with at least {needed} of {copies} brokers")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_said_as_it_is() {
        let brokers = |copies, needed| Promise::Brokers { copies, needed };
        for (promise, survives, told) in [
            (Promise::Disk, false, "synced to one disk"),
            (brokers(3, Some(2)), true, "at least 2 of 3 brokers"),
            (brokers(2, Some(2)), true, "no copy to spare"),
            (brokers(3, Some(1)), false, "the memory of one broker only"),
            (brokers(1, Some(1)), false, "the memory of one broker only"),
            (brokers(1, Some(2)), false, "no record can be acknowledged"),
            (brokers(3, None), false, "does not say"),
        ] {
            assert_eq!(promise.survives_a_loss(), survives, "{promise:?}");
            assert!(promise.to_string().contains(told), "{promise:?}: {promise}");
        }
    }
}
