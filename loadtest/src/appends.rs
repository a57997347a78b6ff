//! Two acknowledged appends, one after the other, by bare rdkafka: what a durable exchange costs on
//! the log alone, with nothing of the gateway around it.
//!
//! The log is that of a gateway without any traffic, the client a process of its own; CPU and memory
//! are those of both.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::cases::BODY_BYTES;
use crate::cpu;
use crate::load::{histogram, nanoseconds};
use crate::pace;

/// Pairs of appends in flight when the most is asked for.
const IN_FLIGHT: usize = 64;

/// Partitions of each topic, as the gateway creates them.
const PARTITIONS: i32 = 8;

/// The first append of a pair goes to the first topic, the second to the other.
const TOPICS: [&str; 2] = ["loadtest.requests", "loadtest.events"];

/// An append without an acknowledgement by then has failed.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);

/// What one run found; JSON on standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// Pairs a second with 64 in flight.
    pub(crate) rps: f64,
    /// Of a pair, at the fixed rate.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// For a pair, with 64 in flight.
    pub(crate) cpu_us: f64,
    pub(crate) rss_bytes: u64,
}

/// Measures on the log at `address`, which is in the process `holder`, and prints the [`Findings`].
/// Each of the two parts lasts `duration`.
pub(crate) async fn run(address: SocketAddr, holder: u32, rate: u32, duration: Duration) -> Result<()> {
    let processes = [holder, std::process::id()];
    let used = || processes.into_iter().map(cpu::used).sum::<Result<Duration>>();
    let pairs = connect(address).await?;
    let before = used()?;
    let (count, elapsed) = saturate(&pairs, duration).await?;
    let used = used()? - before;
    let latencies = at_rate(&pairs, rate, duration).await?;
    let findings = Findings {
        rps: count as f64 / elapsed.as_secs_f64(),
        p50_us: latencies.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: latencies.value_at_quantile(0.99) as f64 / 1e3,
        cpu_us: used.as_secs_f64() * 1e6 / count.max(1) as f64,
        rss_bytes: processes.into_iter().map(cpu::resident).sum::<Result<u64>>()?,
    };
    println!("{}", serde_json::to_string(&findings)?);
    Ok(())
}

/// An idempotent producer on fresh topics, warmed: the first append of a client takes up to a second.
async fn connect(address: SocketAddr) -> Result<Pairs> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address.to_string());
    let admin: AdminClient<_> = config.create()?;
    let topics = TOPICS.map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
    for created in admin.create_topics(&topics, &AdminOptions::new()).await? {
        created.map_err(|(topic, code)| anyhow!("{topic} cannot be created: {code}"))?;
    }
    config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "0");
    let pairs = Pairs { producer: config.create()?, payload: Arc::from(vec![b'x'; BODY_BYTES]) };
    for number in 0..IN_FLIGHT {
        pairs.append(number).await?;
    }
    Ok(pairs)
}

#[derive(Clone)]
struct Pairs {
    producer: FutureProducer,
    payload: Arc<[u8]>,
}

impl Pairs {
    /// Two appends under one key, the second after the first was acknowledged.
    async fn append(&self, number: usize) -> Result<()> {
        let key = number.to_le_bytes();
        for topic in TOPICS {
            let record = FutureRecord::to(topic).key(&key[..]).payload(&self.payload[..]);
            let sent = self.producer.send(record, Timeout::After(ACKNOWLEDGED_WITHIN)).await;
            sent.map_err(|(error, _)| error).context("an append was not acknowledged")?;
        }
        Ok(())
    }
}

async fn saturate(pairs: &Pairs, duration: Duration) -> Result<(u64, Duration)> {
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..IN_FLIGHT {
        let pairs = pairs.clone();
        workers.spawn(async move {
            let mut count = 0;
            while start.elapsed() < duration {
                pairs.append(worker * 1_000_000 + count).await?;
                count += 1;
            }
            anyhow::Ok(count as u64)
        });
    }
    let mut all = 0;
    while let Some(count) = workers.join_next().await {
        all += count??;
    }
    Ok((all, start.elapsed()))
}

/// Latencies of pairs in nanoseconds, from the time at which each was due.
async fn at_rate(pairs: &Pairs, rate: u32, duration: Duration) -> Result<Histogram<u64>> {
    let latencies = Arc::new(Mutex::new(histogram()?));
    let arrivals = usize::try_from(u128::from(rate) * duration.as_millis() / 1000)?;
    let mut arrivals = pace::arrivals(rate, arrivals)?;
    let mut running = JoinSet::new();
    let mut number = 0;
    while let Some(due) = arrivals.recv().await {
        number += 1;
        let (pairs, latencies) = (pairs.clone(), Arc::clone(&latencies));
        running.spawn(async move {
            pairs.append(number).await?;
            let took = nanoseconds(due.elapsed());
            latencies.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(took);
            anyhow::Ok(())
        });
    }
    while let Some(outcome) = running.join_next().await {
        outcome??;
    }
    let latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(latencies.clone())
}
