//! Other clients than librdkafka against the embedded log: they ask for other versions of the protocol.
//!
//! Python packages and Kafka's own Java tools are fetched into the target folder once. Where Python, Java or Maven do not
//! run, the tests say so and pass, unless `KAMF_REQUIRE_ALL=1`.

mod java;
mod programs;
mod python;

use std::net::SocketAddr;
use std::time::Duration;

use kamf_broker::{Broker, Options};

/// Gives `work` a log of its own.
fn with_log(work: impl FnOnce(SocketAddr)) {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let broker = Broker::start(Options::new(directory.path())).expect("the log starts");
    work(broker.address());
    broker.shutdown();
}

/// One run of a client; the slowest take five seconds on a busy machine.
const RUN: Duration = Duration::from_secs(120);
