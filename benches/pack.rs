//! How long a bundle takes, against `tar czf` on the same tree in the same run, and how much memory.
//!
//! `cargo bench --bench pack` makes a tree of 200 MB; `cargo bench --bench pack -- FOLDER` takes a built app instead.
//! Ratios count, not seconds: machines differ.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use gated_deploy::bundle::{
    check::Findings,
    pace::Pace,
    pack::{self, Files},
    read,
    tree::Tree,
};

const ROUNDS: usize = 3;
const TREE_BYTES: usize = 200_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).map(PathBuf::from);
    let source = match given {
        Some(given) => given,
        None => made(&folder.path().join("app"))?,
    };
    let baseline = best(|| tar(&source, &folder.path().join("baseline.tar.gz")))?;
    let output = folder.path().join("out");
    let files = Files::in_folder(&output, &"0".repeat(40).parse()?);
    let (mut look, mut write, mut verify) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let pace = Pace::default();
        let began = Instant::now();
        let tree = Tree::look(&source, &output, &[], &mut Findings::default(), &pace)?;
        look = look.min(began.elapsed());
        let began = Instant::now();
        pack::write(&tree, &pack::manifest(&tree, &"0".repeat(40).parse()?), &files, &pace)?;
        write = write.min(began.elapsed());
        let began = Instant::now();
        read::inspect(&files.bundle)?;
        verify = verify.min(began.elapsed());
    }
    let ratio = |time: Duration| baseline.as_secs_f64() / time.as_secs_f64();
    let size = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
    println!(
        "tar czf            {:7.2} s  {} bytes",
        baseline.as_secs_f64(),
        size(&folder.path().join("baseline.tar.gz"))?
    );
    println!("look               {:7.2} s", look.as_secs_f64());
    println!(
        "pack               {:7.2} s  {} bytes, {:.1} times as fast as tar czf",
        write.as_secs_f64(),
        size(&files.bundle)?,
        ratio(write)
    );
    println!("verify             {:7.2} s", verify.as_secs_f64());
    println!(
        "all three          {:7.2} s  {:.1} times as fast as tar czf alone",
        (look + write + verify).as_secs_f64(),
        ratio(look + write + verify)
    );
    println!("peak memory        {}", peak_memory()?);
    Ok(())
}

/// A tree of text as source code is: 4 KB files, some large ones, little noise.
fn made(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut written = 0;
    for number in 0.. {
        if written >= TREE_BYTES {
            break;
        }
        let folder = root.join(format!("vendor/package{}", number % 400));
        fs::create_dir_all(&folder)?;
        let length = if number % 50 == 0 { 300_000 } else { 4_000 };
        let mut text = String::with_capacity(length + 64);
        while text.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(&format!("    public function get{}(): string {{ return '{:x}'; }}\n", state % 997, state));
        }
        written += text.len();
        fs::write(folder.join(format!("Class{number}.php")), text)?;
    }
    Ok(root.to_owned())
}

fn tar(source: &Path, target: &Path) -> Result<(), Box<dyn Error>> {
    let status = Command::new("tar").arg("-C").arg(source).arg("-czf").arg(target).arg(".").status()?;
    if status.success() { Ok(()) } else { Err(format!("tar ended with {status}").into()) }
}

fn best(mut work: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        work()?;
        best = best.min(began.elapsed());
    }
    Ok(best)
}

/// The most that this process ever held, as Linux counts it.
fn peak_memory() -> Result<String, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("Linux tells no peak memory")?;
    Ok(line.trim().to_owned())
}
