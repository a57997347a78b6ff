//! When an upstream is left alone: a state machine without clock, told what its calls heard.
//!
//! Closed, calls go. After so many in a row that did not reach it, or when too large a share failed, it opens: nobody calls.
//! After a pause one call tries; it closes when that one is heard, else the pause doubles.

use std::time::Duration;

use tokio::time::Instant;

use crate::config;

/// The share of failed calls is taken over this and the one before.
const WINDOW: Duration = Duration::from_secs(5);

/// Fewer calls than this say nothing by their share.
const SHARE_OF: u32 = 20;

/// What a call heard of its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It took the call.
    Well,
    /// The call did not reach it.
    Unreachable,
    /// It took the call and failed.
    Broken,
    /// The caller gave up before anything was known.
    Nothing,
}

/// Whether a call may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    /// It is the one that tries.
    Try,
    /// Not before this.
    Wait(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    Trying { until: Instant },
}

#[derive(Debug)]
pub(super) struct Breaker {
    settings: config::Breaker,
    longest: Duration,
    state: State,
    pause: Duration,
    in_a_row: u32,
    /// Good and failed calls: of the window at hand, and of the one before.
    counts: [(u32, u32); 2],
    window: Instant,
}

impl Breaker {
    pub(super) fn new(settings: config::Breaker, longest: Duration, now: Instant) -> Self {
        Self {
            settings,
            longest: longest.max(settings.pause),
            state: State::Closed,
            pause: settings.pause,
            in_a_row: 0,
            counts: [(0, 0); 2],
            window: now,
        }
    }

    /// Whether one more call may go now. `Try` is given to one caller, who then has to tell what it [`heard`](Self::heard).
    pub(super) fn ask(&mut self, now: Instant) -> Verdict {
        match self.state {
            State::Closed => Verdict::Go,
            State::Open { until } | State::Trying { until } if now < until => Verdict::Wait(until),
            // A call that tries may take long: after as long as the pause another one may.
            State::Open { .. } | State::Trying { .. } => {
                self.state = State::Trying { until: now + self.pause };
                Verdict::Try
            }
        }
    }

    /// Until when nobody may call; none when somebody may now.
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Open { until } | State::Trying { until } if now < until => Some(until),
            _ => None,
        }
    }

    /// Takes in what a call heard; whether the state is another one now.
    pub(super) fn heard(&mut self, heard: Heard, tried: bool, now: Instant) -> bool {
        let before = self.state;
        match (self.state, heard) {
            (State::Closed, _) => self.count(heard, now),
            // What was under way when it opened says nothing new.
            _ if !tried => {}
            (_, Heard::Well) => {
                self.state = State::Closed;
                self.pause = self.settings.pause;
                self.in_a_row = 0;
                self.counts = [(0, 0); 2];
            }
            (_, Heard::Nothing) => self.state = State::Open { until: now },
            (_, Heard::Unreachable | Heard::Broken) => {
                self.pause = (self.pause * 2).min(self.longest);
                self.state = State::Open { until: now + self.pause };
            }
        }
        self.state != before
    }

    pub(super) fn state(&self) -> &'static str {
        match self.state {
            State::Closed => "closed",
            State::Open { .. } => "open",
            State::Trying { .. } => "half-open",
        }
    }

    fn count(&mut self, heard: Heard, now: Instant) {
        let past = now.saturating_duration_since(self.window);
        if past >= WINDOW {
            let before = if past < WINDOW * 2 { self.counts[0] } else { (0, 0) };
            self.counts = [(0, 0), before];
            self.window = now;
        }
        match heard {
            Heard::Well => {
                self.in_a_row = 0;
                self.counts[0].0 += 1;
            }
            Heard::Unreachable => {
                self.in_a_row += 1;
                self.counts[0].1 += 1;
            }
            Heard::Broken => self.counts[0].1 += 1,
            Heard::Nothing => {}
        }
        let (good, failed) = (self.counts[0].0 + self.counts[1].0, self.counts[0].1 + self.counts[1].1);
        let too_many = good + failed >= SHARE_OF
            && u64::from(failed) * 100 >= u64::from(self.settings.share) * u64::from(good + failed);
        if self.in_a_row >= self.settings.failures || (too_many && heard != Heard::Well) {
            self.state = State::Open { until: now + self.pause };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> (Breaker, Instant) {
        let now = Instant::now();
        let settings = config::Breaker { failures: 3, share: 50, pause: Duration::from_secs(1) };
        (Breaker::new(settings, Duration::from_secs(4), now), now)
    }

    #[test]
    fn it_opens_after_calls_in_a_row_that_reach_nobody_and_closes_when_one_is_heard() {
        let (mut breaker, now) = breaker();
        let second = Duration::from_secs(1);
        for heard in
            [Heard::Unreachable, Heard::Unreachable, Heard::Well, Heard::Unreachable, Heard::Unreachable]
        {
            assert!(!breaker.heard(heard, false, now));
        }
        assert_eq!(breaker.ask(now), Verdict::Go);
        assert!(breaker.heard(Heard::Unreachable, false, now));
        assert_eq!(breaker.ask(now), Verdict::Wait(now + second));
        let later = now + second;
        assert_eq!(breaker.ask(later), Verdict::Try);
        assert_eq!(breaker.ask(later), Verdict::Wait(later + second));
        assert!(breaker.heard(Heard::Well, true, later));
        assert_eq!((breaker.ask(later), breaker.state()), (Verdict::Go, "closed"));
    }

    #[test]
    fn the_pause_doubles_while_nobody_is_there_up_to_the_longest() {
        let (mut breaker, mut now) = breaker();
        for _ in 0..3 {
            breaker.heard(Heard::Unreachable, false, now);
        }
        for seconds in [1, 2, 4, 4] {
            let until = now + Duration::from_secs(seconds);
            assert_eq!(breaker.ask(until - Duration::from_millis(1)), Verdict::Wait(until));
            assert_eq!(breaker.ask(until), Verdict::Try);
            breaker.heard(Heard::Unreachable, true, until);
            now = until;
        }
    }

    #[test]
    fn it_opens_when_half_of_many_calls_fail_and_not_for_a_few() {
        let (mut breaker, now) = breaker();
        for _ in 0..9 {
            breaker.heard(Heard::Broken, false, now);
            breaker.heard(Heard::Well, false, now);
        }
        assert_eq!(breaker.state(), "closed");
        breaker.heard(Heard::Well, false, now);
        assert!(breaker.heard(Heard::Broken, false, now));
        assert_eq!(breaker.state(), "open");
    }

    #[test]
    fn failures_of_long_ago_do_not_count() {
        let (mut breaker, now) = breaker();
        for _ in 0..19 {
            breaker.heard(Heard::Broken, false, now);
        }
        let later = now + WINDOW * 3;
        for _ in 0..19 {
            breaker.heard(Heard::Broken, false, later);
        }
        assert_eq!(breaker.state(), "closed");
    }

    #[test]
    fn a_try_that_is_given_up_lets_the_next_one_try_at_once() {
        let (mut breaker, now) = breaker();
        for _ in 0..3 {
            breaker.heard(Heard::Unreachable, false, now);
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(breaker.ask(later), Verdict::Try);
        breaker.heard(Heard::Nothing, true, later);
        assert_eq!(breaker.ask(later), Verdict::Try);
    }
}
