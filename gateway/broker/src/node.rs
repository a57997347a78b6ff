//! What every connection works with.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::Semaphore;

use crate::groups::Groups;
use crate::health::HealthCell;
use crate::options::Limits;
use crate::storage::catalog::Catalog;
use crate::storage::offsets::Offsets;
use crate::storage::queue::Queue;
use crate::sync::lock;

/// The id under which the only broker is known.
pub(crate) const BROKER: BrokerId = BrokerId(1);
/// Bytes that one permit of [`Node::pending`] stands for.
const PERMIT_BYTES: usize = 1024;
/// Producer ids set aside at once, so that most are given out without a write.
const PRODUCER_BLOCK: i64 = 1000;

/// The broker behind its connections.
pub(crate) struct Node {
    pub(crate) limits: Limits,
    pub(crate) default_partitions: i32,
    pub(crate) cluster: StrBytes,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) groups: Groups,
    pub(crate) queue: Arc<Queue>,
    pub(crate) health: Arc<HealthCell>,
    /// Produce bytes that may still be taken in, in units of [`PERMIT_BYTES`].
    pub(crate) pending: Arc<Semaphore>,
    producers: Mutex<ProducerIds>,
}

/// Ids that may be given out: from `next` up to, not with, `below`.
#[derive(Debug, Default)]
struct ProducerIds {
    next: i64,
    below: i64,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

impl Peer {
    /// The address at which this client reached the broker, which is the one to tell it.
    pub(crate) fn host(&self) -> StrBytes {
        StrBytes::from_string(self.local.ip().to_string())
    }

    pub(crate) fn port(&self) -> i32 {
        i32::from(self.local.port())
    }
}

impl Node {
    pub(crate) fn new(
        limits: Limits,
        default_partitions: i32,
        cluster: &str,
        queue: Arc<Queue>,
        catalog: Arc<Catalog>,
        offsets: Arc<Offsets>,
        health: Arc<HealthCell>,
    ) -> Node {
        let permits = limits.pending_bytes / PERMIT_BYTES;
        Node {
            groups: Groups::new(limits.groups, limits.members),
            limits,
            default_partitions,
            cluster: StrBytes::from_string(cluster.to_owned()),
            catalog,
            offsets,
            queue,
            health,
            pending: Arc::new(Semaphore::new(permits)),
            producers: Mutex::default(),
        }
    }

    /// Permits that a produce request of so many bytes needs; never more than there are.
    pub(crate) fn permits(&self, bytes: usize) -> u32 {
        let permits = (bytes / PERMIT_BYTES + 1).min(self.limits.pending_bytes / PERMIT_BYTES);
        u32::try_from(permits).unwrap_or(u32::MAX)
    }

    /// A producer id that was never given out; `None` when the disk refuses to remember that.
    pub(crate) async fn producer_id(&self) -> Option<i64> {
        loop {
            {
                let mut ids = lock(&self.producers);
                if ids.next < ids.below {
                    ids.next += 1;
                    return Some(ids.next - 1);
                }
            }
            let below =
                self.queue.run(|committer| committer.reserve_producers(PRODUCER_BLOCK)).await?.ok()?;
            let mut ids = lock(&self.producers);
            if below > ids.below {
                *ids = ProducerIds { next: below - PRODUCER_BLOCK, below };
            }
        }
    }
}
