//! I12: no secret in a topic, a log, a metric.

use super::super::report::Report;
use super::super::{Evidence, Record};

pub(crate) fn check(evidence: &Evidence, report: &mut Report) {
    if evidence.secrets.is_empty() {
        return;
    }
    let named = [("requests", &evidence.requests), ("events", &evidence.events)];
    let more = [("aggregates", &evidence.aggregates), ("audit", &evidence.audit)];
    let topics = named.into_iter().map(|(name, records)| (name, &records[..]));
    let more = more.into_iter().filter_map(|(name, records)| Some((name, records.as_deref()?)));
    let others = evidence.others.iter().map(|(name, records)| (name.as_str(), &records[..]));
    for (topic, records) in topics.chain(more).chain(others) {
        for record in records {
            if let Some(secret) = evidence.secrets.iter().find(|secret| has(record, secret)) {
                let place = format!("{topic} {}", record.place());
                report.breach("I12", place, format!("a secret ({}…)", shown(secret)));
            }
        }
    }
    for (name, text) in &evidence.texts {
        report.count("texts searched", 1);
        if let Some(secret) = evidence.secrets.iter().find(|secret| text.contains(secret.as_str())) {
            report.breach("I12", name, format!("a secret ({}…)", shown(secret)));
        }
    }
}

fn has(record: &Record, secret: &str) -> bool {
    let within = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    record.headers.values().any(|value| value.contains(secret)) || within(&record.key) || within(&record.body)
}

/// Enough of it to know which.
fn shown(secret: &str) -> &str {
    secret.get(..4).unwrap_or_default()
}
