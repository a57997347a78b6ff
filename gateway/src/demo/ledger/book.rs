//! Entries, holdings and average cost.

use serde::{Deserialize, Serialize};

use crate::demo::money::{share, show_ounces, value_cents};

/// Entries that a ledger takes: some megabytes in memory, ages of example use.
pub(crate) const MAX_ENTRIES: usize = 100_000;
/// Largest weight of one entry: a hundred thousand ounces.
pub(crate) const MAX_MILLI_OUNCES: i64 = 100_000_000;
/// Largest price of an ounce: a million dollars.
pub(crate) const MAX_PRICE_CENTS: i64 = 100_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Buy,
    Sell,
}

/// One purchase or sale, as it stands on a line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Day of the trade, `YYYY-MM-DD`.
    pub(crate) date: String,
    pub(crate) side: Side,
    /// Weight in thousandths of a troy ounce.
    pub(crate) milli_ounces: i64,
    /// Price of one ounce.
    pub(crate) price_cents: i64,
}

/// Why an entry does not fit the book.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum BookError {
    #[error("{} are to be sold, but only {} are held.", show_ounces(*wanted), show_ounces(*held))]
    TooLittleHeld { wanted: i64, held: i64 },
    #[error("An entry needs 1 to {MAX_MILLI_OUNCES} milli-ounces at 1 to {MAX_PRICE_CENTS} cents an ounce.")]
    OutOfBounds,
    #[error("The ledger is full ({MAX_ENTRIES} entries); start another file.")]
    Full,
}

/// What the entries add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) milli_ounces: i64,
    /// What the held ounces cost, by average cost.
    pub(crate) cost_cents: i64,
    /// What sales brought above the cost of what was sold.
    pub(crate) realised_cents: i64,
}

impl Holdings {
    /// Average cost of one held ounce; 0 when nothing is held.
    pub(crate) fn average_cost_cents(&self) -> i64 {
        share(self.cost_cents, 1_000, self.milli_ounces).unwrap_or_default()
    }

    /// The holdings after one more entry.
    pub(crate) fn after(self, entry: &Entry) -> Result<Self, BookError> {
        let in_bounds = (1..=MAX_MILLI_OUNCES).contains(&entry.milli_ounces)
            && (1..=MAX_PRICE_CENTS).contains(&entry.price_cents);
        let amount = value_cents(entry.milli_ounces, entry.price_cents)
            .filter(|_| in_bounds)
            .ok_or(BookError::OutOfBounds)?;
        // With the bounds above, 10^5 entries of at most 10^13 cents stay below 2^63.
        if entry.side == Side::Buy {
            return Ok(Self {
                milli_ounces: self.milli_ounces + entry.milli_ounces,
                cost_cents: self.cost_cents + amount,
                ..self
            });
        }
        if entry.milli_ounces > self.milli_ounces {
            return Err(BookError::TooLittleHeld { wanted: entry.milli_ounces, held: self.milli_ounces });
        }
        let cost =
            share(self.cost_cents, entry.milli_ounces, self.milli_ounces).ok_or(BookError::OutOfBounds)?;
        Ok(Self {
            milli_ounces: self.milli_ounces - entry.milli_ounces,
            cost_cents: self.cost_cents - cost,
            realised_cents: self.realised_cents + amount - cost,
        })
    }
}

/// All entries and what they add up to.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: Vec<Entry>,
    holdings: Holdings,
}

impl Book {
    /// The holdings that an entry would lead to, if it fits.
    pub(crate) fn check(&self, entry: &Entry) -> Result<Holdings, BookError> {
        if self.entries.len() >= MAX_ENTRIES {
            return Err(BookError::Full);
        }
        self.holdings.after(entry)
    }

    /// Enters a purchase or sale.
    pub(crate) fn enter(&mut self, entry: Entry) -> Result<(), BookError> {
        self.holdings = self.check(&entry)?;
        self.entries.push(entry);
        Ok(())
    }

    pub(crate) fn holdings(&self) -> Holdings {
        self.holdings
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// What a new ledger starts with, so that there is a profit to compute from the first day on.
pub(crate) fn examples() -> [Entry; 2] {
    let bought = |date: &str, milli_ounces, price_cents| Entry {
        date: date.to_owned(),
        side: Side::Buy,
        milli_ounces,
        price_cents,
    };
    [bought("2026-02-02", 2_000, 384_475), bought("2026-06-01", 1_000, 420_695)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(side: Side, milli_ounces: i64, price_cents: i64) -> Entry {
        Entry { date: "2026-11-22".to_owned(), side, milli_ounces, price_cents }
    }

    #[test]
    fn the_examples_add_up() {
        let mut book = Book::default();
        for entry in examples() {
            book.enter(entry).unwrap();
        }
        assert_eq!(book.holdings().milli_ounces, 3_000);
        assert_eq!(book.holdings().cost_cents, 1_189_645);
        assert_eq!(book.holdings().average_cost_cents(), 396_548);
    }

    #[test]
    fn a_sale_takes_its_share_of_the_cost() {
        let mut book = Book::default();
        book.enter(entry(Side::Buy, 1_000, 100)).unwrap();
        book.enter(entry(Side::Buy, 1_000, 201)).unwrap();
        book.enter(entry(Side::Sell, 500, 400)).unwrap();
        let held = book.holdings();
        assert_eq!((held.milli_ounces, held.cost_cents), (1_500, 226));
        assert_eq!(held.realised_cents, 200 - 75);
        book.enter(entry(Side::Sell, 1_500, 400)).unwrap();
        let held = book.holdings();
        assert_eq!((held.milli_ounces, held.cost_cents), (0, 0));
        assert_eq!(held.average_cost_cents(), 0);
        assert_eq!(held.realised_cents, 800 - 301);
    }

    #[test]
    fn nobody_sells_what_is_not_held() {
        let mut book = Book::default();
        book.enter(entry(Side::Buy, 1_000, 100)).unwrap();
        let refused = book.enter(entry(Side::Sell, 1_001, 100)).unwrap_err();
        assert_eq!(refused.to_string(), "1.001 oz are to be sold, but only 1.000 oz are held.");
        assert_eq!(book.entries().len(), 1);
        assert_eq!(book.enter(entry(Side::Buy, 0, 1)), Err(BookError::OutOfBounds));
        assert_eq!(book.enter(entry(Side::Buy, 1, -1)), Err(BookError::OutOfBounds));
    }
}
