//! The deploy lock.

use std::time::Duration;

use super::{codes, word};
use crate::domain::{Failure, Warning};

codes! {
    LOCK_HELD = "lock-held", Refused {
        meaning: "Another run holds the deploy lock of this environment. One run at a time changes a site.",
        cause: "A second deployment was started, or an earlier run needs manual action (its lock is pinned).",
        action: "Wait for that run to end, or set `lock-wait` so that this run waits for it. The lock of a run that was killed is free when its lease has expired. The lock of a run that ended `stuck` stays pinned until it is removed by hand.",
    }
    MIGRATION_RUNNING = "migration-running", Refused {
        meaning: "A migration of an interrupted run is still running on the server. It holds the deploy lock, and is never ended.",
        cause: "The earlier run was cancelled, or lost its connection, while a long migration was running.",
        action: "Watch its log, and run again when it has ended, or set a longer `lock-wait`. Do not end the process: MySQL does not roll back DDL.",
    }
    LOCK_LOST = "lock-lost", Refused {
        meaning: "This run lost the deploy lock: its lease expired and another run took over, or the lock was removed.",
        cause: "The runner or the connection stood still for longer than the lease, or a user removed the lock by hand.",
        action: "See which release is live. This run changes nothing more.",
        script: "this run lost the deploy lock: its lease expired and another run took over",
            "This run changes nothing more. See which release is live: readlink current",
    }
    RUN_ENDING = "run-ending", Refused {
        meaning: "The run is being rolled back, and starts nothing new.",
        cause: "It was cancelled while work on the server went on without its connection.",
        action: "Wait for the rollback to end.",
        script: "this run is being rolled back and starts nothing new", "",
    }
    LOCK_UNWRITABLE = "lock-unwritable", Refused {
        meaning: "The deploy lock cannot be written on the server.",
        cause: "The disk or a quota is full, or the folder `.gated-deploy` belongs to another account.",
        action: "Free space, or correct the owner of `.gated-deploy`, then run again.",
        script: "{lock} cannot be written", "Check whether the disk is full, and who owns the folder: df {state}; ls -ld {state}",
    }
    LOCK_TAKEN_OVER = "lock-taken-over", Warning {
        meaning: "This run took over the deploy lock of an interrupted run, whose lease had expired.",
        cause: "The earlier run was killed or cancelled, or lost its connection.",
        action: "Nothing, in most cases: this run completes what the interrupted run left. `docs/recovery.md` says what that is.",
    }
    LOCK_EXPIRED = "lock-expired", Warning {
        meaning: "An interrupted run holds the deploy lock, and its lease has expired.",
        cause: "The run was killed or cancelled, or lost its connection.",
        action: "Nothing: the next release takes the lock over. To complete the interrupted run without a release, use `stage: recover`.",
    }
    LEASE_NOT_RENEWED = "lease-not-renewed", Warning {
        meaning: "The lease of the deploy lock has expired, because this run could not renew it. Another run may take over the lock.",
        cause: "The server does not answer, or the connection of the runner is broken.",
        action: "Check the connection between the runner and the server. Each step that changes the server checks the lock first.",
    }
}

/// Another run holds it: names that run, and says when the lock expires.
pub fn held(doing: &str, holder: &str, waited: Duration, lock: &str, lease: Duration) -> Failure {
    let waited = if waited.is_zero() { String::new() } else { format!(" (waited {} s for it)", waited.as_secs()) };
    LOCK_HELD.failure(doing, format!("{holder} holds the deploy lock{waited}")).hint(held_help(lock, lease))
}

/// What to do about a lock that another run holds.
pub fn held_help(lock: &str, lease: Duration) -> String {
    format!(
        "Wait for that run to end, or set `lock-wait`. The lock of a run that was killed is free after {} s. The lock of a stuck run is \
         pinned: repair the site, then run: rm -r {}",
        lease.as_secs(),
        word(lock)
    )
}

/// A migration of an earlier run goes on.
pub fn migration_running(doing: &str, process: &str, waited: Duration, log: &str) -> Failure {
    let cause = format!(
        "the migration of an interrupted run is still running on the server (process {process}) after a wait of {} s",
        waited.as_secs()
    );
    MIGRATION_RUNNING.failure(doing, cause).hint(format!(
        "Do not end it: a migration that is ended halfway leaves the schema between two states. When it has ended, \
         run the release again, or set a longer `lock-wait`. Watch it: tail -f {}",
        word(log)
    ))
}

/// The lock of an interrupted run is this run's now.
pub fn taken_over(owner: &str) -> Warning {
    LOCK_TAKEN_OVER.warning(
        format!("took over the deploy lock of an interrupted run: {owner}"),
        "This run completes what the interrupted run left. See docs/recovery.md.",
    )
}

/// In a survey: the lock can be taken over.
pub fn expired(owner: &str) -> Warning {
    LOCK_EXPIRED.warning(
        format!("an interrupted run holds the deploy lock: {owner}"),
        "The next release takes it over. No action is needed.",
    )
}

/// Nothing was heard of the lock for longer than its lease.
pub fn not_renewed(since: Duration) -> Warning {
    LEASE_NOT_RENEWED.warning(
        format!("the lease of the deploy lock could not be renewed for {} s", since.as_secs()),
        "Check the connection between this runner and the server. Every step that changes the server checks first that this run holds the lock.",
    )
}

/// Another run has the lock, or none: `by` is its owner, or empty.
pub fn lost(by: &str) -> Warning {
    let by = if by.is_empty() { "it was removed".to_owned() } else { format!("{by} took over") };
    LOCK_LOST.warning(
        format!("this run lost the deploy lock: {by}"),
        "This run changes nothing more. See which release is live: readlink current",
    )
}
