//! The checker that every fault test ends with: what clients got, what upstreams saw and what the log says must
//! agree. It needs nothing but these three and knows nothing of how the gateway works.

use std::collections::{BTreeMap, HashMap};

use anyhow::ensure;
use bytes::Bytes;

use super::topics::Record;
use super::upstream::Seen;
use super::{Answer, Result};

/// A request that a client sent, and the complete answer when one came.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) body: Bytes,
    pub(crate) answer: Option<Answer>,
}

/// How many exchanges ended in each state.
pub(crate) type States = BTreeMap<String, usize>;

/// Everything about one relay id.
#[derive(Default)]
struct Story<'a> {
    request: Vec<&'a Record>,
    terminal: Vec<&'a Record>,
    events: Vec<&'a Record>,
}

/// Holds the durable exchanges of a log against what both sides saw.
///
/// # Errors
/// Names the first exchange that breaks an invariant:
/// - no acknowledged loss: an answered request is on the log, with exactly this answer;
/// - write-ahead: an upstream sees only what was on the log before;
/// - one effect: an upstream sees an exchange once;
/// - one end: every accepted request has exactly one terminal record, what was not accepted has none.
pub(crate) fn check(requests: &[Record], events: &[Record], sent: &[Sent], seen: &[Seen]) -> Result<States> {
    let stories = stories(requests, events);
    one_end_each(&stories)?;
    answers_are_on_the_log(&stories, sent)?;
    upstreams_saw_what_was_accepted(&stories, seen)?;
    let mut states = States::new();
    for story in stories.values() {
        for terminal in &story.terminal {
            *states.entry(terminal.get("kamf_state").to_owned()).or_default() += 1;
        }
    }
    Ok(states)
}

/// Accepted requests that have no terminal record yet.
pub(crate) fn open(requests: &[Record], events: &[Record]) -> Vec<String> {
    let stories = stories(requests, events);
    let open = stories.iter().filter(|(_, story)| story.terminal.is_empty());
    open.map(|(id, _)| (*id).to_owned()).collect()
}

fn stories<'a>(requests: &'a [Record], events: &'a [Record]) -> BTreeMap<&'a str, Story<'a>> {
    let mut stories: BTreeMap<&str, Story<'_>> = BTreeMap::new();
    for record in requests.iter().filter(|record| record.kind() == "request") {
        stories.entry(record.id()).or_default().request.push(record);
    }
    for record in events {
        let story = match record.kind() {
            "terminal" | "event" | "started" => stories.entry(record.id()).or_default(),
            _ => continue,
        };
        match record.kind() {
            "terminal" => story.terminal.push(record),
            "event" => story.events.push(record),
            _ => {}
        }
    }
    stories
}

fn one_end_each(stories: &BTreeMap<&str, Story<'_>>) -> Result {
    for (id, story) in stories {
        ensure!(story.request.len() == 1, "{id} has {} request records", story.request.len());
        let ends: Vec<&str> = story.terminal.iter().map(|record| record.get("kamf_reason")).collect();
        ensure!(ends.len() == 1, "{id} has {} terminal records: {ends:?}", ends.len());
        for (number, event) in story.events.iter().enumerate() {
            let sequence = event.get("kamf_sequence");
            ensure!(sequence == (number + 1).to_string(), "{id}: event {number} has sequence {sequence}");
        }
    }
    Ok(())
}

fn answers_are_on_the_log(stories: &BTreeMap<&str, Story<'_>>, sent: &[Sent]) -> Result {
    let answered = |sent: &&Sent| sent.answer.as_ref().is_some_and(|answer| answer.status != 503);
    for sent in sent.iter().filter(answered) {
        let Some(answer) = &sent.answer else { continue };
        let id = answer.relay_id();
        let story = stories.get(id);
        let Some(story) = story else {
            anyhow::bail!(
                "a client was answered ({}, relay id {id:?}), the log does not know it",
                answer.status
            )
        };
        ensure!(
            story.request[0].body == sent.body,
            "{id}: the log has another request than the client sent: {:?}",
            String::from_utf8_lossy(&story.request[0].body)
        );
        ensure!(
            story.terminal[0].body == answer.body,
            "{id}: the log has another answer than the client got:\n{:?}\n{:?}",
            String::from_utf8_lossy(&story.terminal[0].body),
            answer.text()
        );
    }
    Ok(())
}

fn upstreams_saw_what_was_accepted(stories: &BTreeMap<&str, Story<'_>>, seen: &[Seen]) -> Result {
    let mut by_trace: HashMap<&str, (&str, &Story<'_>)> = HashMap::new();
    for (id, story) in stories {
        by_trace.insert(story.request[0].get("traceparent"), (id, story));
    }
    let mut times: HashMap<&str, u32> = HashMap::new();
    for call in seen {
        let trace = call.header("traceparent");
        ensure!(
            by_trace.contains_key(trace),
            "an upstream saw {trace:?}, which is not on the log: {:?}",
            call.text()
        );
        *times.entry(trace).or_default() += 1;
    }
    for (trace, times) in &times {
        let (id, _) = by_trace[trace];
        ensure!(*times == 1, "{id} reached its upstream {times} times");
    }
    for (trace, (id, story)) in by_trace {
        let state = story.terminal[0].get("kamf_state");
        ensure!(
            state != "completed" || times.contains_key(trace),
            "{id} is `completed`, but no upstream ever saw it"
        );
    }
    Ok(())
}
