//! The log killed, frozen, cut off, full: clients are told 503 in time, and nothing accepted is lost.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

use super::{DEADLINE, PATIENCE, ended};
use crate::common::bed::Bed;
use crate::common::crowd::{Crowd, Plan, Target};
use crate::common::pipe::Pipe;
use crate::common::proof::Proof;
use crate::common::scene::Scene;
use crate::common::tools::say;
use crate::common::{Act, Gateway, Recorder, Result, Settings, eventually, files};

/// Longer than a client waits for an acknowledgement, and shorter than the log's clients give up for good.
const GONE: Duration = Duration::from_secs(7);

async fn killed_and_frozen(bed: Bed) -> Result {
    let mut scene = Scene::start(bed, 1, Recorder::slow().await, DEADLINE).await?;
    let crowd = scene.crowd(usize::MAX);
    for round in 0..2 {
        let before = crowd.ended();
        ended(&crowd, before + 200).await?;
        if round == 0 {
            scene.bed.kill().await?;
            scene.bed.restart().await?;
        } else {
            scene.bed.freeze()?;
            // The silence itself is the fault: its end is a time, not a state.
            tokio::time::sleep(GONE).await;
            scene.bed.thaw()?;
        }
        let after = crowd.ended();
        ended(&crowd, after + 200).await?;
    }
    crowd.stop().await;
    println!("{}", scene.demand().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_killed_and_frozen_loses_nothing() -> Result {
    killed_and_frozen(Bed::embedded().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_kafka_killed_and_frozen_loses_nothing() -> Result {
    let Some(bed) = Bed::kafka("Apache Kafka killed and frozen").await? else { return Ok(()) };
    killed_and_frozen(bed).await
}

/// A disk in memory, taken away again at the end.
struct Disk(tempfile::TempDir);

impl Disk {
    /// None when mounting is not permitted here.
    fn mount(mebibytes: u32) -> Option<Self> {
        let disk = Self(files::scratch());
        disk.run(&format!("size={mebibytes}m")).then_some(disk)
    }

    fn grow(&self, mebibytes: u32) -> bool {
        self.run(&format!("remount,size={mebibytes}m"))
    }

    fn run(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0.path());
        mount.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the gateway below may still have files open.
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_passes() -> Result {
    let Some(disk) = Disk::mount(96) else {
        say("skipped: a full disk, because mounting is not permitted here");
        return Ok(());
    };
    let (upstream, proof) = (Recorder::doing(Act::Echo).await, Proof::new());
    let settings = Settings::new()
        .echo(&upstream.url(), DEADLINE)
        .set("log.directory", disk.0.path().join("log").display().to_string());
    let mut gateway = Gateway::start(&settings).await?;
    let caller = gateway.caller("analyst");
    gateway.knows(&caller, "tools__echo").await?;
    let target = Target { name: "one".to_owned(), caller: caller.clone() };
    let crowd = Crowd::start(Plan::new(vec![target], usize::MAX, DEADLINE), &proof.sent);
    let filler = "x".repeat(500_000);
    eventually(PATIENCE, "the end of the disk", || async {
        let answer = caller.ask("echo", &filler).await?;
        ensure!(answer.status == 503, "{}", answer.status);
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let ready = gateway.admin("/readyz").await?;
    ensure!(ready.status == 503 && ready.text().contains("disk"), "{} {}", ready.status, ready.text());
    gateway.lives()?;
    ensure!(disk.grow(192), "the disk does not grow");
    eventually(PATIENCE, "an answer on the larger disk", || async {
        let answer = caller.ask("echo", "again").await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let after = crowd.ended();
    ended(&crowd, after + 100).await?;
    crowd.stop().await;
    println!("{}", proof.demand(&gateway.log, "kamf", &upstream, &[&gateway]).await?);
    Ok(())
}

/// Connections between clients and gateway, and between gateway and upstream, are cut ten times.
#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_and_double_nothing() -> Result {
    let (upstream, proof) = (Recorder::slow().await, Proof::new());
    let behind = Pipe::to(upstream.address).await;
    let settings = Settings::new().echo(&format!("http://{}/", behind.address), DEADLINE);
    let gateway = Gateway::start(&settings).await?;
    gateway.knows(&gateway.caller("analyst"), "tools__echo").await?;
    let before = Pipe::to(gateway.public).await;
    let caller = crate::common::Caller::new(&format!("http://{}", before.address), "analyst-key");
    let target = Target { name: "one".to_owned(), caller };
    let crowd = Crowd::start(Plan::new(vec![target], 1_500, DEADLINE), &proof.sent);
    let mut cut = [0, 0];
    for round in 1..=10 {
        ended(&crowd, round * 120).await?;
        let pipe = if round % 2 == 0 { &before } else { &behind };
        cut[round % 2] += pipe.cut();
    }
    crowd.finish().await;
    ensure!(cut.iter().all(|cut| *cut > 0), "cut were {cut:?} connections");
    println!("{}", proof.demand(&gateway.log, "kamf", &upstream, &[&gateway]).await?);
    Ok(())
}
