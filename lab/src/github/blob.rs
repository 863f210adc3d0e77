//! The storage that holds artifacts: it knows signed links and nothing of GitHub's tokens.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State as Shared},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use tokio::{fs::File, io, io::AsyncReadExt};

use super::{
    Lab,
    model::{Artifact, Content},
};

pub(super) fn routes(lab: Arc<Lab>) -> Router {
    Router::new()
        .route("/actions-results/{artifact}", get(content))
        .route("/actions-logs/{job}", get(log))
        .with_state(lab)
}

#[derive(Deserialize)]
struct Signed {
    #[serde(default)]
    sig: String,
}

const WITH_TOKEN: &str =
    "Authentication information is not given in the correct format. Check the value of Authorization header.";

async fn log(
    Shared(lab): Shared<Arc<Lab>>,
    Path(id): Path<u64>,
    Query(Signed { sig }): Query<Signed>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(header::AUTHORIZATION) {
        return error(StatusCode::BAD_REQUEST, "InvalidAuthenticationInfo", WITH_TOKEN);
    }
    match lab.state().open_log(id, &sig) {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.to_owned()).into_response(),
        None => error(StatusCode::FORBIDDEN, "AuthenticationFailed", "Server failed to authenticate the request."),
    }
}

async fn content(
    Shared(lab): Shared<Arc<Lab>>,
    Path(id): Path<u64>,
    Query(Signed { sig }): Query<Signed>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(header::AUTHORIZATION) {
        return error(StatusCode::BAD_REQUEST, "InvalidAuthenticationInfo", WITH_TOKEN);
    }
    let artifact = lab.state().open(id, &sig).cloned();
    let Some(artifact) = artifact else {
        let message = "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.";
        return error(StatusCode::FORBIDDEN, "AuthenticationFailed", message);
    };
    match send(&artifact).await {
        Ok(response) => response,
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &problem.to_string()),
    }
}

async fn send(artifact: &Artifact) -> io::Result<Response> {
    let (body, size) = match &artifact.content {
        Content::Memory(bytes) => (Body::from(bytes.clone()), bytes.len() as u64),
        Content::File(path) => {
            let file = File::open(path).await?;
            let size = file.metadata().await?.len();
            (Body::from_stream(pieces(file)), size)
        }
    };
    let (media_type, file_name) = match artifact.raw {
        false => ("application/zip", format!("{}.zip", artifact.name)),
        true => ("application/octet-stream", artifact.name.clone()),
    };
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file_name}\"")),
    ];
    Ok((headers, body).into_response())
}

fn pieces(file: File) -> impl Stream<Item = io::Result<Bytes>> {
    const PIECE: usize = 1 << 16;
    stream::try_unfold(file, |mut file| async {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece).await?;
        Ok((read > 0).then(|| (piece.into(), file)))
    })
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    (status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}
