//! What an interrupted run left, and its recovery.

use super::codes;
use crate::domain::Failure;

codes! {
    STUCK_LOCK = "lock-of-stuck-run", Refused {
        meaning: "An earlier run could not complete its rollback. It kept the deploy lock, so that no other run changes the site.",
        cause: "The rollback failed at a step that needs a person.",
        action: "Run the commands in the summary of that run, check that the site is healthy, then remove the lock with the command of the help text.",
    }
    APPROVAL_ABORTED = "approval-aborted", Refused {
        meaning: "The approval is `ABBRECHEN` (German for \"abort\"). The run stopped, and nothing was changed.",
        cause: "`ABBRECHEN` was given as the approval.",
        action: "Nothing has to be done. To go ahead, start the stage again with the approval phrase.",
    }
    RELEASE_UNCONFIRMED = "release-unconfirmed", Refused {
        meaning: "A release was activated by a run that ended before it confirmed the release. It was rolled back.",
        cause: "The run was killed or cancelled, or lost its connection, between the switch and the confirmation.",
        action: "Read the log of that run for the reason, then release again.",
    }
    ROLLBACK_RELOAD_FAILED = "rollback-reload-failed", Refused {
        meaning: "`current` points to the earlier release again, and PHP-FPM or nginx was not reloaded. PHP may still run the code of the failed release.",
        cause: "A configuration file of the service is broken, or the service is stopped.",
        action: "Correct what the message names, then reload PHP-FPM and nginx on the server.",
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

/// The link is back, the services were not reloaded; the server's words.
pub fn reload_failed(doing: &str, cause: Option<&str>, advice: Option<&str>) -> Failure {
    let failure = ROLLBACK_RELOAD_FAILED.failure(doing, cause.unwrap_or("the reload failed"));
    advice.into_iter().fold(failure, Failure::hint)
}
