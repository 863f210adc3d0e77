//! Which run built this commit, and what it left behind.

use std::fmt;

use crate::{
    config::typed,
    context::Build,
    domain::{
        CommitSha, Failure,
        glob::{self, Wildcards},
        trigger,
    },
    errors::{
        artifact::{self as errors, Named, Unusable},
        github,
    },
    github::{Artifact, Github, GithubError, WorkflowRun},
};

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
            Self::Artifact { run, name } => write!(f, "build run {run} succeeded but has no artifact {name}"),
            Self::Unanswered(error) => write!(f, "GitHub did not answer: {error}"),
        }
    }
}

/// What to look for. `Err` of its functions is final: waiting would not help.
pub(super) struct Search<'a> {
    inputs: &'a typed::Source,
    github: &'a dyn Github,
    run_id: Option<u64>,
    /// What the plan named. Nothing else will do then.
    planned: Option<&'a Build>,
}

impl<'a> Search<'a> {
    /// `run_id` is the run to look at, if it is known.
    pub(super) fn new(inputs: &'a typed::Source, github: &'a dyn Github, run_id: Option<u64>) -> Self {
        Self { inputs, github, run_id, planned: None }
    }

    /// Looks for this build alone: an artifact can expire, and a run can begin anew.
    pub(super) fn again(inputs: &'a typed::Source, github: &'a dyn Github, planned: &'a Build) -> Self {
        Self { inputs, github, run_id: Some(planned.run.id), planned: Some(planned) }
    }

    pub(super) fn keep_to(&mut self, run: Option<u64>) {
        self.run_id = self.run_id.or(run);
    }

    pub(super) async fn look(&self) -> Result<Look, Failure> {
        let workflow = match self.github.workflow_path(&self.inputs.build.workflow).await {
            Ok(path) => Ok(path),
            Err(error) => Err(self.stop_at_workflow(error)),
        };
        let run = match workflow {
            Ok(workflow) => self.run(&workflow).await,
            Err(stop) => Err(stop),
        };
        match run {
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
            Some(why @ Absent::Artifact { .. }) => {
                errors::artifact_missing(self.doing(), commit, why, workflow, &self.inputs.build.artifact_of(commit))
            }
            Some(why @ Absent::End { .. }) => errors::build_unfinished(self.doing(), commit, why),
            Some(why) => errors::build_missing(self.doing(), commit, why, workflow),
            None => {
                errors::build_missing(self.doing(), commit, "no attempt was made (build-wait-attempts is 0)", workflow)
            }
        }
    }

    fn doing(&self) -> String {
        format!("finding the build of {} ({})", self.inputs.commit.short(), self.inputs.build.workflow)
    }

    /// The run to go by; or why none of those that exist is one.
    async fn run(&self, workflow: &str) -> Result<Result<WorkflowRun, Vec<String>>, Stop> {
        if let Some(id) = self.run_id {
            let run = self.github.run(id).await.map_err(|error| self.stop(error))?;
            if let Some(planned) = self.planned.filter(|planned| planned.run.attempt != run.attempt) {
                let (was, is) = (planned.run.attempt, run.attempt);
                return Err(Stop::refused(errors::build_attempt_changed(self.doing(), id, was, is, &run.html_url)));
            }
            return match self.distrust(&run, workflow) {
                None => self.ended_well(run, None).map(Ok),
                Some(why) => Err(self.untrusted(&why, &run)),
            };
        }
        let runs = self
            .github
            .runs_for(&self.inputs.build.workflow, &self.inputs.commit)
            .await
            .map_err(|error| self.stop(error))?;
        let (trusted, others): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|run| self.distrust(run, workflow).is_none());
        let Some(newest) = trusted.first() else {
            let ignored = others
                .iter()
                .map(|run| format!("run {}, because {}", run.id, self.distrust(run, workflow).unwrap_or_default()));
            return Ok(Err(ignored.collect()));
        };
        // The list is a search index that lags behind; the run itself does not.
        let fresh = self.github.run(newest.id).await.map_err(|error| self.stop(error))?;
        if let Some(why) = self.distrust(&fresh, workflow) {
            return Err(self.untrusted(&why, &fresh));
        }
        self.ended_well(fresh, trusted.iter().skip(1).find(|run| run.succeeded())).map(Ok)
    }

    /// Why a run must not be released from, if so. `workflow` is the path of the file that builds: what a run calls itself proves nothing (SE13).
    fn distrust(&self, run: &WorkflowRun, workflow: &str) -> Option<String> {
        if !run.own_repository {
            return Some("it ran on the code of a fork".to_owned());
        }
        if run.head_sha != self.inputs.commit {
            return Some(format!("it built {}, not {}", run.head_sha, self.inputs.commit));
        }
        if run.path != workflow {
            return Some(format!("it is a run of {}, not of {workflow}", run.path));
        }
        if !trigger::builds_own_code(&run.event) {
            let events = trigger::BUILD_EVENTS.join(", ");
            return Some(format!("it was started by {}; allowed are {events}", run.event));
        }
        let Some(head) = run.head_branch.as_deref() else {
            return Some("its branch is unknown".to_owned());
        };
        if !self.may_build(head) {
            let provenance = &self.inputs.build.provenance;
            let mut branches: Vec<&str> = provenance.branches.iter().map(String::as_str).collect();
            branches.extend(
                provenance
                    .built_on
                    .iter()
                    .map(String::as_str)
                    .filter(|name| !provenance.branches.iter().any(|known| known == name)),
            );
            return Some(format!(
                "it ran on {head}; allowed are {} (release-branches, release-tags)",
                branches.join(", ")
            ));
        }
        None
    }

    /// Whether builds on this branch, or of this tag, count. GitHub does not say which of the two it is: that the commit is reachable from a
    /// branch is asked apart.
    fn may_build(&self, head: &str) -> bool {
        let provenance = &self.inputs.build.provenance;
        let mut branches = provenance.branches.iter().chain(&provenance.built_on);
        let head_branch = trigger::merge_queue_target(head).unwrap_or(head);
        branches.any(|branch| branch == head_branch)
            || provenance.tags.iter().any(|pattern| glob::matches(pattern, head, Wildcards::Anything))
    }

    /// Whether the commit is on a branch that may be released from (SE14). A tag can have a branch's name; it proves nothing here.
    async fn reachable(&self) -> Result<(), Stop> {
        let (commit, branches) = (&self.inputs.commit, &self.inputs.build.provenance.branches);
        let doing = format!("checking whether {} may be released", commit.short());
        let on = branch_of(&doing, self.github, commit, branches).await.map_err(|error| self.stop(error))?;
        on.map(drop).map_err(Stop::Final)
    }

    /// The run, unless it has ended without success: that is final (F6). `instead` succeeded before it.
    fn ended_well(&self, run: WorkflowRun, instead: Option<&WorkflowRun>) -> Result<WorkflowRun, Stop> {
        let Some(conclusion) =
            run.conclusion.as_deref().filter(|conclusion| run.finished() && *conclusion != "success")
        else {
            return Ok(run);
        };
        let instead = instead.map(|older| older.id);
        Err(Stop::refused(errors::build_failed(self.doing(), run.id, conclusion, &run.html_url, instead)))
    }

    async fn artifact(&self, run: WorkflowRun) -> Result<Look, Failure> {
        if !run.succeeded() {
            let status = run.status.unwrap_or_else(|| "in a state that GitHub does not report".to_owned());
            return Ok(Look::Absent { why: Absent::End { run: run.id, status }, run: Some(run.id) });
        }
        let name = &self.inputs.build.artifact_of(&self.inputs.commit);
        let artifacts = match self.github.artifacts(run.id, name).await {
            Ok(artifacts) => artifacts,
            Err(error) => match self.stop(error) {
                Stop::Final(failure) => return Err(*failure),
                Stop::Unanswered(error) => {
                    return Ok(Look::Absent { why: Absent::Unanswered(error), run: Some(run.id) });
                }
            },
        };
        // After a re-run the same name can occur again; the newest is of the attempt that counts, unless a certain one is asked for.
        let exact = self.inputs.build.artifact_id;
        let Some(artifact) = artifacts.into_iter().find(|artifact| exact.is_none_or(|id| artifact.id == id)) else {
            if let Some(id) = exact {
                return Err(errors::artifact_not_listed(self.doing(), id, run.id, &run.html_url));
            }
            return Ok(Look::Absent { why: Absent::Artifact { run: run.id, name: name.clone() }, run: Some(run.id) });
        };
        if let Some(planned) = self.planned {
            let (was, is) = (&planned.artifact, &artifact);
            if (was.id, &was.digest, was.size) != (is.id, &is.digest, is.size) {
                return Err(errors::build_artifact_changed(self.doing(), run.id, was.id, is.id, &run.html_url));
            }
        }
        match self.unusable(&artifact, &run) {
            // What was planned has been asked about already.
            None if self.planned.is_some() => Ok(Look::Found(Box::new(Build { run, artifact }))),
            None => match self.reachable().await {
                Ok(()) => Ok(Look::Found(Box::new(Build { run, artifact }))),
                Err(Stop::Final(failure)) => Err(*failure),
                Err(Stop::Unanswered(error)) => Ok(Look::Absent { why: Absent::Unanswered(error), run: Some(run.id) }),
            },
            Some(why) => {
                let named = Named { id: artifact.id, name, run: run.id, commit: &self.inputs.commit };
                let workflow = &self.inputs.build.workflow;
                Err(errors::artifact_unusable(self.doing(), named, why, exact.is_some(), workflow, &run.html_url))
            }
        }
    }

    /// Why an artifact is not one to release from, if so (F3, F7).
    fn unusable(&self, artifact: &Artifact, run: &WorkflowRun) -> Option<Unusable> {
        if artifact.expired {
            return Some(Unusable::Expired(artifact.expires_at.clone()));
        }
        if artifact.size == 0 {
            return Some(Unusable::Empty);
        }
        if let Some(other) = artifact.run_id.filter(|id| *id != run.id) {
            return Some(Unusable::OfRun(other));
        }
        match &artifact.head_sha {
            Some(sha) if *sha != self.inputs.commit => Some(Unusable::OfCommit(sha.clone())),
            Some(_) => None,
            None => Some(Unusable::OfNoCommit),
        }
    }

    fn untrusted(&self, why: &str, run: &WorkflowRun) -> Stop {
        Stop::refused(errors::build_untrusted(self.doing(), run.id, why, &run.html_url))
    }

    fn workflow_unknown(&self, what: &str) -> Failure {
        github::workflow_unknown(&self.doing(), &self.inputs.build.workflow, what)
    }

    fn stop_at_workflow(&self, error: GithubError) -> Stop {
        match error {
            GithubError::Unavailable(_) => Stop::Unanswered(error),
            GithubError::NotFound(what) => Stop::refused(self.workflow_unknown(&what)),
            other => Stop::refused(github_failure(&self.doing(), &other)),
        }
    }

    fn stop(&self, error: GithubError) -> Stop {
        match error {
            GithubError::Unavailable(_) => Stop::Unanswered(error),
            GithubError::NotFound(what) => Stop::refused(match self.run_id {
                Some(id) => github::build_run_unknown(&self.doing(), id),
                None => self.workflow_unknown(&what),
            }),
            other => Stop::refused(github_failure(&self.doing(), &other)),
        }
    }
}

/// The first of these branches that has the commit, or why none counts.
///
/// # Errors
/// GitHub's, where it did not answer.
pub async fn branch_of<'b>(
    doing: &str,
    github: &dyn Github,
    commit: &CommitSha,
    branches: &'b [String],
) -> Result<Result<&'b str, Box<Failure>>, GithubError> {
    let mut known = Vec::new();
    for branch in branches {
        match github.reachable(branch, commit).await? {
            Some(true) => return Ok(Ok(branch)),
            Some(false) => known.push(branch.as_str()),
            None => {}
        }
    }
    Ok(Err(Box::new(github::not_on_branch(doing, commit, branches, &known))))
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
        GithubError::Forbidden { .. } => github::forbidden(doing, cause),
        GithubError::Ambiguous(_) => github::workflow_ambiguous(doing, cause),
        GithubError::RateLimited { retry_after } => github::rate_limited(doing, cause, *retry_after),
        GithubError::Unavailable(_) => github::unavailable(doing, cause),
        GithubError::NotFound(_) => github::GITHUB_NOT_FOUND.failure(doing, cause),
        GithubError::Expired | GithubError::Unexpected(_) | GithubError::BadDownload(_) => {
            github::GITHUB_ANSWER_UNUSABLE.failure(doing, cause)
        }
    }
}
