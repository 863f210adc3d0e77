//! What the stage `fix` and the audit meet on GitHub and on the server.

use super::artifact::{BUILD_FAILED, BUILD_MISSING, BUILD_UNFINISHED};
use super::codes;
use super::github::GITHUB_RATE_LIMITED;
use super::github::GITHUB_UNAVAILABLE;
use super::github::WORKFLOW_AMBIGUOUS;
use crate::domain::{Failure, Warning};

codes! {
    GITHUB_PLAN_MISSING = "github-plan-missing", Refused {
        meaning: "GitHub does not offer this feature for the repository, whatever rights the token has.",
        cause: "The repository is private, and the account's plan does not include the feature.",
        action: "Choose a GitHub plan that has it, make the repository public, or leave the finding open.",
    }
    GITHUB_RIGHT_MISSING = "github-right-missing", Refused {
        meaning: "The token has no right for the change of a fix, or for the settings that the fix reads.",
        cause: "The job's `permissions:` do not grant it, or no GITHUB_TOKEN can have it.",
        action: "Add the permission in the message to the job's `permissions:`, or pass the token of an app or of a user as `github-token`. See docs/fix.md.",
    }
    GITHUB_REFUSED = "github-refused", Refused {
        meaning: "GitHub refused the change.",
        cause: "A rule of the organization or the repository forbids it, or a value is not valid. The message has GitHub's reason.",
        action: "Correct what the message names, then run this again.",
    }
    WORKFLOW_UNKNOWN = "fix-workflow-unknown", Refused {
        meaning: "This repository has no workflow with the name that the fix was given.",
        cause: "`build-workflow` or `staging-workflow` is misspelled, or the file is not on the default branch.",
        action: "Set the input in the message to the file name of the workflow. List the workflows: `gh workflow list`.",
    }
    BRANCH_UNKNOWN = "branch-unknown", Refused {
        meaning: "The repository has no branch of the configured name.",
        cause: "The branch has another name, or was removed.",
        action: "Set `main-branch` or `develop-branch` in the policy to the name of the branch.",
    }
    NO_WORKFLOWS = "no-workflow-files", Refused {
        meaning: "Neither branch has a workflow file, so every listed workflow would count as one without a file.",
        cause: "`main-branch` or `develop-branch` names another branch.",
        action: "Set `main-branch` and `develop-branch` in the policy to the names of the branches.",
    }
    TOO_FEW_CHECKS = "too-few-required-checks", Refused {
        meaning: "The branch of staging needs more required checks than the policy names.",
        cause: "`required-checks` in the policy is too short.",
        action: "Add names of checks to `required-checks` in the policy.",
    }
    CHANGED_SINCE_PLAN = "changed-since-plan", Refused {
        meaning: "The target of the fix changed after the plan. The fix changed nothing.",
        cause: "A user or another run changed it between plan and approval.",
        action: "Run the fix again for a new plan, and approve it.",
    }
    FIX_NOT_EFFECTIVE = "fix-not-effective", Refused {
        meaning: "The change was sent, but it is not in effect.",
        cause: "A user or another run changed it at the same time, or a rule of the organization overrides it.",
        action: "Run this again, or follow the help of the message by hand.",
    }
    NOT_DISPATCHABLE = "build-not-dispatchable", Refused {
        meaning: "The build workflow cannot be started by hand.",
        cause: "Its file on the branch has no trigger `workflow_dispatch:`.",
        action: "Add `workflow_dispatch:` below `on:` in that file, and merge it.",
    }
    NOTHING_LIVE = "nothing-live", Refused {
        meaning: "No release is live on the server.",
        cause: "No release was made to this folder yet, or `base-dir` names another one.",
        action: "Release first, or correct `base-dir`.",
    }
    OWNERS_UNFIT = "owners-unfit-for-fix", Refused {
        meaning: "The fix cannot change the owner of these files safely: there are too many files, or a file has hard links or control characters in its name.",
        cause: "Another account wrote into the release, or made hard links to its files.",
        action: "Run the command in the help on the server, as root.",
    }
    CHOWN_DENIED = "chown-not-allowed", Refused {
        meaning: "Sudo does not allow the deploy user to change the owner of these files.",
        cause: "No sudo rule allows `chown` for them. This is the recommended setting.",
        action: "Run the command in the help on the server, as root.",
    }
    OWNERS_LEFT = "owners-left", Refused {
        meaning: "After the fix, files of the live release still belong to other accounts.",
        cause: "Another account still writes there, or a folder could not be read before.",
        action: "Run the fix once more, or run the command in the help as root.",
    }
    HEALTH_TOKEN_UNFIT = "health-token-unfit", Refused {
        meaning: "`HEALTHCHECK_TOKEN` in the server's `.env` is missing, too short, or not valid in a header.",
        cause: "It was not set, or was set to a placeholder.",
        action: "Set `HEALTHCHECK_TOKEN` in `.env` to the output of `openssl rand -hex 32`. Then release again.",
    }
    HEALTH_TOKEN_ELSEWHERE = "health-token-of-another-site", Refused {
        meaning: "`.env` on the server does not belong to the site at `url`, so its token is not sent there.",
        cause: "`APP_URL` is missing, or names another site.",
        action: "Correct `url`, or set `APP_URL` in `.env` and release again.",
    }
    HEALTH_TOKEN_STALE = "health-token-stale", Refused {
        meaning: "The site refuses the token in the server's `.env`.",
        cause: "The live release uses a configuration cache from before the change of the token.",
        action: "Release again, which rebuilds the cache. Then run the fix again.",
    }
    HEALTH_TOKEN_UNTESTED = "health-token-untested", Refused {
        meaning: "It is unknown whether the site accepts the token.",
        cause: "The application fails for another reason, or none of `health-paths` takes a token.",
        action: "Make the site healthy first: see the finding `health` of the audit. If no path takes a token, name one that does.",
    }
    SECRET_SHADOWED = "secret-shadowed", Refused {
        meaning: "A secret of the environment has the same name. Jobs of the environment get that one, not the repository's.",
        cause: "The secret was added to the environment by hand.",
        action: "Remove it: `gh secret delete NAME --env ENVIRONMENT`. Or set `healthcheck-token-secret` in the policy to another name.",
    }
    SEALING_KEY_UNFIT = "github-sealing-key-unfit", World {
        meaning: "GitHub sent a public key for secrets that is not valid.",
        cause: "GitHub or a proxy gave a damaged answer.",
        action: "Run this again.",
    }
    FINDINGS_FORBID = "audit-finding", Refused {
        meaning: "The audit has a finding that forbids a release to this environment.",
        cause: "A setting of GitHub, the server or the site is not as the finding requires.",
        action: "Follow the help of the finding. The stage `fix` can correct some findings: see docs/fix.md.",
    }
    CHECKS_NEVER_REPORT = "required-checks-never-report", Warning {
        meaning: "The fix would require checks that no workflow of this checkout reports. Every merge would be blocked.",
        cause: "`required-checks` in the policy has other names than the jobs, or the jobs do not run on pull requests.",
        action: "Before you approve the fix, correct `required-checks` in the policy or the names of the jobs.",
    }
    FOLDER_UNREAD = "release-folder-unread", Warning {
        meaning: "A folder of the live release cannot be read, so the files in it are not in the plan of the fix.",
        cause: "The folder belongs to another account, which gave the deploy user no right to read it.",
        action: "Run this fix. Then run it again: its files are readable once the folder belongs to the deploy user.",
    }
    SHADOW_UNKNOWN = "environment-secrets-unread", Warning {
        meaning: "It is unknown whether the environment has a secret of the same name. Its jobs would use that one, not the repository's.",
        cause: "The token has no right to read the names of the environment's secrets.",
        action: "List the secrets: `gh secret list --env ENVIRONMENT`. If the name is among them, remove it there.",
    }
}

/// `silent`: the checks.
pub fn checks_never_report(silent: &[&str], branch: &str) -> Warning {
    CHECKS_NEVER_REPORT.warning(
        format!(
            "no workflow of this checkout reports {} for pull requests to `{branch}`: every merge would be blocked",
            silent.join(", ")
        ),
        "Correct `required-checks` in the policy, or the names of the jobs, before you approve this.",
    )
}

pub fn folder_unread() -> Warning {
    FOLDER_UNREAD.warning(
        "a folder of the live release cannot be read, so its files are not in this plan",
        "Run this fix, then run it again: the files are readable once the folder belongs to the deploy user.",
    )
}

pub fn shadow_unknown(environment: &str, name: &str) -> Warning {
    SHADOW_UNKNOWN.warning(
        format!(
            "it is unknown whether the environment `{environment}` has its own secret {name}; its jobs would use that one"
        ),
        format!("List its secrets: gh secret list --env {environment}"),
    )
}

/// No plan of this account has it.
pub fn plan_missing(doing: &str, message: &str) -> Failure {
    GITHUB_PLAN_MISSING
        .failure(doing, format!("GitHub does not offer it for this repository: {message}"))
        .hint("Choose a GitHub plan that has it, make the repository public, or leave the finding open.")
}

/// The token may not. `grant`: key and right of a job's `permissions:` that would allow it.
pub fn right_missing(
    doing: &str,
    message: &str,
    needs: &str,
    permission: &str,
    grant: Option<(&str, &str)>,
) -> Failure {
    let failure = GITHUB_RIGHT_MISSING
        .failure(doing, format!("the token has no right for this request ({message}); it needs {needs}"));
    match grant {
        Some((key, right)) => failure.hint(format!("Set `permissions: {{ {key}: {right} }}` in the job.")),
        None => failure.hint(format!(
            "No GITHUB_TOKEN can have {needs}. Let an administrator of the repository create a fine-grained token (or an app) with \
             {permission}, store it as a secret, and pass it as `github-token:` of this step. See docs/fix.md."
        )),
    }
}

/// GitHub's answer, or that there was none.
pub fn github_unavailable(doing: &str, error: &dyn std::fmt::Display, hint: impl Into<String>) -> Failure {
    GITHUB_UNAVAILABLE.failure(doing, error.to_string()).hint(hint)
}

/// Later it will answer again.
pub fn github_rate_limited(doing: &str, error: &dyn std::fmt::Display, hint: impl Into<String>) -> Failure {
    GITHUB_RATE_LIMITED.failure(doing, error.to_string()).hint(hint)
}

/// GitHub has looked and says no.
pub fn github_refused(doing: &str, cause: &str) -> Failure {
    GITHUB_REFUSED.failure(doing, cause)
}

/// A name that two workflows have.
pub fn workflow_ambiguous(doing: &str, cause: &str) -> Failure {
    WORKFLOW_AMBIGUOUS
        .failure(doing, cause)
        .hint("Set the input to the file name of the workflow, such as `build-artifacts.yml`.")
}

/// A name that no workflow has; `input` says where it came from.
pub fn workflow_unknown(doing: &str, workflow: &str, what: &str, input: &str) -> Failure {
    WORKFLOW_UNKNOWN
        .failure(doing, format!("GitHub has no workflow {workflow} ({what})"))
        .hint(format!("Set `{input}` to its file name. List the workflows: gh workflow list"))
}

/// There is no branch of this name; `input` says where the name came from.
pub fn branch_unknown(doing: &str, branch: Option<&str>, input: &str) -> Failure {
    let cause =
        branch.map_or("the branch does not exist".to_owned(), |branch| format!("the branch `{branch}` does not exist"));
    BRANCH_UNKNOWN.failure(doing, cause).hint(format!("Set `{input}` in the policy."))
}

/// Neither branch has a workflow.
pub fn no_workflows(doing: &str, main: &str, develop: &str) -> Failure {
    NO_WORKFLOWS
        .failure(doing, format!("neither `{main}` nor `{develop}` has a workflow file"))
        .hint("Set `main-branch` and `develop-branch` in the policy to the names of the branches.")
}

/// The policy names too few checks.
pub fn too_few_checks(doing: &str, branch: &str, needed: usize) -> Failure {
    TOO_FEW_CHECKS
        .failure(doing, format!("`{branch}` needs {needed} checks, but `required-checks` has too few names"))
        .hint("Add names of checks to `required-checks` in the policy.")
}

/// It is another thing than the plan was made for.
pub fn changed_since_plan(doing: &str, cause: impl Into<String>, hint: &str) -> Failure {
    CHANGED_SINCE_PLAN.failure(doing, cause).hint(hint)
}

/// What was sent is not what is there.
pub fn protection_differs(doing: &str, against: &[String]) -> Failure {
    FIX_NOT_EFFECTIVE
        .failure(doing, format!("GitHub has other settings than were sent: {}", against.join("; ")))
        .hint("Set it by hand under Settings, Branches.")
}

/// The protection of before was sent, and is not there.
pub fn protection_not_put_back(doing: &str) -> Failure {
    FIX_NOT_EFFECTIVE.failure(doing, "the earlier protection is not in effect")
}

/// They were disabled, and are active.
pub fn still_active(doing: &str, active: &[&str]) -> Failure {
    FIX_NOT_EFFECTIVE
        .failure(doing, format!("still active: {}", active.join(", ")))
        .hint("Run: gh workflow disable NAME")
}

/// The secret has the date of before.
pub fn secret_not_written(doing: &str, described: &str) -> Failure {
    FIX_NOT_EFFECTIVE.failure(doing, format!("it was not written: {described}")).hint("Run this again.")
}

/// GitHub cannot start it.
pub fn not_dispatchable(doing: &str, cause: &str, workflow: &str, branch: &str) -> Failure {
    NOT_DISPATCHABLE
        .failure(doing, cause)
        .hint(format!("Add the trigger `workflow_dispatch:` to {workflow} on `{branch}`."))
}

/// The build run that the fix started or waited for did not succeed.
pub fn build_failed(doing: &str, id: u64, conclusion: Option<&str>, url: &str) -> Failure {
    BUILD_FAILED
        .failure(
            doing,
            format!("build run {id} ended in {}", conclusion.unwrap_or("an unknown state").replace('_', " ")),
        )
        .hint(format!("Correct the build and run it again: {url}"))
}

/// The waiting time is over. `running`: a build of the commit is still at work.
pub fn no_bundle(doing: &str, attempts: u32, last: &str, running: bool) -> Failure {
    let cause = format!("no bundle after {attempts} attempts: {last}");
    match running {
        true => BUILD_UNFINISHED
            .failure(doing, cause)
            .hint("Run this again when the build has finished, or raise `build-wait-attempts`."),
        false => BUILD_MISSING.failure(doing, cause).hint(
            "Check that every job of the build ran, and that it uploads an artifact with the name in `artifact-name`.",
        ),
    }
}

/// `current` points to no release.
pub fn nothing_live(doing: &str) -> Failure {
    NOTHING_LIVE.failure(doing, "no release is live there").hint("Release first, or correct `base-dir`.")
}

/// More files than a plan can name.
pub fn too_many_foreign(doing: &str, count: usize, command: &str) -> Failure {
    OWNERS_UNFIT
        .failure(doing, format!("{count} files belong to other accounts: too many for a plan"))
        .hint(format!("Run on the server as root: {command}"))
}

/// A file with hard links.
pub fn many_names(doing: &str, path: &str, quoted: &str) -> Failure {
    OWNERS_UNFIT
        .failure(doing, format!("{path} has hard links: a new owner would also apply to the other names"))
        .hint(format!("Find the other names: find / -xdev -samefile {quoted}"))
}

/// A name that cannot be shown as it is.
pub fn odd_name(doing: &str, path: &str, command: &str) -> Failure {
    OWNERS_UNFIT
        .failure(doing, format!("the name {path:?} has control characters"))
        .hint(format!("Run on the server as root: {command}"))
}

/// sudo does not allow it for each path.
pub fn chown_denied(
    doing: &str,
    user: &str,
    (denied, all): (usize, usize),
    shown: &str,
    commands: impl IntoIterator<Item = String>,
    command: &str,
) -> Failure {
    CHOWN_DENIED
        .failure(doing, format!("sudo does not allow {user} to change {denied} of {all} paths, such as {shown}"))
        .details(commands)
        .hint(format!("Run on the server as root: {command}"))
}

/// What was named in the plan still belongs to others.
pub fn still_foreign(doing: &str, paths: &str, command: &str) -> Failure {
    OWNERS_LEFT
        .failure(doing, format!("files of other accounts remain: {paths}"))
        .hint(format!("Run on the server as root: {command}"))
}

/// More was found than the plan named.
pub fn more_foreign(doing: &str, more: usize) -> Failure {
    OWNERS_LEFT
        .failure(doing, format!("{more} more files were found in folders that could not be read before"))
        .hint("Run this fix again.")
}

/// The server's token is no token.
pub fn token_unfit(doing: &str, cause: &str, file: &str) -> Failure {
    HEALTH_TOKEN_UNFIT
        .failure(doing, cause)
        .hint(format!("Set HEALTHCHECK_TOKEN in {file} to the output of: openssl rand -hex 32. Then release again."))
}

/// The token's file names another site, or none.
pub fn token_elsewhere(file: &str, named: &str, url: &str) -> Failure {
    let cause = match named {
        "" => format!("{file} has no APP_URL, so it is unknown whether its token belongs to {url}"),
        _ => format!("{file} belongs to {named} (APP_URL), but `url` is {url}: its token is not sent there"),
    };
    HEALTH_TOKEN_ELSEWHERE
        .failure("checking which site the server's token belongs to", cause)
        .hint(format!("Correct `url`, or set APP_URL={url} in {file} and release again."))
}

/// The site takes another token.
pub fn token_stale(doing: &str, problems: Vec<String>) -> Failure {
    HEALTH_TOKEN_STALE
        .failure(doing, "the site refuses it: the live release has an older configuration")
        .details(problems)
        .hint("Release again, which rebuilds the configuration cache. Then run this again.")
}

/// The site's answer says nothing of the token.
pub fn token_untested(doing: &str, problems: &[String]) -> Failure {
    HEALTH_TOKEN_UNTESTED
        .failure(doing, format!("the site is unhealthy: {}", problems.join("; ")))
        .hint("Make the site healthy first: see the finding `health` of the audit.")
}

/// The health paths promise a status or a text, with or without a token.
pub fn token_not_taken(doing: &str) -> Failure {
    HEALTH_TOKEN_UNTESTED
        .failure(doing, "no path of health-paths takes a token, so the site cannot say whether this one is right")
        .hint("Name a path in `health-paths` that checks the token, or drop `healthcheck-token`.")
}

/// A secret of the environment hides the repository's.
pub fn secret_shadowed(doing: &str, environment: &str, name: &str) -> Failure {
    SECRET_SHADOWED
        .failure(
            doing,
            format!(
                "the environment `{environment}` has its own secret {name}, which its jobs get instead of the repository's"
            ),
        )
        .hint(format!(
            "Run: gh secret delete {name} --env {environment}. Or set `healthcheck-token-secret` in the policy to another name."
        ))
}

/// GitHub's key for secrets is no key.
pub fn sealing_key(doing: &str, id: &str) -> Failure {
    SEALING_KEY_UNFIT.failure(doing, format!("the repository's public key {id} is not valid"))
}

/// Findings of an audit that forbid a release. `fix`: what to do about the first.
pub fn findings_forbid(doing: &str, cause: String, details: Vec<String>, fix: Option<String>) -> Failure {
    fix.into_iter().fold(FINDINGS_FORBID.failure(doing, cause).details(details), Failure::hint)
}
