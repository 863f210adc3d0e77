//! What an audit asks: how branches are protected, what workflows there are, what ran.

use async_trait::async_trait;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;

use super::{
    Api, Artifact, Github, GithubError, WorkflowRun,
    api::percent,
    call::unprotected,
    download,
    wire::{self, Runs},
};
use crate::domain::CommitSha;

/// A branch, as a token sees it that may read the contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    pub head: CommitSha,
    /// By classic protection or by a ruleset.
    pub protected: bool,
    /// The required checks of classic protection; those of rulesets are not among them.
    pub required: Vec<String>,
}

/// What only an administrator sees of classic protection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protection {
    pub required: Vec<String>,
    /// Whether a branch must be up to date before it is merged.
    pub strict: bool,
    pub reviews: u64,
}

/// An active rule of a ruleset for a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    Checks { required: Vec<String>, strict: bool },
    Reviews(u64),
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    pub name: String,
    /// `.github/workflows/<file>`; GitHub's own begin with `dynamic/`.
    pub path: String,
    /// `active`, `disabled_manually`, `deleted`, ...
    pub state: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: u64,
    pub name: String,
    pub conclusion: Option<String>,
    pub steps: Vec<JobStep>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStep {
    pub name: String,
    pub conclusion: Option<String>,
}

/// A file that a branch has changed since it left another, and the blob that it is now; `None` where it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub path: String,
    pub blob: Option<String>,
}

/// Reads only.
#[async_trait(?Send)]
pub trait RepositoryRead: Github {
    /// `GET /repos/{owner}/{repo}/{rest}`, for the source of a finding.
    fn describe(&self, rest: &str) -> String;

    async fn branch(&self, name: &str) -> Result<Branch, GithubError>;

    /// Needs `administration: read`, which no `GITHUB_TOKEN` has. `None` where there is none. Who may not see it is answered 403 or 404,
    /// and both are `Forbidden` here.
    async fn protection(&self, branch: &str) -> Result<Option<Protection>, GithubError>;

    async fn rules(&self, branch: &str) -> Result<Vec<Rule>, GithubError>;

    async fn workflows(&self) -> Result<Vec<Workflow>, GithubError>;

    /// Every run of a commit, newest first.
    async fn runs_of(&self, commit: &CommitSha) -> Result<Vec<WorkflowRun>, GithubError>;

    /// The jobs of a run's latest attempt.
    async fn jobs(&self, run: u64) -> Result<Vec<Job>, GithubError>;

    /// The end of a job's log, as text. `Expired` or `NotFound` where GitHub has it no more. The redirect to the storage is followed
    /// without the token.
    async fn job_log(&self, job: u64) -> Result<String, GithubError>;

    /// The newest artifacts of the repository, at most 100.
    async fn newest_artifacts(&self) -> Result<Vec<Artifact>, GithubError>;

    /// The names of the repository's secrets. No `GITHUB_TOKEN` may ask.
    async fn secrets(&self) -> Result<Vec<String>, GithubError>;

    /// The text of a file on a branch. GitHub gives up to 1 MB so; a workflow file has at most 512 KiB.
    async fn file(&self, path: &str, branch: &str) -> Result<String, GithubError>;

    /// What `head` has changed since it and `base` parted; `None` where the list is longer than GitHub shows.
    async fn changed(&self, base: &str, head: &str) -> Result<Option<Vec<Changed>>, GithubError>;
}

/// Files that a comparison lists at most (GitHub's documentation of "Compare two commits").
const COMPARED: usize = 300;

#[async_trait(?Send)]
impl RepositoryRead for Api {
    fn describe(&self, rest: &str) -> String {
        format!("GET {}", self.route(rest))
    }

    async fn branch(&self, name: &str) -> Result<Branch, GithubError> {
        let branch: WireBranch = self.read(&self.route(&format!("branches/{}", percent(name)))).await?;
        let checks = branch.protection.and_then(|protection| protection.required_status_checks);
        let checks = checks.filter(|checks| checks.enforcement_level.as_deref() != Some("off"));
        Ok(Branch {
            head: branch.commit.sha,
            protected: branch.protected,
            required: checks.map(Contexts::names).unwrap_or_default(),
        })
    }

    async fn protection(&self, branch: &str) -> Result<Option<Protection>, GithubError> {
        let route = self.route(&format!("branches/{}/protection", percent(branch)));
        let answer: WireProtection = match self.read(&route).await {
            Ok(answer) => answer,
            Err(error) => return unprotected(error),
        };
        Ok(Some(Protection {
            strict: answer.required_status_checks.as_ref().is_some_and(|checks| checks.strict),
            required: answer.required_status_checks.map(Contexts::names).unwrap_or_default(),
            reviews: answer
                .required_pull_request_reviews
                .map_or(0, |reviews| reviews.required_approving_review_count.unwrap_or(0)),
        }))
    }

    async fn rules(&self, branch: &str) -> Result<Vec<Rule>, GithubError> {
        let route = self.route(&format!("rules/branches/{}?per_page=100", percent(branch)));
        let rules: Vec<WireRule> = self.all(route, |rules: Vec<WireRule>| rules).await?;
        rules.into_iter().map(WireRule::read).collect()
    }

    async fn workflows(&self) -> Result<Vec<Workflow>, GithubError> {
        let route = self.route("actions/workflows?per_page=100");
        let all = self.all(route, |list: wire::Workflows| list.workflows).await?;
        Ok(all.into_iter().map(|one| Workflow { name: one.name, path: one.path, state: one.state }).collect())
    }

    async fn runs_of(&self, commit: &CommitSha) -> Result<Vec<WorkflowRun>, GithubError> {
        let route = self.route(&format!("actions/runs?head_sha={commit}&per_page=100"));
        let runs = self.all(route, |list: Runs| list.workflow_runs).await?;
        let mut runs: Vec<WorkflowRun> = runs.into_iter().map(WorkflowRun::from).collect();
        runs.retain(|run| run.head_sha == *commit);
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        runs.dedup_by_key(|run| run.id);
        Ok(runs)
    }

    async fn jobs(&self, run: u64) -> Result<Vec<Job>, GithubError> {
        let route = self.route(&format!("actions/runs/{run}/jobs?filter=latest&per_page=100"));
        let jobs = self.all(route, |list: WireJobs| list.jobs).await?;
        let step = |step: WireStep| JobStep { name: step.name, conclusion: step.conclusion };
        Ok(jobs
            .into_iter()
            .map(|job| Job {
                id: job.id,
                name: job.name,
                conclusion: job.conclusion,
                steps: job.steps.into_iter().map(step).collect(),
            })
            .collect())
    }

    async fn job_log(&self, job: u64) -> Result<String, GithubError> {
        download::log(self, job).await
    }

    async fn newest_artifacts(&self) -> Result<Vec<Artifact>, GithubError> {
        let (list, _): (wire::Artifacts, _) = self.page(&self.route("actions/artifacts?per_page=100")).await?;
        Ok(list.artifacts.into_iter().map(Artifact::from).collect())
    }

    async fn secrets(&self) -> Result<Vec<String>, GithubError> {
        let route = self.route("actions/secrets?per_page=100");
        let all = self.all(route, |list: WireSecrets| list.secrets).await?;
        Ok(all.into_iter().map(|secret| secret.name).collect())
    }

    async fn file(&self, path: &str, branch: &str) -> Result<String, GithubError> {
        let path = path.split('/').map(percent).collect::<Vec<_>>().join("/");
        let route = self.route(&format!("contents/{path}?ref={}", percent(branch)));
        let answer: WireContent = self.read(&route).await?;
        let unusable = |what: String| GithubError::Unexpected(format!("GET {route}: {what}"));
        if answer.encoding != "base64" {
            return Err(unusable(format!("its encoding is `{}`, not base64", answer.encoding)));
        }
        // GitHub breaks its lines.
        let packed: String = answer.content.chars().filter(|c| !c.is_whitespace()).collect();
        let bytes = BASE64_STANDARD.decode(packed).map_err(|error| unusable(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| unusable(error.to_string()))
    }

    async fn changed(&self, base: &str, head: &str) -> Result<Option<Vec<Changed>>, GithubError> {
        let route = self.route(&format!("compare/{}...{}?per_page=1", percent(base), percent(head)));
        // The first page has every file that the comparison lists.
        let (answer, _): (Comparison, _) = self.page(&route).await?;
        if answer.files.len() >= COMPARED {
            return Ok(None);
        }
        let mut changed = Vec::new();
        for file in answer.files {
            changed.extend(file.previous_filename.map(|path| Changed { path, blob: None }));
            let blob = file.sha.filter(|_| file.status != "removed");
            changed.push(Changed { path: file.filename, blob });
        }
        Ok(Some(changed))
    }
}

#[derive(Deserialize)]
struct WireBranch {
    commit: WireCommit,
    protected: bool,
    #[serde(default)]
    protection: Option<ShortProtection>,
}

#[derive(Deserialize)]
struct WireCommit {
    sha: CommitSha,
}

#[derive(Deserialize)]
struct ShortProtection {
    #[serde(default)]
    required_status_checks: Option<Contexts>,
}

#[derive(Deserialize)]
struct Contexts {
    #[serde(default)]
    enforcement_level: Option<String>,
    #[serde(default)]
    contexts: Vec<String>,
    #[serde(default)]
    checks: Vec<Context>,
    #[serde(default)]
    strict: bool,
}

#[derive(Deserialize)]
struct Context {
    context: String,
}

impl Contexts {
    /// GitHub gives them twice: by name, and by name and app.
    fn names(self) -> Vec<String> {
        let mut names = self.contexts;
        names.extend(self.checks.into_iter().map(|check| check.context));
        names.sort();
        names.dedup();
        names
    }
}

#[derive(Deserialize)]
struct WireProtection {
    #[serde(default)]
    required_status_checks: Option<Contexts>,
    #[serde(default)]
    required_pull_request_reviews: Option<Reviews>,
}

#[derive(Deserialize)]
struct Reviews {
    #[serde(default)]
    required_approving_review_count: Option<u64>,
}

#[derive(Deserialize)]
struct WireRule {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    parameters: serde_json::Value,
}

#[derive(Deserialize)]
struct CheckParameters {
    required_status_checks: Vec<Context>,
    strict_required_status_checks_policy: bool,
}

#[derive(Deserialize)]
struct PullParameters {
    required_approving_review_count: u64,
}

impl WireRule {
    fn read(self) -> Result<Rule, GithubError> {
        let unusable = |error: serde_json::Error| GithubError::Unexpected(format!("a rule `{}`: {error}", self.kind));
        match self.kind.as_str() {
            "required_status_checks" => {
                let answer: CheckParameters = serde_json::from_value(self.parameters).map_err(unusable)?;
                Ok(Rule::Checks {
                    required: answer.required_status_checks.into_iter().map(|check| check.context).collect(),
                    strict: answer.strict_required_status_checks_policy,
                })
            }
            "pull_request" => {
                let answer: PullParameters = serde_json::from_value(self.parameters).map_err(unusable)?;
                Ok(Rule::Reviews(answer.required_approving_review_count))
            }
            _ => Ok(Rule::Other),
        }
    }
}

#[derive(Deserialize)]
struct WireJobs {
    jobs: Vec<WireJob>,
}

#[derive(Deserialize)]
struct WireJob {
    id: u64,
    name: String,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    steps: Vec<WireStep>,
}

#[derive(Deserialize)]
struct WireStep {
    name: String,
    #[serde(default)]
    conclusion: Option<String>,
}

#[derive(Deserialize)]
struct WireSecrets {
    secrets: Vec<WireSecret>,
}

#[derive(Deserialize)]
struct WireSecret {
    name: String,
}

#[derive(Deserialize)]
struct WireContent {
    encoding: String,
    content: String,
}

#[derive(Deserialize)]
struct Comparison {
    #[serde(default)]
    files: Vec<ComparedFile>,
}

#[derive(Deserialize)]
struct ComparedFile {
    #[serde(default)]
    sha: Option<String>,
    filename: String,
    status: String,
    #[serde(default)]
    previous_filename: Option<String>,
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = serde_json::from_slice::<WireBranch>(bytes);
    let _ = serde_json::from_slice::<WireProtection>(bytes);
    let _ = serde_json::from_slice::<Vec<WireRule>>(bytes)
        .map(|rules| rules.into_iter().map(WireRule::read).for_each(drop));
    let _ = serde_json::from_slice::<WireJobs>(bytes);
    let _ = serde_json::from_slice::<WireSecrets>(bytes);
    let _ = serde_json::from_slice::<Comparison>(bytes);
}
