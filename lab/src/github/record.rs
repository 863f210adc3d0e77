//! What the client asked, for assertions.

use axum::http::{HeaderMap, Method, header::AUTHORIZATION};

/// Which of the two servers was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The REST API.
    Api,
    /// The blob storage that artifact downloads are redirected to.
    Blob,
}

/// One request as it arrived, without the value of its `Authorization` header.
#[derive(Debug, Clone)]
pub struct Request {
    /// The server that was asked.
    pub host: Host,
    /// `GET` and so on.
    pub method: String,
    /// The path, percent-encoded as sent, without the base path.
    pub path: String,
    /// The query string as sent.
    pub query: Option<String>,
    /// Whether credentials came along. On [`Host::Blob`] this must never be so.
    pub had_authorization: bool,
    /// All other headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Request {
    pub(super) fn new(host: Host, method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap) -> Self {
        Self {
            host,
            method: method.to_string(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            had_authorization: headers.contains_key(AUTHORIZATION),
            headers: headers
                .iter()
                .filter(|(name, _)| *name != AUTHORIZATION)
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
        }
    }

    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    /// What GitHub's documentation asks every API client to send and this request lacks:
    /// `accept`, `user-agent`, `x-github-api-version`.
    pub fn missing_headers(&self) -> Vec<&'static str> {
        ["accept", "user-agent", "x-github-api-version"]
            .into_iter()
            .filter(|name| self.header(name).is_none_or(str::is_empty))
            .collect()
    }
}
