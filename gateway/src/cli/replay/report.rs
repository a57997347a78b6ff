//! What is told of a replay: differences as they are found, progress, the sum.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Args;
use super::compare::show;
use super::gather::{Range, Recorded};
use super::run::{Outcome, Verdict};
use crate::cli::CliError;
use crate::cli::print::{duration, plain};

/// How often progress is told.
const PROGRESS: Duration = Duration::from_millis(500);

pub(super) struct Report {
    json: bool,
    all: bool,
    selected: usize,
    skipped: Skipped,
    equal: usize,
    differ: usize,
    failed: usize,
    began: Instant,
    told: Instant,
    pub(super) interrupted: bool,
}

struct Skipped {
    open: usize,
    without_answer: usize,
    over_limit: usize,
}

impl Report {
    pub(super) fn new(args: &Args, range: &Range) -> Self {
        let now = Instant::now();
        Self {
            json: args.json,
            all: args.all,
            selected: range.exchanges.len(),
            skipped: Skipped {
                open: range.open,
                without_answer: range.without_answer,
                over_limit: range.over_limit,
            },
            equal: 0,
            differ: 0,
            failed: 0,
            began: now,
            told: now,
            interrupted: false,
        }
    }

    /// Lists what would be sent.
    pub(super) fn list(&self, exchanges: &[Recorded]) -> Result<ExitCode, CliError> {
        let mut out = io::stdout().lock();
        for recorded in exchanges {
            if self.json {
                writeln!(out, "{}", describe(recorded))?;
            } else {
                writeln!(out, "{}, {} bytes", headline(recorded), recorded.body.len())?;
            }
        }
        let count = exchanges.len();
        if self.json {
            let sum = json!({"selected": count, "skipped": self.skipped.json(), "dry_run": true});
            writeln!(out, "{sum}")?;
        } else {
            writeln!(out, "{count} would be sent{}", self.skipped.text())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    pub(super) fn add(&mut self, outcome: &Outcome) -> Result<(), CliError> {
        let shown = match &outcome.verdict {
            Verdict::Equal => {
                self.equal += 1;
                self.all
            }
            Verdict::Differs(_) => {
                self.differ += 1;
                true
            }
            Verdict::Failed(_) => {
                self.failed += 1;
                true
            }
        };
        if self.json {
            writeln!(io::stdout().lock(), "{}", as_json(outcome))?;
        } else if shown {
            self.clear_progress();
            write!(io::stdout().lock(), "{}", as_text(outcome))?;
        }
        self.progress();
        Ok(())
    }

    /// Prints the sum; the exit code says whether all is equal.
    pub(super) fn close(&self) -> Result<ExitCode, CliError> {
        self.clear_progress();
        let sent = self.sent();
        let mut out = io::stdout().lock();
        if self.json {
            let sum = json!({
                "selected": self.selected, "sent": sent, "equal": self.equal, "differ": self.differ,
                "failed": self.failed, "skipped": self.skipped.json(), "interrupted": self.interrupted,
                "took_ms": u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
            writeln!(out, "{sum}")?;
        } else {
            let took = micros(self.began.elapsed());
            let (equal, differ, failed) = (self.equal, self.differ, self.failed);
            let stopped = if self.interrupted { ", interrupted" } else { "" };
            writeln!(
                out,
                "{sent} of {} sent in {took}: {equal} equal, {differ} differ, {failed} failed{}{stopped}",
                self.selected,
                self.skipped.text()
            )?;
        }
        let well = self.equal == self.selected;
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn sent(&self) -> usize {
        self.equal + self.differ + self.failed
    }

    fn progress(&mut self) {
        if self.told.elapsed() < PROGRESS || !io::stderr().is_terminal() {
            return;
        }
        self.told = Instant::now();
        eprint!("\r{} of {}, {} differ, {} failed ", self.sent(), self.selected, self.differ, self.failed);
    }

    fn clear_progress(&self) {
        if io::stderr().is_terminal() {
            eprint!("\r\u{1b}[K");
        }
    }
}

impl Skipped {
    fn text(&self) -> String {
        let reasons = [
            (self.open, "had not ended"),
            (self.without_answer, "ended otherwise"),
            (self.over_limit, "are beyond --limit"),
        ];
        let told = reasons.into_iter().filter(|(count, _)| *count > 0);
        told.map(|(count, why)| format!("; {count} left out that {why}")).collect()
    }

    fn json(&self) -> Value {
        json!({"open": self.open, "without_answer": self.without_answer, "over_limit": self.over_limit})
    }
}

fn headline(recorded: &Recorded) -> String {
    let admitted = &recorded.admitted;
    let tool = admitted.tool.as_deref().map(|tool| format!(" {}", plain(tool))).unwrap_or_default();
    format!(
        "{} {} {} → {} {}{tool}",
        humantime::format_rfc3339_millis(admitted.at),
        admitted.id,
        plain(&admitted.principal),
        plain(&admitted.agent),
        admitted.operation.method(admitted.dialect),
    )
}

fn as_text(outcome: &Outcome) -> String {
    let (headline, took) = (headline(&outcome.recorded), micros(outcome.took));
    match &outcome.verdict {
        Verdict::Equal => format!("{headline}: equal in {took}\n"),
        Verdict::Differs(differences) => format!("{headline}: differs in {took}\n{}", show(differences)),
        Verdict::Failed(why) => format!("{headline}: failed in {took}\n    {}\n", plain(why)),
    }
}

fn describe(recorded: &Recorded) -> Value {
    let admitted = &recorded.admitted;
    json!({
        "id": admitted.id.to_string(),
        "time": humantime::format_rfc3339_micros(admitted.at).to_string(),
        "principal": &*admitted.principal,
        "tenant": &*admitted.tenant,
        "agent": &*admitted.agent,
        "method": admitted.operation.method(admitted.dialect),
        "tool": admitted.tool.as_deref(),
        "mode": admitted.mode.as_str(),
        "partition": recorded.partition,
        "offset": recorded.offset,
        "bytes": recorded.body.len(),
        "recorded": recorded.end.map(|reason| reason.label()),
    })
}

fn as_json(outcome: &Outcome) -> Value {
    let mut value = describe(&outcome.recorded);
    value["took_us"] = json!(u64::try_from(outcome.took.as_micros()).unwrap_or(u64::MAX));
    match &outcome.verdict {
        Verdict::Equal => value["verdict"] = json!("equal"),
        Verdict::Differs(differences) => {
            value["verdict"] = json!("differs");
            value["differences"] = json!(differences);
        }
        Verdict::Failed(why) => {
            value["verdict"] = json!("failed");
            value["why"] = json!(why);
        }
    }
    value
}

fn micros(time: Duration) -> String {
    duration(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
