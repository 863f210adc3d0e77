//! The emulation is held to the vectors taken from the runner's sources, and to what a step can see and do.

mod image;
mod leaks;
mod log;
mod parsers;
mod stages;

use std::path::PathBuf;
use std::time::Duration;

use super::Runner;

/// Far more than any step here needs, so that a slow machine does not fail a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// The step that runs its input `script`.
fn step() -> PathBuf {
    data("step.sh")
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/runner").join(name)
}

/// A runner whose step runs this shell script.
fn runner_of(script: &str) -> Runner {
    Runner::new().input("script", script).time_limit(PATIENCE)
}
