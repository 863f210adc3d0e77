//! Reading what sudo lists, as far as one must to learn whether it would ask for a password.
//!
//! `sudo -n -l COMMAND` says that a command is allowed even where `sudo -n COMMAND` would want a password: with sudo's default
//! `listpw=any` one rule without a password is enough to list all of them (sudoers(5)). A release would learn it after the switch.

use crate::domain::glob::{self, Wildcards};

/// Whether sudo allows a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leave {
    /// Allowed, and by a rule that wants no password.
    Free,
    /// Allowed; which rule does it cannot be read from the list.
    Unproven,
    /// Allowed, but only with a password, which a run cannot type.
    Password,
    Denied,
}

/// The rules that `sudo -l` lists, in their order: of those that match a command the last one holds (sudoers(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    command: String,
    password: bool,
}

impl Rules {
    /// Reads the list. What it does not understand is left out, and matches nothing.
    pub fn parse(list: &str) -> Self {
        let (head, entries) = list.split_once(" may run the following commands").unwrap_or((list, ""));
        let by_default = !head.split([',', '\n']).any(|option| option.trim() == "!authenticate");
        let mut rules = Vec::new();
        for line in entries.lines().skip(1) {
            let Some((users, commands)) = line.trim().strip_prefix('(').and_then(|rest| rest.split_once(')')) else {
                continue;
            };
            // `(root : root)`: accounts, then groups. A rule for another account is none for us.
            let users = users.split(':').next().unwrap_or_default();
            if !users.split(',').any(|user| matches!(user.trim(), "ALL" | "root" | "#0")) {
                continue;
            }
            let mut password = by_default;
            for command in split(commands) {
                let mut rest = command.trim();
                // Tags hold until another one takes their place.
                while let Some((tag, after)) = rest.split_once(':').filter(|(tag, _)| is_tag(tag)) {
                    match tag {
                        "NOPASSWD" => password = false,
                        "PASSWD" => password = true,
                        _ => {}
                    }
                    rest = after.trim_start();
                }
                if !rest.is_empty() {
                    rules.push(Rule { command: rest.replace("\\,", ","), password });
                }
            }
        }
        Self { rules }
    }

    /// The listed rule that would allow a command only because of a wildcard in its arguments. sudo-rs lists such a rule, and does not
    /// apply it.
    pub fn by_wildcard(&self, path: &str, arguments: &str) -> Option<&str> {
        let rule = self.rules.iter().rev().find(|rule| rule.matches(path, arguments))?;
        let (_, wanted) = rule.command.split_once(' ')?;
        wanted.contains(['*', '?']).then_some(rule.command.as_str())
    }

    /// What the list says of a command that sudo allows: its program's path and its arguments.
    pub fn of(&self, path: &str, arguments: &str) -> Leave {
        match self.rules.iter().rev().find(|rule| rule.matches(path, arguments)) {
            Some(Rule { password: true, .. }) => Leave::Password,
            Some(Rule { password: false, .. }) => Leave::Free,
            None => Leave::Unproven,
        }
    }
}

impl Rule {
    fn matches(&self, path: &str, arguments: &str) -> bool {
        let (program, wanted) = match self.command.split_once(' ') {
            Some((program, wanted)) => (program, Some(wanted.trim())),
            None => (self.command.as_str(), None),
        };
        let (program, path) = (merged(program), merged(path));
        let is_program = match program.strip_suffix('/') {
            Some(folder) => path.rsplit_once('/').is_some_and(|(own, _)| own == folder),
            None => program == "ALL" || glob::matches(&program, &path, Wildcards::WithinPart),
        };
        // Without arguments a rule allows any, `""` allows none.
        is_program
            && wanted.is_none_or(|wanted| {
                if wanted == "\"\"" {
                    arguments.is_empty()
                } else {
                    glob::matches(wanted, arguments, Wildcards::Anything)
                }
            })
    }
}

/// Commands are separated by commas; one with a backslash before it belongs to a command.
fn split(commands: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut escaped = false;
    for c in commands.chars() {
        match (c, found.last_mut()) {
            (',', _) if !escaped => found.push(String::new()),
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
        escaped = c == '\\' && !escaped;
    }
    found
}

fn is_tag(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// `/bin` is `/usr/bin` on every Debian since 12 and every Ubuntu since 20.04, and sudo compares the files themselves.
fn merged(path: &str) -> String {
    match path {
        path if path.starts_with("/bin/") || path.starts_with("/sbin/") => format!("/usr{path}"),
        path => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Matching Defaults entries for deploy on lab:
    env_reset, mail_badpass, secure_path=/usr/local/sbin\\:/usr/bin, use_pty

User deploy may run the following commands on lab:
    (ALL) ALL
    (root) NOPASSWD: /usr/sbin/service php8.2-fpm reload
    (root) NOPASSWD: /bin/systemctl reload nginx, /usr/bin/systemctl reload php*-fpm, PASSWD: /usr/sbin/nginx -t, NOEXEC: NOPASSWD: /usr/bin/cat a\\,b
    (www-data) NOPASSWD: /usr/bin/systemctl restart nginx
    (ALL : ALL) /opt/tools/, NOPASSWD: /usr/bin/id \"\"";

    #[test]
    fn f67_a_command_that_is_allowed_may_still_want_a_password() {
        let rules = Rules::parse(LIST);
        let of = |command: &str| {
            let (path, arguments) = command.split_once(' ').unwrap_or((command, ""));
            rules.of(path, arguments)
        };
        assert_eq!(of("/usr/sbin/service php8.2-fpm reload"), Leave::Free);
        assert_eq!(of("/usr/sbin/service php8.3-fpm reload"), Leave::Password, "only ALL matches, and it wants one");
        assert_eq!(of("/usr/bin/systemctl reload nginx"), Leave::Free, "/bin is /usr/bin");
        assert_eq!(of("/usr/bin/systemctl reload php8.3-fpm"), Leave::Free);
        assert_eq!(of("/usr/bin/systemctl restart nginx"), Leave::Password);
        assert_eq!(of("/usr/sbin/nginx -t"), Leave::Password, "the last rule that matches holds");
        assert_eq!(of("/usr/bin/cat a,b"), Leave::Free);
        assert_eq!(of("/opt/tools/tool"), Leave::Password, "tags do not reach into the next line");
        assert_eq!((of("/usr/bin/id"), of("/usr/bin/id -u")), (Leave::Free, Leave::Password));
    }

    #[test]
    fn fd14_a_rule_that_matches_by_a_wildcard_is_named() {
        let rules = Rules::parse(LIST);
        let named = |command: &str| command.split_once(' ').and_then(|(path, rest)| rules.by_wildcard(path, rest));
        assert_eq!(named("/usr/bin/systemctl reload php8.3-fpm"), Some("/usr/bin/systemctl reload php*-fpm"));
        assert_eq!(named("/usr/bin/systemctl reload nginx"), None);
        assert_eq!(named("/usr/bin/systemctl reload apache2"), None, "nothing but ALL matches");
    }

    #[test]
    fn f67_defaults_count_and_what_is_not_listed_proves_nothing() {
        let free = Rules::parse(&LIST.replace("use_pty", "use_pty, !authenticate"));
        assert_eq!(free.of("/usr/bin/systemctl", "restart nginx"), Leave::Free);
        assert_eq!(free.of("/usr/sbin/nginx", "-t"), Leave::Password, "a tag beats the default");
        for nothing in [
            "",
            "Sorry, user deploy may not run sudo on lab.",
            "User deploy may run the following commands on lab:\n    (root) ^/usr/bin/.*$",
        ] {
            assert_eq!(Rules::parse(nothing).of("/usr/bin/id", ""), Leave::Unproven, "{nothing}");
        }
    }
}
