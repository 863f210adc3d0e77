//! The tree that is bundled, and the bundle that is made of it.

use std::{fmt::Display, io};

use super::codes;
use crate::domain::{Failure, Sha256Digest};

codes! {
    EVENT_UNSUPPORTED = "event-unsupported", Refused {
        meaning: "`stage: build-gate` was started by an event that it does not take.",
        cause: "The workflow's `on:` has an event that has no commit to build.",
        action: "Start the build from `push`, `merge_group`, `workflow_dispatch` or `workflow_call`.",
    }
    BUILD_CHECKS_FAILED = "build-checks-failed", Refused {
        meaning: "The built tree does not pass all checks, so that no bundle was made. The error lists every check that failed.",
        cause: "A build step is missing or failed (Composer, npm), or the tree holds files that must not be shipped.",
        action: "Do what the help of the error says for each check, then build again.",
    }
    SOURCE_DIR = "source-dir-unusable", Input {
        meaning: "The folder of `source-dir` is not there or cannot be read.",
        cause: "The path is misspelled, or the app was not checked out in this job.",
        action: "Give the app's folder, built in this job, as `source-dir`.",
    }
    OUTPUT_DIR = "output-dir-unwritable", World {
        meaning: "The bundle could not be written to `output-dir`.",
        cause: "The disk of the build machine is full, or the job's user must not write there.",
        action: "Free space on the build machine, or give an `output-dir` that the job can write to.",
    }
    TREE_CHANGED = "tree-changed-while-packing", Refused {
        meaning: "A file changed after the checks and before it was packed.",
        cause: "A watcher, a development server or a background step writes to the tree.",
        action: "End watchers and servers before this step, or bundle a copy.",
    }
    FILE_UNREADABLE = "tree-file-unreadable", Refused {
        meaning: "A file of the tree cannot be read while the bundle is packed.",
        cause: "Another user owns the file (often root, from a container), or it was removed meanwhile.",
        action: "Let the build job's user read the whole tree: `sudo chown -R \"$(id -u)\" .`.",
    }
    BUNDLE_CHANGED = "bundle-changed-after-packing", Refused {
        meaning: "The bundle that lies in `output-dir` is not the one that was just written.",
        cause: "Another process writes to `output-dir`, or the disk is broken.",
        action: "Let nothing write to `output-dir` during the build. If the error stays, check the disk.",
    }
    BUNDLE_INVALID = "bundle-invalid", Refused {
        meaning: "The bundle is not one that `stage: build-gate` writes: its archive or its manifest breaks a rule.",
        cause: "The bundle was changed or packed again after it was built, or another tool made it.",
        action: "Build it again with `stage: build-gate`, and hand it on unchanged.",
    }
    BUNDLE_DAMAGED = "bundle-damaged", Refused {
        meaning: "The bundle is cut off, or it is no gzip-compressed tar archive.",
        cause: "The download or the upload was interrupted, or the file was damaged.",
        action: "Run again. If the error stays, build it again with `stage: build-gate`.",
    }
}

pub fn event_unsupported(event: &str) -> Failure {
    EVENT_UNSUPPORTED
        .failure("finding out what to build", format!("the event `{event}` is not supported"))
        .hint("start the build from push, merge_group, workflow_dispatch or workflow_call")
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
        .hint(cures.join("; "))
}

pub fn source_dir(doing: &str, error: &io::Error) -> Failure {
    SOURCE_DIR.failure(doing, error.to_string()).hint("give the app's folder, built in this job, as source-dir")
}

pub fn output_dir(doing: &str, error: &io::Error) -> Failure {
    OUTPUT_DIR.failure(doing, error.to_string()).hint(match error.kind() {
        io::ErrorKind::StorageFull => "free space on the build machine, or give another output-dir",
        _ => "give an output-dir that this job can write to",
    })
}

pub fn tree_changed(path: &str) -> Failure {
    TREE_CHANGED
        .failure(format!("packing {path}"), "it was changed after the gates had looked at it")
        .hint("let nothing write to the tree while it is bundled: end watchers and servers first, or bundle a copy")
}

pub fn file_unreadable(path: &str, error: &io::Error) -> Failure {
    FILE_UNREADABLE
        .failure(format!("packing {path}"), error.to_string())
        .hint("let the build job's user read the whole tree")
}

pub fn manifest_changed(doing: String) -> Failure {
    BUNDLE_CHANGED
        .failure(doing, "its manifest is not the one that was written")
        .hint("let nothing write to output-dir during the build")
}

pub fn bundle_changed(doing: String, is: &Sha256Digest, was: &Sha256Digest) -> Failure {
    BUNDLE_CHANGED
        .failure(doing, format!("its SHA-256 is {is}, {was} was written"))
        .hint("let nothing write to output-dir during the build; if that is not it, check the disk")
}

/// What every failure of a bundle's bytes was doing; who opens the bundle names it.
pub const CHECKING: &str = "checking the bundle";

pub fn bundle_invalid(cause: impl Display) -> Failure {
    BUNDLE_INVALID
        .failure(CHECKING, cause.to_string())
        .hint("build it anew with `stage: build-gate`, and hand it on unchanged")
}

pub fn bundle_damaged(error: &io::Error) -> Failure {
    let cause = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "it ends in the middle: it was cut short on its way here, or while it was written".to_owned()
        }
        _ => format!("it is not a gzip-compressed tar archive, or it is damaged: {error}"),
    };
    BUNDLE_DAMAGED
        .failure(CHECKING, cause)
        .hint("download it again; if that does not help, build it anew with `stage: build-gate`")
}
