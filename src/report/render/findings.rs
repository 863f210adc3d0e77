//! What follows from the run's data: criteria, rollback, the bundle's digests, and what to do next. Computed once (F89), so that the
//! report for people and the one for programs say the same.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{audit, fix, words};
use crate::{
    domain::{
        FailureKind, Outcome, Sha256Digest,
        gate::GateReport,
        record::{
            ArtifactRecord, BackupRecord, BundleRecord, CopyStatus, DowntimeReport, Elsewhere, FILE_BY_FILE, Finding,
            HealthReport, Identity, Judgement, Score, Staging, Switch, key,
        },
        row::{self, RowId},
    },
    engine::event::Verdict,
    report::{
        render::ending,
        run_view::{Row, RunView, Subject},
    },
};

/// What a run must have shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criterion {
    pub text: Cow<'static, str>,
    pub result: Met,
    /// Why it was not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Not reached is not the same as not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Met {
    Met,
    NotMet,
    NotReached,
}

impl Criterion {
    fn of(text: &'static str, met: Option<Result<(), String>>) -> Self {
        let (result, why) = match met {
            Some(Ok(())) => (Met::Met, None),
            Some(Err(why)) => (Met::NotMet, Some(why)),
            None => (Met::NotReached, None),
        };
        Self { text: text.into(), result, why }
    }
}

const ASSETS: &str = "Every asset of the front end answered";

/// Every criterion of this kind of run.
pub fn criteria(view: &RunView) -> Vec<Criterion> {
    let score = |passed: usize, total: usize| {
        if total > 0 && passed == total { Ok(()) } else { Err(format!("{passed}/{total}")) }
    };
    let gates = view.record::<GateReport>(key::GATES).map(|report| score(report.passed(), report.total()));
    let bundle = view.record::<BundleRecord>(key::BUNDLE).map(|bundle| match bundle.verified_at.as_slice() {
        [] => Err("it was compared with nothing".to_owned()),
        _ => Ok(()),
    });
    let backup = view.record::<BackupRecord>(key::BACKUP).map(|backup| match backup.files.as_slice() {
        [] => Err(backup.skipped.join("; ")),
        _ => Ok(()),
    });
    let healthy = |key: &str| {
        let report = view.record::<HealthReport>(key)?;
        let Score { passed, total } = report.score();
        Some(match report.identity.as_ref().and_then(|file| file.problem.clone()) {
            Some(problem) => Err(problem),
            None => score(passed, total),
        })
    };
    let identity = view.record::<Identity>(key::IDENTITY).map(|identity| match identity.proven {
        true => Ok(()),
        false => Err(identity.note.unwrap_or_else(|| "no answer names a release that tells old from new".to_owned())),
    });
    let downtime_report = view.record::<DowntimeReport>(key::RECEIPT).map(|downtime_report| {
        let DowntimeReport { downtime_ms, budget_ms, .. } = downtime_report;
        let over = || format!("{downtime_ms} ms, allowed are {budget_ms} ms");
        if downtime_ms <= budget_ms { Ok(()) } else { Err(over()) }
    });
    let unchanged = view.row(row::UNCHANGED_TREE).and_then(|row| (row.verdict()? == Verdict::Passed).then_some(Ok(())));
    let assets = view.record::<Score>(key::ASSETS).map(|assets| score(assets.passed, assets.total));
    // A step that failed before it could tell a fact was reached all the same.
    let of = |text: &'static str, met: Option<Result<(), String>>, steps: &[RowId]| {
        let failed = |step: &RowId| view.row(*step).is_some_and(|row| row.verdict() == Some(Verdict::Failed));
        Criterion::of(text, met.or_else(|| steps.iter().any(failed).then(|| Err("its step failed".to_owned()))))
    };
    let bundle = of(
        "The bundle's digest was seen to be the same in another place",
        bundle,
        &[row::FETCH_BUNDLE, row::VERIFY_BUNDLE, row::READ_BUNDLE],
    );
    let gates = of("Every gate passed", gates, &[row::VERIFY_TREE, row::PRE_BUNDLE_GATES, row::BUNDLE_GATES]);
    let assets = of(ASSETS, assets, &[row::ASSETS]);
    let mut criteria = match view.subject() {
        Subject::Bundle => vec![bundle, gates],
        Subject::Release => vec![
            bundle,
            gates,
            of("A backup was made and verified", backup, &[row::BACKUP]),
            of("The new release answered healthy on every endpoint", healthy(key::HEALTH), &[row::HEALTH]),
            of("The release that answered was seen to be the new one", identity, &[row::HEALTH]),
            assets,
            of("Visitors met no more downtime than allowed", downtime_report, &[row::ZERO_DOWNTIME]),
        ]
        .into_iter()
        .chain(copied(view))
        .chain(staging(view))
        .collect(),
        Subject::Rollback => vec![
            // Under the lock, and not only when it was chosen.
            of("The release is still what was confirmed", unchanged, &[row::UNCHANGED_TREE]),
            gates,
            of("The target release answered healthy on every endpoint", healthy(key::HEALTH), &[row::HEALTH]),
            of("The release that answered was seen to be the target", identity, &[row::HEALTH]),
            assets,
        ],
        Subject::Site => {
            vec![of("The site answered healthy on every endpoint", healthy(key::HEALTH), &[row::HEALTH]), assets]
        }
        Subject::Preflight => vec![
            bundle,
            gates,
            Criterion::of("The site answered healthy on every endpoint, or nothing is live yet", baseline(view)),
            Criterion::of("Nothing on the server blocks a release", nothing_in_the_way(view)),
        ],
        Subject::Verify => vec![
            Criterion::of("The server has what was confirmed", nothing_in_the_way(view)),
            of("The site answered healthy on every endpoint", healthy(key::HEALTH), &[row::SITE_HEALTH]),
        ],
        Subject::Recovery => {
            vec![of("The site answered healthy on every endpoint", healthy(key::HEALTH), &[row::HEALTH])]
        }
        Subject::Fix => vec![Criterion::of("The fix was read back and verified", fix::mended(view))],
        Subject::Audit => audit::verdicts(view)
            .into_iter()
            .filter(|verdict| Some(verdict.environment.as_str()) == view.text_record(key::ENVIRONMENT))
            .map(|verdict| {
                let met = if verdict.go { Ok(()) } else { Err(verdict.reasons.join("; ")) };
                Criterion::of("No finding prevents a release", view.outcome.is_some().then_some(met))
            })
            .collect(),
    };
    // An app without a front end has none to answer.
    if view.row(row::ASSETS).is_some_and(|row| row.verdict() == Some(Verdict::Skipped)) {
        criteria.retain(|criterion| criterion.text != ASSETS);
    }
    if matches!(view.outcome, Some(Outcome::RolledBack { .. } | Outcome::Stuck { .. })) {
        let back = healthy(key::HEALTH_AFTER_ROLLBACK);
        let text = match view.subject() {
            Subject::Rollback => "The previous release answered healthy again",
            _ => "The old release answered healthy again",
        };
        criteria.push(of(text, back, &[]));
    }
    let failed = view.rows.iter().filter(|row| row.verdict() == Some(Verdict::Failed)).count();
    let steps = if failed == 0 { Ok(()) } else { Err(words::count(failed, "step")) };
    criteria.push(Criterion::of("No step failed", (!view.rows.is_empty()).then_some(steps)));
    criteria
}

/// The copy of the backup; nothing where nobody asked for one.
fn copied(view: &RunView) -> Option<Criterion> {
    let Elsewhere { status, problem, .. } = view.record::<BackupRecord>(key::BACKUP)?.elsewhere?;
    let met = match status {
        CopyStatus::NotAskedFor | CopyStatus::Nothing => return None,
        CopyStatus::Verified => Ok(()),
        CopyStatus::NotThere => Err(problem.unwrap_or_else(|| "it is not there".to_owned())),
    };
    Some(Criterion::of("The off-site copy of the backup was read back", Some(met)))
}

/// What production asks of staging; nothing for a stage that does not ask.
fn staging(view: &RunView) -> Option<Criterion> {
    view.row(row::STAGING_EVIDENCE)?;
    let proven = view.record::<Staging>(key::STAGING).map(|staging| match staging.against.first() {
        None => Ok(()),
        Some(against) => Err(against.clone()),
    });
    Some(Criterion::of("Staging had proven this commit", proven))
}

fn baseline(view: &RunView) -> Option<Result<(), String>> {
    match view.row(row::BASELINE_HEALTH)?.verdict()? {
        Verdict::Failed => Some(Err("it did not".to_owned())),
        Verdict::Passed | Verdict::Warned | Verdict::Skipped => Some(Ok(())),
        Verdict::Stopped => None,
    }
}

/// Rows that did not look prove nothing: then it is not reached.
fn nothing_in_the_way(view: &RunView) -> Option<Result<(), String>> {
    let described: Vec<Finding> = view.record(key::FINDINGS)?;
    match described.iter().filter(|finding| finding.judgement == Judgement::Failed).count() {
        0 => view.failed_rows().next().is_none().then_some(Ok(())),
        failed => Some(Err(words::count(failed, "finding"))),
    }
}

/// Whether the run rolled back, and what is live now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rollback {
    pub status: RollbackStatus,
    pub text: String,
    /// What caused the rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What is live again; `None` if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How long the rollback took, its health check included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// From the rollback's begin until only the old release answered, as the sampler saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_again_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollbackStatus {
    /// Nothing was switched, or what was switched to is confirmed.
    NotNeeded,
    Done,
    Failed,
    /// The run is not over, or was killed.
    Unknown,
}

pub fn rollback(view: &RunView) -> Rollback {
    let plain = |status, text: &str| Rollback {
        status,
        text: text.to_owned(),
        because: None,
        to: None,
        took_ms: None,
        old_again_ms: None,
    };
    let row = if view.subject() == Subject::Recovery { row::FINISH_UNCONFIRMED } else { row::SWITCH };
    let undo = || view.row(row).and_then(|row| row.undo.as_ref()?.done.as_ref());
    let because = |outcome: &Outcome| outcome.cause().map(ToString::to_string);
    match &view.outcome {
        None => plain(RollbackStatus::Unknown, "The run did not complete."),
        Some(Outcome::Live { .. }) => plain(
            RollbackStatus::NotNeeded,
            match view.subject() {
                Subject::Rollback => "Not needed: the target release is confirmed.",
                _ => "Not needed: the new release is confirmed.",
            },
        ),
        Some(Outcome::Planned | Outcome::Passed | Outcome::Refused { .. }) => {
            plain(RollbackStatus::NotNeeded, "Not needed: this run left `current` as it was.")
        }
        Some(outcome @ Outcome::RolledBack { .. }) => Rollback {
            because: because(outcome),
            to: view.text_record(key::PREVIOUS_RELEASE).map(str::to_owned),
            took_ms: undo().map(|done| done.took_ms),
            old_again_ms: view
                .record::<DowntimeReport>(key::RECEIPT)
                .and_then(|downtime_report| downtime_report.old_again_ms),
            ..plain(RollbackStatus::Done, &format!("{}.", ending::headline(view)))
        },
        Some(outcome @ Outcome::Stuck { .. }) => Rollback {
            because: because(outcome),
            took_ms: undo().map(|done| done.took_ms),
            ..plain(RollbackStatus::Failed, &format!("{}.", ending::headline(view)))
        },
    }
}

/// A place where the bundle, or the archive around it, was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    pub place: Cow<'static, str>,
    pub what: Cow<'static, str>,
    pub sha256: Sha256Digest,
    /// Whether the bytes were measured there and found to be the same.
    pub same: bool,
}

/// The bundle as it is sent, where that is another file than the one that was downloaded.
pub const CANONICAL: &str = "canonical form of the bundle";
const CANONICAL_ON_DISK: &str = "canonical form of the bundle, read again from its disk";

/// The bundle's way: from the artifact over the runner to the server.
pub fn hops(view: &RunView) -> Vec<Hop> {
    let bundle: Option<BundleRecord> = view.record(key::BUNDLE);
    let seen = |place: &str| bundle.as_ref().is_some_and(|bundle| bundle.verified_at.iter().any(|seen| seen == place));
    let artifact = view.record::<ArtifactRecord>(key::ARTIFACT).and_then(|artifact| artifact.digest);
    let mut hops: Vec<Hop> = artifact
        .map(|sha256| Hop {
            place: "artifact".into(),
            what: "zip, as GitHub keeps it".into(),
            sha256,
            same: seen("GitHub's artifact digest"),
        })
        .into_iter()
        .collect();
    if let Some(bundle) = &bundle {
        let of = |sha256: &Sha256Digest, place: &'static str, what: &'static str, same| Hop {
            place: place.into(),
            what: what.into(),
            sha256: sha256.clone(),
            same,
        };
        let hop = |place, what, same| of(&bundle.sha256, place, what, same);
        if matches!(view.subject(), Subject::Release | Subject::Preflight) {
            hops.push(hop("artifact", ".sha256 beside the bundle", seen("the .sha256 beside it")));
        }
        hops.push(hop("runner", "bundle", true));
        match (&bundle.sent_sha256, view.subject()) {
            (_, Subject::Release) if bundle.delivered.is_some() => {
                hops.push(hop("server", "release folder, each file compared with the bundle", seen(FILE_BY_FILE)));
            }
            (Some(sent), Subject::Release) => {
                hops.push(of(sent, "runner", CANONICAL, true));
                hops.push(of(sent, "server", CANONICAL_ON_DISK, seen("the server")));
            }
            (None, Subject::Release) => {
                hops.push(hop("server", "bundle, read again from its disk", seen("the server")))
            }
            _ => {}
        }
    }
    hops
}

/// What `current` led to before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    pub before: Option<String>,
    /// `None` if nothing is live, or if nobody knows.
    pub after: Option<String>,
    pub switched: bool,
    pub known: bool,
    /// How long the rename took on the server, in microseconds.
    pub took_us: Option<u64>,
}

pub fn link(view: &RunView) -> Link {
    let before = view.text_record(key::PREVIOUS_RELEASE).map(str::to_owned);
    let switch: Option<Switch> = view.record(key::SWITCH);
    let (after, known) = match (&view.outcome, &switch) {
        (Some(Outcome::Stuck { .. }), _) => (None, false),
        (None, _) if ending::may_have_moved(view) => (None, false),
        (Some(Outcome::RolledBack { .. }), _) | (_, None) => (before.clone(), true),
        (_, Some(switch)) => (Some(switch.to.to_string()), true),
    };
    Link { before, after, switched: switch.is_some(), known, took_us: switch.and_then(|switch| switch.took_us) }
}

/// What to do now, the most urgent first.
pub fn next_steps(view: &RunView) -> Vec<String> {
    let cause = view.outcome.as_ref().and_then(Outcome::cause);
    // Rows that let each other run can fail one and all.
    let others = view.failed_rows().filter_map(Row::failure).filter(|failure| Some(*failure) != cause);
    let hints = cause.into_iter().chain(others).filter_map(|failure| failure.hint.clone());
    let back = view.subject() == Subject::Rollback;
    let ours = match &view.outcome {
        None => "Find where the run stopped, then run it again.",
        Some(Outcome::Planned) => "Read the plan. To approve it, use the phrase in the job summary.",
        Some(Outcome::Passed) => match view.subject() {
            Subject::Bundle => "Release it.",
            Subject::Release | Subject::Rollback | Subject::Site | Subject::Verify | Subject::Recovery => {
                "None: every check passed."
            }
            Subject::Audit => "Fix the findings that are not met, P0 and P1 first.",
            Subject::Fix => "Run the audit again.",
            Subject::Preflight => "Read the warnings above, if there are any, then release.",
        },
        Some(Outcome::Live { .. }) if back => {
            "Find the fault in the release that was left, and release a repaired commit. The left release is no rollback target any more."
        }
        Some(Outcome::Live { .. }) if view.all_warnings().is_empty() => "None: the release is confirmed.",
        Some(Outcome::Live { .. }) => "Read the warnings above. The release is confirmed.",
        Some(Outcome::Refused { .. }) => "Remove the cause, then run again.",
        Some(Outcome::RolledBack { .. }) if back => {
            "Find out why the target release failed. If it was unhealthy, the next rollback skips it."
        }
        Some(Outcome::RolledBack { .. }) => {
            "Find out why the release failed before you release it again. Note what stays."
        }
        Some(Outcome::Stuck { undo_cause, .. }) if undo_cause.kind == FailureKind::Cancelled => {
            "Check that the post step or `stage: recover` has completed. Otherwise run the commands above on the server."
        }
        Some(Outcome::Stuck { .. }) => "Run the commands above on the server now, in that order, then check the site.",
    };
    hints.chain([ours.to_owned()]).collect()
}
