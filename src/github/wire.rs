//! GitHub's answers, as far as we read them, with exactly the optionality that its schema documents (F4). octocrab's own models
//! refuse nulls that the API does send, and lack the run's attempt and path and the artifact's digest.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use super::{Artifact, Attested, CommitTree, Difference, Review, WorkflowRun};
use crate::domain::{CommitSha, GitTree, Sha256Digest};

#[derive(Deserialize)]
pub(super) struct Run {
    id: u64,
    #[serde(default = "first")]
    run_attempt: u64,
    head_sha: CommitSha,
    #[serde(deserialize_with = "present")]
    head_branch: Option<String>,
    event: String,
    #[serde(deserialize_with = "present")]
    status: Option<String>,
    #[serde(deserialize_with = "present")]
    conclusion: Option<String>,
    path: String,
    #[serde(default)]
    name: Option<String>,
    html_url: String,
    #[serde(default)]
    run_started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    updated_at: Option<DateTime<Utc>>,
    repository: Repository,
    #[serde(default)]
    head_commit: Option<HeadCommit>,
    /// Null when the fork is gone.
    #[serde(deserialize_with = "present")]
    head_repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    id: u64,
}

#[derive(Deserialize)]
struct HeadCommit {
    #[serde(default)]
    id: String,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Runs {
    pub(super) workflow_runs: Vec<Run>,
}

#[derive(Deserialize)]
pub(super) struct ListedReview {
    state: String,
    /// Null when the account is gone.
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    environments: Vec<ReviewedEnvironment>,
}

#[derive(Deserialize)]
struct User {
    login: String,
}

#[derive(Deserialize)]
struct ReviewedEnvironment {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Workflow {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) state: String,
}

#[derive(Deserialize)]
pub(super) struct Workflows {
    pub(super) workflows: Vec<Workflow>,
}

#[derive(Deserialize)]
pub(super) struct ListedArtifact {
    id: u64,
    name: String,
    size_in_bytes: u64,
    #[serde(default)]
    created_at: Option<DateTime<Utc>>,
    expired: bool,
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    digest: Option<Sha256Digest>,
    #[serde(default)]
    workflow_run: Option<ArtifactRun>,
}

#[derive(Deserialize)]
struct ArtifactRun {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    head_sha: Option<CommitSha>,
}

#[derive(Deserialize)]
pub(super) struct Artifacts {
    pub(super) artifacts: Vec<ListedArtifact>,
}

#[derive(Deserialize)]
pub(super) struct BranchHead {
    pub(super) commit: Head,
}

#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) sha: CommitSha,
}

/// "Compare two commits": how the second stands to the first.
#[derive(Deserialize)]
pub(super) struct Comparison {
    pub(super) status: String,
    #[serde(default)]
    html_url: Option<String>,
    #[serde(default)]
    ahead_by: u64,
    #[serde(default)]
    behind_by: u64,
    #[serde(default)]
    commits: Vec<ComparedCommit>,
    /// Absent on every page but the first.
    #[serde(default)]
    files: Vec<ComparedFile>,
}

#[derive(Deserialize)]
struct ComparedCommit {
    sha: CommitSha,
    commit: ComparedMessage,
}

#[derive(Deserialize)]
struct ComparedMessage {
    message: String,
}

#[derive(Deserialize)]
struct ComparedFile {
    filename: String,
}

/// "Get a commit", as far as its contents go.
#[derive(Deserialize)]
pub(super) struct CommitOfTree {
    sha: CommitSha,
    commit: WithTree,
}

#[derive(Deserialize)]
struct WithTree {
    tree: TreeRef,
}

#[derive(Deserialize)]
struct TreeRef {
    sha: GitTree,
}

#[derive(Deserialize)]
pub(super) struct Commit {
    /// Null where no account has the address that the commit names.
    #[serde(default)]
    pub(super) author: Option<Account>,
    #[serde(default)]
    pub(super) committer: Option<Account>,
}

/// GitHub documents an empty object as possible, too.
#[derive(Deserialize)]
pub(super) struct Account {
    #[serde(default)]
    pub(super) login: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct DefaultBranch {
    pub(super) default_branch: String,
}

#[derive(Deserialize)]
pub(super) struct Attestations {
    #[serde(default)]
    pub(super) attestations: Vec<Attestation>,
}

#[derive(Deserialize)]
pub(super) struct Attestation {
    /// Absent where GitHub gives an address of it alone.
    #[serde(default)]
    bundle: Option<SigstoreBundle>,
    #[serde(default)]
    bundle_url: Option<String>,
}

#[derive(Deserialize)]
struct SigstoreBundle {
    #[serde(default, rename = "dsseEnvelope")]
    envelope: Option<Envelope>,
}

#[derive(Deserialize)]
struct Envelope {
    payload: String,
}

/// An in-toto statement.
#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    subject: Vec<StatementSubject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    #[serde(default)]
    predicate: serde_json::Value,
}

#[derive(Deserialize)]
struct StatementSubject {
    #[serde(default)]
    digest: std::collections::BTreeMap<String, String>,
}

/// The type of a build's provenance.
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

impl Attestation {
    /// What it says; `None` where it says nothing of a build, or cannot be read.
    pub(super) fn read(self) -> Option<super::Attestation> {
        match (self.bundle, self.bundle_url) {
            (Some(bundle), _) => bundle.read().map(super::Attestation::Inline),
            (None, Some(address)) => {
                let host = url::Url::parse(&address).ok().and_then(|url| url.host_str().map(str::to_owned));
                Some(super::Attestation::Elsewhere(host.unwrap_or_else(|| "an unknown host".to_owned())))
            }
            (None, None) => None,
        }
    }
}

impl SigstoreBundle {
    fn read(self) -> Option<Attested> {
        let payload = self.envelope?.payload;
        let payload = BASE64_STANDARD.decode(payload.trim()).ok()?;
        let statement: Statement = serde_json::from_slice(&payload).ok()?;
        if statement.predicate_type != PROVENANCE {
            return None;
        }
        let text = |path: &str| statement.predicate.pointer(path).and_then(|value| value.as_str()).map(str::to_owned);
        let sources = statement.predicate.pointer("/buildDefinition/resolvedDependencies");
        let sources = sources.and_then(|value| value.as_array()).into_iter().flatten();
        Some(Attested {
            subjects: statement
                .subject
                .iter()
                .filter_map(|subject| subject.digest.get("sha256")?.parse().ok())
                .collect(),
            repository: text("/buildDefinition/externalParameters/workflow/repository"),
            workflow: text("/buildDefinition/externalParameters/workflow/path"),
            commits: sources.filter_map(|source| source.pointer("/digest/gitCommit")?.as_str()?.parse().ok()).collect(),
            invocation: text("/runDetails/metadata/invocationId"),
        })
    }
}

/// The body of an error.
#[derive(Deserialize)]
pub(super) struct Refusal {
    pub(super) message: String,
}

impl From<Run> for WorkflowRun {
    fn from(run: Run) -> Self {
        let own_repository = run.head_repository.is_some_and(|head| head.id == run.repository.id);
        // The API appends `@ref` to the path of some runs.
        let path = run.path.split_once('@').map_or(run.path.as_str(), |(path, _)| path).to_owned();
        let message =
            run.head_commit.filter(|commit| commit.id == run.head_sha.as_str()).and_then(|commit| commit.message);
        let subject =
            message.as_deref().and_then(|message| message.lines().map(str::trim).find(|line| !line.is_empty()));
        Self {
            id: run.id,
            attempt: run.run_attempt,
            head_sha: run.head_sha,
            subject: subject.map(str::to_owned),
            head_branch: run.head_branch,
            event: run.event,
            status: run.status,
            conclusion: run.conclusion,
            path,
            name: run.name,
            html_url: run.html_url,
            updated_at: run.updated_at,
            started_at: run.run_started_at,
            own_repository,
        }
    }
}

impl From<Comparison> for Difference {
    fn from(answer: Comparison) -> Self {
        let named = |one: &ComparedCommit| {
            format!("{} {}", one.sha.short(), one.commit.message.lines().next().unwrap_or_default())
        };
        Self {
            commits: answer.commits.iter().map(named).collect(),
            ahead: answer.ahead_by,
            behind: answer.behind_by,
            files: answer.files.into_iter().map(|file| file.filename).collect(),
            page: answer.html_url,
        }
    }
}

impl From<CommitOfTree> for CommitTree {
    fn from(answer: CommitOfTree) -> Self {
        Self { commit: answer.sha, tree: answer.commit.tree.sha }
    }
}

impl From<ListedReview> for Review {
    fn from(review: ListedReview) -> Self {
        Self {
            state: review.state,
            user: review.user.map(|user| user.login),
            environments: review.environments.into_iter().map(|environment| environment.name).collect(),
        }
    }
}

impl From<ListedArtifact> for Artifact {
    fn from(artifact: ListedArtifact) -> Self {
        let (run_id, head_sha) = artifact.workflow_run.map_or((None, None), |run| (run.id, run.head_sha));
        Self {
            id: artifact.id,
            name: artifact.name,
            size: artifact.size_in_bytes,
            expired: artifact.expired,
            created_at: artifact.created_at,
            expires_at: artifact.expires_at,
            digest: artifact.digest,
            run_id,
            head_sha,
        }
    }
}

/// Runs count their attempts from 1; older servers do not say.
fn first() -> u64 {
    1
}

/// A key that may be null but must be there: serde alone would read a missing key as null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(list) = serde_json::from_slice::<Runs>(bytes) {
        list.workflow_runs.into_iter().map(WorkflowRun::from).for_each(|run| assert!(!run.path.contains('@')));
    }
    if let Ok(list) = serde_json::from_slice::<Artifacts>(bytes) {
        list.artifacts.into_iter().map(Artifact::from).for_each(drop);
    }
    if let Ok(list) = serde_json::from_slice::<Vec<ListedReview>>(bytes) {
        list.into_iter().map(Review::from).for_each(drop);
    }
    let _ = serde_json::from_slice::<Run>(bytes).map(WorkflowRun::from);
    let _ = serde_json::from_slice::<Workflows>(bytes);
    let _ = serde_json::from_slice::<Refusal>(bytes);
    if let Ok(list) = serde_json::from_slice::<Attestations>(bytes) {
        list.attestations.into_iter().filter_map(Attestation::read).for_each(drop);
    }
    let _ = serde_json::from_slice::<Commit>(bytes);
    let _ = serde_json::from_slice::<Comparison>(bytes).map(Difference::from);
    let _ = serde_json::from_slice::<CommitOfTree>(bytes).map(CommitTree::from);
}
