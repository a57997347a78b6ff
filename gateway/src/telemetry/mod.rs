//! Logs of the gateway itself. Metrics: each stage has a `metrics.rs` and is handed the registry.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::Telemetry;

/// Sends logs to standard error; standard output belongs to what a command prints. `KAMF_LOG` overrides the filter.
///
/// # Errors
/// The filter cannot be read.
pub fn start(settings: &Telemetry) -> Result<(), String> {
    let text = std::env::var("KAMF_LOG").unwrap_or_else(|_| settings.filter.clone());
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        format!(
            "the log filter `{text}` cannot be read: {error}; write for instance `info` or `info,kamf=debug`"
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first.
    let _second = if settings.json { builder.json().try_init() } else { builder.compact().try_init() };
    Ok(())
}
