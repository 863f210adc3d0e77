//! The evidence of staging for a release to production.
//!
//! The functions leave out what was being done: several reasons can prevent one release, and the caller adds it.

use super::codes;
use crate::domain::{CommitSha, Failure, ReleaseName, Sha256Digest};

codes! {
    STAGING_BUNDLE_DIFFERS = "staging-bundle-differs", Refused {
        meaning: "The bundle is not the one that staging confirmed, although it is of the same commit.",
        cause: "The commit was built again after the release to staging, and staging's ledger does not name the build run.",
        action: "Release the new build to staging first. Only if staging's ledger names no build run: set `build-run-id` to the run of staging's release.",
    }
    STAGING_COMMIT_UNKNOWN = "staging-commit-unknown", Refused {
        meaning: "Nothing on staging says that it runs this commit.",
        cause: "Staging's health endpoint names no commit, and the policy does not say how to reach staging's server.",
        action: "Let staging's health endpoint name the commit, or give the policy's staging section `ssh-host` and `base-dir`.",
    }
    STAGING_OTHER_COMMIT = "staging-other-commit", Refused {
        meaning: "Staging confirmed another commit, and its files differ from those of the commit that is to be released.",
        cause: "The branch moved on after the release to staging.",
        action: "Release this commit to staging first, or release the commit that staging has confirmed.",
    }
    STAGING_TOO_RECENT = "staging-too-recent", Refused {
        meaning: "Staging has run this release for a shorter time than `staging-stable-for` asks for.",
        cause: "The release to staging was confirmed a short time ago.",
        action: "Release again at the time that the error gives.",
    }
    STAGING_TIME_UNKNOWN = "staging-time-unknown", Refused {
        meaning: "The time at which staging confirmed the release cannot be read.",
        cause: "The line of staging's ledger was changed, or GitHub gives no time for the run.",
        action: "Release to staging again.",
    }
    STAGING_LEDGER_BROKEN = "staging-ledger-broken", Refused {
        meaning: "The ledger on staging's server was changed, or a line of it is damaged.",
        cause: "A person edited the file, the disk was full, or two processes wrote at once.",
        action: "See docs/recovery.md for what can still be trusted, then release to staging again.",
    }
    STAGING_NOT_CONFIRMED = "staging-not-confirmed", Refused {
        meaning: "No release of this commit was confirmed on staging.",
        cause: "The commit was not released to staging, or the release there was rolled back.",
        action: "Release this commit to staging first. `staging-workflow` names the workflow that does it.",
    }
    STAGING_BUNDLE_UNKNOWN = "staging-bundle-unknown", Refused {
        meaning: "Staging's ledger does not say of which bundle the confirmed release was made.",
        cause: "The run that confirmed the release did not write the bundle's digest.",
        action: "Release to staging again.",
    }
    STAGING_CURRENT_MOVED = "staging-current-moved", Refused {
        meaning: "Staging's `current` does not point to the last confirmed release.",
        cause: "A person changed `current` by hand, or a run was interrupted there.",
        action: "Release to staging again.",
    }
    STAGING_FAILED_SINCE = "staging-failed-since", Refused {
        meaning: "A later release on staging failed, or the run that released this one there ended in failure.",
        cause: "A check of the later release failed, or a step after this release failed. The error names the run.",
        action: "Find out why it failed, then release to staging again.",
    }
    STAGING_UNHEALTHY = "staging-unhealthy", Refused {
        meaning: "Staging's site is unhealthy now.",
        cause: "The app, its database or the web server of staging does not answer as it should, or it answers as another release.",
        action: "Make staging healthy, then release again.",
    }
    STAGING_UNREACHABLE = "staging-site-unreachable", Refused {
        meaning: "This runner could not reach staging's site.",
        cause: "`staging-url` is wrong, staging is down, a firewall blocks the runner, or the site asks for a password.",
        action: "Check from the runner's network: `curl -I URL`. If the name leads elsewhere, set `health-address` in the policy's staging section.",
    }
    STAGING_WORKFLOW_UNKNOWN = "staging-workflow-unknown", Refused {
        meaning: "This repository has no workflow with the name of `staging-workflow`.",
        cause: "The name is misspelled, or the workflow was renamed.",
        action: "Give the file name of the workflow that releases to staging as `staging-workflow`. List them: `gh workflow list`.",
    }
}

/// What a plan asks, too: `ours` is the bundle that would be released.
pub fn bundle_differs(doing: &str, ours: &Sha256Digest, proven: &Sha256Digest) -> Failure {
    STAGING_BUNDLE_DIFFERS
        .failure(doing, format!("this bundle has SHA-256 {ours}, staging confirmed {proven}"))
        .hint("The commit was built again. Release the new build to staging first, or set `build-run-id` to the build that staging has.")
}

pub fn commit_unknown(commit: &CommitSha) -> Failure {
    STAGING_COMMIT_UNKNOWN.failure("", format!("no source on staging says that it runs {}", commit.short())).hint(
        "Let staging's health endpoint name the commit, or give the policy's staging section `ssh-host` and `base-dir`.",
    )
}

const OTHER_COMMIT: &str = "Release this commit to staging first, or release the commit that staging has confirmed.";

/// `release` says what staging runs; `difference` in which files.
pub fn other_files(release: &str, commit: &CommitSha, difference: &str) -> Failure {
    STAGING_OTHER_COMMIT
        .failure("", format!("{release}, not of {commit}, and their files differ: {difference}"))
        .hint(OTHER_COMMIT)
}

pub fn other_commit_unknown(release: &str, commit: &CommitSha) -> Failure {
    let unknown = "GitHub does not know that commit, so that their files cannot be compared";
    STAGING_OTHER_COMMIT.failure("", format!("{release}, not of {commit}, and {unknown}")).hint(OTHER_COMMIT)
}

/// `ready` says when, as "at 2026-01-01 12:00:00 UTC".
pub fn too_recent(age: &str, needed: &str, ready: &str) -> Failure {
    STAGING_TOO_RECENT
        .failure("", format!("it was confirmed on staging {age} ago; `staging-stable-for` is {needed}"))
        .hint(format!("Release again {ready}."))
}

pub fn time_unknown() -> Failure {
    STAGING_TIME_UNKNOWN
        .failure("", "the time at which staging confirmed it cannot be read")
        .hint("Release to staging again.")
}

pub fn ledger_broken(found: &str) -> Failure {
    STAGING_LEDGER_BROKEN
        .failure("", format!("staging's ledger is broken: {found}"))
        .hint("See docs/recovery.md for what can still be trusted. Then release to staging again.")
}

pub fn no_confirmed_release() -> Failure {
    STAGING_NOT_CONFIRMED
        .failure("", "staging's ledger has no confirmed release")
        .hint("Release this commit to staging first.")
}

pub fn no_successful_run(workflow: &str, commit: &CommitSha) -> Failure {
    STAGING_NOT_CONFIRMED
        .failure("", format!("no run of {workflow} has succeeded for {}", commit.short()))
        .hint("Release this commit to staging first: `staging-workflow` names the workflow that does it.")
}

pub fn bundle_unknown(release: &ReleaseName) -> Failure {
    STAGING_BUNDLE_UNKNOWN
        .failure("", format!("staging's ledger does not say which bundle {release} was made of"))
        .hint("Release to staging again: the run that confirmed it did not write its digest.")
}

/// `live` is what `current` points to.
pub fn current_moved(live: &str, confirmed: &ReleaseName) -> Failure {
    STAGING_CURRENT_MOVED
        .failure("", format!("staging's `current` points to {live}, its last confirmed release is {confirmed}"))
        .hint("`current` was changed by hand, or a run was interrupted there. Release to staging again.")
}

/// `ended` is what the ledger says of a later run.
pub fn later_run_failed(ended: &str) -> Failure {
    STAGING_FAILED_SINCE
        .failure("", format!("{ended}, after this one was confirmed"))
        .hint("Find out why, then release to staging again.")
}

pub fn run_failed_since(workflow: &str, ending: &str, url: &str) -> Failure {
    STAGING_FAILED_SINCE
        .failure("", format!("a run of {workflow} has ended in {ending} since: {url}"))
        .hint("Find out why, then release to staging again.")
}

pub fn releasing_run_failed(ending: &str, url: &str) -> Failure {
    STAGING_FAILED_SINCE
        .failure("", format!("the run that released it to staging ended in {ending}: {url}"))
        .hint("Find out what failed after the release, then release to staging again.")
}

/// `why` is the failure of checking its site; `asked` says whether the site was reached.
pub fn unhealthy(why: &Failure, asked: bool) -> Failure {
    let hint = why.hint.as_deref().unwrap_or("Make it healthy first");
    let (code, what) =
        if asked { (STAGING_UNHEALTHY, "staging is unhealthy now") } else { (STAGING_UNREACHABLE, "staging's site") };
    code.failure("", format!("{what}: {}", why.cause)).hint(format!("On staging: {hint}"))
}

pub fn workflow_unknown(workflow: &str, what: &str) -> Failure {
    STAGING_WORKFLOW_UNKNOWN
        .failure("", format!("there is no workflow `{workflow}` that releases to staging ({what})"))
        .hint("Set `staging-workflow` to its file name. List them: gh workflow list")
}
