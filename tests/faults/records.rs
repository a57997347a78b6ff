//! Records put into the topics by a stranger: passed over, and nothing behind them waits.

use std::time::Duration;

use anyhow::ensure;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::DEADLINE;
use crate::common::bed::Bed;
use crate::common::scene::Scene;
use crate::common::{Act, Recorder, Result};

type Headers = &'static [(&'static str, &'static [u8])];

const ID: &[u8] = b"0190a1b2-0000-7000-8000-000000000001";

/// Damage of each sort, none of it a whole record.
const STRANGE: &[(Headers, &[u8])] = &[
    (&[], b""),
    (&[], b"\xff\xfe\x00 no JSON"),
    (&[("kamf_kind", b"request")], b"{}"),
    (&[("kamf_kind", b"no such kind"), ("ce_id", ID)], b"{}"),
    (&[("kamf_kind", b"request"), ("ce_id", b"no id"), ("ce_time", b"no time")], b"{}"),
    (&[("kamf_kind", b"terminal"), ("ce_id", b"\xff"), ("kamf_state", b"\xff")], b""),
    (&[("kamf_kind", b"event"), ("kamf_sequence", b"99999999999999999999999")], b"\x00"),
    (&[("kamf_kind", b"epoch"), ("kamf_epoch", b"-5")], b""),
    (&[("kamf_epoch", b"9223372036854775807"), ("kamf_kind", b"started")], b""),
];

async fn strew(bootstrap: &str) -> Result<usize> {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let mut count = 0;
    for topic in ["kamf.requests", "kamf.events"] {
        for partition in 0..8 {
            for (headers, body) in STRANGE {
                let pairs = headers.iter().map(|(key, value)| Header { key, value: Some(*value) });
                let headers = pairs.fold(OwnedHeaders::new(), OwnedHeaders::insert);
                let record = FutureRecord::<[u8], [u8]>::to(topic).partition(partition).payload(body);
                let sent = producer.send(record.headers(headers), Duration::from_secs(10)).await;
                sent.map_err(|(error, _)| error)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

async fn story(bed: Bed) -> Result {
    let mut scene = Scene::start(bed, 1, Recorder::doing(Act::Echo).await, DEADLINE).await?;
    for _ in 0..2 {
        strew(scene.bed.bootstrap()).await?;
        scene.crowd(120).finish().await;
        // What is read again after a kill is read by the same rule.
        scene.gateways[0].kill().await?;
        scene.gateways[0].restart().await?;
        let caller = scene.gateways[0].caller("analyst");
        scene.gateways[0].knows(&caller, "tools__echo").await?;
    }
    let report = scene.demand().await?;
    let count = |what: &str| report.counts.get(what).copied().unwrap_or_default();
    ensure!(count("ended: completed") == 240, "not everything was completed:\n{report}");
    ensure!(count("records that are none of ours") > 0, "the strange records are not there:\n{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_records_stop_nothing() -> Result {
    story(Bed::embedded().await?).await
}
