//! Two gateways on one log: one frozen, killed, restarted, while the other goes on.

use std::time::Duration;

use anyhow::ensure;

use super::{DEADLINE, ended};
use crate::common::bed::Bed;
use crate::common::crowd::{Ask, Crowd, Plan};
use crate::common::scene::Scene;
use crate::common::{Recorder, Result};

/// Longer than a member of the dispatchers' group may be silent before its partitions are given to others.
const FROZEN: Duration = Duration::from_secs(9);

/// The partitions of a frozen gateway are taken over; what it writes when it wakes changes nothing.
async fn frozen(bed: Bed) -> Result {
    let mut scene = Scene::start(bed, 2, Recorder::slow().await, DEADLINE).await?;
    let crowd = scene.crowd(usize::MAX);
    ended(&crowd, 200).await?;
    let before = crowd.ended();
    let fault = async {
        scene.gateways[0].freeze()?;
        // The silence itself is the fault: its end is a time, not a state.
        tokio::time::sleep(FROZEN).await;
        let meanwhile = crowd.ended() - before;
        scene.gateways[0].thaw()?;
        Ok::<_, anyhow::Error>(meanwhile)
    };
    let meanwhile = scene.proof.freezing(&["one"], fault).await?;
    ensure!(meanwhile > 100, "the other gateway ended {meanwhile} requests meanwhile");
    let after = crowd.ended();
    ended(&crowd, after + 400).await?;
    crowd.stop().await;
    println!("{}", scene.demand().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_gateway_is_taken_over_and_harms_nothing_when_it_wakes() -> Result {
    frozen(Bed::embedded().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_gateway_on_apache_kafka() -> Result {
    let Some(bed) = Bed::kafka("a frozen gateway on Apache Kafka").await? else { return Ok(()) };
    frozen(bed).await
}

/// One gateway is killed and stays away: the other ends what it had accepted.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_gateway_had_accepted_is_ended_by_the_other() -> Result {
    let mut scene = Scene::start(Bed::embedded().await?, 2, Recorder::slow().await, DEADLINE).await?;
    let crowd = scene.crowd(usize::MAX);
    ended(&crowd, 300).await?;
    scene.gateways[0].kill().await?;
    let after = crowd.ended();
    ended(&crowd, after + 300).await?;
    crowd.stop().await;
    drop(scene.gateways.remove(0));
    println!("{}", scene.demand().await?);
    Ok(())
}

/// Both gateways are stopped in order and started again, one after the other, under load: no client that may use
/// both is ever turned away, and every answer is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_answer() -> Result {
    let mut scene = Scene::start(Bed::embedded().await?, 2, Recorder::slow().await, DEADLINE).await?;
    let plan = Plan { asks: &[Ask::Send, Ask::Modern, Ask::Stream], ..scene.plan(usize::MAX) };
    let crowd = Crowd::start(plan, &scene.proof.sent);
    ended(&crowd, 200).await?;
    for number in 0..2 {
        let status = scene.gateways[number].stop().await?;
        ensure!(status.success(), "{status}\n{}", scene.gateways[number].output());
        scene.gateways[number].restart().await?;
        let caller = scene.gateways[number].caller("analyst");
        scene.gateways[number].knows(&caller, "tools__echo").await?;
        let after = crowd.ended();
        ended(&crowd, after + 200).await?;
    }
    crowd.stop().await;
    let report = scene.demand().await?;
    let lost: usize = ["no answer", "broken stream"]
        .iter()
        .filter_map(|what| report.counts.get(&format!("clients: {what}")))
        .sum();
    ensure!(lost == 0, "{lost} answers were lost:\n{report}");
    Ok(())
}
