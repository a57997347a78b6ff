//! Measures a log as a gateway uses it: one producer, two readers, in one process with the broker.
//!
//! `cargo run --release -p kamf-broker --example measure [BOOTSTRAP]`; without an address the embedded log is measured,
//! in a directory below the working one, since a temporary folder may be in memory.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kamf_broker::{Broker, Options};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

type Error = Box<dyn std::error::Error + Send + Sync>;

const PARTITIONS: i32 = 8;
const RECORD: [u8; 1024] = [b'x'; 1024];
const PATIENCE: Duration = Duration::from_secs(60);
/// Clock ticks a second in `/proc/self/stat`.
const TICKS: f64 = 100.0;

fn main() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let directory = std::env::current_dir()?.join("target/measure-log");
    let broker = match std::env::args().nth(1) {
        Some(_) => None,
        None => {
            let _ = fs::remove_dir_all(&directory);
            Some(Broker::start(Options::new(&directory))?)
        }
    };
    let address = match (&broker, std::env::args().nth(1)) {
        (Some(broker), _) => broker.address().to_string(),
        (None, address) => address.ok_or("no address")?,
    };
    let bench = Bench { address, topics: [unique("requests"), unique("events")] };
    runtime.block_on(bench.prepare())?;
    runtime.block_on(bench.one_at_a_time())?;
    bench.produce_to_consume(&runtime)?;
    for in_flight in [1, 16, 64, 256] {
        runtime.block_on(bench.two_appends(in_flight))?;
    }
    runtime.block_on(bench.batched())?;
    if let Some(broker) = broker {
        broker.shutdown();
        fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", std::process::id())
}

struct Bench {
    address: String,
    topics: [String; 2],
}

/// Runs readers of a topic until dropped.
struct Readers {
    stop: Arc<AtomicBool>,
    read: Arc<AtomicU64>,
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Bench {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address).set("broker.address.family", "v4");
        config
    }

    fn producer(&self, linger: &str) -> Result<FutureProducer, Error> {
        let mut config = self.config();
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", linger)
            .set("queue.buffering.max.messages", "200000");
        Ok(config.create()?)
    }

    fn reader(&self, topic: &str) -> Result<BaseConsumer, Error> {
        let consumer: BaseConsumer =
            self.config().set("group.id", "measure").set("enable.auto.commit", "false").create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(topic, partition, Offset::End)?;
        }
        consumer.assign(&list)?;
        Ok(consumer)
    }

    fn readers(&self) -> Result<Readers, Error> {
        let readers = Readers { stop: Arc::default(), read: Arc::default() };
        for topic in &self.topics {
            let consumer = self.reader(topic)?;
            let (stop, read) = (Arc::clone(&readers.stop), Arc::clone(&readers.read));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if consumer.poll(Duration::from_millis(100)).is_some() {
                        read.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        Ok(readers)
    }

    async fn prepare(&self) -> Result<(), Error> {
        let admin: AdminClient<DefaultClientContext> = self.config().create()?;
        let topics =
            self.topics.iter().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
        admin.create_topics(&topics.collect::<Vec<_>>(), &AdminOptions::new()).await?;
        Ok(())
    }

    async fn send(&self, producer: &FutureProducer, topic: usize, partition: i32) -> Result<(), Error> {
        let record = FutureRecord::<str, [u8]>::to(&self.topics[topic]).partition(partition).payload(&RECORD);
        producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
        Ok(())
    }

    async fn one_at_a_time(&self) -> Result<(), Error> {
        let producer = self.producer("0")?;
        self.send(&producer, 0, 0).await?;
        let mut times = Vec::new();
        for n in 0..300 {
            let begun = Instant::now();
            self.send(&producer, 0, n % PARTITIONS).await?;
            times.push(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        report("one append, 200 a second", &mut times);
        Ok(())
    }

    fn produce_to_consume(&self, runtime: &tokio::runtime::Runtime) -> Result<(), Error> {
        let producer = self.producer("0")?;
        let consumer = self.reader(&self.topics[0])?;
        consumer.poll(Duration::from_secs(1));
        let mut times = Vec::new();
        for n in 0..300 {
            let begun = Instant::now();
            let record =
                FutureRecord::<str, [u8]>::to(&self.topics[0]).partition(n % PARTITIONS).payload(&RECORD);
            let sent = producer.send_result(record).map_err(|(error, _)| error)?;
            while consumer
                .poll(Duration::from_secs(1))
                .transpose()?
                .is_none_or(|message| message.payload().is_none())
            {}
            times.push(begun.elapsed());
            runtime.block_on(sent)?.map_err(|(error, _)| error)?;
            std::thread::sleep(Duration::from_millis(5));
        }
        report("produced to consumed", &mut times);
        Ok(())
    }

    /// A request and its answer, one after the other, so many under way at once, read by two consumers.
    async fn two_appends(&self, in_flight: usize) -> Result<(), Error> {
        let readers = self.readers()?;
        let producer = self.producer("0")?;
        self.send(&producer, 0, 0).await?;
        let (begun, used) = (Instant::now(), Cpu::now());
        let until = begun + Duration::from_secs(4);
        let work = (0..in_flight).map(|worker| async move { worker });
        let mut times = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for worker in work {
            let at = worker.await;
            let (producer, topics) = (producer.clone(), self.topics.clone());
            tasks.spawn(async move {
                let mut times = Vec::new();
                let mut partition = i32::try_from(at).unwrap_or(0) % PARTITIONS;
                while Instant::now() < until {
                    let begun = Instant::now();
                    for topic in &topics {
                        let record =
                            FutureRecord::<str, [u8]>::to(topic).partition(partition).payload(&RECORD);
                        if producer.send(record, PATIENCE).await.is_err() {
                            return times;
                        }
                    }
                    times.push(begun.elapsed());
                    partition = (partition + 1) % PARTITIONS;
                }
                times
            });
        }
        while let Some(done) = tasks.join_next().await {
            times.extend(done?);
        }
        let took = begun.elapsed().as_secs_f64();
        let count = times.len() as f64;
        println!(
            "two appends, {in_flight} in flight: {:.0} requests/s, {}, {} records read",
            count / took,
            used.since(count),
            readers.read.load(Ordering::Relaxed)
        );
        report("    time", &mut times);
        Ok(())
    }

    async fn batched(&self) -> Result<(), Error> {
        let producer = self.producer("5")?;
        self.send(&producer, 0, 0).await?;
        let count = 1_000_000;
        let (begun, used) = (Instant::now(), Cpu::now());
        let mut last = std::collections::VecDeque::new();
        for n in 0..count {
            let record =
                FutureRecord::<str, [u8]>::to(&self.topics[0]).partition(n % PARTITIONS).payload(&RECORD);
            last.push_back(producer.send_result(record).map_err(|(error, _)| error)?);
            if last.len() > 50_000
                && let Some(oldest) = last.pop_front()
            {
                oldest.await?.map_err(|(error, _)| error)?;
            }
        }
        for delivery in last {
            delivery.await?.map_err(|(error, _)| error)?;
        }
        let took = begun.elapsed().as_secs_f64();
        let count = f64::from(count);
        println!("batched: {:.0} records/s, {}", count / took, used.since(count));
        Ok(())
    }
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    if let (Some(p50), Some(p99)) = (times.get(times.len() / 2), times.get(times.len() * 99 / 100)) {
        println!("{what}: p50 {p50:?}, p99 {p99:?}");
    }
}

/// Seconds of CPU: of the whole process, and of the broker's own threads.
#[derive(Clone, Copy)]
struct Cpu {
    all: f64,
    broker: f64,
}

impl Cpu {
    fn now() -> Cpu {
        let mut broker = 0.0;
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if name.starts_with("log-") {
                broker += seconds(&task.path().join("stat"));
            }
        }
        Cpu { all: seconds(Path::new("/proc/self/stat")), broker }
    }

    /// What was used since, for each of `count`.
    fn since(self, count: f64) -> String {
        let now = Cpu::now();
        let each = |before: f64, after: f64| (after - before) * 1e6 / count;
        format!(
            "{:.1} us of CPU for each, {:.1} of them the broker's",
            each(self.all, now.all),
            each(self.broker, now.broker)
        )
    }
}

fn seconds(stat: &Path) -> f64 {
    let stat = fs::read_to_string(stat).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}
