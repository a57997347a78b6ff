//! Money in cents and weight in milli-ounces, and how people read them.

/// The currency of every amount in the example.
pub(crate) const CURRENCY: &str = "USD";

/// One troy ounce.
pub(crate) const MILLI_OUNCES_PER_OUNCE: i64 = 1_000;

/// What a weight costs at a price per ounce, in cents, halves rounded up. `None` when it does not
/// fit 64 bits.
pub(crate) fn value_cents(milli_ounces: i64, price_cents: i64) -> Option<i64> {
    share(price_cents, milli_ounces, MILLI_OUNCES_PER_OUNCE)
}

/// `amount * part / whole` without overflow on the way, halves rounded away from zero. `None`
/// when the whole is not positive or the result does not fit.
pub(crate) fn share(amount: i64, part: i64, whole: i64) -> Option<i64> {
    if whole <= 0 {
        return None;
    }
    let whole = i128::from(whole);
    let product = i128::from(amount) * i128::from(part);
    let half = if product < 0 { -whole } else { whole };
    i64::try_from((product * 2 + half) / (whole * 2)).ok()
}

/// An amount as `1,234.50 USD`.
pub(crate) fn show_cents(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    let units = (cents / 100).to_string();
    let mut grouped = String::with_capacity(units.len() + units.len() / 3);
    for (index, digit) in units.chars().enumerate() {
        if index > 0 && (units.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}.{:02} {CURRENCY}", cents % 100)
}

/// A weight as `2.500 oz`.
pub(crate) fn show_ounces(milli_ounces: i64) -> String {
    let sign = if milli_ounces < 0 { "-" } else { "" };
    let weight = milli_ounces.unsigned_abs();
    format!("{sign}{}.{:03} oz", weight / 1_000, weight % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_the_nearest_cent() {
        assert_eq!(value_cents(1_500, 384_475), Some(576_713));
        assert_eq!(value_cents(1, 499), Some(0));
        assert_eq!(value_cents(1, 500), Some(1));
        assert_eq!(share(-3, 1, 2), Some(-2));
        assert_eq!(share(3, 1, 0), None);
        assert_eq!(value_cents(i64::MAX, i64::MAX), None);
        assert_eq!(value_cents(i64::MAX, 1_000), Some(i64::MAX));
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(show_cents(0), "0.00 USD");
        assert_eq!(show_cents(-84_620), "-846.20 USD");
        assert_eq!(show_cents(123_456_789), "1,234,567.89 USD");
        assert_eq!(show_ounces(2_500), "2.500 oz");
        assert_eq!(show_ounces(-7), "-0.007 oz");
    }
}
