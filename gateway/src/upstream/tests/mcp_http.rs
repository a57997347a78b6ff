//! MCP servers over streamable HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::http_server::{HttpServer, Seen, Step, chunk, end, json, json_with, sse_head};
use super::*;

fn http(url: &str) -> config::Server {
    let headers = [("X-Own".to_owned(), config::Secret::new("own-secret".into()))].into();
    config::Server { transport: Transport::Http { url: url.into(), headers }, timeouts: timeouts() }
}

fn answer(seen: &Seen, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.json()["id"])
}

const TOOLS: &str = r#"{"tools":[{"name":"price","inputSchema":{"type":"object","properties":{"metal":{"type":"string","x-mcp-header":"Metal"}}}}],"ttlMs":0}"#;

/// What every server answers to the gateway's own questions; `calls` gets the rest.
fn dual(seen: &Seen, modern: bool, legacy: bool, calls: impl Fn(&Seen) -> Vec<Step>) -> Vec<Step> {
    match seen.json()["method"].as_str().unwrap_or("") {
        "server/discover" if modern => {
            json(200, &answer(seen, r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}"#))
        }
        "server/discover" => {
            json(400, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no valid session"}}"#)
        }
        "initialize" if legacy => json_with(
            200,
            "mcp-session-id: s1\r\n",
            &answer(seen, r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{}}"#),
        ),
        "initialize" => json(400, r#"{"jsonrpc":"2.0","error":{"code":-32022,"message":"modern only"}}"#),
        "tools/list" => json(200, &answer(seen, TOOLS)),
        "tools/call" => calls(seen),
        _ if seen.head.starts_with("post") => {
            vec![Step::Write("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".into())]
        }
        _ => json(405, ""),
    }
}

async fn up(server: &HttpServer) -> (Arc<Upstreams>, Worker) {
    let (upstreams, worker) = start(&config(vec![], vec![("fix", http(&format!("{}/mcp", server.url)))]));
    eventually("the server is up", || (upstreams.health()[0].state == HealthState::Up).then_some(())).await;
    (upstreams, worker)
}

fn price(dialect: Dialect) -> Call {
    let body = r#"{"jsonrpc":"2.0","id":"c-1","method":"tools/call","params":{"name":"fix__price","arguments":{"metal":"gold é"},"_meta":{"progressToken":"t","io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    call("fix", dialect, Operation::CallTool, Some("price"), body)
}

fn tool_calls(server: &HttpServer) -> Vec<Seen> {
    server.requests().into_iter().filter(|seen| seen.json()["method"] == "tools/call").collect()
}

fn told(server: &HttpServer, method: &str) -> Vec<Seen> {
    server.requests().into_iter().filter(|seen| seen.json()["method"] == method).collect()
}

#[tokio::test]
async fn modern_calls_stand_alone_with_headers_of_what_goes_out() {
    let server =
        HttpServer::start(|seen| dual(seen, true, false, |seen| json(200, &answer(seen, "{}")))).await;
    let (upstreams, worker) = up(&server).await;
    assert_eq!(upstreams.catalog().servers["fix"].tools.len(), 1);
    let text = unary(&worker, price(Dialect::McpModern)).await.unwrap();
    assert_eq!(text, r#"{"jsonrpc":"2.0","id":"c-1","result":{}}"#);
    let seen = &tool_calls(&server)[0];
    for (name, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "price"),
        ("mcp-param-metal", "=?base64?z29szcdpqq==?="),
        ("x-own", "own-secret"),
    ] {
        // Heads are recorded in lower case; base64 is compared where case counts, in `param_headers`.
        assert_eq!(seen.header(name).map(str::len), Some(value.len()), "{name}: {}", seen.head);
    }
    assert_eq!(seen.header("mcp-session-id"), None);
    assert_eq!(seen.json()["params"]["name"], "price");
    assert!(seen.json()["id"].is_u64() && seen.json()["params"]["_meta"]["progressToken"].is_u64());
    let refused = unary(&worker, price(Dialect::McpLegacy)).await.unwrap_err();
    assert_eq!(refused.reason().label(), "unsupported");
}

#[tokio::test]
async fn legacy_calls_share_one_session_and_one_request_each() {
    let server =
        HttpServer::start(|seen| dual(seen, false, true, |seen| json(200, &answer(seen, "{}")))).await;
    let (upstreams, worker) = up(&server).await;
    for _ in 0..3 {
        unary(&worker, price(Dialect::McpLegacy)).await.unwrap();
    }
    assert_eq!(told(&server, "initialize").len(), 1);
    assert_eq!(told(&server, "notifications/initialized").len(), 1);
    let calls = tool_calls(&server);
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[0].header("mcp-session-id"), Some("s1"));
    assert_eq!(calls[0].header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(calls[0].header("mcp-method"), None);
    assert_ne!(calls[0].json()["id"], calls[1].json()["id"]);
    upstreams.shutdown().await;
    assert!(
        server
            .requests()
            .iter()
            .any(|seen| seen.head.starts_with("delete") && seen.header("mcp-session-id") == Some("s1"))
    );
}

#[tokio::test]
async fn a_forgotten_session_is_opened_again_without_the_caller_noticing() {
    for lost in [
        (404, "{}"),
        (
            400,
            r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#,
        ),
    ] {
        let count = AtomicUsize::new(0);
        let server = HttpServer::start(move |seen| {
            dual(seen, false, true, |seen| match count.fetch_add(1, Ordering::Relaxed) {
                1 => json(lost.0, lost.1),
                _ => json(200, &answer(seen, "{}")),
            })
        })
        .await;
        let (_upstreams, worker) = up(&server).await;
        for _ in 0..3 {
            unary(&worker, price(Dialect::McpLegacy)).await.unwrap();
        }
        assert_eq!(told(&server, "initialize").len(), 2);
        assert_eq!(tool_calls(&server).len(), 4);
    }
}

fn message(text: &str) -> Step {
    chunk(&format!("event: message\r\ndata: {text}\r\n\r\n"))
}

#[tokio::test]
async fn a_stream_gives_its_caller_what_is_the_callers() {
    let server = HttpServer::start(|seen| {
        dual(seen, true, true, |seen| {
            let number = seen.json()["id"].clone();
            let progress = |token: &str| {
                message(&format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
                ))
            };
            vec![
                sse_head(),
                chunk("id: 1\ndata:\n\n"),
                message(r#"{"jsonrpc":"2.0","id":"s","method":"sampling/createMessage","params":{}}"#),
                message(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#),
                progress("99999"),
                progress(&number.to_string()),
                message(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#),
                message(&answer(seen, "{\"content\":[]}")),
                end(),
            ]
        })
    })
    .await;
    let (_upstreams, worker) = up(&server).await;
    let (seen, ended) = events(&worker, price(Dialect::McpLegacy)).await;
    ended.unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen[0].contains(r#""progressToken":"t""#), "{}", seen[0]);
    assert_eq!(seen[2], r#"{"jsonrpc":"2.0","id":"c-1","result":{"content":[]}}"#);
    eventually("the server's question is answered", || {
        server
            .requests()
            .iter()
            .any(|seen| seen.json()["error"]["code"] == -32601 && seen.json()["id"] == "s")
            .then_some(())
    })
    .await;
    assert!(told(&server, "notifications/cancelled").is_empty());
    eventually("tools are listed again", || (told(&server, "tools/list").len() >= 2).then_some(())).await;
}

#[tokio::test]
async fn a_stream_without_its_response_is_broken() {
    for cut in [false, true] {
        let server = HttpServer::start(move |seen| {
            dual(seen, true, false, move |_| {
                let log = message(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#);
                vec![sse_head(), log, if cut { Step::Close } else { end() }]
            })
        })
        .await;
        let (_upstreams, worker) = up(&server).await;
        let (seen, ended) = events(&worker, price(Dialect::McpModern)).await;
        assert_eq!((seen.len(), ended.unwrap_err().reason().label()), (1, "upstream_broken"));
    }
}

#[tokio::test]
async fn cancelling_is_a_message_in_the_old_era_and_a_closed_stream_in_the_new() {
    let server =
        HttpServer::start(|seen| dual(seen, true, true, |_| vec![sse_head(), Step::WatchGone])).await;
    let (_upstreams, worker) = up(&server).await;
    for dialect in [Dialect::McpLegacy, Dialect::McpModern] {
        let gone =
            tokio::time::timeout(Duration::from_millis(200), enter_and_call(&worker, price(dialect))).await;
        assert!(gone.is_err());
    }
    let gone = || server.requests().iter().filter(|seen| seen.head == "gone").count();
    eventually("both streams are closed", || (gone() == 2).then_some(())).await;
    let cancelled =
        eventually("the old one is told", || told(&server, "notifications/cancelled").pop()).await;
    assert_eq!(cancelled.json()["params"]["requestId"], tool_calls(&server)[0].json()["id"]);
    assert_eq!(cancelled.header("mcp-session-id"), Some("s1"));
    assert_eq!(told(&server, "notifications/cancelled").len(), 1);
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let place = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let (upstreams, worker) = start(&config(vec![], vec![("fix", http(&format!("http://{address}/mcp")))]));
    eventually("it is seen to be down", || (upstreams.health()[0].state == HealthState::Down).then_some(()))
        .await;
    let waiting = tokio::spawn(async move { unary(&worker, price(Dialect::McpModern)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _server =
        HttpServer::on(listener, |seen| dual(seen, true, true, |seen| json(200, &answer(seen, "{}"))));
    waiting.await.unwrap().unwrap();
    assert!(upstreams.catalog().servers["fix"].up);
}

#[tokio::test]
async fn changes_are_heard_of_on_a_stream_of_their_own() {
    for modern in [false, true] {
        let server = HttpServer::start(move |seen| {
            let capabilities = r#"{"tools":{"listChanged":true}}"#;
            let changed = message(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
            let stream = || {
                vec![
                    sse_head(),
                    chunk(": hello\n\n"),
                    Step::Sleep(Duration::from_millis(300)),
                    changed,
                    Step::WatchGone,
                ]
            };
            match seen.json()["method"].as_str() {
                Some("server/discover") if modern => json(
                    200,
                    &answer(
                        seen,
                        &format!(r#"{{"supportedVersions":["2026-07-28"],"capabilities":{capabilities}}}"#),
                    ),
                ),
                Some("initialize") if !modern => json_with(
                    200,
                    "Mcp-Session-Id: s1\r\n",
                    &answer(
                        seen,
                        &format!(r#"{{"protocolVersion":"2025-03-26","capabilities":{capabilities}}}"#),
                    ),
                ),
                Some("subscriptions/listen") => stream(),
                None if seen.head.starts_with("get") && seen.header("mcp-session-id") == Some("s1") => {
                    stream()
                }
                _ => dual(seen, modern, !modern, |_| vec![]),
            }
        })
        .await;
        let (_upstreams, _worker) = up(&server).await;
        eventually("tools are listed again", || (told(&server, "tools/list").len() >= 2).then_some(())).await;
    }
}
