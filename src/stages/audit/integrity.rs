//! Whether a green check means anything: what the workflow files of the checkout say, and what really ran on the commit.

use super::{Audit, Seen, Sheet, seen};
use crate::{
    domain::Failure,
    engine::step::{Io, StepResult},
    github,
    stages::shared::workflow::{Files, Job, Step, WorkflowFile},
};

/// Runs of one commit whose jobs are asked for: each is a call.
const RUNS: usize = 12;

/// The gates' own steps, and every rule about the files that make them.
pub async fn integrity(cx: &Audit, io: &Io) -> StepResult {
    let mut sheet = Sheet::new(cx, io, "checking that the gates can fail");
    let files = cx.files();
    let required = required(cx);
    readable(&mut sheet, &files);
    hollow(&mut sheet, cx, &files, &required).await?;
    if files.all.is_empty() {
        for id in [
            "gate-continue-on-error",
            "gate-or-true",
            "check-never-reports",
            "callee-not-callable",
            "dispatch-blocked",
            "build-path-filter",
            "unpinned-action",
            "missing-concurrency",
        ] {
            sheet.unseen(
                id,
                "there are no workflow files in the workspace",
                "Run actions/checkout before this step.",
                SOURCE,
            );
        }
    } else {
        forgiven(&mut sheet, &files, &required);
        reports(&mut sheet, cx, &files);
        callees(&mut sheet, &files);
        blocked(&mut sheet, &files);
        release_workflows(&mut sheet, cx, &files);
    }
    secrets(&mut sheet, cx, &files).await?;
    sheet.end()
}

/// What to do where no gate can be looked at.
const NO_GATES: &str =
    "Run actions/checkout before this step, and set `required-checks` in the policy to the names that GitHub shows.";

const SOURCE: &str = ".github/workflows in the workspace";

/// Everything that counts as a gate: what the policy wants to be required, and what GitHub requires.
fn required(cx: &Audit) -> Vec<String> {
    let mut all = cx.inputs.required_checks.clone();
    all.extend(cx.state.borrow().required.iter().map(|(check, _)| check.clone()));
    all.sort();
    all.dedup();
    all
}

fn readable(sheet: &mut Sheet<'_>, files: &Files) {
    if files.paths.is_empty() && files.problems.is_empty() {
        sheet.unseen(
            "workflow-files",
            "there are no workflow files in the workspace",
            "Run actions/checkout before this step.",
            SOURCE,
        );
        return;
    }
    let problems: Vec<String> = files.problems.iter().map(|(path, problem)| format!("{path} {problem}")).collect();
    sheet.judge(
        "workflow-files",
        &problems,
        &format!("{} workflows", files.all.len()),
        "Correct or move the file.",
        SOURCE,
    );
    sheet.in_file(files.problems.first().map(|(path, _)| path.as_str()));
}

fn gates<'f>(files: &'f Files, required: &'f [String]) -> impl Iterator<Item = (&'f WorkflowFile, &'f Job, &'f str)> {
    files.all.iter().flat_map(move |file| {
        file.jobs.iter().filter_map(move |job| {
            let check = required.iter().find(|check| job.emits(check))?;
            Some((file, job, check.as_str()))
        })
    })
}

/// F12: a required check that does nothing, by its file, and by what ran on this commit.
async fn hollow(sheet: &mut Sheet<'_>, cx: &Audit, files: &Files, required: &[String]) -> Result<(), Failure> {
    let mut against = Vec::new();
    let mut in_file = None;
    for (file, job, check) in gates(files, required) {
        if job.uses.is_none() && !job.steps.iter().any(substantive) {
            against
                .push(format!("{}: job {} (check `{check}`) only prints: no step of it can fail", file.path, job.id));
            in_file.get_or_insert(file.path.as_str());
        }
    }
    let mut source = SOURCE.to_owned();
    let mut ran = 0;
    if let Some(commit) = &cx.inputs.commit {
        source = format!("{SOURCE}; {} and their jobs", cx.github.describe(&format!("actions/runs?head_sha={commit}")));
        let doing = format!("reading the checks of {}", commit.short());
        match seen(cx.github.runs_of(commit).await, &doing, "actions=read")? {
            Seen::Yes(runs) => {
                for run in runs.iter().filter(|run| run.succeeded()).take(RUNS) {
                    let Seen::Yes(jobs) = seen(cx.github.jobs(run.id).await, &doing, "actions=read")? else { continue };
                    for job in jobs.iter().filter(|job| required.contains(&job.name)) {
                        ran += 1;
                        if let Some(problem) = did_nothing(job, files) {
                            against.push(format!("check `{}` of {}: {problem}", job.name, run.html_url));
                        }
                    }
                }
            }
            Seen::Nothing => {}
            Seen::Forbidden { why, shows } if against.is_empty() => {
                sheet.unseen("hollow-check", why, shows, source);
                return Ok(());
            }
            Seen::Forbidden { .. } => {}
        }
    }
    // Without a gate and without a run nothing was checked, so the finding cannot be met.
    if gates(files, required).next().is_none() && ran == 0 {
        sheet.unseen(
            "hollow-check",
            "no workflow file of the checkout reports a required check, and no check ran on this commit",
            NO_GATES,
            source,
        );
        return Ok(());
    }
    let met = format!("{} gates in the files, {ran} runs of them on this commit", gates(files, required).count());
    sheet.judge(
        "hollow-check",
        &against,
        &met,
        "Let the job run the command that its name promises, and let it fail.",
        &source,
    );
    sheet.in_file(in_file);
    Ok(())
}

/// Whether a job that counts as passed ran nothing that could have failed. GitHub counts a skipped job as passed.
fn did_nothing(job: &github::Job, files: &Files) -> Option<&'static str> {
    if job.conclusion.as_deref() == Some("skipped") {
        return Some("was skipped, and GitHub counts that as passed");
    }
    // GitHub does not list the steps of every old job; that proves nothing.
    if job.steps.is_empty() {
        return None;
    }
    let own = job.steps.iter().filter(|step| !of_the_runner(&step.name));
    let mut executed = own.filter(|step| matches!(step.conclusion.as_deref(), Some("success" | "failure")));
    let known: Vec<&Job> =
        files.all.iter().flat_map(|file| &file.jobs).filter(|known| known.emits(&job.name)).collect();
    let real = executed.any(|step| {
        let written = known
            .iter()
            .flat_map(|job| &job.steps)
            .find(|written| shown(written).as_deref() == Some(step.name.as_str()));
        // A step that no file of the checkout has is judged by its name alone.
        written.map_or_else(|| !harmless_name(&step.name), substantive)
    });
    (!real).then_some("every step that ran only prepares or prints; the others were skipped")
}

/// The steps that the runner adds by itself.
fn of_the_runner(name: &str) -> bool {
    matches!(name, "Set up job" | "Complete job" | "Initialize containers" | "Stop containers")
        || name.starts_with("Post ")
}

fn harmless_name(name: &str) -> bool {
    name.strip_prefix("Run ").is_some_and(|rest| prepares(rest) || command_is_idle(rest))
}

/// The name that GitHub gives a step.
fn shown(step: &Step) -> Option<String> {
    step.name.clone().or_else(|| {
        let first = step.run.as_ref().and_then(|run| run.lines().next()).or(step.uses.as_deref())?;
        Some(format!("Run {first}"))
    })
}

/// Whether a step does something that can fail and so can say no.
fn substantive(step: &Step) -> bool {
    if step.continue_on_error
        || step.condition.as_deref().is_some_and(|condition| matches!(condition.trim(), "false" | "${{ false }}"))
    {
        return false;
    }
    match (&step.run, &step.uses) {
        (Some(run), _) => commands(run).any(|command| !command_is_idle(command) && forgiveness(command).is_none()),
        (None, Some(uses)) => !prepares(uses),
        (None, None) => false,
    }
}

/// Actions that fetch code or install a tool: they fail when GitHub does, not when the app is wrong.
fn prepares(uses: &str) -> bool {
    let name = uses.split('@').next().unwrap_or(uses);
    matches!(name, "actions/checkout" | "actions/cache" | "shivammathur/setup-php")
        || name.starts_with("actions/setup-")
}

/// The commands of a `run`, a line each or joined by `&&` or `;`.
fn commands(run: &str) -> impl Iterator<Item = &str> {
    run.lines()
        .flat_map(|line| line.split("&&"))
        .flat_map(|part| part.split(';'))
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn command_is_idle(command: &str) -> bool {
    let word = command.split_whitespace().next().unwrap_or_default();
    match word {
        "echo" | "printf" => !command.contains('|') && !command.contains("$("),
        "true" | ":" | "sleep" | "set" | "exit" | "cd" | "pwd" | "date" | "{" | "}" => command != "exit 1",
        _ => word.starts_with('#'),
    }
}

/// What makes a failed command count as a good one.
fn forgiveness(command: &str) -> Option<&'static str> {
    let squeezed: String = command.split_whitespace().collect::<Vec<_>>().join(" ");
    ["|| true", "|| :", "|| echo", "|| exit 0", "|| printf"].into_iter().find(|what| squeezed.contains(what))
}

/// F13: failures that do not fail the check.
fn forgiven(sheet: &mut Sheet<'_>, files: &Files, required: &[String]) {
    let (mut errors, mut commands_forgiven) = (Vec::new(), Vec::new());
    let (mut error_in, mut command_in) = (None, None);
    for (file, job, check) in gates(files, required) {
        let place = format!("{}: job {} (check `{check}`)", file.path, job.id);
        if job.continue_on_error {
            errors.push(format!("{place} has continue-on-error"));
            error_in.get_or_insert(file.path.as_str());
        }
        for step in &job.steps {
            let name = shown(step).unwrap_or_default();
            if step.continue_on_error {
                errors.push(format!("{place}, step `{name}` has continue-on-error"));
                error_in.get_or_insert(file.path.as_str());
            }
            let lines = step.run.iter().flat_map(|run| run.lines()).filter(|line| !line.trim_start().starts_with('#'));
            for line in lines.filter(|line| forgiveness(line).is_some() || line.trim() == "set +e") {
                commands_forgiven.push(format!("{place}, step `{name}`: {}", line.trim()));
                command_in.get_or_insert(file.path.as_str());
            }
        }
    }
    if gates(files, required).next().is_none() {
        for id in ["gate-continue-on-error", "gate-or-true"] {
            sheet.unseen(id, "no workflow file of the checkout reports a required check", NO_GATES, SOURCE);
        }
        return;
    }
    sheet.judge(
        "gate-continue-on-error",
        &errors,
        "none has it",
        "Remove `continue-on-error`, and correct the failing step.",
        SOURCE,
    );
    sheet.in_file(error_in);
    sheet.judge(
        "gate-or-true",
        &commands_forgiven,
        "none does",
        "Let the command fail, or move it out of the gate.",
        SOURCE,
    );
    sheet.in_file(command_in);
}

/// F11: what is required must be able to report, or pull requests wait for ever.
fn reports(sheet: &mut Sheet<'_>, cx: &Audit, files: &Files) {
    let mut against = Vec::new();
    let required = cx.state.borrow().required.clone();
    for (check, branch) in &required {
        let emit: Vec<&WorkflowFile> =
            files.all.iter().filter(|file| file.jobs.iter().any(|job| job.emits(check))).collect();
        if emit.is_empty() {
            against.push(format!("`{branch}` requires `{check}`, but no workflow of this checkout reports it"));
        } else if !emit.iter().any(|file| file.reports_for(branch)) {
            let paths: Vec<&str> = emit.iter().map(|file| file.path.as_str()).collect();
            against.push(format!(
                "`{branch}` requires `{check}`, but {} does not run for every pull request to it",
                paths.join(", ")
            ));
        }
    }
    sheet.judge(
        "check-never-reports",
        &against,
        &format!("{} required names, all reported", required.len()),
        "Require the name that GitHub shows beside a run, or let its workflow start on pull_request without a filter that excludes the branch, or remove the requirement. Another app may also report it.",
        SOURCE,
    );
}

/// F1: "workflow file issue", with no job at all.
fn callees(sheet: &mut Sheet<'_>, files: &Files) {
    let mut against = Vec::new();
    let mut in_file = None;
    for file in &files.all {
        for job in &file.jobs {
            let Some(callee) = job.uses.as_deref().and_then(|uses| uses.strip_prefix("./")) else { continue };
            let problem = match files.all.iter().find(|known| known.path == callee) {
                Some(known) if known.starts_on("workflow_call") => continue,
                Some(_) => "has no workflow_call trigger",
                None => "does not exist or cannot be read",
            };
            against.push(format!("{}: job {} calls {callee}, which {problem}", file.path, job.id));
            in_file.get_or_insert(file.path.as_str());
        }
    }
    sheet.judge(
        "callee-not-callable",
        &against,
        "each can be called",
        "Add `workflow_call:` to its `on:`, or correct the path.",
        SOURCE,
    );
    sheet.in_file(in_file);
}

/// F2, F7, F8: a manual run in which no job's condition holds, and which GitHub shows as successful.
fn blocked(sheet: &mut Sheet<'_>, files: &Files) {
    let mut against = Vec::new();
    let mut in_file = None;
    for file in files.all.iter().filter(|file| file.starts_on("workflow_dispatch") && !file.jobs.is_empty()) {
        let shut = |job: &Job| {
            job.condition.as_deref().is_some_and(|condition| {
                let squeezed: String = condition.split_whitespace().collect();
                let other =
                    squeezed.contains("github.event.workflow_run.") || squeezed.contains("github.event_name=='");
                other
                    && !squeezed.contains("workflow_dispatch")
                    && !squeezed.contains("github.event_name!=")
                    && !squeezed.contains("always()")
            })
        };
        if file.jobs.iter().all(shut) {
            against.push(format!(
                "{} can be started by hand, but no job runs then: each has an `if:` that only another event fulfils",
                file.path
            ));
            in_file.get_or_insert(file.path.as_str());
        }
    }
    sheet.judge(
        "dispatch-blocked",
        &against,
        "every workflow with a manual start has a job for it",
        "Add `|| github.event_name == 'workflow_dispatch'` to the condition, or remove the trigger.",
        SOURCE,
    );
    sheet.in_file(in_file);
}

/// F10, F14, F15: what the build and the releases are made of.
fn release_workflows(sheet: &mut Sheet<'_>, cx: &Audit, files: &Files) {
    let ours: Vec<&WorkflowFile> = files.all.iter().filter(|file| cx.is_release_workflow(&file.path)).collect();
    if ours.is_empty() {
        for id in ["build-path-filter", "unpinned-action", "missing-concurrency"] {
            sheet.unseen(
                id,
                "the checkout has none of build-workflow, staging-workflow and production-workflow",
                "Name them in the policy.",
                SOURCE,
            );
        }
        return;
    }
    let build = &cx.inputs.workflows.build;
    let is_build =
        |file: &&&WorkflowFile| file.name == *build || file.path.rsplit('/').next() == build.rsplit('/').next();
    let filtered: Vec<&WorkflowFile> = ours
        .iter()
        .filter(is_build)
        .filter(|file| file.triggers.iter().any(|trigger| trigger.paths))
        .copied()
        .collect();
    let described: Vec<String> = filtered
        .iter()
        .map(|file| format!("{} runs only for some paths: other commits have no bundle", file.path))
        .collect();
    sheet.judge("build-path-filter", &described, "none", "Remove `paths` and `paths-ignore`.", SOURCE);
    sheet.in_file(filtered.first().map(|file| file.path.as_str()));

    let owner = format!("{}/", cx.inputs.github.owner);
    let mut loose = Vec::new();
    let mut loose_in = None;
    for file in &ours {
        let uses = file
            .jobs
            .iter()
            .flat_map(|job| job.uses.iter().chain(job.steps.iter().filter_map(|step| step.uses.as_ref())));
        for uses in uses.filter(|uses| unpinned(uses, &owner)) {
            loose.push(format!("{}: {uses}", file.path));
            loose_in.get_or_insert(file.path.as_str());
        }
    }
    loose.dedup();
    sheet.judge(
        "unpinned-action",
        &loose,
        "each is pinned by its commit",
        "Write the commit behind the @, and the version as a comment.",
        SOURCE,
    );
    sheet.in_file(loose_in);

    let shared: Vec<&WorkflowFile> = ours
        .iter()
        .filter(|file| !is_build(file) && !file.concurrency && file.jobs.iter().any(|job| !job.concurrency))
        .copied()
        .collect();
    let described: Vec<String> = shared
        .iter()
        .map(|file| format!("{} has no `concurrency`: two releases can run at the same time", file.path))
        .collect();
    sheet.judge(
        "missing-concurrency",
        &described,
        "each has it",
        "Add `concurrency: {group: deploy-ENVIRONMENT, cancel-in-progress: false}`.",
        SOURCE,
    );
    sheet.in_file(shared.first().map(|file| file.path.as_str()));
}

/// A third party's action by a name that can be moved. GitHub's own and the repository owner's are no third party's.
fn unpinned(uses: &str, owner: &str) -> bool {
    if uses.starts_with("./") || uses.starts_with("actions/") || uses.starts_with("github/") || uses.starts_with(owner)
    {
        return false;
    }
    if uses.starts_with("docker://") {
        return !uses.contains("@sha256:");
    }
    let pinned = |reference: &str| reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    !uses.split_once('@').is_some_and(|(_, reference)| pinned(reference))
}

/// F30: names of secrets that do not exist. GitHub's API gives out no value of a secret.
async fn secrets(sheet: &mut Sheet<'_>, cx: &Audit, files: &Files) -> Result<(), Failure> {
    let source = cx.github.describe("actions/secrets");
    let mut named: Vec<&String> =
        files.all.iter().filter(|file| cx.is_release_workflow(&file.path)).flat_map(|file| &file.secrets).collect();
    named.sort();
    named.dedup();
    match seen(cx.github.secrets().await, "listing the names of secrets", "secrets=read")? {
        Seen::Yes(there) => {
            // GitHub keeps the names in capitals, whatever a workflow writes.
            let missing: Vec<&str> = named
                .iter()
                .map(|name| name.as_str())
                .filter(|name| !there.iter().any(|known| known.eq_ignore_ascii_case(name)))
                .collect();
            if missing.is_empty() {
                sheet.met("secret-names", format!("{} names", named.len()), source);
            } else {
                sheet.unseen(
                    "secret-names",
                    format!(
                        "{} are not secrets of the repository; they may belong to an environment or to the organization",
                        missing.join(", ")
                    ),
                    "Check Settings, Environments, or create them.",
                    source,
                );
            }
        }
        Seen::Nothing => sheet.unseen(
            "secret-names",
            "GitHub does not show them to this token",
            "Use a token with `secrets=read`.",
            source,
        ),
        Seen::Forbidden { why, shows } => sheet.unseen("secret-names", why, shows, source),
    }
    Ok(())
}
