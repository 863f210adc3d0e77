//! One request to the API: a GET is patient with what passes by itself, everything else is sent once.

use std::{cell::LazyCell, error::Error, rc::Rc, time::Duration};

use http_body_util::{BodyExt as _, Limited};
use octocrab::Octocrab;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;

use super::{GithubError, wire};
use crate::{clock::Clock, http::client};

/// Tries of one GET, the first one included.
const TRIES: u32 = 4;

/// Longest time to wait for a rate limit inside a call. Waiting longer is the caller's to decide.
const PATIENCE: Duration = Duration::from_secs(60);

/// What GitHub's documentation asks for where an answer names no time after a secondary rate limit.
const UNNAMED_WAIT: Duration = Duration::from_secs(60);

/// Bytes of one answer. A page of a hundred runs, the largest that we ask for, has some two million.
const LARGEST: usize = 32 << 20;

/// The client with our rules of retrying: reads are asked again, because that is harmless, and writes never are.
pub(super) struct Caller {
    octocrab: Late<Octocrab>,
    clock: Rc<dyn Clock>,
}

/// A client that is made at its first use: reading the trusted roots takes longer than everything else before a run's first event.
pub(super) type Late<C> = LazyCell<Result<C, String>, Box<dyn FnOnce() -> Result<C, String>>>;

/// The client, made now if it was not.
pub(super) fn ready<C>(client: &Late<C>) -> Result<&C, GithubError> {
    LazyCell::force(client).as_ref().map_err(|error| GithubError::Unexpected(error.clone()))
}

/// An answer that says yes: a success, or a redirect.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// An answer that says no, and whether it may say yes in a while.
pub(super) struct No {
    pub(super) error: GithubError,
    again: Again,
}

enum Again {
    Never,
    /// The server or the network failed.
    Soon,
    /// A rate limit that ends then.
    After(Duration),
}

impl No {
    pub(super) fn never(error: GithubError) -> Self {
        Self { error, again: Again::Never }
    }

    /// The server or the network failed, and may not the next time.
    pub(super) fn for_now(error: GithubError) -> Self {
        Self { error, again: Again::Soon }
    }
}

/// Does something that only reads, at most `tries` times: after 1, 2 and 4 s when the server or the network failed, and when a rate limit
/// ends if that is within a minute.
pub(super) async fn patiently<T>(
    clock: &dyn Clock,
    tries: u32,
    mut once: impl AsyncFnMut() -> Result<T, No>,
) -> Result<T, GithubError> {
    let mut tried = 1;
    loop {
        let no = match once().await {
            Ok(done) => return Ok(done),
            Err(no) => no,
        };
        let wait = match no.again {
            Again::Soon => jittered(Duration::from_secs(1 << (tried - 1))),
            Again::After(wait) if wait <= PATIENCE => wait,
            Again::Never | Again::After(_) => return Err(no.error),
        };
        if tried == tries {
            return Err(no.error);
        }
        clock.sleep(wait).await;
        tried += 1;
    }
}

impl Caller {
    pub(super) fn new(octocrab: Late<Octocrab>, clock: Rc<dyn Clock>) -> Self {
        Self { octocrab, clock }
    }

    /// Asks for `route`.
    pub(super) async fn get(&self, route: &str) -> Result<Answer, GithubError> {
        patiently(self.clock(), TRIES, async || self.once(&Method::GET, route, None).await).await
    }

    /// Sends a change, once: it is unknown what became of a request that got no answer, so the caller reads the state afterwards.
    pub(super) async fn send(&self, method: Method, route: &str, body: Option<&Value>) -> Result<Answer, GithubError> {
        self.once(&method, route, body).await.map_err(|no| no.error)
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    async fn once(&self, method: &Method, route: &str, body: Option<&Value>) -> Result<Answer, No> {
        let octocrab = ready(&self.octocrab).map_err(No::never)?;
        let response = match *method {
            Method::GET => octocrab._get(route).await,
            Method::POST => octocrab._post(route, body).await,
            Method::PUT => octocrab._put(route, body).await,
            Method::DELETE => octocrab._delete(route, body).await,
            _ => {
                return Err(No::never(GithubError::Unexpected(format!("{method} {route} is not a known request"))));
            }
        };
        let response = response.map_err(|error| lost(method, route, &error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = Limited::new(response.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| unread(method, route, error))?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        if status.is_success() || status.is_redirection() && *method == Method::GET {
            return Ok(Answer { status, headers, body });
        }
        Err(self.refusal(method, route, status, &headers, &body))
    }

    fn refusal(&self, method: &Method, route: &str, status: StatusCode, headers: &HeaderMap, body: &str) -> No {
        let message =
            serde_json::from_str(body).map_or_else(|_| status.to_string(), |refusal: wire::Refusal| refusal.message);
        if let Some(wait) = self.rate_limit(status, headers, &message) {
            return No { error: GithubError::RateLimited { retry_after: wait }, again: Again::After(wait) };
        }
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let needs = text(headers, "x-accepted-github-permissions").map(str::to_owned);
                No::never(GithubError::Forbidden { message, needs })
            }
            StatusCode::NOT_FOUND => No::never(GithubError::NotFound(format!("{method} {route}: {message}"))),
            StatusCode::GONE => No::never(GithubError::Expired),
            _ if status.is_server_error() => No::for_now(GithubError::Unavailable(format!(
                "GitHub answered {status} to {method} {route}{}",
                times(method)
            ))),
            _ => No::never(GithubError::Unexpected(format!("{status} to {method} {route}: {message}"))),
        }
    }

    /// How long a rate limit lasts, if this refusal is one.
    fn rate_limit(&self, status: StatusCode, headers: &HeaderMap, message: &str) -> Option<Duration> {
        if !matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
            return None;
        }
        let number = |name| text(headers, name).and_then(|value| value.parse::<u64>().ok());
        if let Some(seconds) = number("retry-after") {
            return Some(Duration::from_secs(seconds));
        }
        if number("x-ratelimit-remaining") == Some(0)
            && let Some(reset) = number("x-ratelimit-reset")
        {
            let now = u64::try_from(self.clock.now().timestamp()).unwrap_or(0);
            return Some(Duration::from_secs(reset.saturating_sub(now).max(1)));
        }
        let limited = status == StatusCode::TOO_MANY_REQUESTS || message.to_ascii_lowercase().contains("rate limit");
        limited.then_some(UNNAMED_WAIT)
    }
}

/// Why there is no whole body. One without an end must not fill the memory.
fn unread(method: &Method, route: &str, error: Box<dyn Error + Send + Sync>) -> No {
    match error.downcast::<octocrab::Error>() {
        Ok(error) => lost(method, route, &error),
        Err(_) => {
            No::never(GithubError::Unexpected(format!("{method} {route}: it is larger than {} MiB", LARGEST >> 20)))
        }
    }
}

/// A header's value, if it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Up to a quarter more, so that jobs that failed together do not come back together.
fn jittered(delay: Duration) -> Duration {
    let [byte, ..] = *uuid::Uuid::new_v4().as_bytes();
    delay + delay.mul_f64(f64::from(byte) / 1024.0)
}

/// How often a request was tried before we say that it failed, as far as that is more than once.
fn times(method: &Method) -> String {
    if *method == Method::GET { format!(", {TRIES} times") } else { String::new() }
}

/// No answer at all, or one that broke off.
fn lost(method: &Method, route: &str, error: &octocrab::Error) -> No {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    let mut request = None;
    while let Some(cause) = next {
        request = request.or(cause.downcast_ref::<reqwest::Error>());
        next = cause.source();
    }
    match request {
        Some(request) => No::for_now(GithubError::Unavailable(format!(
            "{method} {route} got no answer{}: {}",
            times(method),
            client::sentence(request)
        ))),
        None => No::never(GithubError::Unexpected(format!("{method} {route}: {error}"))),
    }
}

/// `None` where GitHub says that there is no protection. Without the right to read it, GitHub may answer 404 as well.
pub(crate) fn unprotected<T>(error: GithubError) -> Result<Option<T>, GithubError> {
    match error {
        GithubError::NotFound(said)
            if said.contains("Branch not protected") || said.contains("Branch protection has been disabled") =>
        {
            Ok(None)
        }
        GithubError::NotFound(_) => Err(GithubError::Forbidden {
            message: "404; GitHub answers this also if the token may not read it".to_owned(),
            needs: Some("administration=read".to_owned()),
        }),
        error => Err(error),
    }
}
