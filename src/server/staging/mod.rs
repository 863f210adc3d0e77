//! The evidence of staging for a release to production: this commit was confirmed there for long enough, and staging is healthy.
//!
//! Three sources are read: the ledger on staging's server, the site itself, and the workflow that releases to staging. All that can be
//! read must agree. The ledger or the site must prove the commit: a successful run of the workflow alone may have been a plan (F8).

use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    activation::current,
    health::probe::{self, Quotes, Visitor},
    ledger, survey,
};
use crate::{
    bundle::artifact::{self, github_failure},
    config::typed,
    context::{Deploy, Staging, Survey},
    domain::{
        CommitSha, Failure, ReleaseName, Sha256Digest, format,
        ledger::{Built, Line},
        record::{self, HealthReport, SiteStatus, StagingSays, key},
        trigger,
    },
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors::{github::commit_unknown, staging as errors},
    github::{Difference, GithubError, WorkflowRun},
};

/// Conclusions of a run that failed. `cancelled` is none of them: a run that waited in a queue ends so, too.
const FAILED: [&str; 3] = ["failure", "timed_out", "startup_failure"];

/// Step 22. Names everything that prevents the release, not only the first thing.
pub async fn evidence(cx: &Survey, io: &Io) -> StepResult {
    let Some(staging) = &cx.staging else { return Ok(Done::skipped("this stage needs no evidence of staging")) };
    artifact::tell_target(cx, io)?;
    let doing = format!("checking that staging has confirmed {}", cx.asked_for()?.commit.short());
    let case = gather(cx, staging, io).await?;
    match case.against.first() {
        None => {
            let text = case.summary();
            cx.state.borrow_mut().staging = Some(case.record);
            Ok(Done::passed(text))
        }
        Some(first) if case.against.len() == 1 => Err(Failure { doing, ..first.clone() }),
        Some(first) => {
            let cause = format!("{} problems found, first: {}", case.record.against.len(), first.cause);
            Err(Failure { doing, cause, ..first.clone() }.details(case.record.against))
        }
    }
}

/// Asks all three places. What speaks against the release is in the case; an error is a place that did not answer.
///
/// The commit that staging confirmed is the one that is released from here on, where production was asked for another one with the same tree.
pub(crate) async fn gather(cx: &Survey, staging: &Staging, io: &Io) -> Result<Case, Failure> {
    let asked_for = cx.asked_for()?;
    let mut case = Case::new(&asked_for.commit, staging.inputs.stable_for.as_secs());
    let proven = ask_ledger(staging, &asked_for.commit, io, &mut case).await?;
    let confirmed = match &proven {
        Some(proven) => proven.commit.clone(),
        None if staging.shell.is_none() => named_by_site(cx, staging, &asked_for.commit).await?,
        None => asked_for.commit.clone(),
    };
    if confirmed != asked_for.commit {
        compare_commits(cx, staging, &confirmed, &mut case).await?;
    }
    case.record.commit = confirmed;
    let commit = case.record.commit.clone();
    let report = ask_site(cx, staging, &commit, io, &mut case).await;
    let named = report.endpoints.iter().any(|endpoint| endpoint.answered_as.is_some());
    ask_workflow(cx, staging, &commit, proven.as_ref(), named, io, &mut case).await?;
    if proven.is_none() && !named {
        case.against(errors::commit_unknown(&commit));
    }
    case.judge_age(cx.ports.clock.now());
    let source = confirmed_source(cx, staging, &case.record, proven.and_then(|proven| proven.build), io).await?;
    let mut found = cx.state.borrow_mut();
    (found.confirmed, found.staging_answered) = (source.map(Rc::new), true);
    drop(found);
    io.record(key::STAGING, &case.record);
    Ok(case)
}

/// The commit that staging's site names, where it is another one than was asked for and GitHub knows it.
async fn named_by_site(cx: &Survey, staging: &Staging, asked_for: &CommitSha) -> Result<CommitSha, Failure> {
    let round = probe::round(&*staging.site, &staging.inputs.health, &*cx.ports.clock, None, Quotes::Plain).await;
    let named = round.endpoints.into_iter().find_map(|endpoint| endpoint.answered_as);
    let Some(other) = named.filter(|named| !probe::names(named, asked_for)) else { return Ok(asked_for.clone()) };
    let sha =
        other.parse::<ReleaseName>().map_or_else(|_| other.to_ascii_lowercase(), |name| name.short_sha().to_owned());
    match cx.ports.github()?.tree_of(&sha).await {
        Ok(described) => Ok(described.commit),
        // What the site names is no commit of this repository: the site is told to be another one's when it is asked.
        Err(GithubError::NotFound(_)) => Ok(asked_for.clone()),
        Err(error) => {
            Err(github_failure(&format!("reading the commit {sha}, which staging's site names, from GitHub"), &error))
        }
    }
}

/// Whether the commit that was asked for has the files of the one that staging confirmed, and is on a release branch as that one is.
async fn compare_commits(
    cx: &Survey,
    staging: &Staging,
    confirmed: &CommitSha,
    case: &mut Case,
) -> Result<(), Failure> {
    let asked_for = cx.asked_for()?;
    let (github, commit) = (cx.ports.github()?, &asked_for.commit);
    let doing = format!("comparing {} with {}, which staging confirmed", commit.short(), confirmed.short());
    let failed = |error: GithubError| github_failure(&doing, &error);
    let release = match &case.record.release {
        Some(release) => format!("staging's last confirmed release is {release} of {}", confirmed.short()),
        None => format!("staging's site runs {}", confirmed.short()),
    };
    let tree = match github.tree_of(commit.as_str()).await {
        Ok(described) => described.tree,
        Err(GithubError::NotFound(_)) => {
            return Err(commit_unknown(&doing, commit));
        }
        Err(error) => return Err(failed(error)),
    };
    match github.tree_of(confirmed.as_str()).await {
        Ok(described) if described.tree == tree => {}
        Ok(_) => {
            let difference = github.difference(confirmed, commit).await.map_err(failed)?;
            case.against(errors::other_files(&release, commit, &describe(&difference)));
            return Ok(());
        }
        Err(GithubError::NotFound(_)) => {
            case.against(errors::other_commit_unknown(&release, commit));
            return Ok(());
        }
        Err(error) => return Err(failed(error)),
    }
    let production = &asked_for.build.provenance.branches;
    let branch = artifact::branch_of(&doing, github, commit, production).await.map_err(failed)?;
    let on_staging = branches(staging, asked_for);
    let confirmed_on = artifact::branch_of(&doing, github, confirmed, &on_staging).await.map_err(failed)?;
    match (branch, confirmed_on) {
        (Ok(branch), Ok(confirmed_on)) => {
            case.record.asked_for = Some(record::SameTree {
                commit: commit.clone(),
                tree,
                branch: branch.to_owned(),
                confirmed_on: confirmed_on.to_owned(),
            });
        }
        (branch, confirmed_on) => {
            for failure in branch.err().into_iter().chain(confirmed_on.err()) {
                case.against(*failure);
            }
        }
    }
    Ok(())
}

/// What the bundle's commit may be on: what staging is released from, and what production is.
fn branches(staging: &Staging, source: &typed::Source) -> Vec<String> {
    let (ours, theirs) = (&source.build.provenance.branches, &staging.inputs.branches);
    theirs.iter().chain(ours.iter().filter(|branch| !theirs.contains(branch))).cloned().collect()
}

/// How two commits differ, in a line.
fn describe(difference: &Difference) -> String {
    const NAMED: usize = 5;
    let several = |what: &str, count: u64, named: &[String]| {
        let shown = named.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if named.len() > NAMED { ", ..." } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {what}{plural} ({shown}{more})"))
    };
    let lacks = (difference.behind > 0).then(|| format!("it lacks {} of staging's commits", difference.behind));
    let files = several("file", difference.files.len() as u64, &difference.files);
    let parts = [several("further commit", difference.ahead, &difference.commits), lacks, files];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let page = difference.page.as_ref().map(|page| format!("; see {page}")).unwrap_or_default();
    format!("{}{page}", parts.join("; "))
}

/// What is released, where that is not simply what was asked for: the confirmed commit, from the very build that staging confirmed.
async fn confirmed_source(
    cx: &Survey,
    staging: &Staging,
    proven: &record::Staging,
    built: Option<Built>,
    io: &Io,
) -> Result<Option<typed::Source>, Failure> {
    let asked_for = cx.asked_for()?;
    let other = proven.asked_for.is_some();
    if !other && (built.is_none() || proven.commit != asked_for.commit) {
        return Ok(None);
    }
    let mut source = typed::Source { commit: proven.commit.clone(), ..(**asked_for).clone() };
    let named = source.build.run_id;
    source.build.run_id = match (built, named) {
        (Some(built), _) => Some(built.run),
        // The run that started this one, or that an input names: it counts if it built the confirmed commit.
        (None, Some(id)) => {
            let doing = format!("reading build run {id} from GitHub");
            let run = cx.ports.github()?.run(id).await.map_err(|error| github_failure(&doing, &error))?;
            (run.head_sha == source.commit).then_some(id)
        }
        (None, None) => None,
    };
    source.build.artifact_id = built.map(|built| built.artifact);
    if let (Some(named), Some(taken)) = (named, source.build.run_id.filter(|taken| Some(*taken) != named)) {
        io.line(format!("build run {named} is not used: staging confirmed what build run {taken} made"));
    }
    if other {
        let provenance = &mut source.build.provenance;
        provenance.branches = branches(staging, asked_for);
        io.record(key::SHA, &source.commit);
    }
    Ok(Some(source))
}

const COMPARING: &str = "comparing the bundle with staging's";

/// The bundle that goes to production is the one that staging confirmed, byte for byte.
pub async fn same_bundle(cx: &Deploy, _io: &Io) -> StepResult {
    let doing = COMPARING;
    let ours = cx.state.borrow().bundle.as_ref().map(|bundle| bundle.sha256.clone());
    let ours = ours.ok_or_else(|| Failure::bug(doing, "there is no verified bundle"))?;
    let staging = cx.plan.staging.as_ref();
    let Some(proven) = staging.and_then(|staging| staging.bundle_sha256.as_ref()) else {
        let same = match staging.and_then(record::Staging::equality) {
            Some(equality) => equality,
            None => "only the commit was compared".to_owned(),
        };
        return Ok(Done::warned(format!("bundles not compared, because staging's ledger was not read; {same}")));
    };
    compare(&ours, proven)?;
    Ok(Done::passed(format!("SHA-256 {} on both", ours.short())))
}

/// What the plan says of it.
pub fn bundle_preview(cx: &Deploy) -> Vec<String> {
    let Some(staging) = &cx.plan.staging else { return Vec::new() };
    let bundle = staging.bundle_sha256.as_ref().map_or_else(
        || "staging's ledger was not read: the bundle is not compared with the one that staging confirmed".to_owned(),
        |sha256| format!("staging confirmed SHA-256 {sha256}"),
    );
    staging.equality().into_iter().chain([bundle]).collect()
}

/// A plan asks this, too: where another bundle is known to be refused, there is nothing to approve (FD3).
pub fn compare(ours: &Sha256Digest, proven: &Sha256Digest) -> Result<(), Failure> {
    if proven == ours {
        return Ok(());
    }
    Err(errors::bundle_differs(COMPARING, ours, proven))
}

/// What is gathered for and against a release.
pub(crate) struct Case {
    pub(crate) record: record::Staging,
    /// What speaks against it, with what to do about it.
    pub(crate) against: Vec<Failure>,
    since: Option<DateTime<Utc>>,
}

impl Case {
    fn new(commit: &CommitSha, needed_seconds: u64) -> Self {
        let record = record::Staging {
            commit: commit.clone(),
            asked_for: None,
            release: None,
            bundle_sha256: None,
            since: None,
            stable_seconds: None,
            needed_seconds,
            measured: None,
            said: Vec::new(),
            against: Vec::new(),
        };
        Self { record, against: Vec::new(), since: None }
    }

    fn says(&mut self, place: &str, text: impl Into<String>) {
        self.record.said.push(StagingSays { place: place.to_owned(), text: text.into() });
    }

    fn against(&mut self, failure: Failure) {
        self.record.against.push(failure.cause.clone());
        self.against.push(failure);
    }

    fn judge_age(&mut self, now: DateTime<Utc>) {
        let Some(since) = self.since else {
            // Where something else speaks against it, that is the reason.
            if self.record.against.is_empty() {
                self.against(errors::time_unknown());
            }
            return;
        };
        let (needed, age) = (self.record.needed_seconds, (now - since).num_seconds());
        self.record.since = Some(since.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        self.record.stable_seconds = Some(age);
        let needed_signed = i64::try_from(needed).unwrap_or(i64::MAX);
        if age < needed_signed {
            let ready = TimeDelta::try_seconds(needed_signed).and_then(|needed| since.checked_add_signed(needed));
            let ready =
                ready.map_or_else(|| "later".to_owned(), |at| format!("at {}", at.format("%Y-%m-%d %H:%M:%S UTC")));
            self.against(errors::too_recent(&format::age(age), &format::age(needed_signed), &ready));
        }
    }

    pub(crate) fn summary(&self) -> String {
        let age =
            self.record.stable_seconds.map(|age| format!(", confirmed {} ago", format::age(age))).unwrap_or_default();
        let places: Vec<&str> = self.record.said.iter().map(|said| said.place.as_str()).collect();
        let release =
            self.record.release.as_ref().map_or_else(|| self.record.commit.short().to_owned(), ToString::to_string);
        let equality = self.record.equality().map(|equality| format!("{equality}; ")).unwrap_or_default();
        format!("{equality}{release}{age}; healthy now; read: {}", places.join(", "))
    }
}

/// The release that staging's ledger has as confirmed last, and the runs that its lines tell of.
struct Confirmed {
    commit: CommitSha,
    build: Option<Built>,
    run: Option<u64>,
    /// Runs of later lines: what became of them is known.
    later: Vec<u64>,
}

async fn ask_ledger(
    staging: &Staging,
    commit: &CommitSha,
    io: &Io,
    case: &mut Case,
) -> Result<Option<Confirmed>, Failure> {
    const PLACE: &str = "the ledger on its server";
    let (Some(shell), Some(reached)) = (&staging.shell, &staging.inputs.server) else {
        io.line("the policy does not say how to reach staging's server: its ledger is not read");
        return Ok(None);
    };
    let history = ledger::read(&**shell, io, &reached.layout).await?;
    let live = current::read(&**shell, io, &reached.layout).await?;
    if let Some(found) = &history.broken {
        case.against(errors::ledger_broken(&found.to_string()));
    }
    let environment = staging.inputs.environment.as_str();
    let lines: Vec<&Line> = history.lines.iter().filter(|line| line.environment == environment).collect();
    case.record.measured = Some(lines.iter().flat_map(|line| line.measured.iter().cloned()).collect());
    let Some(at) = lines.iter().rposition(|line| line.outcome == "live") else {
        case.says(PLACE, "no confirmed release");
        case.against(errors::no_confirmed_release());
        return Ok(None);
    };
    let (newest, later) = (lines[at], &lines[at + 1..]);
    case.says(PLACE, format!("{} was confirmed at {}", newest.release, newest.at));
    case.record.release = Some(newest.release.clone());
    // A rollback names no build, and the line of an interrupted run no bundle: then those of the same release count that do.
    let before: Vec<&&Line> = lines[..=at].iter().rev().filter(|line| line.release == newest.release).collect();
    let bundle = before.iter().find_map(|line| line.bundle_sha256.clone());
    let build = before.iter().filter(|line| line.bundle_sha256 == bundle).find_map(|line| line.build);
    if bundle.is_none() {
        case.against(errors::bundle_unknown(&newest.release));
    }
    case.record.bundle_sha256 = bundle;
    case.since = DateTime::parse_from_rfc3339(&newest.at).ok().map(|at| at.to_utc());
    let live = live.as_deref().map_or("nothing", survey::last_part);
    if live != newest.release.as_str() {
        case.against(errors::current_moved(live, &newest.release));
    }
    for line in later {
        let run = line.run.as_deref().map(|url| format!(" ({url})")).unwrap_or_default();
        let text = format!("{} ended in `{}` on staging at {}{run}", line.release, line.outcome, line.at);
        // An attempt of another commit that never reached the site says nothing of this one.
        if line.sha == newest.sha || line.sha == *commit || !matches!(line.outcome.as_str(), "refused" | "failed") {
            case.against(errors::later_run_failed(&text));
        } else {
            io.line(format!("{text}; it was of {} and was never activated there", line.sha.short()));
        }
    }
    let id = |line: &Line| line.run.as_deref()?.rsplit('/').next()?.parse().ok();
    Ok(Some(Confirmed {
        commit: newest.sha.clone(),
        build,
        run: id(newest),
        later: later.iter().filter_map(|line| id(line)).collect(),
    }))
}

async fn ask_site(cx: &Survey, staging: &Staging, commit: &CommitSha, io: &Io, case: &mut Case) -> HealthReport {
    let (site, clock, health) = (&*staging.site, &*cx.ports.clock, &staging.inputs.health);
    let layout = staging.inputs.server.as_ref().map(|server| &server.layout);
    let visitor = Visitor { site, clock, health, home_before: None, layout, quotes: Quotes::Plain };
    let (report, verdict) = probe::proven(visitor, commit, io).await;
    let score = report.score();
    let answered = report.endpoints.iter().find_map(|endpoint| endpoint.answered_as.as_deref());
    let named = answered.map_or_else(|| "it names no commit".to_owned(), |name| format!("answered as {name}"));
    case.says("its site", format!("{}/{} healthy, {named}", score.passed, score.total));
    if let Err(failure) = verdict {
        case.against(errors::unhealthy(&failure, report.standing() != SiteStatus::NotAsked));
    }
    report
}

async fn ask_workflow(
    cx: &Survey,
    staging: &Staging,
    commit: &CommitSha,
    confirmed: Option<&Confirmed>,
    named: bool,
    io: &Io,
    case: &mut Case,
) -> Result<(), Failure> {
    const PLACE: &str = "its workflow";
    let workflow = &staging.inputs.workflow;
    let runs = match cx.ports.github()?.recent_runs(workflow).await {
        Ok(runs) => runs,
        Err(GithubError::NotFound(what)) if confirmed.is_some() => {
            io.line(format!("there is no workflow `{workflow}` ({what}); only staging's ledger is read"));
            return Ok(());
        }
        Err(GithubError::NotFound(what)) => {
            case.against(errors::workflow_unknown(workflow, &what));
            return Ok(());
        }
        Err(error) => return Err(github_failure(&format!("reading the runs of {workflow} from GitHub"), &error)),
    };
    // This very run may be one of that workflow's. What strangers can start says nothing of staging, in either direction.
    let own =
        |run: &WorkflowRun| run.own_repository && (run.event == "workflow_run" || !trigger::open_to_others(&run.event));
    let runs: Vec<&WorkflowRun> =
        runs.iter().filter(|run| run.finished() && Some(run.id) != cx.inputs.run.id && own(run)).collect();
    let proof = match confirmed {
        Some(Confirmed { run: Some(id), .. }) => runs.iter().find(|run| run.id == *id).copied(),
        Some(Confirmed { run: None, .. }) => None,
        // What a run released is not written on it: one that a build started has the head of the default branch as its commit.
        None => runs.iter().find(|run| run.succeeded() && (named || run.head_sha == *commit)).copied(),
    };
    match proof {
        Some(run) if run.succeeded() => {
            case.says(PLACE, format!("run {} succeeded", run.id));
            if confirmed.is_none() {
                case.since = run.updated_at;
            }
        }
        Some(run) => case.against(errors::releasing_run_failed(&ending(run), &run.html_url)),
        None if confirmed.is_some() => {
            io.line(format!("the run that released it to staging is not among the latest runs of {workflow}"));
        }
        None => case.against(errors::no_successful_run(workflow, commit)),
    }
    let explained = |run: &WorkflowRun| {
        confirmed.is_some_and(|confirmed| confirmed.run == Some(run.id) || confirmed.later.contains(&run.id))
            || proof.is_some_and(|proof| proof.id == run.id)
    };
    for run in runs.iter().filter(|run| !explained(run)) {
        let failed = run.conclusion.as_deref().is_some_and(|conclusion| FAILED.contains(&conclusion));
        let since = case.since.zip(run.updated_at).is_some_and(|(since, ended)| ended > since);
        if failed && since && confirmed.is_some() {
            // Every holder of the deploy lock writes a line: a run without one never changed the site (SE10).
            io.line(format!(
                "a later run of {workflow} ended in {}, and staging's ledger has no line of it: it never took the deploy lock ({})",
                ending(run),
                run.html_url
            ));
        } else if failed && since {
            case.against(errors::run_failed_since(workflow, &ending(run), &run.html_url));
        }
    }
    Ok(())
}

fn ending(run: &WorkflowRun) -> String {
    run.conclusion.as_deref().unwrap_or("no result on GitHub").replace('_', " ")
}
