//! From text to values, one rule a function.

use std::{net::IpAddr, net::SocketAddr, time::Duration};

use serde_yaml::{Mapping, Value};
use url::Url;

use super::{
    table::{self, Kind},
    typed::HealthAnswer,
};
use crate::domain::{
    CommitSha, EnvironmentName, ReleaseName, RemotePath, Stage, approval,
    hook::{self, Hooks},
    path,
};

/// Why a text is not the value that it should be, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Continues the sentence that begins with the text: "is not a port".
    pub problem: String,
    pub right: String,
}

fn wrong(problem: impl Into<String>, right: impl Into<String>) -> Wrong {
    Wrong { problem: problem.into(), right: right.into() }
}

/// Checks a text that this stage does not use, so that a mistake does not wait for the stage that does.
pub fn check(kind: Kind, text: &str) -> Result<(), Wrong> {
    match kind {
        Kind::Text | Kind::Lines => Ok(()),
        Kind::OneOf(words) => one_of(text, words).map(drop),
        Kind::Stage => stage(text).map(drop),
        Kind::Environment => environment(text).map(drop),
        Kind::Boolean => boolean(text).map(drop),
        Kind::Duration { min, max } => duration(text, min, max).map(drop),
        Kind::Grace { min, max } => grace(text, min, max).map(drop),
        Kind::Count { min, max } => count(text, min, max).map(drop),
        Kind::Host => host(text).map(drop),
        Kind::User => user(text).map(drop),
        Kind::BaseDir => base_dir(text).map(drop),
        Kind::Elsewhere => elsewhere(text).map(drop),
        Kind::Relative => relative(text).map(drop),
        Kind::Local => Ok(()),
        Kind::Site => site(text).map(drop),
        Kind::Address => address(text).map(drop),
        Kind::Program => program(text).map(drop),
        Kind::Service => service(text).map(drop),
        Kind::Workflow => workflow(text).map(drop),
        Kind::Artifact => artifact(text).map(drop),
        Kind::Commit => commit(text).map(drop),
        Kind::RunId => run_id(text).map(drop),
        Kind::Release => release(text).map(drop),
        Kind::Phrase => phrase(text).map(drop),
        Kind::Home => home(text).map(drop),
        Kind::UrlPaths => health_paths(text).map(drop),
        Kind::Folders => folders(text).map(drop),
        Kind::Words => words(text).map(drop),
        Kind::Hooks => hooks(text).map(drop),
    }
}

/// Exactly the words that the runner's toolkit takes (`getBooleanInput`).
pub fn boolean(text: &str) -> Result<bool, Wrong> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err(wrong("is neither true nor false", "write `true` or `false`")),
    }
}

/// A number with `s`, `m` or `h`, or plain seconds; one unit only.
pub fn duration(text: &str, min: u64, max: u64) -> Result<Duration, Wrong> {
    let form = || wrong("is not a duration", "write `15s`, `10m`, `1h`, or plain seconds");
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let factor = match unit {
        "h" => 3600,
        "m" => 60,
        _ => 1,
    };
    let seconds = whole(number).ok_or_else(form)?.saturating_mul(factor);
    if (min..=max).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(wrong(
            if seconds < min { "is too short" } else { "is too long" },
            format!("set it from {} to {}", show_seconds(min), show_seconds(max)),
        ))
    }
}

/// What is waited for instead of a time.
pub const UNTIL_STABLE: &str = "until-stable";

/// A duration, or `None` for `until-stable`.
pub fn grace(text: &str, min: u64, max: u64) -> Result<Option<Duration>, Wrong> {
    if text == UNTIL_STABLE {
        return Ok(None);
    }
    let or = |wrong: Wrong| Wrong { right: format!("{}, or write `{UNTIL_STABLE}`", wrong.right), ..wrong };
    duration(text, min, max).map(Some).map_err(or)
}

/// A duration as an input would give it.
pub fn show_seconds(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

pub fn count(text: &str, min: u64, max: u64) -> Result<u64, Wrong> {
    match whole(text) {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        Some(_) => Err(wrong("is out of range", format!("write a whole number from {min} to {max}"))),
        None => Err(wrong("is not a whole number", format!("write a number from {min} to {max}"))),
    }
}

/// Digits only: no sign, no blanks, no `null` (F4). `None` also when it is larger than any number we use.
fn whole(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

pub fn one_of<'w>(text: &str, words: &[&'w str]) -> Result<&'w str, Wrong> {
    match words.iter().find(|word| **word == text) {
        Some(word) => Ok(word),
        None => Err(wrong("is not one of the possible values", meant(text, words))),
    }
}

/// "did you mean `x`?", or the whole list.
fn meant(text: &str, words: &[&str]) -> String {
    match table::nearest(text, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write `{}`", words.join("`, `")),
    }
}

pub fn stage(text: &str) -> Result<Stage, Wrong> {
    if let Ok(stage) = text.parse() {
        return Ok(stage);
    }
    let names: Vec<&str> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
    Err(wrong("is not a stage", meant(text, &names)))
}

pub fn environment(text: &str) -> Result<EnvironmentName, Wrong> {
    text.parse().map_err(|_| {
        wrong("is not an environment's name", "write lower-case letters, digits and hyphens, such as `staging`")
    })
}

/// A host name (RFC 1123, underscores tolerated) or an address.
pub fn host(text: &str) -> Result<String, Wrong> {
    let right = "write the name or address alone, such as `staging.example.com`";
    if text.lines().count() > 1 {
        return Err(wrong("names several servers", "name one server; several come in a later version"));
    }
    if text.contains("://") {
        return Err(wrong("has a scheme", right));
    }
    if text.contains('@') {
        return Err(wrong("has a user in it", format!("{right}, and the user in ssh-user")));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if text.contains(':') || text.contains(['[', ']']) {
        return Err(wrong("has a port or brackets", format!("{right}, and the port in ssh-port")));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(wrong("is not a host name", right))
    }
}

/// A name that `useradd` accepts.
pub fn user(text: &str) -> Result<String, Wrong> {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let bytes = text.as_bytes();
    if bytes.len() <= 32 && bytes.first().copied().is_some_and(first) && bytes.iter().copied().all(rest) {
        Ok(text.to_owned())
    } else {
        Err(wrong("is not an account's name", "write letters, digits, `_`, `-` and `.`, at most 32, such as `deploy`"))
    }
}

/// Folders of the system: a release must never move in there, nor its retention delete there.
const SYSTEM: &[&str] =
    &["/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/boot", "/dev", "/proc", "/sys", "/run"];
/// Folders that hold other people's folders: below them is fine, they themselves are not.
const PARENTS: &[&str] = &[
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/cache",
    "/var/tmp",
    "/var/spool",
    "/var/backups",
    "/home",
    "/root",
    "/srv",
    "/opt",
    "/tmp",
    "/mnt",
    "/media",
];

pub fn base_dir(text: &str) -> Result<RemotePath, Wrong> {
    own_folder(text, "write the app's own folder, absolute, such as `/var/www/app`")
}

/// A folder for copies, on another disk or machine.
pub fn elsewhere(text: &str) -> Result<RemotePath, Wrong> {
    own_folder(text, "write a folder of its own on another disk or machine, absolute, such as `/mnt/nas/app`")
}

fn own_folder(text: &str, right: &'static str) -> Result<RemotePath, Wrong> {
    if text.trim_end_matches('/').is_empty() {
        return Err(wrong("is the root of the file system", right));
    }
    let path: RemotePath = text.parse().map_err(|problem: String| {
        let problem = problem.strip_prefix(&format!("`{text}` ")).unwrap_or(&problem).to_owned();
        wrong(problem, right)
    })?;
    let name = path.as_str();
    let inside = |system: &str| name.strip_prefix(system).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if SYSTEM.iter().any(|system| inside(system)) || PARENTS.contains(&name) {
        return Err(wrong("is a folder of the system", right));
    }
    Ok(path)
}

/// A path that stays inside of what it is joined to.
pub fn relative(text: &str) -> Result<String, Wrong> {
    let text = text.strip_prefix("./").unwrap_or(text);
    path::relative(text).map(str::to_owned).map_err(|problem| {
        wrong(format!("is not usable: {problem}"), "write a path below base-dir, such as `shared/.env/staging.env`")
    })
}

pub fn site(text: &str) -> Result<Url, Wrong> {
    let right = "write scheme and host, such as `https://staging.example.com`";
    let url = Url::parse(text).map_err(|error| wrong(format!("is not a URL ({error})"), right))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("has the scheme `{}`", url.scheme()), right));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "has a user or password in it",
            format!("{right}; for a site behind basic auth use `health-via: tunnel`"),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or fragment", right));
    }
    if url.path() != "/" {
        return Err(wrong("has a path", format!("{right}; paths go into health-paths")));
    }
    Ok(url)
}

pub fn address(text: &str) -> Result<SocketAddr, Wrong> {
    let right = "write an address and a port, such as `127.0.0.1:8080` or `[::1]:8080`";
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err(wrong("has the port 0", right)),
        Err(_) => Err(wrong("is not an address with a port", right)),
    }
}

/// A name found by the server's PATH, or an absolute path.
pub fn program(text: &str) -> Result<String, Wrong> {
    let name = |text: &str| {
        !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
    };
    if !text.is_empty() && (name(text) || text.parse::<RemotePath>().is_ok()) {
        Ok(text.to_owned())
    } else {
        Err(wrong("is neither a program's name nor an absolute path", "write `php8.3` or `/usr/bin/php8.3`"))
    }
}

/// A systemd unit by the characters that unit names have; `None` is `auto`.
pub fn service(text: &str) -> Result<Option<String>, Wrong> {
    let name = |text: &str| {
        !text.starts_with(['-', '.'])
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._:-".contains(&byte))
    };
    match text {
        "auto" => Ok(None),
        _ if !text.is_empty() && text.len() <= 200 && name(text) => Ok(Some(text.to_owned())),
        _ => Err(wrong("is not a service's name", "write `auto`, or a name such as `php8.3-fpm`")),
    }
}

pub fn workflow(text: &str) -> Result<String, Wrong> {
    if text.contains(['/', '\\']) && (text.ends_with(".yml") || text.ends_with(".yaml")) {
        return Err(wrong(
            "is a path",
            "write the file name alone, such as `build-artifacts.yml`, or the workflow's name",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("has control characters or several lines", "write one file name or one workflow's name"));
    }
    Ok(text.to_owned())
}

/// A name, such as that of a GitHub environment.
pub fn one_line(text: &str) -> Result<String, Wrong> {
    match text.chars().any(char::is_control) {
        true => Err(wrong("has control characters or several lines", "write one name on one line")),
        false => Ok(text.to_owned()),
    }
}

/// The name of an artifact, with `{sha}` still in it; without the characters that upload-artifact refuses.
pub fn artifact(text: &str) -> Result<String, Wrong> {
    let right = "write a name such as `deployment-bundle-{sha}`";
    let bare = text.replace("{sha}", "");
    if let Some(bad) =
        bare.chars().find(|c| matches!(c, '"' | ':' | '<' | '>' | '|' | '*' | '?' | '\\' | '/') || c.is_control())
    {
        return Err(wrong(format!("has `{}` in it, which no artifact's name can have", bad.escape_debug()), right));
    }
    if bare.contains(['{', '}']) {
        return Err(wrong("has braces that are not `{sha}`", right));
    }
    Ok(text.to_owned())
}

pub fn commit(text: &str) -> Result<CommitSha, Wrong> {
    text.parse().map_err(|_| wrong("is not a full commit SHA", "write all 40 hexadecimal digits, in lower case"))
}

pub fn run_id(text: &str) -> Result<u64, Wrong> {
    match whole(text) {
        Some(id) if id > 0 => Ok(id),
        _ => Err(wrong(
            "is not a workflow run's number",
            "write the digits at the end of the run's address, such as `19011797015`",
        )),
    }
}

pub fn release(text: &str) -> Result<ReleaseName, Wrong> {
    text.parse().map_err(|_| {
        wrong("is not a release's name", "write the name of its folder, such as `20251102_154900-f0959baf`")
    })
}

/// Long enough not to be typed by accident, one line, and none of the words that stop a run.
pub fn phrase(text: &str) -> Result<String, Wrong> {
    let right = "write one line of at least 8 characters";
    if matches!(text, approval::ABORT | approval::APPEND) {
        return Err(wrong("is reserved: it has a meaning of its own", right));
    }
    if text.chars().count() < 8 || text.chars().any(char::is_control) {
        return Err(wrong("cannot be a phrase", right));
    }
    Ok(text.to_owned())
}

/// The name of a secret (GitHub's documentation, "Naming your secrets").
pub fn secret_name(text: &str) -> Result<String, Wrong> {
    let right =
        "write letters, digits and underscores, such as `HEALTHCHECK_TOKEN`; not beginning with a digit or GITHUB_";
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let reserved = text.starts_with(|c: char| c.is_ascii_digit()) || text.to_ascii_uppercase().starts_with("GITHUB_");
    match letters && !reserved && !text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err(wrong("is not the name of a secret", right)),
    }
}

/// The name of a secret that holds a health token. The fix overwrites it, so it must not be the name of another secret.
pub fn health_secret_name(text: &str) -> Result<String, Wrong> {
    let name = secret_name(text)?;
    let upper = name.to_ascii_uppercase();
    match upper.contains("HEALTH") && upper.ends_with("TOKEN") {
        true => Ok(name),
        false => Err(wrong(
            "is not the name of a health token's secret",
            "give it a name that contains `HEALTH` and ends in `TOKEN`, such as `STAGING_HEALTH_TOKEN`",
        )),
    }
}

/// Names of branches, or patterns of tags: one a line.
pub fn refs(text: &str) -> Result<Vec<String>, Wrong> {
    let names: Vec<String> = lines(text).map(str::to_owned).collect();
    let bad = |name: &&String| name.starts_with("refs/") || name.chars().any(|c| c.is_whitespace() || c.is_control());
    match names.iter().find(bad) {
        None => Ok(names),
        Some(name) => Err(wrong(
            format!("has `{name}`, which is not the short name of a branch or tag"),
            "write one name a line, such as `main`, without `refs/heads/`",
        )),
    }
}

/// One a line; blanks around a line and empty lines do not count, as in the runner's toolkit (`getMultilineInput`).
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// A health path, and what it must answer where that is not a healthy body.
pub type HealthPath = (String, Option<HealthAnswer>);

/// What a line of health-paths may be.
const PATHS: &str = "write one path a line, each beginning with a slash, such as `/health`";
const ENTRIES: &str = "write a path such as `/health`, or `{path: /health, expect: {status: ok}}`, `{path: /, contains: Welcome}` or `{path: /up, status: 200}`";

fn url_path(line: &str) -> Result<String, Wrong> {
    let bad = !line.starts_with('/')
        || line.starts_with("//")
        || line.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#');
    match bad {
        false => Ok(line.to_owned()),
        true => Err(wrong(format!("has `{line}`, which is not the path of an endpoint"), PATHS)),
    }
}

/// Paths, and mappings of a path and what it must answer: one a line.
pub fn health_paths(text: &str) -> Result<Vec<HealthPath>, Wrong> {
    let mut paths: Vec<HealthPath> = Vec::new();
    for line in lines(text) {
        let (path, answer) = if line.starts_with('{') { health_entry(line)? } else { (url_path(line)?, usual(line)) };
        if paths.iter().any(|(known, other)| *known == path && *other != answer) {
            return Err(wrong(format!("has `{path}` twice, with two answers"), "keep one of them"));
        }
        paths.push((path, answer));
    }
    at_least_one(paths, PATHS)
}

/// Laravel's own health route promises a status only: HTML in one version, JSON in another.
fn usual(path: &str) -> Option<HealthAnswer> {
    (path.split('?').next() == Some("/up")).then_some(HealthAnswer::Status(200))
}

/// One mapping, as YAML or JSON writes it on one line.
fn health_entry(line: &str) -> Result<HealthPath, Wrong> {
    let bad = |what: &str| wrong(format!("has `{line}`, {what}"), ENTRIES);
    let Ok(Value::Mapping(entry)) = serde_yaml::from_str(line) else {
        return Err(bad("which is no mapping that can be read"));
    };
    let known = |key: &Value| key.as_str().is_some_and(|key| ["path", "expect", "contains", "status"].contains(&key));
    if let Some(key) = entry.keys().find(|key| !known(key)) {
        return Err(bad(&format!("in which `{}` is not known", key.as_str().unwrap_or("a key that is no text"))));
    }
    let path = entry.get("path").and_then(Value::as_str).ok_or_else(|| bad("which names no `path`"))?;
    let path = url_path(path)?;
    let answer = match (entry.get("expect"), entry.get("contains"), entry.get("status")) {
        (None, None, None) => usual(&path),
        (Some(fields), None, None) => {
            let fields = fields.as_mapping().and_then(fields_of);
            Some(
                fields
                    .ok_or_else(|| bad("whose `expect` is no mapping of fields to texts, numbers or truth values"))?,
            )
        }
        (None, Some(text), None) => match text.as_str().map(str::trim) {
            Some(text) if !text.is_empty() => Some(HealthAnswer::Contains(text.to_owned())),
            _ => return Err(bad("whose `contains` is no text; quote it")),
        },
        (None, None, Some(status)) => match status.as_u64().and_then(|status| u16::try_from(status).ok()) {
            Some(status @ 200..=299) => Some(HealthAnswer::Status(status)),
            _ => return Err(bad("whose `status` is no number from 200 to 299")),
        },
        _ => return Err(bad("which has more than one of `expect`, `contains` and `status`")),
    };
    Ok((path, answer))
}

fn fields_of(fields: &Mapping) -> Option<HealthAnswer> {
    let field = |(name, value): (&Value, &Value)| {
        let plain = value.is_string() || value.is_number() || value.is_bool();
        Some((name.as_str()?.to_owned(), serde_json::to_value(value).ok().filter(|_| plain)?))
    };
    let fields = fields.iter().map(field).collect::<Option<std::collections::BTreeMap<_, _>>>()?;
    (!fields.is_empty()).then_some(HealthAnswer::Fields(fields))
}

/// One path, or nothing.
pub fn home(text: &str) -> Result<Option<String>, Wrong> {
    if text == "none" {
        return Ok(None);
    }
    match lines(text).collect::<Vec<_>>().as_slice() {
        [] => Err(wrong("is an empty list", PATHS)),
        [path] => url_path(path).map(Some),
        _ => Err(wrong("is more than one path", "write one path, such as `/`, or `none`")),
    }
}

/// Paths without a word of what they answer, and not so many that a release waits for them.
pub fn warm_up(text: &str) -> Result<Vec<String>, Wrong> {
    const MOST: usize = 20;
    const RIGHT: &str = "write paths such as `/` and `/login`";
    let mut paths: Vec<String> = Vec::new();
    for line in lines(text) {
        if line.starts_with('{') {
            return Err(wrong("has an entry that is no path: no answer is compared here", RIGHT));
        }
        let path = url_path(line)?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    match paths.len() {
        0..=MOST => at_least_one(paths, RIGHT),
        many => Err(wrong(
            format!("has {many} paths"),
            format!("write at most {MOST}: each is asked for while the release waits"),
        )),
    }
}

pub fn folders(text: &str) -> Result<Vec<String>, Wrong> {
    let right = "write one folder a line, such as `storage` or `public/uploads`";
    let mut folders = Vec::new();
    for line in lines(text) {
        let folder = line.strip_suffix('/').unwrap_or(line);
        path::relative(folder)
            .map_err(|problem| wrong(format!("has `{line}`, which is not usable: {problem}"), right))?;
        folders.push(folder.to_owned());
    }
    let nested = |inner: &&String| {
        folders.iter().any(|outer| inner.strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('/')))
    };
    if let Some(inner) = folders.iter().find(nested) {
        return Err(wrong(format!("has `{inner}`, which is inside of another one"), "name the outer folder alone"));
    }
    Ok(folders)
}

pub fn words(text: &str) -> Result<Vec<String>, Wrong> {
    at_least_one(lines(text).map(str::to_lowercase).collect(), "write one word a line")
}

/// The commands that run at certain moments.
pub fn hooks(text: &str) -> Result<Hooks, Wrong> {
    let within =
        |text: &str| duration(text, hook::SHORTEST, hook::LONGEST).map_err(|Wrong { problem, right }| (problem, right));
    Hooks::read(text, within).map_err(|(problem, right)| wrong(problem, right))
}

fn at_least_one<T>(list: Vec<T>, right: &str) -> Result<Vec<T>, Wrong> {
    if list.is_empty() { Err(wrong("is an empty list", right)) } else { Ok(list) }
}
