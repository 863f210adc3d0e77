//! How a run ended, in sentences.

use crate::{
    domain::{
        FailureKind, Outcome,
        audit::Status,
        record::{HealthReport, Score, SiteStatus, key},
        row,
    },
    engine::event::{RowInfo, RowKind, UNDECIDED, Verdict},
    report::{
        render::{audit, checked, fix, words::count},
        run_view::{Row, RowState, RunView, Subject},
    },
};

/// How the run ended, in one line; it stands at the top of the summary and at the end of the log.
///
/// What it claims was seen: after a rollback it says "healthy" only when the old release was asked again (F90).
pub fn headline(view: &RunView) -> String {
    let subject = view.subject();
    match &view.outcome {
        None if view.plan.is_some() => "Running: the plan is made, nothing was changed".to_owned(),
        None => format!("Running, at: {}. If the run has ended, it was killed there", whereabouts(view)),
        Some(Outcome::Planned) => "Planned: nothing was changed".to_owned(),
        Some(Outcome::Passed) => match subject {
            Subject::Bundle => "Passed: the bundle is ready",
            Subject::Release | Subject::Rollback => "Passed: every check passed",
            Subject::Recovery => return recovered(view),
            Subject::Site => "GO: the site is healthy",
            Subject::Preflight | Subject::Verify => return go(view),
            Subject::Audit => return audited(view),
            Subject::Fix => return mended(view),
        }
        .to_owned(),
        Some(Outcome::Live { .. }) => {
            let what = if subject == Subject::Rollback {
                "the earlier release is live again"
            } else {
                "the new release is live"
            };
            match view.all_warnings().len() {
                0 => format!("Live: {what} and healthy"),
                warnings => format!("Live, with {}: {what} and healthy", count(warnings, "warning")),
            }
        }
        Some(Outcome::Refused { cause, .. }) if subject == Subject::Site && cause.kind == FailureKind::Refused => {
            "NO-GO: the site is unhealthy; nothing was changed".to_owned()
        }
        Some(Outcome::Refused { cause, .. })
            if matches!(subject, Subject::Preflight | Subject::Verify) && cause.kind == FailureKind::Refused =>
        {
            let failed = view.failed_rows().count();
            format!("NO-GO: {} failed, nothing was changed", count(failed, "check"))
        }
        Some(Outcome::Refused { cause, .. }) if subject == Subject::Audit && cause.kind == FailureKind::Refused => {
            audited(view)
        }
        Some(Outcome::Refused { at, cause, .. })
            if subject == Subject::Recovery && cause.kind == FailureKind::Refused && *at == row::HEALTH =>
        {
            "NO-GO: there is no unconfirmed release, but the site is unhealthy".to_owned()
        }
        Some(Outcome::Refused { cause, stays, .. }) if subject == Subject::Fix => {
            format!("{}: {}", refusal(cause.kind), not_mended(view, stays))
        }
        Some(Outcome::Refused { cause, stays, .. }) => {
            let blockers = match view.failed_rows().count() {
                0 | 1 => String::new(),
                several => format!(", {several} blockers"),
            };
            format!("{}{blockers}: {}", refusal(cause.kind), untouched(subject, stays))
        }
        Some(Outcome::RolledBack { .. }) if subject == Subject::Rollback => {
            format!("Rollback failed: the target release was not confirmed; {}", after_rollback(view))
        }
        Some(Outcome::RolledBack { .. }) => format!("Rolled back: {}", after_rollback(view)),
        Some(Outcome::Stuck { undo_cause, .. }) if undo_cause.cause == UNDECIDED => {
            "Handed over: the server did not answer whether the release is confirmed. If it is not, the watchdog rolls it back; the post step \
             completes the rest"
                .to_owned()
        }
        Some(Outcome::Stuck { undo_cause, .. }) if undo_cause.kind == FailureKind::Cancelled => {
            "Handed over: the run was cancelled and had no time to roll back. The watchdog rolls back; the post step completes the rest"
                .to_owned()
        }
        Some(Outcome::Stuck { undoing, .. }) => {
            format!("Manual action required: the rollback failed at {}", place(view, undoing.as_str()))
        }
    }
}

/// "step 15 (Switch)"; without a number only the title.
fn place(view: &RunView, step: &str) -> String {
    match view.step(step) {
        Some(row) => match row.info.number {
            Some(number) => format!("step {number} ({})", row.info.title),
            None => format!("the step \"{}\"", row.info.title),
        },
        None => step.to_owned(),
    }
}

pub(crate) fn go(view: &RunView) -> String {
    let Score { passed, total } = checked::count(view);
    match view.all_warnings().len() {
        0 => format!("GO: all {} passed, nothing was changed", count(total, "check")),
        warnings => {
            format!(
                "GO, with {}: {passed} of {} passed, nothing was changed",
                count(warnings, "warning"),
                count(total, "check")
            )
        }
    }
}

/// For the environment that was asked for. That a server was not looked at is said first of all: green by GitHub alone is no whole green.
pub(crate) fn audited(view: &RunView) -> String {
    let here = view.text_record(key::ENVIRONMENT).unwrap_or("production");
    let Some(verdict) = audit::verdicts(view).into_iter().find(|verdict| verdict.environment == here) else {
        return "NO-GO: nothing was checked".to_owned();
    };
    let by = if verdict.remark.is_some() { ", by GitHub alone (the server was not looked at)" } else { "" };
    let open = audit::findings(view).iter().filter(|finding| finding.status != Status::Met).count();
    match verdict.reasons.len() {
        0 => format!(
            "GO for {here}{by}: no finding prevents a release, {} open; nothing was changed",
            count(open, "finding")
        ),
        reasons => format!("NO-GO for {here}{by}: {} against a release; nothing was changed", count(reasons, "reason")),
    }
}

pub(crate) fn recovered(view: &RunView) -> String {
    let done = view.row(row::FINISH_UNCONFIRMED).and_then(Row::verdict);
    let what = if done == Some(Verdict::Skipped) { "there was nothing to recover" } else { "recovery is complete" };
    match view.row(row::HEALTH).and_then(Row::verdict) {
        Some(Verdict::Skipped) => format!("Passed: {what}; nothing is live"),
        Some(Verdict::Warned) => format!("Passed, with 1 warning: {what}; the site is healthy"),
        _ => format!("Passed: {what}; the site is healthy"),
    }
}

pub(crate) fn mended(view: &RunView) -> String {
    match fix::describe(view) {
        Some(fix) => match fix.nothing {
            Some(why) if fix.name.reads_only() => format!("Read: {why}; nothing was changed"),
            Some(why) => format!("Nothing to do: {why}; nothing was changed"),
            None => format!("Fixed: {}, read back and verified", fix.name),
        },
        None => "Passed: every check passed".to_owned(),
    }
}

pub(crate) fn not_mended(view: &RunView, stays: &[String]) -> &'static str {
    let begun = view.release_rows().any(|row| row.verdict().is_some());
    let back = view.rows.iter().any(|row| row.undo.as_ref().is_some_and(|undo| undo.undone));
    match (begun, back, stays.is_empty()) {
        (false, ..) => "nothing was changed",
        (true, true, _) => "what was changed was put back",
        (true, false, true) => "nothing was changed in the end",
        (true, false, false) => "see what stays",
    }
}

pub(crate) fn refusal(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Refused => "Refused",
        FailureKind::Input => "Refused, an input is wrong",
        FailureKind::World | FailureKind::Bug => "Failed",
        FailureKind::Cancelled => "Cancelled",
    }
}

pub(crate) fn untouched(subject: Subject, stays: &[String]) -> &'static str {
    match (subject, stays.is_empty()) {
        (Subject::Bundle, _) => "there is no bundle, and no server was contacted",
        (Subject::Preflight | Subject::Verify | Subject::Audit | Subject::Fix, _) => "nothing was changed",
        (Subject::Recovery, _) => "no release was rolled back",
        (_, true) => "the site is untouched",
        (_, false) => "the live release was never touched; see what stays",
    }
}

pub(crate) fn after_rollback(view: &RunView) -> String {
    let health: Option<HealthReport> = view.record(key::HEALTH_AFTER_ROLLBACK);
    let old = match (view.text_record(key::PREVIOUS_RELEASE), view.subject()) {
        (None, _) => "nothing is live, as before",
        (Some(_), Subject::Rollback) => "the previous release is live again",
        (Some(_), _) => "the old release is live again",
    };
    match health {
        Some(health) if health.healthy() => {
            format!("{old} and healthy ({}/{})", health.score().passed, health.score().total)
        }
        Some(health) if health.standing() == SiteStatus::NotAsked => {
            format!("{old}; its health is not known, because the site could not be reached")
        }
        Some(_) => format!("{old} and NOT healthy"),
        None => old.to_string(),
    }
}

/// Whether the run, which has not ended, may have moved `current`: a step that moves it has begun.
pub(crate) fn may_have_moved(view: &RunView) -> bool {
    let begun = |row: &Row| row.state != RowState::NotReached;
    // It moves `current` only where a release is unconfirmed. A recovery rolls that back by the undo of this row, which has failed by then.
    let recovers = |row: &Row| match (view.subject(), row.verdict()) {
        (Subject::Recovery, verdict) => verdict == Some(Verdict::Failed),
        (_, None) => begun(row) && view.text_record(key::LIVE_UNCONFIRMED).is_some(),
        (_, Some(_)) => false,
    };
    view.outcome.is_none()
        && (view.row(row::SWITCH).is_some_and(begun) || view.row(row::FINISH_UNCONFIRMED).is_some_and(recovers))
}

/// What was live when the run looked, if it is not what the run replaces: an unconfirmed release that is rolled back first.
pub(crate) fn unconfirmed(view: &RunView) -> Option<&str> {
    let back = view.row(row::FINISH_UNCONFIRMED).and_then(Row::verdict) == Some(Verdict::Passed);
    view.text_record(key::LIVE_UNCONFIRMED).filter(|_| !back)
}

/// What became of the release, where it is not simply live.
pub fn note(view: &RunView) -> &'static str {
    match &view.outcome {
        None | Some(Outcome::Passed | Outcome::Live { .. }) => "",
        Some(Outcome::Planned) => " (planned)",
        Some(Outcome::Refused { .. }) if view.subject() == Subject::Rollback => " (not rolled back to)",
        Some(Outcome::Refused { .. }) => " (not released)",
        Some(Outcome::RolledBack { .. }) if view.subject() == Subject::Rollback => " (not confirmed)",
        Some(Outcome::RolledBack { .. }) => " (rolled back)",
        Some(Outcome::Stuck { .. }) => " (not confirmed)",
    }
}

/// How a row is undone, or what it releases.
pub fn undo(row: &RowInfo) -> Option<String> {
    let text = row.undo.as_deref()?;
    Some(match row.kind {
        RowKind::Hold => format!("in the end: {text}"),
        _ if text.starts_with("not undone") => text.to_owned(),
        _ => format!("undo: {text}"),
    })
}

/// The rows that were at work when the last event was told.
pub fn whereabouts(view: &RunView) -> String {
    let undoing = view.rows.iter().rev().find(|row| row.undo.as_ref().is_some_and(|undo| undo.done.is_none()));
    // Of several lanes each has one.
    let running = view.rows.iter().filter(|row| matches!(row.state, RowState::Running { .. }));
    let running: Vec<String> = running.map(Row::name).collect();
    let ended = || view.rows.iter().rev().find(|row| matches!(row.state, RowState::Finished { .. }));
    match (undoing, ended()) {
        (Some(row), _) => format!("rolling back \"{}\"", row.name()),
        (None, _) if !running.is_empty() => running.join(", and "),
        (None, Some(row)) => format!("after \"{}\"", row.name()),
        (None, None) => "the start".to_owned(),
    }
}

/// The title of a row, with its number; the plain name for what is not a row (`start`).
pub fn title_of(view: &RunView, step: &str) -> String {
    view.step(step).map_or_else(|| step.to_owned(), |row| row.name())
}
