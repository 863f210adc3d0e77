//! GitHub's API.

use std::time::Duration;

use super::codes;
use crate::domain::{CommitSha, Failure};

codes! {
    GITHUB_FORBIDDEN = "github-forbidden", Input {
        meaning: "The token has no right to read the builds, commits or attestations that the run needs.",
        cause: "The job's `permissions:` or the given `github-token` lack a read permission.",
        action: "Add the permissions in the error to the job's `permissions:`, or pass a `github-token` that has them.",
    }
    GITHUB_TOKEN_UNUSABLE = "github-token-unusable", Input {
        meaning: "The value of `github-token` is not a token.",
        cause: "The secret is empty, or it contains a line break or another character that is not allowed in a token.",
        action: "Set the secret again, or use the default: `github-token: ${{ github.token }}`.",
    }
    WORKFLOW_AMBIGUOUS = "workflow-ambiguous", Input {
        meaning: "Several workflows of this repository have the given name.",
        cause: "The input names the workflow by its `name:`, which is not unique.",
        action: "Give the file name of the workflow, such as `build-artifacts.yml`.",
    }
    WORKFLOW_UNKNOWN = "workflow-unknown", Input {
        meaning: "This repository has no workflow with the name in `build-workflow`.",
        cause: "`build-workflow` is misspelled, or the workflow was renamed or removed.",
        action: "Set `build-workflow` to the file name of the build workflow. List the workflows: `gh workflow list`.",
    }
    BUILD_RUN_UNKNOWN = "build-run-unknown", Input {
        meaning: "This repository has no workflow run with the id of `build-run-id`.",
        cause: "The id is of another repository, or the run was deleted.",
        action: "Set `build-run-id` to a run of this repository, or remove it. List the runs: `gh run list`.",
    }
    COMMIT_UNKNOWN = "commit-unknown", Input {
        meaning: "The repository at GitHub does not contain this commit.",
        cause: "The commit was not pushed, or the input `sha` is of another repository.",
        action: "Push the commit, or correct the input `sha`.",
    }
    GITHUB_RATE_LIMITED = "github-rate-limited", World {
        meaning: "GitHub's API refuses further requests of this token for now.",
        cause: "This workflow, or others with the same token, reached the rate limit.",
        action: "Run again after the time that the error gives.",
    }
    GITHUB_UNAVAILABLE = "github-unavailable", World {
        meaning: "GitHub's API did not answer after several attempts.",
        cause: "GitHub has an outage, or the runner's network or proxy cannot reach it.",
        action: "Run again. Check https://www.githubstatus.com, and on a self-hosted runner: `curl -I https://api.github.com`.",
    }
    GITHUB_NOT_FOUND = "github-not-found", World {
        meaning: "GitHub's API answered 404 to a request of the run.",
        cause: "The requested object was removed during the run, or the token cannot read it.",
        action: "Run again. If the error stays, check that the token belongs to this repository.",
    }
    GITHUB_ANSWER_UNUSABLE = "github-answer-unusable", World {
        meaning: "GitHub's API sent an undocumented answer, or a download that the run does not accept.",
        cause: "A proxy changes the answers, or the API has changed.",
        action: "Run again. If the error stays, report it with the log of the run.",
    }
    COMMIT_NOT_ON_BRANCH = "commit-not-on-release-branch", Refused {
        meaning: "The commit is not on a release branch of this environment.",
        cause: "The commit is on a feature branch, or a tag points at a commit that was not merged.",
        action: "Merge the commit into a release branch, or add its branch to `release-branches` in the policy.",
    }
    RELEASE_BRANCH_MISSING = "release-branch-missing", Refused {
        meaning: "This repository has none of the release branches of this environment.",
        cause: "The branch was renamed, or `release-branches` is not set in the policy and the branches have other names than the defaults.",
        action: "Set `release-branches` (or `main-branch` and `develop-branch`) in the policy.",
    }
}

pub fn forbidden(doing: &str, cause: String) -> Failure {
    GITHUB_FORBIDDEN.failure(doing, cause).hint(
        "Set `permissions: { actions: read, contents: read }` in the job, or pass a `github-token` that has them.",
    )
}

pub fn attestations_forbidden(doing: &str, cause: String) -> Failure {
    GITHUB_FORBIDDEN
        .failure(doing, cause)
        .hint("Set `permissions: { attestations: read }` in the job: `require-attestation` needs it.")
}

pub fn token_unusable(doing: &str, cause: String) -> Failure {
    GITHUB_TOKEN_UNUSABLE
        .failure(doing, cause)
        .hint("Correct `github-token`, or use the default: github-token: ${{ github.token }}")
}

pub fn workflow_ambiguous(doing: &str, cause: String) -> Failure {
    WORKFLOW_AMBIGUOUS
        .failure(doing, cause)
        .hint("Set the input to the file name of the workflow, such as `build-artifacts.yml`.")
}

/// `what` is what GitHub was asked for.
pub fn workflow_unknown(doing: &str, workflow: &str, what: &str) -> Failure {
    WORKFLOW_UNKNOWN
        .failure(doing, format!("there is no workflow `{workflow}` ({what})"))
        .hint("Set `build-workflow` to the file name of the build workflow, such as `build-artifacts.yml`.")
}

pub fn build_run_unknown(doing: &str, id: u64) -> Failure {
    BUILD_RUN_UNKNOWN
        .failure(doing, format!("there is no run {id} in this repository"))
        .hint("Set `build-run-id` to a run of this repository, or remove it.")
}

pub fn commit_unknown(doing: &str, commit: &CommitSha) -> Failure {
    COMMIT_UNKNOWN
        .failure(doing, format!("the repository at GitHub has no commit {commit}"))
        .hint("Push the commit, or correct the input `sha`.")
}

pub fn rate_limited(doing: &str, cause: String, retry_after: Duration) -> Failure {
    GITHUB_RATE_LIMITED
        .failure(doing, cause)
        .hint(format!("Run this again in {} minutes.", retry_after.as_secs().div_ceil(60)))
}

pub fn unavailable(doing: &str, cause: String) -> Failure {
    GITHUB_UNAVAILABLE
        .failure(doing, cause)
        .hint("Run this again. https://www.githubstatus.com shows outages of GitHub.")
}

/// None of `branches` has the commit; `known` are those that exist. `doing` is the caller's.
pub fn not_on_branch(doing: &str, commit: &CommitSha, branches: &[String], known: &[&str]) -> Failure {
    match known {
        [] => RELEASE_BRANCH_MISSING
            .failure(doing, format!("this repository has no branch {}", branches.join(" and no branch ")))
            .hint("Set `release-branches` (or `main-branch` and `develop-branch`) in the policy to the branches of this environment."),
        known => COMMIT_NOT_ON_BRANCH
            .failure(doing, format!("{commit} is not reachable from {}", known.join(" or ")))
            .hint(format!(
                "Merge it into {} first, or add its branch to `release-branches` in the policy.",
                known.join(" or ")
            )),
    }
}
