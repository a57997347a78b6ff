//! I8: events in order, once, as logged; a broken stream does not look complete. I1 for answers that are streams.

use super::super::Evidence;
use super::super::ledger::Outcome;
use super::super::report::Report;
use super::super::stories::{Stories, Story};

pub(crate) fn check(evidence: &Evidence, stories: &Stories<'_>, report: &mut Report) {
    for (id, story) in stories.accepted() {
        numbered(id, story, report);
    }
    for sent in &evidence.sent {
        let Outcome::Stream { relay_id, messages, complete } = &sent.outcome else { continue };
        match stories.by_id.get(relay_id.as_str()).filter(|story| !story.requests.is_empty()) {
            Some(story) if story.is_direct() => {}
            Some(story) => as_logged(relay_id, story, messages, *complete, report),
            None if messages.is_empty() && !complete => {}
            None => report.breach("I1", relay_id, "a stream was answered, but the log does not know it"),
        }
    }
}

fn numbered(id: &str, story: &Story<'_>, report: &mut Report) {
    for (before, event) in story.events.iter().enumerate() {
        let number = event.get("kamf_sequence");
        if number != (before + 1).to_string() {
            let found = format!("event {} of the log has number {number:?} ({})", before + 1, event.place());
            return report.breach("I8", id, found);
        }
    }
    if let (Some(event), Some(end)) = (story.events.last(), story.terminals.first())
        && event.offset > end.offset
    {
        report.breach("I8", id, format!("an event behind the end ({})", event.place()));
    }
}

fn as_logged(id: &str, story: &Story<'_>, messages: &[String], complete: bool, report: &mut Report) {
    let end = story.terminals.first();
    let last = end.iter().map(|end| &end.body).filter(|body| !body.is_empty());
    let logged: Vec<&[u8]> =
        story.events.iter().map(|event| &event.body).chain(last).map(Vec::as_slice).collect();
    let got: Vec<&[u8]> = messages.iter().map(String::as_bytes).collect();
    if !logged.starts_with(&got) {
        let at = got.iter().zip(&logged).position(|(got, logged)| got != logged).unwrap_or(logged.len());
        let message = messages.get(at).map(String::as_str).unwrap_or_default();
        let found = format!("message {} of {} is not the log's: {message}", at + 1, got.len());
        return report.breach("I8", id, found);
    }
    if !complete {
        return;
    }
    let Some(end) = end else {
        return report.breach("I8", id, "the stream ended in order, but the log has no end of it");
    };
    if got.len() < logged.len() {
        let found = format!("ended in order after {} of {} messages", got.len(), logged.len());
        report.breach("I8", id, found);
    } else if end.get("kamf_state") != "completed" && end.body.is_empty() {
        let found = format!("ended as {}, but its stream looks complete", end.get("kamf_reason"));
        report.breach("I8", id, found);
    }
}
