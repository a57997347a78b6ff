//! The ledger's four tools.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::book::{Book, Entry, MAX_MILLI_OUNCES, MAX_PRICE_CENTS, Side};
use super::file::{FileError, LedgerFile};
use super::schema::{self, DELAY_MAX_MS, HISTORY_DEFAULT, HISTORY_MAX, show};
use crate::demo::arguments::{Whole, read, within};
use crate::demo::mcp::{Answer, Identity, Progress, Tool, ToolFailure, Tools};
use crate::demo::money::{show_cents, show_ounces};
use crate::demo::{DemoError, clock};

/// Steps of such a wait; each is reported as progress.
const DELAY_STEPS: u32 = 10;

/// The tool server over one ledger file.
pub(crate) struct Ledger {
    file: Arc<LedgerFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trade {
    milli_ounces: Whole,
    price_cents: Whole,
    date: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    limit: Option<Whole>,
    delay_ms: Option<Whole>,
}

impl Ledger {
    pub(crate) async fn open(path: PathBuf) -> Result<Self, DemoError> {
        let opened = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || LedgerFile::open(path)).await
        };
        let file = match opened {
            Ok(Ok(file)) => file,
            Ok(Err(e)) => {
                return Err(DemoError::Ledger { path, source: e.into() });
            }
            Err(e) => {
                return Err(DemoError::Ledger { path, source: e.into() });
            }
        };
        Ok(Self { file: Arc::new(file) })
    }

    /// Runs an operation on the file off the async threads. Once begun it ends, also when the
    /// caller has cancelled.
    async fn blocking<R: Send + 'static>(
        &self,
        operation: impl FnOnce(&LedgerFile) -> Result<R, FileError> + Send + 'static,
    ) -> Result<R, ToolFailure> {
        let file = self.file.clone();
        match tokio::task::spawn_blocking(move || operation(&file)).await {
            Ok(outcome) => outcome.map_err(|e| ToolFailure::new(e.to_string())),
            Err(_) => Err(ToolFailure::new("The ledger's operation broke off.")),
        }
    }

    async fn trade(&self, side: Side, arguments: Map<String, Value>) -> Result<Answer, ToolFailure> {
        let expected = "`milli_ounces` and `price_cents`, whole numbers, and if wanted `date`, a \
                        day written as YYYY-MM-DD";
        let trade: Trade = read(arguments, expected)?;
        let date = trade.date.unwrap_or_else(clock::today);
        if !clock::is_day(&date) {
            let text = format!("`date` is `{date}`; it must be a day written as YYYY-MM-DD.");
            return Err(ToolFailure::new(text));
        }
        let entry = Entry {
            date,
            side,
            milli_ounces: within("milli_ounces", trade.milli_ounces, 1..=MAX_MILLI_OUNCES)?,
            price_cents: within("price_cents", trade.price_cents, 1..=MAX_PRICE_CENTS)?,
        };
        let written = entry.clone();
        let holdings = self
            .blocking(move |file| {
                file.enter(written)?;
                file.read(Book::holdings)
            })
            .await?;
        let verb = match side {
            Side::Buy => "Bought",
            Side::Sell => "Sold",
        };
        Ok(Answer {
            text: format!(
                "{verb} {} at {} an ounce on {}; {} are held.",
                show_ounces(entry.milli_ounces),
                show_cents(entry.price_cents),
                entry.date,
                show_ounces(holdings.milli_ounces)
            ),
            structured: json!({"entry": entry, "holdings": show(holdings)}),
        })
    }

    async fn holdings(&self) -> Result<Answer, ToolFailure> {
        let holdings = self.blocking(|file| file.read(Book::holdings)).await?;
        Ok(Answer {
            text: format!(
                "{} are held, bought for {} ({} an ounce).",
                show_ounces(holdings.milli_ounces),
                show_cents(holdings.cost_cents),
                show_cents(holdings.average_cost_cents())
            ),
            structured: show(holdings),
        })
    }

    async fn history(
        &self,
        arguments: Map<String, Value>,
        progress: Progress,
    ) -> Result<Answer, ToolFailure> {
        let window: Window = read(arguments, "if wanted `limit` and `delay_ms`, whole numbers")?;
        let limit = window.limit.unwrap_or(Whole(HISTORY_DEFAULT));
        let limit = usize::try_from(within("limit", limit, 1..=HISTORY_MAX)?).unwrap_or(1);
        let delay = window.delay_ms.unwrap_or(Whole(0));
        let delay = u64::try_from(within("delay_ms", delay, 0..=DELAY_MAX_MS)?).unwrap_or(0);
        for step in 0..DELAY_STEPS {
            if delay == 0 {
                break;
            }
            progress.report(step, DELAY_STEPS, "leafing through the ledger").await;
            tokio::time::sleep(Duration::from_millis(delay) / DELAY_STEPS).await;
        }
        let (entries, total) = self
            .blocking(move |file| {
                file.read(|book| {
                    let all = book.entries();
                    (all[all.len().saturating_sub(limit)..].to_vec(), all.len())
                })
            })
            .await?;
        progress.report(DELAY_STEPS, DELAY_STEPS, "read the ledger").await;
        Ok(Answer {
            text: format!("The last {} of {total} entries.", entries.len()),
            structured: json!({"entries": entries, "total": total}),
        })
    }
}

impl Tools for Ledger {
    fn identity(&self) -> Identity {
        Identity {
            name: "ledger",
            title: "Gold ledger",
            instructions: "Purchases and sales of gold. Weights are whole milli-ounces (1000 are \
                           one troy ounce), prices whole US cents for one ounce.",
        }
    }

    fn list(&self) -> Vec<Tool> {
        schema::tools()
    }

    async fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        progress: Progress,
    ) -> Result<Answer, ToolFailure> {
        match name {
            "buy" => self.trade(Side::Buy, arguments).await,
            "sell" => self.trade(Side::Sell, arguments).await,
            "history" => self.history(arguments, progress).await,
            _ => {
                let Nothing {} = read(arguments, "no arguments")?;
                self.holdings().await
            }
        }
    }
}
