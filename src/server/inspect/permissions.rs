//! What sudo lets the deploy user do for a reload.

use crate::{
    domain::Failure,
    engine::step::Io,
    server::{
        inspect::sudo::{Leave, Rules},
        remote,
    },
    transport::shell::{Answer, Script, Shell},
};

/// A command that needs root, and whether sudo allows it.
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
    /// What sudo allows, for the log.
    pub fn describe(&self) -> String {
        match (self.leave, &self.ignored) {
            (Leave::Free, _) => "allowed, without a password".to_owned(),
            (Leave::Unproven, _) => "allowed; perhaps with a password".to_owned(),
            (Leave::Password, _) => "sudo asks for a password".to_owned(),
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
    /// The messages of sudo when it refused: a rule does not help where sudo refuses for another reason.
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
            None => format!("Correct what sudo reports. As root, run: visudo -c\nIf the rule is missing: {line}"),
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
    let script = Script::new("privileges", include_str!("privileges.sh")).repeatable().list("COMMANDS", all);
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

pub(crate) fn permission(command: &str, answer: &Answer, rules: &Rules) -> Permission {
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
pub(crate) fn cure(user: &str, said: &str) -> Option<String> {
    said.contains("must have a tty").then(|| {
        format!("A release has no terminal. Add this line to /etc/sudoers.d/gated-deploy: Defaults:{user} !requiretty")
    })
}

/// The line for sudoers that allows what is missing; we never add it ourselves (F36, F67).
pub fn sudoers_line<'p>(user: &str, missing: impl IntoIterator<Item = &'p Permission>) -> String {
    let commands: Vec<&str> = missing.into_iter().map(|permission| permission.full.as_str()).collect();
    format!("Add this line to /etc/sudoers.d/gated-deploy:\n{user} ALL=(root) NOPASSWD: {}", commands.join(", "))
}

/// Why the commands that are needed may not be run, and the line that would allow them.
pub fn missing(user: &str, permissions: &Permissions) -> Option<(String, String)> {
    let best = [&permissions.fpm, &permissions.nginx].into_iter().filter_map(|choices| Permissions::best(choices));
    let missing: Vec<&Permission> = best.filter(|permission| !permission.given()).collect();
    if missing.is_empty() {
        return None;
    }
    let described = missing.iter().map(|permission| match (permission.leave, &permission.ignored) {
        (Leave::Password, _) => format!("sudo -n {} (sudo asks for a password)", permission.command),
        (_, Some(_)) => format!("sudo -n {} ({})", permission.command, permission.describe()),
        _ => format!("sudo -n {}", permission.command),
    });
    let cause = format!("{user} may not run: {}", described.collect::<Vec<_>>().join(", "));
    Some((permissions.in_sudos_words(cause), permissions.advice(user, missing)))
}
