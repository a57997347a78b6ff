//! What is owed next to one accepted request: a state machine without clock and without I/O.
//!
//! The driver ([`super::dispatch`]) does one [`Step`] after the other and tells what came of it. All that decides
//! whether a request is called, called again, or ended, and as what, is here.
//!
//! ```text
//! Taken ─ Start ─ Call ─┬─ answer ──────────────── Finish ─ Done
//!                       └─ messages ─ Event* ─ end ┘
//! ```

use crate::outcome::Reason;

/// What the log already says about a request when it is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// A `started` record is there: the upstream may have acted.
    pub started: bool,
    /// The last message of its stream that is there.
    pub sequence: u32,
    /// Its terminal record is there.
    pub ended: bool,
}

/// What happened since the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The request was read from the log. `late`: its deadline has passed already.
    Taken {
        history: History,
        late: bool,
        abandoned: bool,
    },
    /// The append of the last step was acknowledged.
    Appended,
    /// The append of the last step was not acknowledged.
    NotAppended,
    /// The message of the last step is larger than the log takes.
    TooLarge,
    /// The upstream sent a message of a stream.
    Message,
    /// The upstream's answer is complete: a whole answer, or the last message of an MCP stream.
    Answered {
        error: bool,
    },
    /// The upstream ended a stream in order, after its last message.
    Ended,
    /// The call failed.
    Failed(Reason),
    DeadlinePassed,
    CancelAsked,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Append the `started` record.
    Start,
    /// Call the upstream and wait for its first word.
    Call,
    /// Wait for the upstream's next word.
    Next,
    /// Append the message at hand as number `sequence`.
    Event { sequence: u32 },
    /// Append the terminal record. `answer`: with the upstream's answer as its value.
    Finish { reason: Reason, answer: bool },
    /// Nothing is owed any more.
    Done,
}

/// One accepted request on its way.
#[derive(Debug)]
pub struct Delivery {
    last: Step,
    sequence: u32,
}

impl Delivery {
    pub fn new() -> Self {
        Self { last: Step::Done, sequence: 0 }
    }

    /// The step that `input` leads to.
    pub fn next(&mut self, input: Input) -> Step {
        self.last = match (self.last, input) {
            (_, Input::Taken { history, late, abandoned }) => self.take(history, late, abandoned),
            // The request is not the log's fault: what must be on the log is tried until it is there.
            (step, Input::NotAppended) => step,
            (Step::Event { .. } | Step::Finish { .. }, Input::TooLarge) => {
                Step::Finish { reason: Reason::UpstreamInvalid, answer: false }
            }
            (Step::Start, Input::Appended) => Step::Call,
            (Step::Event { .. }, Input::Appended) => Step::Next,
            (Step::Finish { .. }, Input::Appended) => Step::Done,
            (Step::Call | Step::Next, input) => self.heard(input),
            // Asked to cancel, or out of time, between two steps: the answer on its way to the log stands.
            (step, _) => step,
        };
        self.last
    }

    fn take(&mut self, history: History, late: bool, abandoned: bool) -> Step {
        self.sequence = history.sequence;
        if history.ended {
            Step::Done
        } else if history.started {
            // Nobody knows how far the upstream came, so it is not asked again.
            Step::Finish { reason: Reason::Lost, answer: false }
        } else if abandoned {
            Step::Finish { reason: Reason::LogUnavailable, answer: false }
        } else if late {
            Step::Finish { reason: Reason::UpstreamTimeout, answer: false }
        } else {
            Step::Start
        }
    }

    fn heard(&mut self, input: Input) -> Step {
        match input {
            Input::Message => {
                self.sequence += 1;
                Step::Event { sequence: self.sequence }
            }
            Input::Answered { error } => {
                let reason = if error { Reason::UpstreamError } else { Reason::Completed };
                Step::Finish { reason, answer: true }
            }
            Input::Ended => Step::Finish { reason: Reason::Completed, answer: false },
            Input::Failed(reason) => Step::Finish { reason, answer: false },
            Input::DeadlinePassed => Step::Finish { reason: Reason::UpstreamTimeout, answer: false },
            Input::CancelAsked => Step::Finish { reason: Reason::Cancelled, answer: false },
            Input::Taken { .. } | Input::Appended | Input::NotAppended | Input::TooLarge => self.last,
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRESH: Input = Input::Taken {
        history: History { started: false, sequence: 0, ended: false },
        late: false,
        abandoned: false,
    };

    #[test]
    fn a_unary_call_is_started_called_and_finished_once() {
        let mut delivery = Delivery::new();
        assert_eq!(delivery.next(FRESH), Step::Start);
        assert_eq!(delivery.next(Input::Appended), Step::Call);
        let finish = Step::Finish { reason: Reason::Completed, answer: true };
        assert_eq!(delivery.next(Input::Answered { error: false }), finish);
        assert_eq!(delivery.next(Input::NotAppended), finish);
        assert_eq!(delivery.next(Input::Appended), Step::Done);
    }

    #[test]
    fn messages_of_a_stream_are_numbered_from_one() {
        let mut delivery = Delivery::new();
        delivery.next(FRESH);
        delivery.next(Input::Appended);
        for sequence in 1..=3 {
            assert_eq!(delivery.next(Input::Message), Step::Event { sequence });
            assert_eq!(delivery.next(Input::Appended), Step::Next);
        }
        assert_eq!(delivery.next(Input::Ended), Step::Finish { reason: Reason::Completed, answer: false });
    }

    #[test]
    fn a_call_that_was_under_way_in_a_crash_is_not_repeated() {
        let history = History { started: true, sequence: 2, ended: false };
        let step = Delivery::new().next(Input::Taken { history, late: false, abandoned: false });
        assert_eq!(step, Step::Finish { reason: Reason::Lost, answer: false });
    }

    #[test]
    fn what_was_not_started_is_delivered_unless_it_is_too_late_or_was_refused() {
        let taken = |late, abandoned| Input::Taken { history: History::default(), late, abandoned };
        assert_eq!(Delivery::new().next(taken(false, false)), Step::Start);
        let finish = |reason| Step::Finish { reason, answer: false };
        assert_eq!(Delivery::new().next(taken(true, false)), finish(Reason::UpstreamTimeout));
        assert_eq!(Delivery::new().next(taken(false, true)), finish(Reason::LogUnavailable));
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Appended),
            Just(Input::NotAppended),
            Just(Input::TooLarge),
            Just(Input::Message),
            Just(Input::Answered { error: false }),
            Just(Input::Answered { error: true }),
            Just(Input::Ended),
            Just(Input::Failed(Reason::UpstreamBroken)),
            Just(Input::DeadlinePassed),
            Just(Input::CancelAsked),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: never a call before `started` is on the log, at most one call, and
        /// after the terminal record is acknowledged nothing.
        #[test]
        fn promises_hold_for_every_order_of_events(inputs in prop::collection::vec(inputs(), 0..40)) {
            let mut delivery = Delivery::new();
            let mut last = delivery.next(FRESH);
            let (mut started, mut calls, mut done) = (false, 0, false);
            for input in inputs {
                started |= last == Step::Start && input == Input::Appended;
                let step = delivery.next(input);
                prop_assert!(!done || step == Step::Done);
                if step == Step::Call && last != Step::Call {
                    prop_assert!(started);
                    calls += 1;
                }
                done = step == Step::Done;
                last = step;
            }
            prop_assert!(calls <= 1);
        }
    }
}
