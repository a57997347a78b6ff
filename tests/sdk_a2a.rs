//! Unmodified a2a-sdk clients and agents, 1.x and 0.3.x, on either side of the gateway.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::common::program::Program;
use crate::common::tools::Python;
use crate::common::{Gateway, Result, Settings, Value, eventually, files};

const PATIENCE: Duration = Duration::from_secs(30);

/// The example with everything known.
async fn example() -> Result<Gateway> {
    let gateway = Gateway::start(&Settings::example()).await?;
    for tool in ["gold_price__price_now", "ledger__holdings", "profit_clac__profit"] {
        gateway.knows(&gateway.caller("analyst"), tool).await?;
    }
    card(&gateway, "advisor").await?;
    Ok(gateway)
}

/// The card of `agent`, once the gateway has it.
async fn card(gateway: &Gateway, agent: &str) -> Result<Value> {
    let caller = gateway.caller("analyst");
    eventually(PATIENCE, "the agent's card", || async {
        let mut request = caller.request(&format!("/a2a/{agent}/.well-known/agent-card.json"), &[], "");
        *request.method_mut() = hyper::Method::GET;
        let answer = caller.client.send(request).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        answer.json()
    })
    .await
}

fn agent_url(gateway: &Gateway, agent: &str) -> String {
    format!("{}/a2a/{agent}", gateway.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_1_x_sends_streams_gets_cancels_and_subscribes() -> Result {
    let Some(python) = Python::A2a1.ready("a2a-sdk 1.x client").await? else { return Ok(()) };
    let gateway = example().await?;
    let url = agent_url(&gateway, "advisor");
    let seen = Python::A2a1.run(&python, "a2a1_client.py", &[&url, "analyst-key"]).await?;

    let interfaces = seen["card"]["supportedInterfaces"].as_array().context("interfaces in the card")?;
    for interface in interfaces {
        let there = interface["url"].as_str().unwrap_or_default();
        ensure!(there.starts_with(&url), "the card leads past the gateway: {there}");
    }
    let states: Vec<&str> =
        seen["stream_states"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(states.first(), Some(&"TASK_STATE_SUBMITTED"), "{states:?}");
    assert_eq!(states.last(), Some(&"TASK_STATE_COMPLETED"), "{states:?}");
    ensure!(states.iter().filter(|state| **state == "artifact").count() == 1, "{states:?}");
    let task = &seen["send"][0]["task"];
    assert_eq!(task["artifacts"][0]["parts"][1]["data"]["profit_cents"], 84_620.0);
    assert_eq!(seen["get"], "TASK_STATE_COMPLETED");
    assert_eq!(seen["cancel"], "TASK_STATE_CANCELED");
    let subscribed = seen["subscribe_states"].as_array().context("states of the subscription")?;
    assert_eq!(subscribed.last().and_then(Value::as_str), Some("TASK_STATE_CANCELED"));
    assert_eq!(seen["errors"]["get_unknown"]["type"], "TaskNotFoundError");
    assert_eq!(seen["errors"]["cancel_done"]["type"], "TaskNotCancelableError");
    assert_eq!(seen["errors"]["subscribe_done"]["type"], "UnsupportedOperationError");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_0_3_sends_streams_gets_cancels_and_resubscribes() -> Result {
    let Some(python) = Python::A2a03.ready("a2a-sdk 0.3.x client").await? else { return Ok(()) };
    let gateway = example().await?;
    let url = agent_url(&gateway, "advisor");
    let seen = Python::A2a03.run(&python, "a2a03_client.py", &[&url, "analyst-key"]).await?;

    ensure!(seen["card"]["url"].as_str().is_some_and(|there| there.starts_with(&url)), "{}", seen["card"]);
    assert_eq!(seen["stream"]["artifacts"][0]["parts"][1]["data"]["profit_cents"], 84_620);
    assert_eq!(seen["stream_states"].as_array().and_then(|all| all.last()).unwrap(), "completed");
    assert_eq!(seen["send"]["artifacts"][0]["parts"][1]["data"]["profit_cents"], 84_620);
    assert_eq!(seen["get"], "completed");
    assert_eq!(seen["cancel"], "canceled");
    assert_eq!(seen["subscribe_states"].as_array().and_then(|all| all.last()).unwrap(), "canceled");
    for (error, code) in [("get_unknown", "-32001"), ("cancel_done", "-32002")] {
        let text = seen["errors"][error]["text"].as_str().unwrap_or_default();
        ensure!(text.contains(code), "{error}: {}", seen["errors"][error]);
    }
    Ok(())
}

/// Runs an agent of the SDK and gives its URL.
async fn agent(python: &Path, sdk: Python, script: &str, output: &Path) -> Result<(Program, String)> {
    let program = Program::start(sdk.command(python, script, &[]), output)?;
    let url = eventually(PATIENCE, "the agent's URL", || async {
        let said = program.output();
        said.lines().find(|line| line.starts_with("http://")).map(str::to_owned).ok_or(said)
    })
    .await?;
    Ok((program, url))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_made_with_1_x_is_served() -> Result {
    let Some(python) = Python::A2a1.ready("a2a-sdk 1.x agent").await? else { return Ok(()) };
    let folder = files::scratch();
    let (_agent, url) =
        agent(&python, Python::A2a1, "a2a1_server.py", &folder.path().join("agent.txt")).await?;
    let gateway = Gateway::start(&Settings::new().agent("echo", &url)).await?;
    card(&gateway, "echo").await?;
    let base = agent_url(&gateway, "echo");
    let seen = Python::A2a1.run(&python, "a2a1_client.py", &[&base, "analyst-key", "--echo"]).await?;
    assert_eq!(seen["send"][0]["task"]["artifacts"][0]["parts"][0]["text"], "What is my profit?");
    let states = seen["stream_states"].as_array().context("states")?;
    assert_eq!(states.last().and_then(Value::as_str), Some("TASK_STATE_COMPLETED"), "{states:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_made_with_0_3_is_served() -> Result {
    let Some(python) = Python::A2a03.ready("a2a-sdk 0.3.x agent").await? else { return Ok(()) };
    let folder = files::scratch();
    let (_agent, url) =
        agent(&python, Python::A2a03, "a2a03_server.py", &folder.path().join("agent.txt")).await?;
    let gateway = Gateway::start(&Settings::new().agent("echo", &url)).await?;
    card(&gateway, "echo").await?;
    let base = agent_url(&gateway, "echo");
    let seen = Python::A2a03.run(&python, "a2a03_client.py", &[&base, "analyst-key", "--echo"]).await?;
    assert_eq!(seen["send"]["artifacts"][0]["parts"][0]["text"], "What is my profit?");
    assert_eq!(seen["stream"]["artifacts"][0]["parts"][0]["text"], "What is my profit?");
    Ok(())
}
