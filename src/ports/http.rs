//! Asking our own site, and the one place that sets up HTTP clients.

pub(super) mod client;
mod site;

use std::time::Duration;

use async_trait::async_trait;

pub use self::site::HttpSite;
use crate::domain::Secret;

/// One GET to the site. Redirects are answers, not to be followed (F68).
#[derive(Debug, Clone)]
pub struct Get {
    /// Path and query, beginning with a slash.
    pub path: String,
    pub bearer: Option<Secret>,
    pub timeout: Duration,
    pub connection: Connection,
}

/// Over which connection a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connection {
    /// One of its own: what a new visitor has, and what no worker from before a reload can answer.
    #[default]
    Fresh,
    /// The one that the request before it left open, as browsers and proxies do. Where the server has closed it meanwhile without
    /// an answer, the request is made once more on a fresh one, as they all do (RFC 9112, 9.3.1).
    Kept,
}

/// What the site answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// At most the first 4 MiB.
    pub body: Vec<u8>,
    /// Bytes of the whole body, also of what `body` leaves out.
    pub length: u64,
    pub took: Duration,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The site as its visitors see it: by its URL, by its URL at another address, or through the server's own loopback.
/// Always with the Host and the server name of the URL (F77). The token goes nowhere else.
#[async_trait(?Send)]
pub trait Site {
    /// # Errors
    /// A sentence: refused, timed out, not HTTP. Any HTTP status is an answer.
    async fn get(&self, get: Get) -> Result<Reply, String>;
}
