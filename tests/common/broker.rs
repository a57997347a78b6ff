//! Apache Kafka 4, one node, as `tests/kafka/start.sh` runs it.

use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::program::Program;
use super::{Result, eventually, files, ports, tools};

/// Format and start take 15 s on a machine that does nothing else.
const START: Duration = Duration::from_secs(120);

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    _program: Program,
    _folder: TempDir,
}

impl Broker {
    /// Starts a broker; none when the test is to be skipped.
    pub(crate) async fn start(test: &str) -> Result<Option<Self>> {
        let Some(script) = tools::kafka(test).await? else { return Ok(None) };
        let folder = files::scratch();
        let address = ports::free();
        let mut command = Command::new(&script);
        command.arg("run").arg(folder.path()).arg(address.port().to_string());
        command.env("KAMF_KAFKA_JARS", tools::kafka_jars());
        let program = Program::start(command, &folder.path().join("output.txt"))?;
        eventually(START, "Apache Kafka", || async {
            let said = program.output();
            if said.contains("Kafka Server started") { Ok(()) } else { Err(said) }
        })
        .await?;
        Ok(Some(Self { bootstrap: address.to_string(), _program: program, _folder: folder }))
    }
}
