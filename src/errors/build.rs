//! The source folder, and the bundle that is made of it.

use std::{fmt::Display, io};

use super::codes;
use crate::domain::{Failure, Sha256Digest, Warning};

codes! {
    BUILD_CHECKS_FAILED = "build-checks-failed", Refused {
        meaning: "The built app does not pass all checks, so no bundle was made. The error lists every failed check.",
        cause: "A build step is missing or failed (Composer, npm), or the folder contains files that must not be released.",
        action: "Follow the help of the error for each check, then run the build again.",
    }
    SOURCE_DIR = "source-dir-unusable", Input {
        meaning: "The folder of `source-dir` does not exist or cannot be read.",
        cause: "The path is misspelled, or the app was not checked out in this job.",
        action: "Set `source-dir` to the app's folder, and build the app in this job.",
    }
    OUTPUT_DIR = "output-dir-unwritable", World {
        meaning: "The bundle could not be written to `output-dir`.",
        cause: "The disk of the build machine is full, or the job's user cannot write there.",
        action: "Free space on the build machine, or set `output-dir` to a folder that the job can write to.",
    }
    TREE_CHANGED = "tree-changed-while-packing", Refused {
        meaning: "A file changed after the checks and before it was packed.",
        cause: "A file watcher, a development server or a background step writes to the folder.",
        action: "Stop file watchers and servers before this step, or bundle a copy.",
    }
    FILE_UNREADABLE = "tree-file-unreadable", Refused {
        meaning: "A file could not be read while the bundle was packed.",
        cause: "Another user owns the file (often root, from a container), or a process removed it.",
        action: "Let the build job's user read the whole folder: `sudo chown -R \"$(id -u)\" .`.",
    }
    BUNDLE_CHANGED = "bundle-changed-after-packing", Refused {
        meaning: "The bundle in `output-dir` differs from the one that was just written.",
        cause: "Another process writes to `output-dir`, or the disk is broken.",
        action: "Stop every other process that writes to `output-dir`. If the error stays, check the disk.",
    }
    BUNDLE_INVALID = "bundle-invalid", Refused {
        meaning: "The bundle was not written by `stage: build-gate`, or it was changed: its archive or its manifest breaks a rule.",
        cause: "The bundle was changed or packed again after it was built, or another tool made it.",
        action: "Build it again with `stage: build-gate`, and upload it unchanged.",
    }
    BUNDLE_DAMAGED = "bundle-damaged", Refused {
        meaning: "The bundle is incomplete, or it is not a gzip-compressed tar archive.",
        cause: "The download or the upload was interrupted, or the file was damaged.",
        action: "Run again. If the error stays, build it again with `stage: build-gate`.",
    }
    NOT_FOR_RELEASE = "bundle-not-for-release", Warning {
        meaning: "The event of this run can be about the code of others. The bundle is checked, and no release takes it.",
        cause: "The workflow runs on `pull_request` or `workflow_run`. The commit of a pull request is a test merge as well.",
        action: "Nothing has to be done. To release the commit, build it on `push`, `workflow_dispatch` or `schedule`.",
    }
    LOCK_FILE_MISSING = "composer-lock-missing", Warning {
        meaning: "The app has no `composer.lock`, so the next build of this commit may install other packages.",
        cause: "The lock file is not committed, or `.gitignore` names it.",
        action: "Run `composer update --lock` and commit `composer.lock`.",
    }
    ASSETS_NOT_HASHED = "assets-not-hashed", Warning {
        meaning: "No file of Vite's manifest has a content hash in its name, so browsers may show old files after a release.",
        cause: "The configuration of Vite sets file names without `[hash]`.",
        action: "Remove `entryFileNames`, `chunkFileNames` and `assetFileNames` from Vite's configuration, or add `[hash]` to them.",
    }
}

/// `event`: what started the run.
pub fn not_for_release(event: &str) -> Warning {
    NOT_FOR_RELEASE.warning(
        format!("no release takes a bundle of a run that was started by `{event}`: it can be about the code of others"),
        "To release this commit, build it on `push`, `workflow_dispatch` or `schedule`.",
    )
}

pub fn lock_file_missing(lock: &str) -> Warning {
    LOCK_FILE_MISSING.warning(
        format!("{lock} is missing: the next build of this commit may install other packages"),
        "Run `composer update --lock` and commit the file.",
    )
}

pub fn assets_not_hashed(manifest: &str) -> Warning {
    ASSETS_NOT_HASHED.warning(
        format!("no file in {manifest} has a content hash in its name: browsers may keep old files"),
        "Add `[hash]` to the file names in Vite's configuration.",
    )
}

/// `problems` are of the checks that failed, and `cures` what helps against them.
pub fn checks_failed(
    doing: impl Into<String>,
    failed: usize,
    total: usize,
    problems: impl Iterator<Item = String>,
    cures: &[&str],
) -> Failure {
    BUILD_CHECKS_FAILED
        .failure(doing, format!("{failed} of {total} checks failed"))
        .details(problems)
        .hint(cures.join(" "))
}

pub fn source_dir(doing: &str, error: &io::Error) -> Failure {
    SOURCE_DIR
        .failure(doing, error.to_string())
        .hint("Set `source-dir` to the app's folder, and build the app in this job.")
}

pub fn output_dir(doing: &str, error: &io::Error) -> Failure {
    OUTPUT_DIR.failure(doing, error.to_string()).hint(match error.kind() {
        io::ErrorKind::StorageFull => "Free space on the build machine, or set another `output-dir`",
        _ => "Set `output-dir` to a folder that this job can write to",
    })
}

pub fn tree_changed(path: &str) -> Failure {
    TREE_CHANGED
        .failure(format!("packing {path}"), "it was changed after the gates had checked it")
        .hint("Stop file watchers and servers before this step, or bundle a copy.")
}

pub fn file_unreadable(path: &str, error: &io::Error) -> Failure {
    FILE_UNREADABLE
        .failure(format!("packing {path}"), error.to_string())
        .hint("Let the build job's user read the whole folder: sudo chown -R \"$(id -u)\" .")
}

pub fn manifest_changed(doing: String) -> Failure {
    BUNDLE_CHANGED
        .failure(doing, "its manifest differs from the written one")
        .hint("Stop every other process that writes to `output-dir`.")
}

pub fn bundle_changed(doing: String, is: &Sha256Digest, was: &Sha256Digest) -> Failure {
    BUNDLE_CHANGED
        .failure(doing, format!("its SHA-256 is {is}, but {was} was written"))
        .hint("Stop every other process that writes to `output-dir`. If the error stays, check the disk.")
}

/// What the run was doing at every failure of a bundle's bytes; the caller adds the name.
pub const CHECKING: &str = "checking the bundle";

pub fn bundle_invalid(cause: impl Display) -> Failure {
    BUNDLE_INVALID
        .failure(CHECKING, cause.to_string())
        .hint("Build it again with `stage: build-gate`, and upload it unchanged.")
}

pub fn bundle_damaged(error: &io::Error) -> Failure {
    let cause = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "it is incomplete: the download, the upload or the write was interrupted".to_owned()
        }
        _ => format!("it is not a gzip-compressed tar archive, or it is damaged: {error}"),
    };
    BUNDLE_DAMAGED
        .failure(CHECKING, cause)
        .hint("Run this again. If the error stays, build it again with `stage: build-gate`")
}
