//! A container registry on loopback: what a release is pushed to, and what a runner pulls it from.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use walkdir::WalkDir;

use crate::docker::{docker, ensure_daemon};
use crate::workspace::{ensure_tool, scratch};

/// A registry of its own, with nothing in it. It ends when it is dropped.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Registry {
    /// Starts Debian's `docker-registry`, which is installed where it is missing and we are root.
    ///
    /// # Errors
    /// When it cannot be installed or started.
    pub fn start() -> Result<Self> {
        ensure_daemon()?;
        ensure_tool("docker-registry", &["docker-registry"])?;
        let folder = scratch("registry")?;
        // A port that was free may be taken when the registry asks for it.
        for _ in 0..10 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
            let port = port.context("finding a free port")?.port();
            let config = folder.path().join("config.yml");
            let text = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
                folder.path().join("data").display()
            );
            fs::write(&config, text).context("writing the registry's settings")?;
            let mut process = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("starting docker-registry")?;
            loop {
                if process.try_wait().context("waiting for docker-registry")?.is_some() {
                    break;
                }
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return Ok(Self { process, port, folder });
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        bail!("docker-registry ended ten times at its start")
    }

    /// Pushes an image of this machine under a name, and gives the reference by which this very image is pulled: `NAME@sha256:...`.
    ///
    /// # Errors
    /// When docker fails.
    pub fn push(&self, image: &str, repository: &str) -> Result<String> {
        let name = format!("127.0.0.1:{}/{repository}", self.port);
        docker(["tag", image, &name])?;
        docker(["push", "--quiet", &name])?;
        let reference = docker(["image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", &name])?;
        let prefix = format!("{name}@");
        let reference =
            reference.lines().find(|line| line.starts_with(&prefix)).context("the pushed image has no digest")?;
        // So that whoever starts it has to pull it.
        docker(["rmi", &name])?;
        Ok(reference.to_owned())
    }

    /// What all images in it weigh as they are pulled, in bytes.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn size(&self) -> Result<u64> {
        let mut size = 0;
        for entry in WalkDir::new(self.folder.path().join("data")) {
            let entry = entry.context("reading the registry's folder")?;
            if entry.file_name() == "data" && entry.file_type().is_file() {
                size += entry.metadata().context("reading the registry's folder")?.len();
            }
        }
        Ok(size)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        if self.process.kill().is_ok() {
            let _ = self.process.wait();
        }
    }
}
