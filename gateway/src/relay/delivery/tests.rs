use proptest::prelude::*;

use super::*;

const ONCE: Terms = Terms { mode: Mode::Relay, repeatable: false };
const REPEATABLE: Terms = Terms { mode: Mode::Relay, repeatable: true };
const JOURNAL: Terms = Terms { mode: Mode::Journal, repeatable: false };

const FRESH: Input = Input::Taken {
    history: History { started: false, sequence: 0, attempts: 0, ended: false },
    inherited: false,
    late: false,
    abandoned: false,
    implied: false,
};

fn inherited(history: History) -> Input {
    Input::Taken { history, inherited: true, late: false, abandoned: false, implied: false }
}

fn failed(reason: Reason) -> Input {
    Input::Failed { reason, again: true }
}

fn finish(reason: Reason) -> Step {
    Step::Finish { reason, answer: false }
}

/// The steps that `inputs` lead to.
fn steps(terms: Terms, inputs: &[Input]) -> Vec<Step> {
    let mut delivery = Delivery::new(terms);
    inputs.iter().map(|input| delivery.next(*input)).collect()
}

/// The last step that `inputs` lead to; where that is a burial, the one after it.
fn last(terms: Terms, inputs: &[Input]) -> Step {
    let mut delivery = Delivery::new(terms);
    let step = inputs.iter().map(|input| delivery.next(*input)).last().unwrap();
    if matches!(step, Step::Bury { .. }) { delivery.next(Input::Appended) } else { step }
}

#[test]
fn what_could_not_be_delivered_is_buried_before_its_end_is_told() {
    let call = |terms, reason| {
        let mut inputs = vec![FRESH, Input::Entered];
        inputs.extend((terms == ONCE).then_some(Input::Appended));
        inputs.push(Input::Failed { reason, again: false });
        *steps(terms, &inputs).last().unwrap()
    };
    for reason in [Reason::UpstreamUnreachable, Reason::UpstreamTimeout, Reason::UpstreamInvalid] {
        assert_eq!(call(ONCE, reason), Step::Bury { reason });
        assert_eq!(call(JOURNAL, reason), finish(reason));
    }
    assert_eq!(call(ONCE, Reason::UpstreamBroken), finish(Reason::UpstreamBroken));
    assert_eq!(
        *steps(ONCE, &[FRESH, Input::DeadlinePassed]).last().unwrap(),
        Step::Bury { reason: Reason::Expired }
    );
    assert_eq!(last(ONCE, &[FRESH, Input::CancelAsked]), finish(Reason::Cancelled));
}

#[test]
fn a_unary_call_is_started_called_and_finished_once() {
    let finish = Step::Finish { reason: Reason::Completed, answer: true };
    let inputs = [
        FRESH,
        Input::Entered,
        Input::Appended,
        Input::Answered { error: false },
        Input::NotAppended,
        Input::Appended,
    ];
    let expected =
        [Step::Enter { attempt: 1 }, Step::Start { attempt: 1 }, Step::Call, finish, finish, Step::Done];
    assert_eq!(steps(ONCE, &inputs), expected);
}

#[test]
fn messages_of_a_stream_are_numbered_from_one() {
    let mut delivery = Delivery::new(ONCE);
    for input in [FRESH, Input::Entered, Input::Appended] {
        delivery.next(input);
    }
    for sequence in 1..=3 {
        assert_eq!(delivery.next(Input::Message), Step::Event { sequence });
        assert_eq!(delivery.next(Input::Appended), Step::Next);
    }
    assert_eq!(delivery.next(Input::Ended), finish(Reason::Completed));
}

#[test]
fn an_upstream_that_cannot_be_reached_is_called_again_until_the_time_is_over() {
    let down = failed(Reason::UpstreamUnreachable);
    let inputs =
        [FRESH, Input::Entered, Input::Appended, down, Input::Appended, Input::Rested, Input::Entered];
    let expected = [
        Step::Enter { attempt: 1 },
        Step::Start { attempt: 1 },
        Step::Call,
        Step::Retry { attempt: 1 },
        Step::Rest { attempt: 1 },
        Step::Enter { attempt: 2 },
        Step::Start { attempt: 2 },
    ];
    assert_eq!(steps(ONCE, &inputs), expected);
    let no_time = Input::Failed { reason: Reason::UpstreamUnreachable, again: false };
    assert_eq!(
        last(ONCE, &[FRESH, Input::Entered, Input::Appended, no_time]),
        finish(Reason::UpstreamUnreachable)
    );
    assert_eq!(last(ONCE, &[FRESH, Input::DeadlinePassed]), finish(Reason::Expired));
    // The way in was closed: nothing was started, so nothing is taken back.
    assert_eq!(last(ONCE, &[FRESH, down]), Step::Rest { attempt: 1 });
}

#[test]
fn a_call_that_may_have_been_acted_on_is_repeated_only_where_that_cannot_hurt() {
    for reason in [Reason::UpstreamTimeout, Reason::UpstreamBroken] {
        let call = [FRESH, Input::Entered, Input::Appended, failed(reason)];
        assert_eq!(last(ONCE, &call), finish(reason));
        assert_eq!(last(REPEATABLE, &call), Step::Retry { attempt: 1 });
        let stream =
            [FRESH, Input::Entered, Input::Appended, Input::Message, Input::Appended, failed(reason)];
        assert_eq!(last(REPEATABLE, &stream), finish(reason));
    }
    for reason in [Reason::UpstreamInvalid, Reason::Unsupported, Reason::UnknownAgent] {
        assert_eq!(
            last(REPEATABLE, &[FRESH, Input::Entered, Input::Appended, failed(reason)]),
            finish(reason)
        );
    }
}

#[test]
fn what_may_have_acted_once_is_not_said_to_have_done_nothing() {
    let broken = [
        FRESH,
        Input::Entered,
        Input::Appended,
        failed(Reason::UpstreamBroken),
        Input::Appended,
        Input::Rested,
        Input::Entered,
        Input::Appended,
        Input::Failed { reason: Reason::UpstreamUnreachable, again: false },
    ];
    assert_eq!(last(REPEATABLE, &broken), finish(Reason::UpstreamBroken));
    let mut late = broken[..6].to_vec();
    late.push(Input::DeadlinePassed);
    assert_eq!(last(REPEATABLE, &late), finish(Reason::UpstreamTimeout));
}

#[test]
fn a_call_that_was_under_way_in_a_crash_is_repeated_only_where_that_cannot_hurt() {
    let started = History { started: true, ..History::default() };
    assert_eq!(last(ONCE, &[inherited(started)]), finish(Reason::Lost));
    assert_eq!(last(REPEATABLE, &[inherited(started)]), Step::Enter { attempt: 1 });
    let told = History { sequence: 2, ..started };
    assert_eq!(last(REPEATABLE, &[inherited(told)]), finish(Reason::Lost));
    // The attempt that was over when its owner stopped is no obstacle.
    let waiting = History { attempts: 3, ..History::default() };
    assert_eq!(last(ONCE, &[inherited(waiting)]), Step::Enter { attempt: 4 });
}

#[test]
fn a_journal_is_tried_once() {
    assert_eq!(steps(JOURNAL, &[FRESH, Input::Entered]), [Step::Enter { attempt: 1 }, Step::Call]);
    let down = failed(Reason::UpstreamUnreachable);
    assert_eq!(last(JOURNAL, &[FRESH, Input::Entered, down]), finish(Reason::UpstreamUnreachable));
    assert_eq!(last(JOURNAL, &[FRESH, down]), finish(Reason::UpstreamUnreachable));
    assert_eq!(last(JOURNAL, &[inherited(History::default())]), finish(Reason::Lost));
}

#[test]
fn what_was_not_started_is_delivered_unless_it_is_too_late_or_was_refused() {
    let taken = |late, abandoned| {
        let history = History::default();
        last(ONCE, &[Input::Taken { history, inherited: true, late, abandoned, implied: false }])
    };
    assert_eq!(taken(false, false), Step::Enter { attempt: 1 });
    assert_eq!(taken(true, false), finish(Reason::Expired));
    assert_eq!(taken(false, true), finish(Reason::LogUnavailable));
}

#[test]
fn a_retry_record_takes_the_started_record_back() {
    let mut history = History::default();
    let admitted = crate::relay::admitted::tests::admitted();
    let at = std::time::SystemTime::UNIX_EPOCH;
    let mut saw = |kind, attempt| {
        history.saw(&Fields { attempt, ..admitted.fields(kind, at) });
        history
    };
    assert!(saw(Kind::Started, 1).started);
    assert_eq!(saw(Kind::Retry, 1), History { attempts: 1, ..History::default() });
    assert!(saw(Kind::Started, 2).started);
}

fn inputs() -> impl Strategy<Value = Input> {
    let reasons = prop_oneof![
        Just(Reason::UpstreamUnreachable),
        Just(Reason::UpstreamBroken),
        Just(Reason::UpstreamTimeout),
        Just(Reason::UpstreamInvalid),
    ];
    prop_oneof![
        3 => Just(Input::Appended),
        3 => Just(Input::Entered),
        2 => Just(Input::Rested),
        1 => Just(Input::NotAppended),
        1 => Just(Input::TooLarge),
        1 => Just(Input::Message),
        1 => Just(Input::Answered { error: false }),
        1 => Just(Input::Answered { error: true }),
        1 => Just(Input::Ended),
        4 => (reasons, any::<bool>()).prop_map(|(reason, again)| Input::Failed { reason, again }),
        1 => Just(Input::DeadlinePassed),
        1 => Just(Input::CancelAsked),
    ]
}

proptest! {
    /// Whatever happens in whatever order: never a call before its `started` record is on the log, no second call once
    /// the upstream may have acted unless the request is repeatable, nothing after the terminal record is
    /// acknowledged, and no word that nothing was done where something may have been.
    #[test]
    fn promises_hold_for_every_order_of_events(
        repeatable: bool,
        journal: bool,
        inputs in prop::collection::vec(inputs(), 0..60),
    ) {
        let terms = Terms { mode: if journal { Mode::Journal } else { Mode::Relay }, repeatable };
        let mut delivery = Delivery::new(terms);
        let mut step = delivery.next(FRESH);
        let (mut started, mut acted, mut done, mut told) = (false, false, false, false);
        for input in inputs {
            let calling = matches!(step, Step::Call | Step::Next);
            started |= matches!(step, Step::Start { .. }) && input == Input::Appended;
            if calling {
                acted |= matches!(input, Input::Failed { reason: Reason::UpstreamBroken | Reason::UpstreamTimeout, .. });
                told |= input == Input::Message;
            }
            let next = delivery.next(input);
            prop_assert!(!done || next == Step::Done);
            if next == Step::Call && step != Step::Call {
                prop_assert!(started || journal);
                prop_assert!(!acted || (repeatable && !journal));
                prop_assert!(!told);
                started = false;
            }
            if let Step::Finish { reason, .. } = next {
                let harmless = matches!(reason, Reason::Expired | Reason::UpstreamUnreachable);
                prop_assert!(!acted || !harmless, "{reason:?} after the upstream may have acted");
            }
            done = next == Step::Done;
            step = next;
        }
    }
}

#[test]
fn a_request_whose_own_record_says_started_is_called_without_another() {
    let taken = Input::Taken {
        history: History::default(),
        inherited: false,
        late: false,
        abandoned: false,
        implied: true,
    };
    let mut delivery = Delivery::new(ONCE);
    assert_eq!(delivery.next(taken), Step::Enter { attempt: 1 });
    assert_eq!(delivery.next(Input::Entered), Step::Call);
    // What the request's record says is taken back before the next attempt, which has a record of its own.
    let failed = Input::Failed { reason: Reason::UpstreamUnreachable, again: true };
    assert_eq!(delivery.next(failed), Step::Retry { attempt: 1 });
    assert_eq!(delivery.next(Input::Appended), Step::Rest { attempt: 1 });
    assert_eq!(delivery.next(Input::Rested), Step::Enter { attempt: 2 });
    assert_eq!(delivery.next(Input::Entered), Step::Start { attempt: 2 });
}

#[test]
fn what_another_replica_took_over_is_let_go() {
    let mut delivery = Delivery::new(ONCE);
    delivery.next(FRESH);
    assert_eq!(delivery.next(Input::Fenced), Step::Done);
}
