//! `cargo xtask bench line`: what the way to the server costs.
//!
//! A plan, a release and a rollback by hand through a relay that delays, beside `lab/plain-deploy.sh`, which does the same steps by one
//! `ssh` or `scp` each. They take turns, so that a machine that others use is slow for all of them; the ratios count.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use gated_deploy_lab::{
    Options, Site,
    app::Variant,
    relay::Relay,
    runner::Runner,
    story::{Story, commit},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Asked {
    /// How often each is measured; an odd number
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Round trips to the server, in milliseconds
    #[arg(long, value_delimiter = ',', default_value = "0,20,80")]
    round_trips: Vec<u64>,
    /// A built action to measure, more than one to compare them; else the one that is built beside this
    #[arg(long, value_name = "PATH")]
    binary: Vec<PathBuf>,
    /// Only these steps: plan, release, rollback
    #[arg(long, value_delimiter = ',', default_value = "plan,release,rollback")]
    steps: Vec<String>,
}

/// What was measured of one contender, at one round trip, for one step.
#[derive(Debug, Default, Clone)]
struct Measured {
    times: Vec<Duration>,
    turns: Vec<usize>,
    long_turns: Vec<usize>,
    connections: Vec<usize>,
}

impl Measured {
    fn seconds(&self) -> f64 {
        median(&self.times).as_secs_f64()
    }
}

fn median<T: Copy + Ord + Default>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The way to a server.
struct Line {
    ssh: Relay,
    http: Relay,
}

pub(crate) fn run(root: &Path, asked: &Asked) -> Result<()> {
    ensure!(asked.runs % 2 == 1, "--runs {}: a median needs an odd number", asked.runs);
    let mut binaries = asked.binary.clone();
    if binaries.is_empty() {
        binaries.push(crate::built_binary()?);
    }
    let story = Story::begin(&binaries[0], root, Options::default())?;
    let plain = Plain::new(root, &story)?;
    // Whatever is released replaces the other one, so each rollback has a target.
    let commits = [commit("one"), commit("other")];
    for commit in &commits {
        story.ship(commit, Variant::Healthy)?;
        ensure!(story.deploy(commit).exit_code == 0, "a release does not go live");
    }
    plain.bring(&story.build(&commits[0], &gated_deploy_lab::app::source(&commits[0], Variant::Healthy)?)?.bundle)?;
    plain.warm(&story)?;

    let contenders = binaries.len() + 1;
    let mut all = Vec::new();
    let mut turn = 0;
    for round_trip in asked.round_trips.iter().copied().map(Duration::from_millis) {
        let line = Line {
            ssh: Relay::to(story.lab.ssh_addr(), round_trip)?,
            http: Relay::to(story.lab.http_addr(), round_trip)?,
        };
        let mut measured = vec![vec![Measured::default(); contenders]; asked.steps.len()];
        for run in 0..asked.runs {
            for place in 0..contenders {
                // Each begins as often as the others.
                let contender = (place + run) % contenders;
                turn += 1;
                for (step, of_step) in asked.steps.iter().zip(&mut measured) {
                    let needs_release = step == "rollback" && !asked.steps.iter().any(|step| step == "release");
                    if needs_release {
                        match binaries.get(contender) {
                            Some(binary) => ours(&story, &line, &commits[turn % 2], "release", binary)?,
                            None => plain.run(&line, "release", turn)?,
                        };
                    }
                    let before = (line.ssh.turns(), line.ssh.long_turns(), line.ssh.connections());
                    let took = match binaries.get(contender) {
                        Some(binary) => ours(&story, &line, &commits[turn % 2], step, binary)?,
                        None => plain.run(&line, step, turn)?,
                    };
                    of_step[contender].times.push(took);
                    of_step[contender].turns.push(line.ssh.turns() - before.0);
                    of_step[contender].long_turns.push(line.ssh.long_turns() - before.1);
                    of_step[contender].connections.push(line.ssh.connections() - before.2);
                }
            }
        }
        print(round_trip, &asked.steps, &binaries, &measured);
        all.push((round_trip, measured));
    }
    print_waits(&all, &asked.steps, &binaries);
    Ok(())
}

fn ours(story: &Story, line: &Line, commit: &str, step: &str, binary: &Path) -> Result<Duration> {
    let (ssh, http) = (line.ssh.address(), line.http.address());
    let job = match step {
        "plan" => story.staging(commit).input("approval", ""),
        "release" => story.staging(commit),
        "rollback" => rollback(story),
        other => anyhow::bail!("--steps {other}: there are plan, release and rollback"),
    };
    let job = job
        .input("ssh-host", &ssh.ip().to_string())
        .input("ssh-port", &ssh.port().to_string())
        .input("ssh-known-hosts", &story.lab.known_hosts_for(&ssh.ip().to_string(), ssh.port()))
        .input("health-address", &http.to_string());
    let finished = job.run_binary(binary);
    ensure!(finished.exit_code == 0, "{step} by {} failed:\n{}", binary.display(), finished.log);
    Ok(finished.duration)
}

fn rollback(story: &Story) -> Runner {
    let runner = story
        .runner(&commit("one"))
        .secret(story.lab.private_key())
        .secret(&story.staging_site().health_token)
        .event("workflow_dispatch", serde_json::json!({ "inputs": {}, "ref": "refs/heads/develop" }));
    let inputs = story.staging_inputs();
    let needed = inputs.iter().filter(|(name, _)| !name.starts_with("build-") && **name != "github-token");
    needed
        .fold(runner, |runner, (name, value)| runner.input(name, value))
        .input("stage", "rollback")
        .input("environment", "staging")
}

/// The steps by `ssh` and `scp`, on the server's other site.
struct Plain {
    script: PathBuf,
    folder: tempfile::TempDir,
    site: Site,
}

impl Plain {
    fn new(root: &Path, story: &Story) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let key = folder.path().join("key");
        fs::write(&key, story.lab.private_key()).context("writing the key")?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).context("closing the key")?;
        fs::write(folder.path().join("known_hosts"), story.lab.known_hosts_for("*", 22))
            .context("writing the host key")?;
        Ok(Self { script: root.join("lab/plain-deploy.sh"), folder, site: story.production_site() })
    }

    fn bring(&self, bundle: &Path) -> Result<()> {
        fs::copy(bundle, self.folder.path().join("bundle.tar.gz")).context("copying the bundle").map(drop)
    }

    /// A first release, so that a rollback has a target as ours has.
    fn warm(&self, story: &Story) -> Result<()> {
        let none = Duration::ZERO;
        let line = Line { ssh: Relay::to(story.lab.ssh_addr(), none)?, http: Relay::to(story.lab.http_addr(), none)? };
        self.run(&line, "release", 0).map(drop)
    }

    fn run(&self, line: &Line, step: &str, turn: usize) -> Result<Duration> {
        let ssh = line.ssh.address();
        let began = Instant::now();
        let output = Command::new("bash")
            .arg(&self.script)
            .arg(step)
            .env("HOST", ssh.ip().to_string())
            .env("PORT", ssh.port().to_string())
            .env("KEY", self.folder.path().join("key"))
            .env("KNOWN_HOSTS", self.folder.path().join("known_hosts"))
            .env("BASE", &self.site.base_dir)
            .env("ENVIRONMENT", &self.site.env_name)
            .env("URL", &self.site.url)
            .env("ADDRESS", line.http.address().to_string())
            .env("TOKEN", &self.site.health_token)
            .env("BUNDLE", self.folder.path().join("bundle.tar.gz"))
            .env("RELEASE", format!("20260101_{turn:06}-plain"))
            .stdin(Stdio::null())
            .output()
            .context("starting bash")?;
        let took = began.elapsed();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{step} by {} failed:\n{out}\n{err}", self.script.display());
        Ok(took)
    }
}

fn name(binaries: &[PathBuf], contender: usize) -> String {
    binaries.get(contender).map_or_else(|| "plain ssh".to_owned(), |binary| binary.display().to_string())
}

fn print(round_trip: Duration, steps: &[String], binaries: &[PathBuf], measured: &[Vec<Measured>]) {
    for (step, of_step) in steps.iter().zip(measured) {
        let plain = of_step[binaries.len()].seconds();
        for (contender, found) in of_step.iter().enumerate() {
            let range = (found.times.iter().min(), found.times.iter().max());
            let (least, most) = (range.0.copied().unwrap_or_default(), range.1.copied().unwrap_or_default());
            println!(
                "{:>3} ms  {step:<8}  {:>6.2} s ({:.2} to {:.2})  {:.2} of plain ssh  {:>3} turns ({} long), {:>2} connections  {}",
                round_trip.as_millis(),
                found.seconds(),
                least.as_secs_f64(),
                most.as_secs_f64(),
                found.seconds() / plain,
                median(&found.turns),
                median(&found.long_turns),
                median(&found.connections),
                name(binaries, contender)
            );
        }
    }
}

/// How many round trips a step waits for: what it takes longer over the longest line, divided by how much longer that is.
fn print_waits(all: &[(Duration, Vec<Vec<Measured>>)], steps: &[String], binaries: &[PathBuf]) {
    let longest = all.iter().max_by_key(|(round_trip, _)| *round_trip);
    let shortest = all.iter().min_by_key(|(round_trip, _)| *round_trip);
    let (Some((far, slow)), Some((near, fast))) = (longest, shortest) else { return };
    if far == near {
        return;
    }
    for (at, step) in steps.iter().enumerate() {
        for contender in 0..=binaries.len() {
            let longer = slow[at][contender].seconds() - fast[at][contender].seconds();
            println!(
                "waited for: {:>5.1} round trips  {step:<8}  {}",
                longer / (*far - *near).as_secs_f64(),
                name(binaries, contender)
            );
        }
    }
}
