//! Amounts as people read them: in logs, summaries, reports and messages.

use std::time::Duration;

/// `1.7 ms`, `340 ms`, `1.2 s`, `1 min 12 s`, `2 h 3 min`, `3 days 4 h`. What is zero is left out, what is smaller is cut off; only below
/// 10 ms, where it would be too much, it is rounded up.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let two = |large: u64, unit: &str, small: u64, less: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {less}"),
    };
    match seconds {
        0 if duration < Duration::from_millis(10) => tenths(duration.as_micros().div_ceil(100), "ms"),
        0 => format!("{} ms", duration.as_millis()),
        1..60 => tenths(duration.as_millis() / 100, "s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..172_800 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "days", seconds % 86_400 / 3600, "h"),
    }
}

/// The time since a moment of another clock. If it is negative, the clocks differ by at least that much.
pub fn age(seconds: i64) -> String {
    let written = |seconds| if seconds == 0 { "0 s".to_owned() } else { duration(Duration::from_secs(seconds)) };
    match u64::try_from(seconds) {
        Ok(seconds) => written(seconds),
        Err(_) => format!("0 s (the clocks differ by {})", written(seconds.unsigned_abs())),
    }
}

/// `812 B`, `26.6 MB`: decimal, as networks and GitHub's pages count, and rounded.
pub fn bytes(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let rounded = |size: u64| (u128::from(bytes) * 10 + u128::from(size / 2)) / u128::from(size);
    // The unit is that of the rounded amount: 999,950 B are 1 MB, and not 1000 kB.
    let within = |size: u64| rounded(size / 1_000) >= 10_000;
    match units.into_iter().find(|(size, _)| bytes >= *size || *size > 1_000 && within(*size)) {
        Some((size, unit)) => tenths(rounded(size), unit),
        None => format!("{bytes} B"),
    }
}

fn tenths(tenths: u128, unit: &str) -> String {
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_in_the_two_largest_units_that_are_not_zero() {
        for (us, described) in [
            (0, "0 ms"),
            (40, "0.1 ms"),
            (1_967, "2 ms"),
            (1_667, "1.7 ms"),
            (9_999, "10 ms"),
            (10_999, "10 ms"),
            (340_000, "340 ms"),
            (999_999, "999 ms"),
            (1_000_000, "1 s"),
            (1_299_999, "1.2 s"),
            (59_999_999, "59.9 s"),
            (72_000_000, "1 min 12 s"),
            (600_000_000, "10 min"),
            (3_599_000_000, "59 min 59 s"),
            (3_600_000_000, "1 h"),
            (7_380_000_000, "2 h 3 min"),
            (172_799_000_000, "47 h 59 min"),
            (172_800_000_000, "2 days"),
            (273_600_000_000, "3 days 4 h"),
        ] {
            assert_eq!(duration(Duration::from_micros(us)), described, "{us}");
        }
        assert_eq!(duration(Duration::MAX).split_once(' ').map(|(_, unit)| unit), Some("days 7 h"));
        assert_eq!([age(0), age(90), age(-1)], ["0 s", "1 min 30 s", "0 s (the clocks differ by 1 s)"]);
    }

    #[test]
    fn bytes_are_written_in_decimal_units() {
        for (amount, described) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 kB"),
            (99_949, "99.9 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1 MB"),
            (999_949_999, "999.9 MB"),
            (999_950_000, "1 GB"),
            (26_560_000, "26.6 MB"),
            (4_000_000_000, "4 GB"),
            (u64::MAX, "18446744073.7 GB"),
        ] {
            assert_eq!(bytes(amount), described, "{amount}");
        }
    }
}
