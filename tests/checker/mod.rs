//! The checker: holds what clients sent and got, what upstreams saw and what the log says against each other and
//! names every breach of the invariants I1 to I12.
//!
//! It knows the record format by its headers and nothing else of the gateway; it shares no code with it.
//!
//! | id | what is demanded here |
//! | --- | --- |
//! | I1 | every answer is on the log: its request, and one terminal record with these very bytes |
//! | I2 | an upstream sees only what was on the log before, by the time of both |
//! | I3 | one call for each exchange and for each idempotency key; what is told as not done was not done |
//! | I4 | one terminal record for each accepted request, by its deadline and 30 s; none for any other |
//! | I5 | aggregates equal a recount of the log |
//! | I6 | the audit trail is one unbroken chain for each partition, a record for each end |
//! | I7 | no answer carries another request's token |
//! | I8 | events are numbered without a gap, reach the client as logged, and a broken stream has no clean end |
//! | I9 | what an upstream saw is what was accepted |
//! | I10 | every answer came by its deadline and 5 s, with a status that is allowed |
//! | I11 | memory under its cap, descriptors back to where they were |
//! | I12 | no secret in topics, logs, metrics |

pub(crate) mod ledger;
pub(crate) mod log;
mod report;
pub(crate) mod rules;
mod stories;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use ledger::{Freeze, Reading, Seen, Sent};
pub(crate) use log::Record;
pub(crate) use report::Report;
use stories::Stories;

/// Everything that is held against each other. What is empty is not judged.
#[derive(Default)]
pub(crate) struct Evidence {
    /// The clients' ledger.
    pub(crate) sent: Vec<Sent>,
    /// The upstreams' ledger.
    pub(crate) seen: Vec<Seen>,
    /// When a gateway or its log stood still, as the one who stopped it wrote down.
    pub(crate) freezes: Vec<Freeze>,
    /// Processes as they were measured.
    pub(crate) readings: Vec<Reading>,
    /// `<prefix>.requests` from offset 0.
    pub(crate) requests: Vec<Record>,
    /// `<prefix>.events` from offset 0, read before the requests.
    pub(crate) events: Vec<Record>,
    /// `<prefix>.aggregates`, once all windows are written.
    pub(crate) aggregates: Option<Vec<Record>>,
    /// `<prefix>.audit`, once it has caught up.
    pub(crate) audit: Option<Vec<Record>>,
    /// Further topics, searched for secrets only.
    pub(crate) others: BTreeMap<String, Vec<Record>>,
    /// Names and contents of logs, metrics and the like, searched for secrets.
    pub(crate) texts: Vec<(String, String)>,
    /// What must be in none of these.
    pub(crate) secrets: Vec<String>,
    /// Agents and servers whose calls may be repeated.
    pub(crate) repeatable: BTreeSet<String>,
    /// Milliseconds since 1970 at which the topics were read.
    pub(crate) now: u64,
}

/// Holds the evidence against every invariant.
pub(crate) fn judge(evidence: &Evidence) -> Report {
    let stories = Stories::of(&evidence.requests, &evidence.events);
    let mut report = Report::default();
    count(evidence, &stories, &mut report);
    rules::ends::check(evidence, &stories, &mut report);
    rules::answers::check(evidence, &stories, &mut report);
    rules::streams::check(evidence, &stories, &mut report);
    rules::calls::check(evidence, &stories, &mut report);
    rules::keys::check(evidence, &stories, &mut report);
    rules::liveness::check(evidence, &mut report);
    rules::secrets::check(evidence, &mut report);
    rules::processes::check(evidence, &mut report);
    if let Some(aggregates) = &evidence.aggregates {
        rules::sums::check(&evidence.events, aggregates, &mut report);
    }
    if let Some(audit) = &evidence.audit {
        rules::audit::check(&stories, &evidence.events, audit, &mut report);
    }
    report
}

/// Accepted requests that have no terminal record.
pub(crate) fn open(requests: &[Record], events: &[Record]) -> Vec<String> {
    let stories = Stories::of(requests, events);
    let open = stories.accepted().filter(|(_, story)| story.terminals.is_empty());
    open.map(|(id, _)| id.to_owned()).collect()
}

fn count(evidence: &Evidence, stories: &Stories<'_>, report: &mut Report) {
    report.count("requests sent", evidence.sent.len());
    for sent in &evidence.sent {
        report.count(&format!("clients: {}", sent.outcome.label()), 1);
    }
    report.count("calls seen by upstreams", evidence.seen.len());
    report.count("requests accepted", stories.accepted().count());
    report.count("records of an older epoch", stories.fenced);
    report.count("records that are none of ours", stories.foreign);
    for (_, story) in stories.accepted() {
        for terminal in &story.terminals {
            report.count(&format!("ended: {}", terminal.get("kamf_state")), 1);
        }
    }
}
