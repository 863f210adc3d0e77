//! `verify`: whether a server still has what was confirmed.

use super::{Problem, codes, word};
use crate::domain::{ReleaseName, RemotePath, Sha256Digest, Warning, ledger::Break};

codes! {
    VERIFY_NOTHING_LIVE = "verify-nothing-live", Refused {
        meaning: "`current` leads to no release, so there is nothing to compare.",
        cause: "Nothing was released yet, or a person removed the link or the folder behind it.",
        action: "If a release was live, point `current` at it, or release again.",
    }
    VERIFY_LEDGER_BROKEN = "verify-ledger-broken", Refused {
        meaning: "The chain of digests in the ledger is broken, or a line of it cannot be read.",
        cause: "A line was edited, removed or damaged, or a later version wrote one that this version does not know.",
        action: "See docs/recovery.md, section \"Can the ledger be trusted?\".",
    }
    VERIFY_LIVE_UNCONFIRMED = "verify-live-unconfirmed", Refused {
        meaning: "The release that is live is not one that the ledger has as confirmed.",
        cause: "A person or another tool switched `current`, or a run was interrupted after the switch.",
        action: "Find out what switched it. Run `stage: recover` after an interrupted run, or release again.",
    }
    VERIFY_TREE_CHANGED = "verify-tree-changed", Refused {
        meaning: "Files of the live release are not what was confirmed. The details name those that were changed, added or removed.",
        cause: "A person or a program changed them on the server, or the site writes to its own code.",
        action: "Find out who changed them. Then release again: a new release has its own files. A rollback to this release is refused.",
    }
    VERIFY_TREE_UNKNOWN = "verify-tree-unknown", Warning {
        meaning: "The ledger has no tree digest of the live release, so its files could not be compared.",
        cause: "An older version confirmed it, or this action has confirmed no release here yet.",
        action: "The next release has one.",
    }
    VERIFY_BACKUP_DAMAGED = "verify-backup-damaged", Refused {
        meaning: "A file of a verified backup is not what its `SHA256SUMS` says, or is missing.",
        cause: "The disk lost or changed it, or a person did.",
        action: "Do not restore from it. Check the disk, and release again, which makes a new backup.",
    }
    VERIFY_BACKUPS_MISSING = "verify-backups-missing", Warning {
        meaning: "There is no verified backup to compare.",
        cause: "Nothing was live at the first release, or the backups were removed.",
        action: "The next release makes one.",
    }
    VERIFY_RELEASE_UNNAMED = "verify-release-unnamed", Warning {
        meaning: "The site is healthy, but none of its answers names a release, so it is not known which code answers.",
        cause: "No health endpoint answers with a field such as `commit` or `release`.",
        action: "Let a health endpoint name the commit: docs/health.md.",
    }
    VERIFY_DURING_RUN = "verify-during-run", Warning {
        meaning: "A run holds the deploy lock, so what is live may be about to be confirmed or rolled back.",
        cause: "A release or a rollback is under way.",
        action: "Run it again when that run has ended.",
    }
}

pub fn nothing_live(current: &RemotePath) -> Problem {
    VERIFY_NOTHING_LIVE.problem(
        format!("{current} leads to no release"),
        format!(
            "See what is there: ls -l {}. If a release was live, point the link at it, or release again.",
            word(current)
        ),
    )
}

/// What is wrong with the ledger.
pub fn ledger_broken(ledger: &RemotePath, broken: Option<&Break>, unreadable: usize) -> Problem {
    let cause = match broken {
        Some(broken) => format!("the chain of {ledger} is broken: {broken}"),
        None => format!("{unreadable} lines of {ledger} cannot be read"),
    };
    VERIFY_LEDGER_BROKEN.problem(cause, "See docs/recovery.md, section \"Can the ledger be trusted?\".")
}

pub fn live_unconfirmed(live: &str) -> Problem {
    VERIFY_LIVE_UNCONFIRMED.problem(
        format!("{live} is live, and the ledger does not have it as confirmed"),
        "Find out what switched `current`. Run `stage: recover` after an interrupted run, or release again.",
    )
}

/// What `differences` of the live release's files name, as lines.
pub fn tree_changed(
    release: &ReleaseName,
    (expected, found): (&Sha256Digest, &Sha256Digest),
    counted: &str,
    differences: Vec<String>,
) -> Problem {
    VERIFY_TREE_CHANGED
        .problem(
            format!(
                "the files of {release} are not what was confirmed: {counted} (SHA-256 {} instead of {})",
                found.short(),
                expected.short()
            ),
            "Find out who changed them, then release again.",
        )
        .details(differences)
}

pub fn nothing_confirmed(ledger: &RemotePath) -> Warning {
    VERIFY_TREE_UNKNOWN.warning(
        format!("{ledger} has no confirmed release yet, so nothing can be compared with the live one"),
        "The next release that this action makes has a tree digest.",
    )
}

pub fn tree_unknown(release: &ReleaseName) -> Warning {
    VERIFY_TREE_UNKNOWN.warning(
        format!("the ledger has no tree digest of {release}: an older version confirmed it"),
        "The next release has one.",
    )
}

/// `problems` are lines of the program that compared.
pub fn backup_damaged(folder: &str, problems: Vec<String>) -> Problem {
    VERIFY_BACKUP_DAMAGED
        .problem(
            format!("the backup {folder} is not what its SHA256SUMS says"),
            "Do not restore from it. Check the disk, and release again, which makes a new backup.",
        )
        .details(problems)
}

pub fn backups_missing(folder: &RemotePath) -> Warning {
    VERIFY_BACKUPS_MISSING.warning(format!("there is no verified backup in {folder}"), "The next release makes one.")
}

pub fn release_unnamed(release: &ReleaseName) -> Warning {
    VERIFY_RELEASE_UNNAMED.warning(
        format!("no answer of the site names a release, so it is not known whether {release} answers"),
        "Let a health endpoint name the commit: docs/health.md.",
    )
}

pub fn during_run(owner: &str) -> Warning {
    VERIFY_DURING_RUN.warning(
        format!("{owner} holds the deploy lock: what is live may be about to be confirmed or rolled back"),
        "Run it again when that run has ended.",
    )
}
