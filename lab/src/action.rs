//! The action's own image, built from its Dockerfile as a user's registry would have it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::base;
use crate::docker::{docker, ensure_daemon};
use crate::image::hash_tree;
use crate::system::Debian;
use crate::workspace::{build_dir, lock, run};

/// The name under which the Dockerfile asks for its builder.
const RUST: &str = "rust:1.95-slim-bookworm";

/// What the image is made from, relative to the project's root.
const SOURCES: [&str; 8] =
    ["Dockerfile", "Cargo.toml", "Cargo.lock", ".cargo", "src", "lab/Cargo.toml", "xtask/Cargo.toml", "action.yml"];

/// How the image's binary is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quickly, to be tried: what CI tests.
    Ci,
    /// As it is shipped: small and fast.
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Release => "release",
        }
    }
}

/// Builds the image if docker does not have it yet for these very sources; gives its name.
pub fn ensure(root: &Path, profile: Profile) -> Result<String> {
    ensure_daemon()?;
    let mut hash = Sha256::new();
    hash.update(profile.name());
    for source in SOURCES {
        hash_tree(&mut hash, root, source)?;
    }
    let name = format!("gated-deploy:{}", hex(&hash.finalize()[..6]));
    if docker(["image", "inspect", "--format", "{{.Id}}", &name]).is_ok() {
        return Ok(name);
    }
    let _lock = lock("action-image.lock")?;
    ensure_builder()?;
    eprintln!("lab: building the action's image {name} from the Dockerfile");
    let profile = format!("PROFILE={}", profile.name());
    let options = ["--network", "host", "--force-rm", "--build-arg", &profile, "--tag", &name];
    run(Command::new("docker").arg("build").args(options).arg(root))?;
    Ok(name)
}

/// What an image weighs, in bytes.
pub fn size(name: &str) -> Result<u64> {
    docker(["image", "inspect", "--format", "{{.Size}}", name])?.trim().parse().context("reading the image's size")
}

/// The published image if docker has it or can pull it; else the same Debian with this machine's own toolchain in it.
fn ensure_builder() -> Result<()> {
    if docker(["image", "inspect", "--format", "{{.Id}}", RUST]).is_ok() || docker(["pull", "--quiet", RUST]).is_ok() {
        return Ok(());
    }
    base::ensure(Debian::Bookworm)?;
    let sysroot = PathBuf::from(run(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    let recipe = tempfile::tempdir_in(build_dir()?).context("creating the build context")?;
    let dockerfile = format!(
        "FROM {}\n\
         RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev make perl \
         && rm -rf /var/lib/apt/lists/*\n\
         COPY bin /usr/local/bin\n\
         COPY lib /usr/local/lib\n",
        base::name(Debian::Bookworm)
    );
    fs::write(recipe.path().join("Dockerfile"), dockerfile).context("writing the builder's Dockerfile")?;
    // Only what compiles: the toolchain's documentation is as large as the toolchain.
    let mut archive = Command::new("tar")
        .args(["--create", "--file=-", "--exclude=lib/rustlib/src", "--directory"])
        .arg(recipe.path())
        .arg("Dockerfile")
        .arg("--directory")
        .arg(&sysroot)
        .args(["bin", "lib"])
        .stdout(Stdio::piped())
        .spawn()
        .context("starting tar")?;
    let context = archive.stdout.take().context("reading tar's output")?;
    let build = Command::new("docker")
        .args(["build", "--network", "host", "--tag", RUST, "-"])
        .stdin(context)
        .output()
        .context("starting docker build")?;
    let packed = archive.wait().context("waiting for tar")?;
    std::io::stderr().write_all(&build.stderr).context("printing what docker said")?;
    ensure!(packed.success() && build.status.success(), "making {RUST}: tar {packed}, docker {}", build.status);
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
