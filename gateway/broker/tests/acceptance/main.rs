//! One list of checks, run against the embedded log and, where there is one, against a real Apache Kafka.
//!
//! The real one is started by `tests/kafka/start.sh`, unless `KAMF_KAFKA_BOOTSTRAP=host:port` names it. Each check makes its own topics and groups, so they run side by
//! side, and again and again against the same broker.

mod admin;
mod consume;
mod groups;
mod kafka;
mod offsets;
mod produce;
mod target;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kamf_broker::{Broker, Limits, Options};
use target::{Outcome, Target};

/// A named check.
type Check = (&'static str, fn(&Target) -> Outcome);

/// Checks that run at once; most of their time is waiting.
const AT_ONCE: usize = 6;

fn checks() -> Vec<Check> {
    [admin::CHECKS, produce::CHECKS, consume::CHECKS, offsets::CHECKS, groups::CHECKS].concat()
}

/// Runs all checks and fails with the list of those that failed.
fn run(target: &Target) {
    let checks = checks();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let only = std::env::var("KAMF_CHECK").unwrap_or_default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, check)) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !name.contains(&only) {
                        continue;
                    }
                    let begun = Instant::now();
                    let outcome = check(target);
                    let took = begun.elapsed().as_secs_f64();
                    match outcome {
                        Ok(()) => println!("ok     {name} ({took:.1} s)"),
                        Err(error) => {
                            println!("FAILED {name} ({took:.1} s): {error}");
                            failures.lock().expect("no check panics").push(format!("{name}: {error}"));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no check panics");
    assert!(
        failures.is_empty(),
        "{} of {} checks failed:\n{}",
        failures.len(),
        checks.len(),
        failures.join("\n")
    );
}

#[test]
fn embedded_log() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { retention_check: Duration::from_secs(1), ..Limits::default() };
    let broker = Broker::start(Options { limits, ..Options::new(directory.path()) }).unwrap();
    run(&Target::new(broker.address().to_string()));
    broker.shutdown();
}

#[test]
fn apache_kafka() {
    match std::env::var("KAMF_KAFKA_BOOTSTRAP") {
        Ok(bootstrap) => run(&Target::new(bootstrap)),
        Err(_) => {
            if let Some(kafka) = kafka::Kafka::start() {
                run(&Target::new(kafka.bootstrap.clone()));
            }
        }
    }
}

#[test]
fn names_are_unique_and_many() {
    let mut names: Vec<_> = checks().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(all >= 25, "{all} checks");
}
