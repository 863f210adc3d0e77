//! What an interrupted run left, and its recovery.

use super::{codes, word};
use crate::domain::{Failure, Warning};

codes! {
    STUCK_LOCK = "lock-of-stuck-run", Refused {
        meaning: "An earlier run could not complete its rollback. It pinned the deploy lock, so that no other run changes the site.",
        cause: "The rollback failed at a step that needs manual action.",
        action: "Run the commands in the summary of that run, check that the site is healthy, then remove the lock with the command in the help.",
    }
    LINE_MISSING = "ledger-line-missing", Warning {
        meaning: "The recovery is complete but for the ledger: the line of an interrupted run could not be written. The site needs no repair.",
        cause: "The ledger belongs to another account, its disk is full, or another process holds it.",
        action: "Correct what the message names, then use `stage: recover`, or release: the next run writes the line first.",
    }
    RELEASE_UNCONFIRMED = "release-unconfirmed", Refused {
        meaning: "A release was activated by a run that ended before it confirmed the release. It was rolled back.",
        cause: "The run was killed or cancelled, or lost its connection, between the switch and the confirmation.",
        action: "Read the log of that run for the reason, then release again.",
    }
}

/// The lock is pinned.
pub fn stuck_lock(doing: &str, owner: &str, lock: &str) -> Failure {
    STUCK_LOCK.failure(doing, format!("a run that needs manual action has pinned the deploy lock: {owner}")).hint(
        format!(
            "Run the commands in the summary of that run, and check that the site is healthy. Then run: rm -r {}",
            word(lock)
        ),
    )
}

/// An unconfirmed release; the undo of this row rolls it back.
pub fn unconfirmed(release: &str, run: &str) -> Failure {
    RELEASE_UNCONFIRMED
        .failure("looking for an unconfirmed release", format!("{release} was activated and not confirmed ({run})"))
        .hint("The earlier release is live again. Read the log of that run for the reason, then release again.")
}

/// The site is recovered; the ledger lacks a line.
pub fn line_missing(unwritten: &Failure) -> Warning {
    let help = unwritten.hint.as_deref().map(|help| format!("{help}. ")).unwrap_or_default();
    LINE_MISSING.warning(
        format!("the site is recovered, but the ledger lacks the line of the interrupted run: {}", unwritten.cause),
        format!("{help}Then use `stage: recover`, or release: the next run writes the line first."),
    )
}
