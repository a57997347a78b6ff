//! `kamf tasks`: the A2A tasks that the gateway knows, or one of them with its exchanges.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::print::{plain, table};
use super::{CliError, http};
use crate::config::Config;

/// Lists tasks, the latest first; with an agent and a task shows that one and its exchanges.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Show this task: its agent, a slash, and its id
    #[arg(value_name = "AGENT/TASK")]
    pub task: Option<String>,
    /// Only tasks of this agent
    #[arg(long, conflicts_with = "task")]
    pub agent: Option<String>,
    /// Only tasks in this state, in the words of either version: working, TASK_STATE_WORKING
    #[arg(long, conflicts_with = "task")]
    pub state: Option<String>,
    /// Only tasks of this caller
    #[arg(long, conflicts_with = "task")]
    pub principal: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 100, conflicts_with = "task")]
    pub limit: usize,
    /// The gateway's answer as it is
    #[arg(long)]
    pub json: bool,
}

/// Asks the gateway and prints.
///
/// # Errors
/// When no gateway answers, or it knows no such task.
pub async fn run(config: &Config, args: Args) -> Result<ExitCode, CliError> {
    let answer = http::get(config.admin.listen, &path(&args)).await?;
    let text = match &args {
        Args { json: true, .. } => format!("{answer:#}\n"),
        Args { task: Some(_), .. } => one(&answer),
        _ => list(&answer),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn path(args: &Args) -> String {
    if let Some(task) = &args.task {
        let (agent, task) = task.split_once('/').unwrap_or((task, ""));
        return format!("/api/tasks/{}/{}", encode(agent), encode(task));
    }
    let mut path = format!("/api/tasks?limit={}", args.limit);
    let filters = [("agent", &args.agent), ("state", &args.state), ("principal", &args.principal)];
    for (name, value) in filters {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    path
}

/// Percent-encodes all but what RFC 3986 leaves unreserved.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn list(answer: &Value) -> String {
    let heads = ["agent", "task", "state", "principal", "tenant", "partition", "since"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for task in answer["tasks"].as_array().into_iter().flatten() {
        rows.push(vec![
            word(&task["agent"]),
            word(&task["task"]),
            word(&task["state"]),
            word(&task["principal"]),
            word(&task["tenant"]),
            word(&task["partition"]),
            word(&task["time"]),
        ]);
    }
    let mut text = table(&rows, rows[0].len());
    if answer["more"] == true {
        text.push_str("there are more: --limit, or the filters, show them\n");
    }
    if answer["whole"] == false {
        text.push_str("the gateway is still reading the tasks from the log\n");
    }
    text
}

fn one(task: &Value) -> String {
    let mut text = format!(
        "{} of {}: {} since {}\n",
        word(&task["task"]),
        word(&task["agent"]),
        word(&task["state"]),
        word(&task["time"])
    );
    text.push_str(&format!("  owner {} of {}", word(&task["principal"]), word(&task["tenant"])));
    if !task["context"].is_null() {
        text.push_str(&format!(", context {}", word(&task["context"])));
    }
    text.push_str(&format!(", partition {}\n", word(&task["partition"])));
    let heads = ["exchange", "method", "mode", "outcome", "events", "since"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for exchange in task["exchanges"].as_array().into_iter().flatten() {
        let outcome =
            if exchange["reason"].is_null() { "open".to_owned() } else { word(&exchange["reason"]) };
        rows.push(vec![
            word(&exchange["id"]),
            word(&exchange["method"]),
            word(&exchange["mode"]),
            outcome,
            word(&exchange["events"]),
            word(&exchange["time"]),
        ]);
    }
    text + &table(&rows, rows[0].len())
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text).into_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_encoded() {
        let args = Args { agent: Some("a b".to_owned()), limit: 5, ..Args::default() };
        assert_eq!(path(&args), "/api/tasks?limit=5&agent=a%20b");
        let args = Args { task: Some("advisor/t/\u{e9}?".to_owned()), ..Args::default() };
        assert_eq!(path(&args), "/api/tasks/advisor/t%2F%C3%A9%3F");
    }

    #[test]
    fn a_task_is_told_with_its_exchanges() {
        let answer = serde_json::json!({
            "agent": "advisor", "task": "t\u{1b}[2J", "state": "working", "principal": "analyst", "tenant": "demo",
            "partition": 3, "time": "now", "exchanges": [{"id": "x", "method": "SendMessage", "mode": "relay",
                "reason": null, "events": 2, "time": "then"}],
        });
        let text = one(&answer);
        assert!(text.starts_with("t\\u{1b}[2J of advisor: working since now\n"), "{text}");
        assert!(text.ends_with("x         SendMessage  relay  open     2       then\n"), "{text}");
    }
}
