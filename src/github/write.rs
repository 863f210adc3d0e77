//! What `stage: fix` asks of GitHub. Everything that changes something stands here and nowhere else: an audit holds an [`Inventory`], and
//! cannot write by its type.

use std::collections::BTreeSet;

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, GithubError, RepositoryRead, api::percent, protection::BranchSettings};
use crate::github::call::unprotected;

/// The key by which secrets of the repository are sealed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SealingKey {
    pub key_id: String,
    /// Base64 of a Curve25519 public key.
    pub key: String,
}

/// A secret, as far as GitHub ever shows one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SecretEntry {
    /// RFC 3339.
    pub updated_at: String,
}

/// A workflow and what it takes to name it in a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedWorkflow {
    pub id: u64,
    pub name: String,
    pub path: String,
    pub state: String,
}

/// A request that was sent once and never repeated: whether it was carried out when no answer came, the reading calls tell.
#[async_trait(?Send)]
pub trait RepositoryWrite: RepositoryRead {
    /// `owner/name`, for readers.
    fn repository(&self) -> String;

    /// Classic protection with everything that is set, `None` where there is none. Needs `administration: read`.
    async fn settings(&self, branch: &str) -> Result<Option<BranchSettings>, GithubError>;

    /// Sets classic protection. Needs `administration: write`, which no `GITHUB_TOKEN` has.
    async fn protect(&self, branch: &str, settings: &BranchSettings) -> Result<(), GithubError>;

    /// Removes classic protection; needs the same.
    async fn unprotect(&self, branch: &str) -> Result<(), GithubError>;

    /// With ids, which the audit has no use for.
    async fn listed_workflows(&self) -> Result<Vec<ListedWorkflow>, GithubError>;

    /// Disables or enables a workflow; needs `actions: write`.
    async fn set_workflow(&self, id: u64, enabled: bool) -> Result<(), GithubError>;

    /// The workflow files of a branch.
    async fn workflow_files(&self, branch: &str) -> Result<BTreeSet<String>, GithubError>;

    /// Starts a workflow on a branch; needs `actions: write`. The run's number, where GitHub gives it.
    async fn dispatch(&self, workflow: &str, branch: &str) -> Result<Option<u64>, GithubError>;

    /// Needs `secrets: read`.
    async fn sealing_key(&self) -> Result<SealingKey, GithubError>;

    /// `None` where there is no such secret.
    async fn secret(&self, name: &str) -> Result<Option<SecretEntry>, GithubError>;

    /// Whether an environment has a secret of this name: in its jobs that one counts, and not the repository's. Needs `environments: read`.
    async fn environment_secret(&self, environment: &str, name: &str) -> Result<bool, GithubError>;

    /// `sealed` is base64. Needs `secrets: write`.
    async fn write_secret(&self, name: &str, key_id: &str, sealed: &str) -> Result<(), GithubError>;
}

#[async_trait(?Send)]
impl RepositoryWrite for Api {
    fn repository(&self) -> String {
        format!("{}/{}", self.repository.owner, self.repository.name)
    }

    async fn settings(&self, branch: &str) -> Result<Option<BranchSettings>, GithubError> {
        let route = self.route(&format!("branches/{}/protection", percent(branch)));
        let answer: Value = match self.read(&route).await {
            Ok(answer) => answer,
            Err(error) => return unprotected(error),
        };
        BranchSettings::parse(&answer)
            .map(Some)
            .map_err(|problem| GithubError::Unexpected(format!("GET {route}: {problem}")))
    }

    async fn protect(&self, branch: &str, settings: &BranchSettings) -> Result<(), GithubError> {
        let route = self.route(&format!("branches/{}/protection", percent(branch)));
        self.caller.send(Method::PUT, &route, Some(&settings.body())).await.map(drop)
    }

    async fn unprotect(&self, branch: &str) -> Result<(), GithubError> {
        let route = self.route(&format!("branches/{}/protection", percent(branch)));
        self.caller.send(Method::DELETE, &route, None).await.map(drop)
    }

    async fn listed_workflows(&self) -> Result<Vec<ListedWorkflow>, GithubError> {
        let route = self.route("actions/workflows?per_page=100");
        let all = self.all(route, |list: super::wire::Workflows| list.workflows).await?;
        let listed = |one: super::wire::Workflow| ListedWorkflow {
            id: one.id,
            name: one.name,
            path: one.path,
            state: one.state,
        };
        Ok(all.into_iter().map(listed).collect())
    }

    async fn set_workflow(&self, id: u64, enabled: bool) -> Result<(), GithubError> {
        let route = self.route(&format!("actions/workflows/{id}/{}", if enabled { "enable" } else { "disable" }));
        self.caller.send(Method::PUT, &route, None).await.map(drop)
    }

    async fn workflow_files(&self, branch: &str) -> Result<BTreeSet<String>, GithubError> {
        let route = self.route(&format!("contents/.github/workflows?ref={}", percent(branch)));
        // A folder lists all that is in it, without pages.
        let files: Vec<WireFile> = match self.read(&route).await {
            Ok(files) => files,
            Err(GithubError::NotFound(_)) => {
                // No such folder and no such branch are told alike; the second is no proof that a file is gone.
                self.branch(branch).await?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        Ok(files.into_iter().map(|file| file.path).collect())
    }

    async fn dispatch(&self, workflow: &str, branch: &str) -> Result<Option<u64>, GithubError> {
        let (workflow, _) = self.resolve(workflow).await?;
        let route = self.route(&format!("actions/workflows/{workflow}/dispatches"));
        let body = json!({ "ref": branch, "return_run_details": true });
        let answer = self.caller.send(Method::POST, &route, Some(&body)).await?;
        // Servers that do not know `return_run_details` answer 204 without a body.
        if answer.status == StatusCode::NO_CONTENT || answer.body.trim().is_empty() {
            return Ok(None);
        }
        let started: Started = serde_json::from_str(&answer.body)
            .map_err(|error| GithubError::Unexpected(format!("POST {route}: {error}")))?;
        Ok(Some(started.workflow_run_id))
    }

    async fn sealing_key(&self) -> Result<SealingKey, GithubError> {
        self.read(&self.route("actions/secrets/public-key")).await
    }

    async fn secret(&self, name: &str) -> Result<Option<SecretEntry>, GithubError> {
        nothing(self.read(&self.route(&format!("actions/secrets/{}", percent(name)))).await)
    }

    async fn environment_secret(&self, environment: &str, name: &str) -> Result<bool, GithubError> {
        let route = self.route(&format!("environments/{}/secrets/{}", percent(environment), percent(name)));
        Ok(nothing(self.read::<SecretEntry>(&route).await)?.is_some())
    }

    async fn write_secret(&self, name: &str, key_id: &str, sealed: &str) -> Result<(), GithubError> {
        let route = self.route(&format!("actions/secrets/{}", percent(name)));
        let body = json!({ "encrypted_value": sealed, "key_id": key_id });
        self.caller.send(Method::PUT, &route, Some(&body)).await.map(drop)
    }
}

/// 404 means "there is none" where the token may look.
fn nothing<T>(answer: Result<T, GithubError>) -> Result<Option<T>, GithubError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(GithubError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
struct WireFile {
    path: String,
}

#[derive(Deserialize)]
struct Started {
    workflow_run_id: u64,
}
