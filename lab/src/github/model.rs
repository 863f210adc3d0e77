//! The things a repository has, as far as releases are concerned: runs and what they left behind.

use std::path::PathBuf;

use axum::body::Bytes;

/// Where a run stands: the API's `status` and `conclusion`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// `queued`, `in_progress`, `completed`, ...; null in answers when `None`.
    pub status: Option<String>,
    /// `success`, `failure`, `cancelled`, ...; null in answers when `None`.
    pub conclusion: Option<String>,
}

impl Phase {
    /// Waiting for a runner.
    pub fn queued() -> Self {
        Self::unfinished("queued")
    }

    /// Running.
    pub fn in_progress() -> Self {
        Self::unfinished("in_progress")
    }

    /// Over, with `success`, `failure`, `cancelled`, `timed_out`, `skipped`, `neutral`, `action_required` or `stale`.
    pub fn completed(conclusion: &str) -> Self {
        Self { status: Some("completed".into()), conclusion: Some(conclusion.into()) }
    }

    fn unfinished(status: &str) -> Self {
        Self { status: Some(status.into()), conclusion: None }
    }
}

/// A workflow run. Start from [`Run::green`] and change what the story needs.
#[derive(Debug, Clone)]
pub struct Run {
    /// The run's id; higher is newer.
    pub id: u64,
    /// The commit it ran on.
    pub head_sha: String,
    /// The branch; GitHub answers null for some events.
    pub head_branch: Option<String>,
    /// The workflow's name at that commit; may be null.
    pub name: Option<String>,
    /// `push`, `pull_request`, `workflow_dispatch`, ...
    pub event: String,
    /// The workflow's file, as the API gives it: sometimes with `@ref` at the end.
    pub path: String,
    /// Where it stands.
    pub phase: Phase,
    /// 1, and one more with every re-run.
    pub run_attempt: u64,
    /// The number that people see.
    pub run_number: u64,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// When the latest attempt began; `None`: when the run was made.
    pub started_at: Option<String>,
    /// Differs from [`super::REPOSITORY_ID`] when the commit came from a fork.
    pub head_repository_id: u64,
    /// How many answers of the run *lists* leave this run out: that index lags behind on GitHub.
    pub listed_after: u32,
}

impl Run {
    /// A push to `main` that the workflow `.github/workflows/build.yml` built successfully.
    pub fn green(id: u64, head_sha: &str) -> Self {
        Self {
            id,
            head_sha: head_sha.into(),
            head_branch: Some("main".into()),
            name: Some("Build".into()),
            event: "push".into(),
            path: super::BUILD_WORKFLOW.into(),
            phase: Phase::completed("success"),
            run_attempt: 1,
            run_number: id,
            created_at: "2026-01-05T09:00:00Z".into(),
            started_at: None,
            head_repository_id: super::REPOSITORY_ID,
            listed_after: 0,
        }
    }

    /// The workflow's file without the `@ref` that the API may append.
    pub(super) fn workflow_path(&self) -> &str {
        self.path.split_once('@').map_or(&self.path, |(path, _)| path)
    }
}

/// What a reviewer of an environment said of a run.
#[derive(Debug, Clone)]
pub struct Review {
    /// `approved` or `rejected`.
    pub state: String,
    /// The reviewer's login.
    pub user: String,
    /// The environment's name.
    pub environment: String,
}

/// The bytes behind an artifact.
#[derive(Debug, Clone)]
pub enum Content {
    /// Kept in memory.
    Memory(Bytes),
    /// Streamed from this file at every download.
    File(PathBuf),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(bytes.into())
    }
}

impl From<PathBuf> for Content {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

/// What the API says about an artifact's SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// That of the content.
    Correct,
    /// `sha256:` and the digest of something else.
    Wrong,
    /// This text, well-formed or not.
    Given(String),
    /// `"digest": null`, as for artifacts of old uploaders.
    Null,
    /// No such key, as on older servers.
    Absent,
}

/// An artifact of a run. Start from [`Artifact::zip`] and change what the story needs.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The artifact's id; higher is newer.
    pub id: u64,
    /// The run that uploaded it; `workflow_run` is null in answers when there is no such run.
    pub run_id: u64,
    /// Its name; the same name can occur again after a re-run.
    pub name: String,
    /// What a download yields.
    pub content: Content,
    /// What the API says its digest is.
    pub digest: Digest,
    /// Listed, but its download answers 410.
    pub expired: bool,
    /// What the API says its size is, when that is not the content's (bytes).
    pub size: Option<u64>,
    /// What the API says its commit is, when that is not the run's.
    pub head_sha: Option<String>,
    /// One raw file instead of a zip: upload-artifact's `archive: false`.
    pub raw: bool,
    /// How many answers of the artifact *lists* leave it out, as right after an upload.
    pub listed_after: u32,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC; may be null.
    pub expires_at: Option<String>,
}

impl Artifact {
    /// A valid artifact; make the content with [`super::artifact_zip`].
    pub fn zip(id: u64, run_id: u64, name: &str, content: impl Into<Content>) -> Self {
        Self {
            id,
            run_id,
            name: name.into(),
            content: content.into(),
            digest: Digest::Correct,
            expired: false,
            size: None,
            head_sha: None,
            raw: false,
            listed_after: 0,
            created_at: "2026-01-05T09:05:00Z".into(),
            expires_at: Some("2026-04-05T09:05:00Z".into()),
        }
    }

    /// One file, uploaded as it is.
    pub fn raw_file(id: u64, run_id: u64, name: &str, content: impl Into<Content>) -> Self {
        Self { raw: true, ..Self::zip(id, run_id, name, content) }
    }
}

/// A branch.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Its name; may contain slashes.
    pub name: String,
    /// The commit it points to.
    pub sha: String,
    /// Protected by classic protection or by a ruleset.
    pub protected: bool,
}

/// Classic protection of a branch.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    /// The required checks.
    pub contexts: Vec<String>,
    /// Branches must be up to date before they are merged.
    pub strict: bool,
    /// Approving reviews that are needed.
    pub reviews: u64,
}

/// A job of a run, with its steps' names and conclusions.
#[derive(Debug, Clone)]
pub struct Job {
    /// As its check is called.
    pub name: String,
    /// `success`, `skipped`, ...
    pub conclusion: String,
    /// Name and conclusion of each.
    pub steps: Vec<(String, String)>,
}

impl Job {
    /// A job that ended so, with these steps.
    pub fn of(name: &str, conclusion: &str, steps: &[(&str, &str)]) -> Self {
        let steps = steps.iter().map(|(name, ended)| ((*name).into(), (*ended).into())).collect();
        Self { name: name.into(), conclusion: conclusion.into(), steps }
    }
}

/// A workflow file.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// The workflow's id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// `.github/workflows/<file>`.
    pub path: String,
    /// `active`, `disabled_manually`, `disabled_inactivity`, ...
    pub state: String,
}

impl Workflow {
    pub(super) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}
