//! The commands and the admin listener, on a real log and real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use prometheus::Registry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::select::Select;
use super::{CliError, http, tail, top};
use crate::admin::{Check, Server, Site};
use crate::aggregate::Stream;
use crate::aggregate::tests::{World, prices};
use crate::config;
use crate::relay::record::{Kind, View};
use crate::relay::{self, DeadLetters, Promise, Redriver, Topic};

struct Gateway {
    world: World,
    address: SocketAddr,
    stream: Stream,
    broken: Arc<AtomicBool>,
}

/// A log with 40 exchanges that ended just now, the stream module, and the admin listener.
async fn gateway() -> Gateway {
    let world = World::new().await;
    let now = SystemTime::now();
    (0..40).for_each(|n| world.exchange(n, now - Duration::from_millis(n)));
    world.flush();
    let registry = Registry::new();
    let stream = Stream::start(&world.log, &prices(), &registry, Box::new(|| Some(0))).unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let (live, flag) = (stream.handle(), broken.clone());
    let checks: Vec<(&'static str, Check)> = vec![
        ("stream", Arc::new(move || live.ready())),
        (
            "test",
            Arc::new(move || if flag.load(Ordering::Relaxed) { Err("told to".to_owned()) } else { Ok(()) }),
        ),
    ];
    let metrics = Arc::new(relay::Metrics::register(&Registry::new()).unwrap());
    let ownership = Arc::new(relay::Ownership::new(world.log.partitions(), false));
    let (replies, _) = relay::Replies::start(&world.log, ownership, Arc::clone(&metrics)).unwrap();
    let week = Duration::from_secs(7 * 24 * 3600);
    let (tasks, _) = relay::Tasks::start(&world.log, &replies, 100, week, &metrics).unwrap();
    let follower = relay::Follower::new(&world.log, &replies).unwrap();
    let letters = Arc::new(DeadLetters::new(&world.log, metrics).unwrap());
    let site = Site {
        redriver: Redriver::new(letters),
        registry,
        checks,
        started: Instant::now(),
        log: world.log.clone(),
        promise: Promise::Disk,
        prefix: "kamf".to_owned(),
        prices: prices(),
        upstreams: Arc::new(|| json!([{ "name": "ledger" }])),
        live: stream.handle(),
        tasks,
        follower,
        searches: Arc::new(Semaphore::new(Site::SEARCHES)),
    };
    let server = Server::bind(&config::Admin { listen: (Ipv4Addr::LOCALHOST, 0).into() }).await.unwrap();
    let address = server.address();
    tokio::spawn(server.serve(Arc::new(site)));
    Gateway { world, address, stream, broken }
}

/// Sends a request as it stands; gives status, head and body.
async fn send(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    send(address, &format!("GET {path} HTTP/1.1\nHost: {address}\nConnection: close\n\n")).await
}

/// Waits until all exchanges are counted.
async fn counted(gateway: &Gateway) -> Value {
    for _ in 0..100 {
        let answer = http::get(gateway.address, "/api/aggregates?window=1m&since=1h").await;
        if let Ok(answer) = answer
            && answer["whole"] == true
            && answer["rows"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["calls"].as_u64().unwrap())
                .sum::<u64>()
                == 40
        {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not counted within 10 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_and_unknown_ones_told() {
    let gateway = gateway().await;
    let (status, _, body) = get(gateway.address, "/api/tasks?agent=x&limit=3").await;
    assert_eq!((status, body.trim()), (200, r#"{"tasks":[],"more":false,"whole":true}"#));
    assert_eq!(get(gateway.address, "/api/tasks?state=busy").await.0, 400);
    for path in ["/api/tasks/", "/api/tasks/advisor", "/api/tasks/advisor/x", "/api/tasks/a/%ff"] {
        assert_eq!(get(gateway.address, path).await.0, 404, "{path}");
    }
    gateway.stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_answers_clearly() {
    let gateway = gateway().await;
    let address = gateway.address;
    let answer = counted(&gateway).await;
    assert_eq!((&answer["window"], &answer["currency"]), (&json!("1m"), &json!("USD")));

    let (status, head, body) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("kamf_aggregate_exchanges_total{state=\"refused\"} 4"), "{body}");
    assert_eq!(get(address, "/livez").await.0, 200);
    assert_eq!(get(address, "/readyz").await.0, 200);
    gateway.broken.store(true, Ordering::Relaxed);
    let (status, _, body) = get(address, "/readyz").await;
    assert_eq!(
        (status, serde_json::from_str::<Value>(&body).unwrap()),
        (
            503,
            json!({
                "ready": false,
                "not_ready": [{ "part": "test", "why": "told to" }],
                "promise": Promise::Disk.to_string(),
            })
        )
    );
    let (status, _, body) = get(address, "/api/status").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &body["log"]["prefix"], &body["upstreams"][0]["name"]),
        (200, &json!("kamf"), &json!("ledger"))
    );
    assert_eq!(body["log"]["brokers"], gateway.world.log.bootstrap());

    for (path, expected) in [
        ("/", 404),
        ("/api", 404),
        ("/metrics/", 404),
        ("/api/aggregates?window=5m", 400),
        ("/api/exchanges/x", 400),
    ] {
        let (status, _, body) = get(address, path).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["error"]["message"].is_string(), "{body}");
    }
    let (status, head, _) = send(
        address,
        &format!("POST /metrics HTTP/1.1\nHost: {address}\nConnection: close\nContent-Length: 0\n\n"),
    )
    .await;
    assert!(status == 405 && head.contains("allow: get, head"), "{head}");
    let rebound = "GET /metrics HTTP/1.1\nHost: evil.example\nConnection: close\n\n";
    assert_eq!(send(address, rebound).await.0, 421);
    gateway.stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_an_exchange_is_told_over_http() {
    let gateway = gateway().await;
    let mut id = None;
    tokio::task::block_in_place(|| {
        gateway
            .world
            .read(Topic::Requests, |message| id = View::decode(message).ok().map(|view| view.fields.id));
    });
    let story = http::get(gateway.address, &format!("/api/exchanges/{}", id.unwrap())).await.unwrap();
    assert_eq!(story["exchanges"][0]["id"], id.unwrap().to_string());
    let unknown = crate::message::RelayId::generate();
    let answer = http::get(gateway.address, &format!("/api/exchanges/{unknown}")).await;
    assert!(matches!(answer, Err(CliError::Answer { status: 404, .. })), "{answer:?}");
    gateway.stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn top_shows_what_the_listener_says() {
    let gateway = gateway().await;
    let answer = counted(&gateway).await;
    let page = top::page(&serde_json::from_value(answer).unwrap(), 30, SystemTime::now());
    assert!(page.starts_with("40 calls in "), "{page}");
    assert!(page.contains("SendStreamingMessage") && page.contains("refused forbidden"), "{page}");
    gateway.stream.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_a_line_for_each_record_that_passes_the_filters() {
    let world = World::new().await;
    (0..20).for_each(|n| world.exchange(n, SystemTime::now()));
    world.flush();
    tokio::task::block_in_place(|| {
        let lines = |args: tail::Args| {
            let args = tail::Args { from_beginning: true, no_follow: true, ..args };
            let mut out = Vec::new();
            tail::follow(&world.log, &args, &mut out).unwrap();
            String::from_utf8(out).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let all = lines(tail::Args::default());
        // 2 refusals; 18 requests, starts and ends; 6 streams of 3 events.
        assert_eq!(all.len(), 2 + 18 * 3 + 6 * 3);
        let ends =
            lines(tail::Args { kind: Some("terminal".to_owned()), json: true, ..tail::Args::default() });
        assert_eq!(ends.len(), 18);
        assert!(
            ends.iter()
                .all(|line| serde_json::from_str::<Value>(line).unwrap()["kind"] == Kind::Terminal.as_str())
        );
        let nobody = Select { principal: Some("nobody".to_owned()), ..Select::default() };
        let none = lines(tail::Args { select: nobody, ..tail::Args::default() });
        assert_eq!(none.len(), 0);
        assert!(all.iter().any(|line| line.contains("analyst → ledger SendMessage completed")), "{all:?}");
    });
}

#[tokio::test]
async fn a_gateway_that_does_not_run_is_told_clearly() {
    let address: SocketAddr = {
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        taken.local_addr().unwrap()
    };
    let error = http::get(address, "/api/status").await.unwrap_err().to_string();
    assert!(
        error.contains("no gateway answers on the admin address") && error.contains("log.brokers"),
        "{error}"
    );
    let unknown = http::get("127.0.0.1:0".parse().unwrap(), "/").await;
    assert!(matches!(unknown, Err(CliError::NoAddress)));
}
