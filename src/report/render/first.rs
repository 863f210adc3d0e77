//! The first screen of the summary, below the verdict: the cause and the commands that help, then what is live, what visitors met, what
//! changed and where the backup is. Each part is empty when there is nothing to say.

use super::{
    audit,
    markdown::{ENTRIES, block, code, help, inline, link, list, short, table_of_pairs, title},
    sections, words,
};
use crate::{
    domain::{
        CommitSha, Failure, FailureKind, Outcome, ReleaseName,
        gate::GateReport,
        migration::Class,
        record::{
            BackupEstimate, BackupRecord, BuildRun, ChangePreview, DowntimeReport, FileDelta, HealthReport, Migrations,
            PendingMigration, Staging, Switch, key,
        },
        row,
        schema::SchemaVerdict,
    },
    engine::event::{UNDECIDED, Verdict},
    report::{
        Setting,
        render::ending,
        run_view::{RowState, RunView, Subject},
    },
};

/// Longest text in a cell, in characters.
const CELL: usize = 240;
/// Longest cause or hint, in characters.
const SENTENCE: usize = 1200;
/// Most lines of details, and the longest of them in bytes.
const DETAILS: (usize, usize) = (40, 300);
/// The same for commands to type: a cut command is worse than a long page.
const COMMANDS: (usize, usize) = (40, 1500);

/// Why the run did not end well: its commands first, then each failure with its cause, its words and what to do.
pub(crate) fn cause(view: &RunView) -> String {
    let Some(outcome) = &view.outcome else { return String::new() };
    let (Some(at), Some(cause)) = (outcome.at(), outcome.cause()) else { return String::new() };
    let mut text = String::new();
    if let Outcome::Stuck { undoing, undo_cause, by_hand, .. } = outcome {
        text.push_str(&commands(view, undo_cause, by_hand));
        let why = explained(&ending::title_of(view, undoing.as_str()), undo_cause);
        text.push_str(&format!("### Why the rollback is not complete\n\n{why}"));
    }
    let first = (!said_by_findings(view, at.as_str())).then(|| (ending::title_of(view, at.as_str()), cause));
    // Rows that let each other run can fail one and all.
    let others = view
        .failed_rows()
        .filter(|row| row.info.step != *at && !said_by_findings(view, row.info.step.as_str()))
        .filter_map(|row| Some((row.name(), row.failure()?)));
    let failures: Vec<(String, &Failure)> = first.into_iter().chain(others).collect();
    let heading = match failures.len() {
        0 => return text,
        1 => "What failed",
        _ => "Blockers",
    };
    text.push_str(&format!("### {heading}\n\n"));
    failures.into_iter().for_each(|(at, failure)| text.push_str(&explained(&at, failure)));
    text
}

/// An audit's findings stand in its verdict, each with its fix.
fn said_by_findings(view: &RunView, step: &str) -> bool {
    view.subject() == Subject::Audit && audit::is_said(view, step)
}

fn commands(view: &RunView, undo_cause: &Failure, by_hand: &[String]) -> String {
    if by_hand.is_empty() {
        return String::new();
    }
    let place = if view.subject() == Subject::Fix { "" } else { " on the server" };
    let only_if = match handed_over(undo_cause) {
        true => ", only if the post step and `stage: recover` fail",
        false => "",
    };
    format!("### Run these commands{place}{only_if}\n\n{}\n", block(by_hand, COMMANDS.0, COMMANDS.1))
}

/// Whether the watchdog and the post step complete what the run could not.
fn handed_over(undo_cause: &Failure) -> bool {
    undo_cause.kind == FailureKind::Cancelled || undo_cause.cause == UNDECIDED
}

fn explained(at: &str, failure: &Failure) -> String {
    let code = if failure.code.is_empty() { String::new() } else { format!(" ({})", code(&failure.code)) };
    let (doing, cause) = (short(&failure.doing, SENTENCE), short(&failure.cause, SENTENCE));
    let mut text = format!("**{}**: {doing}: {cause}{code}\n\n", title(at));
    if !failure.details.is_empty() {
        text.push_str(&block(&failure.details, DETAILS.0, DETAILS.1));
        text.push('\n');
    }
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("{}\n", help(hint, SENTENCE)));
    }
    text
}

/// The gates that failed, where no failure has named them.
pub(crate) fn failing_gates(view: &RunView) -> String {
    let Some(report) = view.record::<GateReport>(key::GATES) else { return String::new() };
    let cause = view.outcome.as_ref().and_then(Outcome::cause);
    let details: Vec<&String> = cause
        .into_iter()
        .chain(view.failed_rows().filter_map(crate::report::run_view::Row::failure))
        .flat_map(|failure| &failure.details)
        .collect();
    let lines: Vec<String> = report
        .failures()
        .filter(|gate| !details.iter().any(|line| line.starts_with(&format!("{}: ", gate.name))))
        .map(|gate| format!("❌ {}: {}", code(&gate.name), short(gate.problem.as_deref().unwrap_or_default(), CELL)))
        .collect();
    if lines.is_empty() { String::new() } else { format!("### Gates that failed\n\n{}\n", list(lines)) }
}

/// What the run leaves in place although it did not end well.
pub(crate) fn stays(view: &RunView) -> String {
    let Some(Outcome::Refused { stays, .. } | Outcome::RolledBack { stays, .. } | Outcome::Stuck { stays, .. }) =
        &view.outcome
    else {
        return String::new();
    };
    if stays.is_empty() {
        return String::new();
    }
    format!("### What stays\n\n{}\n", list(stays.iter().map(|stays| short(stays, CELL))))
}

/// What is live, what visitors met, what changed, and where the backup is.
pub(crate) fn rows(view: &RunView, setting: &Setting) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    if let Some(live) = live_now(view) {
        lines.push(("Live now", live));
    }
    lines.extend(site(view));
    lines.extend(downtime(view).map(|downtime| ("Downtime", downtime)));
    lines.extend(release(view));
    lines.extend(commits(view, setting));
    lines.extend(change(view, setting));
    lines.extend(migrations(view));
    lines.extend(backup(view).map(|backup| ("Backup", backup)));
    if view.subject() == Subject::Bundle {
        lines.extend(sections::check_lines(view));
        lines.extend(sections::evidence_lines(view));
    }
    lines.push(("Run", format!("{}, {}", code(&view.stage), words::duration(view.took_ms))));
    format!("{}\n", table_of_pairs(&lines))
}

/// Claims only what the run saw, and nothing of a `current` that others moved meanwhile.
fn live_now(view: &RunView) -> Option<String> {
    let moves = matches!(view.subject(), Subject::Release | Subject::Rollback);
    let before = view.text_record(key::PREVIOUS_RELEASE).map(code);
    let made = view.text_record(key::RELEASE).map(code);
    match &view.outcome {
        Some(Outcome::Live { .. }) => made,
        Some(Outcome::RolledBack { .. }) => Some(before.map_or("nothing, as before".to_owned(), |old| old + " again")),
        Some(Outcome::Stuck { .. }) if view.subject() == Subject::Fix => None,
        Some(Outcome::Stuck { .. }) => Some("❔ not known: the rollback is not complete".to_owned()),
        None if ending::may_have_moved(view) => Some("❔ not known: the run has not ended".to_owned()),
        Some(Outcome::Refused { at, .. }) if at.as_str() == "nothing-moved" => None,
        // A release is named when the survey is over: until then, what is live was not read.
        _ if moves && ending::unconfirmed(view).is_none() && before.is_none() => made.map(|_| "nothing".to_owned()),
        _ if moves && ending::unconfirmed(view).is_some() => {
            ending::unconfirmed(view).map(|live| unconfirmed(view, live))
        }
        _ if moves => before.map(|old| old + ", not touched"),
        _ => before,
    }
}

/// The run rolls it back before it replaces anything.
fn unconfirmed(view: &RunView, live: &str) -> String {
    let first = match view.text_record(key::PREVIOUS_RELEASE).filter(|old| *old != live) {
        Some(old) => format!("rolls it back to {} first", code(old)),
        None => "rolls it back first".to_owned(),
    };
    let run = if view.subject() == Subject::Rollback { "rollback" } else { "release" };
    format!("{}, unconfirmed: the {run} {first}", code(live))
}

fn site(view: &RunView) -> Option<(&'static str, String)> {
    let name = if view.text_record(key::URL).is_some() { "Site" } else { "Environment" };
    let url = view.text_record(key::URL).map(|url| link(&inline(url), url));
    let environment = view.text_record(key::ENVIRONMENT).map(inline);
    let server = view.text_record(key::SERVER).map(|server| format!("on {}", code(server)));
    let parts: Vec<String> = [url, environment, server].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| (name, parts.join(", ")))
}

/// The release of this run, and the one before it where the run replaced it.
fn release(view: &RunView) -> Vec<(&'static str, String)> {
    let Some(made) = view.text_record(key::RELEASE) else { return Vec::new() };
    let before = || ("Before", view.text_record(key::PREVIOUS_RELEASE).map_or("nothing was live".to_owned(), code));
    let name = match view.subject() {
        Subject::Rollback => "Rollback to",
        Subject::Recovery => "Unconfirmed release",
        _ => "Release",
    };
    let made = (name, format!("{}{}", code(made), ending::note(view)));
    match &view.outcome {
        Some(Outcome::Live { .. }) => vec![before()],
        Some(Outcome::Stuck { .. }) => vec![made, before()],
        None if ending::may_have_moved(view) => vec![made, before()],
        _ => vec![made],
    }
}

/// `https://github.com/acme/shop`
fn repository(view: &RunView, setting: &Setting) -> Option<String> {
    let of = |url: &str| url.split_once("/actions/runs/").map(|(repository, _)| repository.to_owned());
    let build = || of(&view.record::<BuildRun>(key::BUILD_RUN)?.url);
    setting.run_url.as_deref().and_then(of).or_else(build)
}

/// The commit with the first line of its message; and the one that production was asked for, where it has the same tree.
fn commits(view: &RunView, setting: &Setting) -> Vec<(&'static str, String)> {
    let Some(sha) = view.record::<CommitSha>(key::SHA) else { return Vec::new() };
    let repository = repository(view, setting);
    let linked = |sha: &CommitSha| match &repository {
        Some(repository) => link(&code(sha.short()), &format!("{repository}/commit/{sha}")),
        None => code(sha.short()),
    };
    let build = view.record::<BuildRun>(key::BUILD_RUN);
    let subject = build.and_then(|build| build.subject).map(|subject| format!(" {}", short(&subject, CELL)));
    let mut lines = vec![("Commit", format!("{}{}", linked(&sha), subject.unwrap_or_default()))];
    if let Some(asked_for) = view.record::<Staging>(key::STAGING).and_then(|staging| staging.asked_for) {
        let branch = inline(&asked_for.branch);
        lines.push(("Asked for", format!("{} on {branch}: the same tree", linked(&asked_for.commit))));
    }
    lines
}

/// The comparison of the live commit with the new one, and how many files differ.
fn change(view: &RunView, setting: &Setting) -> Option<(&'static str, String)> {
    if !matches!(view.subject(), Subject::Release | Subject::Rollback) {
        return None;
    }
    let files = view.record::<ChangePreview>(key::CHANGE_PREVIEW).and_then(|change_preview| change_preview.files);
    let files = files.filter(|_| view.text_record(key::PREVIOUS_RELEASE).is_some()).map(|files| file_counts(&files));
    let parts: Vec<String> = compared(view, setting).into_iter().chain(files).collect();
    let name = if view.subject() == Subject::Rollback { "Reverted commits" } else { "Change" };
    (!parts.is_empty()).then(|| (name, parts.join(": ")))
}

/// Release names end in the first digits of their commits, which GitHub's comparison takes.
fn compared(view: &RunView, setting: &Setting) -> Option<String> {
    let named = |key: &str| view.text_record(key)?.parse::<ReleaseName>().ok();
    let (before, after) = (named(key::PREVIOUS_RELEASE)?, named(key::RELEASE)?);
    let (old, new) = match view.subject() {
        // What is in the live release and not in the target.
        Subject::Rollback => (after.short_sha(), before.short_sha()),
        _ => (before.short_sha(), after.short_sha()),
    };
    if old == new {
        return Some("the same commit".to_owned());
    }
    let range = format!("{old}...{new}");
    let repository = repository(view, setting)?;
    Some(link(&code(&range), &format!("{repository}/compare/{range}")))
}

fn file_counts(files: &FileDelta) -> String {
    let counts = match files.removed {
        Some(removed) => format!("files: {} new, {} changed, {removed} removed", files.added, files.changed),
        None => "files not compared: the live release has no manifest".to_owned(),
    };
    match files.public_gone.len() {
        0 => counts,
        gone => format!("{counts}; ⚠️ {} removed", words::count(gone, "public file")),
    }
}

fn migrations(view: &RunView) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let skipped = || {
        let row = view.row(row::MIGRATE)?;
        matches!(row.verdict()?, Verdict::Skipped | Verdict::Passed).then(|| "none ran".to_owned())
    };
    if let Some(change_preview) =
        view.record::<ChangePreview>(key::CHANGE_PREVIEW).filter(|_| view.outcome == Some(Outcome::Planned))
    {
        lines.push(("Migrations", pending(&change_preview)));
    } else if let Some(migrations) = view.record::<Migrations>(key::MIGRATIONS) {
        lines.push(("Migrations", sections::migrations_line(&migrations)));
    } else if let Some(none) = skipped() {
        lines.push(("Migrations", none));
    }
    if let Some(verdict) = view.record::<SchemaVerdict>(key::SCHEMA) {
        lines.push(("Old code on the new schema", sections::schema_line(&verdict)));
    }
    if let Some(migrations) = view.record::<Migrations>(key::MIGRATIONS_STAY) {
        lines.push(("Migrations that stay", sections::migrations_line(&migrations)));
    }
    lines
}

fn pending(change_preview: &ChangePreview) -> String {
    if let Some(why) = &change_preview.migrations_unknown {
        return short(why, CELL);
    }
    let named = |migration: &PendingMigration| {
        let mark = if matches!(migration.class, Class::Contract | Class::Destructive) { "⚠️ " } else { "" };
        format!("{} ({mark}{})", code(&migration.name), migration.class.word())
    };
    match change_preview.migrations.as_slice() {
        [] => "none is pending".to_owned(),
        pending => {
            let more = match pending.len().saturating_sub(ENTRIES) {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let names: Vec<String> = pending.iter().take(ENTRIES).map(named).collect();
            format!("{} pending: {}{more}", pending.len(), names.join(", "))
        }
    }
}

/// What visitors met; of a run that switched without measuring it, why there is no measurement.
fn downtime(view: &RunView) -> Option<String> {
    if let Some(downtime_report) = view.record::<DowntimeReport>(key::RECEIPT) {
        return Some(sections::receipt_line(&downtime_report));
    }
    view.record::<Switch>(key::SWITCH)?;
    match &view.row(row::SAMPLE_SITE)?.state {
        RowState::Finished { text, .. } if !text.is_empty() => Some(format!("not measured: {}", short(text, CELL))),
        _ => None,
    }
}

fn backup(view: &RunView) -> Option<String> {
    if view.outcome == Some(Outcome::Planned) {
        let change_preview = view.record::<ChangePreview>(key::CHANGE_PREVIEW)?;
        return Some(match change_preview.backup {
            Some(BackupEstimate { app_bytes, database_bytes }) => {
                let database = match database_bytes {
                    Some(bytes) => format!("database {}", words::bytes(bytes)),
                    None => "database of unknown size".to_owned(),
                };
                format!("planned before the upload, at most: app {}, {database}", words::bytes(app_bytes))
            }
            None => "none: nothing is live yet".to_owned(),
        });
    }
    let backup = view.record::<BackupRecord>(key::BACKUP)?;
    let elsewhere = backup.elsewhere.as_ref().map(|copy| format!("; {}", sections::elsewhere_line(copy)));
    let elsewhere = elsewhere.unwrap_or_default();
    if backup.files.is_empty() {
        let why: Vec<String> = backup.skipped.iter().map(|why| short(why, CELL)).collect();
        return Some(format!("none: {}{elsewhere}", why.join("; ")));
    }
    let size: u64 = backup.files.iter().map(|file| file.size).sum();
    let made = backup.path.rsplit('/').next().and_then(|name| name.parse::<ReleaseName>().ok());
    let made = made.map(|name| format!(" of {}", name.made_at().format("%Y-%m-%d %H:%M UTC"))).unwrap_or_default();
    Some(format!(
        "✅ {}{made}, {} in {}{elsewhere}",
        code(&backup.path),
        words::bytes(size),
        words::count(backup.files.len(), "file")
    ))
}

/// The last answers, where asking the site is what the run is for.
pub(crate) fn site_health(view: &RunView) -> String {
    let described = |key: &str| view.record::<HealthReport>(key).is_some();
    match view.subject() {
        Subject::Site | Subject::Recovery if described(key::HEALTH) || described(key::HEALTH_AFTER_ROLLBACK) => {
            sections::health(view)
        }
        _ => String::new(),
    }
}
