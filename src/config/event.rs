//! The event that started the run, and the commit and build it is about. Resolved once, here (F3).

use std::fs;

use serde::Deserialize;

use super::{environment::Environment, problem::Problem};
use crate::domain::{CommitSha, Stage, trigger};

/// What the run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// `None` outside of Actions.
    pub event: Option<String>,
    pub commit: CommitSha,
    /// The run that built this commit, when the event is about one.
    pub build_run: Option<u64>,
}

/// The events that can start a stage. A workflow that is called (`workflow_call`) sees the event of its caller.
pub fn supported(stage: Stage) -> Vec<&'static str> {
    match stage {
        // Pull requests, too: a required check has to do its work there, or no pull request can ever be merged (F11, F12).
        Stage::BuildGate => trigger::BUILD_EVENTS.into_iter().chain(trigger::CHECK_EVENTS).collect(),
        // Only what releases asks its event for a commit; `smoke` may be started by anything.
        _ => vec!["workflow_dispatch", "workflow_run", "push"],
    }
}

/// Resolves event and commit. `sha` is the input of that name; it beats the event's commit, and then a build run that
/// belongs to another commit is not looked at.
pub fn resolve(environment: &Environment, stage: Stage, sha: Option<CommitSha>) -> Result<Trigger, Problem> {
    if !environment.in_actions() {
        let missing = || {
            Problem::new(
                "sha",
                "is missing",
                "outside of GitHub Actions no event names the commit: give `--sha $(git rev-parse HEAD)`",
            )
        };
        return Ok(Trigger { event: None, commit: sha.ok_or_else(missing)?, build_run: None });
    }
    let event = environment
        .text("GITHUB_EVENT_NAME")
        .ok_or_else(|| Problem::new("event", "has no name: GITHUB_EVENT_NAME is not set", supported_text(stage)))?;
    if !supported(stage).contains(&event) {
        return Err(Problem::new("event", format!("cannot start {stage}"), supported_text(stage)).given(event));
    }
    if event == "workflow_run" {
        return from_build(environment, stage, sha);
    }
    let commit = match sha {
        Some(sha) => sha,
        None => from_variable(environment)?,
    };
    Ok(Trigger { event: Some(event.to_owned()), commit, build_run: None })
}

/// The event as the end of a sentence, where an account without write access may have started this run. The checkout may then be its code.
pub fn opened_by_others(environment: &Environment) -> Option<String> {
    let event = environment.text("GITHUB_EVENT_NAME").filter(|_| environment.in_actions())?;
    if event != "workflow_run" {
        return trigger::open_to_others(event).then(|| format!("a run that was started by `{event}`"));
    }
    let payload = environment.path("GITHUB_EVENT_PATH").and_then(|path| fs::read(path).ok());
    let cause = payload.and_then(|bytes| serde_json::from_slice::<CausedEvent>(&bytes).ok());
    match cause.map(|cause| cause.workflow_run) {
        Some(Cause { event, repository: Some(own), head_repository: Some(head) })
            if own.full_name == head.full_name && !trigger::open_to_others(&event) =>
        {
            None
        }
        Some(Cause { event, .. }) if trigger::open_to_others(&event) => {
            Some(format!("a run that was started by `workflow_run`, after a run that was started by `{event}`"))
        }
        _ => Some("a run that was started by `workflow_run`, after a run on the code of a fork".to_owned()),
    }
}

/// What started the run that a `workflow_run` event is about.
#[derive(Deserialize)]
struct CausedEvent {
    workflow_run: Cause,
}

#[derive(Deserialize)]
struct Cause {
    event: String,
    #[serde(default)]
    repository: Option<Named>,
    #[serde(default)]
    head_repository: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

fn supported_text(stage: Stage) -> String {
    let names = supported(stage).join("`, `");
    format!("{stage} starts on `{names}`, or is called from a workflow that starts on one of them")
}

fn from_variable(environment: &Environment) -> Result<CommitSha, Problem> {
    let right = "give the commit in the input `sha`";
    let text = environment.text("GITHUB_SHA").ok_or_else(|| Problem::new("GITHUB_SHA", "is not set", right))?;
    let commit = text.parse().map_err(|_| Problem::new("GITHUB_SHA", "is not a full commit SHA", right).given(text))?;
    match text.bytes().all(|byte| byte == b'0') {
        true => Err(Problem::new("GITHUB_SHA", "is the commit of a deleted branch", right).given(text)),
        false => Ok(commit),
    }
}

/// The part of a `workflow_run` event that matters. For this event GITHUB_SHA is the head of the default branch, which
/// is another commit than the one that was built (F3).
#[derive(Deserialize)]
struct WorkflowRunEvent {
    workflow_run: WorkflowRun,
}

#[derive(Deserialize)]
struct WorkflowRun {
    id: u64,
    head_sha: CommitSha,
    conclusion: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
}

impl WorkflowRunEvent {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

fn from_build(environment: &Environment, stage: Stage, sha: Option<CommitSha>) -> Result<Trigger, Problem> {
    let right = match stage {
        Stage::BuildGate => "start the workflow by hand, or run the workflow before it again",
        _ => "start the workflow by hand with `sha` and `build-run-id`, or run the build again",
    };
    let path = environment
        .path("GITHUB_EVENT_PATH")
        .ok_or_else(|| Problem::new("event", "has no file: GITHUB_EVENT_PATH is not set", right))?;
    let read = fs::read(&path).map_err(|error| error.to_string()).and_then(|bytes| WorkflowRunEvent::read(&bytes));
    of_run(
        read.map_err(|error| {
            Problem::new("event", format!("of `workflow_run` cannot be read from {}: {error}", path.display()), right)
        })?,
        stage,
        sha,
    )
}

fn of_run(event: WorkflowRunEvent, stage: Stage, sha: Option<CommitSha>) -> Result<Trigger, Problem> {
    let WorkflowRunEvent { workflow_run: run } = event;
    let event = Some("workflow_run".to_owned());
    match sha {
        Some(commit) if commit != run.head_sha => return Ok(Trigger { event, commit, build_run: None }),
        _ => {}
    }
    let address = run.html_url.map(|url| format!(" ({url})")).unwrap_or_default();
    match run.conclusion.as_deref() {
        Some("success") => Ok(Trigger { event, commit: run.head_sha, build_run: Some(run.id) }),
        Some(conclusion) if stage == Stage::BuildGate => Err(Problem::new(
            "event",
            format!("is about run {}, which ended in `{conclusion}`{address}: its commit is not built", run.id),
            "correct that run and start it again; to skip this step after failed runs, add to the job: `if: github.event.workflow_run.conclusion == 'success'`",
        )),
        Some(conclusion) => Err(Problem::new(
            "event",
            format!(
                "is about build run {}, which ended in `{conclusion}`{address}: it has no bundle to release",
                run.id
            ),
            "repair the build; to skip this step after failed builds, add to the job: `if: github.event.workflow_run.conclusion == 'success'`",
        )),
        None => Err(Problem::new(
            "event",
            format!("is about run {}, which has not ended{address}", run.id),
            "start the workflow on `workflow_run: types: [completed]`",
        )),
    }
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(event) = WorkflowRunEvent::read(bytes)
        && let Ok(trigger) = of_run(event, Stage::DeployStaging, None)
    {
        assert!(trigger.build_run.is_some());
    }
}
