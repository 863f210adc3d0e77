//! The watchdog on the server, and the confirmation that disarms it.

use std::{fmt::Display, time::Duration};

use super::{codes, word};
use crate::domain::{Failure, Layout, ReleaseName, Warning};

codes! {
    CONFIRMATION_UNANSWERED = "confirmation-unanswered", Cancelled {
        meaning: "The server did not answer whether the release is confirmed. If it is not, the watchdog rolls it back.",
        cause: "The connection to the server was lost right before the confirmation.",
        action: "See which release is live (`readlink current`) and what the last line of `.gated-deploy/ledger.jsonl` says of it. The next run completes what is left.",
    }
    RELEASE_NOT_LIVE = "release-not-live", Refused {
        meaning: "`current` does not point to the release that was to be confirmed. The release is not confirmed.",
        cause: "Another run, another tool or a person switched `current` after this run had switched it.",
        action: "See which release is live (`readlink current`) and what switched it. This run leaves a link alone that is not its own.",
        script: "current points to {now}, and not to {expected}", "See what switched it: the ledger and the journals in .gated-deploy. Then start the release again.",
    }
    WATCHDOG_FIRED = "watchdog-fired", Refused {
        meaning: "The watchdog on the server began to roll back before the release was confirmed. The release is not confirmed.",
        cause: "The steps between the switch and the confirmation took longer than `confirm-within`.",
        action: "See in the log which steps took so long. If that is how long they take, set a larger `confirm-within`.",
    }
    WATCHDOG_MISSING = "watchdog-entry-missing", Refused {
        meaning: "The watchdog's entry on the server is gone before the release was confirmed. A release without a watchdog is not confirmed.",
        cause: "A person or a program removed files below `.gated-deploy`.",
        action: "Find out what removed it, then release again.",
    }
    WATCHDOG_ENTRY_UNREADABLE = "watchdog-entry-unreadable", Refused {
        meaning: "An unconfirmed release is on the server, and its watchdog entry cannot be read. It is not known what was live before.",
        cause: "The entry was damaged, or another version of this action wrote it.",
        action: "Check that the live release is healthy, then remove the entry with the command in the help.",
    }
    ROLLBACK_PENDING = "rollback-pending", Warning {
        meaning: "A release was activated and not confirmed, and the watchdog has not rolled it back yet.",
        cause: "The run that made the release was interrupted, or the server was restarted before the deadline.",
        action: "Nothing: the next release rolls it back first. To do that without a release, use `stage: recover`.",
    }
}

/// Whether it is confirmed is not known.
pub fn unanswered(doing: &str, error: &dyn Display) -> Failure {
    CONFIRMATION_UNANSWERED.failure(doing, format!("the server did not answer whether it is confirmed: {error}"))
}

/// The deadline passed.
pub fn fired(doing: &str, within: Duration) -> Failure {
    WATCHDOG_FIRED
        .failure(doing, format!("the watchdog has fired: it rolls back {} s after it was armed", within.as_secs()))
        .hint("See in the log which steps took long. If they need that time, set a larger `confirm-within`.")
}

/// Its entry is not there.
pub fn missing(doing: &str, entry: &dyn Display) -> Failure {
    WATCHDOG_MISSING
        .failure(doing, format!("the watchdog entry {entry}.armed is missing"))
        .hint("A release without a watchdog is not confirmed. Find out what removed the entry, then release again.")
}

/// The entry of an earlier run says nothing that this version understands.
pub fn entry_unreadable(layout: &Layout, release: &ReleaseName, why: &str) -> Failure {
    WATCHDOG_ENTRY_UNREADABLE
        .failure(
            format!("reading the watchdog entries in {}", layout.watchdog()),
            format!("the entry of {release} cannot be read: {why}"),
        )
        .hint(format!(
            "Check that the live release is healthy: readlink {}. Then run: rm -r {}/{release}.*",
            word(layout.current()),
            word(layout.watchdog())
        ))
}

/// In a survey: a release that is neither confirmed nor rolled back.
pub fn pending(layout: &Layout, release: &ReleaseName, run: &str) -> Warning {
    ROLLBACK_PENDING.warning(
        format!("{release} is unconfirmed (made by {run}), and the watchdog has not rolled it back yet"),
        format!("A release rolls it back before anything else. See {}", layout.watchdog()),
    )
}

/// In a survey: the same as [`entry_unreadable`], which then prevents the release.
pub fn pending_unreadable(layout: &Layout, release: &ReleaseName, why: &str) -> Warning {
    entry_unreadable(layout, release, why).into()
}
