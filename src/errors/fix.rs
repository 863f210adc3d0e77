//! What the stage `fix` and the audit meet on GitHub and on the server.

use super::codes;
use super::github::GITHUB_RATE_LIMITED;
use super::github::GITHUB_UNAVAILABLE;
use super::github::WORKFLOW_AMBIGUOUS;
use crate::domain::Failure;

codes! {
    GITHUB_PLAN_MISSING = "github-plan-missing", Refused {
        meaning: "GitHub does not offer this feature for the repository. No right of a token helps.",
        cause: "The repository is private, and the account's plan does not include the feature.",
        action: "Choose a GitHub plan that has it, make the repository public, or leave the finding open.",
    }
    GITHUB_RIGHT_MISSING = "github-right-missing", Refused {
        meaning: "The token has not the permission that the fix needs.",
        cause: "The job's `permissions:` do not grant it, or no GITHUB_TOKEN can have it.",
        action: "Give the job the permission that the message names, or pass the token of an app or of a person as `github-token`. See docs/fix.md.",
    }
    GITHUB_REFUSED = "github-refused", Refused {
        meaning: "GitHub refused the change.",
        cause: "GitHub's answer in the message says why.",
        action: "Correct what the message names, then run this again.",
    }
    WORKFLOW_UNKNOWN = "fix-workflow-unknown", Refused {
        meaning: "GitHub has no workflow of the given name in this repository.",
        cause: "The file has another name, or is not on the default branch.",
        action: "Set the input that the message names to the file name of the workflow.",
    }
    BRANCH_UNKNOWN = "branch-unknown", Refused {
        meaning: "The repository has no branch of the configured name.",
        cause: "The branch has another name, or was removed.",
        action: "Set `main-branch` or `develop-branch` in the policy to the name of the branch.",
    }
    NO_WORKFLOWS = "no-workflow-files", Refused {
        meaning: "Neither branch has a workflow file, so every listed workflow would count as left over.",
        cause: "`main-branch` or `develop-branch` names another branch.",
        action: "Set `main-branch` and `develop-branch` in the policy to the names of the branches.",
    }
    TOO_FEW_CHECKS = "too-few-required-checks", Refused {
        meaning: "The branch of staging needs more required checks than the policy names.",
        cause: "`required-checks` in the policy is too short.",
        action: "Add names of checks to `required-checks` in the policy.",
    }
    CHANGED_SINCE_PLAN = "changed-since-plan", Refused {
        meaning: "What the fix changes is not what the plan found any more. Nothing was changed.",
        cause: "A person or another run changed it between plan and approval.",
        action: "Run the fix again for a new plan, and approve that one.",
    }
    FIX_NOT_EFFECTIVE = "fix-not-effective", Refused {
        meaning: "The change was sent, and a new look shows that it is not in effect.",
        cause: "Another person or run changed it at the same time, or a rule of the organisation overrules it.",
        action: "Run this again, or change it by hand as the message says.",
    }
    NOT_DISPATCHABLE = "build-not-dispatchable", Refused {
        meaning: "The build workflow cannot be started by hand.",
        cause: "Its file on the branch has no trigger `workflow_dispatch:`.",
        action: "Add `workflow_dispatch:` below `on:` in that file, and merge it.",
    }
    BUILD_FAILED = "build-run-failed", Refused {
        meaning: "The build that the fix started or waited for did not succeed.",
        cause: "The log of that run says why.",
        action: "Open the run that the message names, and repair the build.",
    }
    BUILD_MISSING = "build-not-there", Refused {
        meaning: "The build gave no bundle within the waiting time.",
        cause: "The build takes longer than `build-wait-attempts` allows, or it makes no artifact of the expected name.",
        action: "Run this again when the build has ended, or set a larger `build-wait-attempts`.",
    }
    NOTHING_LIVE = "nothing-live", Refused {
        meaning: "No release is live on the server.",
        cause: "Nothing was released to this place yet, or `base-dir` names another one.",
        action: "Release first, or correct `base-dir`.",
    }
    OWNERS_UNFIT = "owners-unfit-for-fix", Refused {
        meaning: "The fix cannot change the owner of these files safely: they are too many, have several names, or have names with control characters.",
        cause: "Another account wrote into the release, or linked files of it.",
        action: "Run the command of the help text on the server, as root.",
    }
    CHOWN_DENIED = "chown-not-allowed", Refused {
        meaning: "The deploy user may not change the owner of these files by sudo.",
        cause: "No sudo rule allows `chown` for them, which is as it should be.",
        action: "Run the command of the help text on the server, as root.",
    }
    OWNERS_LEFT = "owners-left", Refused {
        meaning: "After the fix, files of the live release still belong to other accounts.",
        cause: "Another account writes there again, or a folder could not be read before.",
        action: "Run the fix once more, or run the command of the help text as root.",
    }
    HEALTH_TOKEN_UNFIT = "health-token-unfit", Refused {
        meaning: "`HEALTHCHECK_TOKEN` in the server's `.env` is missing, too short, or no line of text.",
        cause: "It was not set, or was set to a placeholder.",
        action: "Write a long random word into `.env`: `HEALTHCHECK_TOKEN=...`. Then release again.",
    }
    HEALTH_TOKEN_ELSEWHERE = "health-token-of-another-site", Refused {
        meaning: "`.env` on the server does not name the site at `url`, so its token is not sent there.",
        cause: "`APP_URL` is missing, or names another site.",
        action: "Correct `url`, or set `APP_URL` in `.env` and release again.",
    }
    HEALTH_TOKEN_STALE = "health-token-stale", Refused {
        meaning: "The site refuses the token that stands in the server's `.env`.",
        cause: "The live release runs with a configuration cache that was made before the token was changed.",
        action: "Release again: the release builds the cache anew. Then run this again.",
    }
    HEALTH_TOKEN_UNTESTED = "health-token-untested", Refused {
        meaning: "The site is unhealthy, so it is not known whether it accepts the token.",
        cause: "The application fails for another reason.",
        action: "Make the site healthy first: see the finding `health` of the audit.",
    }
    SECRET_SHADOWED = "secret-shadowed", Refused {
        meaning: "A secret of the environment has the same name. Jobs of the environment see that one, not the repository's.",
        cause: "The secret was added to the environment by hand.",
        action: "Remove it: `gh secret delete NAME --env ENVIRONMENT`. Or name another secret in `healthcheck-token-secret` of the policy.",
    }
    SEALING_KEY_UNFIT = "github-sealing-key-unfit", World {
        meaning: "GitHub sent a public key for secrets that is no key.",
        cause: "GitHub or a proxy gave a damaged answer.",
        action: "Run this again.",
    }
    FINDINGS_FORBID = "audit-finding", Refused {
        meaning: "The audit found something that forbids a release to this environment.",
        cause: "The finding in the message says what was found.",
        action: "Follow the help of the finding. The stage `fix` can repair some of them: see docs/fix.md.",
    }
}

/// No plan of this account has it.
pub fn plan_missing(doing: &str, message: &str) -> Failure {
    GITHUB_PLAN_MISSING
        .failure(doing, format!("GitHub does not offer it for this repository: {message}"))
        .hint("choose a plan that has it, make the repository public, or live without it")
}

/// The token may not. `grant`: key and right of a job's `permissions:` that would allow it.
pub fn right_missing(
    doing: &str,
    message: &str,
    needs: &str,
    permission: &str,
    grant: Option<(&str, &str)>,
) -> Failure {
    let failure =
        GITHUB_RIGHT_MISSING.failure(doing, format!("the token may not do that ({message}); it needs {needs}"));
    match grant {
        Some((key, right)) => failure.hint(format!("give the job `permissions: {{ {key}: {right} }}`")),
        None => failure.hint(format!(
            "no GITHUB_TOKEN can ever have {needs}: let an administrator of the repository make a fine-grained token (or an app) \
             with {permission}, store it as a secret, and pass it as `github-token:` of this step; docs/fix.md"
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
        .hint("give the file name of the workflow that is meant, such as `build-artifacts.yml`, instead of its name")
}

/// A name that no workflow has; `input` says where it came from.
pub fn workflow_unknown(doing: &str, workflow: &str, what: &str, input: &str) -> Failure {
    WORKFLOW_UNKNOWN
        .failure(doing, format!("GitHub has no workflow {workflow} ({what})"))
        .hint(format!("name it in {input}"))
}

/// There is no branch of this name; `input` says where the name came from.
pub fn branch_unknown(doing: &str, branch: Option<&str>, input: &str) -> Failure {
    let cause = branch.map_or("there is no such branch".to_owned(), |branch| format!("there is no branch `{branch}`"));
    BRANCH_UNKNOWN.failure(doing, cause).hint(format!("name it in the policy's {input}"))
}

/// Neither branch has a workflow.
pub fn no_workflows(doing: &str, main: &str, develop: &str) -> Failure {
    NO_WORKFLOWS
        .failure(doing, format!("neither `{main}` nor `{develop}` has a workflow: every workflow would be a phantom"))
        .hint("name the branches in the policy's main-branch and develop-branch")
}

/// The policy names too few checks.
pub fn too_few_checks(doing: &str, branch: &str, needed: usize) -> Failure {
    TOO_FEW_CHECKS
        .failure(doing, format!("`{branch}` needs {needed} checks, and required-checks names too few more"))
        .hint("name more of them in the policy's required-checks")
}

/// It is another thing than the plan was made for.
pub fn changed_since_plan(doing: &str, cause: impl Into<String>, hint: &str) -> Failure {
    CHANGED_SINCE_PLAN.failure(doing, cause).hint(hint)
}

/// What was sent is not what is there.
pub fn protection_differs(doing: &str, against: &[String]) -> Failure {
    FIX_NOT_EFFECTIVE
        .failure(doing, format!("it is not what was sent: {}", against.join("; ")))
        .hint("set it by hand: Settings, Branches")
}

/// The protection of before was sent, and is not there.
pub fn protection_not_put_back(doing: &str) -> Failure {
    FIX_NOT_EFFECTIVE.failure(doing, "it is still not what it was")
}

/// They were disabled, and are active.
pub fn still_active(doing: &str, active: &[&str]) -> Failure {
    FIX_NOT_EFFECTIVE
        .failure(doing, format!("still active: {}", active.join(", ")))
        .hint("gh workflow disable NAME, or Actions, the workflow, Disable workflow")
}

/// The secret has the date of before.
pub fn secret_not_written(doing: &str, told: &str) -> Failure {
    FIX_NOT_EFFECTIVE.failure(doing, format!("it was not written: {told}")).hint("run this again")
}

/// GitHub cannot start it.
pub fn not_dispatchable(doing: &str, cause: &str, workflow: &str, branch: &str) -> Failure {
    NOT_DISPATCHABLE
        .failure(doing, cause)
        .hint(format!("give {workflow} the trigger `workflow_dispatch:` on `{branch}`"))
}

/// The build ended in something else than success.
pub fn build_failed(doing: &str, id: u64, conclusion: Option<&str>, url: &str) -> Failure {
    BUILD_FAILED
        .failure(doing, format!("build run {id} ended in {}", conclusion.unwrap_or("nothing")))
        .hint(format!("mend the build: {url}"))
}

/// No bundle came.
pub fn build_missing(doing: &str, looks: u32, last: &str) -> Failure {
    BUILD_MISSING
        .failure(doing, format!("no bundle after {looks} looks: {last}"))
        .hint("run this again when the build has ended, or raise build-wait-attempts")
}

/// `current` leads nowhere.
pub fn nothing_live(doing: &str) -> Failure {
    NOTHING_LIVE.failure(doing, "nothing is live there").hint("release first")
}

/// More files than a plan can name.
pub fn too_many_foreign(doing: &str, count: usize, command: &str) -> Failure {
    OWNERS_UNFIT
        .failure(doing, format!("{count} files belong to somebody else: too many to name each"))
        .hint(format!("as root: {command}"))
}

/// A file with hard links.
pub fn many_names(doing: &str, path: &str, quoted: &str) -> Failure {
    OWNERS_UNFIT
        .failure(
            doing,
            format!("{path} has several names (hard links): a new owner would be that of the other names, too"),
        )
        .hint(format!("find out who made it: find / -xdev -samefile {quoted}"))
}

/// A name that cannot be shown as it is.
pub fn odd_name(doing: &str, path: &str, command: &str) -> Failure {
    OWNERS_UNFIT.failure(doing, format!("the name {path:?} has control characters")).hint(format!("as root: {command}"))
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
        .failure(doing, format!("{user} may not, for {denied} of {all} paths, such as {shown}"))
        .details(commands)
        .hint(format!("as root on the server: {command}"))
}

/// What was named in the plan still belongs to others.
pub fn still_foreign(doing: &str, paths: &str, command: &str) -> Failure {
    OWNERS_LEFT
        .failure(doing, format!("still somebody else's: {paths}"))
        .hint(format!("as root on the server: {command}"))
}

/// More was found than the plan named.
pub fn more_foreign(doing: &str, more: usize) -> Failure {
    OWNERS_LEFT
        .failure(doing, format!("{more} more came to light, in folders that could not be read before"))
        .hint("run this fix once more")
}

/// The server's token is no token.
pub fn token_unfit(doing: &str, cause: &str, file: &str) -> Failure {
    HEALTH_TOKEN_UNFIT
        .failure(doing, cause)
        .hint(format!("write a long random word into {file}, HEALTHCHECK_TOKEN=..., and release again"))
}

/// The token's file names another site, or none.
pub fn token_elsewhere(file: &str, named: &str, url: &str) -> Failure {
    let cause = match named {
        "" => format!("{file} has no APP_URL, so that nothing says whether its token belongs to {url}"),
        _ => format!("{file} is of {named} (APP_URL), and url is {url}: its token is not sent there"),
    };
    HEALTH_TOKEN_ELSEWHERE
        .failure("looking where the server's token belongs", cause)
        .hint(format!("correct url, or write `APP_URL={url}` into {file} and release again"))
}

/// The site takes another token.
pub fn token_stale(doing: &str, problems: Vec<String>) -> Failure {
    HEALTH_TOKEN_STALE
        .failure(doing, "the site refuses it: it runs with an older configuration")
        .details(problems)
        .hint("release again, which rebuilds the configuration cache; then run this again")
}

/// The site's answer says nothing of the token.
pub fn token_untested(doing: &str, problems: &[String]) -> Failure {
    HEALTH_TOKEN_UNTESTED
        .failure(doing, format!("the site is not well: {}", problems.join("; ")))
        .hint("see the finding `health` of the audit; a sick site does not say which token it takes")
}

/// A secret of the environment hides the repository's.
pub fn secret_shadowed(doing: &str, environment: &str, name: &str) -> Failure {
    SECRET_SHADOWED
        .failure(
            doing,
            format!(
                "the environment `{environment}` has a secret {name} of its own, which its jobs see instead of the repository's"
            ),
        )
        .hint(format!(
            "remove that one (gh secret delete {name} --env {environment}), or name another secret in the policy's healthcheck-token-secret"
        ))
}

/// GitHub's key for secrets is no key.
pub fn sealing_key(doing: &str, id: &str) -> Failure {
    SEALING_KEY_UNFIT.failure(doing, format!("the repository's public key {id} is not one"))
}

/// Findings of an audit that forbid a release. `fix`: what to do about the first.
pub fn findings_forbid(doing: &str, cause: String, details: Vec<String>, fix: Option<String>) -> Failure {
    fix.into_iter().fold(FINDINGS_FORBID.failure(doing, cause).details(details), Failure::hint)
}
