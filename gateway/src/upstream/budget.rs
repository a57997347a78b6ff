//! How many further attempts an upstream is given: a share of its first ones, and a few a second in any case.

use std::time::Duration;

use tokio::time::Instant;

/// Further attempts that are always allowed, a second.
const ALWAYS: f64 = 10.0;

/// What quiet times may save up.
const MOST: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Budget {
    share: f64,
    saved: f64,
    since: Instant,
}

impl Budget {
    /// `share`: in per cent.
    pub(super) fn new(share: u32, now: Instant) -> Self {
        Self { share: f64::from(share) / 100.0, saved: ALWAYS, since: now }
    }

    /// A first attempt was made.
    pub(super) fn first(&mut self) {
        self.saved = (self.saved + self.share).min(MOST);
    }

    /// Whether a further attempt may be made now; else how long until the next one may.
    pub(super) fn again(&mut self, now: Instant) -> Result<(), Duration> {
        let past = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        // What time gives is not saved beyond a second of it.
        if self.saved < ALWAYS {
            self.saved = (self.saved + past * ALWAYS).min(ALWAYS);
        }
        if self.saved >= 1.0 {
            self.saved -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.saved) / ALWAYS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_first_attempts_may_be_made_again_and_ten_a_second() {
        let now = Instant::now();
        let mut budget = Budget::new(20, now);
        let spent = |budget: &mut Budget, now| std::iter::from_fn(|| budget.again(now).ok()).count();
        assert_eq!(spent(&mut budget, now), 10);
        for _ in 0..100 {
            budget.first();
        }
        let given = spent(&mut budget, now);
        assert!((19..=20).contains(&given), "{given}");
        let wait = budget.again(now).unwrap_err();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        assert_eq!(spent(&mut budget, now + Duration::from_secs(60)), 10);
    }
}
