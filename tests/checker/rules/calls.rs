//! I2: an upstream sees only what was on the log before. I3: once. I9: as it was accepted.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::super::ledger::{Outcome, Seen, TOKEN, tokens};
use super::super::report::Report;
use super::super::stories::{Stories, Story};
use super::super::{Evidence, Record};
use super::answers::error_code;

/// Ends that say that nothing was done.
const NOT_DONE: &[&str] = &["upstream_unreachable", "log_unavailable", "overloaded", "shutting_down"];

pub(crate) fn check(evidence: &Evidence, stories: &Stories<'_>, report: &mut Report) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for seen in &evidence.seen {
        let Some(id) = stories.by_trace.get(seen.traceparent.as_str()) else {
            let found = format!("an upstream saw {} {}, which is not on the log", seen.method, seen.token);
            report.breach("I2", &seen.traceparent, found);
            continue;
        };
        let story = &stories.by_id[id];
        if story.is_direct() {
            continue;
        }
        *times.entry(id).or_default() += 1;
        written_before(id, story, seen, report);
        as_accepted(id, story.requests[0], seen, report);
    }
    let repeatable = |story: &Story<'_>| evidence.repeatable.contains(story.requests[0].get("kamf_agent"));
    for (id, story) in stories.accepted() {
        let calls = times.get(id).copied().unwrap_or_default();
        let reason = story.reason();
        if calls > 1 && !repeatable(story) {
            report.breach("I3", id, format!("reached its upstream {calls} times, and ended as {reason}"));
        }
        if calls > 0 && NOT_DONE.contains(&reason) {
            report.breach("I3", id, format!("ended as {reason}, but an upstream saw it"));
        }
        if calls == 0 && reason == "completed" && !evidence.seen.is_empty() {
            report.breach("I3", id, "completed, but no upstream ever saw it");
        }
    }
    told_not_done(evidence, &times, report);
}

fn written_before(id: &str, story: &Story<'_>, seen: &Seen, report: &mut Report) {
    let request = story.requests[0];
    if request.timestamp > seen.at {
        let late = request.timestamp - seen.at;
        report.breach("I2", id, format!("an upstream saw it {late} ms before its request was written"));
    }
    // A request that its owner's epoch is on was dispatched at once by that owner.
    if request.number("kamf_epoch").is_some() {
        return;
    }
    match story.started.iter().map(|started| started.timestamp).min() {
        None => report.breach("I2", id, "an upstream saw it, but the log does not say that it was started"),
        Some(at) if at > seen.at => {
            report.breach("I2", id, format!("an upstream saw it {} ms before `started`", at - seen.at));
        }
        Some(_) => {}
    }
}

fn as_accepted(id: &str, request: &Record, seen: &Seen, report: &mut Report) {
    let text = String::from_utf8_lossy(&request.body);
    let other = tokens(&text).next().is_some_and(|token| token != seen.token);
    if other && seen.token.starts_with(TOKEN) {
        report.breach("I9", id, format!("the upstream saw {}, another request's", seen.token));
    }
    // An MCP call carries the server's own names and ids; an A2A body goes on untouched.
    if request.get("kamf_protocol") == "a2a" && sha256(&request.body) != seen.sha256 {
        report.breach("I9", id, format!("the upstream saw another body than was accepted: {text}"));
    }
}

/// A client that was told that nothing will be carried out.
fn told_not_done(evidence: &Evidence, times: &HashMap<&str, usize>, report: &mut Report) {
    let seen: HashSet<&str> = evidence.seen.iter().map(|seen| seen.token.as_str()).collect();
    for sent in &evidence.sent {
        let Outcome::Answer { relay_id, body, .. } = &sent.outcome else { continue };
        // Not confirmed is not refused: such a request may still be carried out.
        if error_code(body) != Some(-31503) || body.to_ascii_lowercase().contains("log_unconfirmed") {
            continue;
        }
        if times.contains_key(relay_id.as_str()) || seen.contains(sent.token.as_str()) {
            report.breach("I3", relay_id, format!("told as not done, but an upstream saw it: {body}"));
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
