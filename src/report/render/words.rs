//! Numbers and endings in words.

/// `340 ms`, `1.2 s`, `1 min 12 s`, `2 h 3 min`
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Microseconds as `2.0 ms`, for what is expected to take no more.
pub fn short_time(us: u64) -> String {
    let tenths = us.div_ceil(100);
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

/// `812 B`, `26.6 MB`: decimal, as networks and GitHub's pages count.
pub fn bytes(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => {
            let tenths = (bytes / (size / 100) + 5) / 10;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// `1 warning`, `2 warnings`
pub fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// `2025-11-02 15:49:00 UTC`
pub fn time(unix_ms: i64) -> String {
    at(unix_ms, "%Y-%m-%d %H:%M:%S UTC")
}

/// `15:49:00.123`, in UTC.
pub fn time_of_day(unix_ms: i64) -> String {
    at(unix_ms, "%H:%M:%S%.3f")
}

/// `20251102T154900Z`, for names of files.
pub fn stamp(unix_ms: i64) -> String {
    at(unix_ms, "%Y%m%dT%H%M%SZ")
}

fn at(unix_ms: i64, format: &str) -> String {
    chrono::DateTime::from_timestamp_millis(unix_ms).unwrap_or_default().format(format).to_string()
}
