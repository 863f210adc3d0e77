//! What an answer says. Pure: the same answer always gets the same verdict.

use serde_json::{Map, Value};

use crate::{
    domain::{CommitSha, ReleaseName},
    ports::http::Reply,
};

/// Fields of a JSON answer that can name the commit or release that answers; the first that does counts.
const IDENTITY: [&str; 5] = ["commit", "sha", "revision", "release", "version"];

/// What is wrong with an answer of a health endpoint; `None` if nothing is.
///
/// Healthy is exactly status 200 (F68) with one of these bodies: a JSON object whose `status` is one of `expect`, or which
/// has no `status` but a true `healthy` or `ok`, and in which neither of the two is false; or a text that, without the
/// white space around it and in any case of letters, *is* one of `expect`. A text that only contains such a word is not
/// enough: "not ok" contains one. A body that says nothing of the kind proves nothing and is a problem (F69).
///
/// With `commit`, an answer that names another release is a problem (F74); one that names none is taken as it is.
pub fn judge(reply: &Reply, expect: &[String], commit: Option<&CommitSha>) -> Option<String> {
    let problem = match reply.status {
        200 => body(reply, expect),
        status @ (401 | 403) => Some(format!("{status}: the probe is misconfigured, the token is missing or wrong")),
        status @ 300..=399 => Some(match reply.header("location") {
            Some(location) => format!("{status}: redirects to {}", excerpt(location.as_bytes())),
            None => format!("{status}: redirects to nowhere"),
        }),
        status => Some(format!("{status} instead of 200")),
    };
    problem.or_else(|| {
        let (answered, commit) = (answered_as(reply)?, commit?);
        (!names(&answered, commit))
            .then(|| format!("answers as {answered}, expected {}: stale code (OPcache not reloaded?)", commit.short()))
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
pub(in crate::steps) fn names(answered: &str, commit: &CommitSha) -> bool {
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

fn body(reply: &Reply, expect: &[String]) -> Option<String> {
    let text = String::from_utf8_lossy(&reply.body);
    let text = text.trim();
    if text.is_empty() {
        return Some("the body is empty".to_owned());
    }
    let wanted = || expect.join(" or ");
    let expected = |said: &str| expect.iter().any(|word| word.eq_ignore_ascii_case(said.trim()));
    match serde_json::from_slice(&reply.body) {
        Ok(Value::Object(object)) => json(&object, expected, wanted),
        Ok(Value::String(said)) if expected(&said) => None,
        _ if expected(text) => None,
        _ => Some(format!("the body is not {}, but: {}", wanted(), excerpt(&reply.body))),
    }
}

fn json(object: &Map<String, Value>, expected: impl Fn(&str) -> bool, wanted: impl Fn() -> String) -> Option<String> {
    if let Some(field) = ["healthy", "ok"].into_iter().find(|field| object.get(*field) == Some(&Value::Bool(false))) {
        return Some(format!("says `{field}`: false"));
    }
    match object.get("status") {
        Some(Value::String(status)) if expected(status) => None,
        Some(status) => Some(format!("says `status`: {}, not {}", excerpt(status.to_string().as_bytes()), wanted())),
        None if ["healthy", "ok"].iter().any(|field| object.get(*field) == Some(&Value::Bool(true))) => None,
        None => Some("the JSON says neither `status` nor `healthy` nor `ok`".to_owned()),
    }
}

fn object(reply: &Reply) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&reply.body) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}
