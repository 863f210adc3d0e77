//! GitHub's API.

use std::time::Duration;

use super::codes;
use crate::domain::{CommitSha, Failure};

codes! {
    GITHUB_FORBIDDEN = "github-forbidden", Input {
        meaning: "GitHub does not let this token do what the run needs.",
        cause: "The job's `permissions` or the given `github-token` lack a permission.",
        action: "Give the job the permissions that the error names, or a `github-token` that has them.",
    }
    GITHUB_TOKEN_UNUSABLE = "github-token-unusable", Input {
        meaning: "The value of `github-token` cannot be a token.",
        cause: "The secret is empty, or it holds a line break or another character that no token has.",
        action: "Set the secret again, or use the default: `github-token: ${{ github.token }}`.",
    }
    WORKFLOW_AMBIGUOUS = "workflow-ambiguous", Input {
        meaning: "Several workflows of this repository have the name that was given.",
        cause: "The input names the workflow by its `name:`, which is not unique.",
        action: "Give the file name of the workflow, such as `build-artifacts.yml`.",
    }
    WORKFLOW_UNKNOWN = "workflow-unknown", Input {
        meaning: "This repository has no workflow with this file name or name.",
        cause: "`build-workflow` is misspelled, or the workflow was renamed or removed.",
        action: "Give the file name of the workflow that builds as `build-workflow`. List them: `gh workflow list`.",
    }
    BUILD_RUN_UNKNOWN = "build-run-unknown", Input {
        meaning: "This repository has no workflow run with the id of `build-run-id`.",
        cause: "The id is of another repository, or the run was deleted.",
        action: "Give the id of a run in this repository, or leave `build-run-id` out. List them: `gh run list`.",
    }
    COMMIT_UNKNOWN = "commit-unknown", Input {
        meaning: "GitHub does not know this commit.",
        cause: "The commit was not pushed, or the input `sha` is of another repository.",
        action: "Push the commit, or correct the input `sha`.",
    }
    GITHUB_RATE_LIMITED = "github-rate-limited", World {
        meaning: "GitHub's API takes no further request of this token for now.",
        cause: "The token's rate limit is used up, by this workflow or by others that share the token.",
        action: "Run again after the time that the error gives.",
    }
    GITHUB_UNAVAILABLE = "github-unavailable", World {
        meaning: "GitHub's API did not answer, also after several attempts.",
        cause: "GitHub has an outage, or the runner's network or proxy does not reach it.",
        action: "Run again. Check https://www.githubstatus.com, and on a self-hosted runner: `curl -I https://api.github.com`.",
    }
    GITHUB_NOT_FOUND = "github-not-found", World {
        meaning: "GitHub's API has nothing at the address that was asked.",
        cause: "What was asked for was removed meanwhile, or the token cannot see it.",
        action: "Run again. If the error stays, check that the token belongs to this repository.",
    }
    GITHUB_ANSWER_UNUSABLE = "github-answer-unusable", World {
        meaning: "GitHub's API answered something that its documentation does not describe, or a download that is not taken.",
        cause: "A proxy changes the answers, or the API has changed.",
        action: "Run again. If the error stays, report it with the log of the run.",
    }
    COMMIT_NOT_ON_BRANCH = "commit-not-on-release-branch", Refused {
        meaning: "The commit is on no branch that this environment is released from.",
        cause: "The commit is on a feature branch, or a tag points at a commit that was not merged.",
        action: "Merge the commit into a release branch, or name its branch in the policy's `release-branches`.",
    }
    RELEASE_BRANCH_MISSING = "release-branch-missing", Refused {
        meaning: "This repository has none of the branches that this environment is released from.",
        cause: "The branch was renamed, or the policy's `release-branches` are not set and the default names do not fit.",
        action: "Name the branches in the policy's `release-branches` (or `main-branch`, `develop-branch`).",
    }
}

pub fn forbidden(doing: &str, cause: String) -> Failure {
    GITHUB_FORBIDDEN
        .failure(doing, cause)
        .hint("give the job `permissions: { actions: read, contents: read }`, or a github-token that has them")
}

pub fn attestations_forbidden(doing: &str, cause: String) -> Failure {
    GITHUB_FORBIDDEN
        .failure(doing, cause)
        .hint("give the job `permissions: { attestations: read }`, which require-attestation needs")
}

pub fn token_unusable(doing: &str, cause: String) -> Failure {
    GITHUB_TOKEN_UNUSABLE.failure(doing, cause).hint("correct github-token")
}

pub fn workflow_ambiguous(doing: &str, cause: String) -> Failure {
    WORKFLOW_AMBIGUOUS
        .failure(doing, cause)
        .hint("give the file name of the workflow that is meant, such as `build-artifacts.yml`, instead of its name")
}

/// `what` is what GitHub was asked for.
pub fn workflow_unknown(doing: &str, workflow: &str, what: &str) -> Failure {
    WORKFLOW_UNKNOWN
        .failure(doing, format!("there is no workflow `{workflow}` ({what})"))
        .hint("give the file name of the workflow that builds, as build-workflow, such as `build-artifacts.yml`")
}

pub fn build_run_unknown(doing: &str, id: u64) -> Failure {
    BUILD_RUN_UNKNOWN
        .failure(doing, format!("there is no run {id} in this repository"))
        .hint("give the id of a run in this repository, or leave build-run-id out")
}

pub fn commit_unknown(doing: &str, commit: &CommitSha) -> Failure {
    COMMIT_UNKNOWN
        .failure(doing, format!("GitHub does not know the commit {commit}"))
        .hint("Push it, or correct the input `sha`")
}

pub fn rate_limited(doing: &str, cause: String, retry_after: Duration) -> Failure {
    GITHUB_RATE_LIMITED
        .failure(doing, cause)
        .hint(format!("run this again in {} minutes", retry_after.as_secs().div_ceil(60)))
}

pub fn unavailable(doing: &str, cause: String) -> Failure {
    GITHUB_UNAVAILABLE
        .failure(doing, cause)
        .hint("run this again; https://www.githubstatus.com tells when GitHub itself is ill")
}

/// None of `branches` has the commit; `known` are those that exist. `doing` is the caller's.
pub fn not_on_branch(doing: &str, commit: &CommitSha, branches: &[String], known: &[&str]) -> Failure {
    match known {
        [] => RELEASE_BRANCH_MISSING
            .failure(doing, format!("this repository has no branch {}", branches.join(" and no branch ")))
            .hint("name the branches that this environment is released from in the policy's release-branches (or main-branch, develop-branch)"),
        known => COMMIT_NOT_ON_BRANCH
            .failure(doing, format!("{commit} is not reachable from {}", known.join(" or ")))
            .hint(format!(
                "merge it into {} first; release-branches in the policy names the branches that this environment is released from",
                known.join(" or ")
            )),
    }
}
