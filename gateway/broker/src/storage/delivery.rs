//! What a round has to tell those who wait for it, handed to the connections' thread at once.
//!
//! Waking a task of another thread costs a system call each time, and that thread may wake and sleep again between
//! two of them. So the committing thread leaves all answers of a round here and wakes one task, which passes them on
//! within its own thread, where waking is cheap.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use super::partition::Arrival;
use super::queue::Outcome;
use crate::sync::lock;

/// One thing to tell.
pub(crate) enum Delivery {
    /// The outcomes of a produce request; its share of the waiting bytes is given back with them.
    Produced {
        reply: oneshot::Sender<Vec<Outcome>>,
        outcomes: Vec<Outcome>,
        permit: Option<OwnedSemaphorePermit>,
    },
    /// Whether offsets were committed.
    Committed(oneshot::Sender<bool>, bool),
    /// A fetch that waits can have records.
    Arrived(Arc<Arrival>),
}

impl Delivery {
    fn deliver(self) {
        match self {
            // Whoever asked may be gone.
            Delivery::Produced { reply, outcomes, permit } => {
                drop(permit);
                let _ = reply.send(outcomes);
            }
            Delivery::Committed(reply, done) => drop(reply.send(done)),
            Delivery::Arrived(arrival) => arrival.wake(),
        }
    }
}

/// The way from the committing thread to the connections' thread.
#[derive(Default)]
pub(crate) struct Deliveries {
    ready: Mutex<Vec<Delivery>>,
    some: Notify,
}

impl Deliveries {
    /// Leaves `deliveries` to be passed on.
    pub(crate) fn leave(&self, deliveries: &mut Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        lock(&self.ready).append(deliveries);
        self.some.notify_one();
    }

    /// Passes on what is there.
    pub(crate) fn pass_on(&self) {
        let ready = std::mem::take(&mut *lock(&self.ready));
        ready.into_iter().for_each(Delivery::deliver);
    }

    /// Passes on whatever comes, for ever.
    pub(crate) async fn run(&self) {
        loop {
            self.some.notified().await;
            self.pass_on();
        }
    }
}
