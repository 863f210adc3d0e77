//! Hooks: commands of the policy.

use super::codes;
use crate::domain::{
    Failure, RemotePath, Warning,
    command::quote,
    hook::{Hook, Moment},
};

codes! {
    HOOK_FAILED = "hook-failed", Refused {
        meaning: "A command of the policy key `hooks` failed. A required hook before the switch refuses the release, and one after the switch rolls it back; any other is a warning.",
        cause: "The command ended with another status than 0, was not found (127), could not be started (126), or was killed by a signal (128 plus the signal's number).",
        action: "Read the end of its output in the details. Correct the command or the release, or set `required: false` for it. What the hook did stays.",
    }
    HOOK_TIMED_OUT = "hook-timed-out", Refused {
        meaning: "A command of the policy key `hooks` took longer than its time limit, and was ended on the server with all processes of its group.",
        cause: "The command waits for something, or its `within` is too short.",
        action: "Read the end of its output in the details. Set a larger `within` for it, or start long work elsewhere (a queue, a timer).",
    }
    HOOK_VARIABLE_MISSING = "hook-variable-missing", Refused {
        meaning: "A hook names an entry of the app's `.env` (`env:`) that the file lacks.",
        cause: "The name is mistyped, or the entry was never added on this server.",
        action: "Add the entry to `.env` on the server, or correct `env:` in the policy.",
        script: "{path} has no entry {names}", "Add it to {path}, or correct `env:` of the hook in the policy.",
    }
    HOOKS_NOT_RUN = "hooks-not-run", Warning {
        meaning: "The run rolled the release back, and its hooks `after-rollback` did not run, or not to their end.",
        cause: "The run was cancelled: the runner gives a cancelled run a few seconds, which belong to the rollback.",
        action: "Run the commands by hand where they are needed.",
    }
}

/// What its failure does to the run.
fn effect(moment: Moment, hook: &Hook) -> &'static str {
    match (hook.required, moment) {
        (false, _) => "The run went on.",
        (true, Moment::AfterSwitch) => "The release is rolled back.",
        (true, _) => "The live release was not changed.",
    }
}

/// It ended with another status than 0.
pub fn failed(doing: String, moment: Moment, hook: &Hook, status: &str, tail: Vec<String>) -> Failure {
    let said = match status {
        "126" => ": it cannot be started".to_owned(),
        "127" => ": it was not found, or a program that it starts was not".to_owned(),
        _ => match status.parse::<u32>().ok().filter(|status| (129..=192).contains(status)) {
            Some(status) => format!(": signal {}", status - 128),
            None => String::new(),
        },
    };
    HOOK_FAILED
        .failure(doing, format!("the {moment} hook `{}` ended with status {status}{said}", hook.command()))
        .hint(format!("{} Correct the command or the release, or set `required: false` for it.", effect(moment, hook)))
        .details(tail)
}

/// Its time was over.
pub fn timed_out(doing: String, moment: Moment, hook: &Hook, tail: Vec<String>) -> Failure {
    let within = hook.within.as_secs();
    HOOK_TIMED_OUT
        .failure(doing, format!("the {moment} hook `{}` took longer than {within} s and was ended", hook.command()))
        .hint(format!("{} Set a larger `within` for it, or start long work elsewhere.", effect(moment, hook)))
        .details(tail)
}

/// In a survey: entries of `.env` that hooks need.
pub fn variables_missing(path: &RemotePath, names: &str) -> super::Problem {
    HOOK_VARIABLE_MISSING.problem(
        format!("{path} has no entry {names}"),
        format!("Add it to {}, or correct `env:` of the hook in the policy.", quote(path.as_str())),
    )
}

/// The run was cancelled.
pub fn not_run(dir: &RemotePath, commands: impl Iterator<Item = String>) -> Warning {
    let commands: Vec<String> = commands.collect();
    HOOKS_NOT_RUN.warning(
        "the run was cancelled: the hooks `after-rollback` did not run, or not to their end",
        format!("Run them in {} where they are needed: {}", quote(dir.as_str()), commands.join("; ")),
    )
}
