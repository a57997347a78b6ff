//! Other programs: started in a folder, their output kept, ended when dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::Result;

/// A program that runs.
pub(crate) struct Program {
    child: Child,
    output: PathBuf,
}

impl Program {
    /// Starts `command`; both of its outputs go to the file `output`, behind what is there.
    pub(crate) fn start(mut command: Command, output: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("{:?}", command.as_std().get_program()))?;
        Ok(Self { child, output: output.to_owned() })
    }

    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result {
        let pid = self.child.id().context("the program has ended")?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let ended = tokio::time::timeout(patience, self.child.wait()).await;
        let tail = || format!("no end within {patience:?}; its output ends with:\n{}", tail(&self.output()));
        Ok(ended.with_context(tail)??)
    }
}

/// The last lines of `text`.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Runs `command` to its end.
///
/// # Errors
/// When it does not end in time; it is killed then.
pub(crate) async fn run(mut command: Command, patience: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let shown = format!("{:?}", command.as_std());
    let ended = tokio::time::timeout(patience, command.output()).await;
    let output = ended.with_context(|| format!("{shown} did not end within {patience:?}"))?;
    let output = output.with_context(|| shown.clone())?;
    Ok(Output {
        command: shown,
        success: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// What a program said until it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) command: String,
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Output {
    /// # Errors
    /// When it failed, with what it said.
    pub(crate) fn good(self) -> Result<Self> {
        anyhow::ensure!(self.success, "{} failed\n{}\n{}", self.command, tail(&self.out), tail(&self.err));
        Ok(self)
    }
}
