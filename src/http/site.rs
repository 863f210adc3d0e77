//! The site, asked with reqwest.

use std::{net::SocketAddr, rc::Rc, time::Instant};

use async_trait::async_trait;
use reqwest::{
    Client, RequestBuilder,
    header::{ACCEPT, ACCEPT_ENCODING, HOST},
};
use tokio::sync::{Mutex, OnceCell};
use url::{Host, Url};

use super::{Connection, Get, Reply, Site, Unanswered, Why, client};
use crate::{
    domain::Roots,
    transport::shell::{Shell, Tunnel},
};

/// Bytes of a body that are kept.
const KEPT: usize = 4 << 20;

/// Asks the site over HTTP/1.1, with a fresh connection for every request that does not ask for the kept one: that would
/// speak to the worker that the reload has replaced.
pub struct HttpSite {
    url: Url,
    way: Way,
    roots: Roots,
    /// A tunnel ends with its SSH connection; the next request opens another one.
    route: Mutex<Option<Rc<Route>>>,
}

/// How to reach it.
enum Way {
    Direct,
    Address(SocketAddr),
    Tunnel { shell: Rc<dyn Shell>, host: String, port: u16 },
}

/// What it connects to instead of the URL's own address.
#[derive(Default)]
struct Detour {
    address: Option<SocketAddr>,
    tunnel: Option<Tunnel>,
}

/// The clients, and where they connect to.
struct Route {
    client: Client,
    /// Made at its first use: reading the trusted roots takes its time, and only the sampler keeps a connection.
    keeper: OnceCell<Client>,
    detour: Detour,
}

/// What was known of a tunnel when a request began.
#[derive(Default)]
struct Mark {
    refusals: usize,
    heard: usize,
}

impl Route {
    fn mark(&self) -> Mark {
        let of = |tunnel: &Tunnel| Mark { refusals: tunnel.refusals(), heard: tunnel.heard() };
        self.detour.tunnel.as_ref().map(of).unwrap_or_default()
    }

    fn is_open(&self) -> bool {
        self.detour.tunnel.as_ref().is_none_or(|tunnel| tunnel.end().is_none())
    }

    /// What a request met, where the tunnel knows better than the request: that only sees its connection end.
    fn explained(&self, before: Mark, unanswered: Unanswered) -> Unanswered {
        let Some(tunnel) = &self.detour.tunnel else { return unanswered };
        if let Some(reason) = tunnel.end() {
            return Unanswered::new(Why::Line, format!("the SSH connection broke: {reason}"));
        }
        // The end of a line that fell silent is noticed later than the silence. A site that is silent lets connections be opened.
        if unanswered.why == Why::Late && tunnel.heard() == before.heard {
            return Unanswered::new(Why::Line, "the SSH connection does not answer");
        }
        let Some(reason) = tunnel.refusal_since(before.refusals) else { return unanswered };
        let to = tunnel.target();
        // The words are those of libssh2 for the reasons of RFC 4254, 5.1.
        if reason.contains("administratively prohibited") {
            return Unanswered::new(
                Why::Forwarding,
                format!("the SSH server forwards no connection to {to}: {reason}"),
            );
        }
        if reason.contains("connect failed") {
            return Unanswered::new(Why::TunnelTarget, format!("nothing answers at {to} on the server: {reason}"));
        }
        Unanswered::new(Why::Line, format!("the SSH server opens no connection to {to}: {reason}"))
    }
}

impl HttpSite {
    /// By its URL, through proxies where the environment names some.
    pub fn direct(url: Url, roots: Roots) -> Self {
        Self::new(url, Way::Direct, roots)
    }

    /// By its URL, but connecting to `address`.
    pub fn at(url: Url, address: SocketAddr, roots: Roots) -> Self {
        Self::new(url, Way::Address(address), roots)
    }

    /// By its URL, but connecting through the SSH connection to `host:port` as the server sees it. The tunnel is opened
    /// by the first request, and anew by the next one after its connection broke.
    pub fn through(url: Url, shell: Rc<dyn Shell>, host: impl Into<String>, port: u16, roots: Roots) -> Self {
        Self::new(url, Way::Tunnel { shell, host: host.into(), port }, roots)
    }

    fn new(url: Url, way: Way, roots: Roots) -> Self {
        Self { url, way, roots, route: Mutex::new(None) }
    }

    async fn route(&self) -> Result<Rc<Route>, Unanswered> {
        let mut route = self.route.lock().await;
        if let Some(open) = route.as_ref().filter(|route| route.is_open()) {
            return Ok(open.clone());
        }
        let fresh = Rc::new(self.open().await?);
        *route = Some(fresh.clone());
        Ok(fresh)
    }

    async fn open(&self) -> Result<Route, Unanswered> {
        let detour = match &self.way {
            Way::Direct => Detour::default(),
            Way::Address(address) => Detour { address: Some(*address), ..Detour::default() },
            Way::Tunnel { shell, host, port } => {
                let opened = shell.tunnel(host, *port).await;
                let tunnel = opened.map_err(|error| {
                    Unanswered::new(Why::Line, format!("opening a tunnel to {host}:{port} on the server: {error}"))
                })?;
                Detour { tunnel: Some(tunnel), ..Detour::default() }
            }
        };
        Ok(Route { client: self.client(&detour, 0)?, keeper: OnceCell::new(), detour })
    }

    /// A client that leaves at most so many connections open.
    fn client(&self, detour: &Detour, kept: usize) -> Result<Client, Unanswered> {
        let built = client::build(&self.roots, |builder| {
            let builder = builder.http1_only().pool_max_idle_per_host(kept).user_agent("gated-deploy");
            if let Some(tunnel) = &detour.tunnel {
                return builder.no_proxy().unix_socket(tunnel.path());
            }
            match (detour.address, self.url.host()) {
                // The port comes from the request's URL; `resolve` ignores the one given here.
                (Some(address), Some(Host::Domain(name))) => builder.no_proxy().resolve(name, address),
                (Some(_), _) => builder.no_proxy(),
                (None, _) => builder,
            }
        });
        built.map_err(|text| Unanswered::new(Why::Client, text))
    }

    fn request(&self, client: &Client, get: &Get, address: Option<SocketAddr>) -> Result<RequestBuilder, Unanswered> {
        let target = self.target(&get.path, address).map_err(|text| Unanswered::new(Why::Client, text))?;
        let request = client
            .get(target)
            .header(HOST, host_header(&self.url))
            .header(ACCEPT, get.accept())
            // A body that is not compressed has the length that the bundle says.
            .header(ACCEPT_ENCODING, "identity")
            .timeout(get.timeout);
        Ok(match &get.bearer {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        })
    }

    /// The URL to ask for. With an address its port is the address's, and its host stays the name, which TLS needs
    /// for the server name; a host that is an IP address is never resolved, so plain HTTP puts the address there.
    fn target(&self, path: &str, address: Option<SocketAddr>) -> Result<Url, String> {
        let broken = |what: &str| cannot_be_asked(&self.url, path, what);
        let mut target = target(&self.url, path)?;
        let Some(address) = address else { return Ok(target) };
        if !matches!(target.host(), Some(Host::Domain(_))) {
            if target.scheme() == "https" && target.host_str() != Some(&host_of(address)) {
                return Err(broken("https to another address needs a host name in the URL"));
            }
            target.set_ip_host(address.ip()).map_err(|()| broken("the URL has no host"))?;
        }
        target.set_port(Some(address.port())).map_err(|()| broken("the URL has no port"))?;
        Ok(target)
    }

    async fn send(&self, route: &Route, get: &Get) -> Result<Reply, Unanswered> {
        let began = Instant::now();
        let send = async |client| {
            let request = self.request(client, get, route.detour.address)?;
            Ok::<_, Unanswered>(request.send().await)
        };
        let sent = match get.connection {
            Connection::Fresh => send(&route.client).await?,
            Connection::Kept => {
                let keeper = route.keeper.get_or_try_init(async || self.client(&route.detour, 1)).await?;
                match send(keeper).await? {
                    // Neither "no connection" nor "no answer in time": the one that was kept had been closed.
                    Err(error) if error.is_request() && !error.is_connect() && !error.is_timeout() => {
                        send(&route.client).await?
                    }
                    sent => sent,
                }
            }
        };
        let mut response = sent.map_err(|error| client::unanswered(&error))?;
        let mut body = Vec::new();
        let mut length = 0;
        let broke_off = |error| {
            let unanswered = client::unanswered(&error);
            Unanswered { text: format!("the answer broke off: {unanswered}"), ..unanswered }
        };
        while let Some(chunk) = response.chunk().await.map_err(broke_off)? {
            length += chunk.len() as u64;
            body.extend_from_slice(&chunk[..chunk.len().min(KEPT - body.len())]);
        }
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        Ok(Reply { status, headers, body, length, took: began.elapsed(), vantage: None })
    }
}

#[async_trait(?Send)]
impl Site for HttpSite {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        // A connection that broke may take longer to be made anew than the site may take to answer.
        let route = tokio::time::timeout(get.timeout, self.route()).await;
        let route = route.unwrap_or_else(|_| Err(Unanswered::new(Why::Line, "no SSH connection in time")))?;
        let before = route.mark();
        self.send(&route, &get).await.map_err(|unanswered| route.explained(before, unanswered))
    }

    fn within(&self, from: &str, location: &str) -> Option<String> {
        within(&self.url, from, location)
    }
}

/// What visitors send as Host: the URL's host, and its port unless it is the usual one.
pub(crate) fn host_header(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The URL of a path of the site.
pub(super) fn target(url: &Url, path: &str) -> Result<Url, String> {
    let base = url.as_str().trim_end_matches('/');
    Url::parse(&format!("{base}{path}")).map_err(|error| cannot_be_asked(url, path, &error.to_string()))
}

/// A page of the site has its scheme, host and port.
pub(super) fn within(url: &Url, from: &str, location: &str) -> Option<String> {
    let to = target(url, from).ok()?.join(location).ok().filter(|to| to.origin() == url.origin())?;
    let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{}{query}", to.path()))
}

fn cannot_be_asked(url: &Url, path: &str, what: &str) -> String {
    format!("`{url}` cannot be requested with the path {path}: {what}")
}

fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
