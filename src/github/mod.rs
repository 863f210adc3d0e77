//! What we ask GitHub's REST API.

mod api;
mod call;
mod download;
mod protection;
mod read;
mod wire;
mod write;

use std::{fs::File, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use self::{
    api::{Api, Repository},
    protection::{App, BranchSettings, Checks, People, Reviews},
    read::{Branch, Changed, Job, JobStep, Protection, RepositoryRead, Rule, Workflow},
    write::{ListedWorkflow, RepositoryWrite, SealingKey, SecretEntry},
};
use crate::domain::{CommitSha, GitTree, Sha256Digest};

/// A workflow run, as far as a release needs it. Absent, null and empty are different things (F4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowRun {
    pub id: u64,
    pub attempt: u64,
    pub head_sha: CommitSha,
    /// The first line of that commit's message, where the answer has it.
    pub subject: Option<String>,
    pub head_branch: Option<String>,
    pub event: String,
    pub status: Option<String>,
    pub conclusion: Option<String>,
    /// `.github/workflows/build-artifacts.yml`, without the `@ref` that GitHub may add.
    pub path: String,
    pub name: Option<String>,
    pub html_url: String,
    /// When its latest attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it last changed: for a run that has ended, its end.
    pub updated_at: Option<DateTime<Utc>>,
    /// Whether the head repository is the repository itself, not a fork.
    pub own_repository: bool,
}

impl WorkflowRun {
    pub fn finished(&self) -> bool {
        self.status.as_deref() == Some("completed")
    }

    pub fn succeeded(&self) -> bool {
        self.finished() && self.conclusion.as_deref() == Some("success")
    }
}

/// What a reviewer said when a job asked for an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// `approved`, `rejected` or `pending`.
    pub state: String,
    /// `None` when the account is gone.
    pub user: Option<String>,
    /// The environments that it is about.
    pub environments: Vec<String>,
}

/// An attestation as the API lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attestation {
    /// Its bundle is in the answer.
    Inline(Attested),
    /// The answer has the address of its bundle alone (`bundle_url`). The host; the rest of the address holds a key.
    Elsewhere(String),
}

/// What an attestation says of a file: the parts of a build's provenance (SLSA v1, as GitHub's own action writes it) that a release is
/// compared with. Its signature was not verified by us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attested {
    /// The files that it is about.
    pub subjects: Vec<Sha256Digest>,
    /// `https://github.com/acme/shop`
    pub repository: Option<String>,
    /// `.github/workflows/build-artifacts.yml`
    pub workflow: Option<String>,
    /// Commits that it was built from.
    pub commits: Vec<CommitSha>,
    /// `https://github.com/acme/shop/actions/runs/4711/attempts/1`
    pub invocation: Option<String>,
}

/// A workflow artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    pub id: u64,
    pub name: String,
    /// Bytes of the zip.
    pub size: u64,
    pub created_at: Option<DateTime<Utc>>,
    pub expired: bool,
    pub expires_at: Option<String>,
    /// Digest of the zip, as GitHub keeps it. Old artifacts have none.
    pub digest: Option<Sha256Digest>,
    pub run_id: Option<u64>,
    pub head_sha: Option<CommitSha>,
}

/// A commit, by whatever it was asked for by, and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitTree {
    pub commit: CommitSha,
    pub tree: GitTree,
}

/// How one commit differs from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Commits that only the second has, oldest first, each as "3fa5abaa Its subject"; of very many the first.
    pub commits: Vec<String>,
    /// How many only the second has, and how many only the first.
    pub ahead: u64,
    pub behind: u64,
    /// Files that changed since both were the same; of very many the first.
    pub files: Vec<String>,
    /// The page that shows it.
    pub page: Option<String>,
}

/// Why GitHub gave no answer to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GithubError {
    #[error("not found ({0})")]
    NotFound(String),
    /// 401, 403: `needs` is what the `X-Accepted-GitHub-Permissions` header asks for.
    #[error("the token has no right for this request ({message}){}", .needs.as_deref().map(|needs| format!("; it needs {needs}")).unwrap_or_default())]
    Forbidden { message: String, needs: Option<String> },
    /// What was asked for by name is there more than once.
    #[error("{0}")]
    Ambiguous(String),
    #[error("it has expired")]
    Expired,
    #[error("the rate limit is reached; it resets in {} s", .retry_after.as_secs())]
    RateLimited { retry_after: Duration },
    /// The network or the API failed, after all retries.
    #[error("{0}")]
    Unavailable(String),
    /// The answer is not what the documentation promises.
    #[error("the answer cannot be used: {0}")]
    Unexpected(String),
    /// The download is too large, or comes from somewhere it must not come from.
    #[error("{0}")]
    BadDownload(String),
}

/// The repository's REST API. Adapters retry reads on 5xx, dropped connections and rate limits that end soon; nothing else.
#[async_trait(?Send)]
pub trait Github {
    async fn run(&self, id: u64) -> Result<WorkflowRun, GithubError>;

    /// Runs of a workflow (its file name, or its name) for exactly this commit, newest first.
    async fn runs_for(&self, workflow: &str, commit: &CommitSha) -> Result<Vec<WorkflowRun>, GithubError>;

    /// The newest runs of a workflow, of whatever commit, newest first; at most 100.
    async fn recent_runs(&self, workflow: &str) -> Result<Vec<WorkflowRun>, GithubError>;

    /// What reviewers of environments said of a run.
    async fn reviews(&self, run_id: u64) -> Result<Vec<Review>, GithubError>;

    /// The path of a workflow's file. Where several workflows have the name, it is the one whose file the default branch has.
    async fn workflow_path(&self, workflow: &str) -> Result<String, GithubError>;

    /// Whether a commit is reachable from a branch's head; `None` where there is no such branch. A tag of that name is no branch.
    async fn reachable(&self, branch: &str, commit: &CommitSha) -> Result<Option<bool>, GithubError>;

    /// A commit by its SHA or the beginning of it, with its tree.
    async fn tree_of(&self, sha: &str) -> Result<CommitTree, GithubError>;

    /// How `to` differs from `from`.
    async fn difference(&self, from: &CommitSha, to: &CommitSha) -> Result<Difference, GithubError>;

    /// The accounts of a commit's author and committer, as far as GitHub knows them.
    async fn people_of(&self, commit: &CommitSha) -> Result<Vec<String>, GithubError>;

    /// The build provenance that GitHub has of a file in this repository.
    async fn attestations(&self, of: &Sha256Digest) -> Result<Vec<Attestation>, GithubError>;

    /// The text of a file on the default branch; `None` where it has none.
    async fn reviewed_file(&self, path: &str) -> Result<Option<String>, GithubError>;

    /// Artifacts of a run with exactly this name, newest first.
    async fn artifacts(&self, run_id: u64, name: &str) -> Result<Vec<Artifact>, GithubError>;

    /// Streams an artifact's zip into `file`; gives the digest of what came and its size. The redirect to the blob
    /// storage is followed without the token. `on_bytes` is told the bytes written so far and the total if known.
    async fn download(
        &self,
        artifact: &Artifact,
        file: File,
        on_bytes: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(Sha256Digest, u64), GithubError>;
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    wire::fuzz(bytes);
    read::fuzz(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        api::fuzz(text);
    }
}
