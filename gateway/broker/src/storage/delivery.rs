//! What a round has to tell the tasks that wait for it, handed to the connections' thread at once.
//!
//! Waking a task of another thread costs a system call each time, and that thread may wake and sleep again between
//! two of them. So the committing thread leaves all wake-ups of a round here and wakes one task, which passes them on
//! within its own thread, where waking is cheap. Answers to producers do not come this way: their lines send at once.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use super::partition::Arrival;
use crate::sync::lock;

/// One thing to tell.
pub(crate) enum Delivery {
    /// Whether offsets were committed.
    Committed(oneshot::Sender<bool>, bool),
    /// A fetch that waits can have records.
    Arrived(Arc<Arrival>),
}

impl Delivery {
    fn deliver(self) {
        match self {
            // Whoever asked may be gone.
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
