//! A2A agents over HTTP.

use super::http_server::{HttpServer, Seen, Step, chunk, end, json, sse_head};
use super::*;

const SEND: &str = r#"{"jsonrpc":"2.0","id":"q-1","method":"SendMessage","params":{"n":1e400}}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":"q-1","result":{"x":1.50}}"#;

fn send() -> Call {
    call("one", Dialect::A2aV10, Operation::Send, None, SEND)
}

fn stream() -> Call {
    call("one", Dialect::A2aV10, Operation::Stream, None, SEND)
}

/// An agent whose RPC address plays `script`; its card is not there.
async fn agent_with(
    script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
) -> (HttpServer, Arc<Upstreams>, Worker) {
    let server = HttpServer::start(
        move |seen| if seen.head.starts_with("get") { json(404, "{}") } else { script(seen) },
    )
    .await;
    let (upstreams, worker) = start(&config(vec![("one", agent(&format!("{}/rpc", server.url)))], vec![]));
    (server, upstreams, worker)
}

fn event(n: u32) -> String {
    format!("data: {{\"jsonrpc\":\"2.0\",\"id\":\"q-1\",\"result\":{{\"n\":{n}}}}}\r\n\r\n")
}

#[tokio::test]
async fn the_body_goes_untouched_under_a_head_of_our_own() {
    let server = HttpServer::start(|_| json(200, RESULT)).await;
    let mut one = agent(&format!("{}/rpc?x=1", server.url));
    one.authorization = Some(config::Secret::new("Bearer upstream-secret".into()));
    let config = config(vec![("one", one)], vec![]);
    assert!(!format!("{config:?}").contains("upstream-secret"));
    let (_upstreams, worker) = start(&config);
    assert_eq!(unary(&worker, send()).await.unwrap(), RESULT);
    let mut old = send();
    old.dialect = Dialect::A2aV03;
    unary(&worker, old).await.unwrap();
    let posts: Vec<Seen> =
        server.requests().into_iter().filter(|seen| seen.head.starts_with("post")).collect();
    assert_eq!(posts[0].body, SEND);
    assert!(posts[0].head.starts_with("post /rpc?x=1 http/1.1"));
    for (name, value) in [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("a2a-version", "1.0"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("authorization", "bearer upstream-secret"),
    ] {
        assert_eq!(posts[0].header(name), Some(value));
    }
    assert_eq!(posts[0].head.lines().count(), 8, "{}", posts[0].head);
    assert_eq!(posts[1].header("a2a-version"), Some("0.3"));
    assert_eq!(posts[0].connection, posts[1].connection, "connections are kept");
}

#[tokio::test]
async fn a_stream_is_passed_event_by_event_and_its_end_is_the_bodys() {
    let (_server, _upstreams, worker) = agent_with(|_| {
        let (one, two) = (event(1), event(2));
        let (head, tail) = two.split_at(9);
        vec![sse_head(), chunk(": ping - 1\r\n\r\n"), chunk(&one), chunk(head), chunk(tail), end()]
    })
    .await;
    let (seen, ended) = events(&worker, stream()).await;
    ended.unwrap();
    assert_eq!(
        seen,
        [
            r#"{"jsonrpc":"2.0","id":"q-1","result":{"n":1}}"#,
            r#"{"jsonrpc":"2.0","id":"q-1","result":{"n":2}}"#
        ]
    );
}

#[tokio::test]
async fn a_stream_may_be_answered_by_json_and_an_error_event_passes() {
    let (_server, _upstreams, worker) = agent_with(|_| json(200, RESULT)).await;
    assert_eq!(unary(&worker, stream()).await.unwrap(), RESULT);
    let (_server, _upstreams, worker) = agent_with(|_| {
        let error = "event: error\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"q-1\",\"error\":{\"code\":-32603,\"message\":\"x\"}}\n\n";
        vec![sse_head(), chunk(&event(1)), chunk(error), end()]
    })
    .await;
    let (seen, ended) = events(&worker, stream()).await;
    assert_eq!((seen.len(), ended), (2, Ok(())));
}

#[tokio::test]
async fn every_way_to_fail_in_a_stream_is_told_apart() {
    let bad_id = "data: {\"jsonrpc\":\"2.0\",\"id\":\"q-2\",\"result\":{}}\n\n";
    let big = format!("data: {}\n\n", "x".repeat(1024 * 1024 + 1));
    type Script = Box<dyn Fn() -> Vec<Step> + Send + Sync>;
    let cases: Vec<(&str, &str, Script)> = vec![
        ("cut by reset", "upstream_broken", Box::new(|| vec![Step::Reset])),
        ("cut without the last chunk", "upstream_broken", Box::new(|| vec![Step::Close])),
        ("ends inside an event", "upstream_broken", Box::new(|| vec![chunk("data: {\"jsonr"), end()])),
        ("silence", "upstream_timeout", Box::new(|| vec![Step::Sleep(Duration::from_secs(10))])),
        ("another's id", "upstream_invalid", Box::new(move || vec![chunk(bad_id), end()])),
        ("no JSON", "upstream_invalid", Box::new(|| vec![chunk("data: hello\n\n"), end()])),
        ("too large", "upstream_invalid", Box::new(move || vec![chunk(&big), end()])),
    ];
    for (name, reason, script) in cases {
        let (_server, _upstreams, worker) = agent_with(move |_| {
            let mut steps = vec![sse_head(), chunk(&event(1)), Step::Sleep(Duration::from_millis(50))];
            steps.extend(script());
            steps
        })
        .await;
        let (seen, ended) = events(&worker, stream()).await;
        assert_eq!((seen.len(), ended.unwrap_err().reason().label()), (1, reason), "{name}");
    }
}

#[tokio::test]
async fn where_only_the_connection_ends_the_body_the_task_must_have_ended() {
    let update = |state: &str| {
        format!(
            "data: {{\"jsonrpc\":\"2.0\",\"id\":\"q-1\",\"result\":{{\"statusUpdate\":{{\"status\":{{\"state\":\"{state}\"}}}}}}}}\n\n"
        )
    };
    for (state, ends_well) in [("TASK_STATE_COMPLETED", true), ("TASK_STATE_WORKING", false)] {
        let (_server, _upstreams, worker) = agent_with(move |_| {
            let head = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_owned();
            vec![
                Step::Write(head),
                Step::Write(update("TASK_STATE_WORKING")),
                Step::Write(update(state)),
                Step::Close,
            ]
        })
        .await;
        let (seen, ended) = events(&worker, stream()).await;
        assert_eq!((seen.len(), ended.is_ok()), (2, ends_well), "{state}: {ended:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_nobody_is_refused_before_anything_is_sent() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            assert!(acceptor.accept(stream).await.is_err(), "the client went on");
        }
    });
    let (_upstreams, worker) = start(&config(vec![("one", agent(&url))], vec![]));
    let error = unary(&worker, send()).await.unwrap_err();
    assert!(error.nothing_was_sent() && error.to_string().contains("TLS"), "{error}");
    assert!(!accepting.is_finished());
    accepting.abort();
}

#[tokio::test]
async fn a_local_agent_that_is_still_starting_is_waited_for() {
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let mut one = agent(&format!("http://{address}/"));
    one.process = Some(config::Process {
        command: "sleep".into(),
        args: vec!["100".into()],
        env: BTreeMap::new(),
        cwd: None,
    });
    let (upstreams, worker) = start(&config(vec![("one", one)], vec![]));
    let waiting = tokio::spawn(async move { unary(&worker, send()).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _server =
        HttpServer::on(tokio::net::TcpListener::bind(address).await.unwrap(), |_| json(200, RESULT));
    waiting.await.unwrap().unwrap();
    upstreams.shutdown().await;
}

#[tokio::test]
async fn pings_are_no_silence_and_events_are_counted() {
    let (_server, _upstreams, worker) = agent_with(|_| {
        let ping = || [Step::Sleep(Duration::from_millis(700)), chunk(": ping\n\n")];
        let mut steps = vec![sse_head(), chunk(&event(1))];
        steps.extend((0..4).flat_map(|_| ping()));
        steps.extend([chunk(&event(2)), end()]);
        steps
    })
    .await;
    assert_eq!(events(&worker, stream()).await.0.len(), 2);
    let (_server, _upstreams, worker) = agent_with(|_| {
        let hundred = event(1).repeat(100);
        let mut steps = vec![sse_head()];
        steps.extend((0..11).map(|_| chunk(&hundred)));
        steps
    })
    .await;
    let (seen, ended) = events(&worker, stream()).await;
    assert_eq!((seen.len(), ended.unwrap_err().reason().label()), (EVENTS_MAX, "upstream_invalid"));
}

#[tokio::test]
async fn every_way_to_fail_before_an_answer_is_told_apart() {
    type Script = Box<dyn Fn(&Seen) -> Vec<Step> + Send + Sync>;
    let over = 8 * 1024 * 1024 + 1;
    let cases: Vec<(&str, &str, Script)> = vec![
        ("closed after the request", "upstream_broken", Box::new(|_| vec![Step::Close])),
        ("reset after the request", "upstream_broken", Box::new(|_| vec![Step::Reset])),
        ("no answer", "upstream_timeout", Box::new(|_| vec![Step::Sleep(Duration::from_secs(10))])),
        (
            "half an answer",
            "upstream_broken",
            Box::new(|_| {
                vec![
                    Step::Write(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
                            .into(),
                    ),
                    Step::Close,
                ]
            }),
        ),
        (
            "a slow body",
            "upstream_timeout",
            Box::new(|_| {
                let drip = || [Step::Write(" ".into()), Step::Sleep(Duration::from_millis(500))];
                let head = Step::Write(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n".into(),
                );
                [head].into_iter().chain((0..20).flat_map(|_| drip())).collect()
            }),
        ),
        ("not HTTP", "upstream_broken", Box::new(|_| vec![Step::Write("hello\r\n\r\n".into()), Step::Close])),
        ("HTML", "upstream_invalid", Box::new(|_| json(200, "<html>"))),
        ("another's id", "upstream_invalid", Box::new(|_| json(200, &RESULT.replace("q-1", "q-2")))),
        (
            "redirect",
            "upstream_invalid",
            Box::new(|_| {
                vec![Step::Write(
                    "HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n".into(),
                )]
            }),
        ),
        ("500 without JSON-RPC", "upstream_invalid", Box::new(|_| json(500, "oops"))),
        ("503", "upstream_unreachable", Box::new(|_| json(503, "{}"))),
        (
            "announced too large",
            "upstream_invalid",
            Box::new(move |_| {
                vec![Step::Write(format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {over}\r\n\r\n"
                ))]
            }),
        ),
        (
            "too large in chunks",
            "upstream_invalid",
            Box::new(move |_| {
                let head = Step::Write(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
                        .into(),
                );
                [head].into_iter().chain((0..9).map(|_| chunk(&" ".repeat(1024 * 1024)))).collect()
            }),
        ),
    ];
    for (name, reason, script) in cases {
        let (_server, _upstreams, worker) = agent_with(script).await;
        let error = unary(&worker, send()).await.expect_err(name);
        assert_eq!(error.reason().label(), reason, "{name}: {error}");
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn an_agents_own_error_is_passed_on_whatever_the_status() {
    let error =
        r#"{"jsonrpc":"2.0","id":"q-1","error":{"code":-32001,"message":"Task not found","data":[]}}"#;
    for status in [200, 400, 404, 500] {
        let (_server, _upstreams, worker) = agent_with(move |_| json(status, error)).await;
        assert_eq!(unary(&worker, send()).await.unwrap(), error);
    }
}

#[tokio::test]
async fn a_dead_port_is_unreachable_at_once_and_shows_in_health() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let (upstreams, worker) = start(&config(vec![("one", agent(&url))], vec![]));
    let began = std::time::Instant::now();
    let error = unary(&worker, send()).await.unwrap_err();
    assert!(error.nothing_was_sent() && error.to_string().contains("refused"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(1));
    eventually("health", || (upstreams.health()[0].state == HealthState::Down).then_some(())).await;
    assert!(unary(&worker, Call { upstream: "two".into(), ..send() }).await.is_err());
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_no_call_and_none_is_sent_twice() {
    // Every connection is closed right after its first answer, as a server that stops keeping it alive does.
    let (server, _upstreams, worker) = agent_with(|_| {
        let mut steps = json(200, RESULT);
        steps.push(Step::Close);
        steps
    })
    .await;
    for _ in 0..200 {
        unary(&worker, send()).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let posts = server.requests().iter().filter(|seen| seen.head.starts_with("post")).count();
    assert_eq!(posts, 200);
}

#[tokio::test]
async fn who_goes_away_closes_the_exchange() {
    let (server, _upstreams, worker) =
        agent_with(|_| vec![sse_head(), chunk(&event(1)), Step::WatchGone]).await;
    let Answer::Stream(mut open) = enter_and_call(&worker, stream()).await.unwrap() else {
        panic!("no stream")
    };
    open.next().await.unwrap().unwrap();
    drop(open);
    let gone = || server.requests().iter().filter(|seen| seen.head == "gone").count();
    eventually("the stream is closed", || (gone() == 1).then_some(())).await;

    let (server, _upstreams, worker) = agent_with(|_| vec![Step::WatchGone]).await;
    let _ = tokio::time::timeout(Duration::from_millis(100), enter_and_call(&worker, send())).await;
    eventually("the call is closed", || {
        server.requests().iter().any(|seen| seen.head == "gone").then_some(())
    })
    .await;
}

#[tokio::test]
async fn cards_are_found_learned_and_followed() {
    const CARD: &str = r#"{"name":"one","supportedInterfaces":[{"url":"http://[::]/","protocolBinding":"JSONRPC","protocolVersion":"1.0"}]}"#;
    let server = HttpServer::start(|seen| match seen.head.split(' ').nth(1) {
        Some("/.well-known/agent.json") => json(200, CARD),
        _ => json(404, "{}"),
    })
    .await;
    let mut one = agent(&format!("{}/agents/one/", server.url));
    one.authorization = Some(config::Secret::new("Bearer s".into()));
    let (upstreams, _worker) = start(&config(vec![("one", one)], vec![]));
    let card = eventually("the card", || upstreams.card("one")).await;
    assert!(card.dialects.v10 && !card.dialects.v03);
    assert_eq!(upstreams.health()[0].state, HealthState::Up);
    let asked: Vec<String> =
        server.requests().iter().map(|seen| seen.head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(
        asked,
        [
            "/agents/one/.well-known/agent-card.json",
            "/.well-known/agent-card.json",
            "/.well-known/agent.json"
        ]
    );
    assert_eq!(server.requests()[0].header("a2a-version"), Some("1.0"));
    assert_eq!(server.requests()[0].header("authorization"), Some("bearer s"));
}

#[tokio::test]
async fn a_local_agents_process_is_started_again() {
    let pid_file = tempfile::tempdir().unwrap();
    let path = pid_file.path().join("pids");
    let mut one = agent("http://127.0.0.1:9/");
    one.process = Some(config::Process {
        command: "sh".into(),
        args: vec!["-c".into(), format!("echo $$ >> {}; echo up >&2; sleep 0.2; exit 3", path.display())],
        env: BTreeMap::new(),
        cwd: None,
    });
    let (upstreams, _worker) = start(&config(vec![("one", one)], vec![]));
    let starts = || std::fs::read_to_string(&path).unwrap_or_default().lines().count();
    eventually("it is started again", || (starts() >= 3).then_some(())).await;
    assert!(upstreams.health()[0].restarts >= 2);
    upstreams.shutdown().await;
    let after = starts();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(starts(), after);
}
