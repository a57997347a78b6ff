//! The module on a real log: the numbers and the audit trail against a recount, through restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kamf_broker::{Broker, Options};
use prometheus::Registry;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use super::audit::{HASH_HEADER, Hash, Source};
use super::metrics::Metrics;
use super::reader::{Reader, Wake};
use super::restore::scan;
use super::row::{Micros, Size, micros};
use super::session::Session;
use super::story::{self, Subject};
use super::task::Stream;
use super::verify::Wrong;
use super::window::Bounds;
use crate::cli::audit::verify::{Outcome, verify};
use crate::config::{self, ModelPrice, Prices};
use crate::message::{Dialect, Mode, Operation, RelayId, Trace};
use crate::outcome::Reason;
use crate::relay::record::{Draft, End, Fields, Kind, View};
use crate::relay::{Log, Topic};

const PARTITIONS: i32 = 3;

/// A log of its own, gone with the value.
pub(crate) struct World {
    pub(crate) log: Log,
    producer: BaseProducer,
    _broker: Broker,
    _directory: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new(directory.path());
        let broker = tokio::task::spawn_blocking(move || Broker::start(options)).await.unwrap().unwrap();
        let settings = config::Log {
            directory: directory.path().to_owned(),
            listen: broker.address(),
            brokers: Vec::new(),
            prefix: "kamf".to_owned(),
            partitions: PARTITIONS,
            replication: 1,
            properties: BTreeMap::new(),
            acknowledge: Duration::from_secs(5),
            task_retention: Duration::from_secs(3600),
        };
        let log = Log::connect(&settings, &broker.address().to_string()).await.unwrap();
        let producer = log.client_config().set("linger.ms", "5").create().unwrap();
        Self { log, producer, _broker: broker, _directory: directory }
    }

    fn put(&self, topic: Topic, partition: i32, fields: &Fields<'_>, body: &[u8]) {
        let headers = Draft::new(fields).headers;
        let record = BaseRecord::<[u8], [u8]>::to(self.log.topic(topic));
        self.producer.send(record.partition(partition).payload(body).headers(headers)).unwrap();
    }

    pub(crate) fn flush(&self) {
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }

    /// Writes exchange `n`: most are unary calls, some streams with usage, some are refused.
    pub(crate) fn exchange(&self, n: u64, ended: SystemTime) {
        let partition = (n % PARTITIONS as u64) as i32;
        let traceparent = Trace::continue_from(None).traceparent();
        let (reason, stream) = match n % 10 {
            0 => (Reason::Forbidden, false),
            1 => (Reason::UpstreamTimeout, false),
            2..=4 => (Reason::Completed, true),
            _ => (Reason::Completed, false),
        };
        let operation = if stream { Operation::Stream } else { Operation::Send };
        let fields = Fields {
            kind: Kind::Request,
            id: RelayId::generate(),
            time: ended - Duration::from_millis(20),
            traceparent: &traceparent,
            parent_span: None,
            principal: "analyst",
            tenant: if n.is_multiple_of(7) { "other-tenant" } else { "demo" },
            agent: ["advisor", "ledger", "gold_price"][(n % 5 % 3) as usize],
            dialect: Dialect::A2aV10,
            method: operation.method(Dialect::A2aV10),
            tool: None,
            mode: Mode::Relay,
            key: None,
            deadline: Some(ended + Duration::from_secs(60)),
            policies: Some("readers"),
            repeatable: false,
            attempt: 0,
            redrives: None,
            sequence: 0,
            epoch: None,
            idempotency: None,
            replay_of: None,
            lines: false,
            end: None,
        };
        let end = End {
            state: reason.state(),
            reason,
            duration: Duration::from_micros(1_000 + n),
            request_bytes: 100 + n,
            answer_bytes: 200,
        };
        if reason == Reason::Forbidden {
            let refusal = Fields { kind: Kind::Refusal, time: ended, end: Some(end), ..fields };
            self.put(Topic::Events, partition, &refusal, b"{\"error\":{}}");
            return;
        }
        self.put(Topic::Requests, partition, &fields, format!("{{\"n\":{n}}}").as_bytes());
        self.put(Topic::Events, partition, &Fields { kind: Kind::Started, ..fields }, b"");
        if stream {
            for sequence in 1..=3 {
                let body = format!(
                    r#"{{"result":{{"statusUpdate":{{"metadata":{{"gen_ai.usage.input_tokens":{},"gen_ai.response.model":"m"}}}}}}}}"#,
                    n * u64::from(sequence)
                );
                let event = Fields { kind: Kind::Event, sequence, ..fields };
                self.put(Topic::Events, partition, &event, body.as_bytes());
            }
        }
        let terminal = Fields { kind: Kind::Terminal, time: ended, end: Some(end), ..fields };
        let body: &[u8] = if stream { b"" } else { b"{\"result\":{}}" };
        self.put(Topic::Events, partition, &terminal, body);
    }

    fn session(&self, metrics: &Arc<Metrics>) -> Session {
        let wake = Arc::new(Wake::default());
        let bounds = Bounds { keep: 600_000_000, ..Bounds::default() };
        Session::open(&self.log, &prices(), bounds, metrics, BTreeMap::new(), &wake, Some(0)).unwrap()
    }

    pub(crate) fn read(&self, topic: Topic, mut take: impl FnMut(&BorrowedMessage<'_>)) {
        let reader = Reader::new(&self.log, "test").unwrap();
        for partition in 0..PARTITIONS {
            let extent = reader.extent(topic, partition).unwrap();
            scan(&reader, topic, partition, extent, &mut take).unwrap();
        }
    }
}

pub(crate) fn prices() -> Prices {
    let price = ModelPrice { input_per_million: 2_500_000, output_per_million: 10_000_000 };
    Prices {
        currency: "USD".to_owned(),
        models: BTreeMap::from([("m".to_owned(), price)]),
        calls: BTreeMap::from([("ledger".to_owned(), 40)]),
    }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::register(&Registry::new()).unwrap())
}

/// By window size, start, tenant, agent, method and reason: calls, bytes, input tokens, cost.
type Sums = BTreeMap<(String, String, String, String, String, String), [u64; 4]>;

/// What a reader of `kamf.aggregates` sums up: the last value of each key.
fn published(world: &World) -> Sums {
    let mut last: BTreeMap<Vec<u8>, serde_json::Value> = BTreeMap::new();
    world.read(Topic::Aggregates, |message| {
        let key = message.key().unwrap();
        if key != super::position::KEY {
            last.insert(key.to_vec(), serde_json::from_slice(message.payload().unwrap()).unwrap());
        }
    });
    let mut sums = Sums::new();
    for row in last.values() {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let key =
            (text("window"), text("start"), text("tenant"), text("agent"), text("method"), text("reason"));
        let sum = sums.entry(key).or_default();
        for (sum, name) in sum.iter_mut().zip(["calls", "request_bytes", "input_tokens", "cost"]) {
            *sum += row[name].as_u64().unwrap();
        }
    }
    sums.retain(|_, sum| sum[0] > 0);
    sums
}

/// The same from the events themselves, written without any of the module's code.
fn recount(world: &World) -> Sums {
    let mut sums = Sums::new();
    let mut tokens: BTreeMap<RelayId, u64> = BTreeMap::new();
    world.read(Topic::Events, |message| {
        let view = View::decode(message).unwrap();
        let fields = &view.fields;
        if fields.kind == Kind::Event {
            let body: serde_json::Value = serde_json::from_slice(view.body).unwrap();
            let usage = &body["result"]["statusUpdate"]["metadata"]["gen_ai.usage.input_tokens"];
            tokens.insert(fields.id, usage.as_u64().unwrap());
        }
        let Some(end) = fields.end else { return };
        let input = tokens.get(&fields.id).copied();
        let fixed = fields.agent == "ledger" && end.reason == Reason::Completed;
        let cost = match input {
            Some(input) => (input * 25 + 5) / 10,
            None => u64::from(fixed) * 40,
        };
        for (name, seconds) in [("10s", 10), ("1m", 60)] {
            let time =
                fields.time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / seconds * seconds;
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
            let key = (
                name.to_owned(),
                humantime::format_rfc3339(start).to_string(),
                fields.tenant.to_owned(),
                fields.agent.to_owned(),
                fields.method.to_owned(),
                end.reason.label().to_owned(),
            );
            let sum = sums.entry(key).or_default();
            for (sum, more) in sum.iter_mut().zip([1, end.request_bytes, input.unwrap_or_default(), cost]) {
                *sum += more;
            }
        }
    });
    sums
}

/// Turns until everything is read and idle, then writes what is closed at `now`.
fn finish(mut session: Session, now: Micros) {
    while session.turn(now).unwrap() > 0 || !session.is_read_out() {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Idle partitions promise that nothing older comes, a second after they were seen at their end.
    session.turn(now + 2_000_000).unwrap();
    session.turn(now + 200_000_000).unwrap();
    session.turn(now + 204_000_000).unwrap();
    session.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_audit_equal_a_recount_through_kills() {
    let world = World::new().await;
    let now = SystemTime::now();
    tokio::task::block_in_place(|| {
        let metrics = metrics();
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut clock = micros(now);
        for life in 0..8_u64 {
            let mut session = world.session(&metrics);
            for n in life * 150..(life + 1) * 150 {
                // Half an hour passes over all of it; one in twenty comes a quarter of an hour late.
                let late = if random(20) == 0 { 900 } else { random(8) };
                let ended = now - Duration::from_secs(3_600) + Duration::from_millis(n * 1_500);
                world.exchange(n, ended - Duration::from_secs(late));
            }
            world.flush();
            for _ in 0..random(120) {
                clock += random(400_000) as i64;
                session.turn(clock).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
            // The end without any order: what was queued is lost.
            drop(session);
        }
        finish(world.session(&metrics), clock);
        assert_eq!(published(&world), recount(&world));
        let before: u64 = recount(&world).values().map(|sum| sum[0]).sum();
        assert_eq!(before, 2 * 1_200);

        // Once more, with nothing new: nothing changes.
        finish(world.session(&metrics), clock + 300_000_000);
        assert_eq!(published(&world), recount(&world));
        audit_is_complete(&world);
        tampering_is_found(&world);
    });
}

fn audit_is_complete(world: &World) {
    let outcomes = verify(&world.log).unwrap();
    let faults: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.fault.clone()).collect();
    assert_eq!(faults, []);
    assert_eq!(outcomes.iter().map(|outcome| outcome.checked).sum::<u64>(), 1_200);
    let mut ids = BTreeMap::new();
    world.read(Topic::Audit, |message| {
        let value: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        *ids.entry(value["id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        let refused = value["state"] == "refused";
        assert_eq!(value["request"].is_null(), refused, "{value}");
        assert_eq!(message.key().unwrap(), message.partition().to_string().as_bytes());
    });
    assert_eq!(ids.len(), 1_200);
    assert!(ids.values().all(|count| *count == 1), "exactly one for each exchange");
}

fn tampering_is_found(world: &World) {
    let mut last = None;
    world.read(Topic::Audit, |message| {
        if message.partition() == 1 {
            last = Some((message.offset(), message.payload().unwrap().to_vec()));
        }
    });
    let (offset, value) = last.unwrap();
    let forged = String::from_utf8(value).unwrap().replace("\"analyst\"", "\"nobody\"");
    let hash = Hash::of_leaf(forged.as_bytes()).to_string();
    let headers = rdkafka::message::OwnedHeaders::new()
        .insert(rdkafka::message::Header { key: HASH_HEADER, value: Some(hash.as_str()) });
    let record = BaseRecord::<[u8], [u8]>::to(world.log.topic(Topic::Audit)).partition(1);
    world.producer.send(record.payload(forged.as_bytes()).headers(headers)).unwrap();
    world.flush();
    let outcomes: Vec<Outcome> = verify(&world.log).unwrap();
    let faults: Vec<_> = outcomes.into_iter().filter_map(|outcome| outcome.fault).collect();
    assert_eq!(faults.len(), 1);
    assert_eq!(
        (faults[0].partition, faults[0].offset, faults[0].what.clone()),
        (1, offset + 1, Wrong::Chain)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_was_not_audited_shows_as_a_cut_tail() {
    let world = World::new().await;
    let now = SystemTime::now() - Duration::from_secs(600);
    tokio::task::block_in_place(|| {
        (0..30).for_each(|n| world.exchange(n, now));
        world.flush();
        let session = world.session(&metrics());
        finish(session, micros(SystemTime::now()));
        assert!(verify(&world.log).unwrap().iter().all(|outcome| outcome.fault.is_none()));
        // One more exchange ends, and the module does not run.
        world.exchange(35, now);
        world.flush();
        let faults: Vec<_> = verify(&world.log).unwrap().into_iter().filter_map(|o| o.fault).collect();
        assert_eq!(faults.len(), 1);
        assert!(matches!(faults[0].what, Wrong::Cut { more: 0, .. }), "{}", faults[0]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_module_answers_and_answers_alike_after_a_restart() {
    let world = World::new().await;
    let registry = Registry::new();
    let now = SystemTime::now();
    (0..100).for_each(|n| world.exchange(n, now - Duration::from_millis(n * 100)));
    world.flush();
    let expected = recount(&world);
    let stream = Stream::start(&world.log, &prices(), &registry, Box::new(|| Some(0))).unwrap();
    let first = until_whole(&stream, &expected).await;
    stream.stop().await;
    let stream = Stream::start(&world.log, &prices(), &Registry::new(), Box::new(|| Some(0))).unwrap();
    let second = until_whole(&stream, &expected).await;
    assert_eq!(first, second);
    stream.stop().await;
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("kamf_aggregate_exchanges_total{state=\"completed\"} 80"), "{text}");
    assert!(text.contains("kamf_aggregate_audit_records_total 100"), "{text}");
}

/// By tenant, agent and reason: calls, and quantiles.
type Answer = Vec<(Micros, String, String, u64, u64)>;

async fn until_whole(stream: &Stream, expected: &Sums) -> Answer {
    let minutes: u64 = expected.iter().filter(|(key, _)| key.0 == "1m").map(|(_, sum)| sum[0]).sum();
    for _ in 0..200 {
        if let Ok(snapshot) = stream.handle().rows(Size::Minute, 0).await
            && snapshot.whole
            && snapshot.rows.iter().map(|row| row.totals.calls).sum::<u64>() == minutes
        {
            assert_eq!(stream.handle().ready(), Ok(()));
            let short = |row: &super::row::Row| {
                let d = &row.dimensions;
                (row.start, d.agent.to_string(), d.reason.to_string(), row.totals.calls, row.latency.p99_us)
            };
            return snapshot.rows.iter().map(short).collect();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the module did not count everything within 20 s: {:?}", stream.handle().ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_an_exchange_is_its_trace() {
    let world = World::new().await;
    let now = SystemTime::now();
    tokio::task::block_in_place(|| {
        (0..20).for_each(|n| world.exchange(n, now));
        world.flush();
        let mut wanted = None;
        world.read(Topic::Events, |message| {
            let view = View::decode(message).unwrap();
            if view.fields.kind == Kind::Event {
                wanted = Some(view.fields.id);
            }
        });
        let id = wanted.unwrap();
        let story = story::find(&world.log, &prices(), Subject::Exchange(id)).unwrap();
        assert_eq!((story.exchanges.len(), story.complete), (1, true));
        let exchange = &story.exchanges[0];
        assert_eq!(exchange.id, id.to_string());
        let kinds: Vec<_> = exchange.records.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, ["request", "started", "event", "event", "event", "terminal"]);
        assert!(exchange.input_tokens > 0 && exchange.cost > 0);
        let by_trace = Subject::parse(&story.trace).unwrap();
        assert_eq!(story::find(&world.log, &prices(), by_trace).unwrap().exchanges.len(), 1);
        let unknown = Subject::Exchange(RelayId::generate());
        assert!(story::find(&world.log, &prices(), unknown).is_err());
    });
}

#[test]
fn sources_of_an_audit_record_are_offset_and_hash() {
    let source = Source { offset: 7, sha256: Hash::of_value(b"abc") };
    let text = serde_json::to_string(&source).unwrap();
    assert_eq!(
        text,
        r#"{"offset":7,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}"#
    );
    assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), source);
}
