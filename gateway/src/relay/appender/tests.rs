//! Each error of the log, injected by librdkafka's mock cluster, and what becomes of the append and of the producer.

use std::time::SystemTime;

use prometheus::Registry;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Raw};

use super::*;
use crate::config;
use crate::message::{Dialect, Mode, RelayId};
use crate::outcome::Reason;
use crate::relay::record::Kind;

/// More errors than librdkafka can meet while a test waits.
const ALWAYS: usize = 1_000;

struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    appender: Appender,
    metrics: Arc<Metrics>,
}

impl Bench {
    /// An appender on a mock cluster; its callers wait for `acknowledge`, librdkafka tries for `delivery`.
    async fn new(acknowledge: Duration, delivery: Duration, properties: &[(&str, &str)]) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let mut settings = config::Log::with_base(std::path::Path::new("."));
        settings.brokers = vec![cluster.bootstrap_servers()];
        for (name, value) in properties {
            settings.properties.insert((*name).to_owned(), config::Secret::new((*value).to_owned()));
        }
        for topic in Topic::ALL {
            cluster.create_topic(&format!("{}.{}", settings.prefix, topic.as_str()), 1, 1).unwrap();
        }
        let log = Log::connect(&settings, &cluster.bootstrap_servers()).await.unwrap();
        let metrics = Arc::new(Metrics::register(&Registry::new()).unwrap());
        let ownership = Arc::new(Ownership::new(1, true));
        let (replies, _) = Replies::start(&log, Arc::clone(&ownership), Arc::clone(&metrics)).unwrap();
        let listeners = Listeners { replies, ownership };
        let appender = Appender::giving_up_after(
            delivery,
            log,
            100,
            1 << 20,
            acknowledge,
            &listeners,
            Arc::clone(&metrics),
        )
        .unwrap();
        let bench = Self { cluster, appender, metrics };
        // The first record also fetches the producer's id.
        bench.append().await.unwrap();
        bench
    }

    async fn patient() -> Self {
        Self::new(Duration::from_secs(20), Duration::from_secs(30), &[]).await
    }

    async fn append(&self) -> Result<Position, AppendError> {
        let fields = Fields {
            kind: Kind::Started,
            id: RelayId::generate(),
            time: SystemTime::now(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            parent_span: None,
            principal: "p",
            tenant: "t",
            agent: "a",
            dialect: Dialect::A2aV10,
            method: "SendMessage",
            tool: None,
            mode: Mode::Relay,
            key: None,
            deadline: None,
            policies: None,
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
        self.appender.append_soon(Topic::Events, 0, &fields, b"{}").await
    }

    /// The next produce requests are answered with `errors`, one each.
    fn inject(&self, errors: &[Raw]) {
        self.cluster.request_errors(RDKafkaApiKey::Produce, errors);
    }

    fn heal(&self) {
        self.cluster.clear_request_errors(RDKafkaApiKey::Produce);
    }

    fn rebuilt(&self) -> u64 {
        self.metrics.producers_rebuilt.get()
    }

    /// Appends until it works, as the driver of a delivery does.
    async fn recovers(&self) {
        for _ in 0..100 {
            if self.append().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the appender does not recover");
    }
}

/// An error that passes is the log's own affair: the record is there, once, and nobody hears of it.
#[tokio::test]
async fn an_error_that_passes_is_not_seen() {
    for error in [
        Raw::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Raw::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Raw::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Raw::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Raw::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Raw::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        Raw::RD_KAFKA_RESP_ERR__TRANSPORT,
        // Of a first attempt: librdkafka takes a new number and sends the record again.
        Raw::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
    ] {
        let bench = Bench::patient().await;
        bench.inject(&[error]);
        let position = bench.append().await.unwrap_or_else(|told| panic!("{error:?} became {told}"));
        assert_eq!(position, Position { partition: 0, offset: 1 }, "{error:?}");
        assert_eq!(bench.rebuilt(), 0, "{error:?}");
    }
}

/// An error that stays is never told as "not done": librdkafka is still trying when the client hears.
#[tokio::test]
async fn an_error_that_stays_leaves_open_what_became_of_the_record() {
    for error in [
        Raw::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Raw::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Raw::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Raw::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Raw::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        let mut bench = Bench::patient().await;
        bench.appender.acknowledge = Duration::from_millis(400);
        bench.inject(&[error; ALWAYS]);
        let told = bench.append().await.unwrap_err();
        assert!(matches!(told, AppendError::Unconfirmed), "{error:?} became {told}");
        assert_eq!(told.told().0, Reason::LogUnconfirmed);
        bench.heal();
        bench.recovers().await;
        assert_eq!(bench.rebuilt(), 0, "{error:?}");
    }
}

/// `MSG_TIMED_OUT`: the record's time is up while its request is on the wire (`TIMED_OUT` of the request), or before.
#[tokio::test]
async fn a_record_whose_time_is_up_may_be_there() {
    let bench = Bench::new(Duration::from_secs(20), Duration::from_secs(1), &[]).await;
    bench.cluster.broker_round_trip_time(-1, Duration::from_secs(3)).unwrap();
    let told = bench.append().await.unwrap_err();
    assert!(matches!(told, AppendError::Unconfirmed), "{told}");
    bench.cluster.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    bench.recovers().await;
    assert_eq!(bench.rebuilt(), 0);
}

#[tokio::test]
async fn with_retries_used_up_an_earlier_attempt_may_have_written_it() {
    let bench = Bench::new(Duration::from_secs(20), Duration::from_secs(30), &[("retries", "1")]).await;
    bench.inject(&[Raw::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; ALWAYS]);
    let told = bench.append().await.unwrap_err();
    assert!(matches!(told, AppendError::Unconfirmed), "{told}");
    bench.heal();
    bench.recovers().await;
}

#[tokio::test]
async fn a_duplicate_is_there_at_an_unknown_place() {
    let bench = Bench::patient().await;
    bench.inject(&[Raw::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER]);
    let told = bench.append().await.unwrap_err();
    assert!(matches!(told, AppendError::Unplaced), "{told}");
    assert!(told.unless_written().is_ok());
    bench.append().await.unwrap();
    assert_eq!(bench.rebuilt(), 0);
}

/// The producer takes nothing more; requests are told so until it is old enough to be replaced, and the process lives.
#[tokio::test]
async fn a_fatal_error_replaces_the_producer() {
    let fatal: [&[Raw]; 2] = [
        &[Raw::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
        // Of a second attempt: nobody knows whether the first was written.
        &[Raw::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, Raw::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID],
    ];
    for errors in fatal {
        let bench = Bench::patient().await;
        bench.inject(errors);
        let told = bench.append().await.unwrap_err();
        assert!(matches!(told, AppendError::Unconfirmed), "{errors:?} became {told}");
        let meanwhile = bench.append().await;
        assert!(
            bench.rebuilt() == 1 || matches!(&meanwhile, Err(AppendError::Refused(_))),
            "{errors:?}: {meanwhile:?}"
        );
        bench.recovers().await;
        assert_eq!(bench.rebuilt(), 1, "{errors:?}");
    }
}

#[tokio::test]
async fn an_epoch_that_the_log_does_not_take_leaves_it_open_and_passes() {
    let bench = Bench::patient().await;
    bench.inject(&[Raw::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH]);
    let told = bench.append().await.unwrap_err();
    assert!(matches!(told, AppendError::Unconfirmed), "{told}");
    bench.recovers().await;
    assert_eq!(bench.rebuilt(), 0);
}

/// Refused as long as it is forbidden, and not for the minutes that librdkafka would wait after it is permitted again.
#[tokio::test]
async fn a_forbidden_topic_refuses_until_it_is_permitted() {
    let bench = Bench::patient().await;
    bench.inject(&[Raw::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; ALWAYS]);
    let mut refused = 0;
    for _ in 0..20 {
        let began = Instant::now();
        let told = bench.append().await.unwrap_err();
        match told.told().0 {
            Reason::LogUnavailable => refused += 1,
            // So late that it may have been a second attempt.
            reason => assert!(
                reason == Reason::LogUnconfirmed && began.elapsed() >= append_error::FIRST_ATTEMPT,
                "{told}"
            ),
        }
    }
    assert!(refused >= 10, "{refused} of 20");
    assert!(bench.rebuilt() <= 2, "the log is not flooded with producers: {}", bench.rebuilt());
    bench.heal();
    bench.recovers().await;
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_leaves_it_open() {
    let bench = Bench::patient().await;
    bench.inject(&[Raw::RD_KAFKA_RESP_ERR__TRANSPORT, Raw::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    let told = bench.append().await.unwrap_err();
    assert!(matches!(told, AppendError::Unconfirmed), "{told}");
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_for_good() {
    let bench = Bench::patient().await;
    bench.inject(&[Raw::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let told = bench.append().await.unwrap_err();
    assert!(told.is_too_large(), "{told}");
    assert_eq!(told.told().0, Reason::BodyTooLarge);
    bench.append().await.unwrap();
    assert_eq!(bench.rebuilt(), 0);
}

#[tokio::test]
async fn a_full_queue_shows_before_anybody_waits_for_it() {
    let bench = Bench::patient().await;
    assert!(bench.appender.has_room());
    let held = bench.appender.permits.acquire_many(98).await.unwrap();
    assert!(!bench.appender.has_room());
    drop(held);
    assert!(bench.appender.has_room());
}
