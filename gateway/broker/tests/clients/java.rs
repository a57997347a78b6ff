//! Kafka's own command line tools. They often end with 0 on errors, so what they print is looked at.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::programs::{have, run};
use crate::{RUN, with_log};

/// The first time the jars come over the network.
const FETCH: Duration = Duration::from_secs(600);

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

fn script() -> Command {
    let jars = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kafka");
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka/start.sh"));
    command.env("KAMF_KAFKA_JARS", jars);
    command
}

/// Whether the tools can be run.
fn ready(test: &str) -> bool {
    if !have("java", &["-version"], test) || !have("mvn", &["--version"], test) {
        return false;
    }
    run(script().arg("fetch"), "", FETCH);
    true
}

struct Tools(SocketAddr);

impl Tools {
    /// Runs a tool; its arguments are separated by spaces.
    fn run(&self, class: &str, arguments: &str) -> String {
        self.feed(class, arguments, "")
    }

    fn feed(&self, class: &str, arguments: &str, input: &str) -> String {
        let mut command = script();
        command.args(["tool", class, "--bootstrap-server", &self.0.to_string()]);
        let printed = run(command.args(arguments.split(' ')), input, RUN);
        for bad in ["Exception", "ERROR", "Error:"] {
            assert!(!printed.contains(bad), "{class} {arguments} printed:\n{printed}");
        }
        printed
    }

    /// Runs a tool that must print `expected`.
    fn tells(&self, class: &str, arguments: &str, expected: &[&str]) {
        let printed = self.run(class, arguments);
        for part in expected {
            assert!(printed.contains(part), "{class} {arguments} printed no {part:?}:\n{printed}");
        }
    }
}

#[test]
fn topics_and_settings_by_java() {
    if !ready("topics_and_settings_by_java") {
        return;
    }
    with_log(|address| {
        let tools = Tools(address);
        tools.tells(
            TOPICS,
            "--create --topic java --partitions 2 --config retention.ms=5555",
            &["Created topic java"],
        );
        tools.run(TOPICS, "--alter --topic java --partitions 3");
        tools.tells(
            TOPICS,
            "--describe --topic java",
            &["PartitionCount: 3", "retention.ms=5555", "Partition: 2"],
        );
        let change = "--alter --entity-type topics --entity-name java";
        tools.run(CONFIGS, &format!("{change} --add-config cleanup.policy=[compact,delete],segment.ms=1000"));
        tools.run(CONFIGS, &format!("{change} --delete-config retention.ms"));
        let shown = ["cleanup.policy=compact,delete", "segment.ms=1000"];
        tools.tells(CONFIGS, "--describe --entity-type topics --entity-name java", &shown);
        tools.run(TOPICS, "--delete --topic java");
        let left = tools.run(TOPICS, "--list");
        assert!(!left.lines().any(|line| line == "java"), "{left}");
    });
}

#[test]
fn records_and_groups_by_java() {
    if !ready("records_and_groups_by_java") {
        return;
    }
    with_log(|address| {
        let tools = Tools(address);
        tools.run(TOPICS, "--create --topic t --partitions 1");
        let producer = "org.apache.kafka.tools.ConsoleProducer";
        tools.feed(
            producer,
            "--topic t --property parse.key=true --property key.separator=:",
            "a:one\nb:two\nc:three\n",
        );
        let consumer = "--topic t --group g --from-beginning --max-messages 3 --timeout-ms 60000";
        tools.tells("org.apache.kafka.tools.consumer.ConsoleConsumer", consumer, &["one\ntwo\nthree\n"]);
        tools.tells(GROUPS, "--list", &["g"]);
        let described = tools.run(GROUPS, "--describe --group g");
        let line = described.lines().find(|line| line.starts_with("g ")).unwrap_or_default();
        // Group, topic, partition, current offset, end, lag.
        let fields: Vec<_> = line.split_whitespace().take(6).collect();
        assert_eq!(fields, ["g", "t", "0", "3", "3", "0"], "{described}");
        let reset = tools.run(GROUPS, "--group g --topic t --reset-offsets --to-offset 1 --execute");
        assert!(reset.lines().any(|line| line.split_whitespace().eq(["g", "t", "0", "1"])), "{reset}");
        tools.tells(GROUPS, "--group g --topic t --delete-offsets", &["Successful"]);
        let offsets = tools.run("org.apache.kafka.tools.GetOffsetShell", "--topic t --time latest");
        assert!(offsets.lines().any(|line| line == "t:0:3"), "{offsets}");
        let verifiable =
            tools.run("org.apache.kafka.tools.VerifiableProducer", "--topic t --max-messages 200");
        assert_eq!(verifiable.matches("producer_send_success").count(), 200, "{verifiable}");
        let arguments = "--topic t --group-id v --max-messages 203 --reset-policy earliest";
        let read = tools.run("org.apache.kafka.tools.VerifiableConsumer", arguments);
        assert!(read.contains("offsets_committed") && read.contains("shutdown_complete"), "{read}");
        tools.tells(GROUPS, "--delete --group v", &["successful"]);
        let left = tools.run(GROUPS, "--list");
        assert!(!left.lines().any(|line| line == "v"), "{left}");
    });
}
