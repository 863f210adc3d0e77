//! A small HTTP/1.1 client that names any host to any address, and never follows, repeats or hides anything.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(60);

/// What a server answered, whole.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status code, such as 200.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The body as text, with anything that is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("reading {:?} as JSON", self.text()))
    }
}

/// `GET path` from `address`, asking for `host`, with `token` as Bearer token.
pub fn get(address: SocketAddr, host: &str, path: &str, token: Option<&str>) -> Result<HttpAnswer> {
    // On a thread of its own, because a caller inside an async runtime may not start a second one.
    let answer = std::thread::scope(|scope| scope.spawn(|| fetch_in_time(address, host, path, token)).join());
    answer
        .unwrap_or_else(|_| Err(anyhow!("the HTTP client panicked")))
        .with_context(|| format!("GET http://{host}{path} from {address}"))
}

fn fetch_in_time(address: SocketAddr, host: &str, path: &str, token: Option<&str>) -> Result<HttpAnswer> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the HTTP client")?;
    runtime.block_on(async {
        tokio::time::timeout(TIMEOUT, fetch(address, host, path, token))
            .await
            .with_context(|| format!("no answer within {TIMEOUT:?}"))?
    })
}

async fn fetch(address: SocketAddr, host: &str, path: &str, token: Option<&str>) -> Result<HttpAnswer> {
    let mut connection = Connection::open(address).await?;
    let answer = connection.get(host, path, token).await?;
    let (head, body) = answer.into_parts();
    Ok(HttpAnswer { status: head.status.as_u16(), headers: head.headers, body: body.to_vec() })
}

/// One TCP connection that may carry several requests, one after the other.
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.context("preparing the connection")?;
        // What goes wrong on the connection is reported by the request that it hits.
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str, token: Option<&str>) -> Result<Response<Bytes>> {
        let mut request = Request::get(path).header(HOST, host);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::new()).context("writing the request")?;
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await.context("reading the body")?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}
