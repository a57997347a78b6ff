//! `kamf audit verify`: every audit record against the chain and against the log.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::sources::{Copied, Topics, Wait};
use crate::aggregate::reader::Reader;
use crate::aggregate::verify::{Audited, Fault, Stopped, Verifier};
use crate::cli::{CliError, reach};
use crate::config::Config;
use crate::relay::{Log, Topic};

/// How long audit records of exchanges that have ended may still be on their way.
const CATCH_UP: Duration = Duration::from_secs(10);

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(500);

/// Checks the audit trail; exit code 1 when anything is wrong.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// The outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// The outcome for one partition.
#[derive(Debug, serde::Serialize)]
pub struct Outcome {
    pub partition: i32,
    /// Records found good.
    pub checked: u64,
    /// Of these, how many the log no longer has the sources of.
    pub removed: u64,
    /// First audit record that is still there.
    pub first: i64,
    /// The first bad record.
    #[serde(serialize_with = "as_text")]
    pub fault: Option<Fault>,
}

/// Verifies every partition; the exit code says whether all is well.
///
/// # Errors
/// When the log cannot be reached or read.
pub async fn run(config: &Config, args: Args) -> Result<ExitCode, CliError> {
    let log = reach::log(config).await?;
    let outcomes = tokio::task::spawn_blocking(move || verify(&log)).await??;
    let text = if args.json {
        serde_json::to_string(&outcomes).unwrap_or_default() + "\n"
    } else {
        report(&outcomes)
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    let good = outcomes.iter().all(|outcome| outcome.fault.is_none());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Verifies every partition of `log`, telling progress on standard error.
pub fn verify(log: &Log) -> Result<Vec<Outcome>, CliError> {
    let reader = Reader::new(log, "verify")?;
    let mut progress = Progress { told: Instant::now(), total: 0, redraws: io::stderr().is_terminal() };
    let outcomes: Result<Vec<Outcome>, CliError> =
        (0..log.partitions()).map(|p| partition(&reader, p, &mut progress)).collect();
    progress.end();
    outcomes
}

fn partition(reader: &Reader, p: i32, progress: &mut Progress) -> Result<Outcome, CliError> {
    // Events first: what had ended by then must be audited, now or soon.
    let events = reader.extent(Topic::Events, p)?;
    let requests = reader.extent(Topic::Requests, p)?;
    let audit = reader.extent(Topic::Audit, p)?;
    let mut queues = reader.assign(&[
        (Topic::Audit, p, audit.low),
        (Topic::Requests, p, requests.low),
        (Topic::Events, p, events.low),
    ])?;
    let (Some(event_queue), Some(request_queue), Some(mut audit_queue)) =
        (queues.pop(), queues.pop(), queues.pop())
    else {
        return Err(CliError::Silent { topic: "audit", partition: p, seconds: 0 });
    };
    let mut topics = Topics::new(reader, p, (request_queue, event_queue));
    let mut verifier = Verifier::new(p, audit.low);
    let wait = Wait { reader, topic: Topic::Audit, partition: p };
    let mut last = Instant::now();
    let fault = loop {
        let mut record = None;
        wait.raw(&mut audit_queue, |message| record = Some(Copied::of(message)))?;
        if let Some(record) = record {
            last = Instant::now();
            topics.limit = i64::MAX;
            let audited = Audited {
                offset: record.offset,
                value: &record.value,
                hash: record.hash.as_deref(),
                epoch: record.epoch,
            };
            match verifier.check(&audited, &mut topics) {
                Ok(()) => progress.tell(p),
                Err(Stopped::Fault(fault)) => break Some(fault),
                Err(Stopped::Sources(error)) => return Err(error),
            }
            continue;
        }
        topics.limit = events.high;
        if !verifier.is_behind(&mut topics)? || last.elapsed() > CATCH_UP {
            break None;
        }
    };
    let (checked, removed) = (verifier.checked(), verifier.removed());
    let fault = match (fault, verifier.finish(&mut topics)) {
        (Some(fault), _) | (None, Err(Stopped::Fault(fault))) => Some(fault),
        (None, Err(Stopped::Sources(error))) => return Err(error),
        (None, Ok(())) => None,
    };
    Ok(Outcome { partition: p, checked, removed, first: audit.low, fault })
}

fn report(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let Outcome { partition, checked, removed, first, fault } = outcome;
        if let Some(fault) = fault {
            text.push_str(&format!("BAD   {fault} ({checked} good before)\n"));
            continue;
        }
        text.push_str(&format!("good  partition {partition}: {checked} records"));
        if *first > 0 {
            text.push_str(&format!(", from offset {first} on: what was before is gone"));
        }
        if *removed > 0 {
            text.push_str(&format!(
                ", {removed} against the chain alone, the log no longer has their sources"
            ));
        }
        text.push('\n');
    }
    let checked: u64 = outcomes.iter().map(|outcome| outcome.checked).sum();
    let bad = outcomes.iter().filter(|outcome| outcome.fault.is_some()).count();
    text.push_str(&match bad {
        0 => format!("{checked} audit records verified, nothing was changed\n"),
        _ => format!(
            "{bad} of {} partitions are bad; the first bad record of each is named above\n",
            outcomes.len()
        ),
    });
    text
}

fn as_text<S: serde::Serializer>(fault: &Option<Fault>, serializer: S) -> Result<S::Ok, S::Error> {
    match fault {
        Some(fault) => serializer.collect_str(fault),
        None => serializer.serialize_none(),
    }
}

struct Progress {
    told: Instant,
    total: u64,
    redraws: bool,
}

impl Progress {
    fn tell(&mut self, partition: i32) {
        self.total += 1;
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            let end = if self.redraws { "\r" } else { "\n" };
            eprint!("{} records checked, now in partition {partition}{end}", self.total);
        }
    }

    fn end(&self) {
        if self.redraws {
            eprint!("\u{1b}[2K");
        }
    }
}
