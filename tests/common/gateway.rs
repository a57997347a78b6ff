//! A gateway: the built program on a folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use super::caller::Caller;
use super::http::{Answer, Client};
use super::program::{Output, Program, run, tail};
use super::{Result, Settings, eventually, files};
use crate::checker::Reading;

/// A start with everything cold, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);

/// A command of the program that reads the log or asks the gateway.
const COMMAND: Duration = Duration::from_secs(60);

/// What a gateway may hold after the load of a test: far above what it needs, far below a leak under load.
const MEMORY_KIB: u64 = 400 * 1024;

/// A running gateway; killed when dropped. Its folder outlives restarts.
pub(crate) struct Gateway {
    program: Program,
    folder: TempDir,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// `host:port` of the log.
    pub(crate) log: String,
    /// From the start of the process until it was ready.
    pub(crate) took: Duration,
    /// Open descriptors once it was ready.
    descriptors: u64,
}

impl Gateway {
    /// Starts a gateway with `settings` in a new folder and waits until it is ready.
    pub(crate) async fn start(settings: &Settings) -> Result<Self> {
        let folder = files::scratch();
        fs::write(folder.path().join("kamf.yaml"), serde_json::to_vec_pretty(&settings.value)?)?;
        Self::start_in(folder, settings).await
    }

    /// Starts a gateway with the `kamf.yaml` that is in `folder`, which `settings` has the addresses of.
    pub(crate) async fn start_in(folder: TempDir, settings: &Settings) -> Result<Self> {
        let program = launch(folder.path())?;
        let mut gateway = Self {
            program,
            folder,
            public: settings.public,
            admin: settings.admin,
            log: settings.value["log"]["brokers"][0].as_str().map_or(settings.log.to_string(), str::to_owned),
            took: Duration::ZERO,
            descriptors: 0,
        };
        gateway.ready().await?;
        Ok(gateway)
    }

    /// Starts it again on the same folder after [`Gateway::kill`] or [`Gateway::stop`].
    pub(crate) async fn restart(&mut self) -> Result {
        self.program = launch(self.folder.path())?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result {
        let began = Instant::now();
        let client = Client::new();
        let url = format!("http://{}/readyz", self.admin);
        loop {
            if let Some(status) = self.program.ended() {
                bail!("the gateway ended with {status}:\n{}", tail(&self.program.output()));
            }
            let missing = match client.get(&url).await {
                Ok(answer) if answer.status == 200 => break,
                Ok(answer) => answer.text(),
                Err(error) => format!("{error:#}"),
            };
            if began.elapsed() > START {
                bail!("not ready within {START:?}: {missing}\n{}", tail(&self.program.output()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.took = began.elapsed();
        self.descriptors = self.program.id().map(descriptors).transpose()?.unwrap_or_default();
        Ok(())
    }

    /// SIGKILL: no chance to tidy up.
    pub(crate) async fn kill(&mut self) -> Result {
        self.program.signal(Signal::SIGKILL)?;
        self.program.wait(Duration::from_secs(10)).await?;
        Ok(())
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn stop(&mut self) -> Result<ExitStatus> {
        self.terminate()?;
        self.program.wait(Duration::from_secs(60)).await
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) -> Result {
        self.program.signal(Signal::SIGTERM)
    }

    /// SIGSTOP: it stands still, with all that it holds.
    pub(crate) fn freeze(&self) -> Result {
        self.program.signal(Signal::SIGSTOP)
    }

    /// SIGCONT after [`Gateway::freeze`].
    pub(crate) fn thaw(&self) -> Result {
        self.program.signal(Signal::SIGCONT)
    }

    /// How much it holds now; none when it is gone.
    pub(crate) fn reading(&self) -> Option<Reading> {
        let id = self.program.id()?;
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Reading {
            name: format!("gateway {}", self.public),
            memory_kib: memory.split_whitespace().next()?.parse().ok()?,
            memory_cap_kib: MEMORY_KIB,
            descriptors: descriptors(id).ok()?,
            descriptors_before: self.descriptors,
        })
    }

    /// # Errors
    /// When the process is gone, with the end of its output.
    pub(crate) fn lives(&mut self) -> Result {
        match self.program.ended() {
            None => Ok(()),
            Some(status) => bail!("the gateway ended with {status}:\n{}", tail(&self.program.output())),
        }
    }

    pub(crate) fn output(&self) -> String {
        self.program.output()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("kamf.yaml")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.public)
    }

    /// A caller with the key of `name`.
    pub(crate) fn caller(&self, name: &str) -> Caller {
        Caller::new(&self.url(), &format!("{name}-key"))
    }

    /// GET on the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Result<Answer> {
        Client::new().get(&format!("http://{}{path}", self.admin)).await
    }

    /// Waits until what the upstream `name` offers is known.
    pub(crate) async fn knows(&self, caller: &Caller, tool: &str) -> Result {
        eventually(START, tool, || async {
            let tools = caller.tools("/mcp").await?;
            anyhow::ensure!(tools.iter().any(|name| name == tool), "the list has {tools:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Runs `kamf` with `arguments` on this gateway's configuration.
    pub(crate) async fn kamf(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(files::kamf());
        command.arg("--config").arg(self.config()).args(arguments).current_dir(self.folder.path());
        run(command, COMMAND).await.context("a command of the program")
    }
}

/// Open descriptors of the process `id`.
fn descriptors(id: u32) -> Result<u64> {
    Ok(u64::try_from(fs::read_dir(format!("/proc/{id}/fd"))?.count())?)
}

fn launch(folder: &Path) -> Result<Program> {
    let mut command = Command::new(files::kamf());
    command.current_dir(folder).env_remove("KAMF_CONFIG");
    Program::start(command, &folder.join("output.txt"))
}
