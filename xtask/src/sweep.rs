//! `cargo xtask sweep`: every cell of the matrix in `tests/it/unwind.rs`, of which CI carries out a part each day.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use gated_deploy_lab::System;

const TEST: &str = "unwind::f79_f82_f86_whatever_goes_wrong_with_a_row_the_site_is_whole";

/// Which cells: those whose names begin like one of these, and of them a part like `2/4`.
#[derive(Debug, clap::Args)]
pub(crate) struct Asked {
    /// Only cells whose names begin so: STAGE/ROW/FAULT/POINT, several divided by commas
    #[arg(long, value_name = "CELLS")]
    only: Option<String>,
    /// Only this part of them, for machines side by side: 2/4
    #[arg(long, value_name = "PART/OF")]
    shard: Option<String>,
}

pub(crate) fn run(root: &Path, asked: &Asked) -> Result<()> {
    gated_deploy_lab::image::ensure(System::default()).context("building the lab's server")?;
    let mut command = Command::new("cargo");
    command
        .current_dir(root)
        .args(["nextest", "run", "--workspace", "--test", "it", "--no-capture", TEST])
        .env("UNWIND_ALL", "yes");
    for (variable, value) in [("UNWIND_ONLY", &asked.only), ("UNWIND_SHARD", &asked.shard)] {
        if let Some(value) = value {
            command.env(variable, value);
        }
    }
    let status = command.status().context("starting cargo nextest")?;
    ensure!(status.success(), "not every cell is whole; the matrices above say which");
    gated_deploy_lab::stop_own_daemon()
}
