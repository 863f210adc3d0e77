//! `cargo xtask bench`: what a release costs on the runner, with the binary of the image.
//!
//! Beside it `cargo bench --bench pack` measures the bundle against `tar czf`. Ratios count, not seconds: machines differ.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use gated_deploy_lab::{
    Options, action,
    app::{self, Variant},
    load::Load,
    story::{Story, commit},
};

const STARTS: u32 = 50;
/// Bytes that do not compress, so that the bundle has this size too.
const BUNDLE: usize = 200_000_000;

pub(crate) fn run(root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("making a folder")?;
    let binary = from_image(&action::ensure(root, action::Profile::Release)?, folder.path())?;

    let (ours, nothing) = (fastest(&binary, &["--version"])?, fastest(Path::new("/bin/true"), &[])?);
    println!(
        "start to end of --version: {:.1} ms, {:.1} times /bin/true",
        millis(ours),
        millis(ours) / millis(nothing)
    );

    let story = Story::begin(&binary, root, Options { base_tmpfs_mb: None, ..Options::default() })?;
    let plan = story.staging(&commit("never built")).input("approval", "").input("report-dir", "reports");
    let finished = plan.run_binary(&binary);
    let journal = journal(&plan.workspace().join("reports"))?;
    println!("start to first event, inputs parsed: {} ms (exit code {})", first_event(&journal)?, finished.exit_code);

    let commit = commit("a large bundle");
    let tree = app::source(&commit, Variant::Healthy)?;
    tree.write("public/large.bin", noise(BUNDLE))?;
    let built = story.build(&commit, &tree)?;
    let size = fs::metadata(&built.bundle).context("looking at the bundle")?.len();
    story.publish(&built)?;
    let running = story.staging(&commit).spawn_binary(&binary);
    let watched = watch_memory(running.pid());
    let finished = running.wait();
    let peak = watched.join().map_err(|_| anyhow::anyhow!("watching the memory failed"))?;
    ensure!(finished.exit_code == 0, "the release did not go live:\n{}", finished.log);
    println!(
        "bundle of {:.0} MB: build-gate {:.1} s, release {:.1} s with at most {:.0} MiB",
        size as f64 / 1e6,
        built.finished.duration.as_secs_f64(),
        finished.duration.as_secs_f64(),
        peak as f64 / 1024.0,
    );
    handover(&story, &binary)
}

/// What visitors meet during a switch, and during the rollback of an unhealthy release: samples at 100 requests a second, with visitors of the
/// home page beside them.
fn handover(story: &Story, binary: &Path) -> Result<()> {
    let site = story.staging_site();
    for (word, variant) in [("handed over", Variant::Healthy), ("taken back", Variant::Sick500)] {
        let commit = commit(word);
        story.ship(&commit, variant)?;
        story.lab.get(&site, "/", None)?;
        let job = story.staging(&commit).input("grace-period", "2s");
        let policy = job.workspace().join(".github");
        fs::create_dir_all(&policy).context("making a folder for the policy")?;
        fs::write(policy.join("gated-deploy.yml"), "sample-rate: 100\nmax-downtime: 1m\n")
            .context("writing the policy")?;
        let load = Load::start(story.lab.http_addr(), &site.host, "/", 2);
        let finished = job.run_binary(binary);
        let visitors = load.stop()?;
        let report = finished.outputs.get("report-json").context("the run left no report")?;
        let report = fs::read_to_string(job.workspace().join(report)).context("reading the report")?;
        let report: serde_json::Value = serde_json::from_str(&report).context("reading the report")?;
        let downtime_report = &report["zero_downtime"];
        println!(
            "{word} ({}): {} of {} requests failed, slowest {} ms; of visitors beside them {} of {}; old and new side by side {} ms; old again after {} ms",
            report["outcome"],
            downtime_report["failures"],
            downtime_report["requests"],
            downtime_report["slowest_ms"],
            visitors.failures.len(),
            visitors.requests,
            downtime_report["side_by_side_ms"],
            downtime_report["old_again_ms"],
        );
    }
    Ok(())
}

/// The largest resident set of a process in KiB, as long as it lives. Not what wait4 reports: that counts what this process held when it
/// started it, and a bench that made a large bundle holds much.
fn watch_memory(pid: u32) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut peak = 0;
        while let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
            let high =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
            // A process that has ended and is not yet reaped has no memory any more.
            let Some(high) = high else { break };
            peak = peak.max(high);
            std::thread::sleep(Duration::from_millis(20));
        }
        peak
    })
}

/// The binary that users run, taken out of the image.
pub(crate) fn from_image(image: &str, folder: &Path) -> Result<PathBuf> {
    let created = Command::new("docker").args(["create", image]).output().context("starting docker")?;
    let container = String::from_utf8_lossy(&created.stdout).trim().to_owned();
    let binary = folder.join("gated-deploy");
    let from = format!("{container}:/usr/local/bin/gated-deploy");
    let copied = Command::new("docker").args(["cp", &from]).arg(&binary).status().context("starting docker")?;
    let removed =
        Command::new("docker").args(["rm", &container]).stdout(Stdio::null()).status().context("starting docker")?;
    ensure!(copied.success() && removed.success(), "taking the binary out of {image}");
    Ok(binary)
}

fn fastest(program: &Path, args: &[&str]) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..STARTS {
        let began = Instant::now();
        let status = Command::new(program).args(args).stdout(Stdio::null()).status().context("starting it")?;
        best = best.min(began.elapsed());
        ensure!(status.success(), "{}: {status}", program.display());
    }
    Ok(best)
}

fn journal(reports: &Path) -> Result<String> {
    let entries = fs::read_dir(reports).with_context(|| format!("listing {}", reports.display()))?;
    let path = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .context("the run left no journal")?;
    fs::read_to_string(path).context("reading the journal")
}

fn first_event(journal: &str) -> Result<u64> {
    let line = journal.lines().next().context("the journal is empty")?;
    let event: serde_json::Value = serde_json::from_str(line).context("reading the first event")?;
    event["elapsed_ms"].as_u64().context("the first event has no time")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Bytes without a pattern that a compressor finds: xorshift64, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
