//! Where the lab's sources are, and where it keeps what it builds.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// The lab's own folder in the source tree, with `server/` and `app/`.
pub(crate) fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `target/lab`, in the build folder that the running program itself came from.
pub(crate) fn build_dir() -> Result<PathBuf> {
    let dir = cargo_target_dir().join("lab");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

fn cargo_target_dir() -> PathBuf {
    // Cargo marks its target folder with CACHEDIR.TAG, wherever the configuration put it.
    std::env::current_exe()
        .ok()
        .and_then(|program| program.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists()).map(Path::to_path_buf))
        .unwrap_or_else(|| sources().join("../target"))
}

const SCRATCH: &str = "gated-deploy-scratch-";
const MEMORY: &str = "/dev/shm";
/// An app's tree takes 13; several tests run at once, each with a few.
const ENOUGH_MEMORY_MB: u64 = 2048;

/// A new folder in memory, where the machine has room there: some disks take a millisecond to create a file, and an app has thousands.
/// It is removed when it is dropped, or by a later process if this one is killed.
pub(crate) fn scratch(what: &str) -> Result<tempfile::TempDir> {
    let memory = free_megabytes(MEMORY).is_some_and(|free| free >= ENOUGH_MEMORY_MB);
    let parent = if memory { PathBuf::from(MEMORY) } else { build_dir()?.join("scratch") };
    fs::create_dir_all(&parent).with_context(|| format!("creating {}", parent.display()))?;
    remove_leftovers(&parent)?;
    let prefix = format!("{SCRATCH}{}-{what}-", std::process::id());
    let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(&parent);
    made.with_context(|| format!("creating a folder in {}", parent.display()))
}

fn free_megabytes(path: &str) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize) >> 20)
}

/// Removes the folders of processes that were killed before they could.
fn remove_leftovers(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent).with_context(|| format!("listing {}", parent.display()))? {
        let entry = entry.with_context(|| format!("listing {}", parent.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(SCRATCH).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !is_running(pid)) {
            // Another process may remove it at the same moment; then nothing is left to do.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// Holds `name` for this process among all that share the build folder, until the returned file is dropped.
pub(crate) fn lock(name: &str) -> Result<File> {
    let path = build_dir()?.join(name);
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.lock().with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Whether a process with this number exists.
pub(crate) fn is_running(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// Makes sure that `program` can be run; as root it is installed from the Debian packages named.
pub(crate) fn ensure_tool(program: &str, packages: &[&str]) -> Result<()> {
    if installed(program) {
        return Ok(());
    }
    let _lock = lock("apt.lock")?;
    if installed(program) {
        return Ok(());
    }
    if !is_root() {
        bail!("the lab needs {program}; install it with: sudo apt-get install --yes {}", packages.join(" "));
    }
    run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").arg("update"))?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages))
    .map(drop)
}

/// Whether `program` is in `PATH`.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a command to its end and returns what it printed; a failure carries everything it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting `{line}`: is it installed and in PATH?"))?;
    if !output.status.success() {
        bail!("`{line}`: {}\n{}", output.status, both_outputs(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs two commands at once, the first's output being the second's input; both must succeed.
pub(crate) fn pipe(from: &mut Command, into: &mut Command) -> Result<()> {
    let lines = [describe(from), describe(into)];
    let mut source = from
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{}`: is it installed and in PATH?", lines[0]))?;
    let stream = source.stdout.take().context("taking its output")?;
    let output = into.stdin(stream).output();
    let status = source.wait().with_context(|| format!("waiting for `{}`", lines[0]))?;
    let output = output.with_context(|| format!("starting `{}`: is it installed and in PATH?", lines[1]))?;
    if !status.success() || !output.status.success() {
        bail!("`{}`: {status}, into `{}`: {}\n{}", lines[0], lines[1], output.status, both_outputs(&output));
    }
    Ok(())
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn both_outputs(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}
