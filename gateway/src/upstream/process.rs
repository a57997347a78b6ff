//! Child processes: started from configuration only, without a shell, with a clean environment, as the leader of a process
//! group of their own, so that whatever they start ends with them.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::child_log;
use crate::config;
use crate::message::Name;

/// What a child inherits: where programs, its home and temporary files are, and its language. Nothing else, since the
/// gateway's environment may hold secrets.
const INHERITED: [&str; 10] =
    ["PATH", "HOME", "USER", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "TMPDIR"];
/// After its standard input is closed, before SIGTERM.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// After SIGTERM, before SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// A running child.
#[derive(Debug)]
pub(super) struct Child {
    inner: tokio::process::Child,
    group: Option<Pid>,
}

/// The ends of its pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
}

impl Child {
    /// Starts `process`. Its standard error is drained into the log from now on.
    pub(super) fn start(upstream: &Name, process: &config::Process) -> std::io::Result<(Self, Pipes)> {
        let mut command = command(process)?;
        let mut inner = command.spawn()?;
        let missing = || std::io::Error::other("a pipe of the new process is missing");
        let group = inner.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let stdin = inner.stdin.take().ok_or_else(missing)?;
        let stdout = inner.stdout.take().ok_or_else(missing)?;
        let stderr = inner.stderr.take().ok_or_else(missing)?;
        tokio::spawn(child_log::drain(upstream.clone(), "stderr", stderr, child_log::Mask::new(process)));
        tracing::info!(%upstream, command = process.command, pid = inner.id(), "process started");
        Ok((Self { inner, group }, Pipes { stdin, stdout }))
    }

    /// Waits until the child has exited, then ends what is left of its group.
    pub(super) async fn exited(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.inner.wait().await;
        self.signal(Signal::SIGKILL);
        status
    }

    /// Ends the child and its group: its standard input must be closed already. Takes at most three seconds and a little.
    pub(super) async fn end(mut self) {
        if timeout(CLOSE_GRACE, self.inner.wait()).await.is_err() {
            self.signal(Signal::SIGTERM);
            if timeout(TERM_GRACE, self.inner.wait()).await.is_err() {
                self.signal(Signal::SIGKILL);
                let _ = self.inner.wait().await;
            }
        }
        self.signal(Signal::SIGKILL);
    }

    /// Ends the child and its group at once.
    pub(super) async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.inner.wait().await;
    }

    fn signal(&self, signal: Signal) {
        // The group outlives its leader while anyone is left in it; when nobody is, this fails and says so.
        if let Some(group) = self.group {
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Only where a supervising task was itself cut off, at the end of the runtime. The leader is not reaped yet, so
        // the group is still ours.
        if matches!(self.inner.try_wait(), Ok(None)) {
            self.signal(Signal::SIGKILL);
        }
    }
}

fn command(process: &config::Process) -> std::io::Result<Command> {
    let mut command = if process.command == "kamf" {
        Command::new(std::env::current_exe()?)
    } else {
        Command::new(&process.command)
    };
    command.args(&process.args).env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
    command.envs(process.env.iter().map(|(name, value)| (name, value.expose())));
    if let Some(directory) = &process.cwd {
        command.current_dir(directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// Why a process could not be started, without its whole command line.
pub(super) fn start_error(process: &config::Process, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("its command `{}` was not found: check the name, PATH and cwd", process.command)
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("its command `{}` may not be executed", process.command)
        }
        _ => format!("its command `{}` cannot be started: {error}", process.command),
    }
}

/// How a process ended.
pub(super) fn ending(status: &std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("its process ended ({status})"),
        Err(_) => "its process is gone".into(),
    }
}
