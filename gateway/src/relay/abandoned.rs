//! Requests whose client was told 503 because the log kept silent. Should the record turn up after all, it is
//! ended without a call: the client has been invited to try again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::message::RelayId;

/// More than the queue to the log can hold, so that nothing that may still turn up is forgotten.
const MOST: usize = 65_536;

/// The ids, oldest first out.
#[derive(Debug, Default)]
pub struct Abandoned(Mutex<(HashSet<RelayId>, VecDeque<RelayId>)>);

impl Abandoned {
    pub fn add(&self, id: RelayId) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ids, order) = &mut *guard;
        if ids.insert(id) {
            order.push_back(id);
        }
        if order.len() > MOST
            && let Some(oldest) = order.pop_front()
        {
            ids.remove(&oldest);
        }
    }

    /// Whether `id` was abandoned; it is forgotten with the question.
    pub fn take(&self, id: RelayId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&id)
    }
}
