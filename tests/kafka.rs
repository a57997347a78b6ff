//! The main story on real Apache Kafka 4 in place of the embedded log.

use anyhow::ensure;

use crate::common::broker::Broker;
use crate::common::{Gateway, Recorder, Result, Settings, eventually, json, topics};
use crate::crash;

fn on(broker: &Broker, mut settings: Settings) -> Settings {
    settings.value["log"] = json!({"brokers": [broker.bootstrap], "replication": 1});
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_a_stream_a_call_and_crashes_on_apache_kafka() -> Result {
    let Some(broker) = Broker::start("the end-to-end story on Apache Kafka").await? else { return Ok(()) };

    let mut gateway = Gateway::start(&on(&broker, Settings::example())).await?;
    let caller = gateway.caller("analyst");
    for tool in ["gold_price__price_now", "ledger__holdings", "profit_clac__profit"] {
        gateway.knows(&caller, tool).await?;
    }
    let answer = caller.ask("advisor", "What is my profit?").await?;
    let task = answer.json()?;
    assert_eq!(task["result"]["task"]["artifacts"][0]["parts"][1]["data"]["profit_cents"], 84_620, "{task}");
    let mut stream = caller.stream("advisor", "What is my profit?").await?;
    let mut messages = 0;
    while stream.next().await?.is_some() {
        messages += 1;
    }
    ensure!(messages >= 4, "{messages} messages on the stream");
    let call = caller.call("/mcp", "ledger__holdings", json!({})).await?;
    assert_eq!(call.last()?["result"]["structuredContent"]["milli_ounces"], 3000, "{}", call.text());
    let requests = topics::read(&broker.bootstrap, "kamf.requests").await?;
    ensure!(requests.len() >= 9, "two questions, six calls below them and one beside: {}", requests.len());
    eventually(std::time::Duration::from_secs(20), "the audit", || async {
        gateway.kamf(&["audit", "verify"]).await?.good()
    })
    .await?;
    assert!(gateway.stop().await?.success(), "{}", gateway.output());

    let upstream = Recorder::slow().await;
    let settings = on(&broker, crash::settings(&upstream)).set("log.prefix", "crash");
    let mut gateway = Gateway::start(&settings).await?;
    println!("{}", crash::story(&mut gateway, &upstream, "crash").await?);
    Ok(())
}
