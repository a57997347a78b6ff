//! `kamf deadletters`: what could not be delivered, and sending it again.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::print::plain;
use super::{CliError, http};
use crate::config::Config;
use crate::relay::Place;

/// List, show or redrive dead letters of the running gateway.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// One line for each letter
    List {
        #[command(flatten)]
        filter: Filter,
        /// One JSON object for each letter
        #[arg(long)]
        json: bool,
    },
    /// One letter with its body, as JSON
    Show {
        /// Its place in the requests, PARTITION-OFFSET, as `list` prints it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Send letters again, each once: as new requests of the same callers, with new relay ids
    Redrive {
        /// The letters; all that were not redriven yet with --all
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        #[command(flatten)]
        filter: Filter,
    },
}

/// Which letters.
#[derive(Debug, Default, clap::Args)]
pub struct Filter {
    /// Only those for this agent or MCP server
    #[arg(long)]
    agent: Option<String>,
    /// Only those with this reason (expired, upstream_timeout, unreadable, ...)
    #[arg(long)]
    reason: Option<String>,
}

impl Filter {
    fn wants(&self, letter: &Value) -> bool {
        let is = |want: &Option<String>, name: &str| want.as_deref().is_none_or(|want| letter[name] == want);
        is(&self.agent, "agent") && is(&self.reason, "reason")
    }
}

/// # Errors
/// When no gateway answers, or the log cannot be read.
pub async fn run(config: &Config, args: Args) -> Result<ExitCode, CliError> {
    let listen = config.admin.listen;
    match args {
        Args::List { filter, json } => {
            let mut out = io::stdout().lock();
            for letter in all(listen, &filter).await? {
                let line = if json { letter.to_string() } else { as_line(&letter) };
                writeln!(out, "{line}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Args::Show { id } => {
            let letter = http::get(listen, &path(&id)?).await?;
            writeln!(io::stdout(), "{letter:#}")?;
            Ok(ExitCode::SUCCESS)
        }
        Args::Redrive { ids, all: every, filter } => {
            let ids = if every { open(&all(listen, &filter).await?) } else { ids };
            redrive(listen, &ids).await
        }
    }
}

async fn all(listen: std::net::SocketAddr, filter: &Filter) -> Result<Vec<Value>, CliError> {
    let mut answer = http::get(listen, "/api/deadletters").await?;
    let Value::Array(letters) = answer["letters"].take() else { return Ok(Vec::new()) };
    Ok(letters.into_iter().filter(|letter| filter.wants(letter)).collect())
}

/// Those that can be sent again and were not.
fn open(letters: &[Value]) -> Vec<String> {
    let open =
        letters.iter().filter(|letter| letter["redriven"].is_null() && letter["reason"] != "unreadable");
    open.filter_map(|letter| Some(letter["id"].as_str()?.to_owned())).collect()
}

/// One after the other, so that it can be stopped at any point and gone on with.
async fn redrive(listen: std::net::SocketAddr, ids: &[String]) -> Result<ExitCode, CliError> {
    let (mut done, mut failed) = (0, 0);
    for (number, id) in ids.iter().enumerate() {
        progress(number + 1, ids.len(), id);
        match http::post(listen, &format!("{}/redrive", path(id)?)).await {
            Ok(answer) => {
                done += 1;
                writeln!(io::stdout(), "{id} {}", answer["redriven"].as_str().unwrap_or_default())?;
            }
            Err(CliError::Answer { status, body, .. }) => {
                failed += 1;
                let told: Value = serde_json::from_str(&body).unwrap_or_default();
                let why = told["error"]["message"].as_str().unwrap_or(&body);
                writeln!(io::stderr(), "{id}: not redriven ({status}): {}", plain(why))?;
            }
            Err(error) => return Err(error),
        }
    }
    writeln!(io::stderr(), "{done} of {} redriven", ids.len())?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// On a terminal a line that is written over.
fn progress(number: usize, of: usize, id: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r{number}/{of} {id}\x1b[K\r");
    }
}

fn path(id: &str) -> Result<String, CliError> {
    let place = Place::parse(id).ok_or_else(|| CliError::BadLetter(id.to_owned()))?;
    Ok(format!("/api/deadletters/{place}"))
}

fn as_line(letter: &Value) -> String {
    let text = |name: &str| plain(letter[name].as_str().unwrap_or("-")).into_owned();
    let mut line = format!(
        "{} {:<10} {:<21} {} attempts {} → {} {}",
        text("time"),
        text("id"),
        text("reason"),
        letter["attempts"],
        text("principal"),
        text("agent"),
        text("method"),
    );
    if letter["tool"].is_string() {
        line.push_str(&format!(" {}", text("tool")));
    }
    if letter["redriven"].is_string() {
        line.push_str(&format!(" redriven as {}", text("redriven")));
    }
    line
}
