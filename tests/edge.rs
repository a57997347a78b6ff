//! The listener: TLS, HTTP/2, ports, start, and the end under load.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use hyper::Version;
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::checker::ledger::Outcome;
use crate::common::crowd::{Ask, Crowd, Plan, Target};
use crate::common::http::Client;
use crate::common::ledger::Ledger;
use crate::common::program::run;
use crate::common::{Act, Caller, Gateway, Recorder, Result, Settings, eventually, files, json};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_http_2_from_end_to_end() -> Result {
    let upstream = Recorder::doing(Act::Echo).await;
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let folder = files::scratch();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    fs::write(&chain, cert.pem())?;
    fs::write(&key, signing_key.serialize_pem())?;
    let mut settings = Settings::new().agent("echo", &upstream.url());
    settings.value["public"]["tls"] = json!({"certificate": chain, "key": key});
    settings.value["public"]["url"] = json!(format!("https://localhost:{}", settings.public.port()));
    let gateway = Gateway::start(&settings).await?;

    let base = format!("https://localhost:{}", gateway.public.port());
    for (h2, version) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
        let client = Client::trusting(&[cert.der().clone()], h2);
        let answer = Caller::with(client, &base, "analyst-key").ask("echo", "hello").await?;
        assert_eq!(answer.version, version);
        assert_eq!(answer.last()?["result"]["message"]["parts"][0]["text"], "hello", "{}", answer.text());
    }
    let stranger = Caller::new(&base, "analyst-key").ask("echo", "hello").await;
    ensure!(stranger.is_err(), "a client that does not trust the certificate was served");
    let plain = Caller::new(&gateway.url(), "analyst-key").ask("echo", "hello").await;
    ensure!(plain.is_err() || plain.is_ok_and(|answer| answer.status >= 400), "served without TLS");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_without_tls() -> Result {
    let upstream = Recorder::doing(Act::Echo).await;
    let gateway = Gateway::start(&Settings::new().agent("echo", &upstream.url())).await?;
    let caller = Caller::with(Client::trusting(&[], true), &gateway.url(), "analyst-key");
    let answers = futures_util::future::join_all((0..50).map(|_| caller.ask("echo", "hello"))).await;
    for answer in answers {
        let answer = answer?;
        assert_eq!((answer.status, answer.version), (200, Version::HTTP_2), "{}", answer.text());
    }
    let mut stream = caller.stream("echo", "hello").await?;
    let mut numbers = Vec::new();
    while let Some(message) = stream.next().await? {
        numbers.push(message["result"]["statusUpdate"]["metadata"]["n"].clone());
    }
    assert_eq!(numbers, [1, 2, 3]);
    Ok(())
}

/// SIGTERM under load: every request that was taken gets its answer, and the process ends well.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_lost_when_the_gateway_is_told_to_stop() -> Result {
    let upstream = Recorder::doing(Act::Late(Duration::from_millis(50))).await;
    let settings = Settings::new().agent("echo", &upstream.url()).server("tools", &upstream.url());
    let mut gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "tools__echo").await?;
    let ledger = Arc::new(Ledger::new());
    let target = Target { name: "one".to_owned(), caller };
    let plan = Plan { asks: &[Ask::Send, Ask::Modern], ..Plan::new(vec![target], 2_000, PATIENCE) };
    let crowd = Crowd::start(plan, &ledger);
    eventually(PATIENCE, "load", || async { if crowd.ended() >= 300 { Ok(()) } else { Err(crowd.ended()) } })
        .await?;
    gateway.terminate()?;
    let status = gateway.stop().await?;
    assert!(status.success(), "{status}\n{}", gateway.output());

    let seen = upstream.calls();
    crowd.stop().await;
    let mut good = 0;
    for sent in ledger.entries() {
        match &sent.outcome {
            Outcome::Answer { status: 200, .. } => good += 1,
            Outcome::Answer { status: 503, .. } | Outcome::Nothing { .. } => {}
            other => anyhow::bail!("{other:?}"),
        }
    }
    ensure!(
        good == seen.len(),
        "the upstream was called {} times, {good} clients got the answer",
        seen.len()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_names_its_setting() -> Result {
    for setting in ["public", "admin", "log"] {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let settings = Settings::new().set(&format!("{setting}.listen"), taken.local_addr()?.to_string());
        let folder = files::scratch();
        fs::write(folder.path().join("kamf.yaml"), settings.value.to_string())?;
        let mut command = tokio::process::Command::new(files::kamf());
        command.current_dir(folder.path());
        let output = run(command, PATIENCE).await?;
        ensure!(!output.success, "{setting}: it started on a taken port");
        let said = format!("{}{}", output.out, output.err);
        ensure!(
            said.contains(&format!("{setting}.listen")),
            "{setting}: the setting is not named in\n{said}"
        );
        ensure!(said.contains(&taken.local_addr()?.port().to_string()), "{setting}: no port in\n{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_soon_after_its_start() -> Result {
    let mut gateway = Gateway::start(&Settings::example()).await?;
    let first = gateway.took;
    gateway.kill().await?;
    gateway.restart().await?;
    println!("ready after {first:?} the first time, after {:?} on the log of before", gateway.took);
    // A build without optimisation, beside other tests.
    ensure!(
        first < Duration::from_secs(5) && gateway.took < Duration::from_secs(5),
        "{first:?}, {:?}",
        gateway.took
    );
    Ok(())
}
