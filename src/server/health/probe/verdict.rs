//! What an answer says. Pure: the same answer always gets the same verdict.

use std::collections::BTreeMap;

use memchr::memmem;
use serde_json::{Map, Value};
use url::Url;

use crate::{
    config::typed::HealthAnswer,
    domain::{CommitSha, ReleaseName},
    http::Reply,
};

/// What Laravel's own health route says, in JSON and on its page. With problems it answers 500.
const FRAMEWORK_STATUS: &str = "Application is up";
const FRAMEWORK_PAGE: [&str; 2] = ["Application up", "HTTP request received"];

/// Fields of a JSON answer that can name the commit or release that answers; the first that does counts.
const IDENTITY: [&str; 5] = ["commit", "sha", "revision", "release", "version"];

/// What is wrong with an answer, and what to do about it where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What stands before and after the quotation, where there is one.
    words: (String, String),
    quoted: Option<String>,
    pub hint: Option<String>,
}

/// Characters of an answer that may be quoted: what is shown of it, and what a filter must see to know a value that is cut there.
const QUOTABLE: usize = 16 * 1024;

impl Problem {
    fn new(text: impl Into<String>) -> Self {
        Self { words: (text.into(), String::new()), quoted: None, hint: None }
    }

    /// Quotes what the site said.
    pub(super) fn quoting(before: impl Into<String>, said: &[u8], after: impl Into<String>) -> Self {
        let said = String::from_utf8_lossy(&said[..said.len().min(QUOTABLE)]).replace('\0', "\u{fffd}");
        Self { words: (before.into(), after.into()), quoted: Some(said), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What the site said, if the text quotes it: it may hold a secret that only the server knows.
    pub fn quoted(&self) -> Option<&str> {
        self.quoted.as_deref()
    }

    /// The text, with this in the place of what is quoted.
    pub fn text(&self, shown: &str) -> String {
        let (before, after) = &self.words;
        match self.quoted {
            Some(_) => format!("{before}{}{after}", excerpt(shown.as_bytes())),
            None => before.clone(),
        }
    }
}

/// What is wrong with an answer of a health endpoint; `None` if nothing is.
///
/// Healthy is exactly status 200 (F68) with one of these bodies: a JSON object whose `status` is one of `expect`, or which
/// has no `status` but a true `healthy` or `ok`, and in which neither of the two is false; or a text that, without the
/// white space around it and in any case of letters, *is* one of `expect`. A text that only contains such a word is not
/// enough: "not ok" contains one. A body that says nothing of the kind proves nothing and is a problem (F69).
///
/// The page of Laravel's own health route is one as well: it promises its status (FD5).
///
/// With `commit`, an answer that names another release is a problem (F74); one that names none is taken as it is.
pub fn judge(reply: &Reply, expect: &[String], commit: Option<&CommitSha>) -> Option<Problem> {
    judge_as(reply, None, expect, commit)
}

/// The same for a path that must answer as `answer` says.
pub fn judge_as(
    reply: &Reply,
    answer: Option<&HealthAnswer>,
    expect: &[String],
    commit: Option<&CommitSha>,
) -> Option<Problem> {
    let wanted = if let Some(HealthAnswer::Status(status)) = answer { *status } else { 200 };
    let problem = match reply.status {
        status if status == wanted => match answer {
            None => body(reply, expect),
            Some(HealthAnswer::Status(_)) => None,
            Some(HealthAnswer::Fields(fields)) => differing(reply, fields),
            Some(HealthAnswer::Contains(text)) => lacking(reply, text),
        },
        401 if asks_for_password(reply) => Some(protected()),
        // A page and the framework's own route take no token.
        status @ (401 | 403) if matches!(answer, Some(HealthAnswer::Status(_) | HealthAnswer::Contains(_))) => Some(
            Problem::new(format!("{status} instead of {wanted}")).hint(
                "This health path takes no token. Exclude it from the login (middleware `auth`), and check that no rule of the web server denies it",
            ),
        ),
        status @ (401 | 403) => Some(
            Problem::new(format!("{status}: the probe is misconfigured, the token is missing or wrong")).hint(
                "Set `healthcheck-token` to the value that the application checks. A refused token says nothing about the site's health",
            ),
        ),
        300..=399 => Some(redirected(reply)),
        status => Some(maintenance(reply).unwrap_or_else(|| Problem::new(format!("{status} instead of {wanted}")))),
    };
    problem.or_else(|| {
        let (answered, commit) = (answered_as(reply)?, commit?);
        (!names(&answered, commit)).then(|| {
            let short = commit.short();
            Problem::new(format!("answers as {answered}, expected {short}: stale code in OPcache"))
        })
    })
}

/// What is wrong with an answer of the home page. `before`: the status that the live release answered with.
///
/// 500 and above is. Anything else must not be worse than what was: an interface without a home page answers 404 before and after.
/// `log`: the application's.
pub(super) fn judge_home(reply: &Reply, before: Option<u16>, log: &str) -> Option<Problem> {
    let hint = || {
        format!("To check another page, or none, set `home-path` in the policy (`none` switches it off). Read {log}")
    };
    match (reply.status, before) {
        (500.., _) => Some(
            maintenance(reply)
                .unwrap_or_else(|| Problem::new(format!("visitors get status {}", reply.status)).hint(hint())),
        ),
        (429, _) => None,
        (status @ 400.., Some(before @ ..=399)) => Some(
            Problem::new(format!("visitors get status {status}; before the release they got {before}")).hint(hint()),
        ),
        _ => None,
    }
}

/// A page that leads on and on.
pub(super) fn in_a_circle(hops: u32) -> Problem {
    Problem::new(format!("visitors are redirected more than {hops} times"))
        .hint("Open the page in a browser, and correct the redirects of the application or of the web server")
}

/// Where a redirect leads to, which is never followed for a health endpoint (F68).
pub(super) fn redirected(reply: &Reply) -> Problem {
    let status = reply.status;
    let Some(location) = reply.header("location") else {
        return Problem::new(format!("{status}: a redirect without a target"));
    };
    let problem = Problem::quoting(format!("{status}: redirects to "), location.as_bytes(), "");
    match Url::parse(location).map(|to| to.origin().ascii_serialization()) {
        Ok(origin) => problem.hint(format!("If the site has moved there, set `url: {origin}`")),
        Err(_) => problem
            .hint("Give the health endpoint a route without a redirect, outside of the login (middleware `auth`)"),
    }
}

/// The answer of an app that is down for maintenance: Laravel's words, or the time at which to come back.
fn maintenance(reply: &Reply) -> Option<Problem> {
    let words = || {
        let body = String::from_utf8_lossy(&reply.body);
        [
            "\"message\":\"Service Unavailable\"",
            "\"message\": \"Service Unavailable\"",
            "<title>Service Unavailable</title>",
        ]
        .iter()
        .any(|words| body.contains(words))
    };
    (reply.status == 503 && (reply.header("retry-after").is_some() || words())).then(|| {
        Problem::new("503: the application is in maintenance mode")
            .hint("End the maintenance mode. On the server, in the folder `current`, run: php artisan up")
    })
}

/// The web server itself asks for a password, whatever the app answers.
pub(crate) fn protected() -> Problem {
    Problem::new("401: the web server asks for a user name and password (basic auth)").hint(
        "Except the health endpoints from basic auth, for example in nginx: location = /health { auth_basic off; ... }. Or set `health-via: tunnel`, and `health-address` to an address at which the web server asks for no password",
    )
}

pub(crate) fn asks_for_password(reply: &Reply) -> bool {
    reply.headers.iter().any(|(name, value)| {
        name == "www-authenticate" && value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
    })
}

/// The commit or release that the answer names, in a top-level field of a JSON object: `commit`, `sha` and `revision`
/// as 7 to 40 hexadecimal digits; `release` and `version` also as a release's name, and as digits only if a letter is
/// among them, because 20251102 is a date.
pub fn answered_as(reply: &Reply) -> Option<String> {
    let object = object(reply)?;
    IDENTITY.iter().find_map(|field| {
        let value = object.get(*field)?.as_str()?.trim();
        let hex = (7..=40).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        let strict = !matches!(*field, "release" | "version") || value.bytes().any(|byte| byte.is_ascii_alphabetic());
        (hex && strict || value.parse::<ReleaseName>().is_ok()).then(|| value.to_owned())
    })
}

/// Whether what an answer called itself is this commit.
pub(crate) fn names(answered: &str, commit: &CommitSha) -> bool {
    match answered.parse::<ReleaseName>() {
        Ok(release) => release.short_sha() == commit.short(),
        Err(_) => commit.as_str().starts_with(&answered.to_ascii_lowercase()),
    }
}

/// The beginning of foreign text, on one line.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 120;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().take(SHOWN).collect();
    if shown.len() < line.len() {
        shown.push_str("...");
    }
    shown
}

fn body(reply: &Reply, expect: &[String]) -> Option<Problem> {
    let text = String::from_utf8_lossy(&reply.body);
    let text = text.trim();
    if text.is_empty() {
        return Some(Problem::new("the body is empty"));
    }
    let wanted = || expect.join(" or ");
    let expected = |said: &str| expect.iter().any(|word| word.eq_ignore_ascii_case(said.trim()));
    match serde_json::from_slice(&reply.body) {
        Ok(Value::Object(object)) => json(&object, expected, wanted),
        Ok(Value::String(said)) if expected(&said) => None,
        _ if expected(text) || FRAMEWORK_PAGE.iter().all(|words| text.contains(words)) => None,
        _ => Some(Problem::quoting(format!("the body is not {}, but: ", wanted()), &reply.body, "")),
    }
}

/// The first field that does not say what it must.
fn differing(reply: &Reply, fields: &BTreeMap<String, Value>) -> Option<Problem> {
    let Some(object) = object(reply) else {
        return Some(Problem::quoting("the body is no JSON object, but: ", &reply.body, ""));
    };
    fields.iter().find_map(|(name, wanted)| match object.get(name) {
        Some(said) if said == wanted => None,
        Some(said) => {
            let wanted = excerpt(wanted.to_string().as_bytes());
            Some(Problem::quoting(format!("says `{name}`: "), said.to_string().as_bytes(), format!(", not {wanted}")))
        }
        None => Some(Problem::new(format!("the JSON has no field `{name}`"))),
    })
}

fn lacking(reply: &Reply, text: &str) -> Option<Problem> {
    let found = memmem::find(&reply.body, text.as_bytes()).is_some();
    let before = || format!("the body does not contain `{}`, but begins: ", excerpt(text.as_bytes()));
    (!found).then(|| Problem::quoting(before(), &reply.body, ""))
}

fn json(object: &Map<String, Value>, expected: impl Fn(&str) -> bool, wanted: impl Fn() -> String) -> Option<Problem> {
    if let Some(field) = ["healthy", "ok"].into_iter().find(|field| object.get(*field) == Some(&Value::Bool(false))) {
        return Some(Problem::new(format!("says `{field}`: false")));
    }
    match object.get("status") {
        Some(Value::String(status)) if expected(status) || status == FRAMEWORK_STATUS => None,
        Some(status) => {
            Some(Problem::quoting("says `status`: ", status.to_string().as_bytes(), format!(", not {}", wanted())))
        }
        None if ["healthy", "ok"].iter().any(|field| object.get(*field) == Some(&Value::Bool(true))) => None,
        None => Some(Problem::new("the JSON says neither `status` nor `healthy` nor `ok`")),
    }
}

fn object(reply: &Reply) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&reply.body) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}
