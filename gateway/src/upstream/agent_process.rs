//! Keeps an agent's local process running.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::a2a::Agent;
use super::backoff::Backoff;
use super::child_log::{self, Mask};
use super::metrics::Metrics;
use super::process::{Child, ending, start_error};
use crate::config::Process;

/// Pauses between starts.
pub(super) const RESTART_FIRST: Duration = Duration::from_millis(100);
pub(super) const RESTART_MAX: Duration = Duration::from_secs(30);
/// Who ran this long may start again at once.
pub(super) const RAN_WELL: Duration = Duration::from_secs(10);

/// Runs until `stop`. The process keeps a pipe as its standard input: end of input tells it that the gateway is gone.
pub(super) async fn keep_running(
    agent: Arc<Agent>,
    process: Process,
    metrics: Metrics,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(RESTART_FIRST, RESTART_MAX);
    loop {
        let started = Instant::now();
        let why = match Child::start(&agent.name, &process) {
            Err(error) => start_error(&process, &error),
            Ok((mut child, pipes)) => {
                let mask = Mask::new(&process);
                tokio::spawn(child_log::drain(agent.name.clone(), "stdout", pipes.stdout, mask));
                tokio::select! {
                    status = child.exited() => ending(&status),
                    _ = stop.changed() => {
                        drop(pipes.stdin);
                        return child.end().await;
                    }
                }
            }
        };
        if started.elapsed() >= RAN_WELL {
            backoff.reset();
        }
        let pause = backoff.pause();
        agent.vital.down(&why);
        agent.vital.restarted();
        metrics.restarted(&agent.name);
        tracing::warn!(agent = %agent.name, error = why, pause_ms = pause.as_millis(), "agent process is started again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => return,
        }
    }
}
