//! Compares the gateway, under load, with nothing between (`direct`), with the least that a proxy can
//! be (`floor`), and with the log alone (`two_appends`).
//!
//! One process generates the load and measures; every server is a child process, so that its CPU and
//! memory can be read. Children are this same program under the hidden subcommands, and the gateway.

mod appends;
mod bench;
mod cases;
mod config;
mod cpu;
mod floor;
mod gateway;
mod load;
mod pace;
mod plan;
mod process;
mod report;
mod upstream;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::cases::Case;
use crate::plan::{Line, Plan};

/// Load test of the gateway: throughput, latency, CPU and memory beside those of simpler things.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// One short round: a look, not a figure to quote.
    #[arg(long)]
    quick: bool,
    /// Also writes the rows to this file, as a JSON array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these cases.
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    case: Vec<Case>,
    /// Only these lines.
    #[arg(long, value_name = "LINE", value_delimiter = ',')]
    line: Vec<Line>,
    /// The gateway's executable; `kamf` beside this program unless given.
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// Where the logs of the run are kept; beside this program unless given. Durability costs what the
    /// disk that holds this folder makes it cost.
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is in its children.
#[derive(Debug, Subcommand)]
enum Role {
    #[command(hide = true)]
    Upstream,
    #[command(hide = true)]
    Floor { upstream: SocketAddr },
    #[command(hide = true)]
    Appends { log: SocketAddr, holder: u32, rate: u32, milliseconds: u64 },
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    let role = arguments.role.take();
    if role.is_some() {
        process::end_with_parent();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match role {
            Some(Role::Upstream) => upstream::serve().await,
            Some(Role::Floor { upstream }) => floor::serve(upstream).await,
            Some(Role::Appends { log, holder, rate, milliseconds }) => {
                appends::run(log, holder, rate, Duration::from_millis(milliseconds)).await
            }
            None => measure(arguments).await,
        }
    })
}

async fn measure(arguments: Arguments) -> Result<()> {
    let json = arguments.json.clone();
    let plan = plan(arguments)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Leaving by any of these ways ends the children.
    let results = tokio::select! {
        results = Box::pin(bench::run(plan)) => results?,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    };
    let rows = report::rows(&results);
    println!("{}", report::table(&rows));
    for warning in report::warnings(&results) {
        println!("{warning}");
    }
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&rows)?;
        std::fs::write(&path, text + "\n")
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    ensure!(results.answers.wrong == 0, "there were wrong answers");
    Ok(())
}

fn plan(arguments: Arguments) -> Result<Plan> {
    let own = std::env::current_exe()?;
    let beside = own.parent().context("this program lies in no folder")?;
    let quick = arguments.quick;
    let (warm, measure) = if quick { (200, 1000) } else { (300, 2000) };
    Ok(Plan {
        cases: or_all(&arguments.case, &Case::ALL),
        lines: or_all(&arguments.line, &Line::ALL),
        rounds: if quick { 1 } else { 3 },
        warm: Duration::from_millis(warm),
        measure: Duration::from_millis(measure),
        served: if quick { 0 } else { 100_000 },
        gateway: arguments.gateway,
        directory: arguments.directory.unwrap_or_else(|| beside.to_owned()),
    })
}

/// What was asked for, in the order of `all` and without repetitions; all of it when nothing was.
fn or_all<T: Copy + PartialEq>(asked: &[T], all: &[T]) -> Vec<T> {
    all.iter().copied().filter(|one| asked.is_empty() || asked.contains(one)).collect()
}
