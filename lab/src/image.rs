//! The images of the lab's servers, each rebuilt exactly when its sources change.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::docker::{docker, ensure_daemon};
use crate::workspace::{build_dir, ensure_tool, lock, run, sources};
use crate::{System, base, server};

/// A built image of the server, ready to be started.
#[derive(Debug, Clone)]
pub struct Image {
    /// Repository and tag; the tag is a hash over everything the image is made from.
    pub name: String,
    hash: String,
}

impl Image {
    /// Where files that belong to this version of the image are kept, and nothing else.
    pub(crate) fn work_dir(&self) -> Result<PathBuf> {
        let dir = build_dir()?.join(&self.hash);
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(dir)
    }

    fn exists(&self) -> bool {
        docker(["image", "inspect", "--format", "{{.Id}}", &self.name]).is_ok()
    }
}

/// Builds the image if docker does not have it yet. Processes that ask at the same time wait for one build.
pub fn ensure(system: System) -> Result<Image> {
    ensure_daemon()?;
    let hash = hash_of_sources(system)?;
    let image = Image { name: format!("gated-deploy-lab:{hash}"), hash };
    if image.exists() {
        return Ok(image);
    }
    let _lock = lock("image.lock")?;
    if !image.exists() {
        base::ensure(system.debian)?;
        build(&image, system).context("building the lab's server image")?;
    }
    Ok(image)
}

/// Writes the image of the stories' server to a file, for a cache; builds it before if it is not there.
pub fn save(file: &Path) -> Result<()> {
    let image = ensure(System::default())?;
    run(Command::new("docker").args(["save", "--output"]).arg(file).arg(&image.name)).map(drop)
}

/// Takes an image that [`save`] wrote. One of other sources does no harm: [`ensure`] asks for its own by name.
pub fn load(file: &Path) -> Result<()> {
    ensure_daemon()?;
    run(Command::new("docker").args(["load", "--input"]).arg(file)).map(drop)
}

fn build(image: &Image, system: System) -> Result<()> {
    eprintln!("lab: building the server's image {}, once, in two or three minutes", image.name);
    let context = tempfile::tempdir_in(image.work_dir()?).context("creating the build context")?;
    let front_end = build_front_end(&image.work_dir()?)?;
    copy_tree(&sources().join("server"), context.path())?;
    lay_app(system, &context.path().join("app"))?;
    copy_tree(&front_end.path().join("public/build"), &context.path().join("build"))?;
    copy_tree(&of_system(system).join("env"), &context.path().join("env"))?;
    let debian = format!("DEBIAN={}", base::name(system.debian));
    let seed = format!("SEED_COMMIT={}", server::SEED_COMMIT);
    run(Command::new("docker")
        .args(["build", "--force-rm", "--network", "host", "--build-arg", &debian, "--build-arg", &seed])
        .args(["--target", if system.systemd { "systemd" } else { "server" }, "--tag", &image.name])
        .arg(context.path()))
    .map(drop)
}

/// What is special about a Debian: `env` goes into each site's `.env`, `app/` is laid over the app, and `removes` names what it lacks.
fn of_system(system: System) -> PathBuf {
    sources().join("systems").join(system.debian.release())
}

/// The app's sources as they are for the framework of a system.
fn lay_app(system: System, to: &Path) -> Result<()> {
    copy_tree(&sources().join("app"), to)?;
    let removes = of_system(system).join("removes");
    if removes.is_file() {
        let names = fs::read_to_string(&removes).with_context(|| format!("reading {}", removes.display()))?;
        run(Command::new("rm").arg("--recursive").arg("--").args(names.lines()).current_dir(to))?;
    }
    let over = of_system(system).join("app");
    if over.is_dir() { copy_tree(&over, to) } else { Ok(()) }
}

/// Runs the real Vite over a copy of the app, so that `node_modules` never stands in the source tree.
fn build_front_end(work_dir: &Path) -> Result<tempfile::TempDir> {
    ensure_tool("npm", &["npm"])?;
    let copy = tempfile::tempdir_in(work_dir).context("creating a folder for the front end")?;
    copy_tree(&sources().join("app"), copy.path())?;
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(copy.path()))?;
    run(Command::new("npm").args(["run", "build"]).current_dir(copy.path()))?;
    Ok(copy)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    run(Command::new("cp").args(["--archive", "--no-target-directory"]).args([from, to])).map(drop)
}

/// Over names, whether a file can be executed, and contents: what `docker build` sees, and nothing that a checkout changes.
fn hash_of_sources(system: System) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(server::SEED_COMMIT);
    hash.update([u8::from(system.systemd)]);
    for folder in ["server", "app", &format!("systems/{}", system.debian.release())] {
        hash_tree(&mut hash, sources(), folder)?;
    }
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

/// Adds a file, or every file of a folder in the order of their names, to a hash. `name` is relative to `root`.
pub(crate) fn hash_tree(hash: &mut Sha256, root: &Path, name: &str) -> Result<()> {
    for entry in WalkDir::new(root.join(name)).sort_by_file_name() {
        let entry = entry.with_context(|| format!("listing {name} in {}", root.display()))?;
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.path();
        let content = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let mode = entry.metadata().with_context(|| format!("reading {}", path.display()))?.permissions().mode();
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
        hash.update(format!("{name}\0{}\0{}\0", mode & 0o100, content.len()));
        hash.update(content);
    }
    Ok(())
}
