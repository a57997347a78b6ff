//! The example as a new user meets it: the repository's own `kamf.yaml`, and the commands that it prints.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::common::program::{Output, run};
use crate::common::{Gateway, Result, Settings, eventually, files, ports};

const PATIENCE: Duration = Duration::from_secs(20);

/// The example with other ports, in a folder of its own.
async fn example() -> Result<Gateway> {
    let settings = Settings::new();
    let folder = files::scratch();
    let text = fs::read_to_string(files::repository().join("kamf.yaml"))?
        .replace("127.0.0.1:8080", &settings.public.to_string())
        .replace("127.0.0.1:8081", &settings.admin.to_string())
        .replace("127.0.0.1:9092", &settings.log.to_string())
        .replace("127.0.0.1:8090", &ports::free().to_string());
    fs::write(folder.path().join("kamf.yaml"), text)?;
    copy(&files::repository().join("policies"), &folder.path().join("policies"))?;
    Gateway::start_in(folder, &settings).await
}

fn copy(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The lines that a user would paste, as they were printed.
async fn printed(gateway: &Gateway) -> Result<Vec<String>> {
    eventually(PATIENCE, "five commands on standard output", || async {
        let output = gateway.output();
        let lines: Vec<String> =
            output.lines().filter(|line| line.starts_with("curl ")).map(str::to_owned).collect();
        if lines.len() == 5 { Ok(lines) } else { Err(output) }
    })
    .await
}

/// Pastes `line` into a shell. `-i` adds the answer's head.
async fn paste(line: &str) -> Result<(String, String)> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(line.replacen("curl ", "curl -i ", 1));
    let Output { out, .. } = run(shell, PATIENCE).await?.good()?;
    let (head, body) = out.split_once("\r\n\r\n").with_context(|| out.clone())?;
    Ok((head.to_ascii_lowercase(), body.to_owned()))
}

fn relay_id(head: &str) -> Result<&str> {
    let line = head.lines().find_map(|line| line.strip_prefix("kamf-relay-id: "));
    Ok(line.with_context(|| head.to_owned())?.trim())
}

fn profit_of(task: &Value) -> &Value {
    &task["artifacts"][0]["parts"][1]["data"]["profit_cents"]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_answer_as_they_are_printed() -> Result {
    let gateway = example().await?;
    gateway
        .knows(&crate::common::Caller::new(&gateway.url(), "analyst-demo-key"), "ledger__holdings")
        .await?;
    let lines = printed(&gateway).await?;

    let (head, body) = paste(&lines[0]).await?;
    let answer: Value = serde_json::from_str(&body)?;
    assert_eq!(profit_of(&answer["result"]["task"]), 84_620, "{body}");
    let id = relay_id(&head)?.to_owned();

    let (_, stream) = paste(&lines[1]).await?;
    ensure!(stream.matches("data:").count() >= 4, "a stream of several events: {stream}");
    ensure!(stream.contains("84620") && stream.contains("TASK_STATE_COMPLETED"), "{stream}");

    let (_, tools) = paste(&lines[2]).await?;
    for tool in ["gold_price__price_now", "ledger__holdings", "profit_clac__profit"] {
        ensure!(tools.contains(tool), "{tool} in {tools}");
    }
    ensure!(!tools.contains("ledger__buy"), "the analyst may not buy, so need not see it: {tools}");

    let (_, call) = paste(&lines[3]).await?;
    ensure!(call.contains("3000"), "the holdings: {call}");

    let (_, refusal) = paste(&lines[4]).await?;
    let refusal: Value = serde_json::from_str(&refusal)?;
    ensure!(refusal["error"]["code"].is_i64(), "{refusal}");
    assert_eq!(refusal["id"], 5, "{refusal}");

    what_happened_shows(&gateway, &id).await
}

/// The commands that the README names after the five.
async fn what_happened_shows(gateway: &Gateway, id: &str) -> Result {
    let story = eventually(PATIENCE, "the story of four exchanges", || async {
        let story = gateway.kamf(&["audit", "show", id]).await?.good()?.out;
        for part in [id, "advisor", "price_now", "holdings", "profit"] {
            ensure!(story.contains(part), "{part} is missing from\n{story}");
        }
        Ok::<_, anyhow::Error>(story)
    })
    .await?;
    ensure!(story.contains("4 exchanges"), "a question and three calls below it:\n{story}");
    let tail = gateway.kamf(&["tail", "--from-beginning", "--no-follow", "--json"]).await?.good()?.out;
    ensure!(tail.matches(id).count() >= 2, "request and end of {id}:\n{tail}");

    eventually(PATIENCE, "the counts", || async {
        let metrics = gateway.admin("/metrics").await?.text();
        ensure!(metrics.contains("kamf_"), "{metrics}");
        let top = gateway.kamf(&["top", "--once"]).await?.good()?.out;
        ensure!(top.contains("advisor") && top.contains("ledger"), "{top}");
        let aggregates = gateway.admin("/api/aggregates").await?;
        ensure!(aggregates.status == 200 && aggregates.text().contains("advisor"), "{}", aggregates.text());
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_passes_its_own_check() -> Result {
    let mut check = Command::new(files::kamf());
    check.arg("check").current_dir(files::repository()).env_remove("KAMF_CONFIG");
    run(check, PATIENCE).await?.good()?;
    Ok(())
}
