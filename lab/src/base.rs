//! The base images of the lab's servers. Where no image registry can be reached, debootstrap makes the same Debian from
//! the machine's own package mirror, and the Dockerfile does not see the difference.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::docker::docker;
use crate::system::Debian;
use crate::workspace::{ensure_tool, is_root, pipe, run, scratch};

/// Where debootstrap says how each release is made. What it does not know yet is made as the newest.
const RECIPES: &str = "/usr/share/debootstrap/scripts";
const NEWEST_RECIPE: &str = "sid";
/// Certificates that the owner of this machine added to Debian's.
const OWN_CERTIFICATES: &str = "/usr/local/share/ca-certificates";

/// The name under which the Dockerfile asks for it.
pub fn name(debian: Debian) -> String {
    format!("debian:{}-slim", debian.release())
}

/// Makes sure that docker has the base image: already there, else from a registry, else made with debootstrap.
pub fn ensure(debian: Debian) -> Result<()> {
    let name = name(debian);
    if docker(["image", "inspect", "--format", "{{.Id}}", &name]).is_ok() {
        return Ok(());
    }
    let Err(pull) = docker(["pull", "--quiet", &name]) else {
        return Ok(());
    };
    bootstrap(debian).with_context(|| format!("{name} cannot be pulled ({pull:#}), and making it failed"))
}

fn bootstrap(debian: Debian) -> Result<()> {
    if !is_root() {
        bail!("debootstrap needs root: run `cargo xtask lab` once with sudo, or let docker reach a registry");
    }
    ensure_tool("debootstrap", &["debootstrap", "debian-archive-keyring"])?;
    eprintln!("lab: making {} with debootstrap, once, in about a minute", name(debian));
    let root = scratch("base").context("creating a folder for the base system")?;
    let mirrors = Mirrors::of_this_machine();
    run(Command::new("debootstrap")
        .args(["--variant=minbase", "--include=ca-certificates", debian.release()])
        .arg(root.path())
        .args(&mirrors.main)
        .args(recipe(debian, &mirrors)?))?;
    mirrors.write_sources(debian, root.path())?;
    copy_patience(root.path())?;
    slim_down(root.path())?;
    copy_own_certificates(root.path())?;
    import(root.path(), &name(debian))
}

/// What debootstrap has to be told about a release that is younger than itself. It takes that only behind a mirror.
fn recipe(debian: Debian, mirrors: &Mirrors) -> Result<Option<String>> {
    let known = Path::new(RECIPES).join(debian.release()).exists();
    if !known && mirrors.main.is_none() {
        bail!("this machine's debootstrap does not know {}; install a newer one", debian.release());
    }
    Ok((!known).then(|| format!("{RECIPES}/{NEWEST_RECIPE}")))
}

/// As in the published slim image: packages leave their documentation out, and dpkg does not wait for the disk.
fn slim_down(root: &Path) -> Result<()> {
    let settings = "force-unsafe-io\n\
        path-exclude /usr/share/doc/*\n\
        path-exclude /usr/share/locale/*\n\
        path-exclude /usr/share/man/*\n";
    fs::write(root.join("etc/dpkg/dpkg.cfg.d/slim"), settings).context("writing the base image's dpkg settings")
}

fn import(root: &Path, name: &str) -> Result<()> {
    let mut archive = Command::new("tar");
    archive
        .args(["--create", "--exclude=./var/cache/apt/archives/*.deb"])
        .arg("--exclude=./var/lib/apt/lists/*")
        .arg("--directory")
        .arg(root)
        .arg(".");
    pipe(&mut archive, Command::new("docker").args(["import", "-", name]))
}

/// Debian's mirrors as this machine's apt knows them; empty on another distribution, where debootstrap's default serves.
struct Mirrors {
    main: Option<String>,
    security: Option<String>,
}

impl Mirrors {
    fn of_this_machine() -> Self {
        let format = "$(LABEL) $(REPO_URI)";
        let targets = run(Command::new("apt-get").args([
            "indextargets",
            "--format",
            format,
            "Origin: Debian",
            "Created-By: Packages",
        ]))
        .unwrap_or_default();
        let first = |label: &str| {
            targets
                .lines()
                .filter_map(|line| line.split_once(' '))
                .find(|(found, _)| *found == label)
                .map(|(_, uri)| uri.to_owned())
        };
        Self { main: first("Debian"), security: first("Debian-Security") }
    }

    fn write_sources(&self, debian: Debian, root: &Path) -> Result<()> {
        let release = debian.release();
        let mut lines = String::new();
        if let Some(uri) = &self.main {
            lines += &format!("deb {uri} {release} main\n");
        }
        // A Debian that is not released yet gets everything in one place.
        if debian != Debian::Forky {
            if let Some(uri) = &self.main {
                lines += &format!("deb {uri} {release}-updates main\n");
            }
            if let Some(uri) = &self.security {
                lines += &format!("deb {uri} {release}-security main\n");
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        fs::write(root.join("etc/apt/sources.list"), lines).context("writing the base image's sources.list")
    }
}

/// A mirror that stands still is out of date for apt, unless this machine's apt was told that it may be.
fn copy_patience(root: &Path) -> Result<()> {
    let setting = run(Command::new("apt-config").args(["dump", "Acquire::Check-Valid-Until"])).unwrap_or_default();
    fs::write(root.join("etc/apt/apt.conf.d/valid-until"), setting).context("writing the base image's apt settings")
}

/// A mirror behind a private certificate authority stays reachable from inside the image.
fn copy_own_certificates(root: &Path) -> Result<()> {
    let Ok(certificates) = fs::read_dir(OWN_CERTIFICATES) else {
        return Ok(());
    };
    for certificate in certificates {
        let certificate = certificate.with_context(|| format!("reading {OWN_CERTIFICATES}"))?;
        if certificate.path().extension().is_some_and(|extension| extension == "crt") {
            let target = root.join(OWN_CERTIFICATES.trim_start_matches('/')).join(certificate.file_name());
            fs::copy(certificate.path(), &target).with_context(|| format!("copying to {}", target.display()))?;
        }
    }
    // This machine's folder for temporary files need not be there.
    run(Command::new("chroot").arg(root).arg("update-ca-certificates").env_remove("TMPDIR")).map(drop)
}
