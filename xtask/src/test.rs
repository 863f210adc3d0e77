//! `cargo xtask test`: what CI runs.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};

use crate::{shell, tidy};

/// Everything, in the order in which it fails soonest.
pub(crate) fn run(root: &Path) -> Result<()> {
    let began = Instant::now();
    let minutes = |what: &str| println!("xtask: {what} after {:.1} min", began.elapsed().as_secs_f64() / 60.0);
    // A C compiler, make and perl build libssh2's OpenSSL; the stories need the rest.
    for (program, package) in [("cc", "gcc"), ("make", "make"), ("perl", "perl"), ("shellcheck", "shellcheck")] {
        shell::need(program, package)?;
    }
    for (program, package) in [("sshd", "openssh-server"), ("ssh-keygen", "openssh-client"), ("git", "git")] {
        // sshd lies in /usr/sbin, which may not be in the path of a user.
        if !Path::new("/usr/sbin").join(program).exists() {
            shell::need(program, package)?;
        }
    }
    shell::run("cargo", &["fmt", "--all", "--check"])?;
    tidy::run(root)?;
    shell::run(
        "cargo",
        &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"],
    )?;
    crate::sync::run(root, true)?;
    minutes("style is checked");

    gated_deploy_lab::image::ensure().context("building the lab's server")?;
    minutes("the lab is built");
    // Here, so that the story that needs it does not wait for a build inside a test.
    gated_deploy_lab::action::ensure(root, gated_deploy_lab::action::Profile::Ci).context("building the action's image")?;
    minutes("the action's image is built");

    if shell::installed("cargo-nextest") {
        shell::run("cargo", &["nextest", "run", "--workspace", "--locked", "--no-fail-fast"])?;
        shell::run("cargo", &["test", "--workspace", "--locked", "--doc", "--quiet"])?;
    } else {
        shell::run("cargo", &["test", "--workspace", "--locked", "--no-fail-fast", "--", "--test-threads=2"])?;
    }
    minutes("everything is tested");
    gated_deploy_lab::stop_own_daemon()
}
