//! What is owed next to one accepted request: a state machine without clock and without I/O.
//!
//! The driver ([`super::drive`]) does one [`Step`] after the other and tells what came of it. All that decides
//! whether a request is called, called again, or ended, and as what, is here.
//!
//! ```text
//! Taken ─ Enter ─ Start ─ Call ─┬─ answer ────────────────────── Finish ─ Done
//!           ▲                   ├─ messages ─ Event* ─ end ──────┤
//!           │                   ├─ final failure, no time left ─ Bury
//!           └──── Rest ◄─ Retry ┴─ failure after which it may be sent again
//! ```

use super::record::{Fields, Kind};
use crate::message::Mode;
use crate::outcome::Reason;

/// What the log already says about a request when it is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// A `started` record is there that no `retry` record took back: the upstream may have acted.
    pub started: bool,
    /// The last message of its stream that is there.
    pub sequence: u32,
    /// Attempts that a `retry` record closed.
    pub attempts: u32,
    /// Its terminal record is there.
    pub ended: bool,
}

impl History {
    /// Takes in one of its records in `kamf.events`, in their order.
    pub fn saw(&mut self, fields: &Fields<'_>) {
        match fields.kind {
            Kind::Started => self.started = true,
            Kind::Retry => {
                self.started = false;
                self.attempts = self.attempts.max(fields.attempt);
            }
            Kind::Event => self.sequence = self.sequence.max(fields.sequence),
            Kind::Terminal => self.ended = true,
            Kind::Request | Kind::Cancel | Kind::Refusal | Kind::Epoch => {}
        }
    }
}

/// How a request may be delivered; fixed when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub mode: Mode,
    /// It may be carried out more than once.
    pub repeatable: bool,
}

/// What happened since the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The request was read from the log.
    Taken {
        history: History,
        /// It was on the log before this owner had its partition: another one may have had it in hand.
        inherited: bool,
        /// Its deadline has passed already.
        late: bool,
        /// Its client was told that it was not accepted.
        abandoned: bool,
        /// Its own record says that this owner has started it.
        implied: bool,
    },
    /// Another replica has taken the request over.
    Fenced,
    /// The upstream takes one more call.
    Entered,
    /// The pause before the next attempt is over.
    Rested,
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
    /// The call failed, or there was none. `again`: there is time for another one.
    Failed {
        reason: Reason,
        again: bool,
    },
    DeadlinePassed,
    CancelAsked,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait until the upstream takes one more call.
    Enter { attempt: u32 },
    /// Append the `started` record.
    Start { attempt: u32 },
    /// Call the upstream and wait for its first word.
    Call,
    /// Wait for the upstream's next word.
    Next,
    /// Append the message at hand as number `sequence`.
    Event { sequence: u32 },
    /// Append the `retry` record: the attempt is over, and another one follows.
    Retry { attempt: u32 },
    /// Wait a while before the next attempt.
    Rest { attempt: u32 },
    /// Put the request among the dead letters: it will end for `reason`.
    Bury { reason: Reason },
    /// Append the terminal record. `answer`: with the upstream's answer as its value.
    Finish { reason: Reason, answer: bool },
    /// Nothing is owed any more.
    Done,
}

/// One accepted request on its way.
#[derive(Debug)]
pub struct Delivery {
    terms: Terms,
    last: Step,
    /// The attempt at hand, from 1.
    attempt: u32,
    sequence: u32,
    /// No `started` record is needed for the attempt at hand.
    implied: bool,
    /// Some attempt may have reached an upstream that acted.
    acted: bool,
}

impl Delivery {
    pub fn new(terms: Terms) -> Self {
        Self { terms, last: Step::Done, attempt: 1, sequence: 0, implied: false, acted: false }
    }

    /// The step that `input` leads to.
    pub fn next(&mut self, input: Input) -> Step {
        self.last = match (self.last, input) {
            (_, Input::Taken { history, inherited, late, abandoned, implied }) => {
                self.implied = implied && history.attempts == 0;
                self.take(history, inherited, late, abandoned)
            }
            (_, Input::Fenced) => Step::Done,
            // The request is not the log's fault: what must be on the log is tried until it is there.
            (step, Input::NotAppended) => step,
            (Step::Event { .. } | Step::Finish { .. }, Input::TooLarge) => {
                self.finish(Reason::UpstreamInvalid)
            }
            (Step::Enter { attempt }, Input::Entered) if self.terms.mode == Mode::Relay && !self.implied => {
                Step::Start { attempt }
            }
            (Step::Enter { .. }, Input::Entered) | (Step::Start { .. }, Input::Appended) => Step::Call,
            (Step::Event { .. }, Input::Appended) => Step::Next,
            (Step::Retry { attempt }, Input::Appended) => Step::Rest { attempt },
            (Step::Rest { .. }, Input::Rested) => {
                self.attempt += 1;
                self.implied = false;
                Step::Enter { attempt: self.attempt }
            }
            (Step::Bury { reason }, Input::Appended) => Step::Finish { reason, answer: false },
            (Step::Finish { .. }, Input::Appended) => Step::Done,
            (Step::Enter { .. } | Step::Rest { .. }, Input::DeadlinePassed) => self.finish(Reason::Expired),
            (Step::Enter { .. } | Step::Call | Step::Next | Step::Rest { .. }, input) => self.heard(input),
            // Asked to cancel, or out of time, between two steps: the answer on its way to the log stands.
            (step, _) => step,
        };
        self.last
    }

    fn take(&mut self, history: History, inherited: bool, late: bool, abandoned: bool) -> Step {
        self.sequence = history.sequence;
        self.attempt = history.attempts + 1;
        // Whether the attempts that are over had reached the upstream is not on the log.
        self.acted = history.started || (history.attempts > 0 && self.terms.repeatable);
        let may_have_acted = match self.terms.mode {
            Mode::Relay => history.started,
            // Without `started` records nobody knows how far its last owner came.
            Mode::Journal | Mode::Direct => inherited || history.started,
        };
        if history.ended {
            Step::Done
        } else if may_have_acted && (self.terms.mode != Mode::Relay || late || !self.may_repeat()) {
            self.finish(Reason::Lost)
        } else if abandoned {
            self.finish(Reason::LogUnavailable)
        } else if late {
            self.finish(Reason::Expired)
        } else {
            Step::Enter { attempt: self.attempt }
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
            Input::Ended => self.finish(Reason::Completed),
            Input::Failed { reason, again } => self.failed(reason, again),
            Input::DeadlinePassed => self.finish(Reason::UpstreamTimeout),
            Input::CancelAsked => self.finish(Reason::Cancelled),
            _ => self.last,
        }
    }

    fn failed(&mut self, reason: Reason, again: bool) -> Step {
        let may_have_acted = matches!(reason, Reason::UpstreamTimeout | Reason::UpstreamBroken);
        self.acted |= may_have_acted;
        let harmless = match reason {
            Reason::UpstreamUnreachable => self.sequence == 0,
            _ => may_have_acted && self.may_repeat(),
        };
        match self.last {
            _ if !again || !harmless || self.terms.mode != Mode::Relay => self.finish(reason),
            // Nothing is started yet that would have to be taken back.
            Step::Enter { attempt } if !self.implied => Step::Rest { attempt },
            _ => Step::Retry { attempt: self.attempt },
        }
    }

    /// What a client has seen of a stream cannot be taken back by a second one.
    fn may_repeat(&self) -> bool {
        self.terms.repeatable && self.sequence == 0
    }

    fn finish(&self, reason: Reason) -> Step {
        // The last attempt did nothing, but an earlier one may have.
        let reason = match reason {
            Reason::UpstreamUnreachable if self.acted => Reason::UpstreamBroken,
            Reason::Expired if self.acted => Reason::UpstreamTimeout,
            reason => reason,
        };
        let dead = matches!(
            reason,
            Reason::Expired | Reason::UpstreamUnreachable | Reason::UpstreamTimeout | Reason::UpstreamInvalid
        );
        if dead && self.terms.mode == Mode::Relay {
            return Step::Bury { reason };
        }
        Step::Finish { reason, answer: false }
    }
}

#[cfg(test)]
mod tests;
