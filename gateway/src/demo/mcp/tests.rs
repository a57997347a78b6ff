//! The core over a pipe, with a tool server whose calls can be told to wait, fail or break.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};

use super::{Answer, Identity, Progress, Tool, ToolFailure, Tools, serve};

struct Trial;

impl Tools for Trial {
    fn identity(&self) -> Identity {
        Identity { name: "trial", title: "Trial", instructions: "For tests." }
    }

    fn list(&self) -> Vec<Tool> {
        let tool = |name| Tool {
            name,
            title: "Trial",
            description: "For tests.",
            input: (json!({}), &[]),
            output: json!({"name": {"type": "string"}}),
            writes: false,
        };
        vec![tool("echo"), tool("wait"), tool("fail"), tool("break")]
    }

    async fn call(
        &self,
        name: &str,
        _: Map<String, Value>,
        progress: Progress,
    ) -> Result<Answer, ToolFailure> {
        match name {
            "wait" => {
                for step in 0..200 {
                    progress.report(step, 200, "waiting").await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            "fail" => return Err(ToolFailure::new("on purpose")),
            "break" => panic!("on purpose"),
            _ => {}
        }
        Ok(Answer { text: name.to_owned(), structured: json!({"name": name}) })
    }
}

struct Client {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    input: WriteHalf<DuplexStream>,
}

impl Client {
    fn start() -> Self {
        let (near, far) = tokio::io::duplex(64 << 10);
        let (far_read, far_write) = tokio::io::split(far);
        tokio::spawn(serve(Trial, far_read, far_write));
        let (read, input) = tokio::io::split(near);
        Self { lines: BufReader::new(read).lines(), input }
    }

    async fn say(&mut self, line: &str) {
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.input.write_all(b"\n").await.unwrap();
    }

    async fn hear_text(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(5), self.lines.next_line()).await;
        line.expect("an answer in time").unwrap().expect("an open pipe")
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.hear_text().await).unwrap()
    }

    async fn ask(&mut self, message: Value) -> Value {
        self.say(&message.to_string()).await;
        self.hear().await
    }

    async fn initialize(&mut self) {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let answer =
            self.ask(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await;
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
        self.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    }
}

fn modern(id: impl Into<Value>, method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

#[tokio::test]
async fn a_legacy_session_lists_and_calls() {
    let mut client = Client::start();
    client.initialize().await;
    let pong = client.ask(json!({"jsonrpc": "2.0", "id": "p", "method": "ping"})).await;
    assert_eq!(pong, json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
    let list = client.ask(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert_eq!(list["result"]["tools"][0]["name"], "echo");
    assert_eq!(list["result"]["tools"][0]["inputSchema"]["additionalProperties"], false);
    assert!(list["result"].get("ttlMs").is_none());
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "echo"}});
    let answer = client.ask(call).await;
    assert_eq!(answer["result"]["structuredContent"], json!({"name": "echo"}));
    assert!(answer["result"].get("resultType").is_none());
}

#[tokio::test]
async fn an_unknown_legacy_version_is_negotiated_down() {
    let mut client = Client::start();
    for (asked, given) in [("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25")] {
        let params = json!({"protocolVersion": asked, "capabilities": {}});
        let answer =
            client.ask(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})).await;
        assert_eq!(answer["result"]["protocolVersion"], given);
    }
}

#[tokio::test]
async fn stateless_requests_carry_all_that_their_era_wants() {
    let mut client = Client::start();
    let discover = client.ask(modern(1, "server/discover", json!({}))).await;
    assert_eq!(discover["result"]["supportedVersions"], json!(["2026-07-28"]));
    let list = client.ask(modern(2, "tools/list", json!({}))).await;
    for answer in [&discover, &list] {
        assert_eq!(answer["result"]["resultType"], "complete");
        assert_eq!(answer["result"]["cacheScope"], "public");
        assert!(answer["result"]["ttlMs"].is_u64());
        let server = &answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(server["name"], "trial");
    }
    let call = client.ask(modern(3, "tools/call", json!({"name": "echo"}))).await;
    assert_eq!(call["result"]["resultType"], "complete");
    assert!(call["result"].get("ttlMs").is_none());
    let ping = client.ask(modern(4, "ping", json!({}))).await;
    assert_eq!(ping["error"]["code"], -32601);
}

#[tokio::test]
async fn what_a_stateless_request_lacks_is_named() {
    let mut client = Client::start();
    let mut unknown = modern(1, "tools/list", json!({}));
    unknown["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2031-01-01".into();
    let answer = client.ask(unknown).await;
    assert_eq!(answer["error"]["code"], -32022);
    assert_eq!(answer["error"]["data"], json!({"supported": ["2026-07-28"], "requested": "2031-01-01"}));
    for key in ["protocolVersion", "clientCapabilities"] {
        let key = format!("io.modelcontextprotocol/{key}");
        let mut lacking = modern(2, "tools/list", json!({}));
        lacking["params"]["_meta"].as_object_mut().unwrap().remove(&key);
        let answer = client.ask(lacking).await;
        assert_eq!(answer["error"]["code"], -32602);
        assert!(answer["error"]["message"].as_str().unwrap().contains(&key));
    }
    let bare = client.ask(json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"})).await;
    assert_eq!(bare["error"]["code"], -32602);
}

#[tokio::test]
async fn ids_come_back_byte_for_byte() {
    let mut client = Client::start();
    for id in ["9007199254740993", r#""a\u0062 c""#, "-7", r#""""#] {
        client.say(&format!(r#"{{"jsonrpc":"2.0","id": {id} ,"method":"ping"}}"#)).await;
        let line = client.hear_text().await;
        assert!(line.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"#)), "{line}");
    }
}

#[tokio::test]
async fn bad_lines_are_answered_and_the_next_one_is_served() {
    let mut client = Client::start();
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"ping","params":{{"a":{}1{}}}}}"#,
        "[".repeat(9_000),
        "]".repeat(9_000)
    );
    let long = format!(r#"{{"jsonrpc":"2.0","id":8,"method":"{}"}}"#, "x".repeat(5 << 20));
    for (line, id, code) in [
        ("{", Value::Null, -32700),
        ("hello", Value::Null, -32700),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Value::Null, -32600),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Value::Null, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Value::Null, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, Value::Null, -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, json!(1), -32600),
        (r#"{"jsonrpc":"2.0","id":"x"}"#, json!("x"), -32600),
        (r#"{"jsonrpc":"2.0","id":2,"method":"ping","params":[]}"#, json!(2), -32602),
        (deep.as_str(), json!(7), -32602),
        (long.as_str(), Value::Null, -32600),
    ] {
        client.say(line).await;
        let answer = client.hear().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{answer}");
    }
    client.say("\r\n   ").await;
    client.say(r#"{"jsonrpc":"2.0","id":9,"result":{}}"#).await;
    let pong = client.ask(json!({"jsonrpc": "2.0", "id": 10, "method": "ping"})).await;
    assert_eq!(pong["id"], 10);
}

#[tokio::test]
async fn failures_and_breaks_end_in_one_answer_each() {
    let mut client = Client::start();
    let failed = client.ask(modern(1, "tools/call", json!({"name": "fail"}))).await;
    assert_eq!(failed["result"]["isError"], true);
    assert_eq!(failed["result"]["content"][0]["text"], "on purpose");
    let unknown = client.ask(modern(2, "tools/call", json!({"name": "nope"}))).await;
    assert_eq!(unknown["error"]["code"], -32602);
    let odd = client.ask(modern(3, "tools/call", json!({"name": "echo", "arguments": [1]}))).await;
    assert_eq!(odd["error"]["code"], -32602);
    let broken = client.ask(modern(4, "tools/call", json!({"name": "break"}))).await;
    assert_eq!(broken["error"]["code"], -32603);
}

#[tokio::test]
async fn a_slow_call_reports_progress_and_holds_nobody_up() {
    let mut client = Client::start();
    let wait = json!({"name": "wait", "_meta": {"progressToken": "t-1"}});
    client.say(&modern("slow", "tools/call", wait).to_string()).await;
    client.say(&modern("fast", "tools/call", json!({"name": "echo"})).to_string()).await;
    let (mut before, mut fast_at) = (-1, None);
    for line in 0.. {
        let message = client.hear().await;
        if message["method"] == "notifications/progress" {
            assert_eq!(message["params"]["progressToken"], "t-1");
            let progress = message["params"]["progress"].as_i64().unwrap();
            assert!(progress > before);
            before = progress;
        } else if message["id"] == "fast" {
            fast_at = Some(line);
        } else {
            assert_eq!(message["id"], "slow");
            break;
        }
    }
    assert_eq!(before, 199);
    assert!(fast_at.unwrap() < 100);
}

#[tokio::test]
async fn a_cancelled_call_says_nothing_more_and_its_id_is_free_again() {
    let mut client = Client::start();
    let wait = json!({"name": "wait", "_meta": {"progressToken": 5}});
    client.say(&modern(1, "tools/call", wait).to_string()).await;
    assert_eq!(client.hear().await["method"], "notifications/progress");
    let repeated = modern(1, "tools/call", json!({"name": "echo"})).to_string();
    client.say(&repeated).await;
    loop {
        let message = client.hear().await;
        if message["id"] == 1 {
            assert_eq!(message["error"]["code"], -32600);
            break;
        }
    }
    client.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"1"}}"#).await;
    client.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    client.say(&modern(2, "tools/call", json!({"name": "echo"})).to_string()).await;
    while client.hear().await["id"] != 2 {}
    client.say(&repeated).await;
    assert_eq!(client.hear().await["result"]["structuredContent"]["name"], "echo");
}

#[tokio::test]
async fn the_end_of_input_lets_running_calls_finish() {
    let mut client = Client::start();
    client.say(&modern(1, "tools/call", json!({"name": "wait"})).to_string()).await;
    client
        .input
        .write_all(modern(2, "tools/call", json!({"name": "echo"})).to_string().as_bytes())
        .await
        .unwrap();
    client.input.shutdown().await.unwrap();
    assert_eq!(client.hear().await["id"], 2);
    assert_eq!(client.hear().await["id"], 1);
    assert!(client.lines.next_line().await.unwrap().is_none());
}
