//! What concerns every stage: the inputs, the runner, and the run itself.

use std::fmt::Display;

use super::codes;
use crate::domain::Failure;

codes! {
    /// What `Failure::bug` has.
    INTERNAL_ERROR = "internal-error", Bug {
        meaning: "The program reached a state that it never should reach, and stopped the step.",
        cause: "A fault of gated-deploy.",
        action: "Report it with the log of the run.",
    }
    /// What `Failure::cancelled` has.
    CANCELLED = "cancelled", Cancelled {
        meaning: "The run was cancelled. Where it says that no time was left, a part of the rollback was left to the next run.",
        cause: "A person cancelled the workflow run, a newer run replaced it (`concurrency`), or the job's time limit ended it.",
        action: "Read the summary: it says what is live. Then run again.",
    }
    INPUTS_INVALID = "inputs-invalid", Input {
        meaning: "One or more inputs are missing or wrong. The run connected to nothing and changed nothing.",
        cause: "A name or a value in the step's `with:`, in the environment or in the policy file is not what the input takes.",
        action: "Correct every input that the error lists; `docs/inputs.md` and `gated-deploy --help` describe them.",
    }
    RUNNER_FILE = "runner-file-error", World {
        meaning: "A file or a folder on the runner could not be read, written or removed.",
        cause: "The runner's disk is full or broken, or another account owns the file.",
        action: "Check space and owner on the runner: `df -h`; `ls -ld \"$RUNNER_TEMP\"`. Then run again.",
    }
    POLICY_UNREVIEWED = "policy-unreviewed", Refused {
        meaning: "The run was started by an event that accounts without write access can start. A setting of its policy file is not what the default branch's policy says, or it cannot be compared.",
        cause: "A pull request changes the policy file, or `github-token` is missing, so that the default branch's policy cannot be read.",
        action: "Give the setting in the step's `with:`, or merge the change of the policy file into the default branch first.",
    }
    INPUT_UNUSED = "input-unused", Warning {
        meaning: "The step sets an input that its stage does not use. It has no effect.",
        cause: "The input belongs to another stage.",
        action: "Remove it from the step, or move it to the policy file if another stage needs it.",
    }
    URL_UNENCRYPTED = "url-unencrypted", Warning {
        meaning: "`url` is plain http, so the health token and every page are sent unencrypted.",
        cause: "The site has no certificate, or `url` was written with `http://`.",
        action: "Set `url` to the https address, unless the site is on this machine or network.",
    }
}

/// A file of the runner: its path, where `doing` does not say it, and the error.
pub fn runner_file(doing: impl Into<String>, error: impl Display) -> Failure {
    RUNNER_FILE.failure(doing, error.to_string())
}

/// One input is wrong.
pub fn input_invalid(problem: impl Display) -> Failure {
    INPUTS_INVALID.failure("reading the inputs", problem.to_string()).hint(INPUTS_HINT)
}

/// Several inputs are wrong; all are named.
pub fn inputs_invalid(problems: impl ExactSizeIterator<Item = String>) -> Failure {
    let cause = match problems.len() {
        1 => "1 input is wrong".to_owned(),
        count => format!("{count} inputs are wrong"),
    };
    INPUTS_INVALID.failure("reading the inputs", cause).details(problems).hint(INPUTS_HINT)
}

const INPUTS_HINT: &str =
    "The run connected to nothing and changed nothing. `gated-deploy --help` and docs/inputs.md describe every input.";

/// These settings would come from the policy of `event`, and there is no token to compare it with.
pub fn policy_not_compared(doing: &str, settings: &str, event: &str, file: &str) -> Failure {
    let cause = format!(
        "{settings} would come from the policy of {event}, and without github-token it cannot be compared with the default branch's policy"
    );
    POLICY_UNREVIEWED.failure(doing, cause).hint(policy_hint(settings, file))
}

/// The default branch's policy says something else of these settings.
pub fn policy_differs(doing: &str, settings: &str, event: &str, file: &str) -> Failure {
    let cause =
        format!("{settings} differs from the default branch's policy, and the policy of {event} may be unreviewed");
    POLICY_UNREVIEWED.failure(doing, cause).hint(policy_hint(settings, file))
}

fn policy_hint(settings: &str, file: &str) -> String {
    format!("Give {settings} in the step's `with:`, or merge the change of {file} into the default branch first")
}
