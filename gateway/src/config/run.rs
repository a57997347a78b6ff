//! `delivery` and `telemetry`: how exchanges are kept, and how the gateway talks about itself.

use std::collections::BTreeMap;

use tracing_subscriber::EnvFilter;

use super::reader::{Field, Group};
use crate::message::Mode;

/// How exchanges are kept.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For A2A sends and MCP tool calls. Everything else that goes upstream is `direct`.
    pub default: Mode,
    /// By agent or server name.
    pub routes: BTreeMap<String, Mode>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { default: Mode::Relay, routes: BTreeMap::new() }
    }
}

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

pub(super) fn read_delivery(group: &mut Group<'_>) -> Delivery {
    let mut delivery = Delivery::default();
    group.set("default", &mut delivery.default, mode);
    group.set("routes", &mut delivery.routes, |field| {
        let routes = field.entries().into_iter();
        Some(routes.filter_map(|(name, _, route)| Some((name.to_owned(), mode(&route)?))).collect())
    });
    delivery
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

fn mode(field: &Field<'_>) -> Option<Mode> {
    field.choice(&[("relay", Mode::Relay), ("direct", Mode::Direct)])
}
