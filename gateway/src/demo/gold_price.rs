//! `gold_price`: what an ounce of gold costs, now and on a day.
//!
//! The series is made up and compiled in: one price for each weekday, in cents. "Now" is its last
//! day, so that every number that is computed from it can be told in advance.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::mcp::{Answer, Identity, Progress, Tool, ToolFailure, Tools, serve_stdio};
use super::money::{CURRENCY, show_cents};
use super::{DemoError, arguments, clock};

const SERIES: &str = include_str!("gold_price.csv");

/// Serves the prices over MCP on stdin and stdout until the input ends.
pub async fn gold_price() -> Result<(), DemoError> {
    serve_stdio(GoldPrice::new()?).await
}

/// The prices, by day.
pub(crate) struct GoldPrice {
    first: Price,
    last: Price,
    series: Vec<Price>,
}

#[derive(Clone, Copy)]
struct Price {
    day: &'static str,
    cents: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDay {
    date: String,
}

impl GoldPrice {
    pub(crate) fn new() -> Result<Self, DemoError> {
        let mut series: Vec<Price> = Vec::new();
        for (index, line) in SERIES.lines().enumerate().skip(1) {
            let broken = DemoError::Series { line: index + 1 };
            let Some(price) = read_price(line) else {
                return Err(broken);
            };
            if series.last().is_some_and(|before| before.day >= price.day) {
                return Err(broken);
            }
            series.push(price);
        }
        match (series.first(), series.last()) {
            (Some(&first), Some(&last)) => Ok(Self { first, last, series }),
            _ => Err(DemoError::Series { line: 1 }),
        }
    }

    /// The price of a day, or of the last trading day before it.
    fn on(&self, day: &str) -> Result<Price, ToolFailure> {
        if !clock::is_day(day) {
            let text = format!("`date` is `{day}`; it must be a day written as YYYY-MM-DD.");
            return Err(ToolFailure::new(text));
        }
        if day < self.first.day || day > self.last.day {
            return Err(ToolFailure::new(format!(
                "There is no price for {day}; prices run from {} to {}.",
                self.first.day, self.last.day
            )));
        }
        let after = self.series.partition_point(|price| price.day <= day);
        Ok(after.checked_sub(1).map_or(self.first, |index| self.series[index]))
    }
}

fn read_price(line: &'static str) -> Option<Price> {
    let (day, cents) = line.split_once(',')?;
    let cents = cents.parse().ok().filter(|cents| *cents > 0)?;
    clock::is_day(day).then_some(Price { day, cents })
}

impl Tools for GoldPrice {
    fn identity(&self) -> Identity {
        Identity {
            name: "gold_price",
            title: "Gold price",
            instructions: "Prices of one troy ounce of gold in US dollars, whole cents, from a \
                           made-up daily series. The newest day of the series counts as now.",
        }
    }

    fn list(&self) -> Vec<Tool> {
        let day = json!({"type": "string", "format": "date", "description": "Day of the price, YYYY-MM-DD"});
        let output = json!({
            "date": day,
            "price_cents": {"type": "integer", "description": "Cents for one troy ounce"},
            "currency": {"type": "string", "const": CURRENCY},
        });
        vec![
            Tool {
                name: "price_now",
                title: "Gold price now",
                description: "What one troy ounce of gold costs now.",
                input: (json!({}), &[]),
                output: output.clone(),
                writes: false,
            },
            Tool {
                name: "price_on",
                title: "Gold price on a day",
                description: "What one troy ounce of gold cost on a day. For a day without \
                              trading it is the price of the last trading day before it.",
                input: (
                    json!({"date": {
                        "type": "string",
                        "format": "date",
                        "description": "The day, YYYY-MM-DD",
                    }}),
                    &["date"],
                ),
                output,
                writes: false,
            },
        ]
    }

    async fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        _: Progress,
    ) -> Result<Answer, ToolFailure> {
        let price = if name == "price_now" {
            let Nothing {} = arguments::read(arguments, "no arguments")?;
            self.last
        } else {
            let OnDay { date } = arguments::read(arguments, "`date`, a day written as YYYY-MM-DD")?;
            self.on(&date)?
        };
        Ok(Answer {
            text: format!("One troy ounce of gold cost {} on {}.", show_cents(price.cents), price.day),
            structured: json!({
                "date": price.day,
                "price_cents": price.cents,
                "currency": CURRENCY,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_series_reads_and_ends_at_a_known_price() {
        let prices = GoldPrice::new().unwrap();
        assert_eq!(prices.series.len(), 305);
        assert_eq!((prices.last.day, prices.last.cents), ("2026-10-30", 424_755));
    }

    #[test]
    fn a_weekend_has_the_price_of_friday() {
        let prices = GoldPrice::new().unwrap();
        let friday = prices.on("2026-01-30").unwrap();
        assert_eq!(friday.day, "2026-01-30");
        for day in ["2026-01-31", "2026-02-01"] {
            assert_eq!(prices.on(day).unwrap().day, friday.day);
        }
        assert_eq!(prices.on("2026-02-02").unwrap().cents, 384_475);
        assert_eq!(prices.on("2025-09-01").unwrap().cents, 341_250);
    }

    #[test]
    fn a_day_outside_the_series_is_told_its_bounds() {
        let prices = GoldPrice::new().unwrap();
        for day in ["2025-08-31", "2026-10-31"] {
            let failure = prices.on(day).err().unwrap().to_string();
            assert!(failure.contains("2025-09-01 to 2026-10-30"), "{failure}");
        }
        let failure = prices.on("30.10.2026").err().unwrap().to_string();
        assert!(failure.contains("YYYY-MM-DD"), "{failure}");
    }
}
