//! Which records a command looks at: the same filters for every command that reads the log.

use std::time::SystemTime;

use clap::builder::PossibleValuesParser;

use crate::message::{Mode, RelayId, parse_traceparent};
use crate::outcome::{Reason, State};
use crate::relay::record::View;

/// Filters by what all records of an exchange say; a record must pass all that are given.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct Select {
    /// Only this agent or MCP server
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Only this caller
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    /// Only callers of this tenant
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Only this method, as it stands on the wire: SendMessage, message/send, tools/call
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// Only calls of this tool, by the server's own name of it
    #[arg(long, value_name = "TOOL")]
    pub tool: Option<String>,
    /// Only exchanges that are kept so
    #[arg(long, value_parser = PossibleValuesParser::new(Mode::ALL.map(Mode::as_str)))]
    pub mode: Option<String>,
    /// Only this exchange: `kamf-relay-id` of its answer
    #[arg(long, value_name = "RELAY_ID", value_parser = relay_id)]
    pub id: Option<RelayId>,
    /// Only this trace: 32 hex digits, or a whole `traceparent`
    #[arg(long, value_name = "TRACE_ID", value_parser = trace_id)]
    pub trace: Option<String>,
    /// From this time on: 2026-11-22T18:00:00Z, or 15m for so long before now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<SystemTime>,
    /// Up to this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<SystemTime>,
}

impl Select {
    pub(super) fn wants(&self, view: &View<'_>) -> bool {
        let fields = &view.fields;
        let is = |filter: &Option<String>, value: &str| filter.as_deref().is_none_or(|want| want == value);
        is(&self.agent, fields.agent)
            && is(&self.principal, fields.principal)
            && is(&self.tenant, fields.tenant)
            && is(&self.method, fields.method)
            && is(&self.tool, fields.tool.unwrap_or_default())
            && is(&self.mode, fields.mode.as_str())
            && self.id.is_none_or(|want| want == fields.id)
            && self.trace.as_ref().is_none_or(|want| fields.traceparent.get(3..35) == Some(want))
            && self.since.is_none_or(|since| fields.time >= since)
            && self.until.is_none_or(|until| fields.time <= until)
    }
}

/// The states and reasons in which an exchange can end.
pub(super) fn outcomes() -> PossibleValuesParser {
    let states = State::ALL.into_iter().map(State::as_str);
    let reasons = Reason::ALL.iter().map(|reason| reason.label());
    let mut all: Vec<&'static str> = states.chain(reasons).collect();
    all.sort_unstable();
    all.dedup();
    PossibleValuesParser::new(all)
}

/// Whether an exchange that ended for `reason` has the outcome `want`: a state, or a reason.
pub(super) fn is_outcome(want: &str, reason: Reason) -> bool {
    want == reason.state().as_str() || want == reason.label()
}

fn relay_id(text: &str) -> Result<RelayId, String> {
    RelayId::parse(text)
        .ok_or_else(|| "a relay id looks like 0193a5c2-7c1e-7000-8000-0123456789ab".to_owned())
}

fn trace_id(text: &str) -> Result<String, String> {
    let id = if parse_traceparent(text).is_some() { &text[3..35] } else { text };
    let fits = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { Ok(id.to_ascii_lowercase()) } else { Err("a trace id has 32 hex digits".to_owned()) }
}

fn moment(text: &str) -> Result<SystemTime, String> {
    let ago = || SystemTime::now().checked_sub(humantime::parse_duration(text).ok()?);
    humantime::parse_rfc3339_weak(text).ok().or_else(ago).ok_or_else(|| {
        "write a time like 2026-11-22T18:00:00Z, or a duration like 15m, 2h or 3days for so long before now"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_read_absolute_and_back_from_now() {
        assert_eq!(moment("1970-01-01T00:00:05Z"), Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(5)));
        let quarter = moment("15m").unwrap();
        let ago = SystemTime::now().duration_since(quarter).unwrap();
        assert!((900..910).contains(&ago.as_secs()), "{ago:?}");
        for wrong in ["yesterday", "", "9999999999999999h"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_are_read_in_every_form_in_which_they_are_shown() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(trace_id(trace).as_deref(), Ok(trace));
        assert_eq!(trace_id(&format!("00-{trace}-b7ad6b7169203331-01")).as_deref(), Ok(trace));
        assert!(trace_id("0af7").is_err() && relay_id("0af7").is_err());
    }

    #[test]
    fn an_outcome_is_a_state_or_a_reason() {
        assert!(is_outcome("unknown", Reason::Lost) && is_outcome("lost", Reason::Lost));
        assert!(!is_outcome("completed", Reason::Lost));
    }
}
