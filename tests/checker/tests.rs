//! The checker itself: evidence in which nothing is wrong, and the same with each wrong planted, which must be found.

use sha2::{Digest, Sha256};

use crate::checker::ledger::{self, Outcome};
use crate::checker::rules::sums;
use crate::checker::{Evidence, Freeze, Reading, Record, Seen, Sent, judge};

const BEGIN: u64 = 1_700_000_000_000;
const DEADLINE: u64 = 60_000;

fn token(number: usize) -> String {
    format!("tok-{number:032x}")
}

fn id(number: usize) -> String {
    format!("00000000-0000-7000-8000-{number:012x}")
}

fn trace(number: usize) -> String {
    format!("00-{number:032x}-{number:016x}-01")
}

fn body(number: usize) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"SendMessage","params":"{}"}}"#, token(number))
}

fn answer(number: usize) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{number},"result":"{}"}}"#, token(number))
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn record(kind: &str, number: usize, offset: i64, after: u64, body: &str, more: &[(&str, &str)]) -> Record {
    let time = humantime::format_rfc3339_micros(
        std::time::UNIX_EPOCH + std::time::Duration::from_millis(BEGIN + after),
    );
    let usual = [
        ("kamf_kind", kind.to_owned()),
        ("kamf_mode", "relay".to_owned()),
        ("kamf_protocol", "a2a".to_owned()),
        ("kamf_method", "SendMessage".to_owned()),
        ("kamf_agent", "echo".to_owned()),
        ("kamf_tenant", "demo".to_owned()),
        ("ce_id", id(number)),
        ("ce_time", time.to_string()),
        ("traceparent", trace(number)),
    ];
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Record {
        headers: usual.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(more).collect(),
        key: id(number).into_bytes(),
        body: body.as_bytes().to_vec(),
        partition: 0,
        offset,
        timestamp: BEGIN + after,
    }
}

fn end(state: &str, reason: &str) -> Vec<(&'static str, String)> {
    let bytes = |name| (name, "7".to_owned());
    vec![
        ("kamf_state", state.to_owned()),
        ("kamf_reason", reason.to_owned()),
        bytes("kamf_request_bytes"),
        bytes("kamf_answer_bytes"),
    ]
}

fn terminal(number: usize, offset: i64, state: &str, reason: &str, body: &str) -> Record {
    let end = end(state, reason);
    let end: Vec<_> = end.iter().map(|(name, value)| (*name, value.as_str())).collect();
    record("terminal", number, offset, 40, body, &end)
}

fn sent(number: usize, outcome: Outcome) -> Sent {
    Sent {
        at: BEGIN,
        ended: Some(BEGIN + 50),
        gateway: "one".to_owned(),
        principal: "analyst".to_owned(),
        key: None,
        token: token(number),
        body: body(number),
        deadline: DEADLINE,
        outcome,
    }
}

fn answered(number: usize, body: &str) -> Outcome {
    Outcome::Answer { status: 200, relay_id: id(number), retry_after: false, body: body.to_owned() }
}

fn seen(number: usize) -> Seen {
    Seen {
        at: BEGIN + 20,
        traceparent: trace(number),
        method: "SendMessage".to_owned(),
        sha256: sha256(&body(number)),
        token: token(number),
    }
}

/// 1 and 2: a send answered; 3: a stream of two events; 4: cut off by a crash; 5: refused; 6: an agent that is down.
fn good() -> Evidence {
    let deadline = (BEGIN + DEADLINE).to_string();
    let request = |number: usize, offset| {
        record("request", number, offset, 5, &body(number), &[("kamf_deadline", &deadline)])
    };
    let started = |number, offset| record("started", number, offset, 10, "", &[]);
    let event = |offset, sequence: &str| {
        record("event", 3, offset, 30, &format!("e{sequence}"), &[("kamf_sequence", sequence)])
    };
    let mut refusal = terminal(5, 12, "refused", "forbidden", "no");
    refusal.headers.insert("kamf_kind".to_owned(), "refusal".to_owned());
    let messages = vec!["e1".to_owned(), "e2".to_owned()];
    let mut evidence = Evidence {
        sent: vec![
            sent(1, answered(1, &answer(1))),
            sent(2, answered(2, &answer(2))),
            sent(3, Outcome::Stream { relay_id: id(3), messages, complete: true }),
            sent(4, Outcome::Nothing { error: "cut".to_owned() }),
            sent(
                5,
                Outcome::Answer { status: 403, relay_id: id(5), retry_after: false, body: "no".to_owned() },
            ),
            sent(
                6,
                Outcome::Answer { status: 502, relay_id: id(6), retry_after: true, body: "down".to_owned() },
            ),
        ],
        seen: vec![seen(1), seen(2), seen(3), seen(4)],
        requests: vec![request(1, 0), request(2, 1), request(3, 2), request(4, 3), request(6, 4)],
        events: vec![
            record("epoch", 0, 0, 0, "", &[]),
            started(1, 1),
            started(2, 2),
            started(3, 3),
            started(4, 4),
            terminal(1, 5, "completed", "completed", &answer(1)),
            terminal(2, 6, "completed", "completed", &answer(2)),
            event(7, "1"),
            event(8, "2"),
            terminal(3, 9, "completed", "completed", ""),
            terminal(4, 10, "unknown", "lost", "lost"),
            started(6, 11),
            refusal,
            terminal(6, 13, "failed", "upstream_unreachable", "down"),
        ],
        texts: vec![("output".to_owned(), "all is well".to_owned())],
        secrets: vec!["analyst-key".to_owned()],
        now: BEGIN + 1_000,
        ..Evidence::default()
    };
    evidence.aggregates = Some(aggregates(&evidence.events));
    evidence.audit = Some(audit(&evidence.events));
    evidence
}

fn aggregates(events: &[Record]) -> Vec<Record> {
    let rows = sums::recount(events).into_iter();
    rows.map(|([start, tenant, agent, method, tool, state, reason], sums)| {
        let row = serde_json::json!({
            "window": "10s", "start": start, "tenant": tenant, "agent": agent, "method": method, "tool": tool,
            "state": state, "reason": reason, "calls": sums.calls, "request_bytes": sums.request_bytes,
            "answer_bytes": sums.answer_bytes,
        });
        Record { key: reason.into_bytes(), body: row.to_string().into_bytes(), ..Record::default() }
    })
    .collect()
}

fn audit(events: &[Record]) -> Vec<Record> {
    let mut previous = "0".repeat(64);
    let ends = events.iter().filter(|event| ["terminal", "refusal"].contains(&event.kind()));
    ends.zip(0..)
        .map(|(end, offset)| {
            let source = serde_json::json!({
                "offset": end.offset, "sha256": sha256(std::str::from_utf8(&end.body).unwrap()),
            });
            let value = serde_json::json!({"id": end.id(), "terminal": source, "previous": previous});
            previous = sha256(&format!("\0{value}"));
            let headers = [("kamf_hash".to_owned(), previous.clone())].into();
            Record { headers, body: value.to_string().into_bytes(), offset, ..Record::default() }
        })
        .collect()
}

fn set(record: &mut Record, header: &str, value: &str) {
    record.headers.insert(header.to_owned(), value.to_owned());
}

/// What is wrong, the invariant that it breaks, and how it is planted.
type Wrong = (&'static str, &'static str, fn(&mut Evidence));

const WRONGS: &[Wrong] = &[
    ("an answer whose request is not on the log", "I1", |e| drop(e.requests.remove(0))),
    ("an answer without a terminal record", "I1", |e| drop(e.events.remove(5))),
    ("an answer that is not the logged one", "I1", |e| e.sent[0].outcome = answered(1, r#"{"result":1}"#)),
    ("a request that is not the one sent", "I1", |e| e.sent[0].body.push(' ')),
    ("another refusal than the logged one", "I1", |e| {
        e.sent[4].outcome =
            Outcome::Answer { status: 403, relay_id: id(5), retry_after: false, body: "yes".to_owned() };
    }),
    ("a stream that the log does not know", "I1", |e| drop(e.requests.remove(2))),
    ("a call that is not on the log", "I2", |e| e.seen[0].traceparent = trace(99)),
    ("a call before its request", "I2", |e| e.seen[0].at = BEGIN + 4),
    ("a call before it was started", "I2", |e| e.seen[0].at = BEGIN + 9),
    ("a call that was never started", "I2", |e| drop(e.events.remove(1))),
    ("a call twice", "I3", |e| e.seen.push(seen(4))),
    ("completed without a call", "I3", |e| drop(e.seen.remove(0))),
    ("not reachable, but called", "I3", |e| e.seen.push(seen(6))),
    ("told as not done, but done", "I3", |e| {
        let body = r#"{"error":{"code":-31503}}"#.to_owned();
        e.sent[3].outcome = Outcome::Answer { status: 503, relay_id: id(4), retry_after: true, body };
    }),
    ("two calls for one key", "I3", |e| {
        e.sent[0].key = Some("k".to_owned());
        e.sent[1].key = Some("k".to_owned());
    }),
    ("two successes for one key", "I3", |e| {
        e.repeatable.insert("echo".to_owned());
        e.sent[0].key = Some("k".to_owned());
        e.sent[1].key = Some("k".to_owned());
    }),
    ("two ends", "I4", |e| {
        let mut second = e.events[10].clone();
        second.offset = 20;
        e.events.push(second);
    }),
    ("no end long after the deadline", "I4", |e| {
        e.events.remove(10);
        e.now = BEGIN + DEADLINE + 30_001;
    }),
    ("an end long after the deadline", "I4", |e| e.events[10].timestamp = BEGIN + DEADLINE + 30_001),
    ("an end of nothing", "I4", |e| drop(e.requests.remove(4))),
    ("accepted twice", "I4", |e| e.requests.push(e.requests[0].clone())),
    ("an end of an older epoch only", "I4", |e| {
        set(&mut e.events[10], "kamf_epoch", "0");
        e.events.insert(10, record("epoch", 0, 9, 0, "", &[]));
        e.now = BEGIN + DEADLINE + 30_001;
    }),
    ("a sum that is off by one", "I5", |e| {
        let rows = e.aggregates.as_mut().unwrap();
        rows[0].body =
            String::from_utf8(rows[0].body.clone()).unwrap().replace("calls\":", "calls\":1").into_bytes();
    }),
    ("a row too few", "I5", |e| drop(e.aggregates.as_mut().unwrap().pop())),
    ("a row too many", "I5", |e| {
        let rows = e.aggregates.as_mut().unwrap();
        let mut row = rows[0].clone();
        row.key.push(b'x');
        rows.push(row);
    }),
    ("an audit record changed", "I6", |e| e.audit.as_mut().unwrap()[1].body.push(b' ')),
    ("an audit record dropped", "I6", |e| drop(e.audit.as_mut().unwrap().remove(1))),
    ("the audit's tail cut", "I6", |e| drop(e.audit.as_mut().unwrap().pop())),
    ("an audit record repeated", "I6", |e| {
        let audit = e.audit.as_mut().unwrap();
        audit.insert(3, audit[1].clone());
    }),
    ("a changed copy of an audit record", "I6", |e| {
        let audit = e.audit.as_mut().unwrap();
        let mut copy = audit[1].clone();
        copy.body.push(b' ');
        set(&mut copy, "kamf_epoch", "1");
        audit.insert(3, copy);
    }),
    ("audit records swapped", "I6", |e| e.audit.as_mut().unwrap().swap(1, 2)),
    ("an end changed after its audit", "I6", |e| e.events[10].body.push(b'!')),
    ("another's answer", "I7", |e| {
        if let Outcome::Answer { body, .. } = &mut e.sent[0].outcome {
            body.push_str(&token(2));
        }
    }),
    ("another's event", "I7", |e| {
        if let Outcome::Stream { messages, .. } = &mut e.sent[2].outcome {
            messages.push(token(2));
        }
    }),
    ("a gap in the numbers", "I8", |e| set(&mut e.events[8], "kamf_sequence", "3")),
    ("an event twice on the log", "I8", |e| e.events.insert(9, e.events[8].clone())),
    ("an event behind the end", "I8", |e| e.events[8].offset = 20),
    ("events in another order", "I8", |e| {
        if let Outcome::Stream { messages, .. } = &mut e.sent[2].outcome {
            messages.swap(0, 1);
        }
    }),
    ("an event twice at the client", "I8", |e| {
        if let Outcome::Stream { messages, .. } = &mut e.sent[2].outcome {
            messages.insert(1, "e1".to_owned());
        }
    }),
    ("a stream that ends in order too early", "I8", |e| {
        if let Outcome::Stream { messages, .. } = &mut e.sent[2].outcome {
            messages.pop();
        }
    }),
    ("a broken stream that looks complete", "I8", |e| set(&mut e.events[9], "kamf_state", "unknown")),
    ("a call with another body", "I9", |e| e.seen[0].sha256 = sha256("another")),
    ("a call with another's token", "I9", |e| e.seen[0].token = token(2)),
    ("no answer at all", "I10", |e| e.sent[3].ended = None),
    ("an answer too late", "I10", |e| e.sent[0].ended = Some(BEGIN + DEADLINE + 5_501)),
    ("a status that may not be", "I10", |e| {
        e.sent[5].outcome =
            Outcome::Answer { status: 500, relay_id: id(6), retry_after: true, body: "down".to_owned() };
    }),
    ("503 without a word when to come again", "I10", |e| {
        e.sent[5].outcome =
            Outcome::Answer { status: 503, relay_id: id(6), retry_after: false, body: "down".to_owned() };
    }),
    ("too much memory", "I11", |e| e.readings.push(reading(101, 10))),
    ("descriptors that stay", "I11", |e| e.readings.push(reading(100, 107))),
    ("a secret in a header", "I12", |e| set(&mut e.events[5], "x", "Bearer analyst-key")),
    ("a secret in a body", "I12", |e| e.requests[0].body.extend(b"analyst-key")),
    ("a secret in an audit record", "I12", |e| e.audit.as_mut().unwrap()[0].key.extend(b"analyst-key")),
    ("a secret in another topic", "I12", |e| {
        let record = Record { body: b"analyst-key".to_vec(), ..Record::default() };
        e.others.insert("tasks".to_owned(), vec![record]);
    }),
    ("a secret in a log", "I12", |e| e.texts[0].1.push_str("analyst-key")),
];

fn reading(memory_kib: u64, descriptors: u64) -> Reading {
    let name = "one".to_owned();
    Reading { name, memory_kib, memory_cap_kib: 100, descriptors, descriptors_before: 10 }
}

#[test]
fn good_evidence_is_good() {
    let mut evidence = good();
    evidence.readings.push(reading(100, 106));
    let report = judge(&evidence).good().unwrap();
    assert_eq!(report.counts["requests accepted"], 5);
    assert_eq!(report.counts["ended: completed"], 3);
}

#[test]
fn every_planted_wrong_is_found() {
    let mut missed = Vec::new();
    for (what, invariant, plant) in WRONGS {
        let mut evidence = good();
        plant(&mut evidence);
        let report = judge(&evidence);
        if !report.violations.iter().any(|violation| violation.invariant == *invariant) {
            missed.push(format!("{what} ({invariant}): {report}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn what_a_fenced_owner_wrote_counts_for_nothing() {
    let mut evidence = good();
    let mut late = terminal(1, 21, "completed", "completed", "of a woken owner");
    set(&mut late, "kamf_epoch", "0");
    evidence.events.extend([record("epoch", 0, 20, 0, "", &[]), late]);
    let report = judge(&evidence).good().unwrap();
    assert_eq!(report.counts["records of an older epoch"], 1);
}

#[test]
fn a_copy_of_an_audit_record_by_another_replica_is_passed_over() {
    let mut evidence = good();
    let audit = evidence.audit.as_mut().unwrap();
    let mut copy = audit[1].clone();
    set(&mut copy, "kamf_epoch", "1");
    audit.insert(3, copy);
    let report = judge(&evidence).good().unwrap();
    assert_eq!(report.counts["audit records copied by another replica"], 1);
}

#[test]
fn time_that_a_gateway_stood_still_is_not_held_against_it() {
    let mut evidence = good();
    evidence.sent[0].ended = Some(BEGIN + DEADLINE + 9_000);
    evidence.freezes.push(Freeze { gateway: "one".to_owned(), from: BEGIN + 10, to: BEGIN + 8_010 });
    judge(&evidence).good().unwrap();
    evidence.freezes[0].gateway = "two".to_owned();
    judge(&evidence).good().unwrap_err();
}

#[test]
fn a_ledger_is_read_up_to_the_line_that_a_kill_cut_off() {
    let place = tempfile::NamedTempFile::new().unwrap();
    let line = serde_json::to_string(&seen(1)).unwrap();
    std::fs::write(place.path(), format!("{line}\n{line}\n{}", &line[..20])).unwrap();
    assert_eq!(ledger::read::<Seen>(place.path()).unwrap().len(), 2);
    std::fs::write(place.path(), format!("{line}\nno entry\n")).unwrap();
    ledger::read::<Seen>(place.path()).unwrap_err();
}
