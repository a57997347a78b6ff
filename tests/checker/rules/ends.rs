//! I4: one end for each accepted request, in time, and none for any other.

use super::super::report::Report;
use super::super::stories::{Stories, Story};
use super::super::{Evidence, Record};

/// From a deadline until its terminal record, milliseconds.
const LATEST: u64 = 30_000;

/// Methods whose work may outlive the deadline of a call: silence bounds them.
const STREAMING: &[&str] =
    &["SendStreamingMessage", "message/stream", "SubscribeToTask", "tasks/resubscribe"];

pub(crate) fn check(evidence: &Evidence, stories: &Stories<'_>, report: &mut Report) {
    for (id, story) in &stories.by_id {
        if story.is_direct() {
            continue;
        }
        match story.requests.len() {
            0 if !story.terminals.is_empty() => {
                report.breach("I4", *id, "a terminal record, but no request was accepted");
            }
            0 => {}
            1 => ended(id, story, evidence.now, report),
            times => report.breach("I4", *id, format!("{times} request records")),
        }
    }
}

fn ended(id: &str, story: &Story<'_>, now: u64, report: &mut Report) {
    let request = story.requests[0];
    let deadline = deadline(request).filter(|_| !STREAMING.contains(&request.get("kamf_method")));
    let reasons = || story.terminals.iter().map(|record| record.get("kamf_reason")).collect::<Vec<_>>();
    match (&story.terminals[..], deadline) {
        ([], Some(deadline)) if now > deadline + LATEST => {
            let late = (now - deadline) / 1000;
            report.breach("I4", id, format!("accepted, but without an end {late} s after its deadline"));
        }
        ([], _) => report.count("requests still open", 1),
        ([end], Some(deadline)) if end.timestamp > deadline + LATEST => {
            let late = (end.timestamp - deadline) / 1000;
            report.breach("I4", id, format!("ended as {:?}, {late} s after its deadline", reasons()));
        }
        ([_], _) => {}
        (many, _) => {
            let places: Vec<_> = many.iter().map(|end| (end.place(), end.get("kamf_epoch"))).collect();
            let reasons = reasons();
            report.breach("I4", id, format!("{} terminal records: {reasons:?} at {places:?}", many.len()));
        }
    }
    if !story.refusals.is_empty() {
        report.breach("I4", id, "accepted and refused");
    }
}

fn deadline(request: &Record) -> Option<u64> {
    request.number("kamf_deadline")?.try_into().ok()
}
