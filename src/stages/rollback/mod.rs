//! `rollback`: chooses the target release, compares it with its tree digest, and names what the rollback does not restore.
//!
//! From the switch on it is a release like any other with another target (F84): the same rows, the same undo, the same verifier.

pub mod table;

pub use self::table::table;

use std::rc::Rc;

use super::shared::approval;
use crate::{
    context::{Deploy, ReleasePlan, RunState, Survey, SurveyState},
    domain::{
        Failure, Move, ReleaseName, Sha256Digest, StepId,
        bundle::Manifest,
        layout::named,
        ledger::Attempt,
        record,
        release_status::{Candidate, ReleaseStatuses},
        row,
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
    let SurveyState { server, chosen, home, .. } = found.into_inner();
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
