//! The switch of `current`, and the watchdog that rolls it back.

use super::{Problem, codes, filled, word};
use crate::domain::{Failure, RemotePath, Warning};

codes! {
    CURRENT_NOT_A_LINK = "current-not-a-link", Refused {
        meaning: "`current` is a file or a folder, and not a symbolic link. It cannot be switched atomically.",
        cause: "The site was installed by hand, or by another program.",
        action: "Rename it, and make a link to it: `mv current current.old && ln -s current.old current`. Between the two commands the site does not answer.",
        script: "{path} is not a link",
            "Rename it and make a link to it; between the two commands the site does not answer. Run: mv {path} {path}.old && ln -s {path}.old {path}",
    }
    JOURNAL_UNWRITABLE = "journal-unwritable", Refused {
        meaning: "The journal of this release cannot be written. `current` was not switched.",
        cause: "The disk or a quota is full, or the folder belongs to another account.",
        action: "Free space there, then run again.",
        script: "{path} cannot be written", "Check whether the disk is full: df {path}",
    }
    LINK_UNWRITABLE = "link-unwritable", Refused {
        meaning: "The new link for `current` cannot be made beside it. `current` was not switched.",
        cause: "The disk has no free inode, or the folder belongs to another account.",
        action: "Free inodes (`df -i`), or correct the owner of `base-dir`, then run again.",
        script: "the new link {path} cannot be made", "Check inodes, space and owner: df -i {folder}; df {folder}; ls -ld {folder}",
    }
    SWITCH_TOO_LATE = "switch-too-late", Refused {
        meaning: "The watchdog fired before the switch. `current` was not switched.",
        cause: "The steps before the switch took longer than `confirm-within`.",
        action: "See how long these steps took, and set a larger `confirm-within`.",
        script: "the watchdog fired before the switch; the release is not activated",
            "See in the log which steps before the switch took long. If they need that time, set a larger `confirm-within`.",
    }
    WATCHDOG_ARMED_ALREADY = "watchdog-armed-already", Refused {
        meaning: "Another run armed a watchdog for this release.",
        cause: "Two runs work on the same release, one of them without the deploy lock.",
        action: "Wait for the other run to end, then run again.",
        script: "another run armed a watchdog for this release: {path}", "Wait for that run to end, then run again. Its entries are in {folder}.",
    }
    WATCHDOG_ENTRY_UNWRITABLE = "watchdog-entry-unwritable", Refused {
        meaning: "The watchdog's entry cannot be written on the server. `current` was not switched.",
        cause: "The disk or a quota is full, the disk has no free inode, or the folder belongs to another account.",
        action: "Free space and inodes (`df -i`), or correct the owner of `.gated-deploy`, then run again.",
        script: "{path} cannot be written", "Check space, inodes and owner: df {path}/..; df -i {path}/..; ls -ld {path}/..",
    }
    WATCHDOG_NOT_STARTED = "watchdog-not-started", Refused {
        meaning: "The watchdog did not start on the server. `current` was not switched.",
        cause: "The server ends background processes at once, lacks `setsid`, or is out of processes or space.",
        action: "Read its messages in the lines of the step.",
        script: "the watchdog did not start on the server", "Read its messages in the lines of this step, and correct what they name.",
    }
    WATCHDOG_CHANGED = "watchdog-changed", Refused {
        meaning: "The watchdog's entry has the number of another run, so this run does not disarm it.",
        cause: "Another run armed it, or a person changed the file.",
        action: "Find out who works on the server. The watchdog rolls back when its time is over.",
        script: "the watchdog entry {path} belongs to another run: its number differs", "Find out which run works on the server. The watchdog rolls back at its deadline.",
    }
    WATCHDOG_UNWRITABLE = "watchdog-unwritable", Refused {
        meaning: "The watchdog's entry cannot be renamed, so the rollback cannot begin.",
        cause: "Its folder belongs to another account, or a folder with the new name is there already.",
        action: "Check the owner, and what lies beside it.",
        script: "{path} cannot be renamed", "Check its owner, and what lies beside it: ls -ld {path} {path}.*",
    }
    PREVIOUS_RELEASE_MISSING = "previous-release-missing", Refused {
        meaning: "The release that was live before does not exist any more, so there is nothing to roll back to.",
        cause: "A person or a program removed its folder.",
        action: "Point `current` at a healthy release, reload PHP-FPM and nginx, then remove the entry that the help names.",
        script: "{path}, which was live before, is missing",
            "Point {current} at a healthy release, reload PHP-FPM and nginx, then run: rm -r {entry}",
    }
    ROLLBACK_RELOAD_FAILED = "rollback-reload-failed", Refused {
        meaning: "`current` points to the earlier release again, but PHP-FPM or nginx was not reloaded: PHP may still run the code of the release that was rolled back.",
        cause: "A configuration file of a service is broken, or a service is stopped.",
        action: "Correct what the message names, reload the services, then remove the entry that the help names.",
    }
    RECOVERY_INCOMPLETE = "recovery-incomplete", Refused {
        meaning: "The rollback of an unconfirmed release ended without an answer.",
        cause: "A command of it failed, or it was killed. Its messages are in the lines of the step.",
        action: "Correct what they name, then run again: the next run completes the rollback.",
        script: "the rollback ended without an answer", "Correct what the lines of this step name, then run again.",
    }
    PROBE_FILE_UNWRITABLE = "probe-file-unwritable", Refused {
        meaning: "The one-time file by which the site is recognised cannot be written to the folder `public` of the release.",
        cause: "The disk or a quota is full.",
        action: "Free space there, then run again.",
        script: "{path} cannot be written", "Check whether the disk is full: df {folder}",
    }
}

/// After a rollback on the server that ended without its reload. `why` is what the reload refused, as a script refuses it.
pub fn reload_failed(doing: &str, [current, before, from, entry]: [&str; 4], why: Option<Failure>) -> Failure {
    let because = why.as_ref().map_or_else(String::new, |why| format!(" ({})", why.cause));
    let cause = format!(
        "{current} points to {before} again, but the reload failed{because}: PHP may still run the code of {from}"
    );
    ROLLBACK_RELOAD_FAILED
        .failure(doing, cause)
        .hint(format!("Correct the cause (see {entry}/log), reload PHP-FPM and nginx, then run: rm -r {}", word(entry)))
}

/// In a survey: what the switch would refuse.
pub fn current_not_a_link(current: &RemotePath) -> Problem {
    let (cause, help) = CURRENT_NOT_A_LINK.template.unwrap_or_default();
    let path = |path: String| [("path".to_owned(), path)];
    CURRENT_NOT_A_LINK.problem(filled(cause, &path(current.to_string())), filled(help, &path(word(current))))
}

/// A reload that failed at the file of another site, after a rollback to a release that answers as itself. Its code is the reload's.
pub fn not_reloaded(reload: &Failure, seen: &str, hint: String) -> Warning {
    Warning::new(reload.code.clone(), format!("{}; {seen}", reload.cause), hint)
}
