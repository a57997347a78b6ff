//! Words and numbers for people.

use std::borrow::Cow;

/// `text` without control characters: names come from the log, and a terminal obeys some of them.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        Cow::Owned(text.chars().flat_map(char::escape_debug).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// A duration in the unit that fits it.
pub(super) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// Money, given in millionths.
pub(super) fn money(millionths: u64, currency: &str) -> String {
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    format!("{text} {currency}").trim_end().to_owned()
}

/// A table with columns as wide as they must be; the columns from `right` on stand to the right.
pub(super) fn table(rows: &[Vec<String>], right: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            let gap = if column == 0 { "" } else { "  " };
            line.push_str(gap);
            match column >= right {
                true => line.push_str(&(pad + cell)),
                false => line.push_str(&(cell.clone() + &pad)),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(plain("ledger"), "ledger");
        assert_eq!(plain("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [duration(7), duration(12_345), duration(2_500_000)],
            ["7 us", "12.3 ms", "2.50 s"].map(str::to_owned)
        );
        assert_eq!(money(1_234_567, "USD"), "1.234567 USD");
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["bcd".to_owned(), "5".to_owned()]];
        assert_eq!(table(&rows, 1), "a    10\nbcd   5\n");
    }
}
