//! Running other programs, and installing those that are missing.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Prints a command and runs it; failing is an error.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<()> {
    println!("xtask: {program} {}", args.join(" "));
    let status = Command::new(program).args(args).status().with_context(|| format!("starting {program}"))?;
    ensure!(status.success(), "{program} {}: {status}", args.join(" "));
    Ok(())
}

/// Whether a program is in `PATH`.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Makes sure that a program is there; as root it is installed from Debian's packages, else the line to type is the error.
pub(crate) fn need(program: &str, packages: &str) -> Result<()> {
    if installed(program) {
        return Ok(());
    }
    if !am_root()? {
        bail!("{program} is missing; install it with: sudo apt-get install --yes {packages}");
    }
    run("apt-get", &["update", "--quiet=2"])?;
    let install = ["install", "--yes", "--quiet=2", "--no-install-recommends"];
    run("apt-get", &install.into_iter().chain(packages.split(' ')).collect::<Vec<_>>())
}

fn am_root() -> Result<bool> {
    let output = Command::new("id").arg("--user").output().context("starting id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}
