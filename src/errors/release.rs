//! A release on the server: its upload, its folder, what is shared with it.

use super::{codes, word};
use crate::domain::{RemotePath, Warning};

codes! {
    UPLOAD_CORRUPT = "upload-corrupt", Refused {
        meaning: "The bundle on the server is not the bundle that was sent: its SHA-256 differs.",
        cause: "The disk of the server is broken, or another process writes to the file.",
        action: "Run the release again. If this happens twice, check the disk of the server.",
        script: "the uploaded bundle has SHA-256 {found} on the server, it should be {expected}",
            "Run the release again. If this happens twice, check the disk of the server.",
    }
    RELEASE_NO_ROOM = "release-no-room", Refused {
        meaning: "The file system of the releases has too little free space for this release.",
        cause: "Old releases and backups, or files of another program, fill the disk.",
        action: "Free space there, or set lower values for `keep-releases` and `keep-backups`.",
        script: "no room for the release: {needed_kib} KiB needed, {free_kib} KiB free on {path}",
            "Free space there, or set lower values for `keep-releases` and `keep-backups`.",
    }
    RELEASE_NO_INODES = "release-no-inodes", Refused {
        meaning: "The file system of the releases has too few free inodes for the files of this release.",
        cause: "Very many small files lie there, such as sessions, a cache, or old releases.",
        action: "Remove files that are not needed. See where they are: `du --inodes -x / | sort -n | tail`.",
        script: "no room for the release: {files} files, {free_inodes} inodes free on {path}", "Remove files that are not needed. See where they are: du --inodes -x {path} | sort -n | tail",
    }
    RELEASE_EXISTS = "release-exists", Refused {
        meaning: "A folder with the name of this release is on the server already. A release is never unpacked over another.",
        cause: "Two runs began in the same second, or the clock of the server was set back.",
        action: "Start the release again.",
        script: "{path} exists already", "Start the release again: releases are named by the second.",
    }
    RELEASE_LIVE = "release-live", Refused {
        meaning: "A release that is live was to be removed. It stays.",
        cause: "Another run or a person activated this release in the meantime.",
        action: "See which release is live: `readlink current`. Then run again.",
        script: "{path} is live; it is not removed", "See which release is live: readlink current. Then run again.",
    }
    LINK_IN_BUILD = "link-in-build", Refused {
        meaning: "The bundle has a symbolic link in the path of a shared folder or of a file that the release writes. It is not followed.",
        cause: "The build or the repository has a link there, such as the one that `php artisan storage:link` makes.",
        action: "Replace the link by a folder in the build.",
        script: "{link} is a link, and the release needs {path} in its own folder", "Replace the link by a folder in the build.",
    }
    SHARED_NO_ROOM = "shared-no-room", Refused {
        meaning: "The shared folder `storage` takes no new file. The app would fail at its first request.",
        cause: "The disk or a quota is full.",
        action: "Free space there.",
        script: "{path} cannot be written: the disk or a quota is full", "Free space there: df {path}; quota",
    }
    SHARED_LINK_DANGLING = "shared-link-dangling", Refused {
        meaning: "A link of the new release leads to a shared folder that does not exist.",
        cause: "The shared folder was moved or removed during the run.",
        action: "See what lies in the folder `shared`, then run again.",
        script: "the shared folder of the link {path} in the new release does not exist", "Check the folder `shared`, then run again.",
    }
    LIVE_RELEASE_CHANGED = "live-release-changed", Refused {
        meaning: "Another release was activated after this run had examined the live one. Nothing was changed.",
        cause: "Another run or a person switched `current` in the meantime.",
        action: "Run again.",
        script: "another release was activated after the plan", "Run again.",
    }
    FOLDER_BECAME_LINK = "folder-became-link", Refused {
        meaning: "A folder of the live release was replaced by a symbolic link after this run had examined it.",
        cause: "A person or a program changes the live release.",
        action: "Find out who changes files there, then run again.",
        script: "{folder} was replaced by a link: {path} is another file now", "Find out what changes the live release, then run again.",
    }
    PATH_EXCHANGEABLE = "path-exchangeable", Refused {
        meaning: "Another account may write to a folder above this file, and could exchange the file while its owner is changed.",
        cause: "The folder is writable for a group, for everybody, or by an access list.",
        action: "Run the command in the help as root.",
        script: "another account may write to {folder}, and could exchange {path} while its owner is changed", "As root on the server, run: {by_root}",
    }
    CHOWN_FAILED = "chown-failed", Refused {
        meaning: "sudo did not run the command that changes the owner of a file.",
        cause: "The sudo rule is missing, or is another than the one that was read before.",
        action: "Read sudo's message in the lines of the step, and correct the rule.",
        script: "sudo did not run: chown -h {owner} {path}", "Read sudo's message in the lines of this step, and correct the rule.",
    }
    SIZE_UNKNOWN = "release-size-unknown", Warning {
        meaning: "The size of the live release is not known, so the survey cannot compare it with the free space. The steps of the release check the space again.",
        cause: "A file or folder of the live release cannot be read by the deploy user.",
        action: "As the deploy user, run `du -sk current/` in the base folder: it names what cannot be read. Correct its owner or mode.",
    }
}

/// `current` is the link of the live release.
pub fn size_unknown(current: &RemotePath) -> Warning {
    SIZE_UNKNOWN.warning(
        format!("the size of the live release is not known: `du -sk {current}/` failed"),
        format!("As the deploy user, find the files that cannot be read: du -sk {}/", word(current)),
    )
}
