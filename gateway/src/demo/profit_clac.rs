//! `profit_clac`: what a holding has gained, from its weight, its cost and a price.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::DemoError;
use super::arguments::{Whole, read, within};
use super::mcp::{Answer, Identity, Progress, Tool, ToolFailure, Tools, serve_stdio};
use super::money::{CURRENCY, share, show_cents, show_ounces, value_cents};

/// Largest weight: a billion ounces, five times what was ever mined.
const MAX_MILLI_OUNCES: i64 = 1_000_000_000_000;
/// Largest amounts: what a billion ounces cost at a million dollars each does not fit 64 bits of
/// cents, so the price bound is lower than what the value could be.
const MAX_CENTS: i64 = 9_007_199_254_740_991;
const MAX_PRICE_CENTS: i64 = 1_000_000_000;

/// Serves the calculator over MCP on stdin and stdout until the input ends.
pub async fn profit_clac() -> Result<(), DemoError> {
    serve_stdio(ProfitClac).await
}

/// The calculator; it remembers nothing.
pub(crate) struct ProfitClac;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Holding {
    milli_ounces: Whole,
    cost_cents: Whole,
    price_cents: Whole,
}

#[derive(Debug, PartialEq, Eq)]
struct Profit {
    value_cents: i64,
    profit_cents: i64,
    /// Hundredths of a percent of the cost; none when there was no cost to gain on.
    basis_points: Option<i64>,
}

fn profit(milli_ounces: i64, cost_cents: i64, price_cents: i64) -> Option<Profit> {
    let value_cents = value_cents(milli_ounces, price_cents)?;
    let profit_cents = value_cents.checked_sub(cost_cents)?;
    let basis_points = match cost_cents {
        0 => None,
        _ => Some(share(profit_cents, 10_000, cost_cents)?),
    };
    Some(Profit { value_cents, profit_cents, basis_points })
}

impl Tools for ProfitClac {
    fn identity(&self) -> Identity {
        Identity {
            name: "profit_clac",
            title: "Profit calculator",
            instructions: "Computes the profit of a holding of gold. Weights are whole \
                           milli-ounces, amounts whole US cents, prices are per troy ounce.",
        }
    }

    fn list(&self) -> Vec<Tool> {
        let whole = |text: &str, maximum: i64| {
            json!({
                "type": "integer", "minimum": 0, "maximum": maximum, "description": text,
            })
        };
        vec![Tool {
            name: "profit",
            title: "Profit",
            description: "What a holding of gold is worth at a price, and how much that is above \
                          (or below) what it cost.",
            input: (
                json!({
                    "milli_ounces": whole("Weight held, in thousandths of a troy ounce", MAX_MILLI_OUNCES),
                    "cost_cents": whole("What the holding cost, in cents", MAX_CENTS),
                    "price_cents": whole("Price of one troy ounce, in cents", MAX_PRICE_CENTS),
                }),
                &["milli_ounces", "cost_cents", "price_cents"],
            ),
            output: json!({
                "value_cents": {"type": "integer", "description": "Worth at the price"},
                "profit_cents": {"type": "integer", "description": "Worth less cost; negative is a loss"},
                "percent": {
                    "type": ["number", "null"],
                    "description": "Profit in percent of the cost, two decimals; null without cost",
                },
                "currency": {"type": "string", "const": CURRENCY},
            }),
            writes: false,
        }]
    }

    async fn call(&self, _: &str, arguments: Map<String, Value>, _: Progress) -> Result<Answer, ToolFailure> {
        let expected = "`milli_ounces`, `cost_cents` and `price_cents`, all whole numbers";
        let holding: Holding = read(arguments, expected)?;
        let weight = within("milli_ounces", holding.milli_ounces, 0..=MAX_MILLI_OUNCES)?;
        let cost = within("cost_cents", holding.cost_cents, 0..=MAX_CENTS)?;
        let price = within("price_cents", holding.price_cents, 0..=MAX_PRICE_CENTS)?;
        let profit = profit(weight, cost, price)
            .ok_or_else(|| ToolFailure::new("The numbers are too large to compute a profit from."))?;
        let percent = profit.basis_points.map(as_percent);
        let rate = percent.map_or_else(String::new, |percent| format!(" ({percent:.2} %)"));
        Ok(Answer {
            text: format!(
                "{} that cost {} are worth {}: a profit of {}{rate}.",
                show_ounces(weight),
                show_cents(cost),
                show_cents(profit.value_cents),
                show_cents(profit.profit_cents)
            ),
            structured: json!({
                "value_cents": profit.value_cents,
                "profit_cents": profit.profit_cents,
                "percent": percent,
                "currency": CURRENCY,
            }),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn as_percent(basis_points: i64) -> f64 {
    basis_points as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profit_is_value_less_cost() {
        let gain = profit(3_000, 1_189_645, 424_755).unwrap();
        assert_eq!(gain.value_cents, 1_274_265);
        assert_eq!(gain.profit_cents, 84_620);
        assert_eq!(gain.basis_points, Some(711));
        let loss = profit(1_000, 20_000, 10_000).unwrap();
        assert_eq!((loss.profit_cents, loss.basis_points), (-10_000, Some(-5_000)));
    }

    #[test]
    fn no_cost_has_no_percentage_and_no_holding_no_profit() {
        assert_eq!(profit(1_000, 0, 5).unwrap().basis_points, None);
        assert_eq!(profit(0, 0, 424_755).unwrap().profit_cents, 0);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let largest = profit(MAX_MILLI_OUNCES, MAX_CENTS, MAX_PRICE_CENTS).unwrap();
        assert_eq!(largest.value_cents, 1_000_000_000_000_000_000);
        assert_eq!(profit(MAX_MILLI_OUNCES, 1, MAX_PRICE_CENTS), None);
    }
}
