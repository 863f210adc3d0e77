//! An artifact's bytes, and a job's log. The API redirects to a blob storage that must not see the token (it answers 400 if it does), with a link
//! that is signed, lives for a minute and must never be printed.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
};

use reqwest::{Response, StatusCode, header};
use url::Url;

use super::{
    Artifact, GithubError,
    api::Api,
    call::{No, patiently, ready, text},
};
use crate::{
    domain::{Measure, Sha256Digest},
    http::client,
};

/// Downloads from the beginning, the first one included. Each takes a new link.
const TRIES: u32 = 3;

/// Redirects from the API's link to the bytes.
const HOPS: usize = 3;

/// The most that an artifact of unknown size may have.
const MOST: u64 = 4 << 30;

/// What an artifact may have beyond the size that the API tells.
const SLACK: u64 = 1 << 20;

/// The end of a log that is kept, and the most of it that is read: a failure stands near the end.
const LOG_KEPT: usize = 1 << 20;
const LOG_READ: u64 = 64 << 20;

/// The network failed us: nothing is wrong with the artifact.
fn broken(error: String) -> No {
    No::for_now(GithubError::Unavailable(error))
}

/// Another download would be no better.
fn bad(error: String) -> No {
    No::never(GithubError::BadDownload(error))
}

pub(super) async fn artifact(
    api: &Api,
    artifact: &Artifact,
    mut file: File,
    on_bytes: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(Sha256Digest, u64), GithubError> {
    let most = if artifact.size > 0 { artifact.size.saturating_add(SLACK) } else { MOST };
    patiently(api.caller.clock(), TRIES, async || once(api, artifact, &mut file, most, on_bytes).await).await
}

/// The end of a job's log.
pub(super) async fn log(api: &Api, job: u64) -> Result<String, GithubError> {
    patiently(api.caller.clock(), TRIES, async || log_once(api, job).await).await
}

async fn log_once(api: &Api, job: u64) -> Result<String, No> {
    let link = link(api, &format!("actions/jobs/{job}/logs")).await.map_err(No::never)?;
    let mut response = open(api, link).await?;
    let (mut kept, mut read) = (Vec::new(), 0);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                read += chunk.len() as u64;
                kept.extend_from_slice(&chunk);
                if kept.len() > 2 * LOG_KEPT {
                    kept.drain(..kept.len() - LOG_KEPT);
                }
                if read > LOG_READ {
                    return Err(bad(format!("the log of job {job} is longer than {LOG_READ} bytes")));
                }
            }
            Ok(None) => {
                let surplus = kept.len().saturating_sub(LOG_KEPT);
                return Ok(String::from_utf8_lossy(&kept[surplus..]).into_owned());
            }
            Err(error) => {
                let why = client::sentence(&error);
                return Err(broken(format!("the log of job {job} broke off after {read} bytes: {why}")));
            }
        }
    }
}

async fn once(
    api: &Api,
    artifact: &Artifact,
    file: &mut File,
    most: u64,
    on_bytes: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(Sha256Digest, u64), No> {
    let link = link(api, &format!("actions/artifacts/{}/zip", artifact.id)).await.map_err(No::never)?;
    let response = open(api, link).await?;
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .map_err(|error| bad(format!("clearing the file: {error}")))?;
    receive(response, file, most, on_bytes).await
}

/// Where the bytes are, for the next minute.
async fn link(api: &Api, rest: &str) -> Result<Url, GithubError> {
    let route = api.route(rest);
    let answer = api.caller.get(&route).await?;
    let location = text(&answer.headers, "location").filter(|_| answer.status.is_redirection());
    let location = location.ok_or_else(|| {
        GithubError::Unexpected(format!("GET {route}: {} without a link to the bytes", answer.status))
    })?;
    let api_url = &api.repository.api_url;
    checked(plain_is_fine(api), api_url, location).map_err(|no| no.error)
}

/// Follows the storage's own redirects, if it has any, up to the bytes.
async fn open(api: &Api, mut link: Url) -> Result<Response, No> {
    let blobs = ready(&api.blobs).map_err(No::never)?;
    for _ in 0..=HOPS {
        let host = host(&link);
        let sent = blobs.get(link.clone()).header(header::ACCEPT_ENCODING, "identity").send().await;
        let response = sent.map_err(|error| broken(format!("{host}: {}", client::sentence(&error))))?;
        match response.status() {
            StatusCode::OK => return Ok(response),
            status if status.is_redirection() => {
                let location = text(response.headers(), "location")
                    .ok_or_else(|| bad(format!("{host} redirects without a target")))?;
                link = checked(plain_is_fine(api), &link, location)?;
            }
            // 403 is what the storage says to a link that is over a minute old.
            status => return Err(broken(format!("{host} answered {status}"))),
        }
    }
    Err(bad(format!("more than {HOPS} redirects, the last one by {}", host(&link))))
}

/// Where the API itself is asked without TLS, inside a laboratory or a company's own network, its storage may be too.
fn plain_is_fine(api: &Api) -> bool {
    api.repository.api_url.scheme() == "http"
}

/// A link that we may follow: https, unless plain HTTP is fine, and without credentials of its own.
fn checked(plain_is_fine: bool, base: &Url, location: &str) -> Result<Url, No> {
    // Neither the link nor the parser's complaint about it is shown: both can hold the signature.
    let link = base.join(location).map_err(|_| bad("the link to the bytes is not a URL".to_owned()))?;
    match link.scheme() {
        "https" => {}
        "http" if plain_is_fine => {}
        scheme => {
            return Err(bad(format!("the link to the bytes leads to {} over {scheme}, not https", host(&link))));
        }
    }
    if !link.username().is_empty() || link.password().is_some() {
        return Err(bad(format!("the link to the bytes at {} carries a user name", host(&link))));
    }
    Ok(link)
}

async fn receive(
    mut response: Response,
    file: &mut File,
    most: u64,
    on_bytes: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(Sha256Digest, u64), No> {
    let total = response.content_length();
    let too_large = |size: u64| bad(format!("it has at least {size} bytes; at most {most} were expected"));
    if let Some(size) = total.filter(|size| *size > most) {
        return Err(too_large(size));
    }
    let mut measure = Measure::default();
    loop {
        let received = measure.size();
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) if total.is_none_or(|total| received == total) => break,
            Ok(None) => return Err(short(received, total, "the answer is complete")),
            Err(error) => return Err(short(received, total, &client::sentence(&error))),
        };
        measure.add(&chunk);
        let received = measure.size();
        if received > most {
            return Err(too_large(received));
        }
        file.write_all(&chunk).map_err(|error| bad(format!("writing after {received} bytes: {error}")))?;
        on_bytes(received, total);
    }
    Ok(measure.end())
}

fn short(received: u64, total: Option<u64>, why: &str) -> No {
    let total = total.map_or_else(|| "an unknown number of".to_owned(), |total| total.to_string());
    broken(format!("ended after {received} of {total} bytes, {TRIES} times ({why})"))
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or("(no host)")
}

#[cfg(test)]
mod tests {
    use super::checked;

    fn refusal(location: &str) -> String {
        let api = "https://api.github.com/".parse().expect("a URL");
        checked(false, &api, location).expect_err("must not be followed").error.to_string()
    }

    #[test]
    fn f40_a_link_must_not_lead_to_plain_http_and_its_signature_is_not_shown() {
        let described = refusal("http://blob.example/artifact?sig=c2VjcmV0");
        assert_eq!(described, "the link to the bytes leads to blob.example over http, not https");
        assert!(!refusal("https://[broken/artifact?sig=c2VjcmV0").contains("c2VjcmV0"));
        assert_eq!(
            refusal("https://someone@blob.example/x?sig=c2VjcmV0"),
            "the link to the bytes at blob.example carries a user name"
        );
    }

    #[test]
    fn an_https_link_is_followed() {
        let api = "https://api.github.com/".parse().expect("a URL");
        assert!(checked(false, &api, "https://blob.example/artifact?sig=x").is_ok());
    }
}
