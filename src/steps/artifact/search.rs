//! Which run built this commit, and what it left behind.

use std::fmt;

use crate::{
    domain::{CommitSha, Failure},
    inputs::typed,
    ports::github::{Artifact, Github, GithubError, WorkflowRun},
    steps::context::Build,
};

/// Events whose runs build our own code. Runs of pull requests, comments and other workflows can carry the code of
/// strangers, even inside our repository (runner-contract E.2, trust check).
const TRUSTED_EVENTS: [&str; 6] =
    ["push", "workflow_dispatch", "schedule", "repository_dispatch", "merge_group", "release"];

/// One look.
pub(super) enum Look {
    Found(Box<Build>),
    /// Not there, but it may come. `run` is the run that it will be of, if one was seen.
    Absent {
        why: Absent,
        run: Option<u64>,
    },
}

/// What is missing.
pub(super) enum Absent {
    /// No run that we trust; `ignored` says why others were left out.
    Run {
        ignored: Vec<String>,
    },
    End {
        run: u64,
        status: String,
    },
    Artifact {
        run: u64,
        name: String,
    },
    /// GitHub did not answer.
    Unanswered(GithubError),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { ignored } if ignored.is_empty() => f.write_str("no build run for this commit yet"),
            Self::Run { ignored } => write!(f, "no build run for this commit yet; not used: {}", ignored.join("; ")),
            Self::End { run, status } => write!(f, "build run {run} is {}", status.replace('_', " ")),
            Self::Artifact { run, name } => write!(f, "build run {run} is green, but lists no artifact {name}"),
            Self::Unanswered(error) => write!(f, "GitHub did not answer: {error}"),
        }
    }
}

/// What to look for. `Err` of its functions is final: waiting would not help.
pub(super) struct Search<'a> {
    inputs: &'a typed::Source,
    github: &'a dyn Github,
    run_id: Option<u64>,
}

impl<'a> Search<'a> {
    /// `run_id` is the run to look at, if it is known.
    pub(super) fn new(inputs: &'a typed::Source, github: &'a dyn Github, run_id: Option<u64>) -> Self {
        Self { inputs, github, run_id }
    }

    pub(super) fn keep_to(&mut self, run: Option<u64>) {
        self.run_id = self.run_id.or(run);
    }

    pub(super) async fn look(&self) -> Result<Look, Failure> {
        match self.run().await {
            Ok(Ok(run)) => self.artifact(run).await,
            Ok(Err(ignored)) => Ok(Look::Absent { why: Absent::Run { ignored }, run: None }),
            Err(Stop::Final(failure)) => Err(*failure),
            Err(Stop::Unanswered(error)) => Ok(Look::Absent { why: Absent::Unanswered(error), run: None }),
        }
    }

    /// The failure of a search that saw nothing but this.
    pub(super) fn unanswered(&self, error: &GithubError) -> Failure {
        github_failure(&self.doing(), error)
    }

    /// The failure of a wait that came to its end.
    pub(super) fn given_up(&self, last: Option<Absent>) -> Failure {
        let commit = &self.inputs.commit;
        let workflow = &self.inputs.build.workflow;
        match last {
            Some(Absent::Unanswered(error)) => self.unanswered(&error),
            Some(why @ Absent::Artifact { .. }) => Failure::refused(self.doing(), format!("no successful build for {commit}: {why}")).hint(format!(
                "a green build without artifact is no build: see whether every job of {workflow} ran, and whether it uploads `{}`",
                self.inputs.build.artifact_name
            )),
            Some(why @ Absent::End { .. }) => Failure::refused(self.doing(), format!("no successful build for {commit}: {why}"))
                .hint("run this again when the build has ended, or raise build-wait-attempts"),
            why => {
                let why = why.map_or_else(|| "nobody looked (build-wait-attempts is 0)".to_owned(), |why| why.to_string());
                Failure::refused(self.doing(), format!("no successful build for {commit}: {why}")).hint(how_to_build(workflow, commit))
            }
        }
    }

    fn doing(&self) -> String {
        format!("looking for the build of {} ({})", self.inputs.commit.short(), self.inputs.build.workflow)
    }

    /// The run to go by; or why none of those that exist is one.
    async fn run(&self) -> Result<Result<WorkflowRun, Vec<String>>, Stop> {
        if let Some(id) = self.run_id {
            let run = self.github.run(id).await.map_err(|error| self.stop(error))?;
            return match self.distrust(&run) {
                None => self.ended_well(run, None).map(Ok),
                Some(why) => Err(self.refuse(format!("build run {id} cannot be used: {why}"), &run)),
            };
        }
        let runs = self
            .github
            .runs_for(&self.inputs.build.workflow, &self.inputs.commit)
            .await
            .map_err(|error| self.stop(error))?;
        let (trusted, others): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| self.distrust(run).is_none());
        let Some(newest) = trusted.first() else {
            let ignored =
                others.iter().map(|run| format!("run {}, because {}", run.id, self.distrust(run).unwrap_or_default()));
            return Ok(Err(ignored.collect()));
        };
        // The list is a search index that lags behind; the run itself does not.
        let fresh = self.github.run(newest.id).await.map_err(|error| self.stop(error))?;
        if let Some(why) = self.distrust(&fresh) {
            return Err(self.refuse(format!("build run {} cannot be used: {why}", fresh.id), &fresh));
        }
        self.ended_well(fresh, trusted.iter().skip(1).find(|run| run.succeeded())).map(Ok)
    }

    /// Why a run must not be released from, if so.
    fn distrust(&self, run: &WorkflowRun) -> Option<String> {
        let expected = &self.inputs.build.workflow;
        let file = run.path.rsplit('/').next().unwrap_or(&run.path);
        let expected_file = expected.rsplit('/').next().unwrap_or(expected);
        if !run.own_repository {
            return Some("it ran on the code of a fork".to_owned());
        }
        if run.head_sha != self.inputs.commit {
            return Some(format!("it built {}, not {}", run.head_sha, self.inputs.commit));
        }
        if file != expected_file && run.name.as_deref() != Some(expected) {
            return Some(format!("it is a run of {file}, not of {expected}"));
        }
        if !TRUSTED_EVENTS.contains(&run.event.as_str()) {
            return Some(format!("it was started by {}, not by one of {}", run.event, TRUSTED_EVENTS.join(", ")));
        }
        None
    }

    /// The run, unless it has ended without success: that is final (F6). `instead` succeeded before it.
    fn ended_well(&self, run: WorkflowRun, instead: Option<&WorkflowRun>) -> Result<WorkflowRun, Stop> {
        let Some(conclusion) =
            run.conclusion.as_deref().filter(|conclusion| run.finished() && *conclusion != "success")
        else {
            return Ok(run);
        };
        let hint = match instead {
            Some(older) => format!(
                "run {} of the same commit succeeded before: name it with build-run-id to release from it",
                older.id
            ),
            None => format!("mend the build and run it again: {}", run.html_url),
        };
        let cause = format!("build run {} ended in {}", run.id, conclusion.replace('_', " "));
        Err(Stop::refused(Failure::refused(self.doing(), cause).hint(hint).details([run.html_url.clone()])))
    }

    async fn artifact(&self, run: WorkflowRun) -> Result<Look, Failure> {
        if !run.succeeded() {
            let status = run.status.unwrap_or_else(|| "in a state that GitHub does not tell".to_owned());
            return Ok(Look::Absent { why: Absent::End { run: run.id, status }, run: Some(run.id) });
        }
        let name = &self.inputs.build.artifact_name;
        let artifacts = match self.github.artifacts(run.id, name).await {
            Ok(artifacts) => artifacts,
            Err(error) => match self.stop(error) {
                Stop::Final(failure) => return Err(*failure),
                Stop::Unanswered(error) => {
                    return Ok(Look::Absent { why: Absent::Unanswered(error), run: Some(run.id) });
                }
            },
        };
        // After a re-run the same name can occur again; the newest is of the attempt that counts.
        let Some(artifact) = artifacts.into_iter().next() else {
            return Ok(Look::Absent { why: Absent::Artifact { run: run.id, name: name.clone() }, run: Some(run.id) });
        };
        match self.unusable(&artifact, &run) {
            None => Ok(Look::Found(Box::new(Build { run, artifact }))),
            Some(why) => {
                let cause = format!("artifact {} ({name}) of build run {} {why}", artifact.id, run.id);
                Err(Failure::refused(self.doing(), cause)
                    .hint(how_to_build(&self.inputs.build.workflow, &self.inputs.commit))
                    .details([run.html_url]))
            }
        }
    }

    /// Why an artifact is not one to release from, if so (F3, F7).
    fn unusable(&self, artifact: &Artifact, run: &WorkflowRun) -> Option<String> {
        if artifact.expired {
            let when = artifact.expires_at.as_deref().map(|when| format!(" on {when}")).unwrap_or_default();
            return Some(format!("has expired{when}"));
        }
        if artifact.size == 0 {
            return Some("is empty".to_owned());
        }
        if let Some(other) = artifact.run_id.filter(|id| *id != run.id) {
            return Some(format!("belongs to run {other}"));
        }
        match &artifact.head_sha {
            Some(sha) if *sha != self.inputs.commit => {
                Some(format!("was built from {sha}, not from {}", self.inputs.commit))
            }
            Some(_) => None,
            None => Some("does not say which commit it was built from".to_owned()),
        }
    }

    fn refuse(&self, cause: String, run: &WorkflowRun) -> Stop {
        let hint = "give the id of a run that built this very commit in this repository, or leave build-run-id out";
        Stop::refused(Failure::refused(self.doing(), cause).hint(hint).details([run.html_url.clone()]))
    }

    fn stop(&self, error: GithubError) -> Stop {
        match error {
            GithubError::Unavailable(_) => Stop::Unanswered(error),
            GithubError::NotFound(what) => {
                let (cause, hint) = match self.run_id {
                    Some(id) => (
                        format!("there is no run {id} in this repository"),
                        "give the id of a run in this repository, or leave build-run-id out".to_owned(),
                    ),
                    None => (
                        format!("there is no workflow `{}` ({what})", self.inputs.build.workflow),
                        "give the file name or the name of the workflow that builds, as build-workflow".to_owned(),
                    ),
                };
                Stop::refused(Failure::input(self.doing(), cause).hint(hint))
            }
            other => Stop::refused(github_failure(&self.doing(), &other)),
        }
    }
}

/// Why a look ended early.
enum Stop {
    Final(Box<Failure>),
    Unanswered(GithubError),
}

impl Stop {
    fn refused(failure: Failure) -> Self {
        Self::Final(Box::new(failure))
    }
}

/// What GitHub's refusal means for the run, and what to do about it.
pub fn github_failure(doing: &str, error: &GithubError) -> Failure {
    let cause = error.to_string();
    match error {
        GithubError::Forbidden { .. } => Failure::input(doing, cause)
            .hint("give the job `permissions: { actions: read, contents: read }`, or a github-token that has them"),
        GithubError::RateLimited { retry_after } => Failure::world(doing, cause)
            .hint(format!("run this again in {} minutes", retry_after.as_secs().div_ceil(60))),
        GithubError::Unavailable(_) => Failure::world(doing, cause)
            .hint("run this again; https://www.githubstatus.com tells when GitHub itself is ill"),
        GithubError::NotFound(_) | GithubError::Expired | GithubError::Unexpected(_) | GithubError::BadDownload(_) => {
            Failure::world(doing, cause)
        }
    }
}

/// How to get a build of this commit.
pub(super) fn how_to_build(workflow: &str, commit: &CommitSha) -> String {
    format!(
        "push the commit, or start the build on a branch whose head is {}: gh workflow run {workflow} --ref BRANCH; then run this again",
        commit.short()
    )
}
