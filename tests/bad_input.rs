//! Whatever a client sends: a clear error in its own protocol, at once, and nothing reaches an upstream.

mod cases;

use anyhow::{Context, ensure};

use crate::common::{Act, Answer, Caller, Gateway, Recorder, Result, Settings, json};

fn ensure_fits(case: &cases::Case, answer: &Answer) -> Result {
    ensure!(answer.status == case.status, "status {}, not {}: {}", answer.status, case.status, answer.text());
    let error = answer.json()?["error"].clone();
    ensure!(error.is_object(), "no error in {}", answer.text());
    if let Some(code) = case.code {
        ensure!(error["code"] == code, "code {}, not {code}: {}", error["code"], answer.text());
    }
    let text = error["message"].as_str().context("an error without a message")?;
    ensure!(!text.is_empty(), "an empty message");
    ensure!(answer.text().contains(case.says), "nothing of {:?} in {}", case.says, answer.text());
    if case.status == 401 {
        ensure!(answer.header("www-authenticate").starts_with("Bearer"), "no challenge");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_message_gets_its_error_and_goes_no_further() -> Result {
    let upstream = Recorder::doing(Act::Echo).await;
    let settings = Settings::new().agent("echo", &upstream.url()).server("tools", &upstream.url());
    let mut gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "tools__echo").await?;

    let cases = cases::all();
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = caller.post(case.path, &case.headers, case.body.clone()).await;
        if let Err(error) = answer.and_then(|answer| ensure_fits(case, &answer)) {
            wrong.push(format!("{}: {error:#}", case.what));
        }
        gateway.lives().with_context(|| case.what)?;
    }
    ensure!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    ensure!(upstream.calls().is_empty(), "an upstream was called: {:?}", upstream.calls());

    still_serves(&caller).await?;
    assert_eq!(upstream.calls().len(), 2);
    Ok(())
}

/// A good send and a good call.
async fn still_serves(caller: &Caller) -> Result {
    let sent = caller.ask("echo", "hello").await?;
    assert_eq!(sent.last()?["result"]["message"]["parts"][0]["text"], "hello", "{}", sent.text());
    let called = caller.call("/mcp/tools", "echo", json!({"text": "hello"})).await?;
    assert_eq!(called.last()?["result"]["content"][0]["text"], "hello", "{}", called.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_too_often_is_told_when_to_come_back() -> Result {
    let upstream = Recorder::doing(Act::Echo).await;
    let settings = Settings::new()
        .agent("echo", &upstream.url())
        .server("tools", &upstream.url())
        .set("limits.rate", json!({"per_second": 1, "burst": 3}));
    let gateway = Gateway::start(&settings).await?;
    let (analyst, treasurer) = (gateway.caller("analyst"), gateway.caller("treasurer"));
    gateway.knows(&analyst, "tools__echo").await?;
    let mut refused = None;
    for _ in 0..6 {
        let answer = analyst.ask("echo", "hello").await?;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.context("six calls in a row were let through")?;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!(refused.last()?["error"]["code"], -31429, "{}", refused.text());
    ensure!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1), "no Retry-After");
    // Neither another caller nor another upstream pays for it.
    still_serves(&treasurer).await?;
    let called = analyst.call("/mcp/tools", "echo", json!({"text": "hello"})).await?;
    assert_eq!(called.status, 200, "{}", called.text());
    Ok(())
}
