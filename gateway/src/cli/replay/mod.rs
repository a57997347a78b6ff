//! `kamf replay`: recorded requests once more, against another agent, server or gateway, their answers compared.

mod compare;
mod error;
mod gather;
mod report;
mod run;
mod target;

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgGroup;

pub use error::ReplayError;

use super::select::{Select, outcomes};
use super::{CliError, reach};
use crate::config::Config;
use gather::gather;
use report::Report;
use target::Target;

const AFTER: &str = "\
The requests are those of the log, byte for byte; the credentials of their callers are not on the log, so --key is the
one for the target. Each is sent in a trace of its own. Requests that name a task of the agent that they were sent to
(GetTask, CancelTask and the like) are left out unless --method asks for them.

Two answers are equal when their JSON is; of A2A answers the members that an agent makes anew each time (id, messageId,
taskId, contextId, artifactId, timestamp) are not compared. The exit code is 0 when all are equal, else 1.

Examples:
  kamf replay --since 1h --agent echo --dry-run
      what would be sent
  kamf replay --since 1h --agent echo --to http://127.0.0.1:9001/
      the last hour against a new version of an agent
  KAMF_KEY=... kamf replay --since 2026-11-22T18:00:00Z --until 2026-11-22T19:00:00Z --gateway http://staging:8080
      an hour of everything against another gateway, or another configuration of this one
  kamf replay --offsets 3:1200..1300 --to http://127.0.0.1:9001/mcp --ignore price --ignore '$.result._meta'
      a hundred records of a partition, two members left out of the comparison";

/// Sends recorded requests to another agent, MCP server or gateway and compares the answers with the recorded ones.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
#[command(group = ArgGroup::new("where").args(["to", "gateway", "dry_run"]).required(true).multiple(true))]
pub struct Args {
    /// Only exchanges that ended with this state or reason; unless given, those that the upstream answered
    #[arg(long, help_heading = "Filters", value_name = "STATE|REASON", hide_possible_values = true,
          visible_aliases = ["state", "reason"], value_parser = outcomes())]
    pub outcome: Option<String>,
    /// Only requests at these offsets of a partition, the last one excluded; for several partitions, several times
    #[arg(long, help_heading = "Filters", value_name = "PARTITION:FROM..TO", value_parser = offsets)]
    pub offsets: Vec<Offsets>,
    /// At most so many, the oldest first
    #[arg(long, help_heading = "Filters", value_name = "COUNT", default_value_t = 10_000)]
    pub limit: usize,
    /// URL of the agent or MCP server to ask
    #[arg(long, help_heading = "Target", value_name = "URL")]
    pub to: Option<String>,
    /// Base URL of the gateway to ask, under the recorded names of agents and servers
    #[arg(long, help_heading = "Target", value_name = "URL", conflicts_with = "to")]
    pub gateway: Option<String>,
    /// Sent to the target as `Authorization: Bearer`; better given by the environment, where no list of processes shows it
    #[arg(long, help_heading = "Target", value_name = "KEY", env = "KAMF_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Lists what would be sent and sends nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Requests per second at most
    #[arg(long, value_name = "PER_SECOND", default_value_t = 20.0, value_parser = rate)]
    pub rate: f64,
    /// Requests under way at most; with 1 each waits for the answer to the one before
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// Longest wait for one answer
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Leaves a member out of the comparison: its name, for all places, or a path like $.result.price
    #[arg(long, value_name = "MEMBER|PATH")]
    pub ignore: Vec<String>,
    /// Compares also what agents make anew for each answer
    #[arg(long)]
    pub strict: bool,
    /// One JSON object for each exchange, and one for the whole at the end
    #[arg(long)]
    pub json: bool,
    /// Shows also the exchanges whose answers are equal
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub select: Select,
}

/// Offsets of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    pub partition: i32,
    pub from: i64,
    /// After the last.
    pub to: i64,
}

/// Replays; the exit code says whether all answers are equal.
///
/// # Errors
/// When the log cannot be read, or the target cannot be used.
pub async fn run(config: &Config, args: Args) -> Result<ExitCode, CliError> {
    let log = reach::log(config).await?;
    let (range, args) = tokio::task::spawn_blocking(move || (gather(&log, &args), args)).await?;
    let range = range?;
    let mut report = Report::new(&args, &range);
    if args.dry_run {
        return report.list(&range.exchanges);
    }
    if range.exchanges.is_empty() {
        return Err(ReplayError::Nothing.into());
    }
    let target = Target::start(config, &args, &range.exchanges).map_err(CliError::from)?;
    run::all(&args, range.exchanges, &std::sync::Arc::new(target), &mut report).await?;
    report.close()
}

impl Args {
    /// Which offsets of `partition` are asked for; none of them when others are.
    fn span(&self, partition: i32) -> Option<Offsets> {
        if self.offsets.is_empty() {
            return Some(Offsets { partition, from: 0, to: i64::MAX });
        }
        self.offsets.iter().find(|offsets| offsets.partition == partition).copied()
    }
}

fn offsets(text: &str) -> Result<Offsets, String> {
    let read = || {
        let (partition, range) = text.split_once(':')?;
        let (from, to) = range.split_once("..")?;
        let number = |text: &str, open: i64| if text.is_empty() { Some(open) } else { text.parse().ok() };
        let offsets =
            Offsets { partition: partition.parse().ok()?, from: number(from, 0)?, to: number(to, i64::MAX)? };
        (offsets.partition >= 0 && offsets.from >= 0 && offsets.from < offsets.to).then_some(offsets)
    };
    read().ok_or_else(|| "write partition and offsets as in 3:1200..1300, 3:1200.. or 3:..1300".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| (0.001..=1e6).contains(rate)).ok_or_else(|| "a number from 0.001 on".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_a_partition_and_a_range() {
        assert_eq!(offsets("3:1200..1300"), Ok(Offsets { partition: 3, from: 1200, to: 1300 }));
        assert_eq!(offsets("0:..7"), Ok(Offsets { partition: 0, from: 0, to: 7 }));
        assert_eq!(offsets("0:7.."), Ok(Offsets { partition: 0, from: 7, to: i64::MAX }));
        for wrong in ["", "3", "3:", "3:5", "3:5..5", "3:5..4", "-1:..", "x:1..2"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_a_number_above_zero() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
