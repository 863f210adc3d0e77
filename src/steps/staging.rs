//! What production asks of staging: is this very commit proven there, for long enough, and is staging well now? (pipeline.md, step 22)
//!
//! Three places can say something: the ledger on staging's server, the site itself, and the workflow that releases to staging. Each
//! that can be asked is asked, and all must agree. That the commit is the right one has to be proven by the ledger or by the site: a
//! green run of the workflow alone may have planned only (F8).

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    artifact::github_failure,
    context::{Deploy, Staging, Survey},
    current, ledger,
    probe::{self, Visitor},
    server,
};
use crate::{
    domain::{
        CommitSha, Failure, Sha256Digest,
        fact::{self, HealthReport, StagingSays, key},
        ledger::Line,
        trigger,
    },
    engine::{
        Done,
        step::{Io, StepResult},
    },
    ports::github::{GithubError, WorkflowRun},
};

/// Conclusions of a run that failed. `cancelled` is none of them: a run that waited in a queue ends so, too.
const FAILED: [&str; 3] = ["failure", "timed_out", "startup_failure"];

/// Step 22. Names everything that speaks against the release, not only the first thing.
pub async fn evidence(cx: &Survey, io: &Io) -> StepResult {
    let Some(staging) = &cx.staging else { return Ok(Done::skipped("this stage asks nothing of staging")) };
    let commit = &cx.source()?.commit;
    let case = gather(cx, staging, io).await?;
    let doing = format!("asking staging whether it has proven {}", commit.short());
    match case.hints.first() {
        None => {
            let text = case.summary();
            cx.found.borrow_mut().staging = Some(case.fact);
            Ok(Done::passed(text))
        }
        Some(hint) if case.fact.against.len() == 1 => {
            Err(Failure::refused(doing, case.fact.against[0].clone()).hint(hint.clone()))
        }
        Some(hint) => {
            let cause = format!("{} things speak against it: {}", case.fact.against.len(), case.fact.against[0]);
            Err(Failure::refused(doing, cause).hint(hint.clone()).details(case.fact.against))
        }
    }
}

/// Asks all three places. What speaks against the release is in the case; an error is a place that did not answer.
pub(super) async fn gather(cx: &Survey, staging: &Staging, io: &Io) -> Result<Case, Failure> {
    let commit = &cx.source()?.commit;
    let mut case = Case::new(commit, staging.inputs.stable_for.as_secs());
    let chapter = ask_ledger(staging, commit, io, &mut case).await?;
    let report = ask_site(cx, staging, commit, io, &mut case).await;
    let named = report.endpoints.iter().any(|endpoint| endpoint.answered_as.is_some());
    ask_workflow(cx, staging, commit, chapter.as_ref(), named, io, &mut case).await?;
    if chapter.is_none() && !named {
        case.against(
            format!("nothing on staging says that it runs {}", commit.short()),
            "let its health endpoint name the commit, or let the policy's staging section say how to reach its server (ssh-host, base-dir)",
        );
    }
    case.judge_age(cx.ports.clock.now());
    io.fact(key::STAGING, &case.fact);
    Ok(case)
}

const COMPARING: &str = "comparing the bundle with staging's";

/// The bundle that goes to production is the one that staging confirmed, byte for byte.
pub async fn same_bundle(cx: &Deploy, _io: &Io) -> StepResult {
    let doing = COMPARING;
    let ours = cx.made.borrow().bundle.as_ref().map(|bundle| bundle.sha256.clone());
    let ours = ours.ok_or_else(|| Failure::bug(doing, "there is no verified bundle"))?;
    let Some(proven) = cx.facts.staging.as_ref().and_then(|staging| staging.bundle_sha256.as_ref()) else {
        return Ok(Done::warned(
            "not compared: staging's ledger was not read; only the commit is known to be the same",
        ));
    };
    compare(&ours, proven)?;
    Ok(Done::passed(format!("SHA-256 {} on both", ours.short())))
}

/// A plan asks this, too: where another bundle is known to be refused, there is nothing to approve (FD3).
pub fn compare(ours: &Sha256Digest, proven: &Sha256Digest) -> Result<(), Failure> {
    if proven == ours {
        return Ok(());
    }
    let cause = format!("this one has SHA-256 {ours}, staging confirmed {proven}");
    Err(Failure::refused(COMPARING, cause).hint(
        "the commit was built again since: release that build to staging first, or name the build that staging has with build-run-id",
    ))
}

/// What is gathered for and against a release.
pub(super) struct Case {
    pub(super) fact: fact::Staging,
    /// What to do about each thing that speaks against it.
    pub(super) hints: Vec<String>,
    since: Option<DateTime<Utc>>,
}

impl Case {
    fn new(commit: &CommitSha, needed_seconds: u64) -> Self {
        let fact = fact::Staging {
            commit: commit.clone(),
            release: None,
            bundle_sha256: None,
            since: None,
            stable_seconds: None,
            needed_seconds,
            said: Vec::new(),
            against: Vec::new(),
        };
        Self { fact, hints: Vec::new(), since: None }
    }

    fn says(&mut self, place: &str, text: impl Into<String>) {
        self.fact.said.push(StagingSays { place: place.to_owned(), text: text.into() });
    }

    fn against(&mut self, cause: impl Into<String>, hint: impl Into<String>) {
        self.fact.against.push(cause.into());
        self.hints.push(hint.into());
    }

    fn judge_age(&mut self, now: DateTime<Utc>) {
        let Some(since) = self.since else {
            // Where something else speaks against it, that is the reason.
            if self.fact.against.is_empty() {
                self.against(
                    "nobody can say since when staging has it: the time that was written down cannot be read",
                    "release to staging again",
                );
            }
            return;
        };
        let (needed, age) = (self.fact.needed_seconds, (now - since).num_seconds());
        self.fact.since = Some(since.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        self.fact.stable_seconds = Some(age);
        let needed_signed = i64::try_from(needed).unwrap_or(i64::MAX);
        if age < needed_signed {
            let ready = TimeDelta::try_seconds(needed_signed).and_then(|needed| since.checked_add_signed(needed));
            let ready =
                ready.map_or_else(|| "later".to_owned(), |at| format!("at {}", at.format("%Y-%m-%d %H:%M:%S UTC")));
            self.against(
                format!(
                    "it was confirmed on staging {} ago; staging-stable-for asks for {}",
                    lasting(age),
                    lasting(needed_signed)
                ),
                format!("release again {ready}"),
            );
        }
    }

    pub(super) fn summary(&self) -> String {
        let age = self.fact.stable_seconds.map(|age| format!(", confirmed {} ago", lasting(age))).unwrap_or_default();
        let places: Vec<&str> = self.fact.said.iter().map(|said| said.place.as_str()).collect();
        let release =
            self.fact.release.as_ref().map_or_else(|| self.fact.commit.short().to_owned(), ToString::to_string);
        format!("{release}{age}; healthy now; asked: {}", places.join(", "))
    }
}

/// "75 s", "12 min", "3 h", "2 days"
fn lasting(seconds: i64) -> String {
    match seconds {
        ..0 => "less than no time (a clock is wrong)".to_owned(),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The release that staging's ledger has as confirmed last, and the runs that its lines tell of.
struct Chapter {
    run: Option<u64>,
    /// Runs of later lines: what became of them is known.
    later: Vec<u64>,
}

async fn ask_ledger(
    staging: &Staging,
    commit: &CommitSha,
    io: &Io,
    case: &mut Case,
) -> Result<Option<Chapter>, Failure> {
    const PLACE: &str = "the ledger on its server";
    let (Some(shell), Some(reached)) = (&staging.shell, &staging.inputs.server) else {
        io.line("the policy does not say how to reach staging's server: its ledger is not asked");
        return Ok(None);
    };
    let book = ledger::read(&**shell, io, &reached.layout).await?;
    let live = current::read(&**shell, io, &reached.layout).await?;
    if let Some(found) = &book.broken {
        case.against(
            format!("staging's ledger is broken: {found}"),
            "docs/recovery.md says what can still be trusted; release to staging again",
        );
    }
    let environment = staging.inputs.environment.as_str();
    let lines: Vec<&Line> = book.lines.iter().filter(|line| line.environment == environment).collect();
    let Some(at) = lines.iter().rposition(|line| line.outcome == "live") else {
        case.says(PLACE, "no confirmed release");
        case.against("staging's ledger knows no confirmed release", "release this commit to staging first");
        return Ok(None);
    };
    let (newest, later) = (lines[at], &lines[at + 1..]);
    case.says(PLACE, format!("{} was confirmed at {}", newest.release, newest.at));
    case.fact.release = Some(newest.release.clone());
    case.fact.bundle_sha256.clone_from(&newest.bundle_sha256);
    case.since = DateTime::parse_from_rfc3339(&newest.at).ok().map(|at| at.to_utc());
    if newest.sha != *commit {
        case.against(
            format!(
                "staging's last confirmed release is {} of {}, not of {commit}",
                newest.release,
                newest.sha.short()
            ),
            "release this commit to staging first, or release the commit that staging has proven",
        );
    }
    let live = live.as_deref().map_or("nothing", server::last_part);
    if live != newest.release.as_str() {
        case.against(
            format!("staging's `current` points to {live}, its last confirmed release is {}", newest.release),
            "somebody changed staging by hand, or a run died there: release to staging again",
        );
    }
    for line in later {
        let run = line.run.as_deref().map(|url| format!(" ({url})")).unwrap_or_default();
        let text = format!("{} ended in `{}` on staging at {}{run}", line.release, line.outcome, line.at);
        // An attempt of another commit that never reached the site says nothing of this one.
        if line.sha == *commit || !matches!(line.outcome.as_str(), "refused" | "failed") {
            case.against(format!("{text}, after this one was confirmed"), "find out why, and release to staging again");
        } else {
            io.line(format!("{text}; it was of {} and never went live there", line.sha.short()));
        }
    }
    let id = |line: &Line| line.run.as_deref()?.rsplit('/').next()?.parse().ok();
    Ok(Some(Chapter { run: id(newest), later: later.iter().filter_map(|line| id(line)).collect() }))
}

async fn ask_site(cx: &Survey, staging: &Staging, commit: &CommitSha, io: &Io, case: &mut Case) -> HealthReport {
    let visitor = Visitor { site: &*staging.site, clock: &*cx.ports.clock, health: &staging.inputs.health };
    let (report, verdict) = probe::proven(visitor, commit, io).await;
    let score = report.score();
    let answered = report.endpoints.iter().find_map(|endpoint| endpoint.answered_as.as_deref());
    let named = answered.map_or_else(|| "it names no commit".to_owned(), |name| format!("answered as {name}"));
    case.says("its site", format!("{}/{} healthy, {named}", score.passed, score.total));
    if let Err(failure) = verdict {
        let hint = failure.hint.as_deref().unwrap_or("make it healthy first");
        case.against(format!("staging is not well now: {}", failure.cause), format!("on staging: {hint}"));
    }
    report
}

async fn ask_workflow(
    cx: &Survey,
    staging: &Staging,
    commit: &CommitSha,
    chapter: Option<&Chapter>,
    named: bool,
    io: &Io,
    case: &mut Case,
) -> Result<(), Failure> {
    const PLACE: &str = "its workflow";
    let workflow = &staging.inputs.workflow;
    let runs = match cx.ports.github()?.recent_runs(workflow).await {
        Ok(runs) => runs,
        Err(GithubError::NotFound(what)) if chapter.is_some() => {
            io.line(format!("there is no workflow `{workflow}` ({what}); staging's ledger has to be enough"));
            return Ok(());
        }
        Err(GithubError::NotFound(what)) => {
            case.against(
                format!("there is no workflow `{workflow}` that releases to staging ({what})"),
                "name it in staging-workflow, by file name or by name",
            );
            return Ok(());
        }
        Err(error) => return Err(github_failure(&format!("asking for the runs of {workflow}"), &error)),
    };
    // This very run may be one of that workflow's. What strangers can start says nothing of staging, in either direction.
    let own =
        |run: &WorkflowRun| run.own_repository && (run.event == "workflow_run" || !trigger::open_to_others(&run.event));
    let runs: Vec<&WorkflowRun> =
        runs.iter().filter(|run| run.finished() && Some(run.id) != cx.inputs.run.id && own(run)).collect();
    let proof = match chapter {
        Some(Chapter { run: Some(id), .. }) => runs.iter().find(|run| run.id == *id).copied(),
        Some(Chapter { run: None, .. }) => None,
        // What a run released is not written on it: one that a build started has the head of the default branch as its commit.
        None => runs.iter().find(|run| run.succeeded() && (named || run.head_sha == *commit)).copied(),
    };
    match proof {
        Some(run) if run.succeeded() => {
            case.says(PLACE, format!("run {} succeeded", run.id));
            if chapter.is_none() {
                case.since = run.updated_at;
            }
        }
        Some(run) => case.against(
            format!("the run that released it to staging ended in {}: {}", ending(run), run.html_url),
            "find out what failed after the release, and release to staging again",
        ),
        None if chapter.is_some() => {
            io.line(format!("the run that released it to staging is not among the last ones of {workflow}"));
        }
        None => case.against(
            format!("no run of {workflow} has succeeded for {}", commit.short()),
            "release this commit to staging first; staging-workflow names the workflow that does it",
        ),
    }
    let explained = |run: &WorkflowRun| {
        chapter.is_some_and(|chapter| chapter.run == Some(run.id) || chapter.later.contains(&run.id))
            || proof.is_some_and(|proof| proof.id == run.id)
    };
    for run in runs.iter().filter(|run| !explained(run)) {
        let failed = run.conclusion.as_deref().is_some_and(|conclusion| FAILED.contains(&conclusion));
        let since = case.since.zip(run.updated_at).is_some_and(|(since, ended)| ended > since);
        if failed && since && chapter.is_some() {
            // Whoever takes the deploy lock writes a line: without one the run never had it, and cannot have touched the site (SE10).
            io.line(format!(
                "a run of {workflow} has ended in {} since, and staging's ledger has no line of it: it never took the deploy lock ({})",
                ending(run),
                run.html_url
            ));
        } else if failed && since {
            case.against(
                format!("a run of {workflow} has ended in {} since: {}", ending(run), run.html_url),
                "find out why, and release to staging again",
            );
        }
    }
    Ok(())
}

fn ending(run: &WorkflowRun) -> String {
    run.conclusion.as_deref().unwrap_or("nothing that GitHub tells").replace('_', " ")
}
