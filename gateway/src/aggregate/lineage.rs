//! Which exchange of a trace led to which.
//!
//! An exchange whose caller's span is another exchange's own span was sent by that one's upstream as it was told.
//! An agent may make spans of its own in between, which the log does not have: its calls then belong to the innermost
//! exchange with an agent that was open in the trace when they began, if possible with the agent that they name as caller.

use std::time::{Duration, SystemTime};

use super::story::Exchange;
use crate::message::Protocol;

/// Sets `parent` of all exchanges of one trace.
pub(crate) fn settle(exchanges: &mut [Exchange]) {
    let parents: Vec<Option<String>> = exchanges.iter().map(|exchange| parent(exchange, exchanges)).collect();
    for (exchange, parent) in exchanges.iter_mut().zip(parents) {
        exchange.parent = parent;
    }
}

fn parent(child: &Exchange, all: &[Exchange]) -> Option<String> {
    let span = child.parent_span.as_deref()?;
    let others = || all.iter().filter(|other| other.id != child.id);
    if let Some(named) = others().find(|other| other.span == span) {
        return Some(named.id.clone());
    }
    let (began, _) = open(child)?;
    others()
        .filter(|other| other.protocol == Protocol::A2a.as_str())
        .filter_map(|other| Some((open(other)?, other)))
        .filter(|((from, until), _)| *from <= began && began <= *until)
        .max_by_key(|((from, _), other)| (other.agent == child.principal, *from))
        .map(|(_, other)| other.id.clone())
}

/// From when to when an exchange was open; one without an end still is.
fn open(exchange: &Exchange) -> Option<(SystemTime, SystemTime)> {
    let began = humantime::parse_rfc3339(&exchange.records.first()?.time).ok()?;
    let until = exchange
        .duration_us
        .map_or_else(|| began + Duration::from_secs(24 * 3600), |us| began + Duration::from_micros(us));
    Some((began, until))
}

#[cfg(test)]
mod tests {
    use super::super::story::Record;
    use super::*;

    fn exchange(
        id: &str,
        principal: &str,
        agent: &str,
        parent: Option<&str>,
        second: u32,
        took_ms: u64,
    ) -> Exchange {
        let time = format!("2026-01-01T00:00:{second:02}.000000Z");
        let record = Record {
            time,
            kind: "request",
            topic: "requests",
            partition: 0,
            offset: 0,
            sequence: 0,
            bytes: 0,
        };
        Exchange {
            id: id.into(),
            span: format!("span-{id}"),
            parent_span: parent.map(str::to_owned),
            principal: principal.into(),
            agent: agent.into(),
            protocol: if agent == "advisor" || agent == "other" { "a2a" } else { "mcp" }.into(),
            duration_us: Some(took_ms * 1000),
            records: vec![record],
            ..Exchange::default()
        }
    }

    #[test]
    fn a_named_span_decides_and_time_does_where_a_span_is_missing() {
        let mut all = vec![
            exchange("a", "analyst", "advisor", None, 1, 5_000),
            exchange("b", "advisor", "ledger", Some("unseen"), 2, 100),
            exchange("c", "advisor", "prices", Some("span-a"), 9, 100),
            exchange("d", "advisor", "ledger", Some("unseen"), 30, 100),
            exchange("e", "analyst", "other", None, 1, 9_000),
        ];
        settle(&mut all);
        let parents: Vec<_> = all.iter().map(|exchange| exchange.parent.as_deref()).collect();
        assert_eq!(parents, [None, Some("a"), Some("a"), None, None]);
    }
}
