//! The docker command line, and the daemon behind it.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::{build_dir, ensure_tool, installed, is_root, lock, run};

const DAEMON_START: Duration = Duration::from_secs(60);

pub(crate) fn docker<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<String> {
    run(Command::new("docker").args(args))
}

/// Makes sure that a docker daemon answers: installs docker and starts the daemon where that is missing and we are root.
pub(crate) fn ensure_daemon() -> Result<()> {
    if !installed("docker") {
        // Debian 12 and Ubuntu ship the command line and the daemon together, Debian 13 apart.
        ensure_tool("dockerd", &["docker.io"])?;
        ensure_tool("docker", &["docker-cli"])?;
    }
    if answers() {
        return Ok(());
    }
    let _lock = lock("dockerd.lock")?;
    if answers() {
        return Ok(());
    }
    if !is_root() {
        bail!("no docker daemon answers; start it with: sudo service docker start");
    }
    ensure_tool("dockerd", &["docker.io"])?;
    start_daemon()
}

/// The address by which the containers of this machine know it. A daemon that has just made its bridge does not name the gateway, which is
/// the first address of the subnet then.
///
/// # Errors
/// When docker does not answer.
pub fn gateway() -> Result<IpAddr> {
    let ask = |field: &str| {
        docker(["network", "inspect", "bridge", "--format", &format!("{{{{(index .IPAM.Config 0).{field}}}}}")])
    };
    if let Ok(gateway) = ask("Gateway")?.trim().parse() {
        return Ok(gateway);
    }
    let subnet = ask("Subnet")?;
    let network = subnet.split('/').next().and_then(|address| address.trim().parse::<Ipv4Addr>().ok());
    let network = network.with_context(|| format!("reading the subnet of docker's bridge: `{}`", subnet.trim()))?;
    Ok(Ipv4Addr::from_bits(network.to_bits() + 1).into())
}

/// Stops the docker daemon if the lab started it; one that was there before is left alone.
pub fn stop_own_daemon() -> Result<()> {
    let file = pid_file()?;
    let Ok(pid) = fs::read_to_string(&file) else {
        return Ok(());
    };
    // The number may belong to another program by now.
    if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "dockerd") {
        run(Command::new("kill").arg(&pid))?;
    }
    fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))
}

fn answers() -> bool {
    docker(["version", "--format", "{{.Server.Version}}"]).is_ok()
}

fn pid_file() -> Result<PathBuf> {
    Ok(build_dir()?.join("dockerd.pid"))
}

fn start_daemon() -> Result<()> {
    let log = build_dir()?.join("dockerd.log");
    let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let mut daemon = Command::new("dockerd")
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("sharing the daemon's log file")?)
        .stderr(output)
        // A group of its own, so that Ctrl-C in the terminal does not take the daemon down with the tests.
        .process_group(0)
        .spawn()
        .context("starting dockerd")?;
    fs::write(pid_file()?, daemon.id().to_string()).context("remembering the daemon's pid")?;

    let deadline = Instant::now() + DAEMON_START;
    while !answers() {
        if let Some(status) = daemon.try_wait().context("waiting for dockerd")? {
            bail!("dockerd ended with {status}; its last words are in {}", log.display());
        }
        if Instant::now() > deadline {
            bail!("dockerd does not answer after {DAEMON_START:?}; see {}", log.display());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
