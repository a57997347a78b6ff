//! What could not be delivered is kept with its reason, and can be sent again, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::common::{Act, Caller, Gateway, Recorder, Result, Settings, Value, eventually, json, topics};

const SETTLE: Duration = Duration::from_secs(40);

/// The letters as `kamf deadletters list` gives them, once there are `count`.
async fn letters(gateway: &Gateway, count: usize) -> Result<Vec<Value>> {
    eventually(SETTLE, "dead letters", || async {
        let listed = gateway.kamf(&["deadletters", "list", "--json"]).await?;
        let letters: Vec<Value> =
            listed.out.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
        ensure!(letters.len() == count, "{} of {count}: {letters:?}", letters.len());
        Ok::<_, anyhow::Error>(letters)
    })
    .await
}

/// A gateway before an agent that says 503 until it is told to work.
async fn before_a_busy_agent() -> Result<(Gateway, Caller, Recorder, Arc<AtomicBool>)> {
    let works = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&works);
    let agent = Recorder::start(move |_| match told.load(Ordering::Relaxed) {
        true => Act::Echo,
        false => Act::Raw(503, "busy".to_owned()),
    })
    .await;
    let mut settings = Settings::new().agent("busy", &agent.url());
    settings.value["agents"]["busy"]["timeouts"] = json!({"total": "1500ms"});
    settings.value["delivery"]["breaker"] = json!({"pause": "100ms"});
    let gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    Ok((gateway, caller, agent, works))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_after_all_attempts_is_kept_and_can_be_sent_again_once() -> Result {
    let (mut gateway, caller, agent, works) = before_a_busy_agent().await?;
    let answer = caller.ask("busy", "keep me").await?;
    ensure!(matches!(answer.status, 502 | 504), "{} {}", answer.status, answer.text());
    let tried = agent.calls().len();
    let letter = letters(&gateway, 1).await?.remove(0);
    assert_eq!(
        (letter["relay_id"].as_str(), letter["agent"].as_str()),
        (Some(answer.relay_id()), Some("busy"))
    );
    ensure!(letter["attempts"].as_u64() >= Some(2), "{letter}");
    assert!(letter["redriven"].is_null());

    // The letter is the record as it stood: of the same caller, with the same body, where it names.
    let records = topics::read(&gateway.log, "kamf.deadletters").await?;
    let requests = topics::read(&gateway.log, "kamf.requests").await?;
    let source = requests.iter().find(|record| record.id() == answer.relay_id()).context("the request")?;
    assert_eq!(records[0].body, source.body);
    assert_eq!(letter["id"], format!("{}-{}", source.partition, source.offset));
    let schema: Value = serde_json::from_str(kamf::schema::DEAD_LETTER_SCHEMA)?;
    let record = json!({"headers": records[0].headers});
    ensure!(jsonschema::is_valid(&schema, &record), "{record}");
    // Which replica had it in hand is over.
    for (name, value) in source.headers.iter().filter(|(name, _)| *name != "kamf_epoch") {
        assert_eq!(records[0].get(name), value, "{name}");
    }

    works.store(true, Ordering::Relaxed);
    // What was redriven stays redriven, and so stays what was not.
    gateway.kill().await?;
    gateway.restart().await?;
    let redriven = gateway.kamf(&["deadletters", "redrive", "--all"]).await?;
    ensure!(redriven.success, "{redriven:?}");
    let new = redriven.out.trim().split_once(' ').context("ID and relay id")?.1.to_owned();
    eventually(SETTLE, "the end of what was redriven", || async {
        let events = topics::read(&gateway.log, "kamf.events").await?;
        let end = events.iter().find(|record| record.id() == new && record.kind() == "terminal");
        ensure!(end.is_some_and(|end| end.get("kamf_state") == "completed"), "{end:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(agent.calls().len(), tried + 1);
    let requests = topics::read(&gateway.log, "kamf.requests").await?;
    let again = requests.iter().find(|record| record.id() == new).context("the new request")?;
    assert_eq!(again.get("kamf_redrives"), answer.relay_id());
    assert_eq!((again.get("kamf_principal"), &again.body), ("analyst", &source.body));

    assert_eq!(letters(&gateway, 1).await?[0]["redriven"], new);
    let id = letter["id"].as_str().context("an id")?;
    let second = gateway.kamf(&["deadletters", "redrive", id]).await?;
    ensure!(!second.success, "redriven twice: {second:?}");
    ensure!(second.err.contains(&new), "{second:?}");
    assert_eq!(agent.calls().len(), tried + 1);
    let shown = gateway.kamf(&["deadletters", "show", id]).await?;
    let shown: Value = serde_json::from_str(&shown.out)?;
    assert_eq!(shown["body"]["params"]["message"]["parts"][0]["text"], "keep me");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_nobody_can_read_is_kept_and_holds_nobody_up() -> Result {
    let agent = Recorder::doing(Act::Echo).await;
    let gateway =
        Gateway::start(&Settings::new().agent("echo", &agent.url()).set("log.partitions", 1)).await?;
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &gateway.log).create()?;
    let damaged = [
        OwnedHeaders::new(),
        OwnedHeaders::new().insert(Header { key: "kamf_kind", value: Some("request") }),
        OwnedHeaders::new().insert(Header { key: "kamf_kind", value: Some(&b"\xff\xfe"[..]) }),
    ];
    let count = damaged.len();
    for headers in damaged {
        let record =
            FutureRecord::to("kamf.requests").partition(0).key("x").payload("damaged").headers(headers);
        producer.send(record, SETTLE).await.map_err(|(error, _)| error)?;
    }
    let answer = gateway.caller("analyst").ask("echo", "after them").await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let letters = letters(&gateway, count).await?;
    ensure!(letters.iter().all(|letter| letter["reason"] == "unreadable"), "{letters:?}");
    let id = letters[0]["id"].as_str().context("an id")?;
    let redriven = gateway.kamf(&["deadletters", "redrive", id]).await?;
    ensure!(!redriven.success, "{redriven:?}");
    let nothing = gateway.kamf(&["deadletters", "redrive", "--all"]).await?;
    ensure!(nothing.success, "{nothing:?}");
    Ok(())
}
