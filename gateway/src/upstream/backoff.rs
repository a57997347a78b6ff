//! Pauses between attempts.

use std::time::Duration;

/// Pauses that double from `first` to `max`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    /// The pause to make now.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.max);
        pause
    }

    /// All went well: the next pause is the first one again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}
