//! Upstreams that are slow, tear their answers, vanish: their callers are told, and everybody else is served.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;

use super::{DEADLINE, ended};
use crate::common::bed::Bed;
use crate::common::scene::Scene;
use crate::common::{Act, Recorder, Result};

/// Of eight calls one each is torn, cut, silent, late, or answered with nonsense.
async fn moody() -> Recorder {
    let turn = AtomicUsize::new(0);
    Recorder::start(move |seen| {
        let streams = seen.method() == "SendStreamingMessage";
        match turn.fetch_add(1, Ordering::Relaxed) % 8 {
            0 if streams => Act::Torn(3),
            1 => Act::Cut,
            2 => Act::Silent,
            3 => Act::Late(Duration::from_secs(2)),
            4 => Act::Raw(500, "oops".to_owned()),
            _ => Act::Echo,
        }
    })
    .await
}

async fn story(bed: Bed) -> Result {
    let mut scene = Scene::start(bed, 1, moody().await, DEADLINE).await?;
    let crowd = scene.crowd(400);
    ended(&crowd, 400).await?;
    crowd.finish().await;
    let report = scene.demand().await?;
    for state in ["completed", "failed", "expired", "unknown"] {
        ensure!(
            report.counts.contains_key(&format!("ended: {state}")),
            "nothing ended as {state}:\n{report}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn moody_upstreams_are_told_and_nothing_is_lost() -> Result {
    story(Bed::embedded().await?).await
}
