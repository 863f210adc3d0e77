//! JSON bodies: GitHub's documented examples with our repository's values put in, so that the fields and nulls that a
//! real answer carries are there.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::prelude::{BASE64_STANDARD as STANDARD, Engine as _};
use serde_json::{Value, json};

use super::{
    OWNER, REPO, REPOSITORY_ID,
    model::{Artifact, Branch, Digest, Job, Protection, Run, Workflow},
};

/// The endpoint descriptions, by operation id.
pub(super) static ENDPOINTS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    macro_rules! endpoints {
        ($($file:literal),* $(,)?) => {
            [$(include_str!(concat!("../../data/github/", $file, ".json"))),*]
        };
    }
    let files = endpoints![
        "actions-create-workflow-dispatch",
        "actions-download-artifact",
        "actions-get-artifact",
        "actions-get-repo-secret",
        "actions-get-workflow",
        "actions-get-workflow-run",
        "actions-get-workflow-run-attempt",
        "actions-list-artifacts-for-repo",
        "actions-list-jobs-for-workflow-run",
        "actions-list-repo-secrets",
        "actions-list-repo-workflows",
        "actions-list-workflow-run-artifacts",
        "actions-list-workflow-runs",
        "actions-list-workflow-runs-for-repo",
        "rate-limit-get",
        "repos-compare-commits",
        "repos-get",
        "repos-get-branch",
        "repos-get-branch-protection",
        "repos-get-branch-rules",
        "repos-get-commit",
        "repos-list-attestations",
        "repos-update-branch-protection",
    ];
    let parse = |text: &str| {
        let endpoint: Value = serde_json::from_str(text).expect("data/github/*.json is JSON");
        let id = endpoint["operationId"].as_str().expect("every endpoint has its operation id");
        (id.to_owned(), endpoint)
    };
    files.into_iter().map(parse).collect()
});

/// What an artifact's content turned out to be when it was added.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// `sha256:<hex>`
    pub(super) digest: String,
    /// Bytes.
    pub(super) size: u64,
}

/// Makes bodies whose links point to one server.
pub(super) struct Answers {
    api_url: String,
}

impl Answers {
    pub(super) fn new(api_url: &str) -> Self {
        Self { api_url: api_url.into() }
    }

    pub(super) fn repository(&self) -> Value {
        let mut body = self.example("repos/get");
        own(&mut body);
        // The example lacks `language`, which the schema requires.
        set(&mut body, json!({"default_branch": "main", "fork": false, "language": "PHP"}));
        // Only forks and repositories made from templates have these.
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|key, _| !["parent", "source", "template_repository"].contains(&key.as_str()));
        }
        body
    }

    pub(super) fn run(&self, run: &Run, workflow_id: u64) -> Value {
        let mut body = self.example("actions/get-workflow-run");
        let url = self.url(&format!("/actions/runs/{}", run.id));
        set(
            &mut body,
            json!({
                "id": run.id,
                "name": run.name,
                "head_branch": run.head_branch,
                "head_sha": run.head_sha,
                "path": run.path,
                "run_number": run.run_number,
                "run_attempt": run.run_attempt,
                "event": run.event,
                "status": run.phase.status,
                "conclusion": run.phase.conclusion,
                "workflow_id": workflow_id,
                "created_at": run.created_at,
                "updated_at": run.created_at,
                "run_started_at": run.started_at.as_ref().unwrap_or(&run.created_at),
                "url": url,
                "html_url": format!("https://github.com/{OWNER}/{REPO}/actions/runs/{}", run.id),
                "jobs_url": format!("{url}/jobs"),
                "logs_url": format!("{url}/logs"),
                "artifacts_url": format!("{url}/artifacts"),
                "cancel_url": format!("{url}/cancel"),
                "rerun_url": format!("{url}/rerun"),
                "previous_attempt_url": (run.run_attempt > 1).then(|| format!("{url}/attempts/{}", run.run_attempt - 1)),
                "workflow_url": self.url(&format!("/actions/workflows/{workflow_id}")),
            }),
        );
        body["head_commit"]["id"] = json!(run.head_sha);
        own(&mut body["repository"]);
        own(&mut body["head_repository"]);
        if run.head_repository_id != REPOSITORY_ID {
            let fork = json!({"id": run.head_repository_id, "full_name": format!("fork/{REPO}"), "fork": true});
            set(&mut body["head_repository"], fork);
            body["head_repository"]["owner"]["login"] = json!("fork");
        }
        body
    }

    /// The only job of a run, as far as it got.
    pub(super) fn job(&self, run: &Run) -> Value {
        let mut job = self.example("actions/list-jobs-for-workflow-run")["jobs"][0].take();
        let done = run.phase.conclusion.is_some();
        let url = self.url(&format!("/actions/runs/{}", run.id));
        set(
            &mut job,
            json!({
                "id": run.id * 10,
                "run_id": run.id,
                "run_url": url,
                "run_attempt": run.run_attempt,
                "head_sha": run.head_sha,
                "head_branch": run.head_branch,
                "workflow_name": run.name,
                "status": run.phase.status.as_deref().unwrap_or("queued"),
                "conclusion": run.phase.conclusion,
                "completed_at": done.then_some(&run.created_at),
                "started_at": run.created_at,
                "created_at": run.created_at,
            }),
        );
        for step in job["steps"].as_array_mut().into_iter().flatten() {
            let status = if done { "completed" } else { "queued" };
            set(step, json!({"status": status, "conclusion": run.phase.conclusion}));
        }
        job
    }

    pub(super) fn workflow(&self, workflow: &Workflow) -> Value {
        let mut body = self.example("actions/get-workflow");
        set(
            &mut body,
            json!({
                "id": workflow.id,
                "name": workflow.name,
                "path": workflow.path,
                "state": workflow.state,
                "url": self.url(&format!("/actions/workflows/{}", workflow.id)),
                "html_url": format!("https://github.com/{OWNER}/{REPO}/blob/main/{}", workflow.path),
            }),
        );
        body
    }

    pub(super) fn artifact(&self, artifact: &Artifact, measured: &Measured, run: Option<&Run>) -> Value {
        let mut body = self.example("actions/get-artifact");
        let url = self.url(&format!("/actions/artifacts/{}", artifact.id));
        set(
            &mut body,
            json!({
                "id": artifact.id,
                "name": artifact.name,
                "size_in_bytes": artifact.size.unwrap_or(measured.size),
                "url": url,
                "archive_download_url": format!("{url}/zip"),
                "expired": artifact.expired,
                "created_at": artifact.created_at,
                "updated_at": artifact.created_at,
                "expires_at": artifact.expires_at,
                "workflow_run": run.map(|run| origin(artifact, run)),
            }),
        );
        match &artifact.digest {
            Digest::Correct => body["digest"] = json!(measured.digest),
            Digest::Wrong => body["digest"] = json!(format!("sha256:{}", "0".repeat(64))),
            Digest::Given(text) => body["digest"] = json!(text),
            Digest::Null => body["digest"] = Value::Null,
            Digest::Absent => drop(body.as_object_mut().map(|body| body.remove("digest"))),
        }
        body
    }

    pub(super) fn branch(&self, branch: &Branch, tree: &str, protection: Option<&Protection>, by_rules: bool) -> Value {
        let mut body = self.example("repos/get-branch");
        let protected = branch.protected || protection.is_some() || by_rules;
        let name = branch.name.replace('/', "%2F");
        set(
            &mut body,
            json!({"name": branch.name, "protected": protected, "protection_url": self.url(&format!("/branches/{name}/protection"))}),
        );
        body["protection"]["enabled"] = json!(protected);
        if let Some(protection) = protection {
            let checks: Vec<_> =
                protection.contexts.iter().map(|context| json!({"context": context, "app_id": null})).collect();
            body["protection"]["required_status_checks"] =
                json!({"enforcement_level": "non_admins", "contexts": protection.contexts, "checks": checks});
        }
        let links = json!({
            "html": format!("https://github.com/{OWNER}/{REPO}/tree/{name}"),
            "self": self.url(&format!("/branches/{name}")),
        });
        set(&mut body["_links"], links);
        self.become_commit(&mut body["commit"], &branch.sha, tree, &[]);
        body
    }

    /// Classic protection as an administrator sees it.
    pub(super) fn protection(&self, branch: &str, protection: &Protection) -> Value {
        let mut body = self.example("repos/get-branch-protection");
        // Who may push is not restricted; the example's team lacks a key that the schema requires.
        drop(body.as_object_mut().map(|body| body.remove("restrictions")));
        let url = self.url(&format!("/branches/{branch}/protection"));
        body["url"] = json!(url);
        body["required_status_checks"]["contexts"] = json!(protection.contexts);
        body["required_status_checks"]["strict"] = json!(protection.strict);
        let checks: Vec<_> =
            protection.contexts.iter().map(|context| json!({"context": context, "app_id": null})).collect();
        body["required_status_checks"]["checks"] = json!(checks);
        match protection.reviews {
            0 => drop(body.as_object_mut().map(|body| body.remove("required_pull_request_reviews"))),
            count => body["required_pull_request_reviews"]["required_approving_review_count"] = json!(count),
        }
        body
    }

    /// A job as a test wrote it.
    pub(super) fn written_job(&self, run: &Run, job: &Job, index: usize) -> Value {
        let mut body = self.job(run);
        let steps = job.steps.iter().enumerate().map(|(number, (name, conclusion))| {
            let (began, ended) = (&run.created_at, &run.created_at);
            json!({"name": name, "status": "completed", "conclusion": conclusion, "number": number + 1, "started_at": began, "completed_at": ended})
        });
        let values = json!({
            "id": run.id * 10 + index as u64,
            "name": job.name,
            "status": "completed",
            "conclusion": job.conclusion,
            "completed_at": run.created_at,
            "steps": steps.collect::<Vec<_>>(),
        });
        set(&mut body, values);
        body
    }

    pub(super) fn commit(&self, sha: &str, tree: &str, parents: &[String]) -> Value {
        let mut body = self.example("repos/get-commit");
        // What the example says of its files lacks keys that the schema requires.
        body["files"] = json!([]);
        self.become_commit(&mut body, sha, tree, parents);
        body
    }

    /// `ahead` are the commits of the head that the base lacks, oldest first; `behind` counts those of the base that the head lacks.
    pub(super) fn comparison(
        &self,
        (base, head): (&str, &str),
        merge_base: &str,
        ahead: &[String],
        behind: usize,
        tree: impl Fn(&str) -> String,
    ) -> Value {
        let mut body = self.example("repos/compare-commits-with-basehead");
        let status = match (ahead.len(), behind) {
            (0, 0) => "identical",
            (_, 0) => "ahead",
            (0, _) => "behind",
            _ => "diverged",
        };
        let commits: Vec<_> = ahead.iter().map(|sha| self.commit(sha, &tree(sha), &[])).collect();
        let counts = json!({
            "status": status,
            "ahead_by": ahead.len(),
            "behind_by": behind,
            "total_commits": ahead.len(),
            "commits": commits,
            "html_url": format!("https://github.com/{OWNER}/{REPO}/compare/{base}...{head}"),
        });
        set(&mut body, counts);
        self.become_commit(&mut body["base_commit"], base, &tree(base), &[]);
        self.become_commit(&mut body["merge_base_commit"], merge_base, &tree(merge_base), &[]);
        body
    }

    /// An attestation as the endpoint's schema has it, its bundle included. The signature is none: whoever wants to verify it finds out.
    /// Without a statement it is the example itself, which has the address of a bundle alone.
    pub(super) fn attestation(&self, statement: &Value) -> Value {
        if statement.is_null() {
            return self.example("repos/list-attestations")["attestations"][0].take();
        }
        let payload = STANDARD.encode(statement.to_string());
        let mut body = self.example("repos/list-attestations")["attestations"][0].take();
        set(
            &mut body,
            json!({
                "repository_id": REPOSITORY_ID,
                "bundle": {
                    "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                    "verificationMaterial": { "tlogEntries": [], "timestampVerificationData": {} },
                    "dsseEnvelope": { "payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": [{ "sig": "" }] },
                },
            }),
        );
        body
    }

    pub(super) fn rate_limit(&self, limit: u64, used: u64, reset: u64) -> Value {
        let mut body = self.example("rate-limit/get");
        let core = json!({"limit": limit, "used": used, "remaining": limit.saturating_sub(used), "reset": reset});
        body["resources"]["core"] = core.clone();
        body["rate"] = core;
        body
    }

    fn become_commit(&self, commit: &mut Value, sha: &str, tree: &str, parents: &[String]) {
        let url = |sha: &str| self.url(&format!("/commits/{sha}"));
        commit["commit"]["tree"] = json!({"sha": tree, "url": self.url(&format!("/git/trees/{tree}"))});
        let parents: Vec<_> = parents
            .iter()
            .map(|sha| json!({"sha": sha, "url": url(sha), "html_url": format!("https://github.com/{OWNER}/{REPO}/commit/{sha}")}))
            .collect();
        set(
            commit,
            json!({
                "sha": sha,
                "url": url(sha),
                "html_url": format!("https://github.com/{OWNER}/{REPO}/commit/{sha}"),
                "comments_url": format!("{}/comments", url(sha)),
                "parents": parents,
            }),
        );
    }

    fn url(&self, path: &str) -> String {
        format!("{}/repos/{OWNER}/{REPO}{path}", self.api_url)
    }

    /// An endpoint's documented example with our server and repository in its links.
    pub(super) fn example(&self, operation: &str) -> Value {
        let mut example = ENDPOINTS[operation]["responses"]["200"]["example"].clone();
        self.relocate(&mut example);
        example
    }

    fn relocate(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                for theirs in ["octocat/Hello-World", "octo-org/octo-repo", "octo-org/octo-docs"] {
                    *text = text.replace(theirs, &format!("{OWNER}/{REPO}"));
                }
                for theirs in ["https://api.github.com", "http://api.github.com"] {
                    *text = text.replace(theirs, &self.api_url);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.relocate(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.relocate(field)),
            _ => {}
        }
    }
}

/// An artifact's `workflow_run`. Its branch cannot be null, only absent.
fn origin(artifact: &Artifact, run: &Run) -> Value {
    let mut origin = json!({
        "id": run.id,
        "repository_id": REPOSITORY_ID,
        "head_repository_id": run.head_repository_id,
        "head_sha": artifact.head_sha.as_ref().unwrap_or(&run.head_sha),
    });
    if let Some(branch) = &run.head_branch {
        origin["head_branch"] = json!(branch);
    }
    origin
}

/// Makes a repository object ours.
fn own(repository: &mut Value) {
    let ours = json!({"id": REPOSITORY_ID, "name": REPO, "full_name": format!("{OWNER}/{REPO}")});
    set(repository, ours);
    repository["owner"]["login"] = json!(OWNER);
}

fn set(body: &mut Value, values: Value) {
    if let (Some(body), Value::Object(values)) = (body.as_object_mut(), values) {
        body.extend(values);
    }
}
