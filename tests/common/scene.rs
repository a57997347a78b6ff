//! Several gateways on one log, with clients and an upstream: what a fault is done to.

use std::time::Duration;

use super::bed::Bed;
use super::crowd::{Crowd, Plan, Target};
use super::proof::Proof;
use super::{Gateway, Recorder, Result, Settings};
use crate::checker::Report;

/// Gateways on one log, what they stand in front of, and the ledgers.
pub(crate) struct Scene {
    pub(crate) bed: Bed,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) upstream: Recorder,
    pub(crate) proof: Proof,
    deadline: Duration,
}

/// Names of the gateways, in their order.
pub(crate) const NAMES: [&str; 2] = ["one", "two"];

impl Scene {
    /// Calls must have ended after `deadline`.
    pub(crate) async fn start(
        bed: Bed,
        gateways: usize,
        upstream: Recorder,
        deadline: Duration,
    ) -> Result<Self> {
        let mut scene = Self { bed, gateways: Vec::new(), upstream, proof: Proof::new(), deadline };
        for _ in 0..gateways {
            let settings =
                Settings::new().echo(&scene.upstream.url(), deadline).on(scene.bed.bootstrap(), "kamf");
            scene.gateways.push(Gateway::start(&settings).await?);
        }
        for gateway in &scene.gateways {
            gateway.knows(&gateway.caller("analyst"), "tools__echo").await?;
        }
        Ok(scene)
    }

    /// Requests of all kinds to all gateways.
    pub(crate) fn crowd(&self, total: usize) -> Crowd {
        Crowd::start(self.plan(total), &self.proof.sent)
    }

    pub(crate) fn plan(&self, total: usize) -> Plan {
        let named = self.gateways.iter().zip(NAMES);
        let target = |(gateway, name): (&Gateway, &str)| Target {
            name: name.to_owned(),
            caller: gateway.caller("analyst"),
        };
        Plan::new(named.map(target).collect(), total, self.deadline)
    }

    /// Waits for the end of all that was accepted, and lets the checker judge.
    ///
    /// # Errors
    /// Every violation, or a gateway that is gone.
    pub(crate) async fn demand(&mut self) -> Result<Report> {
        for gateway in &mut self.gateways {
            gateway.lives()?;
        }
        let gateways: Vec<&Gateway> = self.gateways.iter().collect();
        let report = self.proof.demand(self.bed.bootstrap(), "kamf", &self.upstream, &gateways).await?;
        Ok(report)
    }
}
