//! `kamf audit`: the story of one request, and the proof that nothing was changed.

pub mod show;
pub mod verify;

mod sources;

use std::process::ExitCode;

use super::CliError;
use crate::config::Config;

/// Looks into what was recorded.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Shows an exchange and all others of its trace, as a tree
    Show(show::Args),
    /// Checks every audit record against the chain and against the log
    Verify(verify::Args),
}

/// Runs the command; its exit code says whether all is well.
///
/// # Errors
/// When the log cannot be reached or read.
pub async fn run(config: &Config, args: Args) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Show(args) => show::run(config, args).await,
        Command::Verify(args) => verify::run(config, args).await,
    }
}
