//! `cargo xtask sweep`: every cell of the matrix in `tests/it/unwind.rs`, where CI carries out a fifth.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

pub(crate) fn run(root: &Path) -> Result<()> {
    gated_deploy_lab::image::ensure().context("building the lab's server")?;
    let status = Command::new("cargo")
        .current_dir(root)
        .args(["nextest", "run", "--test", "it", "--no-fail-fast", "--no-capture", "unwind::"])
        .env("UNWIND_ALL", "yes")
        .status()
        .context("starting cargo nextest")?;
    ensure!(status.success(), "not every cell is whole; the matrices above say which");
    gated_deploy_lab::stop_own_daemon()
}
