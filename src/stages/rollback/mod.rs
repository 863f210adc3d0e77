//! `rollback`: chooses the target release, compares it with its tree digest, and names what the rollback does not restore.
//!
//! From the switch on it is a release like any other with another target (F84): the same rows, the same undo, the same verifier.

pub mod table;

pub use self::table::table;

use std::rc::Rc;

use super::shared::approval;
use crate::{
    config::typed::Target,
    context::{Deploy, ReleasePlan, RunState, Survey, SurveyState},
    domain::{
        Failure, Move, ReleaseName, Sha256Digest, StepId,
        bundle::Manifest,
        layout::named,
        ledger::{Attempt, Line, ReleaseStatus},
        record,
        release_status::{Candidate, ReleaseStatuses},
        row,
        schema::Verdict,
    },
    engine::{
        Decided, Decision, Done, Events,
        event::Body,
        step::{Act, Io, Local, StepResult},
    },
    errors,
    server::{
        ledger::{self, History},
        release_dir::tree_digest,
    },
};

/// Chooses the target release: the named one, or the last confirmed one.
pub struct Choose {
    pub named: Option<ReleaseName>,
}

impl Act<Survey> for Choose {
    fn act<'a>(&'a self, cx: &'a Survey, io: &'a Io) -> Local<'a, StepResult> {
        Box::pin(choose(self.named.as_ref(), cx, io))
    }
}

async fn choose(wanted: Option<&ReleaseName>, cx: &Survey, io: &Io) -> StepResult {
    let doing = "choosing the target release";
    let history = ledger::look(cx, io).await?;
    doubts(&history, cx, io);
    let standings = history.standings(&cx.inputs.environment);
    let (live, there) = {
        let found = cx.state.borrow();
        let server = found.server.as_ref().ok_or_else(|| Failure::bug(doing, "the server was not surveyed"))?;
        (server.current.as_deref().and_then(named), server.releases.clone())
    };
    let candidates = match wanted {
        Some(wanted) => {
            let candidate = standings
                .candidate(wanted, live.as_ref(), &there)
                .map_err(|unfit| errors::rollback::unfit(&format!("rolling back to {wanted}"), wanted, unfit))?;
            vec![candidate]
        }
        None => standings.choices(live.as_ref(), &there).0,
    };
    let mut passed_over = Vec::new();
    for candidate in candidates {
        let tree = tree_digest::read(&*cx.ports.shell, io, &cx.inputs.layout.release(&candidate.release)).await?;
        if tree.sha256 == candidate.tree {
            others(&standings, live.as_ref(), &there, &candidate, &passed_over, io);
            works_on_schema(doing, &history, &candidate, &cx.inputs, io)?;
            let text = format!("{}, confirmed {}", candidate.release, candidate.confirmed_at);
            tell(&candidate, &history, cx, io);
            cx.state.borrow_mut().chosen = Some(candidate);
            return Ok(Done::passed(text));
        }
        if wanted.is_some() {
            return Err(errors::rollback::tree_changed(&candidate, &tree.sha256));
        }
        let changed = errors::rollback::changed(&candidate, &tree.sha256);
        io.warning(errors::rollback::passed_over(&candidate, &changed));
        passed_over.push((candidate.release, changed));
    }
    let unfit = standings.choices(live.as_ref(), &there).1;
    let reasons = passed_over.iter().map(|(release, why)| (release.clone(), why.clone()));
    let reasons = reasons.chain(unfit.into_iter().map(|(release, why)| (release, why.to_string())));
    Err(errors::rollback::no_target(doing, reasons))
}

/// What makes the ledger less than sure.
fn doubts(history: &History, cx: &Survey, io: &Io) {
    let ledger = cx.inputs.layout.ledger();
    if let Some(broken) = &history.broken {
        io.warning(errors::rollback::ledger_chain_broken(broken));
    }
    if history.unreadable > 0 {
        io.warning(errors::rollback::ledger_lines_unreadable(&counted(history.unreadable, "line"), &ledger));
    }
}

/// Why the other releases are not the target, for the log.
fn others(
    standings: &ReleaseStatuses,
    live: Option<&ReleaseName>,
    there: &[ReleaseName],
    chosen: &Candidate,
    passed_over: &[(ReleaseName, String)],
    io: &Io,
) {
    let (fit, unfit) = standings.choices(live, there);
    io.line(format!("{}: confirmed {}, its tree digest matches", chosen.release, chosen.confirmed_at));
    for candidate in fit.iter().filter(|other| other.release != chosen.release) {
        let why = passed_over.iter().find(|(release, _)| *release == candidate.release).map(|(_, why)| why.clone());
        let why = why.unwrap_or_else(|| format!("confirmed {}, not selected", candidate.confirmed_at));
        io.line(format!("{}: {why}", candidate.release));
    }
    for (release, why) in unfit.iter().filter(|(release, _)| *release != chosen.release) {
        io.line(format!("{release}: {why}"));
    }
}

/// What the ledger says of the target and the present schema.
#[derive(Debug, PartialEq, Eq)]
enum OnSchema {
    /// It was healthy there, or nothing says otherwise.
    NotKnownToFail,
    Fails(errors::schema::Known),
    /// A release that was live after it fails.
    LaterOneFails(errors::schema::Known),
}

/// The verdicts since the target was confirmed last. Each is of the release that was live then; of one release the last counts.
fn on_schema(history: &History, candidate: &Candidate, environment: &str) -> OnSchema {
    let ours = history.lines.iter().filter(|line| line.environment == environment);
    let confirmed =
        |line: &&Line| line.release == candidate.release && line.made_of_it() == Some(ReleaseStatus::Confirmed);
    let last = ours.clone().filter(confirmed).count();
    let mut found = OnSchema::NotKnownToFail;
    let mut seen = 0;
    for line in ours {
        seen += usize::from(confirmed(&line));
        if seen < last || confirmed(&line) {
            continue;
        }
        let (Some(schema), Some(asked)) = (&line.schema, line.from.as_deref().and_then(named)) else { continue };
        let of_target = asked == candidate.release;
        match schema.verdict {
            Verdict::Healthy if of_target => found = OnSchema::NotKnownToFail,
            Verdict::Unhealthy => {
                let known = errors::schema::Known {
                    release: asked,
                    problem: schema.why.clone().unwrap_or_default(),
                    at: line.at.clone(),
                    migrations: line.migrations.clone().unwrap_or_default(),
                    asked_by: line.release.clone(),
                };
                found = match (of_target, found) {
                    (true, _) => OnSchema::Fails(known),
                    (false, OnSchema::Fails(of_target)) => OnSchema::Fails(of_target),
                    (false, _) => OnSchema::LaterOneFails(known),
                };
            }
            Verdict::Healthy | Verdict::NotAsked => {}
        }
    }
    found
}

/// Refuses a target whose code is known to fail on the present schema, unless this run insists.
fn works_on_schema(
    doing: &str,
    history: &History,
    candidate: &Candidate,
    inputs: &Target,
    io: &Io,
) -> Result<(), Failure> {
    match on_schema(history, candidate, inputs.environment.as_str()) {
        OnSchema::NotKnownToFail => {}
        OnSchema::Fails(known) if inputs.ignore_schema_verdict => io.warning(errors::schema::ignored(&known)),
        OnSchema::Fails(known) => return Err(errors::schema::refused(doing, &known, &inputs.layout.backups())),
        OnSchema::LaterOneFails(known) => io.warning(errors::schema::unknown(&candidate.release, &known)),
    }
    Ok(())
}

/// Records the target, and what the rollback does not restore.
fn tell(candidate: &Candidate, history: &History, cx: &Survey, io: &Io) {
    io.record(record::key::SHA, &candidate.commit);
    io.record(record::key::TREE, &candidate.tree);
    let since = since(history, candidate, cx.inputs.environment.as_str());
    if !since.ran.is_empty() {
        let count = counted(since.ran.len(), "migration");
        io.warning(errors::rollback::migrations_stay(&count, &candidate.release, &since.ran));
        io.record(record::key::MIGRATIONS_STAY, record::Migrations { ran: since.ran, measured: Vec::new() });
    }
    if since.unknown > 0 {
        io.warning(errors::rollback::migrations_unknown(&candidate.release, &counted(since.unknown, "attempt")));
    }
}

fn counted(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Since {
    ran: Vec<String>,
    /// Attempts that do not say.
    unknown: usize,
}

/// The migrations of every attempt after the one that made the release, whatever its outcome: migrations are never rolled back (F63).
fn since(history: &History, candidate: &Candidate, environment: &str) -> Since {
    let mut since = Since::default();
    let ours = history.lines.iter().filter(|line| line.environment == environment);
    let after = ours.skip_while(|line| line.attempt == Attempt::Rollback || line.release != candidate.release).skip(1);
    for line in after.filter(|line| line.attempt == Attempt::Release) {
        match &line.migrations {
            // A run and the watchdog that rolled its release back may both have written a line.
            Some(ran) => {
                for name in ran.iter().filter(|name| !name.is_empty()) {
                    if !since.ran.contains(name) {
                        since.ran.push(name.clone());
                    }
                }
            }
            None => since.unknown += 1,
        }
    }
    since
}

/// The plan and approval of a rollback.
pub fn decide(survey: Survey, events: &Events) -> Result<Decided<Deploy>, Failure> {
    let Survey { inputs, source, staging: _, ports, state: found } = survey;
    let SurveyState { server, chosen, home, unhealthy, .. } = found.into_inner();
    let doing = "planning the rollback";
    let server = server.ok_or_else(|| Failure::bug(doing, "the server was not surveyed"))?;
    let chosen = chosen.ok_or_else(|| Failure::bug(doing, "no release was chosen"))?;
    let turn = Move { from: server.current.clone(), to: chosen.release.clone() };
    // What decides the effect, as for a release.
    let plan = serde_json::json!({
        "version": 2,
        "action": env!("CARGO_PKG_VERSION"),
        "rollback": true,
        "settings": approval::settings(&*inputs),
        "from": turn.from,
        "to": turn.to,
        "tree": chosen.tree,
        "server": approval::found(&server),
    });
    let plan_digest = Sha256Digest::of(plan.to_string());
    let decision = approval::by_approval(&inputs, &plan_digest);
    let step = StepId::new(row::PLAN);
    if let Some(environment) = &inputs.review {
        events.emit(Body::warned(step.clone(), errors::rollback::review_not_needed(environment)));
    }
    let tell = |key: &str, value: serde_json::Value| {
        events.emit(Body::Recorded { step: step.clone(), key: key.to_owned(), value })
    };
    tell(record::key::PLAN_DIGEST, plan_digest.as_str().into());
    tell(record::key::EXECUTED, matches!(decision, Decision::Go).into());
    tell(record::key::RELEASE, turn.to.as_str().into());
    let decided = ReleasePlan {
        turn,
        commit: chosen.commit.clone(),
        decided_at: ports.clock.now(),
        server,
        build: None,
        target: Some(chosen),
        change_preview: None,
        home,
        unhealthy,
        staging: None,
        plan_digest,
    };
    Ok(Decided { cx: Deploy { inputs, source, ports, plan: decided, state: RunState::default().into() }, decision })
}

/// Under the lock: the target still stands as confirmed, and its tree is still what was confirmed (F80, F88).
pub async fn unchanged(cx: &Deploy, io: &Io) -> StepResult {
    let target = &cx.plan.turn.to;
    let dir = cx.inputs.layout.release(target);
    let doing = format!("reading {dir} again");
    let expected = cx.plan.target.as_ref().map(|target| &target.tree);
    let expected = expected.ok_or_else(|| Failure::bug(&doing, "no expected digest is known"))?;
    let history = ledger::read(&*cx.ports.shell, io, &cx.inputs.layout).await?;
    history
        .standings(&cx.inputs.environment)
        .candidate(target, cx.plan.turn.left().as_ref(), &cx.plan.server.releases)
        .map_err(|unfit| errors::rollback::unfit(&doing, target, unfit))?;
    // A run that was refused meanwhile has left `current` as it was, and perhaps another schema.
    if let (Some(candidate), false) = (&cx.plan.target, cx.inputs.ignore_schema_verdict)
        && let OnSchema::Fails(known) = on_schema(&history, candidate, cx.inputs.environment.as_str())
    {
        return Err(errors::schema::refused(&doing, &known, &cx.inputs.layout.backups()));
    }
    let tree = tree_digest::read(&*cx.ports.shell, io, &dir).await?;
    if tree.sha256 != *expected {
        return Err(errors::rollback::tree_changed_meanwhile(&doing, expected, &tree.sha256));
    }
    let manifest: Manifest = tree
        .manifest()
        .and_then(|text| serde_json::from_str(text).ok())
        .filter(|manifest: &Manifest| manifest.version == Manifest::VERSION)
        .ok_or_else(|| errors::rollback::manifest_unreadable(&doing))?;
    let mut made = cx.state.borrow_mut();
    made.manifest = Some(Rc::new(manifest));
    made.tree = Some(tree.sha256);
    Ok(Done::passed(format!("SHA-256 {}, as confirmed", expected.short())))
}

/// What the plan prints.
pub fn unchanged_preview(cx: &Deploy) -> Vec<String> {
    let tree = cx.plan.target.as_ref().map(|target| target.tree.short()).unwrap_or_default();
    vec![format!("{} must still have SHA-256 {tree}", cx.inputs.layout.release(&cx.plan.turn.to))]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger of these attempts: kind, day of the release, migrations.
    fn history(lines: &[(&str, u32, Option<&[&str]>)]) -> History {
        let lines = lines.iter().map(|(attempt, day, ran)| {
            let line = serde_json::json!({
                "v": 2, "prev": "", "at": "2025-11-02T12:00:00Z", "environment": "staging", "attempt": attempt,
                "release": format!("202511{day:02}_120000-0123abcd"), "from": null, "sha": "0123abcd".repeat(5),
                "bundle_sha256": null, "outcome": "live", "migrations": ran, "run": null,
            });
            line.to_string()
        });
        History::of(&lines.collect::<Vec<_>>().join("\n"))
    }

    fn describe(lines: &[(&str, u32, Option<&[&str]>)], day: u32) -> (Vec<String>, usize) {
        let candidate = Candidate {
            release: format!("202511{day:02}_120000-0123abcd").parse().expect("a release"),
            commit: "0123abcd".repeat(5).parse().expect("a commit"),
            confirmed_at: String::new(),
            tree: Sha256Digest::of("a tree"),
            bundle: None,
        };
        let since = since(&history(lines), &candidate, "staging");
        (since.ran, since.unknown)
    }

    /// What the ledger says of the release of this day: lines of kind, day of the release, day of what was live, and what that made of the schema.
    fn of_schema(lines: &[(&str, u32, u32, Option<&str>)], day: u32) -> &'static str {
        let name = |day: u32| format!("202511{day:02}_120000-0123abcd");
        let lines = lines.iter().map(|(attempt, to, from, schema)| {
            let outcome = if *to > 8 { "refused" } else { "live" };
            let standing = if *to > 8 { "failed" } else { "confirmed" };
            let mut line = serde_json::json!({
                "v": 2, "prev": "", "at": "2025-11-02T12:00:00Z", "environment": "staging", "attempt": attempt, "standing": standing,
                "release": name(*to), "from": format!("releases/{}", name(*from)), "sha": "0123abcd".repeat(5), "bundle_sha256": null,
                "outcome": outcome, "migrations": [], "run": null,
            });
            if let Some(verdict) = schema {
                line["schema"] = serde_json::json!({ "verdict": verdict });
            }
            line.to_string()
        });
        let history = History::of(&lines.collect::<Vec<_>>().join("\n"));
        assert_eq!(history.unreadable, 0);
        let candidate = Candidate {
            release: name(day).parse().expect("a release"),
            commit: "0123abcd".repeat(5).parse().expect("a commit"),
            confirmed_at: String::new(),
            tree: Sha256Digest::of("a tree"),
            bundle: None,
        };
        match on_schema(&history, &candidate, "staging") {
            OnSchema::NotKnownToFail => "not known to fail",
            OnSchema::Fails(known) => {
                assert_eq!(known.release, candidate.release);
                "fails"
            }
            OnSchema::LaterOneFails(_) => "a later one fails",
        }
    }

    #[test]
    fn the_verdicts_since_the_target_was_live_say_whether_it_works_on_the_schema() {
        let (bad, well) = (Some("unhealthy"), Some("healthy"));
        let first = ("release", 1, 0, None);
        let (second, third) = (("release", 2, 1, well), ("release", 3, 2, bad));
        assert_eq!(of_schema(&[first, second], 1), "not known to fail");
        assert_eq!(of_schema(&[first, second, third], 2), "fails");
        assert_eq!(of_schema(&[first, second, third], 1), "a later one fails", "the older one was not asked");
        assert_eq!(of_schema(&[first, second, third], 3), "not known to fail", "its own migrations");
        // A run that was refused has changed the schema all the same. Its successor has nothing to migrate.
        let refused = ("release", 9, 1, bad);
        assert_eq!(of_schema(&[first, refused, ("release", 4, 1, None)], 1), "fails");
        assert_eq!(of_schema(&[first, refused, ("release", 4, 1, well)], 1), "not known to fail", "asked again");
        assert_eq!(of_schema(&[first, refused, ("release", 4, 1, Some("not-asked"))], 1), "fails");
        // It was live since, and healthy.
        assert_eq!(
            of_schema(&[first, refused, ("release", 4, 1, None), ("rollback", 1, 4, None)], 1),
            "not known to fail"
        );
    }

    #[test]
    fn f63_migrations_stay_from_every_attempt_since_the_release_was_made() {
        let lines: &[(&str, u32, Option<&[&str]>)] = &[
            ("release", 1, Some(&["its own"])),
            ("release", 2, Some(&["a", "b"])),
            ("rollback", 1, Some(&[])),
            ("release", 3, None),
            ("release", 4, Some(&["c"])),
        ];
        assert_eq!(
            describe(lines, 1),
            (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], 1),
            "its own came with it"
        );
        assert_eq!(describe(lines, 2), (vec!["c".to_owned()], 1));
        assert_eq!(describe(lines, 4), (Vec::new(), 0));
    }
}
