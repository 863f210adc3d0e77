//! Answers that go wrong on purpose.

use std::{fmt, time::Duration};

use axum::{
    body::{Body, HttpBody, to_bytes},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use futures_util::{StreamExt, future, stream};
use serde_json::Value;

use super::{refusal::Refusal, wire::Cut};

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// The next this many matching requests.
    Next(u32),
    /// Every matching request.
    Always,
}

/// What goes wrong.
pub enum Fault {
    /// This answer, and the real one is never made.
    Status {
        /// The HTTP status.
        status: u16,
        /// Headers, names in lower case.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// The real answer's status and headers with another body.
    Body(Vec<u8>),
    /// The real JSON answer, changed: a null, a wrong type, a missing key.
    Edit(Box<dyn Fn(&mut Value) + Send + Sync>),
    /// The full `Content-Length` is announced, only this many bytes come, then the connection is closed.
    Truncate {
        /// Bytes of the body that do arrive.
        keep: usize,
    },
    /// The body comes in pieces of at most `piece` bytes with a `pause` after each.
    Trickle {
        /// Bytes.
        piece: usize,
        /// Time between two pieces.
        pause: Duration,
    },
    /// The answer is this much later. Other faults that match strike too.
    Delay(Duration),
    /// TCP reset instead of an answer.
    Reset,
}

impl Fault {
    /// An error as GitHub answers it.
    pub fn refusal(refusal: Refusal) -> Self {
        Self::Status {
            status: refusal.status(),
            headers: [vec![("content-type", "application/json; charset=utf-8".into())], refusal.headers()].concat(),
            body: refusal.body().to_string().into_bytes(),
        }
    }

    /// A server error (500, 502, 503, ...) with GitHub's usual body.
    pub fn server_error(status: u16) -> Self {
        Self::Status {
            status,
            headers: vec![("content-type", "application/json; charset=utf-8".into())],
            body: br#"{"message":"Server Error"}"#.to_vec(),
        }
    }

    /// 302 to this address.
    pub fn redirect(location: &str) -> Self {
        Self::Status { status: 302, headers: vec![("location", location.into())], body: Vec::new() }
    }

    /// The real JSON answer, changed by `edit`.
    pub fn edit(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Edit(Box::new(edit))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, .. } => write!(f, "Status({status})"),
            Self::Body(_) => f.write_str("Body"),
            Self::Edit(_) => f.write_str("Edit"),
            Self::Truncate { keep } => write!(f, "Truncate({keep})"),
            Self::Trickle { piece, pause } => write!(f, "Trickle({piece} bytes, {pause:?})"),
            Self::Delay(time) => write!(f, "Delay({time:?})"),
            Self::Reset => f.write_str("Reset"),
        }
    }
}

/// A fault and the requests it waits for.
pub(super) struct Trap {
    pub(super) method: String,
    /// `*` stands for any characters, slashes too.
    pub(super) path: String,
    pub(super) times: Times,
    pub(super) fault: std::sync::Arc<Fault>,
}

impl Trap {
    fn catches(&self, method: &Method, path: &str) -> bool {
        self.times != Times::Next(0) && self.method == method.as_str() && matches(&self.path, path)
    }

    fn strike(&mut self) {
        if let Times::Next(left) = &mut self.times {
            *left -= 1;
        }
    }
}

/// What befalls one request: how late it is answered, and the fault.
#[derive(Default)]
pub(super) struct Fate {
    pub(super) delay: Duration,
    pub(super) fault: Option<std::sync::Arc<Fault>>,
}

/// The first trap that catches the request decides; all delays that catch it add up.
pub(super) fn fate(traps: &mut Vec<Trap>, method: &Method, path: &str) -> Fate {
    let mut fate = Fate::default();
    for trap in traps.iter_mut().filter(|trap| trap.catches(method, path)) {
        if let Fault::Delay(time) = *trap.fault {
            trap.strike();
            fate.delay += time;
        } else if fate.fault.is_none() {
            trap.strike();
            fate.fault = Some(trap.fault.clone());
        }
    }
    traps.retain(|trap| trap.times != Times::Next(0));
    fate
}

/// Applies a fault to an answer that is being made.
pub(super) async fn spoil(fault: &Fault, cut: Cut, answer: impl Future<Output = Response>) -> Response {
    match fault {
        Fault::Status { status, headers, body } => scripted(*status, headers, body),
        Fault::Body(body) => {
            let mut answer = answer.await;
            answer.headers_mut().remove(header::CONTENT_LENGTH);
            *answer.body_mut() = Body::from(body.clone());
            answer
        }
        Fault::Edit(edit) => edited(answer.await, edit).await,
        Fault::Truncate { keep } => truncated(answer.await, *keep, cut),
        Fault::Trickle { piece, pause } => trickled(answer.await, *piece, *pause),
        Fault::Delay(_) => answer.await,
        Fault::Reset => {
            cut.reset();
            Response::default()
        }
    }
}

fn scripted(status: u16, headers: &[(&'static str, String)], body: &[u8]) -> Response {
    let mut answer = Response::new(Body::from(body.to_vec()));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a fault's status is an HTTP status");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a fault's header value is visible ASCII");
        answer.headers_mut().insert(HeaderName::from_static(name), value);
    }
    answer
}

async fn edited(answer: Response, edit: &(dyn Fn(&mut Value) + Send + Sync)) -> Response {
    let (mut head, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("the lab's own JSON answers are in memory");
    let mut json = serde_json::from_slice(&body).expect("only JSON answers can be edited");
    edit(&mut json);
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(json.to_string()))
}

fn truncated(answer: Response, keep: usize, cut: Cut) -> Response {
    let (mut head, body) = answer.into_parts();
    if let Some(size) = body.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, size.into());
    }
    let kept = body.into_data_stream().scan(keep, |left, chunk| {
        let kept = chunk.map(|mut bytes| bytes.split_to(bytes.len().min(*left)));
        *left -= kept.as_ref().map_or(0, |bytes| bytes.len());
        future::ready(kept.as_ref().map_or(true, |bytes| !bytes.is_empty()).then_some(kept))
    });
    let hang_up = stream::poll_fn(move |_| {
        cut.hang_up();
        std::task::Poll::Pending
    });
    Response::from_parts(head, Body::from_stream(kept.chain(hang_up)))
}

fn trickled(answer: Response, piece: usize, pause: Duration) -> Response {
    let (mut head, body) = answer.into_parts();
    if let Some(size) = body.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, size.into());
    }
    let pieces = body.into_data_stream().flat_map(move |chunk| {
        let chunks: Vec<_> = match chunk {
            Ok(mut rest) => {
                std::iter::from_fn(|| (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(piece.max(1))))))
                    .collect()
            }
            Err(error) => vec![Err(error)],
        };
        stream::iter(chunks)
    });
    let paced = pieces.then(move |piece| async move {
        tokio::time::sleep(pause).await;
        piece
    });
    Response::from_parts(head, Body::from_stream(paced))
}

fn matches(pattern: &str, path: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == path;
    };
    let Some(path) = path.strip_prefix(start) else {
        return false;
    };
    (0..=path.len()).filter(|at| path.is_char_boundary(*at)).any(|at| matches(rest, &path[at..]))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_characters() {
        assert!(matches("/repos/*/zip", "/repos/acme/shop/actions/artifacts/1/zip"));
        assert!(matches("*", "/rate_limit"));
        assert!(!matches("/repos/*/zip", "/repos/acme/shop/actions/artifacts/1"));
        assert!(!matches("/rate", "/rate_limit"));
    }
}
