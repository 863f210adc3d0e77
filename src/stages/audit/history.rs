//! What ran: the workflows that GitHub lists, how their runs ended, and what the newest build left.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Audit, Seen, Sheet, seen, unanswered};
use crate::{
    domain::{
        Failure,
        record::{Diagnosis, key},
    },
    engine::step::{Io, StepResult},
    github::{Artifact, WorkflowRun},
    stages::shared::{
        diagnose,
        workflow::{self, WorkflowFile},
    },
};

/// Runs that a failure rate is made of.
const RUNS: usize = 20;

/// A bundle that expires sooner than this may be gone when it is needed.
const KEPT: TimeDelta = TimeDelta::days(7);

/// Two workflows of one name, and workflows whose file is gone.
pub async fn workflows(cx: &Audit, io: &Io) -> StepResult {
    let doing = "listing the workflows";
    let source = cx.github.describe("actions/workflows");
    let mut sheet = Sheet::new(cx, io, doing);
    let listed = match seen(cx.github.workflows().await, doing, "actions=read")? {
        Seen::Yes(listed) => listed,
        Seen::Nothing => Vec::new(),
        Seen::Forbidden { why, shows } => {
            sheet.unseen("duplicate-workflows", &why, &shows, &source);
            sheet.unseen("phantom-workflow", &why, &shows, &source);
            return sheet.end();
        }
    };
    let active: Vec<_> =
        listed.iter().filter(|one| one.state == "active" && one.path.starts_with(".github/")).collect();
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in &active {
        names.entry(one.name.as_str()).or_default().push(&one.path);
    }
    let twice: Vec<String> = names
        .iter()
        .filter(|(_, paths)| paths.len() > 1)
        .map(|(name, paths)| format!("`{name}` is {}", paths.join(" and ")))
        .collect();
    sheet.judge(
        "duplicate-workflows",
        &twice,
        &format!("{} active workflows, each with its own name", active.len()),
        "Give each its own `name:`, or remove one. `workflow_run` triggers and required checks select a workflow by its name.",
        &source,
    );
    let files = cx.files();
    if files.all.is_empty() && files.problems.is_empty() {
        sheet.unseen(
            "phantom-workflow",
            "there are no workflow files in the workspace",
            "Run actions/checkout before this step.",
            &source,
        );
    } else {
        let known: BTreeSet<&str> = files.paths.iter().map(String::as_str).collect();
        let gone: Vec<String> = active
            .iter()
            .filter(|one| !known.contains(one.path.as_str()))
            .map(|one| format!("`{}` is active, but {} is not in this checkout", one.name, one.path))
            .collect();
        sheet.judge(
            "phantom-workflow",
            &gone,
            "each active workflow has its file in this checkout",
            "If no branch has the file, run the fix `phantom-workflow`, or run: gh workflow disable NAME",
            &format!("{source}; .github/workflows"),
        );
    }
    cx.state.borrow_mut().listed = listed;
    sheet.end()
}

/// How the last runs of the three workflows ended.
pub async fn runs(cx: &Audit, io: &Io) -> StepResult {
    let mut sheet = Sheet::new(cx, io, "reading the last runs");
    let names = &cx.inputs.workflows;
    for (id, workflow) in
        [("build-runs", &names.build), ("staging-runs", &names.staging), ("production-runs", &names.production)]
    {
        let source = cx.github.describe(&format!("actions/workflows/{workflow}/runs"));
        let doing = format!("listing the runs of {workflow}");
        match seen(cx.github.recent_runs(workflow).await, &doing, "actions=read")? {
            Seen::Yes(runs) => {
                judge_runs(&mut sheet, id, workflow, &runs, &source);
                if id == "staging-runs" {
                    causes(&mut sheet, cx, io, &runs, &source).await;
                }
            }
            Seen::Nothing => {
                let why = format!("GitHub has no workflow {workflow}");
                let shows = format!("Set `{}` to the file name of the workflow.", id.replace("-runs", "-workflow"));
                if id == "staging-runs" {
                    sheet.unseen("staging-failures", &why, &shows, &source);
                }
                sheet.not_met(id, why, shows, source);
            }
            Seen::Forbidden { why, shows } => {
                if id == "staging-runs" {
                    sheet.unseen("staging-failures", &why, &shows, &source);
                }
                sheet.unseen(id, why, shows, source);
            }
        }
    }
    sheet.end()
}

fn judge_runs(sheet: &mut Sheet<'_>, id: &str, workflow: &str, runs: &[WorkflowRun], source: &str) {
    // A user or a newer run ended these; they say nothing of the workflow.
    let counted =
        |run: &&WorkflowRun| run.finished() && !matches!(run.conclusion.as_deref(), Some("cancelled" | "skipped"));
    let last: Vec<&WorkflowRun> = runs.iter().filter(counted).take(RUNS).collect();
    let Some(newest) = last.first() else {
        sheet.unseen(id, format!("{workflow} has no finished run"), "Start it once.", source);
        return;
    };
    let failed = last.iter().filter(|run| !run.succeeded()).count();
    let described = format!(
        "{failed} of the last {} failed ({} %); the newest, {}, ended in {}",
        last.len(),
        100 * failed / last.len(),
        newest.html_url,
        newest.conclusion.as_deref().unwrap_or("nothing")
    );
    if newest.succeeded() && 5 * failed <= last.len() {
        sheet.met(id, described, source);
    } else {
        let known = match id {
            "staging-runs" => " The fix `staging-failures` names known causes.",
            _ => "",
        };
        let fix = format!("Read the log of {} and correct the cause of the failure.{known}", newest.html_url);
        sheet.not_met(id, described, fix, source);
    }
}

/// Why the newest failed runs failed, as far as their logs say.
async fn causes(sheet: &mut Sheet<'_>, cx: &Audit, io: &Io, runs: &[WorkflowRun], source: &str) {
    let last: Vec<WorkflowRun> = runs.iter().filter(|run| run.finished()).take(RUNS).cloned().collect();
    let diagnoses = diagnose::failures_among(&*cx.github, &last, io).await;
    io.record(key::DIAGNOSES, &diagnoses);
    let source = format!("{source}; their jobs and logs");
    if diagnoses.is_empty() {
        return sheet.met("staging-failures", format!("none of the last {} failed", last.len()), source);
    }
    let failed = last.iter().filter(|run| diagnose::failed(run)).count();
    let described: Vec<String> = diagnoses.iter().map(Diagnosis::describe).collect();
    let mut to_do: Vec<&str> = Vec::new();
    for diagnosis in &diagnoses {
        if !to_do.contains(&diagnosis.to_do.as_str()) {
            to_do.push(&diagnosis.to_do);
        }
    }
    let more = failed - diagnoses.len();
    let more = if more > 0 { format!("; {more} older ones were not read") } else { String::new() };
    let between = if to_do.iter().all(|one| one.ends_with('.')) { " " } else { "; " };
    sheet.not_met("staging-failures", format!("{}{more}", described.join("; ")), to_do.join(between), source);
}

/// Whether the head of the branch of staging has a bundle, and how long the newest one stays (F7: a green build proves none).
pub async fn builds(cx: &Audit, io: &Io) -> StepResult {
    let mut sheet = Sheet::new(cx, io, "finding the build of the staging branch");
    let (workflow, develop) = (&cx.inputs.workflows.build, &cx.inputs.develop);
    let head = cx.state.borrow().develop.clone();
    match head {
        None => sheet.unseen(
            "build-of-develop",
            format!("the head of `{develop}` is unknown"),
            "Correct the finding `develop-required-checks` first.",
            cx.github.describe(&format!("branches/{develop}")),
        ),
        Some(head) => {
            let source = cx.github.describe(&format!("actions/workflows/{workflow}/runs?head_sha={head}"));
            let doing = format!("finding the build of {}", head.short());
            match seen(cx.github.runs_for(workflow, &head).await, &doing, "actions=read")? {
                Seen::Yes(runs) => {
                    judge_head(
                        &mut sheet,
                        cx,
                        &runs,
                        &cx.inputs.artifact_name.replace("{sha}", head.as_str()),
                        &source,
                    )
                    .await?;
                }
                Seen::Nothing => sheet.not_met(
                    "build-of-develop",
                    format!("GitHub has no workflow {workflow}"),
                    "Set `build-workflow` to the file name of the workflow.",
                    source,
                ),
                Seen::Forbidden { why, shows } => sheet.unseen("build-of-develop", why, shows, source),
            }
        }
    }
    kept(&mut sheet, cx).await?;
    sheet.end()
}

async fn judge_head(
    sheet: &mut Sheet<'_>,
    cx: &Audit,
    runs: &[WorkflowRun],
    name: &str,
    source: &str,
) -> Result<(), Failure> {
    let fix = format!(
        "Run the fix `build-head`, or run: gh workflow run {} --ref {}",
        cx.inputs.workflows.build, cx.inputs.develop
    );
    let Some(green) = runs.iter().find(|run| run.succeeded() && run.own_repository) else {
        let described = match runs.first() {
            None => "the head commit has no build run".to_owned(),
            Some(run) => format!("no build of the head commit succeeded; the newest is {}", run.html_url),
        };
        sheet.not_met("build-of-develop", described, fix, source);
        return Ok(());
    };
    let doing = format!("listing the artifacts of run {}", green.id);
    let artifacts = cx.github.artifacts(green.id, name).await.map_err(|error| unanswered(&doing, &error))?;
    let problem = match artifacts.first() {
        None => Some(format!("run {} succeeded but has no artifact {name}", green.id)),
        Some(artifact) if artifact.expired => Some(format!("the bundle of run {} has expired", green.id)),
        Some(artifact) if artifact.size == 0 => Some(format!("the bundle of run {} is empty", green.id)),
        Some(_) => None,
    };
    match problem {
        Some(problem) => sheet.not_met("build-of-develop", problem, fix, source),
        None => sheet.met("build-of-develop", format!("run {} succeeded and has {name}", green.id), source),
    }
    Ok(())
}

/// The bundles among the repository's newest artifacts, with size and expiry.
async fn kept(sheet: &mut Sheet<'_>, cx: &Audit) -> Result<(), Failure> {
    let source = cx.github.describe("actions/artifacts");
    let (before, after) = cx.inputs.artifact_name.split_once("{sha}").unwrap_or((&cx.inputs.artifact_name, ""));
    let ours = |artifact: &&Artifact| artifact.name.starts_with(before) && artifact.name.ends_with(after);
    let all = match seen(cx.github.newest_artifacts().await, "listing the artifacts", "actions=read")? {
        Seen::Yes(all) => all,
        Seen::Nothing => Vec::new(),
        Seen::Forbidden { why, shows } => {
            sheet.unseen("bundles-kept", why, shows, source);
            return Ok(());
        }
    };
    let there: Vec<&Artifact> = all.iter().filter(ours).filter(|artifact| !artifact.expired).collect();
    let Some(newest) = there.first() else {
        sheet.not_met("bundles-kept", "no bundle exists", "Run the build again.", source);
        return Ok(());
    };
    let now = cx.clock.now();
    let expires: Option<DateTime<Utc>> = newest.expires_at.as_deref().and_then(|text| text.parse().ok());
    let described = format!(
        "newest of {}: {} has {} bytes and expires {}",
        there.len(),
        newest.name,
        newest.size,
        newest.expires_at.as_deref().unwrap_or("never, according to GitHub")
    );
    match expires {
        Some(at) if at - now < KEPT => sheet.not_met(
            "bundles-kept",
            described,
            "Set `retention-days: 30` at the upload, and run the build again.",
            source,
        ),
        _ => sheet.met("bundles-kept", described, source),
    }
    Ok(())
}

/// Whether the release workflows are the same on both branches: fixes do not travel by themselves (F16).
pub async fn branches_agree(cx: &Audit, io: &Io) -> StepResult {
    let mut sheet = Sheet::new(cx, io, "comparing the workflows of both branches");
    let (main, develop) = (&cx.inputs.main, &cx.inputs.develop);
    let source = format!(
        "{}, {}",
        cx.github.describe(&format!("compare/{main}...{develop}")),
        cx.github.describe(&format!("compare/{develop}...{main}"))
    );
    let doing = format!("comparing `{main}` and `{develop}`");
    let mut sides = Vec::new();
    for (base, head) in [(main, develop), (develop, main)] {
        match seen(cx.github.changed(base, head).await, &doing, "contents=read")? {
            Seen::Yes(Some(changed)) => {
                sides.push(changed.into_iter().map(|file| (file.path, file.blob)).collect::<BTreeMap<_, _>>());
            }
            Seen::Yes(None) => {
                let why = "the branches differ in more files than GitHub lists";
                return neither_seen(sheet, why, &format!("git diff {main} {develop} -- .github/workflows"), &source);
            }
            Seen::Nothing => {
                let why = "GitHub cannot compare the two branches: one does not exist, or they have no common commit";
                return neither_seen(sheet, why, &format!("git diff {main} {develop} -- .github/workflows"), &source);
            }
            Seen::Forbidden { why, shows } => {
                return neither_seen(sheet, &why, &shows, &source);
            }
        }
    }
    // A file that only one side has changed since they parted differs; one that both have changed differs unless they came to the same.
    let (ours, theirs) = (&sides[0], &sides[1]);
    let paths: BTreeSet<&String> =
        ours.keys().chain(theirs.keys()).filter(|path| path.starts_with(".github/workflows/")).collect();
    let paths: Vec<&String> =
        paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path) && cx.is_release_workflow(path)).collect();
    let differ: Vec<String> =
        paths.iter().map(|path| format!("{path} differs between `{main}` and `{develop}`")).collect();
    sheet.judge(
        "build-differs",
        &differ,
        "the release workflows are the same on both branches",
        &format!("Merge these files; they also set the version of this action. To compare them, run: git diff {main} {develop} -- .github/workflows"),
        &source,
    );
    versions(&mut sheet, cx, &paths).await?;
    sheet.end()
}

fn neither_seen(mut sheet: Sheet<'_>, why: &str, shows: &str, source: &str) -> StepResult {
    for id in ["build-differs", "action-versions-differ"] {
        sheet.unseen(id, why, shows, source);
    }
    sheet.end()
}

/// Which version of an action each branch uses, in the release workflows that differ: a fix that is on one branch alone does not
/// release what the other one builds (F16). A file that is the same uses the same.
async fn versions(sheet: &mut Sheet<'_>, cx: &Audit, paths: &[&String]) -> Result<(), Failure> {
    const ID: &str = "action-versions-differ";
    let branches = [&cx.inputs.main, &cx.inputs.develop];
    let source =
        cx.github.describe(&format!("contents/.github/workflows?ref={}, and ref={}", branches[0], branches[1]));
    let (mut differ, mut unread) = (Vec::new(), Vec::new());
    for path in paths {
        let mut sides = Vec::new();
        for branch in branches {
            let doing = format!("reading {path} on `{branch}`");
            match seen(cx.github.file(path, branch).await, &doing, "contents=read")? {
                Seen::Yes(text) => match workflow::parse(path, &text) {
                    Ok(file) => sides.push(used(&file)),
                    Err(problem) => unread.push(format!("{path} on `{branch}` {problem}")),
                },
                Seen::Nothing => unread.push(format!("{path} is not on `{branch}`")),
                Seen::Forbidden { why, shows } => {
                    sheet.unseen(ID, why, shows, source);
                    return Ok(());
                }
            }
        }
        let [ours, theirs] = sides.as_slice() else { continue };
        for (action, here) in ours {
            if let Some(there) = theirs.get(action).filter(|there| *there != here) {
                let described = |refs: &BTreeSet<String>| refs.iter().cloned().collect::<Vec<_>>().join(" and ");
                let (main, develop) = (branches[0], branches[1]);
                differ.push(format!(
                    "{path}: {action} is {} on `{main}` and {} on `{develop}`",
                    described(here),
                    described(there)
                ));
            }
        }
    }
    let fix = format!(
        "Use the newer version on both branches. To compare them, run: git diff {} {} -- .github/workflows",
        branches[0], branches[1]
    );
    match (differ.is_empty(), unread.is_empty()) {
        (true, false) => sheet.unseen(ID, unread.join("; "), fix, source),
        _ => sheet.judge(ID, &differ, "each action has one version on both branches", &fix, &source),
    }
    Ok(())
}

/// Actions and reusable workflows of other repositories, each with the versions in use.
fn used(file: &WorkflowFile) -> BTreeMap<String, BTreeSet<String>> {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let uses =
        file.jobs.iter().flat_map(|job| job.uses.iter().chain(job.steps.iter().filter_map(|step| step.uses.as_ref())));
    for (action, version) in uses.filter_map(|uses| uses.split_once('@')) {
        used.entry(action.to_owned()).or_default().insert(version.to_owned());
    }
    used
}

impl Audit {
    /// Whether it is the build, or one that releases.
    pub(super) fn is_release_workflow(&self, path: &str) -> bool {
        let names = &self.inputs.workflows;
        let file = path.rsplit('/').next().unwrap_or(path);
        [&names.build, &names.staging, &names.production].into_iter().any(|name| {
            name.rsplit('/').next() == Some(file)
                || self.files().all.iter().any(|one| one.path == path && one.name == *name)
                || self.state.borrow().listed.iter().any(|one| one.path == path && one.name == *name)
        })
    }
}
