//! The program: arguments, configuration, signals, exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kamf::config::{self, Config};
use kamf::{cli, demo, stack, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// A gateway for A2A agents and MCP servers that puts every exchange on Kafka before it counts.
#[derive(Parser)]
#[command(version, about, after_help = AFTER)]
struct Arguments {
    /// The configuration; `KAMF_CONFIG`, else kamf.yaml in this folder, unless given
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER: &str = "Without a command the gateway runs. It prints where it listens and what to try.\n\
                     Errors in the configuration are all listed at once, with line and column: kamf check.";

#[derive(Subcommand)]
enum Command {
    /// Run the gateway (the default)
    Run,
    /// Check configuration, policies with their tests, and schemas, without starting
    Check,
    /// Follow the exchanges on the log, a line each
    Tail(cli::tail::Args),
    /// Send recorded requests to another agent, server or gateway and compare the answers
    Replay(cli::replay::Args),
    /// List the A2A tasks that the gateway knows, or show one with its exchanges
    Tasks(cli::tasks::Args),
    /// Show rates, errors, latencies, tokens and cost as they are now
    Top(cli::top::Args),
    /// Tell the story of one exchange, or verify the audit chain
    Audit(cli::audit::Args),
    /// List, show and redrive what could not be delivered
    #[command(subcommand)]
    Deadletters(cli::deadletters::Args),
    /// Print the hash of an API key read from standard input, for `identity.keys`
    Key(cli::key::Args),
    /// Run one of the example agents and MCP servers
    #[command(subcommand)]
    Demo(demo::Demo),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kamf: the runtime did not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(arguments));
    // Reading standard input blocks a thread that nothing can wake; it must not hold up the exit.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kamf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let path = config::path(arguments.config);
    match arguments.command.unwrap_or(Command::Run) {
        Command::Demo(which) => {
            start_logs(&config::Telemetry { json: false, filter: "info".to_owned() })?;
            demo::run(which).await?;
        }
        Command::Key(args) => return ended(cli::key::run(args).await),
        Command::Check => return Ok(cli::check::run(&path)),
        Command::Run => {
            let config = load(&path)?;
            start_logs(&config.telemetry)?;
            stack::run(config, stopped()).await?;
        }
        Command::Tail(args) => return ended(cli::tail::run(&load(&path)?, args).await),
        Command::Replay(args) => return ended(cli::replay::run(&load(&path)?, args).await),
        Command::Tasks(args) => return ended(cli::tasks::run(&load(&path)?, args).await),
        Command::Deadletters(args) => return ended(cli::deadletters::run(&load(&path)?, args).await),
        Command::Top(args) => return ended(cli::top::run(&load(&path)?, args).await),
        Command::Audit(args) => return ended(cli::audit::run(&load(&path)?, args).await),
    }
    Ok(ExitCode::SUCCESS)
}

fn load(path: &std::path::Path) -> anyhow::Result<Config> {
    config::load(path).map_err(|mistakes| anyhow::anyhow!("the configuration cannot be used\n{mistakes}"))
}

fn start_logs(settings: &config::Telemetry) -> anyhow::Result<()> {
    telemetry::start(settings).map_err(anyhow::Error::msg)
}

/// Whoever stopped reading our output has what they wanted.
fn ended(result: Result<ExitCode, cli::CliError>) -> anyhow::Result<ExitCode> {
    match result {
        Err(error) if error.is_reader_gone() => Ok(ExitCode::SUCCESS),
        result => Ok(result?),
    }
}

/// Ends with the first SIGTERM or SIGINT.
async fn stopped() {
    let terminate = signal(SignalKind::terminate()).context("SIGTERM");
    let interrupt = signal(SignalKind::interrupt()).context("SIGINT");
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (terminate, interrupt) => {
            for error in [terminate.err(), interrupt.err()].into_iter().flatten() {
                tracing::error!(%error, "a signal cannot be waited for; stop this process with SIGKILL");
            }
            std::future::pending().await
        }
    }
}
