//! Health of the upstreams as `/api/status` shows it.

use serde_json::{Value, json};

use crate::upstream::Health;

/// One object for each upstream.
pub(super) fn of(upstreams: &[Health]) -> Value {
    upstreams.iter().map(one).collect()
}

fn one(health: &Health) -> Value {
    let refused: Vec<_> =
        health.refused_tools.iter().map(|(tool, reason)| json!({ "tool": tool, "reason": reason })).collect();
    json!({
        "name": &*health.name,
        "protocol": health.protocol.as_str(),
        "state": health.state.as_str(),
        "since": humantime::format_rfc3339_millis(health.since).to_string(),
        "last_error": health.last_error,
        "restarts": health.restarts,
        "refused_tools": refused,
        "circuit": health.gate.map(|gate| gate.circuit),
        "calls": health.gate.map(|gate| gate.calls),
        "waiting": health.gate.map(|gate| gate.waiting),
    })
}
