//! `cargo xtask release`: what a release of the action consists of. `.github/workflows/release.yml` calls the parts; `--dry-run` makes all of
//! them on this machine and tries them with a registry on loopback.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};
use gated_deploy::domain::Sha256Digest;
use gated_deploy_lab::{
    Options,
    action::{self, Profile},
    gateway,
    registry::Registry,
    runner::{Runner, image_of_action_yml},
    story::Story,
};

use crate::{bench, shell, sync};

/// The version of the whole workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where an image of the dry run lies in its registry.
const REPOSITORY: &str = "owner/gated-deploy";
/// Megabits a second of the line for which the time of a first pull is worked out.
const LINE: f64 = 100.0;

#[derive(Args)]
pub(crate) struct Asked {
    /// Make everything in a folder, push the image to a registry on loopback, and start the released action from there
    #[arg(long)]
    dry_run: bool,
    /// The folder of the dry run
    #[arg(long, default_value = "target/release-dry-run", value_name = "DIR")]
    out: PathBuf,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Fail unless this tag is the version of Cargo.toml and has its section in the changelog
    Check { tag: String },
    /// Print the section of the changelog
    Notes { tag: String },
    /// Write into action.yml the image that the action starts: `ghcr.io/OWNER/gated-deploy@sha256:...`
    Pin { image: String },
    /// Take the binary of this machine's architecture out of an image, into a folder
    Binary { image: String, folder: PathBuf },
    /// Write the list of all dependencies (SPDX) into a folder
    Sbom { folder: PathBuf },
    /// Write the checksums of the binaries in a folder into it
    Sums { folder: PathBuf },
}

pub(crate) fn run(root: &Path, asked: &Asked) -> Result<()> {
    match &asked.part {
        Some(_) if asked.dry_run => bail!("`--dry-run` does all parts: leave the part out"),
        None if !asked.dry_run => bail!("say what to do: `--dry-run`, or a part (`cargo xtask release --help`)"),
        None => dry_run(root, &root.join(&asked.out)),
        Some(Part::Check { tag }) => check(root, tag),
        Some(Part::Notes { tag }) => {
            print!("{}", notes(&changelog(root)?, version_of(tag)?)?);
            Ok(())
        }
        Some(Part::Pin { image }) => pin(root, image),
        Some(Part::Binary { image, folder }) => binary(image, folder),
        Some(Part::Sbom { folder }) => sbom(root, folder),
        Some(Part::Sums { folder }) => sums(folder),
    }
}

/// `1.2.3` of `v1.2.3`.
fn version_of(tag: &str) -> Result<&str> {
    let version = tag.strip_prefix('v').with_context(|| format!("the tag `{tag}` does not begin with `v`"))?;
    let numbers = version.split('.').filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    ensure!(numbers.count() == 3 && version.matches('.').count() == 2, "the tag `{tag}` is not of the form v1.2.3");
    Ok(version)
}

fn changelog(root: &Path) -> Result<String> {
    fs::read_to_string(root.join("CHANGELOG.md")).context("reading CHANGELOG.md")
}

fn check(root: &Path, tag: &str) -> Result<()> {
    let version = version_of(tag)?;
    ensure!(version == VERSION, "the tag is {tag}, and Cargo.toml says {VERSION}: set `version` and update Cargo.lock");
    notes(&changelog(root)?, version)?;
    sync::run(root, true)
}

/// What stands below `## VERSION` in the changelog, with or without a date behind it.
fn notes(changelog: &str, version: &str) -> Result<String> {
    let is_it = |heading: &str| heading.split_whitespace().next() == Some(version);
    let mut sections = changelog.split("\n## ").skip(1);
    let section = sections.find(|section| section.lines().next().is_some_and(is_it));
    let section =
        section.with_context(|| format!("CHANGELOG.md has no section `## {version}`: rename `## Unreleased`"))?;
    let text = section.split_once('\n').map_or("", |(_, text)| text).trim();
    ensure!(!text.is_empty(), "the section `## {version}` of CHANGELOG.md is empty");
    Ok(format!("{text}\n"))
}

/// Nothing but a digest says which image it is: a tag can be moved to another one.
fn pin(root: &Path, image: &str) -> Result<()> {
    let digest = image.split_once("@sha256:").map(|(_, digest)| digest).unwrap_or_default();
    ensure!(
        digest.parse::<Sha256Digest>().is_ok(),
        "`{image}` is not NAME@sha256: and 64 digits: the released action names its image by its digest"
    );
    let path = root.join("action.yml");
    fs::write(&path, sync::action_yml(&format!("docker://{image}")))
        .with_context(|| format!("writing {}", path.display()))
}

/// What the binary of a release is called, for this machine's architecture.
fn binary_name() -> String {
    format!("gated-deploy-{}-linux", std::env::consts::ARCH)
}

fn binary(image: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let taken = bench::from_image(image, folder)?;
    let version = Command::new(&taken).arg("--version").output().context("starting the binary")?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    ensure!(version.ends_with(VERSION), "the binary says `{version}`, and this is {VERSION}");
    fs::rename(&taken, folder.join(binary_name())).context("naming the binary")
}

/// The version that is installed: what a release runs does not change by itself.
const CARGO_SBOM: &str = "cargo-sbom@0.10.0";

fn sbom(root: &Path, folder: &Path) -> Result<()> {
    if !shell::installed("cargo-sbom") {
        shell::run("cargo", &["install", "--locked", CARGO_SBOM])?;
    }
    let sbom = Command::new("cargo")
        .args(["sbom", "--cargo-package", "gated-deploy", "--output-format", "spdx_json_2_3", "--project-directory"])
        .arg(root)
        .output()
        .context("starting cargo sbom")?;
    ensure!(sbom.status.success(), "cargo sbom: {}", String::from_utf8_lossy(&sbom.stderr));
    let listed: serde_json::Value = serde_json::from_slice(&sbom.stdout).context("reading the list of dependencies")?;
    let packages = listed["packages"].as_array().map_or(0, Vec::len);
    ensure!(packages > 50, "the list of dependencies names {packages} packages only");
    fs::write(folder.join("sbom.spdx.json"), &sbom.stdout).context("writing the list of dependencies")
}

fn sums(folder: &Path) -> Result<()> {
    let mut sums = String::new();
    let mut names: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("listing {}", folder.display()))?;
    names.sort();
    for path in names {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("gated-deploy-") {
            let digest = Sha256Digest::of(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
            sums.push_str(&format!("{digest}  {name}\n"));
        }
    }
    ensure!(!sums.is_empty(), "{} has no binary", folder.display());
    fs::write(folder.join("SHA256SUMS"), sums).context("writing the checksums")
}

fn dry_run(root: &Path, out: &Path) -> Result<()> {
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| format!("emptying {}", out.display()))?;
    }
    let files = out.join("files");
    let text = changelog(root)?;
    // Before a release its section has no number yet.
    let notes = notes(&text, VERSION).or_else(|_| notes(&text, "Unreleased"))?;
    let image = action::ensure(root, Profile::Release)?;
    binary(&image, &files)?;
    sbom(root, &files)?;
    sums(&files)?;
    fs::write(out.join("notes.md"), notes).context("writing the notes")?;

    let registry = Registry::start()?;
    let pushed = registry.push(&image, REPOSITORY)?;
    let size = registry.size()?;
    fs::copy(root.join("action.yml"), out.join("action.yml")).context("copying action.yml")?;
    pin(out, &pushed)?;
    println!(
        "the image is pulled in {:.1} MB: {:.1} s at {LINE} Mbit/s",
        size as f64 / 1e6,
        size as f64 * 8.0 / 1e6 / LINE
    );
    try_out(root, &out.join("action.yml"))?;
    for entry in ["action.yml", "notes.md", "files/SHA256SUMS", "files/sbom.spdx.json"] {
        println!("{}", out.join(entry).display());
    }
    println!("{}", files.join(binary_name()).display());
    Ok(())
}

/// Starts the action that was released, as the runner does: it pulls the image that `action.yml` names, and runs main and post.
fn try_out(root: &Path, action_yml: &Path) -> Result<()> {
    let image = image_of_action_yml(action_yml)?;
    let began = Instant::now();
    let pulled = Command::new("docker").args(["pull", "--quiet", &image.name]).output().context("starting docker")?;
    ensure!(pulled.status.success(), "pulling {}: {}", image.name, String::from_utf8_lossy(&pulled.stderr));
    let pull = began.elapsed();

    let story = Story::begin_at(&crate::built_binary()?, root, Options::default(), gateway()?)?;
    let site = story.staging_site();
    let step = Runner::new()
        .declared(&[("stage", "")])
        .secret(&site.health_token)
        .input("stage", "smoke")
        .input("url", &site.url)
        .input("health-address", &format!("{}:80", story.lab.container_ip()))
        .input("healthcheck-token", &site.health_token)
        .entrypoint(&image.entrypoint)
        .post_entrypoint(&image.post_entrypoint);
    let began = Instant::now();
    let running = step.spawn_image(&image.name);
    running.wait_for_line("gated-deploy smoke: ", Duration::from_secs(60));
    let first = began.elapsed();
    let main = running.wait();
    ensure!(main.exit_code == 0, "the released action ended with {}:\n{}", main.exit_code, main.log);
    let post = step.run_image_post(&main, &image.name);
    ensure!(post.exit_code == 0, "its post step ended with {}:\n{}", post.exit_code, post.log);
    println!(
        "{}: pulled from loopback in {:.1} s, first event {:.2} s after the start of the container, main and post ended with 0",
        image.name,
        pull.as_secs_f64(),
        first.as_secs_f64()
    );
    let removed = Command::new("docker").args(["rmi", &image.name]).output().context("starting docker")?;
    ensure!(removed.status.success(), "removing {}: {}", image.name, String::from_utf8_lossy(&removed.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_the_section_of_the_version_and_nothing_else() {
        let changelog = "# Changelog\n\n## Unreleased\n\n- new\n\n## 1.2.3 (2031-01-02)\n\n- one\n- two\n\n## 1.2.30\n\n- old\n\n## 1.2.0\n";
        assert_eq!(notes(changelog, "1.2.3").expect("a section"), "- one\n- two\n");
        assert_eq!(notes(changelog, "Unreleased").expect("a section"), "- new\n");
        assert!(notes(changelog, "1.2").is_err());
        assert!(notes(changelog, "1.2.0").is_err(), "an empty section");
    }

    #[test]
    fn a_tag_is_v_and_three_numbers() {
        assert_eq!(version_of("v1.20.3").expect("a version"), "1.20.3");
        for tag in ["1.2.3", "v1.2", "v1.2.3.4", "v1.2.x", "v1.2.3-rc.1", "v", "v1..3"] {
            assert!(version_of(tag).is_err(), "{tag}");
        }
    }

    #[test]
    fn a_release_names_its_image_by_its_digest() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = format!("ghcr.io/owner/gated-deploy@sha256:{}", "0a".repeat(32));
        pin(folder.path(), &image).expect("action.yml");
        let pinned = image_of_action_yml(folder.path().join("action.yml")).expect("its image");
        assert_eq!((pinned.name, pinned.entrypoint.as_str()), (image, "/usr/local/bin/gated-deploy"));
        for image in ["ghcr.io/owner/gated-deploy:v1", "ghcr.io/owner/gated-deploy@sha256:0a0b", "Dockerfile"] {
            assert!(pin(folder.path(), image).is_err(), "{image}");
        }
    }
}
