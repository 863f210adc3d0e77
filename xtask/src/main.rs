//! What developers and CI run.

mod bench;
mod demo;
mod dependencies;
mod documents;
mod field;
mod fuzz;
mod image;
mod imports;
mod lab;
mod line;
mod pictures;
mod release;
mod shell;
mod sweep;
mod sync;
mod test;
mod tidy;
mod timings;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What developers and CI run")]
struct Line {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure what a release costs on the runner
    Bench {
        #[command(subcommand)]
        part: Option<BenchPart>,
    },
    /// Show a release that goes live and an unhealthy one that is rolled back
    Demo,
    /// Release to many kinds of servers and apps (lab/shapes), and print the matrix
    Field(field::Asked),
    /// Look for bytes that break a parser; every target if none is named
    Fuzz {
        target: Option<String>,
        /// Executions, for each target
        #[arg(long, default_value_t = 10_000_000)]
        runs: u64,
        /// Seconds, for each target
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// Do not trace comparisons: several times as many executions, which find less new
        #[arg(long)]
        fast: bool,
    },
    /// Start a server to play with, until Enter is pressed
    Lab,
    /// Take the pictures of job summaries in docs/pictures, light and dark
    Pictures,
    /// Make what a release of the action consists of; `--dry-run` tries all of it on this machine
    Release(release::Asked),
    /// Put each fault into each row, at each point of its work
    Sweep(sweep::Asked),
    /// Write action.yml, the policy's schema and docs/inputs.md from the table of inputs, and docs/errors.md from the errors
    Sync {
        /// Write nothing; fail if one of them is not up to date
        #[arg(long)]
        check: bool,
    },
    /// Build the action's image, and the base images where no registry is reached
    Image {
        /// As it is shipped, and say how large it is; else as CI tries it, in a third of the time
        #[arg(long)]
        release: bool,
    },
    /// Run everything that CI runs, or a part of it
    Test(test::Asked),
    /// Check imports, words and scripts: what compiler and clippy do not check
    Tidy,
    /// Print every text that a user may read on one page, errors with their codes
    Words,
}

#[derive(clap::Subcommand)]
enum BenchPart {
    /// What the way to the server costs: a plan, a release and a rollback beside plain ssh
    Line(line::Asked),
}

fn main() -> Result<()> {
    let root = root()?;
    match Line::parse().task {
        Task::Bench { part: None } => bench::run(root),
        Task::Bench { part: Some(BenchPart::Line(asked)) } => line::run(root, &asked),
        Task::Demo => demo::run(root),
        Task::Field(asked) => field::run(root, &asked),
        Task::Fuzz { target, runs, seconds, fast } => {
            fuzz::run(root, target.as_deref(), &fuzz::Limits { runs, seconds, fast })
        }
        Task::Image { release } => image::run(root, release),
        Task::Lab => lab::run(),
        Task::Pictures => pictures::run(root),
        Task::Release(asked) => release::run(root, &asked),
        Task::Sweep(asked) => sweep::run(root, &asked),
        Task::Sync { check } => sync::run(root, check),
        Task::Test(asked) => test::run(root, &asked),
        Task::Tidy => tidy::run(root),
        Task::Words => words::run(root),
    }
}

/// The project's folder.
fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("finding the folder above xtask")
}

/// The action's binary, which Cargo puts beside ours.
fn built_binary() -> Result<PathBuf> {
    let ours = std::env::current_exe().context("finding the folder of built programs")?;
    let binary = ours.with_file_name("gated-deploy");
    ensure!(binary.is_file(), "{} is not there; build it with: cargo build", binary.display());
    Ok(binary)
}
