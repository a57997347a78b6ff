//! The processes of a run: each server is one of its own, so that its CPU and memory can be read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::cpu;

/// How much of a process's output is shown when it failed.
const SHOWN_LINES: usize = 20;

/// A running child; ended when dropped.
pub(crate) struct Process {
    child: Child,
    /// Where its standard error goes.
    log: PathBuf,
}

impl Process {
    /// Starts a program on `cores`, its error output in `<directory>/<name>.log`.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        cores: &[usize],
        directory: &Path,
    ) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        command.stdin(Stdio::piped()).stderr(File::create(&log)?);
        let before = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))?;
        // A child begins on the cores of the thread that started it.
        cpu::pin(0, cores)?;
        let child = command.spawn().with_context(|| format!("{name} cannot be started"));
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &before)?;
        Ok(Self { child: child?, log })
    }

    /// Starts this program itself under a subcommand that serves and [`announce`]s its address.
    pub(crate) fn serve(
        name: &str,
        args: &[&str],
        cores: &[usize],
        directory: &Path,
    ) -> Result<(Self, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = Self::start(name, command.args(args).stdout(Stdio::piped()), cores, directory)?;
        let output = process.child.stdout.take().context("the output was piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line
            .trim()
            .parse()
            .with_context(|| format!("{name} did not start:\n{}", process.last_words()))?;
        Ok((process, address))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// The end of what it wrote to its error output.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It serves nobody but this run and keeps nothing: no farewell is needed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Tells the parent where this process listens.
pub(crate) fn announce(address: SocketAddr) -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{address}")?;
    Ok(output.flush()?)
}

/// Ends this process when its parent has gone, however it went: the pipe on standard input closes.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().read(&mut rest), Ok(1..)) {}
        std::process::exit(0);
    });
}
