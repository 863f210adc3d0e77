//! PHP-FPM and nginx: which of them serve the site, whether we may reload them, and reloading.

use std::time::Duration;

use super::{
    context::{Deploy, ServiceFacts},
    nginx, remote,
};
use crate::{
    domain::{Failure, Layout, RemoteCommand},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    ports::shell::{Answer, Script, Shell},
};

/// A configuration file of the server.
pub struct ConfigFile {
    pub path: String,
    pub text: String,
}

/// What the server's configuration says about who serves the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// `php8.2-fpm`
    pub fpm: String,
    /// Seconds; `None` if the file could not be read.
    pub process_control_timeout: Option<u64>,
    /// How that was found, for the log.
    pub because: String,
}

/// Finds the FPM service of the site: from the virtual host that serves `current`, to the socket it passes to, to the pool that
/// listens there, to the version whose folder the pool lies in (F67: derived, not the first one found).
pub fn find(
    layout: &Layout,
    given: Option<&str>,
    nginx_files: &[ConfigFile],
    fpm_files: &[ConfigFile],
) -> Result<Serving, String> {
    let versions = fpm_versions(fpm_files);
    let serving = |version: &str, because: String| Serving {
        fpm: format!("php{version}-fpm"),
        process_control_timeout: process_control_timeout(version, fpm_files),
        because,
    };
    if let Some(service) = given {
        let version = service.strip_prefix("php").and_then(|rest| rest.strip_suffix("-fpm")).unwrap_or_default();
        let mut found = serving(version, "php-fpm-service says so".to_owned());
        found.fpm = service.to_owned();
        return Ok(found);
    }
    let hosts: Vec<nginx::VirtualHost> = nginx_files.iter().flat_map(|file| nginx::virtual_hosts(&file.text)).collect();
    let upstreams: Vec<nginx::Upstream> = nginx_files.iter().flat_map(|file| nginx::upstreams(&file.text)).collect();
    let current = layout.current();
    let inside =
        |root: &str| root.strip_prefix(current.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut found: Vec<Serving> = Vec::new();
    for host in hosts.iter().filter(|host| host.roots.iter().any(|root| inside(root))) {
        for pass in &host.fastcgi_pass {
            let targets = upstreams
                .iter()
                .find(|upstream| upstream.name == *pass)
                .map_or(vec![pass.clone()], |upstream| upstream.servers.clone());
            for target in targets {
                let Some((version, pool)) = pool_of(&target, fpm_files) else { continue };
                let next = serving(&version, format!("{} passes to {target}, where {pool} listens", host.label()));
                if !found.iter().any(|seen| seen.fpm == next.fpm) {
                    found.push(next);
                }
            }
        }
    }
    match (found.as_slice(), versions.as_slice()) {
        ([one], _) => Ok(one.clone()),
        ([], [only]) => Ok(serving(only, "it is the only PHP-FPM on the server".to_owned())),
        ([], []) => Err("no PHP-FPM was found on the server (/etc/php/*/fpm)".to_owned()),
        ([], many) => Err(format!(
            "no virtual host of nginx serves {current} in a way that names a pool, and there are several PHP-FPM: {}",
            many.join(", ")
        )),
        (several, _) => Err(format!(
            "several PHP-FPM services serve {current}: {}",
            several.iter().map(|one| one.fpm.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// `/etc/php/8.2/fpm/...` gives `8.2`.
fn version_of(path: &str) -> Option<&str> {
    let version = path.strip_prefix("/etc/php/")?.split('/').next()?;
    (!version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')).then_some(version)
}

fn fpm_versions(files: &[ConfigFile]) -> Vec<String> {
    let mut versions: Vec<String> = files.iter().filter_map(|file| version_of(&file.path)).map(str::to_owned).collect();
    versions.sort();
    versions.dedup();
    versions
}

/// The version and file of the pool that listens on what nginx passes to.
fn pool_of(target: &str, files: &[ConfigFile]) -> Option<(String, String)> {
    let socket = target.strip_prefix("unix:").unwrap_or(target);
    files
        .iter()
        .filter(|file| {
            ini_values(&file.text, "listen").any(|listen| {
                listen == socket
                    || listen.strip_prefix("127.0.0.1:") == socket.strip_prefix("127.0.0.1:")
                        && listen.starts_with("127.0.0.1:")
            })
        })
        .find_map(|file| Some((version_of(&file.path)?.to_owned(), file.path.clone())))
}

/// Every value of a key in FPM's INI dialect: `key = value`, comments after `;`.
fn ini_values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let line = line.split(';').next().unwrap_or_default();
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().trim_matches('"'))
    })
}

/// PHP-FPM's time unit: plain seconds, or with `s`, `m`, `h`, `d`. Its default is 0: a reload cuts running requests.
fn process_control_timeout(version: &str, files: &[ConfigFile]) -> Option<u64> {
    let main =
        files.iter().find(|file| version_of(&file.path) == Some(version) && file.path.ends_with("/php-fpm.conf"))?;
    let Some(value) = ini_values(&main.text, "process_control_timeout").last() else { return Some(0) };
    let (digits, factor) = match value.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(digits) => (
            digits,
            match value.as_bytes()[value.len() - 1] {
                b'm' => 60,
                b'h' => 3600,
                b'd' => 86400,
                _ => 1,
            },
        ),
        None => (value, 1),
    };
    digits.trim().parse::<u64>().ok().map(|number| number * factor)
}

/// Asks sudo which reload commands it allows, and picks one for each service. Every one that is missing is named, with the line
/// that would allow it; we never add it ourselves (F36, F67).
pub async fn privileges(
    shell: &dyn Shell,
    io: &Io,
    user: &str,
    serving: &Serving,
    systemd: bool,
) -> Result<ServiceFacts, Failure> {
    let doing = "asking sudo what it allows";
    let candidates = |service: &str| -> Vec<String> {
        let mut list = vec![
            format!("systemctl reload {service}"),
            format!("systemctl reload {service}.service"),
            format!("service {service} reload"),
        ];
        if !systemd {
            list.rotate_right(1);
        }
        list
    };
    let (fpm, nginx, test) = (candidates(&serving.fpm), candidates("nginx"), "nginx -t".to_owned());
    let all = fpm.iter().chain(&nginx).chain(std::iter::once(&test));
    let answer = remote::run(
        shell,
        io,
        Script::new("privileges", include_str!("sh/privileges.sh")).list("COMMANDS", all),
        doing,
    )
    .await?;
    let allowed = |command: &&String| answer.all("allowed").any(|yes| yes == command.as_str());
    let mut reload = Vec::new();
    let mut missing = Vec::new();
    for choices in [&fpm, &nginx] {
        match choices.iter().find(allowed) {
            Some(command) => reload.push(sudo(command)),
            None => missing.push(choices[0].clone()),
        }
    }
    if missing.is_empty() {
        if allowed(&&test) {
            reload.insert(1, sudo(&test));
        }
        return Ok(ServiceFacts {
            fpm: serving.fpm.clone(),
            reload,
            process_control_timeout: serving.process_control_timeout,
        });
    }
    let paths: Vec<String> = missing
        .iter()
        .map(|command| {
            format!(
                "/usr/{}",
                if command.starts_with("systemctl") { format!("bin/{command}") } else { format!("sbin/{command}") }
            )
        })
        .collect();
    Err(Failure::refused(
        doing,
        format!(
            "{user} may not run: {}",
            missing.iter().map(|command| format!("sudo -n {command}")).collect::<Vec<_>>().join(", ")
        ),
    )
    .hint(format!(
        "an administrator can allow it with this line in /etc/sudoers.d/gated-deploy: {user} ALL=(root) NOPASSWD: {}",
        paths.join(", ")
    )))
}

fn sudo(command: &str) -> RemoteCommand {
    RemoteCommand::new(["sudo", "-n"].into_iter().chain(command.split(' ')))
}

/// Tells PHP-FPM (whose OPcache may hold old code) and nginx to read anew, and sees new workers take over.
pub async fn reload(cx: &Deploy, io: &Io) -> StepResult {
    reload_now(cx, io).await.map(Done::passed)
}

/// The same for the way back; a sentence of what was seen.
pub async fn reload_now(cx: &Deploy, io: &Io) -> Result<String, Failure> {
    let services = &cx.facts.server.services;
    let doing = format!("reloading {} and nginx", services.fpm);
    let commands: Vec<String> = services.reload.iter().map(ToString::to_string).collect();
    let (fpm, test, nginx) = match commands.as_slice() {
        [fpm, nginx] => (fpm.as_str(), "", nginx.as_str()),
        [fpm, test, nginx] => (fpm.as_str(), test.as_str(), nginx.as_str()),
        _ => return Err(Failure::bug(doing, "there are no two or three reload commands")),
    };
    // A worker may finish its request for as long as process_control_timeout allows, and then some for the fork.
    let wait = services.process_control_timeout.unwrap_or(0).min(120) + 10;
    let script = Script::new("reload", include_str!("sh/reload.sh"))
        .var("FPM_COMMAND", fpm)
        .var("NGINX_TEST", test)
        .var("NGINX_COMMAND", nginx)
        .var("FPM_NAME", process_name(&services.fpm))
        .var("NGINX_NAME", "nginx")
        .var("WAIT", wait.to_string())
        .timeout(Duration::from_secs(2 * wait + 60));
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    Ok(told(&answer, &services.fpm))
}

fn told(answer: &Answer, fpm: &str) -> String {
    let unseen: Vec<&str> = answer.all("unseen").collect();
    if unseen.is_empty() {
        format!("{fpm} and nginx run with new workers")
    } else {
        format!("{fpm} and nginx reloaded (their processes cannot be seen here: {})", unseen.join(", "))
    }
}

/// What the kernel calls the processes of a service: `php8.2-fpm` runs as `php-fpm8.2` (Debian's binary name).
fn process_name(service: &str) -> String {
    match service.strip_prefix("php").and_then(|rest| rest.strip_suffix("-fpm")) {
        Some(version) => format!("php-fpm{version}"),
        None => service.to_owned(),
    }
}

/// What the plan prints.
pub fn preview(cx: &Deploy) -> Vec<String> {
    cx.facts.server.services.reload.iter().map(ToString::to_string).collect()
}
