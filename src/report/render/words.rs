//! Numbers and endings in words.

use std::time::Duration;

pub use crate::domain::format::bytes;
use crate::{domain::format, engine::event::Verdict};

/// In place of what stands on the first screen.
pub const SEE_ABOVE: &str = "see above";

pub fn verdict_mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "✅ passed",
        Verdict::Warned => "⚠️ warned",
        Verdict::Skipped => "⏭️ skipped",
        Verdict::Failed => "❌ failed",
        Verdict::Stopped => "⏹️ stopped",
    }
}

pub fn duration(ms: u64) -> String {
    format::duration(Duration::from_millis(ms))
}

/// Of microseconds.
pub fn short_time(us: u64) -> String {
    format::duration(Duration::from_micros(us))
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
