//! The command line with which the runner starts a container action, and the container that comes of it.
//!
//! Follows `DockerCommandManager.DockerRun` of actions/runner 2.336.0, argument by argument.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::POLL_INTERVAL;

/// One container that a stage started; removed by force when dropped.
#[derive(Debug)]
pub struct Container {
    name: String,
}

/// What `docker run` is told.
pub(super) struct DockerRun<'a> {
    pub(super) image: &'a str,
    pub(super) label: &'a str,
    pub(super) entrypoint: Option<&'a str>,
    pub(super) network: Option<&'a str>,
    /// Host directory and container path, in the order of [`super::paths::WorkDir::mounts`].
    pub(super) mounts: &'a [(&'a Path, &'static str)],
    pub(super) env: &'a BTreeMap<String, String>,
}

impl DockerRun<'_> {
    /// The arguments after `docker`. Only the names of variables are in it: the values go through the environment of
    /// the docker client, so that no process list shows them.
    pub(super) fn argv(&self, container: &Container) -> Vec<String> {
        let mut argv: Vec<String> = ["run", "--name", &container.name, "--label", self.label].map(str::to_owned).into();
        argv.extend(["--workdir", "/github/workspace", "--rm"].map(str::to_owned));
        for name in self.env.keys() {
            argv.extend(["-e".to_owned(), name.clone()]);
        }
        argv.extend(["-e", "GITHUB_ACTIONS=true"].map(str::to_owned));
        if !self.env.contains_key("CI") {
            argv.extend(["-e", "CI=true"].map(str::to_owned));
        }
        if let Some(entrypoint) = self.entrypoint {
            argv.extend(["--entrypoint", entrypoint].map(str::to_owned));
        }
        if let Some(network) = self.network {
            argv.extend(["--network", network].map(str::to_owned));
        }
        argv.extend(["-v", "/var/run/docker.sock:/var/run/docker.sock"].map(str::to_owned));
        for (host, inside) in self.mounts.iter().rev() {
            argv.extend(["-v".to_owned(), format!("{}:{inside}", host.display())]);
        }
        argv.push(self.image.to_owned());
        argv
    }

    /// The docker client, ready to be started.
    pub(super) fn command(&self, argv: &[String]) -> Command {
        let mut command = docker(argv);
        command.env_clear();
        // What the client itself needs to be found and to find its daemon; none of it is handed to the container.
        for name in ["PATH", "DOCKER_HOST", "DOCKER_CONTEXT"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env);
        command
    }
}

impl Container {
    /// A name as the runner makes it (`NameValidation.Sanitize`): letters, digits after the first letter and `_` of the
    /// image's name, then six random digits.
    pub(super) fn named_after(image: &str) -> Container {
        let kept = image.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_');
        let sanitised: String = kept.skip_while(char::is_ascii_digit).collect();
        Container { name: format!("{sanitised}_{}", super::six_hex_digits()) }
    }

    /// The name under which docker knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it runs: a cancelled step leaves its container behind when that does not end by itself.
    pub fn is_running(&self) -> bool {
        let format = ["inspect", "--format", "{{.State.Running}}", self.name.as_str()];
        let output =
            docker(format).stderr(Stdio::null()).output().expect("docker must be installed to ask about a container");
        String::from_utf8_lossy(&output.stdout).trim() == "true"
    }

    /// Waits until it does not run any more; false when it still does after `patience`.
    pub fn ends_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        true
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Normally it is gone already (`--rm`) and docker says so.
        let removal =
            docker(["rm", "--force", self.name.as_str()]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        drop(removal);
    }
}

fn docker(argv: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new("docker");
    command.args(argv).stdin(Stdio::null());
    command
}
