//! The approval of a plan: the phrase with its digest, and the review at GitHub.

use super::codes;
use crate::domain::{Approval, Failure, Sha256Digest, approval::DIGITS};

codes! {
    APPROVAL_ABORTED = "approval-aborted", Refused {
        meaning: "The approval says ABBRECHEN (abort). The run stopped and changed nothing.",
        cause: "A user refused the plan.",
        action: "No action is needed. To read a new plan, run again without `approval`.",
    }
    APPROVAL_PHRASE_WRONG = "approval-phrase-wrong", Refused {
        meaning: "The text in `approval` is not the phrase that approves this stage.",
        cause: "It is misspelled, or it is the phrase of another stage or environment.",
        action: "Set `approval` to the phrase in the error, exactly as written there.",
    }
    APPROVAL_DIGEST_SHORT = "approval-digest-short", Refused {
        meaning: "The plan's digest in `approval` is too short to name one plan.",
        cause: "The digest was cut off when it was copied.",
        action: "Read the plan, then set `approval` to the phrase and digest in the error.",
    }
    APPROVAL_OUTDATED = "approval-outdated", Refused {
        meaning: "The approval is for another plan than the present one.",
        cause: "The server, the build or a setting changed after the plan was read.",
        action: "Read the new plan, then set `approval` to the phrase and new digest in the error.",
    }
    PLAN_WITHOUT_DIGEST = "plan-without-digest", Refused {
        meaning: "The approval has a plan's digest, but this plan has none: the bundle does not exist yet.",
        cause: "The build has not ended.",
        action: "Run again when the build has finished. The plan has a digest then.",
    }
    REVIEW_OUTSIDE_ACTIONS = "review-outside-actions", Refused {
        meaning: "The policy's `approval-review` requires a review at GitHub, but this run is not a GitHub Actions run.",
        cause: "The program was started by hand or by another system.",
        action: "Release from the workflow.",
    }
    REVIEW_OF_RERUN = "review-of-rerun", Refused {
        meaning: "This is a re-run. GitHub does not report which attempt of a run a reviewer approved.",
        cause: "The run was started with `Re-run jobs`.",
        action: "Start a new run, and let a reviewer approve it.",
    }
    REVIEW_MISSING = "review-missing", Refused {
        meaning: "The run has no approval of an independent reviewer: one who neither started it nor wrote the commit.",
        cause: "The job has no `environment` with required reviewers, or only the author approved, or a reviewer also rejected.",
        action: "Give the job the environment, give the environment required reviewers, and let one of them approve a new run.",
    }
}

const DOING: &str = "reading the approval";

pub fn aborted() -> Failure {
    APPROVAL_ABORTED.failure(DOING, "it says ABBRECHEN (abort); the run stopped and changed nothing")
}

pub fn phrase_wrong(given: &str, expected: &str) -> Failure {
    APPROVAL_PHRASE_WRONG
        .failure(DOING, format!("`{given}` is not a valid approval phrase for this stage"))
        .hint(format!("To approve, set `approval` to exactly: {expected}"))
}

pub fn digest_short(digest: &str, phrase: &str, plan: &Sha256Digest) -> Failure {
    let digits = match digest.len() {
        1 => "1 digit".to_owned(),
        count => format!("{count} digits"),
    };
    APPROVAL_DIGEST_SHORT
        .failure(DOING, format!("its digest {digest} has {digits}, but at least {DIGITS} are needed"))
        .hint(format!("Read the plan, then set `approval` to: {}", Approval::phrase_for(phrase, plan)))
}

/// `digest` is that of the plan that was approved.
pub fn outdated(digest: &str, phrase: &str, plan: &Sha256Digest) -> Failure {
    APPROVAL_OUTDATED
        .failure(DOING, format!("it is for the plan {digest}, and the plan is now {}", Approval::shown(plan)))
        .hint(format!(
            "The server, the build or the settings changed after that plan. Read the new plan, then set `approval` to: {}",
            Approval::phrase_for(phrase, plan)
        ))
}

pub fn plan_without_digest() -> Failure {
    PLAN_WITHOUT_DIGEST
        .failure(DOING, "it has a plan's digest, but this plan has none: the bundle does not exist yet")
        .hint(AFTER_THE_BUILD)
}

/// What to do about an approval of a plan without a bundle.
pub const AFTER_THE_BUILD: &str = "Run this again when the build has finished. The plan has a digest then.";

pub fn review_outside_actions(doing: String) -> Failure {
    REVIEW_OUTSIDE_ACTIONS
        .failure(doing, "this is not a GitHub Actions run, but `approval-review` requires a review there")
        .hint("Release from the workflow.")
}

pub fn review_of_rerun(doing: String, attempt: u64) -> Failure {
    REVIEW_OF_RERUN
        .failure(
            doing,
            format!(
                "this is attempt {attempt} of the run, and GitHub does not report which attempt a reviewer approved"
            ),
        )
        .hint("Start a new run, and let a reviewer approve it.")
}

/// `refused` says who approved, and why that does not count.
pub fn review_missing(doing: String, environment: &str, refused: &[String]) -> Failure {
    let cause = match refused {
        [] => "no reviewer approved it".to_owned(),
        some => format!("only {}", some.join("; ")),
    };
    REVIEW_MISSING.failure(doing, cause).hint(format!(
        "Set `environment: {environment}` in the job, add required reviewers to that environment, and let one of them approve the run."
    ))
}
