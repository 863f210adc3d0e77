//! PHP-FPM and nginx: which of them serve the site, whether we may reload them, and reloading.

use std::time::Duration;

use super::{
    context::{Deploy, ServiceFacts},
    fpm::{self, Pool},
    nginx, ready, remote,
    sudo::{Leave, Rules},
};
use crate::{
    domain::{Failure, FailureKind, Layout, RemoteCommand},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    ports::shell::{Answer, Script, Shell},
};

/// A configuration file of the server.
#[derive(Debug)]
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
    /// `8.2`; `None` for a service whose name does not say it.
    pub version: Option<String>,
    /// The pool, where one and no other can be the one.
    pub pool: Option<Pool>,
    /// The virtual host that serves `current`, by its first name.
    pub host: Option<String>,
    /// Whether nginx gives PHP the path behind the link (`$realpath_root`) or the link itself (`$document_root`), where it can be read.
    pub realpath_root: Option<bool>,
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
    let pools = fpm::pools(fpm_files);
    let hosts = hosts_of(layout, nginx_files);
    let host = hosts.first();
    let serving = |version: &str, pool: Option<&Pool>, because: String| Serving {
        fpm: format!("php{version}-fpm"),
        process_control_timeout: process_control_timeout(version, fpm_files),
        because,
        version: Some(version.to_owned()),
        pool: pool.cloned(),
        host: host.and_then(|host| host.names.first().cloned()),
        realpath_root: host.and_then(|host| nginx::realpath_root(host, nginx_files)),
    };
    let only_pool = |version: &str| {
        let mut own = pools.iter().filter(|pool| pool.version == version);
        own.next().filter(|_| own.next().is_none())
    };
    let upstreams: Vec<nginx::Upstream> = nginx_files.iter().flat_map(|file| nginx::upstreams(&file.text)).collect();
    let mut found: Vec<Serving> = Vec::new();
    for host in &hosts {
        for pass in &host.fastcgi_pass {
            let targets = upstreams
                .iter()
                .find(|upstream| upstream.name == *pass)
                .map_or(vec![pass.clone()], |upstream| upstream.servers.clone());
            for target in targets {
                let Some(pool) = pools.iter().find(|pool| pool.listens_on(&target)) else { continue };
                let because = format!("{} passes to {target}, where {} listens", host.label(), pool.file);
                let next = serving(&pool.version, Some(pool), because);
                if !found.iter().any(|seen| seen.fpm == next.fpm) {
                    found.push(next);
                }
            }
        }
    }
    if let Some(service) = given {
        let version = service.strip_prefix("php").and_then(|rest| rest.strip_suffix("-fpm")).unwrap_or_default();
        let derived = found.into_iter().find(|serving| serving.fpm == service);
        let mut named = derived.unwrap_or_else(|| serving(version, only_pool(version), String::new()));
        named.because = "php-fpm-service says so".to_owned();
        named.fpm = service.to_owned();
        named.version = named.version.filter(|version| !version.is_empty());
        return Ok(named);
    }
    match (found.as_slice(), versions.as_slice()) {
        ([one], _) => Ok(one.clone()),
        ([], [only]) => Ok(serving(only, only_pool(only), "it is the only PHP-FPM on the server".to_owned())),
        ([], []) => Err("no PHP-FPM was found on the server (/etc/php/*/fpm)".to_owned()),
        ([], many) => Err(format!(
            "no virtual host of nginx serves {} in a way that names a pool, and there are several PHP-FPM: {}",
            layout.current(),
            many.join(", ")
        )),
        (several, _) => Err(format!(
            "several PHP-FPM services serve {}: {}",
            layout.current(),
            several.iter().map(|one| one.fpm.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// The virtual hosts that serve what lies behind `current`.
fn hosts_of(layout: &Layout, files: &[ConfigFile]) -> Vec<nginx::VirtualHost> {
    let current = layout.current();
    let inside =
        |root: &str| root.strip_prefix(current.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let hosts = files.iter().flat_map(|file| nginx::virtual_hosts(&file.text));
    hosts.filter(|host| host.roots.iter().any(|root| inside(root))).collect()
}

fn fpm_versions(files: &[ConfigFile]) -> Vec<String> {
    let mut versions: Vec<String> =
        files.iter().filter_map(|file| fpm::version_of(&file.path)).map(str::to_owned).collect();
    versions.sort();
    versions.dedup();
    versions
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
    let main = files
        .iter()
        .find(|file| fpm::version_of(&file.path) == Some(version) && file.path.ends_with("/php-fpm.conf"))?;
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
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

/// A command that needs root, and how sudo stands to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// As it stands behind `sudo -n`.
    pub command: String,
    pub leave: Leave,
    /// The rule that sudo lists for it and does not apply.
    pub ignored: Option<String>,
    /// The same with the whole path of its program, as sudoers wants it.
    pub full: String,
}

impl Permission {
    /// How sudo stands to it, for a person.
    pub fn told(&self) -> String {
        match (self.leave, &self.ignored) {
            (Leave::Free, _) => "allowed, without a password".to_owned(),
            (Leave::Unproven, _) => "allowed; perhaps with a password".to_owned(),
            (Leave::Password, _) => "sudo wants a password for it".to_owned(),
            (Leave::Denied, None) => "not allowed".to_owned(),
            (Leave::Denied, Some(rule)) => format!(
                "not allowed: sudo lists the rule `{rule}` and does not apply it; sudo-rs takes no wildcards in arguments"
            ),
        }
    }

    /// Whether a release may rely on it.
    pub fn given(&self) -> bool {
        matches!(self.leave, Leave::Free | Leave::Unproven)
    }
}

/// The commands that a release runs as root. Of the ways to reload a service one is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    pub fpm: Vec<Permission>,
    pub nginx: Vec<Permission>,
    pub test: Permission,
    /// What sudo said when it refused, in its own words: no rule can help where it does not come to its rules, or reads them otherwise.
    pub said: Vec<String>,
}

impl Permissions {
    /// The cause, with what sudo said of it.
    pub fn in_sudos_words(&self, cause: String) -> String {
        if self.said.is_empty() { cause } else { format!("{cause}; sudo says: {}", self.said.join(" / ")) }
    }

    /// What to change so that these are allowed. A line for sudoers does not help where sudo says another reason.
    pub fn advice<'p>(&self, user: &str, missing: impl IntoIterator<Item = &'p Permission>) -> String {
        let line = sudoers_line(user, missing);
        match self.said.iter().find_map(|said| cure(user, said)) {
            Some(cure) => cure,
            None if self.said.iter().all(|said| said.ends_with("a password is required")) => line,
            None => format!("correct what sudo says there (as root: visudo -c); if the rule is missing, {line}"),
        }
    }

    /// The one that a release uses; else the one to allow.
    pub fn best(choices: &[Permission]) -> Option<&Permission> {
        // The first of equals, in the order in which they were thought of.
        choices.iter().min_by_key(|permission| permission.leave)
    }
}

/// Asks sudo about every command that a release could run as root. `fpm` is the service that serves the site, if it is known.
pub async fn permissions(
    shell: &dyn Shell,
    io: &Io,
    fpm: Option<&str>,
    systemd: bool,
    doing: &str,
) -> Result<Permissions, Failure> {
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
    let (fpm, nginx, test) = (fpm.map(candidates).unwrap_or_default(), candidates("nginx"), "nginx -t".to_owned());
    let all = fpm.iter().chain(&nginx).chain(std::iter::once(&test));
    let script = Script::new("privileges", include_str!("sh/privileges.sh")).repeatable().list("COMMANDS", all);
    let answer = remote::run(shell, io, script, doing).await?;
    let rules = Rules::parse(answer.get("rules").unwrap_or_default());
    let permission = |command: &String| permission(command, &answer, &rules);
    let mut said: Vec<String> = Vec::new();
    for line in answer.all("said").flat_map(str::lines).map(str::trim) {
        if !line.is_empty() && !said.iter().any(|seen| seen == line) {
            said.push(line.to_owned());
        }
    }
    Ok(Permissions {
        fpm: fpm.iter().map(permission).collect(),
        nginx: nginx.iter().map(permission).collect(),
        test: permission(&test),
        said,
    })
}

fn permission(command: &str, answer: &Answer, rules: &Rules) -> Permission {
    let (program, arguments) = command.split_once(' ').unwrap_or((command, ""));
    let found = answer.all("path").filter_map(|record| record.split_once('=')).find(|(name, _)| *name == program);
    let path = match found {
        Some((_, path)) if path.starts_with('/') => path.to_owned(),
        _ if program == "systemctl" => format!("/usr/bin/{program}"),
        _ => format!("/usr/sbin/{program}"),
    };
    let allowed = answer.all("allowed").any(|yes| yes == command);
    let leave = if allowed { rules.of(&path, arguments) } else { Leave::Denied };
    let ignored = (!allowed).then(|| rules.by_wildcard(&path, arguments)).flatten().map(str::to_owned);
    Permission { command: command.to_owned(), leave, ignored, full: format!("{path} {arguments}") }
}

/// What to change where sudo gives a reason that a further rule does not take away.
fn cure(user: &str, said: &str) -> Option<String> {
    said.contains("must have a tty").then(|| {
        format!("a release has no terminal: add this line to /etc/sudoers.d/gated-deploy: Defaults:{user} !requiretty")
    })
}

/// The line for sudoers that allows what is missing; we never add it ourselves (F36, F67).
pub fn sudoers_line<'p>(user: &str, missing: impl IntoIterator<Item = &'p Permission>) -> String {
    let commands: Vec<&str> = missing.into_iter().map(|permission| permission.full.as_str()).collect();
    format!(
        "an administrator can allow it with this line in /etc/sudoers.d/gated-deploy: {user} ALL=(root) NOPASSWD: {}",
        commands.join(", ")
    )
}

/// Why the commands that are needed may not be run, and the line that would allow them.
pub fn missing(user: &str, permissions: &Permissions) -> Option<(String, String)> {
    let best = [&permissions.fpm, &permissions.nginx].into_iter().filter_map(|choices| Permissions::best(choices));
    let missing: Vec<&Permission> = best.filter(|permission| !permission.given()).collect();
    if missing.is_empty() {
        return None;
    }
    let told = missing.iter().map(|permission| match (permission.leave, &permission.ignored) {
        (Leave::Password, _) => format!("sudo -n {} (sudo wants a password for it)", permission.command),
        (_, Some(_)) => format!("sudo -n {} ({})", permission.command, permission.told()),
        _ => format!("sudo -n {}", permission.command),
    });
    let cause = format!("{user} may not run: {}", told.collect::<Vec<_>>().join(", "));
    Some((permissions.in_sudos_words(cause), permissions.advice(user, missing)))
}

/// Asks sudo which reload commands it allows, and picks one for each service. Every one that is missing is named, with the line
/// that would allow it.
pub async fn privileges(
    shell: &dyn Shell,
    io: &Io,
    user: &str,
    serving: &Serving,
    systemd: bool,
) -> Result<ServiceFacts, Failure> {
    let doing = "asking sudo what it allows";
    let permissions = permissions(shell, io, Some(&serving.fpm), systemd, doing).await?;
    if let Some((cause, hint)) = missing(user, &permissions) {
        return Err(errors::services::sudo_rule_missing(cause, hint).failure(doing));
    }
    let commands =
        [Permissions::best(&permissions.fpm), Some(&permissions.test), Permissions::best(&permissions.nginx)];
    Ok(ServiceFacts {
        fpm: serving.fpm.clone(),
        reload: commands.into_iter().flatten().filter(|one| one.given()).map(|one| sudo(&one.command)).collect(),
        process_control_timeout: serving.process_control_timeout,
    })
}

/// The commands of a reload, in the order in which they run.
pub fn reload_commands(permissions: &Permissions) -> Vec<RemoteCommand> {
    let commands =
        [Permissions::best(&permissions.fpm), Some(&permissions.test), Permissions::best(&permissions.nginx)];
    commands.into_iter().flatten().filter(|one| one.given()).map(|one| sudo(&one.command)).collect()
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
    match remote::run(&*cx.ports.shell, io, reload_script(services)?, &doing).await {
        Ok(answer) => Ok(told(&answer, &services.fpm)),
        Err(failure) => {
            if failure.kind == FailureKind::Refused {
                let unready = ready::afterwards(&*cx.ports.shell, io, &services.fpm).await;
                cx.made.borrow_mut().unready = unready;
            }
            Err(failure)
        }
    }
}

/// The script that reloads them. The watcher on the server has it, too.
pub fn reload_script(services: &ServiceFacts) -> Result<Script, Failure> {
    let doing = format!("reloading {} and nginx", services.fpm);
    let commands: Vec<String> = services.reload.iter().map(ToString::to_string).collect();
    // Between them stands `nginx -t`, which the script runs in any case.
    let ([fpm, nginx] | [fpm, _, nginx]) = commands.as_slice() else {
        return Err(Failure::bug(doing, "there are no two or three reload commands"));
    };
    // A worker may finish its request for as long as process_control_timeout allows, and then some for the fork.
    let wait = services.process_control_timeout.unwrap_or(0).min(120) + 10;
    let script = Script::new("reload", RELOAD)
        .repeatable()
        .var("FPM_COMMAND", fpm)
        .var("NGINX_COMMAND", nginx)
        .var("WAIT", wait.to_string())
        .timeout(Duration::from_secs(2 * wait + 60));
    Ok(ready::named(script, &services.fpm, ("", "")))
}

const RELOAD: &str =
    concat!(include_str!("sh/processes.sh"), include_str!("sh/ready.sh"), include_str!("sh/reload.sh"));

fn told(answer: &Answer, fpm: &str) -> String {
    let unseen: Vec<&str> = answer.all("unseen").collect();
    let idle: Vec<&str> = answer.all("idle").collect();
    if !unseen.is_empty() {
        return format!("{fpm} and nginx reloaded (their processes cannot be seen here: {})", unseen.join(", "));
    }
    match idle.is_empty() {
        true => format!("{fpm} and nginx run with new workers"),
        false => format!("{fpm} and nginx reloaded ({} runs without workers until the next request)", idle.join(", ")),
    }
}

/// What to type once the reason is gone that kept a service from being reloaded.
pub fn reload_later(reload: &[RemoteCommand]) -> String {
    let commands: Vec<String> = reload.iter().map(ToString::to_string).collect();
    format!("correct what is named there, then: {}", commands.join(" && "))
}

/// The PHP-FPM that these commands reload, where they are commands of a release.
pub fn fpm_of(reload: &[String]) -> Option<&str> {
    let words: Vec<&str> = reload.first()?.split_whitespace().collect();
    match words.as_slice() {
        ["sudo", "-n", "service", service, "reload"] => Some(service),
        ["sudo", "-n", "systemctl", "reload", unit] => Some(unit.strip_suffix(".service").unwrap_or(unit)),
        _ => None,
    }
}

/// The commands of a reload for a person to type: what does not run is started, because it cannot be reloaded.
pub fn by_hand(reload: &[RemoteCommand], stopped: &[String]) -> Vec<RemoteCommand> {
    let by_hand = |command: &RemoteCommand| {
        let text = command.to_string();
        let words: Vec<&str> = text.split_whitespace().collect();
        let (start, service): (fn(&str) -> [&str; 4], &str) = match words.as_slice() {
            ["sudo", "-n", "service", service, "reload"] => (|name| ["sudo", "service", name, "start"], service),
            ["sudo", "-n", "systemctl", "reload", unit] => {
                (|name| ["sudo", "systemctl", "start", name], unit.strip_suffix(".service").unwrap_or(unit))
            }
            _ => return command.clone(),
        };
        // Without `-n`: to start it is no rule of a release, so sudo may ask for a password.
        match stopped.iter().any(|stopped| stopped == service) {
            true => RemoteCommand::new(start(service)),
            false => command.clone(),
        }
    };
    reload.iter().map(by_hand).collect()
}

/// What the kernel calls the processes of a service: `php8.2-fpm` runs as `php-fpm8.2` (Debian's binary name).
pub fn process_name(service: &str) -> String {
    match service.strip_prefix("php").and_then(|rest| rest.strip_suffix("-fpm")) {
        Some(version) => format!("php-fpm{version}"),
        None => service.to_owned(),
    }
}

/// What the plan prints.
pub fn preview(cx: &Deploy) -> Vec<String> {
    let services = &cx.facts.server.services;
    let mut lines: Vec<String> =
        services.reload.iter().map(|command| format!("{command}    (sudo allows it)")).collect();
    lines.push(match services.process_control_timeout {
        Some(0) | None => "expected downtime: none but for requests that run just then; they may be cut".to_owned(),
        Some(seconds) => format!("expected downtime: none; running requests have {seconds} s to end"),
    });
    lines
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(text: &str) {
    let file = |path: &str| ConfigFile { path: path.to_owned(), text: text.to_owned() };
    let files = [
        file("/etc/nginx/nginx.conf"),
        file("/etc/nginx/fastcgi.conf"),
        file("/etc/php/8.3/fpm/pool.d/x.conf"),
        file("/etc/php/8.3/fpm/php-fpm.conf"),
    ];
    for host in nginx::virtual_hosts(text) {
        nginx::realpath_root(&host, &files);
    }
    nginx::upstreams(text);
    for pool in fpm::pools(&files) {
        assert!(!pool.listen.is_empty() && !pool.listen.contains('\n'));
        pool.listens_on("unix:/run/php/php8.3-fpm.sock");
    }
    process_control_timeout("8.3", &files);
    let rules = Rules::parse(text);
    let _ = (rules.of("/usr/bin/systemctl", "reload php8.3-fpm"), rules.of("/bin/x", text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fd10_what_does_not_run_is_started_by_hand_and_not_reloaded() {
        let by_hand = |reload: [&str; 3], stopped: &[&str]| {
            let reload = reload.map(|command| RemoteCommand::new(command.split(' ')));
            let stopped: Vec<String> = stopped.iter().map(|service| (*service).to_owned()).collect();
            let commands: Vec<String> = by_hand(&reload, &stopped).iter().map(ToString::to_string).collect();
            commands
        };
        let debian = ["sudo -n service php8.2-fpm reload", "sudo -n nginx -t", "sudo -n service nginx reload"];
        assert_eq!(by_hand(debian, &[]), debian);
        let started = ["sudo service php8.2-fpm start", "sudo -n nginx -t", "sudo -n service nginx reload"];
        assert_eq!(by_hand(debian, &["php8.2-fpm"]), started);
        let units =
            ["sudo -n systemctl reload php8.2-fpm.service", "sudo -n nginx -t", "sudo -n systemctl reload nginx"];
        let started = ["sudo systemctl start php8.2-fpm", "sudo -n nginx -t", "sudo systemctl start nginx"];
        assert_eq!(by_hand(units, &["nginx", "php8.2-fpm"]), started);
    }

    #[test]
    fn fd14_what_sudo_says_is_told_and_decides_what_to_change() {
        let denied = |ignored: Option<&str>| Permission {
            command: "nginx -t".to_owned(),
            leave: Leave::Denied,
            ignored: ignored.map(str::to_owned),
            full: "/usr/sbin/nginx -t".to_owned(),
        };
        let permissions = |ignored, said: &[&str]| Permissions {
            fpm: vec![denied(ignored)],
            nginx: Vec::new(),
            test: denied(None),
            said: said.iter().map(|said| (*said).to_owned()).collect(),
        };
        let (cause, hint) = missing("deploy", &permissions(None, &[])).expect("something is missing");
        assert_eq!(cause, "deploy may not run: sudo -n nginx -t");
        assert!(hint.ends_with("deploy ALL=(root) NOPASSWD: /usr/sbin/nginx -t"), "{hint}");
        let tty = "sudo: sorry, you must have a tty to run sudo";
        let (cause, hint) = missing("deploy", &permissions(None, &[tty])).expect("something is missing");
        assert!(cause.ends_with(&format!("; sudo says: {tty}")), "{cause}");
        assert!(hint.ends_with("Defaults:deploy !requiretty"), "the rule is there already: {hint}");
        let (cause, hint) =
            missing("deploy", &permissions(Some("/usr/sbin/nginx *"), &[])).expect("something is missing");
        assert!(cause.contains("lists the rule `/usr/sbin/nginx *`") && cause.contains("no wildcards"), "{cause}");
        assert!(hint.ends_with("NOPASSWD: /usr/sbin/nginx -t"), "in full: {hint}");
    }

    #[test]
    fn fd15_what_is_told_of_a_pool_without_workers_is_true() {
        let answer = |key: &str| Answer::new(vec![(key.to_owned(), "php-fpm8.2".to_owned())]);
        let idle = told(&answer("idle"), "php8.2-fpm");
        assert!(idle.contains("php-fpm8.2 runs without workers until the next request"), "{idle}");
        assert!(told(&answer("unseen"), "php8.2-fpm").contains("cannot be seen here"));
    }
}
