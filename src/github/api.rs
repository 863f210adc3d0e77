//! The API over octocrab.

use std::{cell::LazyCell, fs::File, rc::Rc, time::Duration};

use async_trait::async_trait;
use octocrab::{Octocrab, OctocrabBuilder};
use reqwest::{StatusCode, header};
use serde::de::DeserializeOwned;
use url::Url;

use super::{
    Artifact, Attestation, CommitTree, Difference, Github, GithubError, RepositoryRead as _, Review, WorkflowRun,
    call::{Answer, Caller, Late, text},
    download, wire,
};
use crate::{
    clock::Clock,
    domain::{CommitSha, Roots, Secret, Sha256Digest},
    http::client,
};

/// How long one answer of the API may take. GitHub itself gives up after 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the blob storage may stay silent in the middle of a download.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Pages of 100 that a list may have: GitHub gives no more than 1000 results for a filtered list.
const PAGES: usize = 10;

/// Which repository, and where its API is.
#[derive(Debug, Clone)]
pub struct Repository {
    /// `https://api.github.com`, or a GitHub Enterprise Server's `https://host/api/v3`.
    pub api_url: Url,
    pub owner: String,
    pub name: String,
}

/// GitHub's REST API for one repository.
pub struct Api {
    pub(super) caller: Caller,
    /// Knows no token: it talks to the blob storage.
    pub(super) blobs: Late<reqwest::Client>,
    pub(super) repository: Repository,
}

/// octocrab on our own HTTP client. Its policies of retrying (feature `retry`) would ask again at once, and for writes too.
fn connect(api_url: &Url, token: &Secret, roots: &Roots) -> Result<Octocrab, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("setting up the client of {api_url}: {error}");
    OctocrabBuilder::new()
        .base_uri(api_url.as_str().trim_end_matches('/'))
        .map_err(|error| unusable(&error))?
        .personal_token(token.expose().to_owned())
        .add_header(header::ACCEPT, "application/vnd.github+json".to_owned())
        .build_with_reqwest(client::build(roots, |builder| builder.timeout(ANSWER_TIMEOUT))?)
        .map_err(|error| unusable(&error))
}

impl Api {
    /// The clients are made by the first request, inside the tokio runtime that it runs on.
    ///
    /// # Errors
    /// A sentence: the token cannot be used.
    pub fn new(repository: Repository, token: &Secret, roots: &Roots, clock: Rc<dyn Clock>) -> Result<Self, String> {
        // octocrab panics on a token that no header can carry.
        if header::HeaderValue::from_str(token.expose()).is_err() || token.is_empty() {
            return Err(
                "the GitHub token is empty or has characters that are not allowed in a token, such as a line break"
                    .to_owned(),
            );
        }
        let (api_url, token, api_roots) = (repository.api_url.clone(), token.clone(), roots.clone());
        let octocrab: Late<Octocrab> = LazyCell::new(Box::new(move || connect(&api_url, &token, &api_roots)));
        let blob_roots = roots.clone();
        let blobs: Late<reqwest::Client> = LazyCell::new(Box::new(move || {
            client::build(&blob_roots, |builder| builder.read_timeout(STALL_TIMEOUT).user_agent("gated-deploy"))
        }));
        Ok(Self { caller: Caller::new(octocrab, clock), blobs, repository })
    }

    /// A route below the repository.
    pub(super) fn route(&self, rest: &str) -> String {
        format!("/repos/{}/{}/{rest}", self.repository.owner, self.repository.name)
    }

    pub(super) async fn read<T: DeserializeOwned>(&self, route: &str) -> Result<T, GithubError> {
        self.page(route).await.map(|(value, _)| value)
    }

    /// A commit, by what stands behind `commits/` in its route.
    async fn commit<T: DeserializeOwned>(&self, reference: &str) -> Result<T, GithubError> {
        match self.read(&self.route(&format!("commits/{reference}"))).await {
            // So GitHub says that it has no such commit: 422 "No commit found for SHA".
            Err(GithubError::Unexpected(text)) if text.starts_with("422 ") => Err(GithubError::NotFound(text)),
            other => other,
        }
    }

    /// An answer, and the route of the page after it.
    pub(super) async fn page<T: DeserializeOwned>(&self, route: &str) -> Result<(T, Option<String>), GithubError> {
        let answer = self.caller.get(route).await?;
        if answer.status != StatusCode::OK {
            let why = format!(
                "{} to GET {route}; check whether {}/{} was renamed",
                answer.status, self.repository.owner, self.repository.name
            );
            return Err(GithubError::Unexpected(why));
        }
        let next = self.next(&answer)?;
        let value = serde_json::from_str(&answer.body)
            .map_err(|error| GithubError::Unexpected(format!("GET {route}: {error}")))?;
        Ok((value, next))
    }

    /// The `next` link, as a route. Links that lead away from the API are refused: the token would go there.
    fn next(&self, answer: &Answer) -> Result<Option<String>, GithubError> {
        let Some(next) = text(&answer.headers, "link").and_then(next_link) else { return Ok(None) };
        let api = &self.repository.api_url;
        let url =
            api.join(next).map_err(|error| GithubError::Unexpected(format!("the link to the next page: {error}")))?;
        if url.origin() != api.origin() {
            return Err(GithubError::Unexpected(format!(
                "the link to the next page leads to {}, which is not the API",
                url.origin().ascii_serialization()
            )));
        }
        Ok(Some(url[url::Position::BeforePath..url::Position::AfterQuery].to_owned()))
    }

    pub(super) async fn all<L: DeserializeOwned, T>(
        &self,
        route: String,
        items: impl Fn(L) -> Vec<T>,
    ) -> Result<Vec<T>, GithubError> {
        let mut all = Vec::new();
        let mut next = Some(route);
        for _ in 0..PAGES {
            let Some(route) = next else { return Ok(all) };
            let (list, after) = self.page(&route).await?;
            all.extend(items(list));
            next = after;
        }
        match next {
            None => Ok(all),
            Some(_) => Err(GithubError::Unexpected(format!("a list has more than {PAGES} pages"))),
        }
    }

    /// What stands for the workflow in routes, and how to know its runs.
    pub(super) async fn resolve(&self, workflow: &str) -> Result<(String, RunsOf), GithubError> {
        let file = workflow.rsplit('/').next().unwrap_or(workflow);
        if file.ends_with(".yml") || file.ends_with(".yaml") {
            return Ok((percent(file), RunsOf::Path(format!("{WORKFLOWS}{file}"))));
        }
        let route = self.route("actions/workflows?per_page=100");
        let all: Vec<wire::Workflow> = self.all(route, |list: wire::Workflows| list.workflows).await?;
        let named: Vec<&wire::Workflow> =
            all.iter().filter(|known| known.name == workflow && known.state != "deleted").collect();
        match named.as_slice() {
            [one] => Ok((one.id.to_string(), RunsOf::Path(one.path.clone()))),
            [] => {
                let names: Vec<&str> =
                    all.iter().map(|known| known.path.rsplit('/').next().unwrap_or(&known.path)).collect();
                Err(GithubError::NotFound(format!("no workflow is named `{workflow}`; there are {}", names.join(", "))))
            }
            several => {
                // GitHub lists the files of every branch. A name in a file of another branch takes nothing from the default branch's file (SE13).
                let mut ours = Vec::new();
                for known in several {
                    if self.reviewed_file(&known.path).await?.is_some() {
                        ours.push(known);
                    }
                }
                match ours.as_slice() {
                    [one] => Ok((one.id.to_string(), RunsOf::Path(one.path.clone()))),
                    _ => {
                        let paths: Vec<&str> = several.iter().map(|known| known.path.as_str()).collect();
                        let what = format!("several workflows are named `{workflow}`: {}", paths.join(", "));
                        Err(GithubError::Ambiguous(what))
                    }
                }
            }
        }
    }
}

/// The folder of workflow files.
const WORKFLOWS: &str = ".github/workflows/";

/// How the runs of a workflow are known, whatever the list was filtered by: by its file.
pub(super) enum RunsOf {
    Path(String),
}

impl RunsOf {
    fn has(&self, run: &WorkflowRun) -> bool {
        let Self::Path(path) = self;
        run.path == *path
    }
}

#[async_trait(?Send)]
impl Github for Api {
    async fn run(&self, id: u64) -> Result<WorkflowRun, GithubError> {
        let run: wire::Run = self.read(&self.route(&format!("actions/runs/{id}"))).await?;
        let run = WorkflowRun::from(run);
        if run.id != id {
            return Err(GithubError::Unexpected(format!("asked for run {id}, got run {}", run.id)));
        }
        Ok(run)
    }

    async fn runs_for(&self, workflow: &str, commit: &CommitSha) -> Result<Vec<WorkflowRun>, GithubError> {
        let (workflow, runs_of) = self.resolve(workflow).await?;
        let route = self.route(&format!(
            "actions/workflows/{workflow}/runs?head_sha={commit}&exclude_pull_requests=true&per_page=100"
        ));
        let runs = self.all(route, |list: wire::Runs| list.workflow_runs).await?;
        // The list is a search index; what it was asked to filter by is checked again (F3).
        let mut runs: Vec<WorkflowRun> = runs.into_iter().map(WorkflowRun::from).collect();
        runs.retain(|run| run.head_sha == *commit && runs_of.has(run));
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        runs.dedup_by_key(|run| run.id);
        Ok(runs)
    }

    async fn recent_runs(&self, workflow: &str) -> Result<Vec<WorkflowRun>, GithubError> {
        let (workflow, runs_of) = self.resolve(workflow).await?;
        let route = self.route(&format!("actions/workflows/{workflow}/runs?exclude_pull_requests=true&per_page=100"));
        // One page is enough: what matters is what came last.
        let (list, _): (wire::Runs, _) = self.page(&route).await?;
        let mut runs: Vec<WorkflowRun> = list.workflow_runs.into_iter().map(WorkflowRun::from).collect();
        runs.retain(|run| runs_of.has(run));
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        Ok(runs)
    }

    async fn reviews(&self, run_id: u64) -> Result<Vec<Review>, GithubError> {
        let reviews: Vec<wire::ListedReview> =
            self.read(&self.route(&format!("actions/runs/{run_id}/approvals"))).await?;
        Ok(reviews.into_iter().map(Review::from).collect())
    }

    async fn workflow_path(&self, workflow: &str) -> Result<String, GithubError> {
        let (_, RunsOf::Path(path)) = self.resolve(workflow).await?;
        Ok(path)
    }

    async fn reachable(&self, branch: &str, commit: &CommitSha) -> Result<Option<bool>, GithubError> {
        // By the branch's head and not by its name: a tag of the same name would come first.
        let head: wire::BranchHead = match self.read(&self.route(&format!("branches/{}", percent(branch)))).await {
            Ok(head) => head,
            Err(GithubError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let route = self.route(&format!("compare/{}...{commit}?per_page=1", head.commit.sha));
        match self.page::<wire::Comparison>(&route).await {
            Ok((answer, _)) => Ok(Some(["behind", "identical"].contains(&answer.status.as_str()))),
            // Without a common commit there is nothing to compare.
            Err(GithubError::NotFound(_)) => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }

    async fn tree_of(&self, sha: &str) -> Result<CommitTree, GithubError> {
        let answer: wire::CommitOfTree = self.commit(&format!("{}?per_page=1", percent(sha))).await?;
        let answer = CommitTree::from(answer);
        // A branch or a tag can have a name that looks like the beginning of a SHA.
        if !answer.commit.as_str().starts_with(sha) {
            return Err(GithubError::Unexpected(format!("asked for commit {sha}, got {}", answer.commit)));
        }
        Ok(answer)
    }

    async fn difference(&self, from: &CommitSha, to: &CommitSha) -> Result<Difference, GithubError> {
        let answer: wire::Comparison = self.read(&self.route(&format!("compare/{from}...{to}?per_page=50"))).await?;
        Ok(answer.into())
    }

    async fn people_of(&self, commit: &CommitSha) -> Result<Vec<String>, GithubError> {
        let answer: wire::Commit = self.commit(commit.as_str()).await?;
        Ok([answer.author, answer.committer].into_iter().flatten().filter_map(|account| account.login).collect())
    }

    async fn attestations(&self, of: &Sha256Digest) -> Result<Vec<Attestation>, GithubError> {
        let route = self.route(&format!("attestations/sha256:{of}?per_page=100"));
        match self.all(route, |list: wire::Attestations| list.attestations).await {
            Ok(all) => Ok(all.into_iter().filter_map(wire::Attestation::read).collect()),
            Err(GithubError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn reviewed_file(&self, path: &str) -> Result<Option<String>, GithubError> {
        let answer: wire::DefaultBranch = self.read(self.route("").trim_end_matches('/')).await?;
        match self.file(path, &answer.default_branch).await {
            Ok(text) => Ok(Some(text)),
            Err(GithubError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn artifacts(&self, run_id: u64, name: &str) -> Result<Vec<Artifact>, GithubError> {
        let route = self.route(&format!("actions/runs/{run_id}/artifacts?name={}&per_page=100", percent(name)));
        let artifacts = self.all(route, |list: wire::Artifacts| list.artifacts).await?;
        let mut artifacts: Vec<Artifact> =
            artifacts.into_iter().map(Artifact::from).filter(|artifact| artifact.name == name).collect();
        artifacts.sort_by_key(|artifact| std::cmp::Reverse(artifact.id));
        Ok(artifacts)
    }

    async fn download(
        &self,
        artifact: &Artifact,
        file: File,
        on_bytes: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(Sha256Digest, u64), GithubError> {
        download::artifact(self, artifact, file, on_bytes).await
    }
}

/// The address in a `Link` header that has `rel="next"` (RFC 8288).
fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        parameters.split(';').any(|parameter| parameter.trim() == "rel=\"next\"").then_some(address)
    })
}

/// Percent-encoding for a path segment or a query value: everything but RFC 3986's unreserved characters.
pub(super) fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(header: &str) {
    if let Some(next) = next_link(header) {
        assert!(!next.contains('>'));
    }
    assert!(percent(header).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
}
