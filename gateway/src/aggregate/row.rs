//! One line of the result: a record of `kamf.aggregates`, a row of the admin API.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::ser::SerializeStruct;

use super::cell::{Quantiles, Totals};
use super::dimensions::Dimensions;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Size {
    TenSeconds,
    Minute,
}

impl Size {
    pub const ALL: [Self; 2] = [Self::TenSeconds, Self::Minute];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenSeconds => "10s",
            Self::Minute => "1m",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.as_str() == text)
    }

    pub fn micros(self) -> Micros {
        match self {
            Self::TenSeconds => 10_000_000,
            Self::Minute => 60_000_000,
        }
    }

    /// Start of the window that holds `time`.
    pub fn start_of(self, time: Micros) -> Micros {
        time.div_euclid(self.micros()).saturating_mul(self.micros())
    }
}

/// The numbers of one key in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub size: Size,
    pub start: Micros,
    pub dimensions: Arc<Dimensions>,
    pub totals: Totals,
    pub latency: Quantiles,
    /// No more is expected; a later record would still be added.
    pub closed: bool,
    /// Partition and offset of the one exchange that this row adds to a window which is no longer held.
    pub correction: Option<(i32, i64)>,
}

impl Row {
    /// The key in `kamf.aggregates`: a JSON array of window, start and dimensions. A later record replaces an
    /// earlier one of the same key; a correction has a key of its own (source partition and offset at the end), so
    /// that the sum over all keys is the truth.
    pub fn key(&self) -> String {
        let d = &self.dimensions;
        let start = rfc3339(self.start);
        let fixed = (self.size.as_str(), start, &d.tenant, &d.agent, &d.method, &d.tool, &d.state, &d.reason);
        let text = match self.correction {
            None => serde_json::to_string(&fixed),
            Some(source) => serde_json::to_string(&(fixed, source)),
        };
        text.unwrap_or_default()
    }

    /// The value in `kamf.aggregates`.
    pub fn value(&self, currency: &str) -> Vec<u8> {
        serde_json::to_vec(&Priced { row: self, currency }).unwrap_or_default()
    }
}

/// A row with the currency of its cost.
pub struct Priced<'a> {
    pub row: &'a Row,
    pub currency: &'a str,
}

impl Serialize for Priced<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (row, d, t) = (self.row, &self.row.dimensions, &self.row.totals);
        let mut out = serializer.serialize_struct("Row", 24)?;
        out.serialize_field("v", &1)?;
        out.serialize_field("window", row.size.as_str())?;
        out.serialize_field("start", &rfc3339(row.start))?;
        out.serialize_field("tenant", &d.tenant)?;
        out.serialize_field("agent", &d.agent)?;
        out.serialize_field("method", &d.method)?;
        out.serialize_field("tool", &d.tool)?;
        out.serialize_field("state", &d.state)?;
        out.serialize_field("reason", &d.reason)?;
        out.serialize_field("calls", &t.calls)?;
        out.serialize_field("errors", &t.errors)?;
        out.serialize_field("p50_us", &row.latency.p50_us)?;
        out.serialize_field("p90_us", &row.latency.p90_us)?;
        out.serialize_field("p99_us", &row.latency.p99_us)?;
        out.serialize_field("request_bytes", &t.request_bytes)?;
        out.serialize_field("answer_bytes", &t.answer_bytes)?;
        out.serialize_field("input_tokens", &t.input_tokens)?;
        out.serialize_field("output_tokens", &t.output_tokens)?;
        out.serialize_field("cost", &t.cost)?;
        out.serialize_field("currency", self.currency)?;
        out.serialize_field("estimated", &(t.estimated_calls > 0))?;
        out.serialize_field("estimated_calls", &t.estimated_calls)?;
        out.serialize_field("closed", &row.closed)?;
        out.serialize_field("correction", &row.correction.is_some())?;
        out.end()
    }
}

/// The end of the year 9999, after which RFC 3339 has no words.
const LAST_WRITABLE: u64 = 253_402_300_799_999_999;

/// Event time as the log and the API write it, held between 1970 and 9999.
pub fn rfc3339(time: Micros) -> String {
    let time = u64::try_from(time).unwrap_or_default().min(LAST_WRITABLE);
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(time);
    humantime::format_rfc3339(time).to_string()
}

/// Microseconds since 1970; times before read as 1970.
pub fn micros(time: SystemTime) -> Micros {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}
