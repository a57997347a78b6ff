//! What the caller decides about a broker: where it keeps its files, where it listens, how much it takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where a [`crate::Broker`] lives and what it may use.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder that holds everything; made when missing. One process at a time may use it.
    pub directory: PathBuf,
    /// Address to listen on; port 0 lets the kernel pick. Loopback, unless [`Options::allow_remote`].
    pub listen: SocketAddr,
    /// Permits an address other machines can reach. The protocol here has neither encryption nor
    /// authentication, so this is never on by itself.
    pub allow_remote: bool,
    /// Partitions of a topic that is created without a number of its own; 1 to [`Limits::partitions`].
    pub default_partitions: i32,
    /// Bounds on what clients can make the broker hold.
    pub limits: Limits,
}

impl Options {
    /// A broker in `directory` on a loopback port of the kernel's choice, with default limits.
    pub fn new(directory: impl Into<PathBuf>) -> Options {
        Options {
            directory: directory.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            default_partitions: 8,
            limits: Limits::default(),
        }
    }
}

/// Bounds on memory, disk handles and time. Every one answers with an error of the protocol, or a closed connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; further ones are closed at once. Default 1,024: a client uses two or three. Each is a file
    /// handle and at least 16 KiB.
    pub connections: usize,
    /// Bytes of one produce request. Default 16 MiB; other requests are held to 2 MiB.
    pub request_bytes: usize,
    /// Produce bytes taken in but not yet synced, over all connections; reading pauses above. Default 64 MiB.
    pub pending_bytes: usize,
    /// Bytes of one record batch, whatever `max.message.bytes` of its topic says. Default 8 MiB.
    pub batch_bytes: usize,
    /// Bytes of records in one fetch answer, unless a single batch is larger. Default 8 MiB.
    pub fetch_bytes: usize,
    /// Recent records kept in memory for consumers that keep up, over all partitions. Default 8 MiB.
    pub tail_bytes: usize,
    /// Partitions in all, and so topics, each of which has one at least. Each holds at least one open file and some
    /// 16 KiB of recent records, and a start looks at each. Default 1,000.
    pub partitions: usize,
    /// Consumer groups with members, and as many with committed offsets, which are kept in memory. Default 1,000.
    pub groups: usize,
    /// Members of one group, whose leader is told what all of them said. Default 200.
    pub members: usize,
    /// Idempotent producers remembered for each partition, some 130 bytes each; the longest silent one is forgotten
    /// first, and told so when it writes again, upon which clients begin anew. Default 1,000.
    pub producers: usize,
    /// An idempotent producer that has not written to a partition for this long is forgotten there. Default a day, as in
    /// Kafka (`producer.id.expiration.ms`); clients give a record up after minutes.
    pub producer_expiry: Duration,
    /// A connection without any request for this long is closed. Default 10 minutes, as in Kafka.
    pub idle: Duration,
    /// How often old segments are looked for, and what is worth compacting. Default 10 s.
    pub retention_check: Duration,
    /// Committed offsets of a group without members are forgotten after this time. Default 7 days, as in Kafka.
    pub offsets_retention: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 1024,
            request_bytes: 16 << 20,
            pending_bytes: 64 << 20,
            batch_bytes: 8 << 20,
            fetch_bytes: 8 << 20,
            tail_bytes: 8 << 20,
            partitions: 1000,
            groups: 1000,
            members: 200,
            producers: 1000,
            producer_expiry: Duration::from_secs(24 * 3600),
            idle: Duration::from_secs(600),
            retention_check: Duration::from_secs(10),
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
        }
    }
}
