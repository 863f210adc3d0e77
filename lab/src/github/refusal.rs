//! GitHub's error answers, with the bodies collected in `data/github/errors.json`.

use std::sync::LazyLock;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;

static ERRORS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/github/errors.json")).expect("data/github/errors.json is JSON")
});

/// An error that GitHub's REST API answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 404: not there, or not visible to this token.
    NotFound,
    /// 404 of the branch endpoint.
    BranchNotFound,
    /// 404 of the branch protection endpoint to those who may see it: there is no classic protection.
    BranchNotProtected,
    /// 401: the token is wrong or its job is over.
    BadCredentials,
    /// 403: the token lacks a permission; `needs` is what `X-Accepted-GitHub-Permissions` names, e.g. `actions=read`.
    IntegrationForbidden {
        /// Permissions that would do.
        needs: String,
    },
    /// 410: the artifact is listed, but its bytes are gone.
    ArtifactExpired,
    /// 403 until `reset`.
    PrimaryRateLimit {
        /// When requests are answered again (seconds since the Unix epoch).
        reset: u64,
    },
    /// 403 for asking too fast.
    SecondaryRateLimit {
        /// Value of `Retry-After` (seconds); GitHub does not always send one.
        retry_after: Option<u64>,
    },
}

impl Refusal {
    pub(super) fn status(&self) -> u16 {
        self.entry()["status"].as_u64().and_then(|status| status.try_into().ok()).expect("every error has a status")
    }

    pub(super) fn body(&self) -> &'static Value {
        &self.entry()["body"]
    }

    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::IntegrationForbidden { needs } => {
                vec![("x-accepted-github-permissions", needs.clone())]
            }
            Self::PrimaryRateLimit { reset } => vec![
                ("x-ratelimit-limit", "1000".into()),
                ("x-ratelimit-remaining", "0".into()),
                ("x-ratelimit-used", "1000".into()),
                ("x-ratelimit-reset", reset.to_string()),
                ("x-ratelimit-resource", "core".into()),
            ],
            Self::SecondaryRateLimit { retry_after: Some(seconds) } => vec![("retry-after", seconds.to_string())],
            _ => Vec::new(),
        }
    }

    fn id(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::BranchNotFound => "branch_not_found",
            Self::BranchNotProtected => "branch_not_protected",
            Self::BadCredentials => "bad_credentials",
            Self::IntegrationForbidden { .. } => "integration_forbidden",
            Self::ArtifactExpired => "artifact_expired",
            Self::PrimaryRateLimit { .. } => "primary_rate_limit",
            Self::SecondaryRateLimit { .. } => "secondary_rate_limit",
        }
    }

    fn entry(&self) -> &'static Value {
        let id = self.id();
        ERRORS["errors"]
            .as_array()
            .and_then(|errors| errors.iter().find(|error| error["id"] == id))
            .unwrap_or_else(|| panic!("data/github/errors.json has no {id}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).expect("a status of errors.json is an HTTP status");
        let mut response = (status, Json(self.body())).into_response();
        for (name, value) in self.headers() {
            let value = HeaderValue::from_str(&value).expect("a header value given by a test is visible ASCII");
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        response
    }
}
