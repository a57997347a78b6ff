//! Unmodified MCP clients and servers: mcp 1.x and 2.x, LangChain, server-everything.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use tokio::process::Command;

use crate::common::program::Program;
use crate::common::tools::{self, Python};
use crate::common::{Act, Gateway, Recorder, Result, Settings, Value, eventually, files, json, ports};

const PATIENCE: Duration = Duration::from_secs(30);

/// What has to live as long as the gateway.
struct Dead {
    _servers: [Recorder; 2],
    _policies: tempfile::TempDir,
}

const DEAD_POLICY: &str = r#"
@id("readers-call-the-dead")
permit (principal in Group::"readers", action == Action::"call_tool", resource)
when { resource in [Server::"cut", Server::"silent"] };
"#;

/// The example, with a copy of every line that the ledger is sent in `seen.txt`; and two servers that are there but
/// answer no call: `cut` drops the connection, `silent` lets the deadline pass.
async fn example() -> Result<(Gateway, Dead)> {
    let dead = [Recorder::doing(Act::Cut).await, Recorder::doing(Act::Silent).await];
    let line = format!("tee -a seen.txt | {} demo ledger --file ledger.jsonl", files::kamf().display());
    let policies = files::scratch();
    for file in ["example.cedar", "kamf.cedarschema"] {
        fs::copy(files::repository().join("policies").join(file), policies.path().join(file))?;
    }
    fs::write(policies.path().join("dead.cedar"), DEAD_POLICY)?;
    let mut settings = Settings::example()
        .set("policies", policies.path().display().to_string())
        .stdio("ledger", json!({"command": "/bin/sh", "args": ["-c", line]}))
        .server("cut", &dead[0].url())
        .server("silent", &dead[1].url());
    settings.value["mcp"]["timeouts"]["silent"] = json!({"total": "2s"});
    let gateway = Gateway::start(&settings).await?;
    for tool in
        ["gold_price__price_now", "ledger__holdings", "profit_clac__profit", "cut__echo", "silent__echo"]
    {
        gateway.knows(&gateway.caller("analyst"), tool).await?;
    }
    Ok((gateway, Dead { _servers: dead, _policies: policies }))
}

/// The holdings of a fresh ledger, as a client sees the result of the call.
fn ensure_holdings(result: &Value) -> Result {
    ensure!(result["structuredContent"]["milli_ounces"] == 3000, "no fresh ledger: {result}");
    Ok(())
}

/// What is wrong with a request comes as an error that names it, in time, and the session goes on.
fn ensure_refusals(seen: &Value) -> Result {
    let cases = [
        ("denied", "buy"),
        ("unknown", "nonsense"),
        ("bad_arguments", "limit"),
        ("cut", "cut"),
        ("silent", "may have acted"),
    ];
    for (case, word) in cases.into_iter().filter(|(case, _)| !seen[case].is_null()) {
        println!("{case}: {}", seen[case]);
        let said = seen[case].to_string();
        ensure!(!said.contains("Timeout"), "{case}: the client hung: {said}");
        ensure!(said.contains(word), "{case}: the error does not say {word}: {said}");
    }
    ensure_holdings(&seen["after"])
}

fn ensure_progress(seen: &Value) -> Result {
    let steps = seen["progress"].as_array().map_or(0, Vec::len);
    ensure!(steps >= 2, "progress on the stream: {}", seen["progress"]);
    Ok(())
}

/// The ledger heard that a call was cancelled.
async fn ensure_cancelled(gateway: &Gateway, times: usize) -> Result {
    eventually(PATIENCE, "the cancellation at the server", || async {
        let lines = fs::read_to_string(gateway.folder().join("seen.txt"))?;
        let found = lines.matches("notifications/cancelled").count();
        ensure!(found >= times, "{found} of {times} cancellations in\n{lines}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

fn tools_of(seen: &Value) -> Vec<&str> {
    seen["tools"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_1_x_lists_calls_and_cancels() -> Result {
    let Some(python) = Python::Mcp1.ready("mcp 1.x client").await? else { return Ok(()) };
    let (gateway, _dead) = example().await?;

    let all = format!("{}/mcp", gateway.url());
    let seen = Python::Mcp1.run(&python, "mcp1_client.py", &[&all, "analyst-key", "ledger__"]).await?;
    let listed = tools_of(&seen);
    for tool in ["gold_price__price_now", "gold_price__price_on", "ledger__holdings", "profit_clac__profit"] {
        ensure!(listed.contains(&tool), "{tool} in {listed:?}");
    }
    ensure!(!listed.contains(&"ledger__buy"), "not for the analyst: {listed:?}");
    ensure_holdings(&seen["holdings"])?;
    ensure_progress(&seen)?;
    ensure_refusals(&seen)?;
    ensure_cancelled(&gateway, 1).await?;

    let one = format!("{}/mcp/ledger", gateway.url());
    let seen = Python::Mcp1.run(&python, "mcp1_client.py", &[&one, "analyst-key", ""]).await?;
    assert_eq!(tools_of(&seen), ["history", "holdings"]);
    ensure_holdings(&seen["holdings"])?;
    ensure_progress(&seen)?;
    ensure_refusals(&seen)?;
    ensure_cancelled(&gateway, 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_2_x_lists_calls_and_cancels_in_both_eras() -> Result {
    let Some(python) = Python::Mcp2.ready("mcp 2.x client").await? else { return Ok(()) };
    let (gateway, _dead) = example().await?;
    let mut cancellations = 0;
    for (mode, version) in [("2026-07-28", "2026-07-28"), ("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        for (path, prefix) in [("/mcp", "ledger__"), ("/mcp/ledger", "")] {
            let url = format!("{}{path}", gateway.url());
            let arguments = [&url, "analyst-key", prefix, mode];
            let seen = Python::Mcp2.run(&python, "mcp2_client.py", &arguments).await?;
            assert_eq!(seen["version"], version, "{mode} at {path}");
            ensure!(tools_of(&seen).contains(&format!("{prefix}holdings").as_str()), "{seen}");
            ensure_holdings(&seen["holdings"])?;
            ensure_progress(&seen)?;
            ensure_refusals(&seen)?;
            assert_eq!(seen["cancelled"], true);
            cancellations += 1;
            ensure_cancelled(&gateway, cancellations).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn langchain_has_the_gateway_as_its_only_server() -> Result {
    let Some(python) = Python::Mcp1.ready("LangChain's MultiServerMCPClient").await? else { return Ok(()) };
    let (gateway, _dead) = example().await?;
    let url = format!("{}/mcp", gateway.url());
    let seen = Python::Mcp1.run(&python, "langchain_client.py", &[&url, "analyst-key"]).await?;
    for (what, fact) in [("price", "424755"), ("holdings", "3000"), ("profit", "84620")] {
        ensure!(seen[what].as_str().is_some_and(|text| text.contains(fact)), "{what}: {}", seen[what]);
    }
    ensure!(tools_of(&seen).len() >= 5, "{seen}");
    Ok(())
}

fn ensure_everything(seen: &Value) -> Result {
    ensure!(tools_of(seen).contains(&"trigger-long-running-operation"), "{seen}");
    assert_eq!(seen["echo"], "Echo: hello");
    assert_eq!(seen["sum"], "The sum of 2 and 40 is 42.");
    ensure!(seen["progress"].as_array().is_some_and(|steps| steps.len() >= 3), "{}", seen["progress"]);
    ensure!(seen["long"].as_str().is_some_and(|text| text.contains("completed")), "{}", seen["long"]);
    Ok(())
}

/// Waits until the gateway has the tools of `server`, as a client of 2025-11-25 sees them.
async fn legacy_ready(gateway: &Gateway, server: &str) -> Result {
    let caller = gateway.caller("analyst");
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    eventually(PATIENCE, server, || async {
        let answer = caller.post(&format!("/mcp/{server}"), &[], body.to_string()).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn server_everything_serves_over_stdio_and_over_http() -> Result {
    let Some(npm) = tools::npm("@modelcontextprotocol/server-everything").await? else { return Ok(()) };
    let Some(python) = Python::Mcp1.ready("a client of server-everything").await? else { return Ok(()) };
    let program = npm.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let folder = files::scratch();
    let address = ports::free();
    let mut command = Command::new("node");
    command.arg(&program).arg("streamableHttp").env("PORT", address.port().to_string());
    let http = Program::start(command, &folder.path().join("everything.txt"))?;
    eventually(PATIENCE, "server-everything", || async {
        let said = http.output();
        if said.contains("listening") { Ok(()) } else { Err(said) }
    })
    .await?;

    let settings = Settings::new()
        .stdio("stdio", json!({"command": "node", "args": [program, "stdio"]}))
        .server("http", &format!("http://{address}/mcp"));
    let gateway = Gateway::start(&settings).await?;
    for server in ["stdio", "http"] {
        legacy_ready(&gateway, server).await?;
        let url = format!("{}/mcp/{server}", gateway.url());
        let seen = Python::Mcp1.run(&python, "everything_client.py", &[&url, "analyst-key"]).await?;
        ensure_everything(&seen)?;
    }
    Ok(())
}
