//! I3: one effect for one idempotency key, and one success for all who sent it.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::super::Evidence;
use super::super::ledger::{Outcome, Sent};
use super::super::report::Report;
use super::super::stories::Stories;

pub(crate) fn check(evidence: &Evidence, stories: &Stories<'_>, report: &mut Report) {
    let mut groups: BTreeMap<(&str, &str), Vec<&Sent>> = BTreeMap::new();
    for sent in &evidence.sent {
        if let Some(key) = &sent.key {
            groups.entry((&sent.principal, key)).or_default().push(sent);
        }
    }
    let mut calls: HashMap<&str, usize> = HashMap::new();
    for seen in &evidence.seen {
        *calls.entry(&seen.token).or_default() += 1;
    }
    for ((principal, key), group) in groups {
        let name = format!("{principal}/{key}");
        report.count("idempotency keys", 1);
        let tokens: HashSet<&str> = group.iter().map(|sent| sent.token.as_str()).collect();
        let reached: usize = tokens.iter().filter_map(|token| calls.get(token)).sum();
        if reached > 1 && !repeatable(evidence, stories, &group) {
            report.breach("I3", &name, format!("an upstream saw this key {reached} times"));
        }
        let successes: HashSet<String> = group.iter().filter_map(|sent| success(sent)).collect();
        if successes.len() > 1 {
            report.breach("I3", &name, format!("different successes: {successes:?}"));
        }
    }
}

fn repeatable(evidence: &Evidence, stories: &Stories<'_>, group: &[&Sent]) -> bool {
    group.iter().any(|sent| {
        let story = stories.by_id.get(sent.outcome.relay_id());
        let request = story.and_then(|story| story.requests.first());
        request.is_some_and(|request| evidence.repeatable.contains(request.get("kamf_agent")))
    })
}

/// The result of an answer, which is the same for all however their requests were numbered.
fn success(sent: &Sent) -> Option<String> {
    let Outcome::Answer { status: 200, body, .. } = &sent.outcome else { return None };
    let value: Value = serde_json::from_str(body).ok()?;
    value.get("result").map(Value::to_string)
}
