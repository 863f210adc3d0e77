//! `cargo xtask image`: the action's image.

use std::path::Path;

use anyhow::{Result, ensure};
use gated_deploy_lab::action::{self, Profile};

/// The most that the shipped image may weigh, in bytes: it is pulled by every job.
const LIMIT: u64 = 15_000_000;

/// Builds it and prints its name; the one that is shipped is weighed as well.
pub(crate) fn run(root: &Path, release: bool) -> Result<()> {
    let profile = if release { Profile::Release } else { Profile::Ci };
    let name = action::ensure(root, profile)?;
    println!("{name}");
    if release {
        let size = action::size(&name)?;
        println!("{:.1} MB of at most {:.1} MB", size as f64 / 1e6, LIMIT as f64 / 1e6);
        ensure!(size < LIMIT, "the image is too large: {size} bytes, and at most {LIMIT} are allowed");
    }
    Ok(())
}
