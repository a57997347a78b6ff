//! `telemetry`: how the gateway talks about itself.

use tracing_subscriber::EnvFilter;

use super::reader::{Field, Group};

/// Logs of the gateway itself.
#[derive(Clone, Debug)]
pub struct Telemetry {
    pub json: bool,
    /// A `tracing` filter, `info` unless set.
    pub filter: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { json: false, filter: "info".to_owned() }
    }
}

pub(super) fn read_telemetry(group: &mut Group<'_>) -> Telemetry {
    let mut telemetry = Telemetry::default();
    group.set("json", &mut telemetry.json, Field::flag);
    group.set("filter", &mut telemetry.filter, |field| {
        let text = field.word()?;
        if let Err(error) = EnvFilter::try_new(&text) {
            field.refuse(format!("`{text}` is no filter ({error}); write one as in info or kamf=debug,info"));
        }
        Some(text)
    });
    telemetry
}
