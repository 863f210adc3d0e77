//! The site, asked with reqwest.

use std::{net::SocketAddr, path::PathBuf, rc::Rc, time::Instant};

use async_trait::async_trait;
use reqwest::{
    Client, RequestBuilder,
    header::{ACCEPT, ACCEPT_ENCODING, HOST},
};
use tokio::sync::OnceCell;
use url::{Host, Url};

use super::{Connection, Get, Reply, Site, client};
use crate::ports::shell::Shell;

/// Bytes of a body that are kept.
const KEPT: usize = 4 << 20;

/// Asks the site over HTTP/1.1, with a fresh connection for every request that does not ask for the kept one: that would
/// speak to the worker that the reload has replaced.
pub struct HttpSite {
    url: Url,
    way: Way,
    door: OnceCell<Door>,
    /// Made at its first use: reading the trusted roots takes its time, and only the sampler keeps a connection.
    keeper: OnceCell<Client>,
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
    /// The tunnel's socket.
    socket: Option<PathBuf>,
}

/// The client, and where it connects to.
struct Door {
    client: Client,
    detour: Detour,
}

impl HttpSite {
    /// By its URL, through proxies where the environment names some.
    pub fn direct(url: Url) -> Self {
        Self::new(url, Way::Direct)
    }

    /// By its URL, but connecting to `address`.
    pub fn at(url: Url, address: SocketAddr) -> Self {
        Self::new(url, Way::Address(address))
    }

    /// By its URL, but connecting through the SSH connection to `host:port` as the server sees it. The tunnel is opened
    /// by the first request.
    pub fn through(url: Url, shell: Rc<dyn Shell>, host: impl Into<String>, port: u16) -> Self {
        Self::new(url, Way::Tunnel { shell, host: host.into(), port })
    }

    fn new(url: Url, way: Way) -> Self {
        Self { url, way, door: OnceCell::new(), keeper: OnceCell::new() }
    }

    async fn open(&self) -> Result<Door, String> {
        let detour = match &self.way {
            Way::Direct => Detour::default(),
            Way::Address(address) => Detour { address: Some(*address), ..Detour::default() },
            Way::Tunnel { shell, host, port } => {
                let opened = shell.tunnel(host, *port).await;
                let socket =
                    opened.map_err(|error| format!("opening a tunnel to {host}:{port} on the server: {error}"))?;
                Detour { socket: Some(socket), ..Detour::default() }
            }
        };
        Ok(Door { client: self.client(&detour, 0)?, detour })
    }

    /// A client that leaves at most so many connections open.
    fn client(&self, detour: &Detour, kept: usize) -> Result<Client, String> {
        client::build(|builder| {
            let builder = builder.http1_only().pool_max_idle_per_host(kept).user_agent("gated-deploy");
            if let Some(socket) = &detour.socket {
                return builder.no_proxy().unix_socket(socket.as_path());
            }
            match (detour.address, self.url.host()) {
                // The port comes from the request's URL; `resolve` ignores the one given here.
                (Some(address), Some(Host::Domain(name))) => builder.no_proxy().resolve(name, address),
                (Some(_), _) => builder.no_proxy(),
                (None, _) => builder,
            }
        })
    }

    fn request(&self, client: &Client, get: &Get, address: Option<SocketAddr>) -> Result<RequestBuilder, String> {
        let request = client
            .get(self.target(&get.path, address)?)
            .header(HOST, self.host_header())
            // An app that is asked for JSON renders no error page, and so compiles no view: asking changes nothing on the server.
            .header(ACCEPT, "application/json, */*;q=0.5")
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
        let broken = |what: &str| format!("`{}` cannot be asked for {path}: {what}", self.url);
        let base = self.url.as_str().trim_end_matches('/');
        let mut target = Url::parse(&format!("{base}{path}")).map_err(|error| broken(&error.to_string()))?;
        let Some(address) = address else { return Ok(target) };
        if !matches!(target.host(), Some(Host::Domain(_))) {
            if target.scheme() == "https" && target.host_str() != Some(&host_of(address)) {
                return Err(broken("https to another address needs a host name in the URL"));
            }
            target.set_ip_host(address.ip()).map_err(|()| broken("it has no host"))?;
        }
        target.set_port(Some(address.port())).map_err(|()| broken("it has no port"))?;
        Ok(target)
    }

    /// What visitors send as Host: the URL's host, and its port unless it is the usual one.
    fn host_header(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

#[async_trait(?Send)]
impl Site for HttpSite {
    async fn get(&self, get: Get) -> Result<Reply, String> {
        let door = self.door.get_or_try_init(|| self.open()).await?;
        let began = Instant::now();
        let sent = match get.connection {
            Connection::Fresh => self.request(&door.client, &get, door.detour.address)?.send().await,
            Connection::Kept => {
                let keeper = self.keeper.get_or_try_init(async || self.client(&door.detour, 1)).await?;
                match self.request(keeper, &get, door.detour.address)?.send().await {
                    // Neither "no connection" nor "no answer in time": the one that was kept had been closed.
                    Err(error) if error.is_request() && !error.is_connect() && !error.is_timeout() => {
                        self.request(&door.client, &get, door.detour.address)?.send().await
                    }
                    sent => sent,
                }
            }
        };
        let mut response = sent.map_err(|error| client::sentence(&error))?;
        let mut body = Vec::new();
        let mut length = 0;
        while let Some(chunk) =
            response.chunk().await.map_err(|error| format!("the answer broke off: {}", client::sentence(&error)))?
        {
            length += chunk.len() as u64;
            body.extend_from_slice(&chunk[..chunk.len().min(KEPT - body.len())]);
        }
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        Ok(Reply { status: response.status().as_u16(), headers, body, length, took: began.elapsed() })
    }
}

fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
