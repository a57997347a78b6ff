//! Every exchange is on the log for anybody to read: kcat, Kafka's own console tools.

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::common::program::run;
use crate::common::tools;
use crate::common::{Act, Gateway, Recorder, Result, Settings, Value, json};

/// One of each: a send, a call, a stream, and a refusal; their relay ids.
async fn exchanges(gateway: &Gateway) -> Result<Vec<String>> {
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "tools__echo").await?;
    let sent = caller.ask("echo", "read me").await?;
    let called = caller.call("/mcp", "tools__echo", json!({"text": "read me"})).await?;
    let mut stream = caller.stream("echo", "read me").await?;
    while stream.next().await?.is_some() {}
    let refused = caller.call("/mcp", "tools__echo", json!({})).await?;
    let mut ids = Vec::new();
    for answer in [&sent, &called, &refused] {
        ensure!(!answer.relay_id().is_empty(), "no kamf-relay-id on {} {}", answer.status, answer.text());
        ids.push(answer.relay_id().to_owned());
    }
    ids.push(stream.relay_id);
    Ok(ids)
}

async fn gateway(upstream: &Recorder) -> Result<Gateway> {
    let settings = Settings::new().agent("echo", &upstream.url()).server("tools", &upstream.url());
    Gateway::start(&settings).await
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn kcat_reads_every_exchange() -> Result {
    if !tools::have("kcat", &["-V"], "kcat on the embedded log").await? {
        return Ok(());
    }
    let upstream = Recorder::doing(Act::Echo).await;
    let gateway = gateway(&upstream).await?;
    let ids = exchanges(&gateway).await?;

    let kcat = |arguments: &[&str]| {
        let mut command = Command::new("kcat");
        command.args(["-b", &gateway.log, "-q"]).args(arguments);
        run(command, PATIENCE)
    };
    let listed = kcat(&["-L", "-J"]).await?.good()?;
    let listed: Value = serde_json::from_str(&listed.out).with_context(|| listed.out.clone())?;
    let topics: Vec<&str> = listed["topics"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|topic| topic["topic"].as_str())
        .collect();
    for topic in ["kamf.requests", "kamf.events"] {
        ensure!(topics.contains(&topic), "{topic} in {topics:?}");
    }
    let events = kcat(&["-C", "-t", "kamf.events", "-e", "-f", "%h %s\\n"]).await?.good()?.out;
    for id in &ids {
        ensure!(events.contains(&format!("ce_id={id}")), "{id} is not in\n{events}");
    }
    let requests = kcat(&["-C", "-t", "kamf.requests", "-e", "-f", "%h %s\\n"]).await?.good()?.out;
    assert_eq!(requests.matches("read me").count(), 3, "{requests}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kafkas_console_tools_read_every_exchange() -> Result {
    let Some(script) = tools::kafka("Kafka's console tools on the embedded log").await? else {
        return Ok(());
    };
    let upstream = Recorder::doing(Act::Echo).await;
    let gateway = gateway(&upstream).await?;
    let ids = exchanges(&gateway).await?;

    let tool = |class: &str, arguments: &[&str]| {
        let mut command = Command::new(&script);
        command.args(["tool", class, "--bootstrap-server", &gateway.log]).args(arguments);
        command.env("KAMF_KAFKA_JARS", tools::kafka_jars());
        run(command, PATIENCE)
    };
    let listed = tool("org.apache.kafka.tools.TopicCommand", &["--list"]).await?.good()?.out;
    for topic in ["kamf.requests", "kamf.events"] {
        ensure!(listed.lines().any(|line| line == topic), "{topic} in {listed}");
    }
    let consume = ["--topic", "kamf.events", "--from-beginning", "--timeout-ms", "8000"];
    let shown = ["--property", "print.headers=true"];
    let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    // The tool ends by running into its time limit, which it reports as an error.
    let events = tool(class, &[&consume[..], &shown[..]].concat()).await?;
    for id in &ids {
        ensure!(
            events.out.contains(&format!("ce_id:{id}")),
            "{id} is not in\n{}\n{}",
            events.out,
            events.err
        );
    }
    let groups = ["--describe", "--all-groups"];
    let groups =
        tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &groups).await?.good()?.out;
    ensure!(groups.contains("kamf.requests"), "the dispatcher's group in {groups}");
    Ok(())
}
