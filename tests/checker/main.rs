//! Holds a log against the ledgers of those who used it.
//!
//! ```text
//! checker --log 127.0.0.1:9092 --sent clients.jsonl --seen upstreams.jsonl --secrets keys.txt --search gateway.log
//! ```
//!
//! Exit code 0: no violation; 1: violations, each with invariant, relay id and what was found; 2: it could not be told.
//! `tests/README.md` says how ledgers are written and how the output is read.

#[path = "mod.rs"]
mod checker;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use checker::{Evidence, judge, ledger, log};
use clap::Parser;

#[derive(Parser)]
#[command(
    about = "Demands the invariants I1 to I12 of a log and of the ledgers of its clients and upstreams"
)]
struct Args {
    /// Brokers, HOST:PORT with commas
    #[arg(long)]
    log: String,
    /// Prefix of the topics
    #[arg(long, default_value = "kamf")]
    prefix: String,
    /// The clients' ledger
    #[arg(long, value_name = "FILE")]
    sent: Option<PathBuf>,
    /// The upstreams' ledger
    #[arg(long, value_name = "FILE")]
    seen: Option<PathBuf>,
    /// When gateways stood still
    #[arg(long, value_name = "FILE")]
    freezes: Option<PathBuf>,
    /// Readings of processes
    #[arg(long, value_name = "FILE")]
    readings: Option<PathBuf>,
    /// Secrets that may be nowhere, a line each
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Logs, metrics and other files to search for the secrets
    #[arg(long, value_name = "FILE")]
    search: Vec<PathBuf>,
    /// Agents and servers whose calls may be repeated
    #[arg(long, value_name = "NAME")]
    repeatable: Vec<String>,
    /// Also demand that aggregates and audit have caught up
    #[arg(long)]
    settled: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let evidence = match gather(Args::parse()).await {
        Ok(evidence) => evidence,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let report = judge(&evidence);
    println!("{report}");
    let open = checker::open(&evidence.requests, &evidence.events);
    if let Some(first) = open.first() {
        println!("{:>9}  accepted requests are still open, {first} among them", open.len());
    }
    if report.good().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn gather(args: Args) -> anyhow::Result<Evidence> {
    let topic = |name: &str| format!("{}.{name}", args.prefix);
    // Events first: then the request of each of them is among the requests.
    let events = log::read(&args.log, &topic("events")).await?;
    let requests = log::read(&args.log, &topic("requests")).await?;
    let mut evidence = Evidence { requests, events, ..Evidence::default() };
    for name in ["tasks", "deadletters"] {
        evidence.others.insert(name.to_owned(), log::read(&args.log, &topic(name)).await?);
    }
    if args.settled {
        evidence.aggregates = Some(log::read(&args.log, &topic("aggregates")).await?);
        evidence.audit = Some(log::read(&args.log, &topic("audit")).await?);
    }
    evidence.sent = args.sent.as_deref().map(ledger::read).transpose()?.unwrap_or_default();
    evidence.seen = args.seen.as_deref().map(ledger::read).transpose()?.unwrap_or_default();
    evidence.freezes = args.freezes.as_deref().map(ledger::read).transpose()?.unwrap_or_default();
    evidence.readings = args.readings.as_deref().map(ledger::read).transpose()?.unwrap_or_default();
    if let Some(path) = &args.secrets {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        evidence.secrets = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    }
    for path in &args.search {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        evidence.texts.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    evidence.repeatable = args.repeatable.into_iter().collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    evidence.now = now.as_millis().try_into()?;
    Ok(evidence)
}
