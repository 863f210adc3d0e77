//! One server, for one test: a container with SSH, sudo, nginx, PHP-FPM, MariaDB and two sites.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::docker::docker;
use crate::http::{self, HttpAnswer};
use crate::image;
use crate::system::System;
use crate::workspace::{is_running, pipe};

/// The commit of the release that both sites serve when a seeded server starts.
pub const SEED_COMMIT: &str = "5eed1e55ab1e0f0000c0ffee0000facade00beef";
/// The folder name of that release, under `releases/`.
pub const SEED_RELEASE: &str = "20250101_000000-5eed1e55";

const LABEL: &str = "gated-deploy-lab";

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the server is built as.
    pub system: System,
    /// PHP-FPM's `process_control_timeout` in seconds. 0 leaves Debian's default, with which a reload cuts requests.
    pub process_control_timeout: u32,
    /// Whether both sites already serve a first healthy release; else they have only `shared/` and an empty database.
    pub seed: bool,
    /// Puts each site's base folder on a tmpfs of this many megabytes; a release takes about 17. `None` leaves it on the
    /// container's own disk, where unpacking a release takes ten times as long.
    pub base_tmpfs_mb: Option<u32>,
    /// Keeps each site's base folder, and the ports under which the server answers, over [`reboot`]: instead of a tmpfs a site gets a
    /// volume of its own, which goes with the container.
    pub reboots: bool,
    /// The image to start instead of the lab's own: a [`snapshot`](crate::snapshot).
    pub image: Option<String>,
    /// A folder of this machine that the server sees as [`GATES`], to read only.
    pub gates: Option<PathBuf>,
}

/// Where a server sees [`Options::gates`].
pub const GATES: &str = "/run/gates";

impl Default for Options {
    fn default() -> Self {
        Self {
            system: System::default(),
            process_control_timeout: 10,
            seed: true,
            base_tmpfs_mb: Some(512),
            reboots: false,
            image: None,
            gates: None,
        }
    }
}

/// Which of the server's two sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// nginx passes `$document_root`, so a forgotten PHP-FPM reload serves stale code.
    Staging,
    /// nginx passes `$realpath_root`, so a switched link alone shows the new code.
    Production,
}

impl Environment {
    /// As in `APP_ENV`, in the folder and in the host name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

/// One site of the server.
#[derive(Debug, Clone)]
pub struct Site {
    /// Which site this is.
    pub environment: Environment,
    /// The folder with `releases/`, `shared/` and `current`.
    pub base_dir: String,
    /// The name that nginx knows the site by.
    pub host: String,
    /// `http://` and the host.
    pub url: String,
    /// What `/health` and `/api/health-check` want as Bearer token; made anew for each container.
    pub health_token: String,
    /// The environment's name, as in `APP_ENV`.
    pub env_name: String,
    /// The name of its database, and of the database user.
    pub database: String,
}

/// The first release of a seeded site replaces a site that exists: the folder says to which environment it belongs.
const MARK: &str = "for site in staging production; do install -d -o deploy -g deploy -m 700 /var/www/$site/.gated-deploy && \
                    echo $site >/var/www/$site/.gated-deploy/environment && chown deploy:deploy /var/www/$site/.gated-deploy/environment; done";

/// A running server. It is gone when this is dropped.
#[derive(Debug)]
pub struct Lab {
    container: Container,
    network: Network,
    facts: Facts,
    shell: Mutex<Option<RootShell>>,
}

impl Lab {
    /// Builds the image if needed, starts a container and waits until every service in it answers.
    pub fn start(options: Options) -> Result<Self> {
        in_a_group()?;
        let image = match &options.image {
            Some(image) => image.clone(),
            None => image::ensure(options.system)?.name,
        };
        sweep()?;
        let container = Container::run(&image, &options)?;
        let facts = container.wait_until_ready()?;
        let network = container.network()?;
        let lab = Self { container, network, facts, shell: Mutex::default() };
        if options.seed && options.image.is_none() {
            lab.exec(MARK).context("marking the places of the two sites")?;
        }
        Ok(lab)
    }

    /// Where the SSH server answers on this machine.
    pub fn ssh_addr(&self) -> SocketAddr {
        self.network.ssh
    }

    /// Where nginx answers on this machine.
    pub fn http_addr(&self) -> SocketAddr {
        self.network.http
    }

    /// The container's own address, on docker's bridge.
    pub fn container_ip(&self) -> IpAddr {
        self.network.container
    }

    /// The container's id, for what only the docker command can do.
    pub fn container_id(&self) -> &str {
        &self.container.id
    }

    /// The known_hosts line for [`Lab::ssh_addr`].
    pub fn known_hosts(&self) -> String {
        self.known_hosts_for(&self.ssh_addr().ip().to_string(), self.ssh_addr().port())
    }

    /// The known_hosts line under which a client that connects to `host` and `port` looks (sshd(8), SSH_KNOWN_HOSTS).
    pub fn known_hosts_for(&self, host: &str, port: u16) -> String {
        let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
        let key: Vec<_> = self.facts.host_key.split_whitespace().take(2).collect();
        format!("{name} {}\n", key.join(" "))
    }

    /// The private key of the user `deploy`: ed25519, in OpenSSH's format, without a passphrase.
    pub fn private_key(&self) -> &str {
        &self.facts.private_key
    }

    /// One of the two sites.
    pub fn site(&self, environment: Environment) -> Site {
        let name = environment.name();
        let host = format!("{name}.lab.test");
        let health_token = match environment {
            Environment::Staging => &self.facts.staging_token,
            Environment::Production => &self.facts.production_token,
        };
        Site {
            environment,
            base_dir: format!("/var/www/{name}"),
            url: format!("http://{host}"),
            host,
            health_token: health_token.clone(),
            env_name: name.to_owned(),
            database: format!("lab_{name}"),
        }
    }

    /// Runs a bash script as root and returns what it printed. A failure carries both of its outputs. One shell stays and carries out each
    /// script in a new one, which costs a tenth of docker's own way; scripts beside each other take that way.
    pub fn exec(&self, script: &str) -> Result<String> {
        let Ok(mut kept) = self.shell.try_lock() else {
            return self.container.exec(&["bash", "-c", script]);
        };
        // A server that was started again has ended it.
        let mut shell = match kept.take().filter(RootShell::is_alive) {
            Some(shell) => shell,
            None => RootShell::open(&self.container.id)?,
        };
        let answer = shell.ask(script)?;
        *kept = Some(shell);
        answer
    }

    /// The same as another user, in a login session like one over SSH: home folder, groups and umask are the user's.
    pub fn exec_as(&self, user: &str, script: &str) -> Result<String> {
        self.container.exec(&["su", "--login", user, "--command", script])
    }

    /// Copies a folder of this machine to a new folder on the server, owned by `deploy`.
    pub fn upload(&self, from: &Path, to: &str) -> Result<()> {
        let unpack = format!("mkdir {to} && tar --extract --directory {to}");
        pipe(
            Command::new("tar").args(["--create", "--directory"]).arg(from).arg("."),
            Command::new("docker").args([
                "exec",
                "--interactive",
                "--user=deploy",
                &self.container.id,
                "sh",
                "-c",
                &unpack,
            ]),
        )
    }

    /// `GET path` from a site, with `token` as Bearer token.
    pub fn get(&self, site: &Site, path: &str, token: Option<&str>) -> Result<HttpAnswer> {
        http::get(self.http_addr(), &site.host, path, token)
    }

    /// The commit of the code that PHP runs for a site, as its `/health` says.
    pub fn served_commit(&self, site: &Site) -> Result<String> {
        let answer = self.get(site, "/health", Some(&site.health_token))?;
        let commit = answer.json().ok().and_then(|body| body["commit"].as_str().map(str::to_owned));
        commit.with_context(|| {
            format!("{}/health names no commit; status {}: {}", site.url, answer.status, answer.text())
        })
    }

    /// The release folder's name that `current` of a site points to, if there is such a link.
    pub fn current(&self, site: &Site) -> Result<Option<String>> {
        let target = self.exec(&format!("readlink {}/current || true", site.base_dir))?;
        Ok(target.trim_end().rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned))
    }

    /// A SHA-256 over everything under `dir`: paths, types, modes, owners, times, link targets, and the contents of files.
    /// Two equal digests prove that nothing there was changed, not even written again with the same bytes.
    pub fn tree_digest(&self, dir: &str) -> Result<String> {
        let script = format!(
            "set -eu -o pipefail; export LC_ALL=C; cd {dir}
             {{ find . -printf '%p %y %m %U:%G %T@ %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0 --no-run-if-empty sha256sum; }} | sha256sum"
        );
        let digest = self.exec(&script)?;
        Ok(digest.split_whitespace().next().unwrap_or_default().to_owned())
    }
}

/// Tests that start a server have a group in `.config/nextest.toml`, by which `cargo xtask test` knows them and limits how many run at once.
fn in_a_group() -> Result<()> {
    match std::env::var("NEXTEST_TEST_GROUP") {
        Ok(group) if group == "@global" => {
            bail!("this test starts a server, but its module is in no test group: add it to .config/nextest.toml")
        }
        _ => Ok(()),
    }
}

/// Ends every process of a server at once, as a power cut does, starts it again and waits until every service answers. Only a server with
/// [`Options::reboots`] can be found again afterwards.
pub fn reboot(container_id: &str) -> Result<()> {
    cut_power(container_id)?;
    power_on(container_id)
}

/// Ends every process of a server at once.
pub fn cut_power(container_id: &str) -> Result<()> {
    docker(["kill", container_id]).context("stopping the lab's server").map(drop)
}

/// Starts a server again whose power was cut, and waits until every service answers.
pub fn power_on(container_id: &str) -> Result<()> {
    docker(["start", container_id]).context("starting the lab's server again")?;
    docker(["exec", container_id, "lab-ready"]).context("waiting for the lab's server")?;
    Ok(())
}

/// A port of this machine that is free now. Docker gives a container that is started again other ports, unless they were named.
fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr().context("looking for a free port")?.port())
}

/// Removes the containers that earlier processes left behind, for example because they were killed.
pub fn sweep() -> Result<()> {
    let format = format!("{{{{.ID}}}} {{{{.Label {LABEL:?}}}}}");
    let listed = docker(["ps", "--all", "--filter", &format!("label={LABEL}"), "--format", &format])?;
    for (id, pid) in listed.lines().filter_map(|line| line.split_once(' ')) {
        if !is_running(pid) {
            // Another process may sweep at the same moment; then there is nothing left to remove.
            let _ = docker(["rm", "--force", "--volumes", id]);
        }
    }
    Ok(())
}

/// What the server says about itself when it is ready (`lab-ready`).
#[derive(Debug, Deserialize)]
struct Facts {
    host_key: String,
    private_key: String,
    staging_token: String,
    production_token: String,
}

#[derive(Debug)]
struct Network {
    ssh: SocketAddr,
    http: SocketAddr,
    container: IpAddr,
}

/// A shell of root that stays; see [`Lab::exec`].
#[derive(Debug)]
struct RootShell {
    docker: Mutex<Child>,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Takes scripts that end in a NUL, and answers each with its output, a mark with its exit status, its complaints, and the mark again.
const ASKED: &str = r#"while IFS= read -r -d '' script; do
    status=0
    bash -c "$script" </dev/null 2>/run/lab/asked || status=$?
    printf '\002%s\002' "$status"
    cat /run/lab/asked
    printf '\002'
done"#;

impl RootShell {
    fn open(container: &str) -> Result<Self> {
        let mut docker = Command::new("docker")
            .args(["exec", "--interactive", container, "bash", "-c", ASKED])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("opening a shell on the lab's server")?;
        let (Some(questions), Some(answers)) = (docker.stdin.take(), docker.stdout.take()) else {
            bail!("the shell on the lab's server has no pipes");
        };
        Ok(Self { docker: Mutex::new(docker), questions, answers: BufReader::new(answers) })
    }

    fn is_alive(&self) -> bool {
        self.docker.lock().is_ok_and(|mut docker| matches!(docker.try_wait(), Ok(None)))
    }

    /// The outer error is the shell's own, after which it cannot be asked again; the inner one the script's.
    fn ask(&mut self, script: &str) -> Result<Result<String>> {
        self.questions.write_all(script.as_bytes()).and_then(|()| self.questions.write_all(b"\0"))?;
        let (output, status) = (self.part()?, self.part()?);
        let complaints = self.part()?;
        Ok(match status.as_str() {
            "0" => Ok(output),
            status => Err(anyhow::anyhow!("a script ended with {status}:\n{script}\n{output}{complaints}")),
        })
    }

    fn part(&mut self) -> Result<String> {
        let mut part = Vec::new();
        self.answers.read_until(2, &mut part).context("listening to the shell on the lab's server")?;
        ensure!(part.pop() == Some(2), "the shell on the lab's server ended");
        Ok(String::from_utf8_lossy(&part).into_owned())
    }
}

impl Drop for RootShell {
    fn drop(&mut self) {
        if let Ok(mut docker) = self.docker.lock() {
            // It may have ended already, with its server.
            let _ = docker.kill();
            let _ = docker.wait();
        }
    }
}

#[derive(Debug)]
struct Container {
    id: String,
}

impl Container {
    fn run(image: &str, options: &Options) -> Result<Self> {
        let mut args: Vec<String> = ["run", "--detach", "--hostname", "lab"].map(str::to_owned).into();
        for inside in [22, 80] {
            let outside = if options.reboots { free_port()?.to_string() } else { String::new() };
            args.push(format!("--publish=127.0.0.1:{outside}:{inside}"));
        }
        args.push(format!("--label={LABEL}={}", std::process::id()));
        args.push(format!("--env=LAB_SEED={}", u8::from(options.seed)));
        args.push(format!("--env=LAB_PROCESS_CONTROL_TIMEOUT={}", options.process_control_timeout));
        for environment in [Environment::Staging, Environment::Production] {
            let name = environment.name();
            // A script on the server that asks for its own site needs the name, too.
            args.push(format!("--add-host={name}.lab.test:127.0.0.1"));
            if options.reboots {
                // What the image has there is not what lab-init fills an empty site with.
                args.push(format!("--mount=type=volume,dst=/var/www/{name},volume-nocopy"));
            } else if let Some(megabytes) = options.base_tmpfs_mb {
                args.push(format!("--tmpfs=/var/www/{name}:size={megabytes}m,mode=755,exec"));
            }
        }
        if options.system.systemd {
            // systemd mounts, and manages control groups of its own.
            let unconfined = ["--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"];
            args.extend(unconfined.map(str::to_owned));
            args.extend(
                ["--cap-add=SYS_ADMIN", "--cgroupns=private", "--tmpfs=/run:exec", "--env=container=docker"]
                    .map(str::to_owned),
            );
        }
        if let Some(gates) = &options.gates {
            args.push(format!("--volume={}:{GATES}:ro", gates.display()));
        }
        args.push(image.to_owned());
        let id = docker(args.iter().map(String::as_str)).context("starting the lab's server")?;
        Ok(Self { id: id.trim().to_owned() })
    }

    fn wait_until_ready(&self) -> Result<Facts> {
        let facts = self
            .exec(&["lab-ready"])
            .with_context(|| format!("the lab's server does not come up; it says: {}", self.log()))?;
        serde_json::from_str(&facts).context("reading what lab-ready says")
    }

    fn log(&self) -> String {
        docker(["logs", &self.id]).unwrap_or_else(|problem| format!("{problem:#}"))
    }

    fn network(&self) -> Result<Network> {
        #[derive(Deserialize)]
        struct Binding {
            #[serde(rename = "HostPort")]
            port: String,
        }
        #[derive(Deserialize)]
        struct Settings {
            #[serde(rename = "IPAddress")]
            address: IpAddr,
            #[serde(rename = "Ports")]
            ports: std::collections::HashMap<String, Option<Vec<Binding>>>,
        }
        let described = docker(["inspect", "--format", "{{json .NetworkSettings}}", &self.id])?;
        let settings: Settings =
            serde_json::from_str(&described).context("reading docker's description of the network")?;
        let published = |inside: &str| -> Result<SocketAddr> {
            let binding = settings.ports.get(inside).and_then(Option::as_ref).and_then(|bindings| bindings.first());
            let Some(binding) = binding else { bail!("docker did not publish {inside}") };
            let port =
                binding.port.parse().with_context(|| format!("docker published {inside} as {:?}", binding.port))?;
            Ok(SocketAddr::from(([127, 0, 0, 1], port)))
        };
        Ok(Network { ssh: published("22/tcp")?, http: published("80/tcp")?, container: settings.address })
    }

    fn exec(&self, command: &[&str]) -> Result<String> {
        docker(["exec", &self.id].into_iter().chain(command.iter().copied()))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(problem) = docker(["rm", "--force", "--volumes", &self.id]) {
            eprintln!("the lab's server {} could not be removed: {problem:#}", self.id);
        }
    }
}
