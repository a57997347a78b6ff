//! Apache Kafka 4, one node, as `tests/kafka/start.sh` runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use super::program::Program;
use super::{Result, eventually, files, ports, tools};

/// Format and start take 15 s on a machine that does nothing else.
const START: Duration = Duration::from_secs(120);

/// A broker; killed when dropped. Its folder outlives restarts.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    program: Program,
    script: PathBuf,
    folder: TempDir,
}

impl Broker {
    /// Starts a broker; none when the test is to be skipped.
    pub(crate) async fn start(test: &str) -> Result<Option<Self>> {
        let Some(script) = tools::kafka(test).await? else { return Ok(None) };
        let folder = files::scratch();
        let address = ports::free();
        let program = launch(&script, folder.path(), &address.to_string()).await?;
        Ok(Some(Self { bootstrap: address.to_string(), program, script, folder }))
    }

    /// Starts it again on the same folder after [`Broker::kill`].
    pub(crate) async fn restart(&mut self) -> Result {
        self.program = launch(&self.script, self.folder.path(), &self.bootstrap).await?;
        Ok(())
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result {
        self.program.signal(Signal::SIGKILL)?;
        self.program.wait(Duration::from_secs(10)).await?;
        Ok(())
    }

    pub(crate) fn output(&self) -> String {
        self.program.output()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result {
        self.program.signal(signal)
    }
}

async fn launch(script: &Path, folder: &Path, bootstrap: &str) -> Result<Program> {
    let output = folder.join("output.txt");
    // What an earlier run said would be taken for this one's.
    drop(fs::remove_file(&output));
    let mut command = Command::new(script);
    command.arg("run").arg(folder).arg(bootstrap.rsplit(':').next().unwrap_or_default());
    command.env("KAMF_KAFKA_JARS", tools::kafka_jars());
    let program = Program::start(command, &output)?;
    eventually(START, "Apache Kafka", || async {
        let said = program.output();
        if said.contains("Kafka Server started") { Ok(()) } else { Err(said) }
    })
    .await?;
    Ok(program)
}
