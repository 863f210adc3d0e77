//! Where the time of `cargo xtask test` goes.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::test::spent;

/// How long each phase took, and the most memory that the machine had in use meanwhile.
pub(crate) struct Phases {
    began: Instant,
    last: Instant,
    ended: Vec<(&'static str, Duration)>,
    memory: Memory,
}

impl Phases {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, last: now, ended: Vec::new(), memory: Memory::watch() }
    }

    /// What has been going on since the phase before has come to its end.
    pub(crate) fn ended(&mut self, phase: &'static str) {
        let took = self.last.elapsed();
        self.last = Instant::now();
        self.ended.push((phase, took));
        println!("xtask: {phase}: {}", spent(took));
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::from("xtask: phases\n");
        for (phase, took) in &self.ended {
            let _ = writeln!(text, "  {:<34} {:>10}", phase, spent(*took));
        }
        let _ = writeln!(text, "  {:<34} {:>10}", "all", spent(self.began.elapsed()));
        if let Some(most) = self.memory.most() {
            let _ = writeln!(text, "  {:<34} {most:>6.1} GiB", "most memory in use, over the start");
        }
        text
    }
}

/// Looks once a second at how much memory the whole machine uses: containers and compilers are no children of ours.
struct Memory {
    stop: Arc<AtomicBool>,
    first: Option<u64>,
    most: Arc<AtomicU64>,
}

impl Memory {
    fn watch() -> Self {
        let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (stop.clone(), most.clone());
        thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                seen.fetch_max(kib_in_use().unwrap_or(0), Ordering::Relaxed);
                thread::sleep(Duration::from_secs(1));
            }
        });
        Self { stop, first: kib_in_use(), most }
    }

    /// In GiB; nothing where the kernel does not say.
    fn most(&self) -> Option<f64> {
        Some(self.most.load(Ordering::Relaxed).saturating_sub(self.first?) as f64 / 1_048_576.0)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What programs and files in memory hold, without what the kernel only caches (proc(5), /proc/meminfo).
fn kib_in_use() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    field("MemTotal")?.checked_sub(field("MemAvailable")?)
}

/// The slowest tests of nextest's JUnit report, and what all of them took.
pub(crate) fn slowest(report: &Path, count: usize) -> Result<String> {
    let text = fs::read_to_string(report).with_context(|| format!("reading {}", report.display()))?;
    let document = roxmltree::Document::parse(&text).with_context(|| format!("reading {}", report.display()))?;
    let mut tests: Vec<(f64, String)> = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
        .filter_map(|test| {
            let name = format!("{} {}", test.attribute("classname")?, test.attribute("name")?);
            Some((test.attribute("time")?.parse().ok()?, name))
        })
        .collect();
    tests.sort_by(|one, other| other.0.total_cmp(&one.0));
    let all: f64 = tests.iter().map(|(time, _)| time).sum();
    let mut table = format!("xtask: the slowest of {} tests, which took {all:.0} s one after the other\n", tests.len());
    for (time, name) in tests.iter().take(count) {
        let _ = writeln!(table, "  {time:>7.1} s  {name}");
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_tests_come_first() {
        let report = tempfile::NamedTempFile::new().expect("a file");
        let suite = |name: &str, time: &str| format!("<testcase classname=\"it\" name=\"{name}\" time=\"{time}\"/>");
        let text = format!(
            "<testsuites><testsuite>{}{}{}</testsuite></testsuites>",
            suite("a", "1.5"),
            suite("b", "30.25"),
            suite("c", "2.0")
        );
        fs::write(report.path(), text).expect("writing");
        assert_eq!(
            slowest(report.path(), 2).expect("a table"),
            "xtask: the slowest of 3 tests, which took 34 s one after the other\n     30.2 s  it b\n      2.0 s  it c\n"
        );
    }
}
