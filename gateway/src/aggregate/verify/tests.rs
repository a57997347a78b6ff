use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use super::super::audit::Chain;
use super::*;

/// A partition's topics as vectors.
#[derive(Clone)]
struct Log {
    ends: Vec<Ended<Box<str>>>,
    requests: Vec<(RelayId, Source)>,
    audit: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq)]
struct Record {
    value: Vec<u8>,
    hash: String,
    epoch: Option<i64>,
}

struct Reading {
    log: Log,
    next: usize,
    first: i64,
    taken: Vec<RelayId>,
}

impl Sources for Reading {
    type Error = Infallible;

    fn first_event(&self) -> i64 {
        self.first
    }

    fn next_end(&mut self) -> Result<Option<Ended<Box<str>>>, Infallible> {
        while self.log.ends.get(self.next).is_some_and(|end| end.source.offset < self.first) {
            self.next += 1;
        }
        self.next += 1;
        Ok(self.log.ends.get(self.next - 1).cloned())
    }

    fn request(&mut self, id: RelayId, _: Option<i64>) -> Result<Request, Infallible> {
        if self.taken.contains(&id) {
            return Ok(Request::Taken);
        }
        self.taken.push(id);
        let found = self.log.requests.iter().find(|(request, _)| *request == id);
        Ok(found.map_or(Request::Missing, |(_, source)| Request::There(*source)))
    }
}

/// Three offsets of events for each exchange; every fifth one is refused.
fn log(exchanges: usize) -> Log {
    let mut log = Log { ends: Vec::new(), requests: Vec::new(), audit: Vec::new() };
    let mut chain = Chain::START;
    for n in 0..exchanges {
        let id = RelayId::generate();
        let refusal = n % 5 == 4;
        let source = |offset, body: &str| Source { offset, sha256: Hash::of_value(body.as_bytes()) };
        let end = Ended {
            id,
            partition: 3,
            source: source(3 * n as i64 + 2, &format!("answer {n}")),
            refusal,
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + n as u64),
            principal: "analyst".into(),
            tenant: "demo".into(),
            agent: "ledger".into(),
            method: "tools/call".into(),
            tool: (n % 2 == 0).then(|| "holdings".into()),
            state: if refusal { "refused" } else { "completed" },
            reason: if refusal { "forbidden" } else { "completed" },
            policies: Some("readers".into()),
        };
        let request = (!refusal).then(|| source(n as i64, &format!("request {n}")));
        log.requests.extend(request.map(|request| (id, request)));
        let (value, hash) = chain.append(&end, request);
        log.audit.push(Record { value, hash: hash.to_string(), epoch: Some(1) });
        log.ends.push(end);
    }
    log
}

fn verify(log: &Log, first: i64) -> Result<u64, Fault> {
    let mut sources = Reading { log: log.clone(), next: 0, first, taken: Vec::new() };
    let mut verifier = Verifier::new(3, 0);
    let unwrap = |stopped| match stopped {
        Stopped::Fault(fault) => fault,
        Stopped::Sources(never) => match never {},
    };
    for (offset, record) in log.audit.iter().enumerate() {
        let record = Audited {
            offset: offset as i64,
            value: &record.value,
            hash: Some(record.hash.as_bytes()),
            epoch: record.epoch,
        };
        verifier.check(&record, &mut sources).map_err(unwrap)?;
    }
    let checked = verifier.checked();
    verifier.finish(&mut sources).map_err(unwrap)?;
    Ok(checked)
}

/// Makes every hash fit the bytes again from `from` on, as somebody without a key can.
fn rechain(log: &mut Log, from: usize) {
    for n in from..log.audit.len() {
        let previous = match n {
            0 => Hash::GENESIS.to_string(),
            n => log.audit[n - 1].hash.clone(),
        };
        let mut value = log.audit[n].value.clone();
        let at = memchr::memmem::find(&value, br#""previous":""#).unwrap() + r#""previous":""#.len();
        value[at..at + 64].copy_from_slice(previous.as_bytes());
        log.audit[n] = Record { hash: Hash::of_leaf(&value).to_string(), value, epoch: Some(1) };
    }
}

#[test]
fn an_honest_log_verifies_also_when_its_sources_are_gone() {
    let log = log(50);
    assert_eq!(verify(&log, 0), Ok(50));
    assert_eq!(verify(&log, 31), Ok(50), "sources of the first ten removed");
    assert_eq!(verify(&log, 1_000), Ok(50));
    assert_eq!(verify(&self::log(0), 0), Ok(0));
}

#[test]
fn a_copy_by_another_replica_is_passed_over_and_one_by_the_same_is_found() {
    let honest = log(20);
    let mut copied = honest.clone();
    let copies: Vec<_> =
        honest.audit[5..9].iter().map(|record| Record { epoch: Some(0), ..record.clone() }).collect();
    copied.audit.splice(12..12, copies);
    assert_eq!(verify(&copied, 0), Ok(20));
    let mut repeated = honest.clone();
    repeated.audit.insert(12, honest.audit[8].clone());
    assert_eq!(verify(&repeated, 0).unwrap_err().what, Wrong::Chain);
    let mut changed = copied;
    let value = String::from_utf8(changed.audit[12].value.clone()).unwrap().replace("analyst", "nobody");
    changed.audit[12] =
        Record { hash: Hash::of_leaf(value.as_bytes()).to_string(), value: value.into(), epoch: Some(0) };
    assert_eq!(verify(&changed, 0).unwrap_err().what, Wrong::Chain);
}

#[test]
fn a_changed_source_is_found_at_its_exchange() {
    let honest = log(20);
    let mut log = honest.clone();
    log.ends[7].source.sha256 = Hash::of_value(b"another answer");
    let fault = verify(&log, 0).unwrap_err();
    assert_eq!((fault.offset, fault.what), (7, Wrong::Differs("terminal")));

    let mut log = honest.clone();
    log.requests[5].1.sha256 = Hash::of_value(b"another request");
    let fault = verify(&log, 0).unwrap_err();
    assert_eq!((fault.offset, fault.what), (6, Wrong::Differs("request")));

    let mut log = honest.clone();
    log.ends[3].principal = "treasurer".into();
    assert_eq!(verify(&log, 0).unwrap_err().what, Wrong::Differs("principal"));

    let mut log = honest.clone();
    let removed = log.ends.remove(9);
    assert_eq!(verify(&log, 0).unwrap_err().what, Wrong::NoEnd(removed.source.offset));

    let mut log = honest;
    log.requests.remove(0);
    assert_eq!(verify(&log, 0).unwrap_err().what, Wrong::Request);
}

#[test]
fn an_exchange_that_ends_twice_is_found() {
    let mut log = log(5);
    let mut again = log.ends[2].clone();
    again.source.offset = 100;
    let mut chain = Chain { previous: Hash::parse(&log.audit[4].hash).unwrap(), ..Chain::START };
    let (value, hash) = chain.append(&again, None);
    log.ends.push(again);
    log.audit.push(Record { value, hash: hash.to_string(), epoch: Some(1) });
    let fault = verify(&log, 0).unwrap_err();
    assert_eq!((fault.offset, fault.what), (5, Wrong::Request));
}

#[test]
fn every_random_tampering_is_found_and_the_first_bad_record_named() {
    let honest = log(40);
    let mut runner = TestRunner::new(Config { cases: 3_000, ..Config::default() });
    let drawn = (0..9_u32, 0..40_usize, 0..40_usize, any::<u16>(), any::<bool>());
    runner
        .run(&drawn, |(kind, i, j, bit, rewrite)| {
            let mut log = honest.clone();
            // Where it must show at the latest: the first place at which the topics differ.
            let first = tamper(&mut log, kind, i, j, bit);
            if rewrite
                && log.audit.iter().all(|record| serde_json::from_slice::<Entry>(&record.value).is_ok())
            {
                rechain(&mut log, 0);
            }
            if log.audit == honest.audit {
                return Ok(());
            }
            let fault = verify(&log, 0);
            prop_assert!(fault.is_err(), "tampering {kind} at {i}, {j} was not found");
            prop_assert_eq!(fault.unwrap_err().offset, first as i64, "tampering {} at {}, {}", kind, i, j);
            Ok(())
        })
        .unwrap();
}

fn tamper(log: &mut Log, kind: u32, i: usize, j: usize, bit: u16) -> usize {
    match kind {
        // Flip a bit.
        0 => {
            let value = &mut log.audit[i].value;
            let at = usize::from(bit >> 3) % value.len();
            value[at] ^= 1 << (bit & 7);
            i
        }
        // Drop.
        1 => {
            log.audit.remove(i);
            i
        }
        // Swap.
        2 => {
            log.audit.swap(i, j);
            i.min(j)
        }
        // Repeat.
        3 => {
            let again = log.audit[i].clone();
            log.audit.insert(i + 1, again);
            i + 1
        }
        // Insert a record that was never there.
        4 => {
            let strange = self::log(1).audit.remove(0);
            log.audit.insert(i, strange);
            i
        }
        // Cut the tail.
        5 => {
            log.audit.truncate(i);
            i
        }
        // Cut the head.
        6 => {
            log.audit.drain(..=i);
            0
        }
        // Rewrite a member.
        7 => {
            let text = String::from_utf8(log.audit[i].value.clone()).unwrap();
            log.audit[i].value = text.replace("\"analyst\"", "\"treasurer\"").into_bytes();
            i
        }
        // Rewrite a hash of what was audited.
        _ => {
            let mut value: Value = serde_json::from_slice(&log.audit[i].value).unwrap();
            value["terminal"]["sha256"] = Hash::of_value(&bit.to_le_bytes()).to_string().into();
            let hash = value["terminal"]["sha256"].to_string();
            let text = String::from_utf8(log.audit[i].value.clone()).unwrap();
            let terminal = text.find(r#""terminal":"#).unwrap();
            let at = terminal + text[terminal..].find(r#"sha256":"#).unwrap() + r#"sha256":"#.len();
            log.audit[i].value = format!("{}{hash}{}", &text[..at], &text[at + 66..]).into_bytes();
            i
        }
    }
}

#[test]
fn a_hundred_thousand_records_a_second_are_verified_when_optimised() {
    let log = log(2_000);
    let started = std::time::Instant::now();
    assert_eq!(verify(&log, 1_000_000), Ok(2_000));
    let rate = 2_000.0 / started.elapsed().as_secs_f64();
    // Unoptimised builds on busy machines are some thirty times slower.
    assert!(rate > if cfg!(debug_assertions) { 2_000.0 } else { 100_000.0 }, "{rate:.0} records/s");
}
