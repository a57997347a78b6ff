//! Whose task it is: on every replica, through kills, and in one partition of the log.

use anyhow::ensure;

use crate::common::caller::{Caller, message};
use crate::common::topics::{self, Record};
use crate::common::{Act, Gateway, Recorder, Result, Settings, Value, eventually, json};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(20);

/// An agent whose task has the name that it is told, in both dialects; the words before the name are the state.
async fn agent() -> Recorder {
    Recorder::start(|seen| {
        let params = &seen.body["params"];
        let named = params["message"]["taskId"].as_str().or(params["id"].as_str());
        let mut words = seen.text().split(' ');
        let state = words.next().filter(|word| !word.is_empty()).unwrap_or("working");
        let task = named.or(words.next()).unwrap_or("nameless");
        let old = seen.method().contains('/');
        let state = if old { state.to_owned() } else { format!("TASK_STATE_{}", state.to_uppercase()) };
        let mut task =
            json!({"id": task, "contextId": format!("{task}-context"), "status": {"state": state}});
        let result = match seen.method() {
            "SendMessage" => json!({"task": task}),
            "GetTask" | "CancelTask" => task,
            _ => {
                task["kind"] = json!("task");
                task
            }
        };
        Act::Raw(200, json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": result}).to_string())
    })
    .await
}

async fn old(caller: &Caller, method: &str, params: Value) -> Result<Value> {
    let body = json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params});
    caller.post("/a2a/agent", &[], body.to_string()).await?.json()
}

fn old_message(text: &str) -> Value {
    let id = uuid::Uuid::new_v4().to_string();
    let parts = json!([{"kind": "text", "text": text}]);
    json!({"message": {"kind": "message", "messageId": id, "role": "user", "parts": parts}})
}

fn with(mut params: Value, name: &str, value: Value) -> Value {
    params["message"][name] = value;
    params
}

/// Every way to name a task, by the name of it.
fn ways(task: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("GetTask", json!({"id": task})),
        ("CancelTask", json!({"id": task})),
        ("SubscribeToTask", json!({"id": task})),
        ("SendMessage", with(message("more"), "taskId", json!(task))),
        ("SendStreamingMessage", with(message("more"), "taskId", json!(task))),
        ("SendMessage", with(message("more"), "referenceTaskIds", json!([task]))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_another_caller_is_as_none_that_ever_was() -> Result {
    let upstream = agent().await;
    let gateway = Gateway::start(&Settings::new().agent("agent", &upstream.url())).await?;
    let (owner, stranger) = (gateway.caller("analyst"), gateway.caller("stranger"));
    let first = owner.ask("agent", "working mine").await?.json()?;
    assert_eq!(first["result"]["task"]["id"], "mine");
    old(&owner, "message/send", old_message("working old")).await?;
    let before = upstream.calls().len();
    for (foreign, never) in ways("mine").into_iter().zip(ways("never")) {
        let (foreign, never) = tokio::try_join!(
            stranger.a2a("agent", foreign.0, foreign.1),
            stranger.a2a("agent", never.0, never.1)
        )?;
        assert_eq!(foreign.text(), never.text());
        assert_eq!((foreign.status, never.status), (200, 200));
        let error = &foreign.json()?["error"];
        assert_eq!(error["code"], -32001, "{error}");
        assert_eq!(error["data"][0]["reason"], "TASK_NOT_FOUND");
    }
    for method in ["tasks/get", "tasks/cancel", "tasks/resubscribe"] {
        let foreign = old(&stranger, method, json!({"id": "old"})).await?;
        assert_eq!(foreign, old(&stranger, method, json!({"id": "nothing"})).await?);
        assert_eq!(foreign["error"]["code"], -32001, "{foreign}");
    }
    let context = with(message("working intruder"), "contextId", json!("mine-context"));
    let context = stranger.a2a("agent", "SendMessage", context).await?.json()?;
    assert_eq!(context["error"]["code"], -32001, "{context}");
    assert_eq!(upstream.calls().len(), before, "the agent was asked about a task of somebody else");

    // The same name means the same to its owner as ever.
    for (method, params) in ways("mine").into_iter().filter(|(method, _)| !method.contains("tream")) {
        let answer = owner.a2a("agent", method, params).await?.json()?;
        ensure!(answer["result"].is_object(), "{method}: {answer}");
    }
    let context = with(message("working second"), "contextId", json!("mine-context"));
    ensure!(owner.a2a("agent", "SendMessage", context).await?.json()?["result"].is_object());
    // An agent that gives a stranger's message into the same task does not make it theirs.
    stranger.ask("agent", "working mine").await?;
    let foreign = stranger.a2a("agent", "GetTask", json!({"id": "mine"})).await?.json()?;
    assert_eq!(foreign["error"]["code"], -32001);
    Ok(())
}

/// The records of kamf.tasks about `task`, oldest first.
async fn written(gateway: &Gateway, task: &str) -> Result<Vec<Value>> {
    let records = topics::read(&gateway.log, "kamf.tasks").await?;
    let key = format!("agent/{task}");
    let of_task = records.iter().filter(|record| record.key == key.as_bytes());
    of_task.map(|record| Ok(serde_json::from_slice(&record.body)?)).collect()
}

fn partitions(records: &[Record], ids: &[String]) -> Vec<i32> {
    let mut found: Vec<i32> = records
        .iter()
        .filter(|record| ids.iter().any(|id| id == record.id()))
        .map(|record| record.partition)
        .collect();
    found.dedup();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_has_one_partition_and_a_record_for_each_change() -> Result {
    let upstream = agent().await;
    let gateway = Gateway::start(&Settings::new().agent("agent", &upstream.url())).await?;
    let caller = gateway.caller("analyst");
    let first = caller.ask("agent", "submitted one").await?;
    let mut ids = vec![first.relay_id().to_owned()];
    let again = with(message("working"), "taskId", json!("one"));
    ids.push(caller.a2a("agent", "SendMessage", again).await?.relay_id().to_owned());
    for _ in 0..3 {
        ids.push(caller.a2a("agent", "GetTask", json!({"id": "one"})).await?.relay_id().to_owned());
    }
    let context = with(message("completed two"), "contextId", json!("one-context"));
    ids.push(caller.a2a("agent", "SendMessage", context).await?.relay_id().to_owned());
    let events = eventually(SETTLE, "the records of all exchanges", || async {
        let events = topics::read(&gateway.log, "kamf.events").await?;
        let ended =
            |id: &String| events.iter().any(|record| record.id() == id && record.kind() == "terminal");
        ensure!(ids.iter().all(ended), "not all have ended");
        Ok::<_, anyhow::Error>(events)
    })
    .await?;
    let places = partitions(&events, &ids);
    assert_eq!(places.len(), 1, "a task's history lies in partitions {places:?}");
    let requests = topics::read(&gateway.log, "kamf.requests").await?;
    assert_eq!(partitions(&requests, &ids), places);

    let states = eventually(SETTLE, "the records of the tasks", || async {
        let one = written(&gateway, "one").await?;
        ensure!(one.len() >= 2 && !written(&gateway, "two").await?.is_empty(), "there are {one:?}");
        Ok::<_, anyhow::Error>(one)
    })
    .await?;
    // The same as people see it.
    let listed = gateway.kamf(&["tasks", "--state", "working"]).await?.good()?.out;
    ensure!(listed.contains("agent  one   working"), "{listed}");
    ensure!(!listed.contains("two"), "{listed}");
    let shown = gateway.kamf(&["tasks", "agent/one"]).await?.good()?.out;
    ensure!(shown.contains("owner analyst of demo, context one-context"), "{shown}");
    for id in &ids[..5] {
        ensure!(shown.contains(id.as_str()), "{id} is missing: {shown}");
    }
    ensure!(!shown.contains(&ids[5]), "an exchange of another task is shown: {shown}");
    ensure!(!gateway.kamf(&["tasks", "agent/none"]).await?.success);

    assert_eq!(states.len(), 2, "{states:?}");
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&json!("submitted"), &json!("working")));
    assert_eq!((&states[0]["relay_id"], &states[1]["relay_id"]), (&json!(ids[0]), &json!(ids[1])));
    for state in &states {
        assert_eq!(state["partition"], places[0]);
        assert_eq!((&state["principal"], &state["tenant"]), (&json!("analyst"), &json!("demo")));
        assert_eq!(state["context"], "one-context");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_knows_a_task_as_soon_as_its_owner_does() -> Result {
    let upstream = agent().await;
    let settings = Settings::new().agent("agent", &upstream.url());
    let mut one = Gateway::start(&settings).await?;
    let other = Settings::new().agent("agent", &upstream.url());
    let other = other.set("log.brokers", json!([one.log])).set("log.replication", 1);
    let mut two = Gateway::start(&other).await?;
    for round in 0..20 {
        let (here, there) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let task = format!("t{round}");
        here.caller("analyst").ask("agent", &format!("working {task}")).await?;
        let answer = there.caller("analyst").a2a("agent", "GetTask", json!({"id": task})).await?.json()?;
        assert_eq!(answer["result"]["id"], json!(task), "{answer}");
        let foreign = there.caller("stranger").a2a("agent", "GetTask", json!({"id": task})).await?.json()?;
        assert_eq!(foreign["error"]["code"], -32001, "{foreign}");
    }
    // A task whose answer was the last thing that a gateway did.
    for round in 0..3 {
        let task = format!("last{round}");
        let answer = two.caller("analyst").ask("agent", &format!("working {task}")).await?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        two.kill().await?;
        two.restart().await?;
        eventually(SETTLE, "the task", || async {
            let answer = two.caller("analyst").a2a("agent", "GetTask", json!({"id": task})).await?.json()?;
            ensure!(answer["result"]["id"] == json!(task), "{answer}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    one.lives()?;
    drop(two);
    one.kill().await?;
    one.restart().await?;
    let answer = one.caller("analyst").a2a("agent", "GetTask", json!({"id": "last0"})).await?.json()?;
    assert_eq!(answer["result"]["id"], "last0", "{answer}");
    Ok(())
}
