//! What an interrupted run left, and its recovery.

use super::approval::APPROVAL_ABORTED;
use super::codes;
use crate::domain::Failure;

codes! {
    STUCK_LOCK = "lock-of-stuck-run", Refused {
        meaning: "An earlier run could not complete its rollback. It kept the deploy lock, so that no other run changes the site.",
        cause: "The rollback failed at a step that needs a person.",
        action: "Run the commands in the summary of that run, check that the site is healthy, then remove the lock with the command of the help text.",
    }
    RELEASE_UNCONFIRMED = "release-unconfirmed", Refused {
        meaning: "A release was activated by a run that ended before it confirmed the release. It was rolled back.",
        cause: "The run was killed or cancelled, or lost its connection, between the switch and the confirmation.",
        action: "Read the log of that run for the reason, then release again.",
    }
}

/// The lock is kept on purpose.
pub fn stuck_lock(doing: &str, owner: &str, lock: &str) -> Failure {
    STUCK_LOCK.failure(doing, format!("that of a stuck run is there: {owner}")).hint(format!(
        "a person has to see to the site first: type the commands of that run's summary, see that the site is well, then: rm -r {lock}"
    ))
}

/// Somebody says stop.
pub fn aborted() -> Failure {
    APPROVAL_ABORTED.failure("reading the approval", "it says ABBRECHEN: stopped here; nothing was changed")
}

/// A release that nobody confirmed; the undo of this row takes it back.
pub fn unconfirmed(release: &str, run: &str) -> Failure {
    RELEASE_UNCONFIRMED
        .failure(
            "asking whether every release was confirmed",
            format!("{release} went live, and nobody confirmed it ({run})"),
        )
        .hint("what was live before it is live again; look why that run ended, and release again")
}
