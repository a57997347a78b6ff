//! Measures how long the log takes to open when there is much in it: after a kill, and after a stop in order.
//!
//! `cargo run --release -p kamf-broker --example start_time [RECORDS [PARTITIONS]]`: records of 1 KiB, a million over 64
//! partitions by default, in a directory below the working one, since a temporary folder may be in memory.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kamf_broker::{Broker, Options};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

type Error = Box<dyn std::error::Error + Send + Sync>;

const RECORD: [u8; 1024] = [b'x'; 1024];
const PATIENCE: Duration = Duration::from_secs(60);
/// Told to the process that is killed.
const SERVE: &str = "serve";

fn main() -> Result<(), Error> {
    let directory = std::env::current_dir()?.join("target/start-time-log");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == SERVE) {
        let broker = Broker::start(Options::new(&directory))?;
        println!("{}", broker.address());
        let _ = std::io::stdin().read(&mut [0]);
        return Ok(());
    }
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse::<i32>());
    let (records, partitions) = (number(0, 1_000_000)?, number(1, 64)?);
    let _ = fs::remove_dir_all(&directory);
    let mut child = Command::new(std::env::current_exe()?)
        .arg(SERVE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    let filled = fill(address.trim(), records, partitions);
    child.kill()?;
    child.wait()?;
    filled?;
    open(&directory, "after a kill")?;
    open(&directory, "after a stop in order")?;
    fs::remove_dir_all(&directory)?;
    Ok(())
}

fn fill(address: &str, records: i32, partitions: i32) -> Result<(), Error> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("broker.address.family", "v4");
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let topic = NewTopic::new("t", partitions, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(admin.create_topics(&[topic], &AdminOptions::new()))?;
    let producer: BaseProducer = config.set("enable.idempotence", "true").create()?;
    for n in 0..records {
        let mut record = BaseRecord::<str, [u8]>::to("t").partition(n % partitions).payload(&RECORD);
        while let Err((error, back)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            if error != full {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    Ok(producer.flush(PATIENCE)?)
}

fn open(directory: &Path, when: &str) -> Result<(), Error> {
    let begun = Instant::now();
    let broker = Broker::start(Options::new(directory))?;
    println!("{when}: open after {:?}", begun.elapsed());
    broker.shutdown();
    Ok(())
}
