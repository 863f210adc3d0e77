//! The evidence of a run: a report for the file, and the same as JSON.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{file::Complaint, journal};
use crate::{
    domain::{
        self, Outcome, ReleaseName,
        record::{ArtifactRecord, BuildRun, key},
    },
    engine::event::{Body, Event, Reader},
    report::{
        ReportDir, Setting,
        render::{
            audit, checked, ending,
            findings::{self, Met},
            first, fix,
            log::Log,
            markdown::{self, code, head, in_cell, inline, link, row, title},
            plan, sections, words,
        },
        run_view::{RunView, Subject},
    },
};

/// Version of the JSON; readers refuse what they do not know. `docs/evidence.schema.json` describes it. Version 2 has all that
/// version 1 had, under the same names, but for one: a row's `undo` is what undoing it means, and how that went is `taken_back`.
/// [`super::stored`] reads both.
pub const DOCUMENT_VERSION: u32 = 2;

/// Writes both files when the run has ended.
pub struct Evidence {
    dir: Option<PathBuf>,
    setting: Setting,
    log: Log,
    complaint: Complaint,
    view: RunView,
}

impl Evidence {
    pub fn new(reports: Option<ReportDir>, setting: Setting, log: Log) -> Self {
        let complaint = Complaint::new("the report", log.clone());
        Self { dir: reports.map(|reports| reports.path), setting, log, complaint, view: RunView::default() }
    }
}

impl Reader for Evidence {
    fn read(&mut self, event: &Event) {
        self.view.apply(&self.log.redactor().event(event));
        if matches!(event.body, Body::RunFinished { .. })
            && let Some(dir) = self.dir.clone()
        {
            let result = self.write(&dir);
            self.complaint.unless_ok(&dir, result);
        }
    }
}

impl Evidence {
    fn write(&self, dir: &Path) -> io::Result<()> {
        let redactor = self.log.redactor();
        fs::create_dir_all(dir)?;
        let document = serde_json::to_string_pretty(&redactor.value(&document(&self.view, &self.setting)))?;
        whole(&dir.join(file_name(&self.view, "json")), &(document + "\n"))?;
        if self.view.subject() == Subject::Audit {
            let sarif = serde_json::to_string_pretty(&redactor.value(&audit::sarif(&self.view)))?;
            whole(&dir.join(file_name(&self.view, "sarif")), &(sarif + "\n"))?;
        }
        whole(&dir.join(file_name(&self.view, "md")), &redactor.text(&render(&self.view, &self.setting)))
    }
}

/// Writes a file beside its place and renames it: a report that is there is a whole one.
fn whole(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    // A temporary file is private; later steps of the job may run as somebody else.
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The name of the report: what it is evidence of, and when the run began.
pub fn file_name(view: &RunView, extension: &str) -> String {
    let subject = match view.stage.as_str() {
        "deploy-staging" => "E2E_STAGING_VALIDATION",
        "deploy-production" => "E2E_PRODUCTION_DEPLOYMENT",
        "rollback" => "ROLLBACK",
        "audit" => "AUDIT",
        "verify" => "VERIFICATION",
        "recover" => "RECOVERY",
        "fix" => "FIX",
        _ => "VALIDATION",
    };
    format!("{subject}_{}.{extension}", words::stamp(view.began_unix_ms))
}

/// The whole run, for programs.
pub fn document(view: &RunView, setting: &Setting) -> serde_json::Value {
    let record = |key: &str| view.records.get(key).cloned().unwrap_or_default();
    let mut document = serde_json::json!({
        "version": DOCUMENT_VERSION,
        "stage": view.stage,
        "began": words::time(view.began_unix_ms),
        "took_ms": view.took_ms,
        "run_url": setting.run_url,
        "outcome": view.outcome.as_ref().map(Outcome::word),
        "exit_code": view.outcome.as_ref().map(Outcome::exit_code),
        "ending": view.outcome,
        "release": {
            "name": record(key::RELEASE),
            "sha": record(key::SHA),
            "environment": record(key::ENVIRONMENT),
            "url": record(key::URL),
            "server": record(key::SERVER),
        },
        "link": findings::link(view),
        "bundle": { "of": record(key::BUNDLE), "hops": findings::hops(view) },
        "gates": record(key::GATES),
        "health": {
            "before": record(key::BASELINE),
            "after": record(key::HEALTH),
            "after_rollback": record(key::HEALTH_AFTER_ROLLBACK),
        },
        "identity": record(key::IDENTITY),
        "schema": record(key::SCHEMA),
        "zero_downtime": record(key::RECEIPT),
        "backup": record(key::BACKUP),
        "rollback": findings::rollback(view),
        "criteria": findings::criteria(view),
        "next_steps": findings::next_steps(view),
        "facts": view.records,
        "plan": plan::document(view),
        "warnings": view.all_warnings(),
        "rows": view.rows,
        "released": view.released,
    });
    if view.subject() == Subject::Audit {
        document["audit"] = audit::document(view);
    }
    if let Some(fix) = fix::describe(view) {
        document["fix"] = serde_json::json!(fix);
    }
    document
}

/// A heading and what stands under it.
type Part = (&'static str, String);

/// The report as Markdown.
pub fn render(view: &RunView, setting: &Setting) -> String {
    let parts = match (view.subject(), view.stage.as_str()) {
        // A look at a site has no gates, no link and no bundle: a heading for them would say that they were not reached.
        (Subject::Site, _) => vec![
            summary(view, setting),
            before("Pre-conditions", view),
            run(view),
            health(view),
            criteria(view),
            next_steps(view),
        ],
        // Nothing is switched and nothing is released.
        (Subject::Preflight, _) => vec![
            summary(view, setting),
            looked_at(view),
            ("Run evidence", ran(view, true)),
            gates(view),
            ("Commit and bundle", or_not_reached(release(view) + &sections::checks(view))),
            criteria(view),
            links(view, setting),
            next_steps(view),
        ],
        (Subject::Verify, _) => vec![
            summary(view, setting),
            looked_at(view),
            ("Run evidence", ran(view, true)),
            health(view),
            criteria(view),
            next_steps(view),
        ],
        (Subject::Audit, _) => vec![
            summary(view, setting),
            ("GO or NO-GO", audit::decisions(view).replace("### GO or NO-GO\n\n", "")),
            ("Target and actual", audit::table(view)),
            ("Run evidence", ran(view, true)),
            criteria(view),
            next_steps(view),
        ],
        (Subject::Fix, _) => vec![
            summary(view, setting),
            ("Before and after", or_not_reached(fix::table(view))),
            ("What is sent", or_not_reached(fix::sends(view))),
            before("Pre-conditions", view),
            run(view),
            criteria(view),
            next_steps(view),
        ],
        (Subject::Bundle, _) => vec![
            summary(view, setting),
            before("Pre-conditions", view),
            run(view),
            gates(view),
            ("Commit and bundle", or_not_reached(release(view) + &sections::checks(view))),
            criteria(view),
            links(view, setting),
            next_steps(view),
        ],
        (Subject::Rollback, _) => vec![
            summary(view, setting),
            before("Pre-conditions", view),
            run(view),
            gates(view),
            health(view),
            ("Symlink before and after", symlink(view)),
            ("Release and commit", or_not_reached(release(view) + &sections::checks(view))),
            criteria(view),
            links(view, setting),
            next_steps(view),
        ],
        (Subject::Recovery, _) => vec![
            summary(view, setting),
            before("Pre-conditions", view),
            run(view),
            health(view),
            ("Rollback status", rollback(view)),
            criteria(view),
            next_steps(view),
        ],
        (Subject::Release, "deploy-production") => vec![
            summary(view, setting),
            before("Pre-flight", view),
            run(view),
            gates(view),
            health(view),
            ("Zero-downtime measurement", measured(view)),
            ("Rollback status", rollback(view)),
            ("Symlink before and after", symlink(view)),
            ("Release, commit and bundle", or_not_reached(release(view) + &sections::checks(view))),
            ("Backup", or_not_reached(sections::backup(view))),
            criteria(view),
            links(view, setting),
            next_steps(view),
        ],
        (Subject::Release, _) => vec![
            summary(view, setting),
            before("Pre-conditions", view),
            run(view),
            gates(view),
            health(view),
            ("Zero-downtime measurement", measured(view)),
            ("Symlink before and after", symlink(view)),
            ("Release, commit and bundle", or_not_reached(release(view) + &sections::checks(view))),
            ("Backup", or_not_reached(sections::backup(view))),
            ("Rollback status", rollback(view)),
            criteria(view),
            links(view, setting),
            next_steps(view),
        ],
    };
    let title = format!(
        "# {} of {}\n\n",
        match view.subject() {
            Subject::Release => "Release",
            Subject::Preflight => "Pre-flight",
            Subject::Rollback => "Rollback",
            Subject::Audit => "Audit",
            Subject::Verify => "Verification",
            Subject::Recovery => "Recovery",
            Subject::Fix => "Fix",
            Subject::Bundle | Subject::Site => "Validation",
        },
        words::time(view.began_unix_ms)
    );
    parts.into_iter().fold(title, |text, (title, part)| format!("{text}## {title}\n\n{}\n\n", part.trim_end()))
}

fn summary(view: &RunView, setting: &Setting) -> Part {
    let headline = title(&ending::headline(view));
    let (cause, rows, stays) = (first::cause(view), first::rows(view, setting), first::stays(view));
    let text = format!("**{headline}**\n\n{cause}{rows}{stays}");
    ("Executive summary", text)
}

fn before(title: &'static str, view: &RunView) -> Part {
    (title, format!("{}{}", steps(view, true), sections::baseline(view)))
}

fn looked_at(view: &RunView) -> Part {
    let rows = checked::rows(view).concat();
    ("What was looked at", format!("{}{rows}\n{}", head(&checked::HEAD), sections::baseline(view)))
}

fn run(view: &RunView) -> Part {
    ("Run evidence", ran(view, false))
}

/// The steps before the approval, or those after it.
fn ran(view: &RunView, survey: bool) -> String {
    let outcome = view.outcome.as_ref().map_or("unknown", Outcome::word);
    format!(
        "Began {}, outcome `{outcome}`.\n\n{}{}{}",
        words::time(view.began_unix_ms),
        steps(view, survey),
        released(view),
        sections::warnings(view)
    )
}

fn gates(view: &RunView) -> Part {
    ("Gate results", sections::all_gates(view))
}

fn health(view: &RunView) -> Part {
    let last = sections::health(view);
    let attempts = sections::health_attempts(view);
    ("Health checks", if last.is_empty() { format!("Not reached.\n\n{attempts}") } else { last + &attempts })
}

/// The measurement, or why there is none.
fn measured(view: &RunView) -> String {
    let text = sections::zero_downtime(view);
    if !text.is_empty() {
        return text;
    }
    let said = view.row(domain::row::SAMPLE_SITE).and_then(|row| match &row.state {
        crate::report::run_view::RowState::Finished { text, .. } if !text.is_empty() => Some(title(text)),
        _ => None,
    });
    said.map_or("Not reached.\n".to_owned(), |said| format!("Not measured: {said}.\n"))
}

fn rollback(view: &RunView) -> String {
    let rollback = findings::rollback(view);
    let mut lines = Vec::new();
    if let Some(because) = &rollback.because {
        lines.push(("Because", title(because)));
    }
    if let Some(to) = &rollback.to {
        lines.push(("Live again", code(to)));
    }
    if let Some(ms) = rollback.took_ms {
        lines.push(("Took, with its health check", words::duration(ms)));
    }
    if let Some(ms) = rollback.old_again_ms {
        lines.push(("The old release answered again after", format!("{ms} ms")));
    }
    let table = if lines.is_empty() { String::new() } else { markdown::table_of_pairs(&lines) };
    format!("{}\n\n{table}", title(&rollback.text))
}

/// Where to look further.
fn links(view: &RunView, setting: &Setting) -> Part {
    let mut lines = Vec::new();
    if let Some(url) = &setting.run_url {
        lines.push(("This run", link(&inline(url), url)));
    }
    if let Some(build) = view.record::<BuildRun>(key::BUILD_RUN) {
        lines.push(("The run that built", link(&inline(&build.url), &build.url)));
    }
    if let Some(artifact) = view.record::<ArtifactRecord>(key::ARTIFACT) {
        lines.push(("Artifact", format!("{}, id {}", code(&artifact.name), artifact.id)));
    }
    if let Some(url) = view.text_record(key::URL) {
        lines.push(("Site", link(&inline(url), url)));
    }
    if let Some(ledger) = view.text_record(key::LEDGER) {
        let head = view.text_record(key::LEDGER_HEAD).map(|head| format!(", head {}", code(head))).unwrap_or_default();
        lines.push(("Ledger on the server", format!("{}{head}", code(ledger))));
    }
    lines.push(("The same for programs", code(&file_name(view, "json"))));
    let release: Option<ReleaseName> = view.record(key::RELEASE);
    let journal = journal::file_name(release.as_ref().map_or(&view.stage, |release| release.as_str()));
    lines.push(("Every event", code(&journal)));
    ("Evidence links", markdown::table_of_pairs(&lines))
}

/// How what was taken was given back.
fn released(view: &RunView) -> String {
    let rows: String = view
        .released
        .iter()
        .map(|ended| {
            let mark = if ended.failure.is_some() { "❌" } else { "✅" };
            row([mark, &title(&ending::title_of(view, &ended.step)), &title(&ended.text)])
        })
        .collect();
    if rows.is_empty() { String::new() } else { format!("{}{rows}\n", head(&["", "In the end", "Result"])) }
}

fn or_not_reached(text: String) -> String {
    if text.is_empty() { "Not reached.\n".to_owned() } else { text }
}

fn steps(view: &RunView, survey: bool) -> String {
    let rows: String = view
        .rows
        .iter()
        .zip(sections::step_rows(view))
        .filter(|(row, _)| row.info.survey == survey)
        .map(|(_, line)| line)
        .collect();
    if rows.is_empty() { String::new() } else { format!("{}{rows}\n", head(&sections::STEPS_HEAD)) }
}

fn symlink(view: &RunView) -> String {
    let findings::Link { before, after, switched, known, took_us } = findings::link(view);
    let name = |release: Option<String>| release.map_or("nothing".to_owned(), |release| code(&release));
    let made = view.text_record(key::RELEASE).map_or("the new release".to_owned(), code);
    let after = match (&view.outcome, switched) {
        _ if !known => "unknown: the rollback failed".to_owned(),
        (_, false) => format!("{}: this run did not switch", name(after)),
        (Some(Outcome::RolledBack { .. }), true) => format!("{} again, after it was {made}", name(after)),
        (_, true) => name(after),
    };
    let mut lines = vec![("Before", name(before)), ("After", after)];
    if switched {
        let took = took_us.map_or("not measured on the server".to_owned(), words::short_time);
        lines.push(("The switch took", took));
    }
    markdown::table_of_pairs(&lines)
}

fn release(view: &RunView) -> String {
    let mut lines = Vec::new();
    if let Some(release) = view.text_record(key::RELEASE) {
        lines.push(("Release", code(release)));
    }
    if let Some(sha) = view.text_record(key::SHA) {
        lines.push(("Commit", code(sha)));
    }
    let hops = findings::hops(view);
    let mut text = if lines.is_empty() { String::new() } else { format!("{}\n", markdown::table_of_pairs(&lines)) };
    if !hops.is_empty() {
        let rows = hops.iter().map(|hop| {
            let same = if hop.same { "✅" } else { "◽ not compared" };
            row([&*hop.place, &hop.what, code(hop.sha256.as_str()).as_str(), same])
        });
        let head = head(&["Where", "What", "SHA-256", "Measured and the same"]);
        text.push_str(&format!("{head}{}\n", rows.collect::<String>()));
    }
    text
}

fn criteria(view: &RunView) -> Part {
    let line = |criterion: findings::Criterion| {
        let findings::Criterion { text, result, why } = criterion;
        match result {
            Met::Met => format!("- [x] {text}\n"),
            Met::NotMet => format!("- [ ] {text}: not met ({})\n", title(&why.unwrap_or_default())),
            Met::NotReached => format!("- [ ] {text}: not reached\n"),
        }
    };
    ("Acceptance criteria", findings::criteria(view).into_iter().map(line).collect())
}

fn next_steps(view: &RunView) -> Part {
    ("Next steps", findings::next_steps(view).iter().map(|step| format!("- {}\n", in_cell(step, 1200))).collect())
}
