//! The approval of a plan: the phrase with its digest, and the review at GitHub.

use super::codes;
use crate::domain::{Approval, Failure, Sha256Digest, approval::DIGITS};

codes! {
    APPROVAL_ABORTED = "approval-aborted", Refused {
        meaning: "The approval says ABBRECHEN (abort). The run stopped and changed nothing.",
        cause: "A person refused the plan.",
        action: "Nothing is to be done. Run again without this approval to read a new plan.",
    }
    APPROVAL_PHRASE_WRONG = "approval-phrase-wrong", Refused {
        meaning: "The text in `approval` is not the phrase that approves this stage.",
        cause: "It is misspelled, or it is the phrase of another stage or environment.",
        action: "Write the phrase exactly as the error gives it.",
    }
    APPROVAL_DIGEST_SHORT = "approval-digest-short", Refused {
        meaning: "The plan's digest in `approval` is too short to name one plan.",
        cause: "The digest was cut off when it was copied.",
        action: "Read the plan, then write the phrase with the digest exactly as the error gives it.",
    }
    APPROVAL_OUTDATED = "approval-outdated", Refused {
        meaning: "The approval is for another plan than the one that holds now.",
        cause: "The server, the build or a setting changed after the plan was read.",
        action: "Read the new plan, then write the phrase with the new digest, as the error gives it.",
    }
    PLAN_WITHOUT_DIGEST = "plan-without-digest", Refused {
        meaning: "The approval has a plan's digest, but this plan has none: the bundle does not exist yet.",
        cause: "The build has not ended.",
        action: "Run again when the build has ended; then the plan has a digest.",
    }
    REVIEW_OUTSIDE_ACTIONS = "review-outside-actions", Refused {
        meaning: "The policy's `approval-review` asks for a review at GitHub, and this run is none of GitHub Actions.",
        cause: "The program was started by hand or by another system.",
        action: "Release from the workflow.",
    }
    REVIEW_OF_RERUN = "review-of-rerun", Refused {
        meaning: "This is a re-run. GitHub does not say which attempt of a run a reviewer approved.",
        cause: "The run was started with `Re-run jobs`.",
        action: "Start a new run, and let a reviewer approve it.",
    }
    REVIEW_MISSING = "review-missing", Refused {
        meaning: "No reviewer has approved this run at GitHub who neither started it nor wrote the commit.",
        cause: "The job has no `environment` with required reviewers, or only the author approved, or a reviewer also rejected.",
        action: "Give the job the environment, give the environment required reviewers, and let one of them approve a new run.",
    }
}

const DOING: &str = "reading the approval";

pub fn aborted() -> Failure {
    APPROVAL_ABORTED.failure(DOING, "it says ABBRECHEN: stopped here; nothing was changed")
}

pub fn phrase_wrong(given: &str, expected: &str) -> Failure {
    APPROVAL_PHRASE_WRONG
        .failure(DOING, format!("`{given}` opens no door here"))
        .hint(format!("to go ahead, write exactly: {expected}"))
}

pub fn digest_short(digest: &str, phrase: &str, plan: &Sha256Digest) -> Failure {
    let digits = match digest.len() {
        1 => "1 digit".to_owned(),
        count => format!("{count} digits"),
    };
    APPROVAL_DIGEST_SHORT
        .failure(DOING, format!("its digest {digest} has {digits}, and an approval needs at least {DIGITS}"))
        .hint(format!("read the plan, then write: {}", Approval::phrase_for(phrase, plan)))
}

/// `digest` is that of the plan that was approved.
pub fn outdated(digest: &str, phrase: &str, plan: &Sha256Digest) -> Failure {
    APPROVAL_OUTDATED
        .failure(DOING, format!("it is for the plan {digest}, and the plan is now {}", Approval::shown(plan)))
        .hint(format!(
            "the server, the build or the settings changed since; read the new plan, then write: {}",
            Approval::phrase_for(phrase, plan)
        ))
}

pub fn plan_without_digest() -> Failure {
    PLAN_WITHOUT_DIGEST
        .failure(DOING, "it has a plan's digest, and this plan has none: the bundle is not there yet")
        .hint(AFTER_THE_BUILD)
}

/// What to do about an approval of a plan without a bundle.
pub const AFTER_THE_BUILD: &str = "run this again when the build has ended; then the plan has a digest";

pub fn review_outside_actions(doing: String) -> Failure {
    REVIEW_OUTSIDE_ACTIONS
        .failure(doing, "this is no run of GitHub Actions, and approval-review asks for a review there")
        .hint("release from the workflow")
}

pub fn review_of_rerun(doing: String, attempt: u64) -> Failure {
    REVIEW_OF_RERUN
        .failure(
            doing,
            format!("this is attempt {attempt} of the run, and GitHub does not say which attempt a reviewer approved"),
        )
        .hint("start a new run instead of running this one again, and let a reviewer approve that")
}

/// `refused` says who approved, and why that does not count.
pub fn review_missing(doing: String, environment: &str, refused: &[String]) -> Failure {
    let cause = match refused {
        [] => "nobody did".to_owned(),
        some => format!("only {}", some.join("; ")),
    };
    REVIEW_MISSING.failure(doing, cause).hint(format!(
        "give the job `environment: {environment}`, give that environment required reviewers, and let one of them approve the run"
    ))
}
