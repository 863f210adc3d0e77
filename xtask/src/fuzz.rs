//! `cargo xtask fuzz`: libFuzzer at the parsers of foreign bytes (docs/fuzzing.md).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// How long, for each target; whichever comes first.
pub(crate) struct Limits {
    pub(crate) runs: u64,
    pub(crate) seconds: u64,
    /// Without traces of comparisons, in a build of its own.
    pub(crate) fast: bool,
}

pub(crate) fn run(root: &Path, target: Option<&str>, limits: &Limits) -> Result<()> {
    let known = targets(root)?;
    let chosen: Vec<&String> = known.iter().filter(|name| target.is_none_or(|target| *name == target)).collect();
    ensure!(!chosen.is_empty(), "there is no target {}; there are {}", target.unwrap_or_default(), known.join(", "));
    // libFuzzer itself is C++.
    shell::need("g++", "g++")?;
    if !shell::installed("cargo-fuzz") {
        bail!("cargo-fuzz is missing; install it with: cargo install --locked cargo-fuzz");
    }
    for name in chosen {
        let (found, broken) = (folder(root, "corpus", name)?, folder(root, "artifacts", name)?);
        println!("xtask: fuzzing {name}; what breaks it goes to {}", broken.display());
        // No sanitizer: the parsers are safe Rust, what is looked for are panics, hangs and memory, and the stable compiler has none.
        let status = Command::new("cargo")
            .current_dir(root)
            .args(["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none"])
            .args(limits.fast.then_some("--no-trace-compares"))
            .arg("parsers")
            .args([&found, &root.join("fuzz/corpus").join(name)])
            .arg("--")
            .arg(format!("-artifact_prefix={}/", broken.display()))
            .arg(format!("-runs={}", limits.runs))
            .arg(format!("-max_total_time={}", limits.seconds))
            .args(["-timeout=1", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1"])
            .env("FUZZ_TARGET", name)
            .status()
            .context("starting cargo fuzz")?;
        ensure!(status.success(), "{name} broke ({status}); docs/fuzzing.md says what to do");
    }
    Ok(())
}

/// A test holds the folders of the corpus to the targets.
fn targets(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("fuzz/corpus");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
        names.push(
            entry.with_context(|| format!("listing {}", folder.display()))?.file_name().to_string_lossy().into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

fn folder(root: &Path, kind: &str, target: &str) -> Result<PathBuf> {
    let folder = root.join("fuzz/target").join(kind).join(target);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}
