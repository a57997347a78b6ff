//! What the ledger's tools take and give, as they are listed.

use serde_json::{Value, json};

use super::book::{Holdings, MAX_MILLI_OUNCES, MAX_PRICE_CENTS};
use crate::demo::mcp::Tool;
use crate::demo::money::CURRENCY;

/// Entries that `history` answers when the caller does not say how many.
pub(crate) const HISTORY_DEFAULT: i64 = 50;
/// Entries that `history` answers at most; an answer stays below 100 KiB.
pub(crate) const HISTORY_MAX: i64 = 500;
/// Longest wait that a caller of `history` may ask for.
pub(crate) const DELAY_MAX_MS: i64 = 5_000;

/// The four tools.
pub(crate) fn tools() -> Vec<Tool> {
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

/// Holdings as the tools answer them.
pub(crate) fn show(holdings: Holdings) -> Value {
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
