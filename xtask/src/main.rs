//! What developers and CI run.

mod sync;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What developers and CI run")]
struct Line {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write action.yml, the policy's schema and docs/inputs.md from the table of inputs
    Sync {
        /// Write nothing; fail if one of them is not up to date
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    let root = root()?;
    match Line::parse().task {
        Task::Sync { check } => sync::run(root, check),
    }
}

/// The project's folder.
fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("finding the folder above xtask")
}
