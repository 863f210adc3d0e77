//! The backup on the server, and the off-site backup.

use super::{codes, word};
use crate::domain::{Failure, RemotePath, Warning};

codes! {
    BACKUP_EXISTS = "backup-exists", Refused {
        meaning: "A backup with the name of this release is on the server already. A backup is never written over another.",
        cause: "Two runs began in the same second, or the clock of the server was set back.",
        action: "Start the release again.",
        script: "{path} exists already", "Start the release again: backups are named by the second.",
    }
    BACKUP_INSIDE_RELEASE = "backup-inside-release", Refused {
        meaning: "The folder for backups is inside the release that is to be backed up. The backup would contain itself.",
        cause: "The folder `backups` is a link into the release.",
        action: "Move the folder outside of the release.",
        script: "the backups in {path} are inside the release to back up, {release}", "Move {folder} outside of the release.",
    }
    BACKUP_NO_ROOM = "backup-no-room", Refused {
        meaning: "The file system of the backups has too little free space for this backup.",
        cause: "Old backups and releases, or files of another program, fill the disk.",
        action: "Free space there, or set lower values for `keep-backups` and `keep-releases`.",
        script: "no room for the backup: about {needed_kib} KiB needed, {free_kib} KiB free on {path}",
            "Free space there, or set lower values for `keep-backups` and `keep-releases`.",
    }
    BACKUP_INCOMPLETE = "backup-incomplete", Refused {
        meaning: "The archive of the live release does not have as many entries as the release has files and folders.",
        cause: "A program made or removed files in the live release during the backup.",
        action: "Find out which program writes there, then run again.",
        script: "the archive of {path} has {found} entries, the folder has {expected}", "Find out which program writes there, then run again.",
    }
    BACKUP_CORRUPT = "backup-corrupt", Refused {
        meaning: "A file of the backup was read back, and differs from what was written. The release is refused; the live release was not touched.",
        cause: "The disk of the backups is broken, or the memory of the server is.",
        action: "Check the disk and the memory of the server, then run again. Check the backups that are there with `stage: verify`.",
        script: "the file {file} differs when it is read back from {path}", "Check the disk and the memory of the server, then run again.",
    }
    OFFSITE_MISSING = "offsite-missing", Refused {
        meaning: "The folder for off-site backups does not exist on the server.",
        cause: "The disk or the network share is not mounted, or `backup-copy-dir` is wrong.",
        action: "Mount it, or make the folder and give it to the deploy user.",
        script: "there is no folder {path}", "Mount the disk or the share, or make the folder and give it to the deploy user.",
    }
    OFFSITE_UNWRITABLE = "offsite-unwritable", Refused {
        meaning: "The deploy user may not write to the folder for off-site backups.",
        cause: "The folder belongs to another account, or the share is mounted read-only.",
        action: "Give the folder to the deploy user.",
        script: "{path} is not writable", "Give the folder to the deploy user.",
    }
    OFFSITE_INSIDE_BASE = "offsite-inside-base", Refused {
        meaning: "The folder for off-site backups is inside `base-dir`. What destroys the site would destroy its off-site backup as well.",
        cause: "`backup-copy-dir` names a folder of the site, or a link to one.",
        action: "Set `backup-copy-dir` to a folder on another disk or another machine.",
        script: "{path} is inside {base}", "Set `backup-copy-dir` to a folder on another disk or another machine.",
    }
    OFFSITE_SAME_DISK = "offsite-same-disk", Refused {
        meaning: "The folder for off-site backups is on the file system of the backups. If the disk fails, both are lost.",
        cause: "The other disk or the network share is not mounted, so that its empty mount point is left.",
        action: "Mount another disk or another machine there.",
        script: "{path} is on the same file system as {backups}: if the disk fails, both are lost",
            "Mount another disk or another machine there. If one should be mounted, it is not: findmnt {path}",
    }
    OFFSITE_EXISTS = "offsite-exists", Refused {
        meaning: "An off-site backup with the name of this release exists already. An off-site backup is never written over another.",
        cause: "Another site or environment uses the same folder.",
        action: "See which site it belongs to, and set another `backup-copy-dir`.",
        script: "{path} exists already", "See which site it belongs to, and set another `backup-copy-dir`.",
    }
    OFFSITE_NO_ROOM = "offsite-no-room", Refused {
        meaning: "The file system of the off-site backups has too little free space for this backup.",
        cause: "Old off-site backups, or files of another program, fill the disk.",
        action: "Free space there, or set a lower `keep-backups`.",
        script: "no room for the off-site backup: about {needed_kib} KiB needed, {free_kib} KiB free on {path}", "Free space there, or set a lower `keep-backups`.",
    }
    OFFSITE_CORRUPT = "offsite-corrupt", Refused {
        meaning: "The off-site backup was read back, and differs from the backup.",
        cause: "The disk or the machine of the off-site backups is broken, or its connection is.",
        action: "Check that disk or that machine, then run again.",
        script: "the file {file} differs when it is read back from {path}", "Check that disk or that machine, then run again.",
    }
    OFFSITE_LEFTOVER = "offsite-leftover", Warning {
        meaning: "An unfinished off-site backup may be left, because its folder could not be read during the rollback.",
        cause: "The disk or the network share of the off-site backups does not answer.",
        action: "When it answers again, remove the folder that the message names. The next run that makes an off-site backup removes it as well.",
    }
}

/// The off-site backup failed, and the policy does not require it. The code is the failure's.
pub fn offsite_failed(failure: &Failure) -> Warning {
    Warning { text: format!("there is no off-site backup: {failure}"), ..failure.clone().into() }
}

/// `part` is the folder that may be left in `dir`.
pub fn offsite_leftover(failure: &Failure, dir: &RemotePath, part: &str) -> Warning {
    OFFSITE_LEFTOVER.warning(
        format!("an unfinished off-site backup may be left: {failure}"),
        format!("When {dir} answers again, run: rm -rf {}", word(part)),
    )
}
