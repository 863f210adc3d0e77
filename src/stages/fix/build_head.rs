//! `build-head`: starts the build of the branch of staging, and waits until it has left its bundle.

use serde_json::json;

use super::{Fix, FixPlan, Proposal, refusal};
use crate::{
    domain::{CommitSha, Failure, fix::Setting},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    github::{GithubError, RepositoryWrite, WorkflowRun},
};

const PERMISSION: &str = "actions=write";

/// The head, and how far its build is.
#[derive(Debug, Clone)]
pub struct Current {
    head: CommitSha,
    build: Build,
    /// The newest run for this commit before anything was started.
    newest: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Build {
    /// With its bundle.
    There(u64),
    Running(u64),
    /// Why there is none.
    Missing(String),
}

impl Build {
    fn describe(&self) -> String {
        match self {
            Self::There(run) => format!("run {run} succeeded and has its bundle"),
            Self::Running(run) => format!("run {run} is still running"),
            Self::Missing(why) => why.clone(),
        }
    }
}

/// What GitHub says of the builds of this commit.
async fn ask(
    github: &dyn RepositoryWrite,
    cx: &super::Repository,
    head: &CommitSha,
) -> Result<(Build, Option<u64>), Failure> {
    let workflow = &cx.inputs.build_workflow;
    let doing = format!("finding the build of {}", head.short());
    let runs = github.runs_for(workflow, head).await.map_err(|error| match error {
        GithubError::NotFound(what) => errors::fix::workflow_unknown(&doing, workflow, &what, "build-workflow"),
        error => refusal(&doing, &error, "actions=read"),
    })?;
    let newest = runs.iter().map(|run| run.id).max();
    let own: Vec<&WorkflowRun> = runs.iter().filter(|run| run.own_repository).collect();
    let mut problem = match own.first() {
        None => "the head commit has no build run".to_owned(),
        Some(run) if run.finished() => {
            format!(
                "the newest build run, {}, ended in {}",
                run.html_url,
                run.conclusion.as_deref().unwrap_or("nothing")
            )
        }
        Some(_) => String::new(),
    };
    // As a release does: the newest success that left a bundle.
    for run in own.iter().filter(|run| run.succeeded()) {
        let name = cx.inputs.artifact_name.replace("{sha}", head.as_str());
        let doing = format!("listing the artifacts of run {}", run.id);
        let artifacts =
            github.artifacts(run.id, &name).await.map_err(|error| refusal(&doing, &error, "actions=read"))?;
        match artifacts.first() {
            Some(artifact) if !artifact.expired && artifact.size > 0 => return Ok((Build::There(run.id), newest)),
            Some(artifact) if artifact.expired => problem = format!("the bundle of run {} has expired", run.id),
            Some(_) => problem = format!("the bundle of run {} is empty", run.id),
            None => problem = format!("run {} succeeded but has no artifact {name}", run.id),
        }
    }
    match own.iter().find(|run| !run.finished()) {
        Some(running) => Ok((Build::Running(running.id), newest)),
        None => Ok((Build::Missing(problem), newest)),
    }
}

async fn head(github: &dyn RepositoryWrite, branch: &str) -> Result<CommitSha, Failure> {
    let doing = format!("reading the head of `{branch}` at GitHub");
    match github.branch(branch).await {
        Ok(branch) => Ok(branch.head),
        Err(GithubError::NotFound(_)) => Err(errors::fix::branch_unknown(&doing, None, "develop-branch")),
        Err(error) => Err(refusal(&doing, &error, "contents=read")),
    }
}

pub async fn look(cx: &Fix<Current>, io: &Io) -> StepResult {
    let github = cx.github()?;
    let inputs = &cx.world.inputs;
    let head = head(github, &inputs.develop).await?;
    let (build, newest) = ask(github, &cx.world, &head).await?;
    io.record(crate::domain::record::key::SHA, &head);
    let what = format!("build of {}, the head of `{}`", head.short(), inputs.develop);
    let start = format!(
        "POST /repos/{}/actions/workflows/{}/dispatches {}",
        github.repository(),
        inputs.build_workflow,
        json!({ "ref": inputs.develop })
    );
    let (sends, nothing) = match &build {
        Build::There(_) => (Vec::new(), Some(build.describe())),
        Build::Running(run) => (vec![format!("no request: the fix waits for run {run}")], None),
        Build::Missing(_) => (vec![start], None),
    };
    let proposal = Proposal {
        subject: format!("{} of {}", inputs.build_workflow, github.repository()),
        before: vec![Setting::new(&what, build.describe())],
        wanted: match &nothing {
            Some(_) => Vec::new(),
            None => vec![Setting::new(&what, "a successful run with its bundle")],
        },
        sends,
        needs: PERMISSION.to_owned(),
        nothing,
        bound: json!({ "head": head, "build": build.describe() }),
    };
    cx.propose(io, proposal, Current { head, build, newest })
}

pub async fn start(cx: &FixPlan<Current>, io: &Io) -> StepResult {
    if let Some(idle) = cx.idle() {
        return Ok(idle);
    }
    let known = &cx.known;
    if let Build::Running(run) = known.build {
        cx.state.borrow_mut().run = Some(run);
        return Ok(Done::skipped(format!("run {run} is building it already")));
    }
    let (github, inputs) = (cx.github()?, &cx.world.inputs);
    let doing = format!("starting {} on `{}`", inputs.build_workflow, inputs.develop);
    // A dispatch takes a branch and no commit.
    let now = head(github, &inputs.develop).await?;
    if now != known.head {
        return Err(errors::fix::changed_since_plan(
            &doing,
            format!("the head is now {}, and the plan was made for {}", now.short(), known.head.short()),
            "run this again",
        ));
    }
    let run = github.dispatch(&inputs.build_workflow, &inputs.develop).await.map_err(|error| match &error {
        GithubError::Unexpected(cause) if cause.contains("workflow_dispatch") => {
            errors::fix::not_dispatchable(&doing, cause, &inputs.build_workflow, &inputs.develop)
        }
        _ => refusal(&doing, &error, PERMISSION),
    })?;
    cx.state.borrow_mut().run = run;
    io.line(run.map_or("started; GitHub did not return the run's id".to_owned(), |run| format!("started run {run}")));
    Ok(Done::passed(run.map_or("started".to_owned(), |run| format!("run {run}"))))
}

/// Waits for the bundle, as a release waits for it.
pub async fn await_bundle(cx: &FixPlan<Current>, io: &Io) -> StepResult {
    if let Some(idle) = cx.idle() {
        return Ok(idle);
    }
    let known = &cx.known;
    let (github, inputs) = (cx.github()?, &cx.world.inputs);
    let doing = format!("waiting for the build of {}", known.head.short());
    let what = format!("build of {}, the head of `{}`", known.head.short(), inputs.develop);
    let (mut last, mut running) = ("the build was not read".to_owned(), false);
    for attempt in 1..=inputs.wait_attempts {
        // The list lags behind; a run that is known by its number does not.
        let started = cx.state.borrow().run;
        if let Some(id) = started {
            let run = github.run(id).await.map_err(|error| refusal(&doing, &error, "actions=read"))?;
            if run.head_sha != known.head {
                return Err(errors::fix::changed_since_plan(
                    &doing,
                    format!("run {id} builds {}: a newer commit was pushed", run.head_sha.short()),
                    "Run this again, for the new head.",
                ));
            }
            if run.finished() && !run.succeeded() {
                cx.seen(
                    io,
                    vec![Setting::new(
                        &what,
                        format!("{} ended in {}", run.html_url, run.conclusion.as_deref().unwrap_or("nothing")),
                    )],
                );
                return Err(errors::fix::build_failed(&doing, id, run.conclusion.as_deref(), &run.html_url));
            }
        }
        let (build, newest) = ask(github, &cx.world, &known.head).await?;
        (last, running) = (build.describe(), matches!(build, Build::Running(_)));
        io.attempt(attempt, inputs.wait_attempts, &last);
        if let Build::There(_) = build {
            cx.seen(io, vec![Setting::new(&what, &last)]);
            return Ok(Done::passed(last));
        }
        // The run that we started, where GitHub did not name it.
        if started.is_none() && newest > known.newest {
            cx.state.borrow_mut().run = newest;
        }
        if attempt < inputs.wait_attempts {
            cx.world.clock.sleep(inputs.wait_interval).await;
        }
    }
    cx.seen(io, vec![Setting::new(&what, &last)]);
    Err(errors::fix::no_bundle(&doing, inputs.wait_attempts, &last, running))
}
