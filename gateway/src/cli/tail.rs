//! `kamf tail`: what is written to the log, one line for each record.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::print::{duration, plain};
use super::select::{Select, is_outcome, outcomes};
use super::{CliError, reach};
use crate::aggregate::reader::{Partition, Polled, Reader};
use crate::aggregate::row::micros;
use crate::config::Config;
use crate::relay::record::{Kind, View};
use crate::relay::{Log, Topic};

/// Lines of one partition that are put in order with those of the others, at once.
const MAX_GATHERED: usize = 1_000;

const AFTER: &str = "Examples:
  kamf tail --agent ledger --tool holdings            one tool of one server, as it is called
  kamf tail --since 15m --outcome failed --no-follow  what failed in the last quarter of an hour
  kamf tail --id 0193a5c2-7c1e-7000-8000-0123456789ab --from-beginning --no-follow
  kamf tail --json --kind terminal | jq -c 'select(.duration_us > 1000000)'

A record must pass all filters that are given. --outcome looks at the ends of exchanges only.";

/// How long after a time a record of it may come, at the latest.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Follows requests and events, from now on unless told otherwise.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// Only records of this kind
    #[arg(long, help_heading = "Filters", value_parser = kinds())]
    pub kind: Option<String>,
    /// Only ends with this state (completed, failed, ...) or reason (upstream_timeout, ...)
    #[arg(long, help_heading = "Filters", value_name = "STATE|REASON", hide_possible_values = true,
          visible_aliases = ["state", "reason"], value_parser = outcomes())]
    pub outcome: Option<String>,
    /// Everything that the log has, then what comes
    #[arg(long, conflicts_with = "since")]
    pub from_beginning: bool,
    /// End when everything that the log has was shown
    #[arg(long)]
    pub no_follow: bool,
    /// One JSON object for each record
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub select: Select,
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(Kind::ALL.map(Kind::as_str))
}

/// Prints until it is ended.
///
/// # Errors
/// When the log cannot be reached or read.
pub async fn run(config: &Config, args: Args) -> Result<ExitCode, CliError> {
    let log = reach::log(config).await?;
    tokio::task::spawn_blocking(move || follow(&log, &args, &mut io::stdout().lock())).await??;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn follow(log: &Log, args: &Args, out: &mut impl Write) -> Result<(), CliError> {
    let reader = Reader::gathering(log, "tail")?;
    let mut places = Vec::new();
    let mut ends = Vec::new();
    for partition in 0..log.partitions() {
        for topic in [Topic::Requests, Topic::Events] {
            let extent = reader.extent(topic, partition)?;
            let first = match args.select.since {
                // A record is never written before the time that it tells of.
                Some(since) => reader.offset_at(topic, partition, micros(since))?,
                None if args.from_beginning => extent.low,
                None => extent.high,
            };
            places.push((topic, partition, first));
            ends.push(extent.high);
        }
    }
    let mut queues = reader.assign(&places)?;
    if !args.json {
        eprintln!("following {} and {}", log.topic(Topic::Requests), log.topic(Topic::Events));
    }
    loop {
        let lines = gather(&mut queues, args)?;
        let nothing = lines.is_empty();
        for (_, line) in lines {
            writeln!(out, "{line}")?;
        }
        if nothing {
            out.flush()?;
        }
        let read_out = queues.iter().zip(&ends).all(|(queue, end)| queue.next >= *end);
        let over = |until| SystemTime::now().duration_since(until).is_ok_and(|ago| ago >= ON_ITS_WAY);
        if read_out && (args.no_follow || args.select.until.is_some_and(over)) {
            return Ok(());
        }
        reader.serve(Duration::from_millis(if nothing { 50 } else { 0 }))?;
    }
}

/// What there is now, in the order of event time; after a start with the beginning that is much.
fn gather(queues: &mut [Partition], args: &Args) -> Result<Vec<(SystemTime, String)>, CliError> {
    let mut lines = Vec::new();
    for queue in queues {
        for _ in 0..MAX_GATHERED {
            let Polled::Record(message) = queue.poll(Duration::ZERO)? else { break };
            if let Ok(view) = View::decode(&message)
                && args.wants(&view)
            {
                lines.push((view.fields.time, if args.json { as_json(&view) } else { as_line(&view) }));
            }
        }
    }
    lines.sort_by_key(|(time, _)| *time);
    Ok(lines)
}

impl Args {
    fn wants(&self, view: &View<'_>) -> bool {
        let fields = &view.fields;
        let outcome = |want: &String| fields.end.is_some_and(|end| is_outcome(want, end.reason));
        self.kind.as_deref().is_none_or(|want| want == fields.kind.as_str())
            && self.outcome.as_ref().is_none_or(outcome)
            && self.select.wants(view)
    }
}

fn as_line(view: &View<'_>) -> String {
    let fields = &view.fields;
    let mut line = format!(
        "{} {:<8} {} {} → {} {}",
        humantime::format_rfc3339_millis(fields.time),
        fields.kind.as_str(),
        fields.id,
        plain(fields.principal),
        plain(fields.agent),
        plain(fields.method),
    );
    if let Some(tool) = fields.tool {
        line.push(' ');
        line.push_str(&plain(tool));
    }
    if fields.sequence > 0 {
        line.push_str(&format!(" #{}", fields.sequence));
    }
    if let Some(end) = fields.end {
        let (state, reason) = (end.state.as_str(), end.reason.label());
        line.push_str(&format!(" {state}"));
        if reason != state {
            line.push_str(&format!(" ({reason})"));
        }
        let micros = u64::try_from(end.duration.as_micros()).unwrap_or(u64::MAX);
        line.push_str(&format!(" {}", duration(micros)));
    }
    line
}

fn as_json(view: &View<'_>) -> String {
    let fields = &view.fields;
    json!({
        "time": humantime::format_rfc3339_micros(fields.time).to_string(),
        "kind": fields.kind.as_str(),
        "id": fields.id.to_string(),
        "traceparent": fields.traceparent,
        "parent_span": fields.parent_span,
        "principal": fields.principal,
        "tenant": fields.tenant,
        "agent": fields.agent,
        "protocol": fields.dialect.protocol().as_str(),
        "version": fields.dialect.version(),
        "method": fields.method,
        "tool": fields.tool,
        "mode": fields.mode.as_str(),
        "policies": fields.policies,
        "sequence": fields.sequence,
        "state": fields.end.map(|end| end.state.as_str()),
        "reason": fields.end.map(|end| end.reason.label()),
        "duration_us": fields.end.map(|end| u64::try_from(end.duration.as_micros()).unwrap_or(u64::MAX)),
        "request_bytes": fields.end.map(|end| end.request_bytes),
        "answer_bytes": fields.end.map(|end| end.answer_bytes),
        "bytes": view.body.len(),
        "partition": view.partition,
        "offset": view.offset,
    })
    .to_string()
}
