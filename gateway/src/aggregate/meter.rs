//! From records to observations: joins the usage that a stream reports to the end of its exchange.

use std::collections::HashMap;

use super::dimensions::Labels;
use super::row::{Micros, micros};
use super::usage::{self, Usage};
use super::window::Observation;
use crate::config::Prices;
use crate::message::{Operation, RelayId};
use crate::outcome::Reason;
use crate::relay::record::{Kind, View};

/// Open streams whose usage is remembered: as many as may be in flight over several replicas.
const MAX_OPEN: usize = 50_000;

/// A stream that reported usage and then has no end for a day of event time has been abandoned.
const ABANDONED: Micros = 24 * 3_600_000_000;

/// Knows the prices, and the usage of streams that have not ended.
pub struct Meter {
    prices: Prices,
    open: HashMap<RelayId, Reported>,
    dropped: u64,
}

struct Reported {
    usage: Usage,
    partition: i32,
    /// Offset of the first report.
    since: i64,
    time: Micros,
}

impl Meter {
    pub fn new(prices: Prices) -> Self {
        Self { prices, open: HashMap::new(), dropped: 0 }
    }

    /// Takes a record of `kamf.events`. Gives an observation when it ends an exchange. `written` is the time
    /// of writing.
    pub fn take<'v>(&mut self, view: &View<'v>, written: Micros) -> Option<Observation<'v>> {
        match view.fields.kind {
            Kind::Event => {
                self.remember(view);
                None
            }
            Kind::Terminal | Kind::Refusal => self.end(view, written),
            Kind::Request | Kind::Cancel | Kind::Started | Kind::Retry | Kind::Epoch => None,
        }
    }

    /// The first record in `partition` that an exchange still open needs.
    pub fn oldest(&self, partition: i32) -> Option<i64> {
        self.open.values().filter(|open| open.partition == partition).map(|open| open.since).min()
    }

    /// Forgets streams that have been abandoned by event time `watermark`; gives how many reports were lost so far.
    pub fn forget_abandoned(&mut self, watermark: Micros) -> u64 {
        let before = self.open.len();
        self.open.retain(|_, open| open.time > watermark.saturating_sub(ABANDONED));
        self.dropped += (before - self.open.len()) as u64;
        self.dropped
    }

    fn remember(&mut self, view: &View<'_>) {
        if !is_metered(view) {
            return;
        }
        let Some(usage) = usage::price(&self.prices, &usage::find(view.body)) else { return };
        if let Some(open) = self.open.get_mut(&view.fields.id) {
            open.usage = usage;
        } else if self.open.len() < MAX_OPEN {
            let (partition, since, time) = (view.partition, view.offset, micros(view.fields.time));
            self.open.insert(view.fields.id, Reported { usage, partition, since, time });
        } else {
            self.dropped += 1;
        }
    }

    fn end<'v>(&mut self, view: &View<'v>, written: Micros) -> Option<Observation<'v>> {
        let fields = &view.fields;
        let end = fields.end?;
        let open = if self.open.is_empty() { None } else { self.open.remove(&fields.id) };
        let labels = Labels {
            tenant: fields.tenant,
            agent: fields.agent,
            method: fields.method,
            tool: fields.tool,
            state: end.state.as_str(),
            reason: end.reason.label(),
        };
        Some(Observation {
            partition: view.partition,
            offset: view.offset,
            since: open.as_ref().map_or(view.offset, |open| open.since.min(view.offset)),
            time: micros(fields.time),
            written,
            labels,
            duration_us: u64::try_from(end.duration.as_micros()).unwrap_or(u64::MAX),
            request_bytes: end.request_bytes,
            answer_bytes: end.answer_bytes,
            usage: self.usage(view, end.reason, open),
        })
    }

    fn usage(&self, view: &View<'_>, reason: Reason, open: Option<Reported>) -> Usage {
        if view.fields.kind == Kind::Refusal || !is_metered(view) {
            return Usage::default();
        }
        let answered = matches!(reason, Reason::Completed | Reason::UpstreamError);
        usage::price(&self.prices, &usage::find(view.body))
            .or(open.map(|open| open.usage))
            .or_else(|| answered.then(|| usage::fixed(&self.prices, view.fields.agent)))
            .unwrap_or_default()
    }
}

/// Only calls that make an agent or tool work are metered: a task that is fetched or subscribed to again shows the
/// usage of the call that began it a second time.
fn is_metered(view: &View<'_>) -> bool {
    matches!(
        Operation::from_method(view.fields.dialect, view.fields.method),
        Some(Operation::Send | Operation::Stream | Operation::CallTool)
    )
}
