//! A broker in a process of its own, which can be killed.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kamf_broker::{Broker, Limits, Options};

use crate::support::Error;

/// Names the directory to the child.
const DIRECTORY: &str = "KAMF_TEST_BROKER_DIRECTORY";
/// Names the address to listen on.
const LISTEN: &str = "KAMF_TEST_BROKER_LISTEN";
/// Begins the line in which the child says that it listens.
const READY: &str = "listening on ";

/// This very test binary, started again to run nothing but [`broker_process`].
pub(crate) struct BrokerProcess {
    child: Child,
}

impl BrokerProcess {
    pub(crate) fn start(directory: &Path, listen: SocketAddr) -> Result<BrokerProcess, Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "child::broker_process", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(LISTEN, listen.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        // The test harness may have begun the line.
        while !lines.next().ok_or("the broker process ended early")??.contains(READY) {}
        Ok(BrokerProcess { child })
    }

    /// SIGKILL: no destructor, no flush.
    pub(crate) fn kill(mut self) -> Result<(), Error> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side; without the variables, which only [`BrokerProcess`] sets, there is nothing to do.
#[test]
fn broker_process() {
    let (Ok(directory), Ok(listen)) = (std::env::var(DIRECTORY), std::env::var(LISTEN)) else {
        return;
    };
    let limits = Limits { retention_check: Duration::from_millis(200), ..Limits::default() };
    let options = Options { listen: listen.parse().unwrap(), limits, ..Options::new(directory) };
    let broker = Broker::start(options).unwrap();
    println!("{READY}{}", broker.address());
    // Ends with its parent, which holds the other end.
    let _ = std::io::stdin().read(&mut [0]);
    broker.shutdown();
}
