//! Asking our own site, and the one place that sets up HTTP clients.

pub(crate) mod client;
mod on_server;
mod site;
mod vantage;

use std::time::Duration;

use async_trait::async_trait;

pub(crate) use self::site::host_header;
pub use self::{on_server::OnServer, site::HttpSite, vantage::Vantages};
use crate::domain::Secret;

/// One GET to the site. Redirects are answers, not to be followed (F68).
#[derive(Debug, Clone, Default)]
pub struct Get {
    /// Path and query, beginning with a slash.
    pub path: String,
    pub bearer: Option<Secret>,
    pub timeout: Duration,
    pub connection: Connection,
    /// Asks as a browser asks for a page. An app that is asked for JSON instead renders no error page, and so compiles no view: asking
    /// it changes nothing on the server.
    pub page: bool,
}

impl Get {
    /// The header `Accept`.
    pub(crate) fn accept(&self) -> &'static str {
        if self.page { "text/html, */*;q=0.5" } else { "application/json, */*;q=0.5" }
    }
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
    /// From where it was asked, and why, where that is not the way that the inputs name.
    pub vantage: Option<String>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where it redirects to, if it does.
    pub fn redirect(&self) -> Option<&str> {
        self.header("location").filter(|_| (300..=399).contains(&self.status))
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Unanswered {
    pub why: Why,
    pub text: String,
}

/// The kinds of missing answers. Those for which [`Why::reached`] is false say nothing about the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The name of the host could not be resolved.
    Name,
    /// This machine has no route to the address.
    Route,
    /// A proxy of this machine did not make the connection.
    Proxy,
    /// The SSH connection is gone, or could not be made.
    Line,
    /// The SSH server does not forward connections.
    Forwarding,
    /// The request could not be made at all.
    Client,
    /// Nothing listens at the address.
    Refused,
    /// Nothing listens where the tunnel leads to on the server.
    TunnelTarget,
    /// TLS: the issuer of the certificate is not trusted.
    Issuer,
    /// TLS: the certificate is not valid yet, or any more.
    Expired,
    /// TLS: the certificate is for other names.
    Hostname,
    /// TLS: anything else.
    Tls,
    /// No answer in time.
    Late,
    /// The connection ended early, or what came is not HTTP.
    Broken,
}

impl Why {
    /// Whether the request reached the site, or the place where the site should be.
    pub fn reached(self) -> bool {
        !matches!(self, Self::Name | Self::Route | Self::Proxy | Self::Line | Self::Forwarding | Self::Client)
    }
}

impl Unanswered {
    pub fn new(why: Why, text: impl Into<String>) -> Self {
        Self { why, text: text.into() }
    }
}

/// The site as its visitors see it: by its URL, by its URL at another address, or through the server's own loopback.
/// Always with the Host and the server name of the URL (F77). The token goes nowhere else.
#[async_trait(?Send)]
pub trait Site {
    /// # Errors
    /// Why there is no answer. Any HTTP status is an answer.
    async fn get(&self, get: Get) -> Result<Reply, Unanswered>;

    /// The path of what `location` names on the page at `from`, where that is a page of this site.
    fn within(&self, from: &str, location: &str) -> Option<String>;
}
