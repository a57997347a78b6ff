//! An MCP server on stdio, with every fault that one can have. This very test binary is its program: the test below does
//! nothing unless it is started as a server. The test harness prints some lines of its own on stdout first, so garbage comes
//! with it.

use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// The path of the test below.
pub(super) const TEST: &str = "upstream::tests::fixture::serve";

#[test]
fn serve() {
    if let Ok(mode) = std::env::var("KAMF_FIXTURE") {
        let server = Server { mode, seen: Arc::default(), more: Arc::default() };
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            server.take(&line);
        }
        std::process::exit(0);
    }
}

struct Server {
    mode: String,
    /// Everything that came.
    seen: Arc<Mutex<Vec<Value>>>,
    /// Tools that appeared later.
    more: Arc<Mutex<Vec<String>>>,
}

fn say(message: &Value) {
    print(&message.to_string());
}

fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn tool(name: &str) -> Value {
    json!({"name": name, "inputSchema": {"type": "object"}, "x-unknown": 1.50})
}

impl Server {
    fn is(&self, mode: &str) -> bool {
        self.mode.split(',').any(|part| part == mode)
    }

    fn take(&self, line: &str) {
        let message: Value = serde_json::from_str(line).expect("the gateway writes one JSON text a line");
        self.seen.lock().unwrap().push(message.clone());
        let id = &message["id"];
        let params = &message["params"];
        let result = |result: Value| say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
        let error =
            |code: i32| say(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no"}}));
        match message["method"].as_str().unwrap_or("") {
            "server/discover" if self.is("dies-of-discover") => std::process::exit(3),
            "server/discover" if self.is("silent-legacy") => {}
            "server/discover" if self.is("legacy") || self.is("dies-of-discover") => error(-32601),
            "server/discover" => result(json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "public",
                "capabilities": {"tools": {"listChanged": true}},
            })),
            "initialize" if self.is("modern") => error(-32602),
            "initialize" => result(json!({
                "protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": true}},
                "serverInfo": {"name": "fixture", "version": "1"}, "instructions": "Be kind.",
            })),
            "tools/list" => self.list(params["cursor"].as_str(), &result),
            "tools/call" => self.call(params["name"].as_str().unwrap_or(""), id, params),
            _ => {}
        }
    }

    fn list(&self, cursor: Option<&str>, result: &dyn Fn(Value)) {
        if self.is("endless-list") {
            return result(json!({"tools": [tool(cursor.unwrap_or("first"))], "nextCursor": "again"}));
        }
        match cursor {
            None => result(
                json!({"tools": [tool("echo"), tool("echo"), {"name": "broken", "inputSchema": {"type": "array"}}],
                                  "nextCursor": ""}),
            ),
            Some("") => {
                let more = self.more.lock().unwrap();
                let tools: Vec<Value> = more.iter().map(|name| tool(name)).chain([tool("seen")]).collect();
                result(json!({"tools": tools}));
            }
            Some(_) => panic!("unknown cursor"),
        }
    }

    fn call(&self, name: &str, id: &Value, params: &Value) {
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"content": [], "echo": params}});
        let progress = |n: i32| {
            let token = &params["_meta"]["progressToken"];
            say(
                &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": n}}),
            );
        };
        match name {
            "echo" => say(&answer),
            "seen" => say(&json!({"jsonrpc": "2.0", "id": id, "result": *self.seen.lock().unwrap()})),
            "slow" => {
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(700));
                    say(&answer);
                });
            }
            "progress" => {
                (1..=3).for_each(progress);
                say(&answer);
            }
            "progress-then-die" => {
                progress(1);
                std::process::exit(1);
            }
            "progress-then-silence" => progress(1),
            "silence" => {}
            "die" => std::process::exit(1),
            "answer-and-die" => {
                say(&answer);
                std::process::exit(1);
            }
            "garbage" => {
                print("Traceback (most recent call last):");
                print("{\"jsonrpc\":\"2.0\",\"id\":");
                print("{\"jsonrpc\":\"2.0\",\"id\":999999,\"result\":{}}");
                print("{\"jsonrpc\":\"2.0\",\"id\":\"not a number\",\"result\":{}}");
                print("\u{1b}[31m[]");
                say(&answer);
            }
            "huge" => print(&format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"text\":\"{}\"}}}}",
                "x".repeat(9 * 1024 * 1024)
            )),
            "flood" => {
                (1..=1_100).for_each(progress);
                say(&answer);
            }
            "foreign-flood" => {
                for n in 0..2_000 {
                    say(
                        &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 12345 + n}}),
                    );
                    say(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}));
                }
                say(&answer);
            }
            "stderr-flood" => {
                let line = format!("{} hunter22hunter22\n", "e".repeat(1000));
                (0..5_000).for_each(|_| std::io::stderr().write_all(line.as_bytes()).unwrap());
                say(&answer);
            }
            "ask-client" => {
                say(
                    &json!({"jsonrpc": "2.0", "id": "s-1", "method": "sampling/createMessage", "params": {}}),
                );
                say(&json!({"jsonrpc": "2.0", "id": 7, "method": "ping"}));
                say(&answer);
            }
            "grow" => {
                self.more.lock().unwrap().push("grown".into());
                (0..5).for_each(|_| {
                    say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
                });
                say(&answer);
            }
            "environment" => {
                let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
                say(&json!({"jsonrpc": "2.0", "id": id, "result": names}));
            }
            "stop-reading" => std::thread::sleep(Duration::from_secs(60)),
            "grandchild" => {
                let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
                say(&json!({"jsonrpc": "2.0", "id": id, "result": child.id()}));
                std::thread::spawn(move || child.wait());
            }
            "error" => say(
                &json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "unknown tool"}}),
            ),
            _ => panic!("unknown tool {name}"),
        }
    }
}
