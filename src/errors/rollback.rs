//! Which release a rollback may go to, and whether it is still what it was.

use super::codes;
use crate::domain::{
    Failure, ReleaseName, RemotePath, Sha256Digest, Warning,
    release_status::{Candidate, Unfit},
};

codes! {
    NO_ROLLBACK_TARGET = "rollback-target-missing", Refused {
        meaning: "No release on the server can be rolled back to.",
        cause: "Every earlier release failed, was rolled back, was removed, or was changed since it was confirmed.",
        action: "Read the details: they name the reason for each release. Release a good commit again, as a new release.",
    }
    ROLLBACK_TARGET_LIVE = "rollback-target-live", Refused {
        meaning: "The release that `rollback-to` names is live already.",
        cause: "An earlier rollback has activated it, or `rollback-to` has the name of the live release.",
        action: "See which release `current` points to. If another one is meant, set `rollback-to` to its name.",
    }
    ROLLBACK_TARGET_UNKNOWN = "rollback-target-unknown", Refused {
        meaning: "The release that `rollback-to` names was never confirmed in this environment, or its folder was removed.",
        cause: "The name is misspelled, belongs to another environment, or the release was removed (`keep-releases`).",
        action: "Set `rollback-to` to a confirmed release in `releases/` on the server, or leave it empty.",
    }
    ROLLBACK_TARGET_UNFIT = "rollback-target-unfit", Refused {
        meaning: "The release that `rollback-to` names cannot be a target: it failed, was rolled back, or was replaced by a rollback.",
        cause: "The ledger records a failure or a rollback after its last confirmation. A newer release than the live one is left out only if `rollback-to` is empty.",
        action: "Leave `rollback-to` empty: the newest confirmed release is chosen. To have the named one again, release its commit as a new release.",
    }
    ROLLBACK_TARGET_UNPROVEN = "rollback-target-unproven", Refused {
        meaning: "The ledger has no digest of the release that `rollback-to` names, so a change of its files would not be noticed.",
        cause: "An old version of this action made the release.",
        action: "Release its commit again, as a new release.",
    }
    RELEASE_TREE_CHANGED = "release-tree-changed", Refused {
        meaning: "The files of a release are not the files that were confirmed: its tree has another digest.",
        cause: "A person or a program edited files of the release on the server.",
        action: "Release the commit again, as a new release. If files change while a rollback runs, end that work first and start the rollback again.",
    }
    RELEASE_MANIFEST_UNREADABLE = "release-manifest-unreadable", Refused {
        meaning: "The manifest in the release that is rolled back to cannot be read by this version.",
        cause: "Another version of this action made the release, or its manifest was damaged.",
        action: "Run the rollback with the version of this action that made the release.",
    }
    LEDGER_CHAIN_BROKEN = "ledger-chain-broken", Warning {
        meaning: "The chain of digests in the ledger is broken, so its records of releases may have been changed.",
        cause: "A person edited the ledger, or two lines were written at the same time by other tools.",
        action: "Compare the ledger with the reports of the runs: see \"Can the ledger be trusted?\" in docs/recovery.md.",
    }
    LEDGER_LINES_UNREADABLE = "ledger-lines-unreadable", Warning {
        meaning: "Lines of the ledger cannot be read. They are ignored, so the status of a release may be older than it seems.",
        cause: "A newer version of this action wrote them, or the file was damaged.",
        action: "Run the newest version of this action, or read the lines in the ledger by hand.",
    }
    MIGRATIONS_STAY = "migrations-stay", Warning {
        meaning: "Migrations that ran since the target release stay in effect. The older code runs with the newer schema.",
        cause: "A rollback never undoes migrations, because that would delete data.",
        action: "Check that the older code works with the newer schema. If it does not, correct the fault with a new release instead.",
    }
    MIGRATIONS_UNKNOWN = "migrations-since-unknown", Warning {
        meaning: "The ledger does not record which migrations ran since the target release.",
        cause: "An attempt ended before it wrote them, or an old version of this action made it.",
        action: "Read the table `migrations` of the database, which lists them in order.",
    }
    REVIEW_NOT_NEEDED = "review-not-needed", Warning {
        meaning: "The policy requires a review for releases. A rollback needs none, so the phrase alone approves it.",
        cause: "A rollback must not depend on GitHub.",
        action: "Nothing has to be done. Tell the reviewers of the environment about the rollback.",
    }
}

/// It would be the target, and its files are not those that were confirmed.
pub fn passed_over(candidate: &Candidate, changed: &str) -> Warning {
    RELEASE_TREE_CHANGED.warning(
        format!("{} is not used as the target: {changed}", candidate.release),
        "Find out who changes files of releases on the server.",
    )
}

pub fn ledger_chain_broken(broken: &dyn std::fmt::Display) -> Warning {
    LEDGER_CHAIN_BROKEN.warning(
        format!("the ledger's chain is broken: {broken}; its records of releases may have been changed"),
        "Read \"Can the ledger be trusted?\" in docs/recovery.md.",
    )
}

/// `lines`: how many.
pub fn ledger_lines_unreadable(lines: &str, ledger: &RemotePath) -> Warning {
    LEDGER_LINES_UNREADABLE.warning(
        format!("{lines} of {ledger} cannot be read and are ignored"),
        "Run the newest version of this action, or read these lines by hand.",
    )
}

/// `count`: how many ran.
pub fn migrations_stay(count: &str, target: &ReleaseName, ran: &[String]) -> Warning {
    MIGRATIONS_STAY.warning(
        format!("{count} ran since {target} and stay: {}; its code runs with the newer schema", ran.join(", ")),
        "Check that the older code works with the newer schema. If it does not, correct the fault with a new release instead.",
    )
}

/// `attempts`: how many do not say.
pub fn migrations_unknown(target: &ReleaseName, attempts: &str) -> Warning {
    MIGRATIONS_UNKNOWN.warning(
        format!("it is unknown which migrations ran since {target} for {attempts}: the ledger does not record them"),
        "Read the table `migrations` of the database, which lists them in order.",
    )
}

pub fn review_not_needed(environment: &str) -> Warning {
    REVIEW_NOT_NEEDED.warning(
        format!(
            "`approval-review` requires a review for {environment}, but a rollback needs no review: the phrase alone approves it"
        ),
        "Tell the reviewers of the environment about the rollback.",
    )
}

const RECOVERY: &str = "See docs/recovery.md for other ways";

/// No release is fit; why each one is not.
pub fn no_target(doing: &str, reasons: impl IntoIterator<Item = (ReleaseName, String)>) -> Failure {
    NO_ROLLBACK_TARGET
        .failure(doing, "there is no release to roll back to")
        .details(reasons.into_iter().map(|(release, why)| format!("{release}: {why}")))
        .hint(format!("Release a good commit again, as a new release. {RECOVERY}"))
}

/// The named release is not one of those that can be rolled back to.
pub fn unfit(doing: &str, release: &ReleaseName, unfit: Unfit) -> Failure {
    let (code, hint) = match unfit {
        Unfit::Live => (
            ROLLBACK_TARGET_LIVE,
            "Nothing has to be done. If another release is meant, set `rollback-to` to its name".to_owned(),
        ),
        Unfit::Unknown | Unfit::Gone => (
            ROLLBACK_TARGET_UNKNOWN,
            "Set `rollback-to` to the name of a folder in `releases/` on the server, or leave it empty".to_owned(),
        ),
        Unfit::Failed | Unfit::Reverted | Unfit::TakenBack | Unfit::Newer => (
            ROLLBACK_TARGET_UNFIT,
            format!(
                "Leave `rollback-to` empty: the newest confirmed release is chosen. To have {} again, release its commit as a new release",
                release.short_sha()
            ),
        ),
        Unfit::NoDigest => (
            ROLLBACK_TARGET_UNPROVEN,
            format!(
                "A change of its files would not be noticed. Release its commit, {}, as a new release. {RECOVERY}",
                release.short_sha()
            ),
        ),
    };
    code.failure(doing, unfit.to_string()).hint(hint)
}

/// What differs, for the reader of a log.
pub fn changed(candidate: &Candidate, found: &Sha256Digest) -> String {
    format!(
        "its files changed after it was confirmed: the tree digest was SHA-256 {}, and is {}",
        candidate.tree.short(),
        found.short()
    )
}

/// The named release was changed since it was confirmed.
pub fn tree_changed(candidate: &Candidate, found: &Sha256Digest) -> Failure {
    RELEASE_TREE_CHANGED.failure(format!("rolling back to {}", candidate.release), changed(candidate, found)).hint(
        format!(
            "Changed files were never tested. Release its commit {} again, as a new release, or leave `rollback-to` empty.",
            candidate.commit
        ),
    )
}

/// The target was changed between the plan and its execution.
pub fn tree_changed_meanwhile(doing: &str, expected: &Sha256Digest, found: &Sha256Digest) -> Failure {
    RELEASE_TREE_CHANGED
        .failure(
            doing,
            format!(
                "its files changed after the plan: the tree digest was SHA-256 {}, and is {}",
                expected.short(),
                found.short()
            ),
        )
        .hint("A person or a program edits files on the server. End that work first, then start the rollback again.")
}

/// Its manifest has another version, or is damaged.
pub fn manifest_unreadable(doing: &str) -> Failure {
    RELEASE_MANIFEST_UNREADABLE
        .failure(doing, "this version cannot read the manifest in the release")
        .hint("Run the rollback with the version of this action that made the release.")
}
