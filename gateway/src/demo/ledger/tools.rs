//! The ledger's four tools.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::book::{Book, Entry, Holdings, MAX_MILLI_OUNCES, MAX_PRICE_CENTS, Side};
use super::file::{FileError, LedgerFile};
use crate::demo::arguments::{Whole, read, within};
use crate::demo::mcp::{Answer, Identity, Progress, Tool, ToolFailure, Tools};
use crate::demo::money::{CURRENCY, show_cents, show_ounces};
use crate::demo::{DemoError, clock};

/// Entries that `history` answers when the caller does not say how many.
const HISTORY_DEFAULT: i64 = 50;
/// Entries that `history` answers at most; an answer stays below 100 KiB.
const HISTORY_MAX: i64 = 500;
/// Longest wait that a caller of `history` may ask for.
const DELAY_MAX_MS: i64 = 5_000;
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
        let trade = |name, title, description| Tool {
            name,
            title,
            description,
            input: (trade_input(), &["milli_ounces", "price_cents"]),
            output: json!({
                "entry": {"type": "object", "description": "The entry as it was written"},
                "holdings": {
                    "type": "object",
                    "description": "What is held after it",
                    "properties": holdings_output(),
                },
            }),
            writes: true,
        };
        vec![
            trade("buy", "Buy gold", "Enters a purchase of gold."),
            trade("sell", "Sell gold", "Enters a sale of gold. No more can be sold than is held."),
            Tool {
                name: "holdings",
                title: "Holdings",
                description: "How much gold is held and what it cost, by average cost.",
                input: (json!({}), &[]),
                output: holdings_output(),
                writes: false,
            },
            Tool {
                name: "history",
                title: "History",
                description: "The newest entries of the ledger, oldest of them first.",
                input: (history_input(), &[]),
                output: json!({
                    "entries": {"type": "array", "items": {"type": "object"}},
                    "total": {"type": "integer", "description": "Entries in the whole ledger"},
                }),
                writes: false,
            },
        ]
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

fn show(holdings: Holdings) -> Value {
    json!({
        "milli_ounces": holdings.milli_ounces,
        "cost_cents": holdings.cost_cents,
        "average_cost_cents": holdings.average_cost_cents(),
        "realised_cents": holdings.realised_cents,
        "currency": CURRENCY,
    })
}

fn holdings_output() -> Value {
    let whole = |text: &str| json!({"type": "integer", "description": text});
    json!({
        "milli_ounces": whole("Weight held, in thousandths of a troy ounce"),
        "cost_cents": whole("What the held ounces cost, by average cost"),
        "average_cost_cents": whole("Cost of one held ounce"),
        "realised_cents": whole("What sales brought above the cost of what was sold"),
        "currency": {"type": "string", "const": CURRENCY},
    })
}

fn trade_input() -> Value {
    json!({
        "milli_ounces": {
            "type": "integer", "minimum": 1, "maximum": MAX_MILLI_OUNCES,
            "description": "Weight in thousandths of a troy ounce",
        },
        "price_cents": {
            "type": "integer", "minimum": 1, "maximum": MAX_PRICE_CENTS,
            "description": "Price of one troy ounce, in cents",
        },
        "date": {
            "type": "string", "format": "date",
            "description": "Day of the trade, YYYY-MM-DD; today when left out",
        },
    })
}

fn history_input() -> Value {
    json!({
        "limit": {
            "type": "integer", "minimum": 1, "maximum": HISTORY_MAX,
            "description": "How many entries to answer; 50 when left out",
        },
        "delay_ms": {
            "type": "integer", "minimum": 0, "maximum": DELAY_MAX_MS,
            "description": "How long to take, in milliseconds, with progress on the way",
        },
    })
}
