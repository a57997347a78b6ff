//! Faults under load, each on the embedded log and, where it makes sense, on Apache Kafka. Each ends with the checker.

mod clients;
mod log;
mod records;
mod replicas;
mod upstreams;

use std::time::Duration;

use crate::common::crowd::Crowd;
use crate::common::{Result, eventually};

/// What the routes give a call.
const DEADLINE: Duration = Duration::from_secs(10);

/// For a state that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `crowd` has had `count` of its requests.
async fn ended(crowd: &Crowd, count: usize) -> Result {
    eventually(PATIENCE, "requests", || async {
        let ended = crowd.ended();
        if ended >= count { Ok(()) } else { Err(format!("{ended} of {count}")) }
    })
    .await
}
