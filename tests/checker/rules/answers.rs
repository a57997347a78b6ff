//! I1: an answer is on the log, with these very bytes. I7: it is nobody else's.

use serde_json::Value;

use super::super::ledger::{Outcome, Sent, tokens};
use super::super::report::Report;
use super::super::stories::{Stories, Story};
use super::super::{Evidence, Record};

pub(crate) fn check(evidence: &Evidence, stories: &Stories<'_>, report: &mut Report) {
    for sent in &evidence.sent {
        own_token(sent, report);
        let Outcome::Answer { status, relay_id, body, .. } = &sent.outcome else { continue };
        match stories.by_id.get(relay_id.as_str()).filter(|story| !story.requests.is_empty()) {
            Some(story) if story.is_direct() => {}
            Some(story) => accepted(sent, story, (*status, relay_id, body), report),
            None => not_accepted(stories, (*status, relay_id, body), report),
        }
    }
}

fn own_token(sent: &Sent, report: &mut Report) {
    for token in sent.outcome.texts().flat_map(tokens) {
        if token != sent.token {
            let found = format!("the answer to {} has {token} in it, another request's", sent.token);
            return report.breach("I7", sent.outcome.relay_id(), found);
        }
    }
}

/// Status, relay id and body of an answer.
type Got<'a> = (u16, &'a str, &'a str);

fn accepted(sent: &Sent, story: &Story<'_>, (status, id, body): Got<'_>, report: &mut Report) {
    let request = story.requests[0];
    if sent.key.is_none() && request.body != sent.body.as_bytes() {
        let logged = String::from_utf8_lossy(&request.body);
        return report.breach("I1", id, format!("the log has another request than was sent: {logged}"));
    }
    let Some(end) = story.terminals.first() else {
        // An answer made without an end says only that there is none yet.
        if !gave_up(body) {
            report.breach("I1", id, format!("answered with {status}, but the log has no end of it"));
        }
        return;
    };
    if same(sent, end, body) || gave_up(body) {
        return;
    }
    let logged = String::from_utf8_lossy(&end.body);
    let reason = end.get("kamf_reason");
    report.breach(
        "I1",
        id,
        format!("the log has another end ({reason}) than was answered:\n    {logged}\n    {status} {body}"),
    );
}

/// Whether the gateway spoke for itself: the log was silent for too long. What was done then is judged by I3.
fn gave_up(body: &str) -> bool {
    matches!(error_code(body), Some(-31503 | -31504))
}

/// `error.code` of a JSON-RPC answer.
pub(super) fn error_code(body: &str) -> Option<i64> {
    serde_json::from_str::<Value>(body).ok()?["error"]["code"].as_i64()
}

/// A replay to another client of the same key differs in the JSON-RPC id.
fn same(sent: &Sent, end: &Record, body: &str) -> bool {
    if end.body == body.as_bytes() {
        return true;
    }
    let plain = |text: &[u8]| {
        let mut value: Value = serde_json::from_slice(text).ok()?;
        value.as_object_mut()?.remove("id");
        Some(value)
    };
    sent.key.is_some() && plain(&end.body).is_some_and(|logged| plain(body.as_bytes()) == Some(logged))
}

fn not_accepted(stories: &Stories<'_>, (status, id, body): Got<'_>, report: &mut Report) {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    if status < 300 && !value["error"].is_object() {
        return report.breach(
            "I1",
            id,
            format!("answered with {status}, but the log does not know it: {body}"),
        );
    }
    let refusals = stories.by_id.get(id).map(|story| &story.refusals[..]).unwrap_or_default();
    if let [refusal, ..] = refusals
        && refusal.body != body.as_bytes()
    {
        report.breach("I1", id, format!("the log has another refusal than was answered: {body}"));
    }
}
