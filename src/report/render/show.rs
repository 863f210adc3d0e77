//! A stored report as text for a terminal: what somebody who was called at night asks first. The story behind it is the one that
//! the summary was made from ([`crate::report::record::stored`]).

use super::{
    clean::one_line,
    findings::{self, Hop, Met},
    words,
};
use crate::{
    domain::{
        Failure, Outcome,
        gate::GateReport,
        record::{BackupRecord, BuildRun, CopyStatus, DowntimeReport, HealthReport, Migrations, key},
        schema::SchemaVerdict,
    },
    engine::event::Verdict,
    report::{record::stored::Stored, render::ending, run_view::Row},
};

/// The report, line by line. Foreign text is on one line each; [`crate::report::Log`] takes out what else could move a cursor.
pub fn text(stored: &Stored) -> String {
    let mut page = Page::default();
    page.line(ending::headline(&stored.view));
    overview(&mut page, stored);
    ending(&mut page, stored);
    rows(&mut page, stored);
    gates(&mut page, stored);
    bundle(&mut page, stored);
    measured(&mut page, stored);
    criteria(&mut page, stored);
    warnings(&mut page, stored);
    page.heading("Next steps");
    page.list(stored.next_steps.iter());
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, text: impl AsRef<str>) {
        self.indented("", text);
    }

    fn indented(&mut self, indent: &str, text: impl AsRef<str>) {
        self.text.push_str(&format!("{indent}{}\n", one_line(text.as_ref())));
    }

    fn heading(&mut self, text: impl AsRef<str>) {
        self.text.push('\n');
        self.line(text);
    }

    fn pair(&mut self, name: &str, value: impl AsRef<str>) {
        self.text.push_str(&format!("  {name:<12} {}\n", one_line(value.as_ref())));
    }

    fn list<T: AsRef<str>>(&mut self, lines: impl IntoIterator<Item = T>) {
        lines.into_iter().for_each(|line| self.indented("  - ", line));
    }

    fn failure(&mut self, at: &str, failure: &Failure) {
        self.indented("  ", format!("{at}: {failure}"));
        if let Some(hint) = &failure.hint {
            self.indented("    help: ", hint);
        }
        failure.details.iter().for_each(|line| self.indented("    | ", line));
    }
}

fn overview(page: &mut Page, stored: &Stored) {
    let view = &stored.view;
    let ended = match &view.outcome {
        Some(outcome) => format!("{}, exit code {}", outcome.word(), outcome.exit_code()),
        None => "not known: the report has no ending".to_owned(),
    };
    page.pair("outcome", ended);
    page.pair("stage", &view.stage);
    page.pair("began", format!("{}, took {}", words::time(view.began_unix_ms), words::duration(view.took_ms)));
    let record = |key| view.text_record(key);
    if let Some(release) = record(key::RELEASE) {
        let from = record(key::PREVIOUS_RELEASE).unwrap_or("nothing");
        page.pair("release", format!("{from} -> {release}{}", ending::note(view)));
    }
    for (name, key) in
        [("commit", key::SHA), ("environment", key::ENVIRONMENT), ("site", key::URL), ("server", key::SERVER)]
    {
        if let Some(value) = record(key) {
            page.pair(name, value);
        }
    }
    if let Some(url) = &stored.run_url {
        page.pair("run", url);
    }
    if let Some(build) = view.record::<BuildRun>(key::BUILD_RUN) {
        page.pair("built by", format!("{}, attempt {}", build.url, build.attempt));
    }
    page.pair("report", format!("version {}", stored.version));
}

fn ending(page: &mut Page, stored: &Stored) {
    let view = &stored.view;
    let Some(outcome) = &view.outcome else { return };
    if let Outcome::Stuck { undoing, undo_cause, by_hand, .. } = outcome {
        page.heading("Why the rollback is not complete");
        page.failure(&ending::title_of(view, undoing.as_str()), undo_cause);
        if !by_hand.is_empty() {
            page.heading("Run these commands on the server");
            by_hand.iter().for_each(|command| page.indented("    ", command));
        }
    }
    if let (Some(at), Some(cause)) = (outcome.at(), outcome.cause()) {
        page.heading("What failed");
        page.failure(&ending::title_of(view, at.as_str()), cause);
        // Rows that let each other run can fail one and all.
        for row in view.failed_rows().filter(|row| row.info.step != *at) {
            if let Some(failure) = row.failure() {
                page.failure(&row.name(), failure);
            }
        }
    }
    if let Outcome::Refused { stays, .. } | Outcome::RolledBack { stays, .. } | Outcome::Stuck { stays, .. } = outcome {
        page.heading("What stays");
        match (stays.as_slice(), outcome) {
            ([], Outcome::Stuck { .. }) => page.indented("  ", "not known: the rollback failed"),
            ([], _) => page.indented("  ", "nothing"),
            (stays, _) => page.list(stays),
        }
    }
}

/// One line: how far the run came. Each row stands in the report for people.
fn rows(page: &mut Page, stored: &Stored) {
    let rows = &stored.view.rows;
    page.heading("Steps");
    if rows.is_empty() {
        page.indented("  ", "none is told");
        return;
    }
    let with = |wanted: Verdict| rows.iter().filter(|row| row.verdict() == Some(wanted)).count();
    let ended = [
        (Verdict::Passed, "passed"),
        (Verdict::Warned, "warned"),
        (Verdict::Skipped, "skipped"),
        (Verdict::Failed, "failed"),
        (Verdict::Stopped, "stopped"),
    ];
    let counts = ended.into_iter().map(|(verdict, word)| (with(verdict), word));
    let not_ended = rows.iter().filter(|row| row.verdict().is_none()).count();
    let counts: Vec<String> = counts
        .chain([(not_ended, "not reached")])
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    page.indented("  ", counts.join(", "));
    for row in rows {
        if let Some(described) = taken_back(row) {
            page.indented("  ", format!("{}: {described}", row.name()));
        }
    }
}

fn taken_back(row: &Row) -> Option<String> {
    let undo = row.undo.as_ref()?;
    Some(match &undo.done {
        None => format!("was being undone: {}", undo.text),
        Some(done) if done.failure.is_some() => format!("NOT undone: {}", done.text),
        Some(done) if undo.undone => format!("undone: {}", done.text),
        Some(done) => format!("nothing to undo: {}", done.text),
    })
}

fn gates(page: &mut Page, stored: &Stored) {
    let view = &stored.view;
    page.heading("Gates");
    match view.record::<GateReport>(key::GATES) {
        None if view.records.get(key::GATES).is_some_and(|described| !described.is_null()) => {
            page.indented("  ", "told in a form that this program does not know");
        }
        None => page.indented("  ", "not reached"),
        Some(report) => {
            page.indented("  ", format!("{}/{} passed", report.passed(), report.total()));
            let failed = report.failures();
            page.list(failed.map(|gate| format!("{}: {}", gate.name, gate.problem.as_deref().unwrap_or_default())));
        }
    }
}

/// Where the bundle was measured, and whether it was one and the same everywhere.
fn bundle(page: &mut Page, stored: &Stored) {
    page.heading("Bundle");
    if stored.hops.is_empty() {
        page.indented("  ", "not reached");
        return;
    }
    for hop in &stored.hops {
        let same = if hop.same { "the same" } else { "NOT compared" };
        page.indented("  ", format!("{}: {}: {} {same}", hop.place, hop.what, hop.sha256));
    }
    let open = stored.hops.iter().filter(|hop| !hop.same).count();
    // The zip around the bundle has a digest of its own; what is compared is the bundle.
    let bundles = || stored.hops.iter().filter(|hop| !hop.what.starts_with("zip"));
    let sent = |hop: &Hop| hop.what.starts_with(findings::CANONICAL);
    let differ =
        bundles().zip(bundles().skip(1)).any(|(one, next)| sent(one) == sent(next) && one.sha256 != next.sha256);
    page.indented(
        "  ",
        match (differ, open) {
            (true, _) => "they do NOT agree: the bundle is not one and the same everywhere".to_owned(),
            (false, 0) => "all of them agree".to_owned(),
            (false, open) => format!("{} not compared", words::count(open, "digest")),
        },
    );
}

fn measured(page: &mut Page, stored: &Stored) {
    let view = &stored.view;
    let mut lines = Vec::new();
    for (name, key) in
        [("before", key::BASELINE), ("after", key::HEALTH), ("after the rollback", key::HEALTH_AFTER_ROLLBACK)]
    {
        if let Some(report) = view.record::<HealthReport>(key) {
            let score = report.score();
            lines.push(format!("health {name}: {}/{}", score.passed, score.total));
            let unhealthy = report.asked().filter_map(|asked| Some((&asked.path, asked.problem.as_ref()?)));
            lines.extend(unhealthy.map(|(path, problem)| format!("health {name}: {path}: {problem}")));
        }
    }
    if let Some(downtime_report) = view.record::<DowntimeReport>(key::RECEIPT) {
        let DowntimeReport { downtime_ms, budget_ms, failures, requests, .. } = downtime_report;
        lines.push(format!(
            "downtime {downtime_ms} ms of {budget_ms} ms allowed; {failures} of {requests} requests failed"
        ));
    }
    if let Some(backup) = view.record::<BackupRecord>(key::BACKUP) {
        let files: Vec<&str> = backup.files.iter().map(|file| file.name.as_str()).collect();
        let files = if files.is_empty() { "nothing was backed up".to_owned() } else { files.join(", ") };
        let copy = backup.elsewhere.map(|copy| match copy.status {
            CopyStatus::Verified => format!("; copy elsewhere: verified, {}", copy.path.unwrap_or_default()),
            CopyStatus::NotThere => format!("; copy elsewhere: NOT there: {}", copy.problem.unwrap_or_default()),
            CopyStatus::Nothing => "; copy elsewhere: nothing to copy".to_owned(),
            CopyStatus::NotAskedFor => "; copy elsewhere: not asked for".to_owned(),
        });
        lines.push(format!("backup {}: {files}{}", backup.path, copy.unwrap_or_default()));
    }
    for (name, key) in [("migrations that ran", key::MIGRATIONS), ("migrations that stay", key::MIGRATIONS_STAY)] {
        if let Some(migrations) = view.record::<Migrations>(key) {
            let ran = if migrations.ran.is_empty() { "none".to_owned() } else { migrations.ran.join(", ") };
            lines.push(format!("{name}: {ran}"));
        }
    }
    if let Some(verdict) = view.record::<SchemaVerdict>(key::SCHEMA) {
        lines.push(format!("the old code on the new schema: {}", verdict.describe()));
    }
    if !lines.is_empty() {
        page.heading("Seen");
        page.list(lines);
    }
}

fn criteria(page: &mut Page, stored: &Stored) {
    page.heading(match stored.own_findings {
        true => "Acceptance criteria",
        false => "Acceptance criteria, worked out now from what the report tells",
    });
    for criterion in &stored.criteria {
        let why = criterion.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
        let result = match criterion.result {
            Met::Met => "met",
            Met::NotMet => "NOT met",
            // A run of long ago may not have looked, or not have told.
            Met::NotReached if !stored.own_findings => "not told",
            Met::NotReached => "not reached",
        };
        page.indented("  ", format!("{result}: {}{why}", criterion.text));
    }
}

fn warnings(page: &mut Page, stored: &Stored) {
    if stored.warnings.is_empty() {
        return;
    }
    page.heading("Warnings");
    for warning in &stored.warnings {
        page.indented("  ", format!("{}: {}", ending::title_of(&stored.view, &warning.step), warning.text));
        if !warning.code.is_empty() {
            page.indented("    code: ", &warning.code);
        }
        if let Some(hint) = &warning.hint {
            page.indented("    help: ", hint);
        }
    }
}
