//! The embedded log: a single-node broker that speaks Kafka's protocol, in the process of its owner.
//!
//! ```no_run
//! # fn main() -> Result<(), kamf_broker::StartError> {
//! let broker = kamf_broker::Broker::start(kamf_broker::Options::new("data/log"))?;
//! println!("bootstrap.servers={}", broker.address());
//! broker.shutdown();
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - An acknowledged record is on the disk: synced, not only written, whatever `acks` says (but 0, which asks for no
//!   acknowledgement). Readers see synced records only.
//! - A batch that an idempotent producer sends twice is written once, also across restarts and crashes.
//! - A sync that fails ends the process. A full disk does not: producers get a retriable error, readers go on,
//!   [`Broker::health`] says so, and it passes by itself.
//! - No client can make it panic or take memory beyond [`Limits`].
//!
//! # The way of a record
//!
//! A connection (`net`) cuts frames, has their shape checked (`wire`) and hands the request to its API (`api`).
//! Produce checks the batch, header and checksum, and queues it. The committing thread (`storage`) takes all that is
//! queued, gives each batch its offset, writes it to its partition's segment and all of them to the write-ahead file,
//! syncs that one file, and only then answers the producers and wakes the fetches that wait. Many requests share one
//! sync, whatever number of partitions they touch. The bytes of a batch are never taken apart: base offset and leader
//! epoch are set, which its checksum does not cover.
//!
//! Four threads serve: connections, committing, checkpoints, compaction; up to four more read files for consumers that
//! lag.
//!
//! # What is spoken
//!
//! | API | versions | | API | versions |
//! | --- | --- | --- | --- | --- |
//! | Produce | 3-9 | | DescribeGroups | 0-5 |
//! | Fetch | 4-11 | | ListGroups | 0-4 |
//! | ListOffsets | 1-7 | | DeleteGroups | 0-2 |
//! | Metadata | 0-9 | | InitProducerId | 0-4 |
//! | OffsetCommit | 2-8 | | CreateTopics | 2-5 |
//! | OffsetFetch | 1-8 | | DeleteTopics | 1-5 |
//! | FindCoordinator | 0-4 | | CreatePartitions | 0-3 |
//! | JoinGroup | 0-7 | | DeleteRecords | 0-2 |
//! | SyncGroup | 0-5 | | DescribeConfigs | 1-4 |
//! | Heartbeat | 0-4 | | AlterConfigs | 0-2 |
//! | LeaveGroup | 0-4 | | IncrementalAlterConfigs | 0-1 |
//! | ApiVersions | 0-3 | | OffsetDelete | 0 |
//!
//! # What it is not
//!
//! One node, without replication, encryption, authentication or access control; loopback unless told otherwise. No
//! transactions: a `transactional.id` is refused with an error that clients report at once. No groups of the newer
//! kind (KIP-848). Topics are not made by asking for them. Offsets by time are exact in uncompressed batches; a compressed
//! batch is not opened: its first offset stands for all in it, and compaction keeps it whole. `segment.bytes` is looked
//! at between rounds, so a segment may be larger by one.
//!
//! # The directory
//!
//! | | |
//! | --- | --- |
//! | `lock`, `format`, `clean` | held while in use; version of the layout; there after a stop in order |
//! | `wal.0`, `wal.1` | write-ahead files, 16 MiB each, used in turn |
//! | `topics/`, `offsets/` | journals: topics and their settings, committed offsets |
//! | `partitions/00000007/` | segments of one partition (`….log`) with their indexes (`….index`, made anew when missing), and how far it is compacted (`compacted`) |

// Each module uses only those above it; the blank lines keep the formatter from sorting them.
mod sync;

mod error;

mod health;

mod options;

mod storage;

mod groups;

mod wire;

mod node;

mod api;

mod net;

mod broker;

pub use broker::Broker;
pub use error::StartError;
pub use health::Health;
pub use options::{Limits, Options};
