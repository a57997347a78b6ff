//! Apache Kafka as `tests/kafka/start.sh` of the repository runs it; ended when dropped.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The first time the jars come over the network.
const FETCH: Duration = Duration::from_secs(600);
/// Format and start take 15 s on a machine that does nothing else.
const START: Duration = Duration::from_secs(120);

pub(crate) struct Kafka {
    pub(crate) bootstrap: String,
    child: Child,
    _folder: TempDir,
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Kafka {
    /// Starts a node; none where Java or Maven are missing and `KAMF_REQUIRE_ALL=1` is not set.
    pub(crate) fn start() -> Option<Kafka> {
        for (program, argument) in [("java", "-version"), ("mvn", "--version")] {
            let mut command = Command::new(program);
            command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().is_ok_and(|status| status.success()) {
                continue;
            }
            let required = std::env::var("KAMF_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "{program} does not run here, and KAMF_REQUIRE_ALL=1 is set");
            let line =
                format!("skipped: the log's checks on Apache Kafka, because {program} does not run here\n");
            // Past the capture of the test harness; with standard error closed there is nobody to tell.
            let _ = std::io::stderr().write_all(line.as_bytes());
            return None;
        }
        fetch();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_pair();
        let mut command = script();
        command.arg("run").arg(folder.path()).arg(port.to_string());
        let child = command.stdout(Stdio::piped()).spawn().expect("tests/kafka/start.sh starts");
        let mut kafka = Kafka { bootstrap: format!("127.0.0.1:{port}"), child, _folder: folder };
        kafka.wait();
        Some(kafka)
    }

    fn wait(&mut self) {
        let output = self.child.stdout.take().expect("its output is a pipe");
        let (started, waiting) = mpsc::channel();
        // Reads on to the end, so that the broker never waits for a reader of its log.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.contains("Kafka Server started") {
                    let _ = started.send(());
                }
            }
        });
        waiting.recv_timeout(START).expect("Apache Kafka starts in time");
    }
}

fn fetch() {
    let mut child = script().arg("fetch").spawn().expect("tests/kafka/start.sh starts");
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("its end can be asked for") {
            assert!(status.success(), "Kafka's jars could not be fetched: {status}");
            return;
        }
        if begun.elapsed() > FETCH {
            let _ = child.kill();
            panic!("Kafka's jars did not come within {FETCH:?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn script() -> Command {
    let jars = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kafka");
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka/start.sh"));
    command.env("KAMF_KAFKA_JARS", jars).stdin(Stdio::null());
    command
}

/// A free port whose successor is free too, from where the kernel takes no ports for outgoing connections.
fn free_pair() -> u16 {
    let first = 8_000 + u16::try_from(std::process::id() % 2_000).unwrap_or(0);
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (first..first + 2_000).find(|port| free(*port) && free(*port + 1)).expect("two free ports in a row")
}
