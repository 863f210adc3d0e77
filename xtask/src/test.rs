//! `cargo xtask test`: what CI runs, whole or a part of it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use gated_deploy_lab::{System, action, image};

use crate::{shell, tidy, timings};

/// Tests that start a server in a container; `.config/nextest.toml` says which those are.
const STORIES: &str = "group(servers)";
/// The one test that sweeps every row with every fault.
const SWEEP: &str = "package(gated-deploy) & test(/^unwind::f79/)";
/// The tests that build the action's image and start it.
const IMAGE: &str = "test(/^image::/) | test(=runner::tests::image::an_image_runs_as_the_runner_runs_it)";
/// What `--quick` takes of the stories: a release, a rollback in the same run, a plan, a rollback by hand, a killed run.
const FIVE: &str =
    "test(/^deploy::(f8_|f52_|no_request_fails)/) | test(/^rollback::f83_/) | test(/^watchdog::f86_a_killed_run/)";

/// What is the core of a release: these stories run every day. Of the others, a run of everything on one machine takes a third by the date:
/// all of them keep two cores busy for half an hour. `--every-story` and `--part stories`, and so each pull request on GitHub, take all.
const EVERY_DAY: &str =
    "test(/^(deploy|watchdog|cancel|secrets|site)::/) | test(/^rollback::f83_/) | test(/^recover::f86_post/)";
const DAYS: usize = 3;

#[derive(Args)]
pub(crate) struct Asked {
    /// Style, the tests without a server, and five stories: for the inner loop
    #[arg(long, conflicts_with = "part")]
    quick: bool,
    /// Only this part, as the jobs of CI do; may be given several times
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Only a share of the stories, such as `1/2`
    #[arg(long, value_name = "M/N")]
    partition: Option<String>,
    /// Only a share of the sweep's cells, such as `1/2`
    #[arg(long, value_name = "M/N")]
    shard: Option<String>,
    /// Every cell of the sweep, instead of the share that each run of CI carries out
    #[arg(long)]
    every_cell: bool,
    /// Every story, instead of the share of this day
    #[arg(long)]
    every_story: bool,
    /// Take the image of the lab's server from this file; if there is none, build the image and write the file
    #[arg(long, value_name = "FILE")]
    lab_cache: Option<PathBuf>,
    /// Print how long each phase took, the twenty slowest tests, and how much memory was in use
    #[arg(long)]
    timings: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// fmt, clippy, tidy, generated files
    Style,
    /// Tests that need no server
    Hermetic,
    /// The action's image, started as the runner starts it
    Image,
    /// Tests that release to a server in a container
    Stories,
    /// Every row with every fault
    Sweep,
}

/// Everything that is asked for, in the order in which it fails soonest.
pub(crate) fn run(root: &Path, asked: &Asked) -> Result<()> {
    let all = !asked.quick && asked.part.is_empty();
    let wants =
        |part| all || asked.part.contains(&part) || (asked.quick && matches!(part, Part::Style | Part::Hermetic));
    let mut phases = timings::Phases::begin();
    tools()?;
    phases.ended("tools");

    // The lab's server is mostly downloaded and installed, which leaves the cores to the compiler.
    let (image, server) = (wants(Part::Image), asked.quick || wants(Part::Stories) || wants(Part::Sweep));
    let images = thread::spawn({
        let (root, cache) = (root.to_owned(), asked.lab_cache.clone());
        move || images(&root, server, image, cache.as_deref())
    });
    if wants(Part::Style) {
        style(root)?;
        phases.ended("style");
    }
    let mut filter = filter(asked, wants);
    if filter.is_some() {
        shell::run("cargo", &["nextest", "run", "--workspace", "--locked", "--no-run"])?;
        phases.ended("compiling the tests");
    }
    if let Some(filter) = filter.as_mut().filter(|_| all && !asked.every_story) {
        let (later, of) = stories_of_other_days()?;
        println!("xtask: {} of {of} stories have their turn on another day; `--every-story` runs all", later.len());
        if !later.is_empty() {
            *filter = format!("({filter}) - ({})", later.join(" | "));
        }
    }
    images.join().map_err(|_| anyhow!("building the images panicked"))??;
    phases.ended("the rest of building the images");

    if let Some(filter) = filter {
        nextest(&filter, asked)?;
        phases.ended("tests");
    }
    if wants(Part::Hermetic) {
        shell::run("cargo", &["test", "--workspace", "--locked", "--doc", "--quiet"])?;
        phases.ended("examples in the documentation");
    }
    println!("{}", phases.table());
    if asked.timings {
        println!("{}", timings::slowest(&root.join("target/nextest/default/junit.xml"), 20)?);
    }
    gated_deploy_lab::stop_own_daemon()
}

fn tools() -> Result<()> {
    // A C compiler builds libssh2, the system's OpenSSL is linked to it; the stories need the rest.
    for (program, package) in [("cc", "gcc"), ("pkg-config", "pkg-config"), ("shellcheck", "shellcheck")] {
        shell::need(program, package)?;
    }
    for (program, package) in [("sshd", "openssh-server"), ("ssh-keygen", "openssh-client"), ("git", "git")] {
        // sshd lies in /usr/sbin, which may not be in the path of a user.
        if !Path::new("/usr/sbin").join(program).exists() {
            shell::need(program, package)?;
        }
    }
    if !shell::installed("cargo-nextest") {
        shell::run("cargo", &["install", "--locked", "cargo-nextest"])?;
    }
    Ok(())
}

fn style(root: &Path) -> Result<()> {
    shell::run("cargo", &["fmt", "--all", "--check"])?;
    tidy::run(root)?;
    shell::run(
        "cargo",
        &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"],
    )?;
    crate::sync::run(root, true)
}

fn images(root: &Path, server: bool, action: bool, cache: Option<&Path>) -> Result<()> {
    if server || action {
        if let Some(file) = cache.filter(|file| file.is_file()) {
            image::load(file).context("taking the lab's server from its file")?;
        }
        image::ensure(System::default()).context("building the lab's server")?;
        if let Some(file) = cache.filter(|file| !file.is_file()) {
            image::save(file).context("keeping the lab's server in a file")?;
        }
    }
    if action {
        // Here, so that the story that needs it does not wait for a build inside a test.
        action::ensure(root, action::Profile::Ci).context("building the action's image")?;
    }
    Ok(())
}

/// The stories that another day runs, as filters, and how many stories there are.
fn stories_of_other_days() -> Result<(Vec<String>, usize)> {
    let day = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs() / (24 * 60 * 60);
    let names = |filter: &str| -> Result<Vec<String>> {
        let output = Command::new("cargo")
            .args(["nextest", "list", "--workspace", "--locked", "--message-format", "json", "--filterset", filter])
            .stderr(Stdio::inherit())
            .output()
            .context("starting cargo nextest")?;
        ensure!(output.status.success(), "cargo nextest list: {}", output.status);
        listed(&serde_json::from_slice(&output.stdout).context("reading the list of tests")?)
    };
    let every = names(&format!("({STORIES}) - ({IMAGE})"))?.len();
    let by_turns = names(&format!("({STORIES}) - ({IMAGE}) - ({EVERY_DAY})"))?;
    ensure!(every > by_turns.len() && !by_turns.is_empty(), "no story matches the filters of this program");
    let others = by_turns.into_iter().enumerate().filter(|(index, _)| index % DAYS != day as usize % DAYS);
    Ok((others.map(|(_, test)| test).collect(), every))
}

/// The tests that match, each as a filter, in an order that does not change from day to day.
fn listed(list: &serde_json::Value) -> Result<Vec<String>> {
    let suites = list["rust-suites"].as_object().context("the list of tests has no suites")?;
    let mut tests = Vec::new();
    for (binary, suite) in suites {
        let cases = suite["testcases"].as_object().into_iter().flatten();
        let matching = cases.filter(|(_, case)| case["filter-match"]["status"] == "matches");
        tests.extend(matching.map(|(name, _)| format!("(binary_id(={binary}) & test(={name}))")));
    }
    tests.sort_unstable();
    Ok(tests)
}

/// Which tests are run; nothing where none is asked for.
fn filter(asked: &Asked, wants: impl Fn(Part) -> bool) -> Option<String> {
    let parts = [
        (wants(Part::Hermetic), format!("not ({STORIES} | {SWEEP} | {IMAGE})")),
        (wants(Part::Image), IMAGE.to_owned()),
        (wants(Part::Stories), format!("({STORIES}) - ({IMAGE})")),
        (wants(Part::Sweep), SWEEP.to_owned()),
        (asked.quick, FIVE.to_owned()),
    ];
    let wanted: Vec<String> =
        parts.into_iter().filter(|(wanted, _)| *wanted).map(|(_, part)| format!("({part})")).collect();
    (!wanted.is_empty()).then(|| wanted.join(" | "))
}

fn nextest(filter: &str, asked: &Asked) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--filterset", filter]);
    if let Some(share) = &asked.partition {
        ensure!(is_share(share), "--partition is `{share}`; give a share such as 1/2");
        command.args(["--partition", &format!("slice:{share}")]);
    }
    if let Some(share) = &asked.shard {
        ensure!(is_share(share), "--shard is `{share}`; give a share such as 1/2");
        command.env("UNWIND_SHARD", share);
    }
    if asked.every_cell {
        command.env("UNWIND_ALL", "yes");
    }
    let shown: String = filter.chars().take(400).collect();
    println!("xtask: cargo nextest run --workspace --filterset '{shown}{}'", if shown == filter { "" } else { "..." });
    let status = command.status().context("starting cargo nextest")?;
    ensure!(status.success(), "not every test passed");
    Ok(())
}

fn is_share(text: &str) -> bool {
    let share = text.split_once('/').and_then(|(at, of)| Some((at.parse::<u32>().ok()?, of.parse::<u32>().ok()?)));
    share.is_some_and(|(at, of)| at >= 1 && at <= of)
}

/// Minutes and seconds.
pub(crate) fn spent(time: Duration) -> String {
    format!("{}:{:02} min", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::listed;

    #[test]
    fn the_tests_that_match_are_listed_by_their_binary_and_in_order() {
        let case = |status: &str| json!({ "filter-match": { "status": status } });
        let list = json!({ "rust-suites": {
            "two::it": { "testcases": { "z::a": case("matches"), "a::b": case("mismatch") } },
            "one::it": { "testcases": { "b::c": case("matches") } },
        } });
        let tests = listed(&list).expect("a list");
        assert_eq!(tests, ["(binary_id(=one::it) & test(=b::c))", "(binary_id(=two::it) & test(=z::a))"]);
        assert!(listed(&json!({})).is_err(), "a list of another form is not taken for an empty one");
    }
}
