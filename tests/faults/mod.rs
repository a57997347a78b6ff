//! Faults under load, each on the embedded log and, where it makes sense, on Apache Kafka. Each ends with the checker.

mod clients;
mod log;
mod records;
mod upstreams;

use std::time::Duration;

use crate::checker::Report;
use crate::common::bed::Bed;
use crate::common::crowd::{Crowd, Plan, Target};
use crate::common::proof::Proof;
use crate::common::{Gateway, Recorder, Result, Settings, eventually};

/// What the routes give a call.
const DEADLINE: Duration = Duration::from_secs(10);

/// For a state that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gateways on one log, what they stand in front of, and the ledgers.
struct Scene {
    bed: Bed,
    gateways: Vec<Gateway>,
    upstream: Recorder,
    proof: Proof,
}

const NAMES: [&str; 2] = ["one", "two"];

impl Scene {
    async fn start(bed: Bed, gateways: usize, upstream: Recorder) -> Result<Self> {
        let mut scene = Self { bed, gateways: Vec::new(), upstream, proof: Proof::new() };
        for _ in 0..gateways {
            let settings =
                Settings::new().echo(&scene.upstream.url(), DEADLINE).on(scene.bed.bootstrap(), "kamf");
            scene.gateways.push(Gateway::start(&settings).await?);
        }
        for gateway in &scene.gateways {
            gateway.knows(&gateway.caller("analyst"), "tools__echo").await?;
        }
        Ok(scene)
    }

    /// Requests of all kinds to all gateways.
    fn crowd(&self, total: usize) -> Crowd {
        Crowd::start(self.plan(total), &self.proof.sent)
    }

    fn plan(&self, total: usize) -> Plan {
        let named = self.gateways.iter().zip(NAMES);
        let target = |(gateway, name): (&Gateway, &str)| Target {
            name: name.to_owned(),
            caller: gateway.caller("analyst"),
        };
        Plan::new(named.map(target).collect(), total, DEADLINE)
    }

    async fn demand(&mut self) -> Result<Report> {
        for gateway in &mut self.gateways {
            gateway.lives()?;
        }
        let gateways: Vec<&Gateway> = self.gateways.iter().collect();
        let report = self.proof.demand(self.bed.bootstrap(), "kamf", &self.upstream, &gateways).await?;
        println!("{report}");
        Ok(report)
    }
}

/// Waits until `crowd` has had `count` of its requests.
async fn ended(crowd: &Crowd, count: usize) -> Result {
    eventually(PATIENCE, "requests", || async {
        let ended = crowd.ended();
        if ended >= count { Ok(()) } else { Err(format!("{ended} of {count}")) }
    })
    .await
}
