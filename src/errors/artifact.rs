//! The build's run, its artifact, and the bundle in it.

use std::fmt::Display;

use super::codes;
use crate::domain::{CommitSha, Failure, Sha256Digest, Warning};

codes! {
    BUILD_MISSING = "build-missing", Refused {
        meaning: "There is no usable build of this commit.",
        cause: "The build was not started, it ran on a branch that is not allowed, or `build-workflow` names another workflow.",
        action: "Push the commit, or start the build: `gh workflow run WORKFLOW --ref BRANCH`. Then run again.",
    }
    BUILD_UNFINISHED = "build-unfinished", Refused {
        meaning: "The build of this commit is still running, and the waiting time is over.",
        cause: "The build takes longer than `build-wait-attempts` times `build-wait-interval`, or it waits for a runner.",
        action: "Run again when the build has finished, or raise `build-wait-attempts`.",
    }
    BUILD_FAILED = "build-failed", Refused {
        meaning: "The build run of this commit ended without success.",
        cause: "A job of the build failed, or the run was cancelled.",
        action: "Correct the build and run it again, or set `build-run-id` to an earlier successful run of the commit.",
    }
    BUILD_UNTRUSTED = "build-run-not-usable", Refused {
        meaning: "The build run is not allowed as a source of a release: it has another commit, branch, workflow or event, or belongs to a fork.",
        cause: "`build-run-id` names the wrong run, or the policy's `release-branches` and `release-tags` do not include the branch of the build.",
        action: "Set `build-run-id` to a run that built this commit in this repository, or remove it.",
    }
    BUILD_CHANGED = "build-changed-since-plan", Refused {
        meaning: "The build differs from the one in the plan: the run or its artifact changed after the plan.",
        cause: "The commit was built again, or jobs of the build run were run again.",
        action: "Read a new plan, and approve it.",
    }
    ARTIFACT_MISSING = "artifact-missing", Refused {
        meaning: "The build run succeeded, but has no artifact with the expected name.",
        cause: "The job that uploads was skipped, or it uploads under another name.",
        action: "Check that every job of the build ran, and that `actions/upload-artifact` uses the name in `artifact-name`.",
    }
    ARTIFACT_GONE = "artifact-gone", Refused {
        meaning: "The artifact has expired, or it was deleted.",
        cause: "GitHub keeps artifacts for the retention time of the repository (`retention-days`).",
        action: "Build the commit again. For production, release that build to staging first.",
    }
    ARTIFACT_UNUSABLE = "artifact-unusable", Refused {
        meaning: "The artifact is empty, or it is of another run or commit.",
        cause: "The build uploaded nothing, or an artifact of another build is listed.",
        action: "Build the commit again. For production, release that build to staging first.",
    }
    ARTIFACT_DOWNLOAD_REJECTED = "artifact-download-rejected", Refused {
        meaning: "The artifact's download was refused: it is too large, or it came from an address that GitHub does not use.",
        cause: "The artifact is broken, or a proxy answers in GitHub's place.",
        action: "Run again. If the error stays, build the commit again.",
    }
    ARTIFACT_DIGEST = "artifact-digest-mismatch", Refused {
        meaning: "The downloaded artifact does not have the SHA-256 that GitHub keeps for it.",
        cause: "The bytes changed on their way to the runner.",
        action: "Run again. If the error stays, do not use that artifact: build the commit again.",
    }
    ARTIFACT_NOT_A_ZIP = "artifact-not-a-zip", Refused {
        meaning: "The artifact is one raw file, not a zip.",
        cause: "The build uploads with `archive: false`.",
        action: "Upload the bundle and its `.sha256` with `actions/upload-artifact`, without `archive: false`.",
    }
    ARTIFACT_ZIP_UNREADABLE = "artifact-zip-unreadable", Refused {
        meaning: "The artifact's zip is damaged or has an unsupported format.",
        cause: "The upload was interrupted, or another tool made the zip.",
        action: "Run the build again, and upload with `actions/upload-artifact`.",
    }
    ARTIFACT_ZIP_UNSAFE = "artifact-zip-unsafe", Refused {
        meaning: "The artifact's zip contradicts itself, or unpacks to far more than expected. No build makes such a zip by accident.",
        cause: "The artifact was not made by `actions/upload-artifact`.",
        action: "Find out which workflow run made this artifact before you build again.",
    }
    BUNDLE_MISSING = "bundle-missing", Refused {
        meaning: "The artifact does not contain the bundle of this commit and its `.sha256` file.",
        cause: "The build uploads another folder, one file only, or the bundle of another commit.",
        action: "Upload the bundle and its `.sha256` together, from one folder, as `stage: build-gate` leaves them.",
    }
    BUNDLE_SHA256_MALFORMED = "bundle-sha256-malformed", Refused {
        meaning: "The `.sha256` file beside the bundle is not one line in the format of `sha256sum`.",
        cause: "A step of the build changed or replaced the file.",
        action: "Leave the file as `stage: build-gate` writes it, or write it with `sha256sum BUNDLE > BUNDLE.sha256`.",
    }
    BUNDLE_DIGEST = "bundle-digest-mismatch", Refused {
        meaning: "The bundle does not have the SHA-256 of the `.sha256` file beside it.",
        cause: "The bundle was changed or made again after its `.sha256` was written.",
        action: "Build the bundle again.",
    }
    BUNDLE_OTHER_COMMIT = "bundle-of-another-commit", Refused {
        meaning: "The bundle's manifest says that it was built from another commit.",
        cause: "`stage: build-gate` was given another `sha` than the commit that was checked out.",
        action: "Set `sha` of `stage: build-gate` to the commit that was checked out, and build again.",
    }
    BUNDLE_WRITES_THROUGH_LINK = "bundle-path-not-a-folder", Refused {
        meaning: "The bundle has a link or a file where the release needs a folder, so the release would write outside its own folder.",
        cause: "The build made a symbolic link (often `public/storage` or a folder above a shared one), or committed one.",
        action: "Replace the link by a folder in the build, or remove the path from `shared`.",
    }
    BUNDLE_LINK = "bundle-link-unusable", Refused {
        meaning: "The bundle has a link that does not lead to something of the bundle or of a shared folder.",
        cause: "The bundle was not made by `build-gate`, and a link in it is broken, or leads to what the server adds: `.env` or the caches.",
        action: "Remove the link in the build, or let `stage: build-gate` make the bundle, which names each such link.",
    }
    BUNDLE_CHANGED_ON_RUNNER = "bundle-changed-on-runner", World {
        meaning: "The bundle changed on the runner's disk while it was checked.",
        cause: "Another process writes to the runner's temporary folder, or the disk is broken.",
        action: "Run again. If the error stays, use another runner.",
    }
    ATTESTATION_MISSING = "attestation-missing", Refused {
        meaning: "`require-attestation` is set, and GitHub has no build provenance attestation of the bundle.",
        cause: "The build workflow does not attest the bundle, or attests another file.",
        action: "Let the build workflow attest the bundle (`actions/attest-build-provenance` with `subject-path` set to the bundle), and build again.",
    }
    ATTESTATION_MISMATCH = "attestation-mismatch", Refused {
        meaning: "GitHub has attestations of the bundle, but none is of this build run, workflow and commit.",
        cause: "The same bytes were built and attested by another run.",
        action: "Let this build workflow attest the bundle, and build again.",
    }
    ATTESTATION_UNREADABLE = "attestation-unreadable", Refused {
        meaning: "GitHub lists an attestation of the bundle by its address only, which this version cannot read.",
        cause: "The attestation is too large for the API's answer, or it is stored elsewhere.",
        action: "Verify the bundle in a step before this one: `gh attestation verify BUNDLE --repo OWNER/REPO`. Then set `require-attestation: false`.",
    }
    DIGEST_MISSING = "artifact-digest-unknown", Warning {
        meaning: "GitHub has no digest of the artifact, so only the `.sha256` file beside the bundle was compared.",
        cause: "An old version of actions/upload-artifact uploaded it, or the GitHub server does not store digests.",
        action: "Upload the bundle with actions/upload-artifact v4 or later.",
    }
    BUNDLE_WITHOUT_MANIFEST = "bundle-without-manifest", Warning {
        meaning: "The bundle was not made by `build-gate`: it has no manifest, and not all checks of the build ran on it.",
        cause: "The build packs the app with `tar`.",
        action: "Build the bundle with `stage: build-gate`.",
    }
}

pub fn digest_missing() -> Warning {
    DIGEST_MISSING.warning(
        "GitHub has no digest of this artifact: only the .sha256 file beside the bundle was compared",
        "Upload it with actions/upload-artifact v4 or later.",
    )
}

pub fn bundle_without_manifest(name: &str) -> Warning {
    BUNDLE_WITHOUT_MANIFEST.warning(
        format!("{name} was not made by `build-gate`: it has no manifest, and not all checks of the build ran on it"),
        "Build the bundle with `stage: build-gate`.",
    )
}

/// What helps where the artifact of staging's release cannot be used.
const REBUILD_ON_STAGING: &str = "Build the commit again, and release that build to staging first.";

/// How to get a build of this commit.
fn how_to_build(workflow: &str, commit: &CommitSha) -> String {
    format!(
        "Push the commit, or start the build on a branch whose head is {}: gh workflow run {workflow} --ref BRANCH. Then run this again",
        commit.short()
    )
}

fn no_build(commit: &CommitSha, why: impl Display) -> String {
    format!("no successful build for {commit}: {why}")
}

pub fn build_missing(doing: String, commit: &CommitSha, why: impl Display, workflow: &str) -> Failure {
    BUILD_MISSING.failure(doing, no_build(commit, why)).hint(how_to_build(workflow, commit))
}

pub fn build_unfinished(doing: String, commit: &CommitSha, why: impl Display) -> Failure {
    BUILD_UNFINISHED
        .failure(doing, no_build(commit, why))
        .hint("Run this again when the build has finished, or raise `build-wait-attempts`.")
}

/// `artifact` is the name that was looked for.
pub fn artifact_missing(
    doing: String,
    commit: &CommitSha,
    why: impl Display,
    workflow: &str,
    artifact: &str,
) -> Failure {
    ARTIFACT_MISSING
        .failure(doing, no_build(commit, why))
        .hint(format!("Check that every job of {workflow} ran, and that it uploads the artifact `{artifact}`."))
}

/// `instead` is a run of the same commit that succeeded before.
pub fn build_failed(doing: String, run: u64, conclusion: &str, url: &str, instead: Option<u64>) -> Failure {
    let hint = match instead {
        Some(older) => {
            format!("Run {older} of the same commit succeeded before. To release from it, set `build-run-id: {older}`")
        }
        None => format!("Correct the build and run it again: {url}"),
    };
    let cause = format!("build run {run} ended in {}", conclusion.replace('_', " "));
    BUILD_FAILED.failure(doing, cause).hint(hint).details([url])
}

pub fn build_untrusted(doing: String, run: u64, why: &str, url: &str) -> Failure {
    BUILD_UNTRUSTED
        .failure(doing, format!("build run {run} cannot be used: {why}"))
        .hint("Set `build-run-id` to a run that built this commit in this repository, or remove it.")
        .details([url])
}

/// What was approved is one attempt of the run, and this is another.
pub fn build_attempt_changed(doing: String, run: u64, was: u64, is: u64, url: &str) -> Failure {
    build_changed(
        doing,
        format!("the plan has attempt {was} of build run {run}, but the run is now at attempt {is}"),
        url,
    )
}

/// What was approved is one artifact of the run, and this is another.
pub fn build_artifact_changed(doing: String, run: u64, was: u64, is: u64, url: &str) -> Failure {
    build_changed(
        doing,
        format!("the plan has artifact {was} of build run {run}, but the run now has artifact {is}"),
        url,
    )
}

fn build_changed(doing: String, cause: String, url: &str) -> Failure {
    BUILD_CHANGED
        .failure(doing, cause)
        .hint("The commit was built again after the plan. Read a new plan, and approve it.")
        .details([url])
}

/// The plan was made of one artifact, and the bundle would come from another.
pub fn approved_bundle_changed(was: u64, is: u64) -> Failure {
    BUILD_CHANGED
        .failure(
            "fetching the approved bundle",
            format!("the plan has artifact {was}, but the build has artifact {is}"),
        )
        .hint("Read a new plan, and approve it.")
}

/// The artifact that staging's release was made of is not listed any more.
pub fn artifact_not_listed(doing: String, artifact: u64, run: u64, url: &str) -> Failure {
    ARTIFACT_GONE
        .failure(
            doing,
            format!(
                "artifact {artifact} of build run {run}, the source of the release on staging, is no longer listed"
            ),
        )
        .hint(REBUILD_ON_STAGING)
        .details([url])
}

/// Why an artifact is not one to release from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// With the time, as far as GitHub gives it.
    Expired(Option<String>),
    Empty,
    OfRun(u64),
    OfCommit(CommitSha),
    OfNoCommit,
}

/// An artifact, for a message.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    pub id: u64,
    pub name: &'a str,
    pub run: u64,
    pub commit: &'a CommitSha,
}

/// `exact` if this artifact is needed, because the release on staging was made of it.
pub fn artifact_unusable(
    doing: String,
    artifact: Named<'_>,
    why: Unusable,
    exact: bool,
    workflow: &str,
    url: &str,
) -> Failure {
    let Named { id, name, run, commit } = artifact;
    let code = if matches!(why, Unusable::Expired(_)) { ARTIFACT_GONE } else { ARTIFACT_UNUSABLE };
    let why = match why {
        Unusable::Expired(when) => format!("has expired{}", when.map(|when| format!(" on {when}")).unwrap_or_default()),
        Unusable::Empty => "is empty".to_owned(),
        Unusable::OfRun(other) => format!("belongs to run {other}"),
        Unusable::OfCommit(sha) => format!("was built from {sha}, not from {commit}"),
        Unusable::OfNoCommit => "does not record its commit".to_owned(),
    };
    let hint = if exact { REBUILD_ON_STAGING.to_owned() } else { how_to_build(workflow, commit) };
    code.failure(doing, format!("artifact {id} ({name}) of build run {run} {why}")).hint(hint).details([url])
}

/// It was listed, and is not there to be downloaded.
pub fn artifact_gone(doing: &str, cause: String, workflow: &str, commit: &CommitSha) -> Failure {
    ARTIFACT_GONE.failure(doing, cause).hint(how_to_build(workflow, commit))
}

pub fn download_rejected(doing: &str, cause: String) -> Failure {
    ARTIFACT_DOWNLOAD_REJECTED
        .failure(doing, cause)
        .hint("Nothing was changed. Run this again. If the error stays, build the commit again.")
}

pub fn artifact_digest(artifact: u64, run: u64, got: &Sha256Digest, kept: &Sha256Digest) -> Failure {
    ARTIFACT_DIGEST
        .failure(
            format!("checking artifact {artifact} of build run {run}"),
            format!("its SHA-256 is {got}, but GitHub recorded {kept}"),
        )
        .hint("The bytes changed during the download. Run this again. If the error stays, do not use that artifact: build the commit again.")
}

const UNZIPPING: &str = "taking the bundle out of the artifact";

pub fn not_a_zip() -> Failure {
    ARTIFACT_NOT_A_ZIP
        .failure(UNZIPPING, "the artifact is one raw file, not a zip")
        .hint("Upload the bundle and its .sha256 file with actions/upload-artifact, without `archive: false`")
}

pub fn zip_unreadable(error: impl Display) -> Failure {
    ARTIFACT_ZIP_UNREADABLE
        .failure(UNZIPPING, format!("the zip cannot be read: {error}"))
        .hint("Run the build again, and upload with actions/upload-artifact.")
}

/// One entry of the zip cannot be read.
pub fn zip_entry_unreadable(name: &str, error: impl Display) -> Failure {
    ARTIFACT_ZIP_UNREADABLE
        .failure(UNZIPPING, format!("{name} cannot be read from the zip: {error}"))
        .hint("The artifact is damaged. Run the build again.")
}

pub fn zip_unsafe(cause: impl Into<String>) -> Failure {
    ARTIFACT_ZIP_UNSAFE.failure(UNZIPPING, cause).hint(
        "No build makes such a zip by accident. Find out which workflow run made this artifact before you build again.",
    )
}

/// `held` are the names in the zip.
pub fn bundle_missing(wanted: &str, held: &[&str]) -> Failure {
    let cause = match held {
        [] => format!("it is empty: {wanted} is missing"),
        held => format!("it contains {}, but not {wanted}", held.join(", ")),
    };
    BUNDLE_MISSING
        .failure(UNZIPPING, cause)
        .hint("Upload the bundle and its .sha256 file together, from one folder, as `stage: build-gate` writes them.")
}

/// `said` is the beginning of what stands in the `.sha256` file of the bundle `name`.
pub fn sha256_malformed(name: &str, said: &str) -> Failure {
    BUNDLE_SHA256_MALFORMED
        .failure(
            UNZIPPING,
            format!("{name}.sha256 is not the line `<64 hexadecimal digits>  {name}`, but `{}`", said.escape_default()),
        )
        .hint("Upload the file unchanged, as `stage: build-gate` writes it.")
}

pub fn unzipping(error: impl Display) -> Failure {
    super::general::runner_file(UNZIPPING, error)
}

pub fn bundle_digest(doing: String, cause: String) -> Failure {
    BUNDLE_DIGEST
        .failure(doing, cause)
        .hint("The bundle and the .sha256 file in the artifact do not match. Build the bundle again.")
}

/// `said` is the commit in the manifest.
pub fn bundle_of_another_commit(doing: String, said: &CommitSha, commit: &CommitSha) -> Failure {
    BUNDLE_OTHER_COMMIT
        .failure(doing, format!("its manifest says that it was built from {said}, not from {commit}"))
        .hint("Set `sha` of `stage: build-gate` to the commit that was checked out, and build again.")
}

pub fn bundle_changed_on_runner(doing: String, was: &Sha256Digest, is: &Sha256Digest) -> Failure {
    BUNDLE_CHANGED_ON_RUNNER
        .failure(doing, format!("its SHA-256 was {was} and is now {is}"))
        .hint("Another process writes to the runner's temporary folder, or its disk is broken. Run this again. If the error stays, use another runner.")
}

pub fn bundle_writes_through_link(doing: String, problem: String) -> Failure {
    BUNDLE_WRITES_THROUGH_LINK
        .failure(doing, problem)
        .hint("Replace the link by a folder in the build, or remove that path from `shared`.")
}

pub fn bundle_link_unusable(doing: String, problem: String) -> Failure {
    BUNDLE_LINK
        .failure(doing, problem)
        .hint("Remove the link in the build, or let it lead to a file of the bundle or to a folder in `shared`.")
}

/// `host` is where the attestation lies; `others` are attestations that do not fit.
pub fn attestation_unreadable(
    doing: String,
    bundle: &Sha256Digest,
    host: &str,
    repository: &str,
    others: Vec<String>,
) -> Failure {
    ATTESTATION_UNREADABLE
        .failure(
            doing,
            format!(
                "GitHub lists an attestation for SHA-256 {bundle} by its address only (bundle_url, on {host}); this version only reads attestations in the API's answer"
            ),
        )
        .details(others)
        .hint(format!(
            "Verify the bundle in a step before this one: gh attestation verify BUNDLE --repo {repository}. Then set `require-attestation: false`"
        ))
}

const ATTEST: &str = "Let the build workflow attest the bundle (actions/attest-build-provenance with `subject-path` set to the bundle), and build again.";

pub fn attestation_missing(doing: String, bundle: &Sha256Digest) -> Failure {
    ATTESTATION_MISSING
        .failure(doing, format!("there is none for SHA-256 {bundle}, but `require-attestation` is set"))
        .hint(ATTEST)
}

/// `others` are the attestations that there are, and why none fits.
pub fn attestation_mismatch(
    doing: String,
    run: u64,
    workflow: &str,
    commit: &CommitSha,
    others: Vec<String>,
) -> Failure {
    ATTESTATION_MISMATCH
        .failure(doing, format!("none is of build run {run} of {workflow} and {commit}"))
        .details(others)
        .hint(ATTEST)
}
