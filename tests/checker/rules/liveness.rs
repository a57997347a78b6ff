//! I10: every request is answered in time, by one of the answers that there may be.

use super::super::Evidence;
use super::super::ledger::{Outcome, Sent};
use super::super::report::Report;

/// From a deadline until its answer, milliseconds.
const LATEST: u64 = 5_000;

/// What a client on the same busy machine may add to it, milliseconds.
const MEASURING: u64 = 500;

pub(crate) fn check(evidence: &Evidence, report: &mut Report) {
    for sent in &evidence.sent {
        let id = if sent.outcome.relay_id().is_empty() { &sent.token } else { sent.outcome.relay_id() };
        in_time(evidence, sent, id, report);
        let Outcome::Answer { status, retry_after, body, .. } = &sent.outcome else { continue };
        if *status >= 500 && !matches!(status, 502..=504) {
            report.breach("I10", id, format!("answered with {status}: {body}"));
        }
        if *status == 503 && !retry_after {
            report.breach("I10", id, format!("503 without `Retry-After`: {body}"));
        }
    }
}

fn in_time(evidence: &Evidence, sent: &Sent, id: &str, report: &mut Report) {
    let ended = match (sent.ended, &sent.outcome) {
        (None, _) => return report.breach("I10", id, "never answered: the client gave up"),
        // How long a stream goes on is not bounded by a call's deadline.
        (Some(_), Outcome::Stream { .. }) => return,
        (Some(ended), _) => ended,
    };
    let took = ended.saturating_sub(sent.at);
    let own = evidence.freezes.iter().filter(|freeze| freeze.gateway == sent.gateway);
    let frozen: u64 = own.map(|freeze| freeze.within(sent.at, ended)).sum();
    if took > sent.deadline + LATEST + MEASURING + frozen {
        let found = format!("its end came after {took} ms, with a deadline of {} ms", sent.deadline);
        report.breach("I10", id, found);
    }
}
