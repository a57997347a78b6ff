//! The advisor over sockets, with the real tool servers behind a small stand-in for the gateway
//! that records what it is sent.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::demo::gold_price::GoldPrice;
use crate::demo::ledger::Ledger;
use crate::demo::mcp::{Tools, serve};
use crate::demo::profit_clac::ProfitClac;

/// How the stand-in answers.
#[derive(Clone, Copy)]
enum Manner {
    Json,
    Stream,
    Refuse,
    Error,
    Silence,
}

struct Gateway {
    manner: Manner,
    folder: tempfile::TempDir,
    seen: Mutex<Vec<(HeaderMap, Value)>>,
}

impl Gateway {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/mcp"));
        let (head, body) = request.into_parts();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        self.seen.lock().unwrap().push((head.headers, body.clone()));
        let respond = |status: StatusCode, kind: &str, text: String| {
            Response::builder().status(status).header("content-type", kind).body(Full::from(text)).unwrap()
        };
        match self.manner {
            Manner::Json => respond(StatusCode::OK, "application/json", self.run_tool(body).await),
            Manner::Stream => {
                let note = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
                let text = format!("data: {note}\n\ndata: {}\n\n", self.run_tool(body).await);
                respond(StatusCode::OK, "text/event-stream", text)
            }
            Manner::Refuse => {
                let text = json!({"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32001, "message": "not for you"}});
                respond(StatusCode::FORBIDDEN, "application/json", text.to_string())
            }
            Manner::Error => {
                let text = json!({"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32603, "message": "broken"}});
                respond(StatusCode::OK, "application/json", text.to_string())
            }
            Manner::Silence => std::future::pending().await,
        }
    }

    async fn run_tool(&self, mut body: Value) -> String {
        let name = body["params"]["name"].as_str().unwrap().to_owned();
        let (server, tool) = name.split_once("__").unwrap();
        body["params"]["name"] = tool.into();
        match server {
            "gold_price" => over_pipe(GoldPrice::new().unwrap(), &body).await,
            "ledger" => {
                let file = self.folder.path().join("ledger.jsonl");
                over_pipe(Ledger::open(file).await.unwrap(), &body).await
            }
            _ => over_pipe(ProfitClac, &body).await,
        }
    }
}

async fn over_pipe(tools: impl Tools, body: &Value) -> String {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (far_read, far_write) = tokio::io::split(far);
    tokio::spawn(serve(tools, far_read, far_write));
    let (mut read, mut write) = tokio::io::split(near);
    write.write_all(format!("{body}\n").as_bytes()).await.unwrap();
    write.shutdown().await.unwrap();
    let mut answer = String::new();
    read.read_to_string(&mut answer).await.unwrap();
    answer.trim_end().to_owned()
}

/// An advisor, its stand-in gateway, and a client.
struct Scene {
    gateway: Arc<Gateway>,
    url: String,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
}

impl Scene {
    async fn open(manner: Manner) -> Self {
        let gateway =
            Arc::new(Gateway { manner, folder: tempfile::tempdir().unwrap(), seen: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = gateway.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let gateway = stand_in.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let gateway = gateway.clone();
                        async move { Ok::<_, Infallible>(gateway.answer(request).await) }
                    });
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self::at(&behind, gateway).await
    }

    async fn at(behind: &str, gateway: Arc<Gateway>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(super::advisor_on(listener, behind.parse().unwrap(), "the-key".to_owned()));
        Self { gateway, url, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn post(&self, version: &str, body: &Value) -> Response<Incoming> {
        let request = Request::post(&self.url)
            .header("content-type", "application/json")
            .header("a2a-version", version)
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .body(Full::from(body.to_string()))
            .unwrap();
        self.client.request(request).await.unwrap()
    }

    async fn ask(&self, version: &str, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params});
        let body = self.post(version, &body).await.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    async fn stream(&self, version: &str, method: &str, params: Value) -> Events {
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let response = self.post(version, &body).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { body: response.into_body(), text: String::new() }
    }

    async fn task_state(&self, id: &Value) -> Value {
        self.ask("1.0", "GetTask", json!({"id": id})).await["result"]["status"]["state"].clone()
    }
}

struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let message: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
                assert_eq!(message["id"], 7);
                self.text = rest.to_owned();
                return Some(message["result"].clone());
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    }

    async fn all(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn new_message(text: &str) -> Value {
    json!({"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": text}]}})
}

fn old_message(text: &str) -> Value {
    json!({"message": {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": text}]}})
}

fn at_once(mut params: Value) -> Value {
    params["configuration"] = json!({"returnImmediately": true});
    params
}

#[tokio::test]
async fn the_profit_is_computed_through_the_gateway() {
    let scene = Scene::open(Manner::Json).await;
    let answer = scene.ask("1.0", "SendMessage", new_message("What is my profit?")).await;
    let task = &answer["result"]["task"];
    assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{answer}");
    let data = &task["artifacts"][0]["parts"][1]["data"];
    let expected = json!({
        "milli_ounces": 3_000, "cost_cents": 1_189_645, "price_cents": 424_755, "value_cents": 1_274_265,
        "profit_cents": 84_620, "percent": 7.11, "currency": "USD",
    });
    assert_eq!(*data, expected);
    let text =
        "Your profit is 846.20 USD (7.11 %): 3.000 oz that cost 11,896.45 USD are worth 12,742.65 USD.";
    assert_eq!(task["artifacts"][0]["parts"][0]["text"], text);
    let usage = &task["metadata"];
    assert_eq!(usage["gen_ai.request.model"], "advisor-1");
    assert_eq!(usage["gen_ai.usage.output_tokens"], 17);
    assert_eq!(usage["gen_ai.usage.input_tokens"], 4 + 11 + 13 + 18);

    let seen = scene.gateway.seen.lock().unwrap();
    let names: Vec<&str> = seen.iter().map(|(headers, _)| headers["mcp-name"].to_str().unwrap()).collect();
    assert_eq!(names, ["gold_price__price_now", "ledger__holdings", "profit_clac__profit"]);
    let mut spans = std::collections::HashSet::new();
    for (headers, body) in seen.iter() {
        assert_eq!(headers["mcp-name"], *body["params"]["name"].as_str().unwrap());
        assert_eq!(headers["mcp-method"], *body["method"].as_str().unwrap());
        let meta = &body["params"]["_meta"];
        assert_eq!(
            headers["mcp-protocol-version"],
            *meta["io.modelcontextprotocol/protocolVersion"].as_str().unwrap()
        );
        assert_eq!(headers["authorization"], "Bearer the-key");
        assert_eq!(headers["accept"], "application/json, text/event-stream");
        let trace = headers["traceparent"].to_str().unwrap();
        assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{trace}");
        assert_eq!(trace, meta["traceparent"]);
        spans.insert(trace.to_owned());
    }
    assert_eq!(spans.len(), 3);
}

#[tokio::test]
async fn a_0_3_client_gets_0_3_shapes_and_the_gateway_may_stream() {
    let scene = Scene::open(Manner::Stream).await;
    let answer = scene.ask("", "message/send", old_message("what is my PROFIT")).await;
    let task = &answer["result"];
    assert_eq!((&task["kind"], &task["status"]["state"]), (&json!("task"), &json!("completed")), "{answer}");
    assert_eq!(task["artifacts"][0]["parts"][1]["data"]["profit_cents"], 84_620);
    assert_eq!(task["history"][0]["kind"], "message");
    let again = scene.ask("0.3", "tasks/get", json!({"id": task["id"]})).await;
    assert_eq!(again["result"], *task);
}

#[tokio::test]
async fn a_stream_begins_with_the_task_and_ends_with_its_usage() {
    let scene = Scene::open(Manner::Json).await;
    let new = scene.stream("1.0", "SendStreamingMessage", new_message("profit?")).await.all().await;
    assert_eq!(new[0]["task"]["status"]["state"], "TASK_STATE_SUBMITTED");
    let states: Vec<_> = new.iter().filter_map(|e| e["statusUpdate"]["status"]["state"].as_str()).collect();
    assert_eq!(states[..4], ["TASK_STATE_WORKING"; 4]);
    assert_eq!(states[4..], ["TASK_STATE_COMPLETED"]);
    assert!(new[new.len() - 2]["artifactUpdate"].is_object());
    let last = &new[new.len() - 1]["statusUpdate"];
    assert!(last["metadata"]["gen_ai.usage.input_tokens"].as_u64() > Some(0));

    let old = scene.stream("0.3", "message/stream", old_message("hello")).await.all().await;
    let kinds: Vec<_> = old.iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["task", "status-update", "artifact-update", "status-update"]);
    assert_eq!((&old[1]["final"], &old[3]["final"]), (&json!(false), &json!(true)));
    assert_eq!(old[3]["metadata"]["gen_ai.response.model"], "advisor-1");
}

#[tokio::test]
async fn a_failed_call_fails_the_task_and_says_which() {
    for (manner, why) in [
        (Manner::Refuse, "the gateway refused it with HTTP 403 Forbidden: not for you"),
        (Manner::Error, "the gateway answered error -32603: broken"),
    ] {
        let scene = Scene::open(manner).await;
        let answer = scene.ask("1.0", "SendMessage", new_message("profit")).await;
        let status = &answer["result"]["task"]["status"];
        assert_eq!(status["state"], "TASK_STATE_FAILED");
        let text = status["message"]["parts"][0]["text"].as_str().unwrap();
        assert_eq!(text, format!("The call of `gold_price__price_now` failed: {why}."));
    }
    // A port that was just free: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let scene = Scene::open(Manner::Json).await;
    let scene = Scene::at(&format!("http://{nobody}"), scene.gateway).await;
    let answer = scene.ask("1.0", "SendMessage", new_message("profit")).await;
    let text = answer["result"]["task"]["status"]["message"]["parts"][0]["text"].as_str().unwrap();
    assert!(text.contains("`gold_price__price_now` failed: the gateway cannot be reached: "), "{text}");
    assert!(!text.contains("the-key"));
}

#[tokio::test]
async fn a_cancelled_task_stops_at_once_and_for_good() {
    let scene = Scene::open(Manner::Silence).await;
    let answer = scene.ask("1.0", "SendMessage", at_once(new_message("profit"))).await;
    let id = &answer["result"]["task"]["id"];
    assert_eq!(answer["result"]["task"]["status"]["state"], "TASK_STATE_SUBMITTED");
    let mut events = scene.stream("1.0", "SubscribeToTask", json!({"id": id})).await;
    assert_eq!(events.next().await.unwrap()["task"]["id"], *id);
    while scene.gateway.seen.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let canceled = scene.ask("1.0", "CancelTask", json!({"id": id})).await;
    assert_eq!(canceled["result"]["status"]["state"], "TASK_STATE_CANCELED");
    let rest = events.all().await;
    assert_eq!(rest.last().unwrap()["statusUpdate"]["status"]["state"], "TASK_STATE_CANCELED");
    for (method, code, reason) in
        [("CancelTask", -32002, "TASK_NOT_CANCELABLE"), ("SubscribeToTask", -32004, "UNSUPPORTED_OPERATION")]
    {
        let refused = scene.ask("1.0", method, json!({"id": id})).await;
        assert_eq!(refused["error"]["code"], code);
        assert_eq!(refused["error"]["data"][0]["reason"], reason);
    }
    let old = scene.ask("0.3", "tasks/cancel", json!({"id": id})).await;
    assert_eq!(old["error"]["code"], -32002);
    assert_eq!(scene.task_state(id).await, "TASK_STATE_CANCELED");
    assert_eq!(scene.gateway.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_slow_task_outlives_its_client_and_can_be_joined() {
    let scene = Scene::open(Manner::Json).await;
    let begun = Instant::now();
    let mut lost = scene.stream("1.0", "SendStreamingMessage", new_message("profit, slowly")).await;
    let id = lost.next().await.unwrap()["task"]["id"].clone();
    lost.next().await.unwrap();
    drop(lost);
    let joined = scene.stream("0.3", "tasks/resubscribe", json!({"id": id})).await;
    let other = scene.stream("1.0", "SubscribeToTask", json!({"id": id})).await;
    let (joined, other) = tokio::join!(joined.all(), other.all());
    assert!(begun.elapsed() >= Duration::from_millis(1_900));
    assert_eq!(joined[0]["kind"], "task");
    assert_eq!(joined.last().unwrap()["status"]["state"], "completed");
    assert!(joined.len() >= 10 && joined.len().abs_diff(other.len()) <= 1);
    assert_eq!(scene.task_state(&id).await, "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn follow_ups_unknown_tasks_and_wordless_messages_are_refused() {
    let scene = Scene::open(Manner::Json).await;
    let done = scene.ask("1.0", "SendMessage", new_message("hello")).await;
    let id = &done["result"]["task"]["id"];
    let mut more = new_message("and now?");
    more["message"]["taskId"] = id.clone();
    assert_eq!(scene.ask("1.0", "SendMessage", more.clone()).await["error"]["code"], -32004);
    more["message"]["contextId"] = "another".into();
    assert_eq!(scene.ask("1.0", "SendMessage", more).await["error"]["code"], -32602);
    let mut old = old_message("and now?");
    old["message"]["taskId"] = id.clone();
    assert_eq!(scene.ask("0.3", "message/send", old).await["error"]["code"], -32602);
    for (version, method) in
        [("1.0", "GetTask"), ("1.0", "CancelTask"), ("1.0", "SubscribeToTask"), ("0.3", "tasks/get")]
    {
        assert_eq!(scene.ask(version, method, json!({"id": "nope"})).await["error"]["code"], -32001);
    }
    let mut wordless = new_message("");
    wordless["message"]["parts"] = json!([{"data": {"a": 1}}]);
    assert_eq!(scene.ask("1.0", "SendMessage", wordless).await["error"]["code"], -32005);
    let mut context = new_message("hello again");
    context["message"]["contextId"] = "ours".into();
    assert_eq!(scene.ask("1.0", "SendMessage", context).await["result"]["task"]["contextId"], "ours");
}

#[tokio::test]
async fn the_card_serves_both_dialects_and_knows_when_it_is_known() {
    let scene = Scene::open(Manner::Json).await;
    let path = format!("{}.well-known/agent-card.json", scene.url);
    let response = scene.client.get(path.parse().unwrap()).await.unwrap();
    let tag = response.headers()["etag"].clone();
    let card: Value =
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(card["url"], scene.url);
    assert_eq!(card["supportedInterfaces"][0]["protocolVersion"], "1.0");
    assert_eq!(card["supportedInterfaces"][1]["url"], scene.url);
    let request = Request::get(path).header("if-none-match", tag).body(Full::default()).unwrap();
    assert_eq!(scene.client.request(request).await.unwrap().status(), 304);
}

#[tokio::test]
async fn http_mistakes_get_http_answers() {
    let scene = Scene::open(Manner::Json).await;
    let send = |method: &str, path: &str, kind: &str, body: String| {
        let request = Request::builder().method(method).uri(format!("{}{path}", scene.url));
        scene.client.request(request.header("content-type", kind).body(Full::from(body)).unwrap())
    };
    let json = "application/json";
    assert_eq!(send("GET", "", json, String::new()).await.unwrap().status(), 405);
    assert_eq!(send("GET", "other", json, String::new()).await.unwrap().status(), 404);
    assert_eq!(send("POST", "", "text/plain", "{}".to_owned()).await.unwrap().status(), 415);
    assert_eq!(send("POST", "", json, "x".repeat((1 << 20) + 1)).await.unwrap().status(), 413);
    let query = r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"nope"}}"#;
    let response =
        send("POST", "?A2A-Version=1.0", "application/json; charset=utf-8", query.to_owned()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001"#), "{body:?}");
}
