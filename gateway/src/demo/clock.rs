//! Days and timestamps in the two spellings that the example upstreams use, all in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time now as `2026-01-31T23:59:59.000Z`.
pub(crate) fn now() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
        since_epoch.subsec_millis()
    )
}

/// Today as `2026-01-31`.
pub(crate) fn today() -> String {
    let mut now = now();
    now.truncate(10);
    now
}

/// Whether a text is a day of the calendar in the form `YYYY-MM-DD`. Such texts sort as the days
/// do.
pub(crate) fn is_day(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = text.get(range)?;
        part.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        part.parse().ok()
    };
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return false;
    }
    match (digits(0..4), digits(5..7), digits(8..10)) {
        (Some(year), Some(month), Some(day)) => {
            (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day)
        }
        _ => false,
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day of the calendar that lies `days` after 1970-01-01.
fn civil(mut days: u64) -> (u32, u32, u32) {
    // Four hundred years have always the same number of days, so the loops below stay short.
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let mut year = 1970 + u32::try_from(days / DAYS_IN_400_YEARS * 400).unwrap_or(u32::MAX - 2_400);
    days %= DAYS_IN_400_YEARS;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let mut month = 1;
    while days >= u64::from(days_in(year, month)) {
        days -= u64::from(days_in(year, month));
        month += 1;
    }
    let day = u32::try_from(days).unwrap_or(30) + 1;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_since_the_epoch_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(59), (1970, 3, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_780), (2026, 11, 23));
        assert_eq!(civil(47_541), (2100, 3, 1));
        assert_eq!(civil(146_097), (2370, 1, 1));
    }

    #[test]
    fn only_days_of_the_calendar_pass() {
        for day in ["2026-11-22", "2024-02-29", "2000-02-29", "0000-01-01"] {
            assert!(is_day(day), "{day}");
        }
        for other in [
            "2026-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "2026-1-1",
            "20261122",
            "2026-11-2a",
            "+026-11-22",
            "2026-11-22T00:00:00Z",
            "",
            "２０２６-11-2",
        ] {
            assert!(!is_day(other), "{other}");
        }
    }

    #[test]
    fn now_reads_as_a_day_and_a_time() {
        let now = now();
        assert!(is_day(&now[..10]), "{now}");
        assert_eq!(now.len(), "2026-01-31T23:59:59.000Z".len());
        assert!(now.ends_with('Z'));
        assert_eq!(today().len(), 10);
    }
}
