//! MCP servers on stdio.

use serde_json::Value;

use super::*;

fn tool_call(name: &str) -> Call {
    tool_call_with(name, r#""id-1""#, None)
}

fn tool_call_with(name: &str, id: &str, token: Option<&str>) -> Call {
    let meta = token.map(|token| format!(r#","_meta":{{"progressToken":{token}}}"#)).unwrap_or_default();
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\n\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"fix__{name}\",\"arguments\":{{\"n\":1.50}}{meta}}}}}"
    );
    call("fix", Dialect::McpLegacy, Operation::CallTool, Some(name), &body)
}

async fn up(mode: &str) -> (Arc<Upstreams>, Worker) {
    let (upstreams, worker) = start(&config(vec![], vec![("fix", stdio(mode))]));
    ready(&upstreams).await;
    (upstreams, worker)
}

async fn ready(upstreams: &Upstreams) -> Arc<ServerEntry> {
    eventually("the server is up", || {
        let up = upstreams.health()[0].state == HealthState::Up;
        upstreams.catalog().servers.get("fix").filter(|entry| up && entry.up).cloned()
    })
    .await
}

fn result(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap()["result"].clone()
}

#[tokio::test]
async fn both_eras_are_found_and_all_pages_of_tools() {
    let (upstreams, _worker) = up("both").await;
    let entry = ready(&upstreams).await;
    assert!(entry.speaks(Dialect::McpLegacy) && entry.speaks(Dialect::McpModern));
    assert_eq!(entry.legacy.as_ref().unwrap().version, "2025-06-18");
    assert_eq!(entry.instructions(), Some("Be kind."));
    let names: Vec<&str> = entry.tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names, ["echo", "seen"]);
    assert!(entry.tool("echo").unwrap().definition.get().contains(r#""x-unknown":1.5"#));
    assert!(entry.tool("echo").unwrap().renamed("fix__echo").get().contains(r#""name":"fix__echo""#));
    let health = upstreams.health();
    let refused: Vec<&str> = health[0].refused_tools.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(refused, ["echo", "broken"]);
    upstreams.shutdown().await;
}

#[tokio::test]
async fn each_kind_of_server_is_introduced() {
    for (mode, legacy, modern) in [
        ("legacy", true, false),
        ("modern", false, true),
        ("dies-of-discover", true, false),
        ("silent-legacy", true, false),
    ] {
        let (upstreams, worker) = start(&config(vec![], vec![("fix", stdio(mode))]));
        let entry = ready(&upstreams).await;
        assert_eq!((entry.legacy.is_some(), entry.modern.is_some()), (legacy, modern), "{mode}");
        if !legacy {
            let refused = unary(&worker, tool_call("echo")).await.unwrap_err();
            assert_eq!(refused.reason().label(), "unsupported");
        }
        upstreams.shutdown().await;
    }
}

#[tokio::test]
async fn ids_names_and_tokens_are_mapped_there_and_back() {
    let (upstreams, worker) = up("both").await;
    let answer = unary(&worker, tool_call_with("echo", "\"\\u0061\"", Some("\"tok\""))).await.unwrap();
    assert!(answer.contains("\"id\":\"\\u0061\""), "{answer}");
    let echo = &result(&answer)["echo"];
    assert_eq!(echo["name"], "echo");
    assert!(echo["_meta"]["progressToken"].is_u64());
    let (seen, end) = events(&worker, tool_call_with("progress", "5", Some("\"tok\""))).await;
    end.unwrap();
    assert_eq!(seen.len(), 4);
    for progress in &seen[..3] {
        assert!(progress.contains(r#""progressToken":"tok""#), "{progress}");
    }
    assert!(seen[3].contains(r#""id":5"#));
    upstreams.shutdown().await;
}

#[tokio::test]
async fn equal_ids_and_tokens_of_many_callers_do_not_meet() {
    let (upstreams, worker) = up("both").await;
    let calls = (0..200).map(|n| {
        let worker = worker.clone();
        async move {
            let mut call = tool_call_with("progress", "1", Some("1"));
            call.body = String::from_utf8(call.body.to_vec()).unwrap().replace("1.50", &n.to_string()).into();
            let (seen, end) = events(&worker, call).await;
            end.unwrap();
            assert_eq!(seen.len(), 4);
            assert_eq!(result(&seen[3])["echo"]["arguments"]["n"], n);
        }
    });
    futures_util::future::join_all(calls).await;
    upstreams.shutdown().await;
}

#[tokio::test]
async fn garbage_floods_and_questions_harm_nobody() {
    let (upstreams, worker) = up("both").await;
    for name in ["garbage", "foreign-flood", "stderr-flood", "ask-client", "error"] {
        let bystander = tool_call("slow");
        let (hurt, well) = tokio::join!(unary(&worker, tool_call(name)), unary(&worker, bystander));
        assert!(hurt.is_ok() && well.is_ok(), "{name}: {hurt:?} {well:?}");
    }
    let seen = result(&unary(&worker, tool_call("seen")).await.unwrap());
    let answers: Vec<&Value> =
        seen.as_array().unwrap().iter().filter(|message| message.get("method").is_none()).collect();
    assert_eq!(answers[0]["id"], "s-1");
    assert_eq!(answers[0]["error"]["code"], -32601);
    assert_eq!((&answers[1]["id"], answers[1]["result"].is_object()), (&Value::from(7), true));
    assert_eq!(upstreams.health()[0].restarts, 0);
    upstreams.shutdown().await;
}

#[tokio::test]
async fn an_answer_over_the_limit_and_a_flood_end_their_own_call_only() {
    let (upstreams, worker) = up("both").await;
    let (huge, well) = tokio::join!(unary(&worker, tool_call("huge")), unary(&worker, tool_call("slow")));
    assert_eq!(huge.unwrap_err().reason().label(), "upstream_invalid");
    well.unwrap();
    let flooded = async { events(&worker, tool_call_with("flood", "1", Some("1"))).await.1 };
    let (flood, well) = tokio::join!(flooded, unary(&worker, tool_call("slow")));
    assert_eq!(flood.unwrap_err().reason().label(), "upstream_invalid");
    well.unwrap();
    assert_eq!(upstreams.health()[0].restarts, 0);
    upstreams.shutdown().await;
}

#[tokio::test]
async fn a_death_breaks_what_was_written_and_the_next_call_finds_it_alive() {
    let (upstreams, worker) = up("both").await;
    let (died, bystander) = tokio::join!(unary(&worker, tool_call("slow")), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        unary(&worker, tool_call("die")).await
    });
    assert_eq!(died.unwrap_err().reason().label(), "upstream_broken");
    assert_eq!(bystander.unwrap_err().reason().label(), "upstream_broken");
    unary(&worker, tool_call("echo")).await.unwrap();
    assert!(upstreams.health()[0].restarts >= 1);
    // What it says before it goes still counts.
    let before = upstreams.health()[0].restarts;
    unary(&worker, tool_call("answer-and-die")).await.unwrap();
    eventually("it is started again", || (upstreams.health()[0].restarts > before).then_some(())).await;
    unary(&worker, tool_call("echo")).await.unwrap();
    let (seen, end) = events(&worker, tool_call_with("progress-then-die", "1", Some("1"))).await;
    assert_eq!((seen.len(), end.unwrap_err().reason().label()), (1, "upstream_broken"));
    upstreams.shutdown().await;
}

#[tokio::test]
async fn silence_ends_by_the_limits_and_is_cancelled() {
    let (upstreams, worker) = up("both").await;
    let error = unary(&worker, tool_call("silence")).await.unwrap_err();
    assert_eq!(error.reason().label(), "upstream_timeout");
    let (seen, end) = events(&worker, tool_call_with("progress-then-silence", "1", Some("1"))).await;
    assert_eq!(
        (seen.len(), end.unwrap_err()),
        (1, CallError::Timeout { upstream: "fix".into(), limit: Limit::Silence })
    );
    // A caller that goes away.
    let gone = tokio::time::timeout(Duration::from_millis(100), unary(&worker, tool_call("slow"))).await;
    assert!(gone.is_err());
    tokio::time::sleep(Duration::from_millis(800)).await;
    let seen = result(&unary(&worker, tool_call("seen")).await.unwrap());
    let seen = seen.as_array().unwrap();
    let cancelled: Vec<&Value> = seen
        .iter()
        .filter(|message| message["method"] == "notifications/cancelled")
        .map(|m| &m["params"]["requestId"])
        .collect();
    let called: Vec<&Value> = seen.iter().filter(|m| m["method"] == "tools/call").map(|m| &m["id"]).collect();
    assert_eq!(cancelled, called[..3]);
    upstreams.shutdown().await;
}

#[tokio::test]
async fn a_server_that_does_not_read_holds_up_its_own_calls_only() {
    let (upstreams, worker) = start(&config(vec![], vec![("fix", stdio("both")), ("other", stdio("both"))]));
    eventually("both are up", || upstreams.health().iter().all(|h| h.state == HealthState::Up).then_some(()))
        .await;
    let stuck = tokio::spawn({
        let worker = worker.clone();
        async move { unary(&worker, tool_call("stop-reading")).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    // More than the pipe and the queue hold.
    let mut fat = tool_call("echo");
    fat.body = String::from_utf8(fat.body.to_vec())
        .unwrap()
        .replace("1.50", &format!("\"{}\"", "x".repeat(200_000)))
        .into();
    let calls = (0..100).map(|_| unary(&worker, fat.clone()));
    let many = futures_util::future::join_all(calls).await;
    assert!(many.iter().all(Result::is_err));
    assert!(many.iter().any(|outcome| outcome.as_ref().unwrap_err().nothing_was_sent()));
    let mut other = tool_call("echo");
    other.upstream = "other".into();
    unary(&worker, other).await.unwrap();
    assert_eq!(stuck.await.unwrap().unwrap_err().reason().label(), "upstream_timeout");
    upstreams.shutdown().await;
}

#[tokio::test]
async fn tools_are_listed_again_when_they_change() {
    for mode in ["legacy", "modern"] {
        let (upstreams, worker) = up(mode).await;
        let before = upstreams.catalog().revision;
        let mut changes = upstreams.catalog_changes();
        let dialect = if mode == "legacy" { Dialect::McpLegacy } else { Dialect::McpModern };
        unary(&worker, Call { dialect, ..tool_call("grow") }).await.unwrap();
        tokio::time::timeout(WAIT, changes.wait_for(|revision| *revision > before)).await.unwrap().unwrap();
        assert!(upstreams.catalog().servers["fix"].tool("grown").is_some());
        upstreams.shutdown().await;
    }
}

#[tokio::test]
async fn an_endless_list_is_cut_and_reported() {
    let (upstreams, _worker) = up("endless-list").await;
    assert_eq!(upstreams.catalog().servers["fix"].tools.len(), 2);
    let refused = upstreams.health()[0].refused_tools.clone();
    assert!(refused.iter().any(|(_, why)| why.contains("repeats a page")), "{refused:?}");
    upstreams.shutdown().await;
}

#[tokio::test]
async fn the_environment_is_clean_and_the_whole_group_ends() {
    let (upstreams, worker) = up("both").await;
    let names = result(&unary(&worker, tool_call("environment")).await.unwrap());
    let names: Vec<&str> = names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"SECRET") && names.contains(&"PATH"));
    assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
    let grandchild = result(&unary(&worker, tool_call("grandchild")).await.unwrap()).as_u64().unwrap();
    let alive = || {
        std::fs::read_to_string(format!("/proc/{grandchild}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
    };
    assert!(alive());
    upstreams.shutdown().await;
    eventually("the grandchild is gone", || (!alive()).then_some(())).await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_down_with_a_reason() {
    let mut server = stdio("both");
    if let Transport::Stdio(process) = &mut server.transport {
        process.command = "no-such-program-of-kamf".into();
    }
    let (upstreams, worker) = start(&config(vec![], vec![("fix", server)]));
    let error = unary(&worker, tool_call("echo")).await.unwrap_err();
    assert!(error.nothing_was_sent(), "{error}");
    let health = upstreams.health();
    assert_eq!(health[0].state, HealthState::Down);
    assert!(health[0].last_error.as_deref().unwrap().contains("was not found"));
    upstreams.shutdown().await;
}
