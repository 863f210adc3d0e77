//! `cargo xtask demo`: a release goes live in front of you, and an unhealthy one is rolled back.

use std::path::Path;

use anyhow::{Result, ensure};
use gated_deploy_lab::{Options, app::Variant, runner::Finished, story::Story, story::commit};

use crate::shell;

/// Lab up, build, gate, release staging, show the summary; then an unhealthy release.
pub(crate) fn run(root: &Path) -> Result<()> {
    // Together with what runs now: alone it would choose fewer features of its libraries, and build many of them once more.
    shell::run("cargo", &["build", "--locked", "--quiet", "--package", "gated-deploy", "--package", "xtask"])?;
    let binary = crate::built_binary()?;
    println!("demo: starting a server (OpenSSH, nginx, PHP-FPM, MariaDB, a Laravel app) and a stand-in for GitHub");
    let story = Story::begin(binary, root, Options::default())?;
    let site = story.staging_site();
    println!("demo: {} answers as commit {}", site.url, &story.served()?[..8]);

    let good = commit("a good release");
    println!("demo: building and gating commit {}", &good[..8]);
    story.ship(&good, Variant::Healthy)?;

    println!("demo: without the phrase, only the plan is made");
    show(&story.staging(&good).input("approval", "").run_binary(story.binary()), 0)?;

    println!("demo: with the phrase, the release goes live");
    show(&story.deploy(&good), 0)?;
    println!("demo: {} answers as commit {}", site.url, &story.served()?[..8]);

    let unhealthy = commit("an unhealthy release");
    println!("demo: now a release whose every page answers 500");
    story.ship(&unhealthy, Variant::Sick500)?;
    show(&story.deploy(&unhealthy), 3)?;
    println!("demo: {} answers as commit {}, as before", site.url, &story.served()?[..8]);
    Ok(())
}

/// The log as the runner shows it, then the job summary.
fn show(finished: &Finished, exit_code: i32) -> Result<()> {
    println!("{}", finished.log.trim_end());
    println!("\n----- job summary -----\n{}\n-----------------------\n", finished.summary.trim_end());
    ensure!(finished.exit_code == exit_code, "the run ended with {}, not {exit_code}", finished.exit_code);
    Ok(())
}
