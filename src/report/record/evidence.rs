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
        fact::{ArtifactFact, BuildRun, key},
    },
    engine::event::{Body, Event, Reader},
    report::{
        ReportDir, Setting,
        render::{
            audit, checked, ending,
            findings::{self, Met},
            first, fix,
            log::Log,
            markdown::{self, code, head, inline, link, row},
            plan, sections, words,
        },
        story::{Story, Subject},
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
    story: Story,
}

impl Evidence {
    pub fn new(reports: Option<ReportDir>, setting: Setting, log: Log) -> Self {
        let complaint = Complaint::new("the report", log.clone());
        Self { dir: reports.map(|reports| reports.path), setting, log, complaint, story: Story::default() }
    }
}

impl Reader for Evidence {
    fn read(&mut self, event: &Event) {
        self.story.hear(&self.log.redactor().event(event));
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
        let document = serde_json::to_string_pretty(&redactor.value(&document(&self.story, &self.setting)))?;
        whole(&dir.join(file_name(&self.story, "json")), &(document + "\n"))?;
        if self.story.subject() == Subject::Audit {
            let sarif = serde_json::to_string_pretty(&redactor.value(&audit::sarif(&self.story)))?;
            whole(&dir.join(file_name(&self.story, "sarif")), &(sarif + "\n"))?;
        }
        whole(&dir.join(file_name(&self.story, "md")), &redactor.text(&render(&self.story, &self.setting)))
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
pub fn file_name(story: &Story, extension: &str) -> String {
    let subject = match story.stage.as_str() {
        "deploy-staging" => "E2E_STAGING_VALIDATION",
        "deploy-production" => "E2E_PRODUCTION_DEPLOYMENT",
        "rollback" => "ROLLBACK",
        "audit" => "AUDIT",
        "recover" => "RECOVERY",
        "fix" => "FIX",
        _ => "VALIDATION",
    };
    format!("{subject}_{}.{extension}", words::stamp(story.began_unix_ms))
}

/// The whole run, for programs.
pub fn document(story: &Story, setting: &Setting) -> serde_json::Value {
    let fact = |key: &str| story.facts.get(key).cloned().unwrap_or_default();
    let mut document = serde_json::json!({
        "version": DOCUMENT_VERSION,
        "stage": story.stage,
        "began": words::time(story.began_unix_ms),
        "took_ms": story.took_ms,
        "run_url": setting.run_url,
        "outcome": story.outcome.as_ref().map(Outcome::word),
        "exit_code": story.outcome.as_ref().map(Outcome::exit_code),
        "ending": story.outcome,
        "release": {
            "name": fact(key::RELEASE),
            "sha": fact(key::SHA),
            "environment": fact(key::ENVIRONMENT),
            "url": fact(key::URL),
            "server": fact(key::SERVER),
        },
        "link": findings::link(story),
        "bundle": { "of": fact(key::BUNDLE), "hops": findings::hops(story) },
        "gates": fact(key::GATES),
        "health": {
            "before": fact(key::BASELINE),
            "after": fact(key::HEALTH),
            "after_rollback": fact(key::HEALTH_AFTER_ROLLBACK),
        },
        "identity": fact(key::IDENTITY),
        "zero_downtime": fact(key::RECEIPT),
        "backup": fact(key::BACKUP),
        "rollback": findings::rollback(story),
        "criteria": findings::criteria(story),
        "next_steps": findings::next_steps(story),
        "facts": story.facts,
        "plan": plan::document(story),
        "warnings": story.all_warnings(),
        "rows": story.rows,
        "released": story.released,
    });
    if story.subject() == Subject::Audit {
        document["audit"] = audit::document(story);
    }
    if let Some(fix) = fix::told(story) {
        document["fix"] = serde_json::json!(fix);
    }
    document
}

/// A heading and what stands under it.
type Part = (&'static str, String);

/// The report as Markdown.
pub fn render(story: &Story, setting: &Setting) -> String {
    let parts = match (story.subject(), story.stage.as_str()) {
        // A look at a site has no gates, no link and no bundle: a heading for them would say that they were not reached.
        (Subject::Site, _) => vec![
            summary(story, setting),
            before("Pre-conditions", story),
            run(story),
            health(story),
            criteria(story),
            next_steps(story),
        ],
        // Nothing is switched and nothing is released.
        (Subject::Preflight, _) => vec![
            summary(story, setting),
            looked_at(story),
            ("Run evidence", ran(story, true)),
            gates(story),
            ("Commit and bundle", or_not_reached(release(story) + &sections::checks(story))),
            criteria(story),
            links(story, setting),
            next_steps(story),
        ],
        (Subject::Audit, _) => vec![
            summary(story, setting),
            ("GO or NO-GO", audit::decisions(story).replace("### GO or NO-GO\n\n", "")),
            ("Target and actual", audit::table(story)),
            ("Run evidence", ran(story, true)),
            criteria(story),
            next_steps(story),
        ],
        (Subject::Fix, _) => vec![
            summary(story, setting),
            ("Before and after", or_not_reached(fix::table(story))),
            ("What is sent", or_not_reached(fix::sends(story))),
            before("Pre-conditions", story),
            run(story),
            criteria(story),
            next_steps(story),
        ],
        (Subject::Bundle, _) => vec![
            summary(story, setting),
            before("Pre-conditions", story),
            run(story),
            gates(story),
            ("Commit and bundle", or_not_reached(release(story) + &sections::checks(story))),
            criteria(story),
            links(story, setting),
            next_steps(story),
        ],
        (Subject::Rollback, _) => vec![
            summary(story, setting),
            before("Pre-conditions", story),
            run(story),
            gates(story),
            health(story),
            ("Symlink before and after", symlink(story)),
            ("Release and commit", or_not_reached(release(story) + &sections::checks(story))),
            criteria(story),
            links(story, setting),
            next_steps(story),
        ],
        (Subject::Recovery, _) => vec![
            summary(story, setting),
            before("Pre-conditions", story),
            run(story),
            health(story),
            ("Rollback status", rollback(story)),
            criteria(story),
            next_steps(story),
        ],
        (Subject::Release, "deploy-production") => vec![
            summary(story, setting),
            before("Pre-flight", story),
            run(story),
            gates(story),
            health(story),
            ("Zero-downtime measurement", measured(story)),
            ("Rollback status", rollback(story)),
            ("Symlink before and after", symlink(story)),
            ("Release, commit and bundle", or_not_reached(release(story) + &sections::checks(story))),
            ("Backup", or_not_reached(sections::backup(story))),
            criteria(story),
            links(story, setting),
            next_steps(story),
        ],
        (Subject::Release, _) => vec![
            summary(story, setting),
            before("Pre-conditions", story),
            run(story),
            gates(story),
            health(story),
            ("Zero-downtime measurement", measured(story)),
            ("Symlink before and after", symlink(story)),
            ("Release, commit and bundle", or_not_reached(release(story) + &sections::checks(story))),
            ("Backup", or_not_reached(sections::backup(story))),
            ("Rollback status", rollback(story)),
            criteria(story),
            links(story, setting),
            next_steps(story),
        ],
    };
    let title = format!(
        "# {} of {}\n\n",
        match story.subject() {
            Subject::Release => "Release",
            Subject::Preflight => "Pre-flight",
            Subject::Rollback => "Rollback",
            Subject::Audit => "Audit",
            Subject::Recovery => "Recovery",
            Subject::Fix => "Fix",
            Subject::Bundle | Subject::Site => "Validation",
        },
        words::time(story.began_unix_ms)
    );
    parts.into_iter().fold(title, |text, (title, part)| format!("{text}## {title}\n\n{}\n\n", part.trim_end()))
}

fn summary(story: &Story, setting: &Setting) -> Part {
    let headline = inline(&ending::headline(story));
    let (cause, facts, stays) = (first::cause(story), first::facts(story, setting), first::stays(story));
    let text = format!("**{headline}**\n\n{cause}{facts}{stays}");
    ("Executive summary", text)
}

fn before(title: &'static str, story: &Story) -> Part {
    (title, format!("{}{}", steps(story, true), sections::baseline(story)))
}

fn looked_at(story: &Story) -> Part {
    let rows = checked::rows(story).concat();
    ("What was looked at", format!("{}{rows}\n{}", head(&checked::HEAD), sections::baseline(story)))
}

fn run(story: &Story) -> Part {
    ("Run evidence", ran(story, false))
}

/// The steps before the seam, or those after it.
fn ran(story: &Story, survey: bool) -> String {
    let outcome = story.outcome.as_ref().map_or("unknown", Outcome::word);
    format!(
        "Began {}, outcome `{outcome}`.\n\n{}{}{}",
        words::time(story.began_unix_ms),
        steps(story, survey),
        released(story),
        sections::warnings(story)
    )
}

fn gates(story: &Story) -> Part {
    ("Gate results", sections::all_gates(story))
}

fn health(story: &Story) -> Part {
    let last = sections::health(story);
    let attempts = sections::health_attempts(story);
    ("Health checks", if last.is_empty() { format!("Not reached.\n\n{attempts}") } else { last + &attempts })
}

/// The measurement, or why there is none.
fn measured(story: &Story) -> String {
    let text = sections::zero_downtime(story);
    if !text.is_empty() {
        return text;
    }
    let said = story.row(domain::row::SAMPLE_SITE).and_then(|row| match &row.state {
        crate::report::story::RowState::Finished { text, .. } if !text.is_empty() => Some(inline(text)),
        _ => None,
    });
    said.map_or("Not reached.\n".to_owned(), |said| format!("Not measured: {said}.\n"))
}

fn rollback(story: &Story) -> String {
    let rollback = findings::rollback(story);
    let mut lines = Vec::new();
    if let Some(because) = &rollback.because {
        lines.push(("Because", inline(because)));
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
    format!("{}\n\n{table}", inline(&rollback.text))
}

/// Where to look further.
fn links(story: &Story, setting: &Setting) -> Part {
    let mut lines = Vec::new();
    if let Some(url) = &setting.run_url {
        lines.push(("This run", link(&inline(url), url)));
    }
    if let Some(build) = story.fact::<BuildRun>(key::BUILD_RUN) {
        lines.push(("The run that built", link(&inline(&build.url), &build.url)));
    }
    if let Some(artifact) = story.fact::<ArtifactFact>(key::ARTIFACT) {
        lines.push(("Artifact", format!("{}, id {}", code(&artifact.name), artifact.id)));
    }
    if let Some(url) = story.text_fact(key::URL) {
        lines.push(("Site", link(&inline(url), url)));
    }
    if let Some(ledger) = story.text_fact(key::LEDGER) {
        let head = story.text_fact(key::LEDGER_HEAD).map(|head| format!(", head {}", code(head))).unwrap_or_default();
        lines.push(("Ledger on the server", format!("{}{head}", code(ledger))));
    }
    lines.push(("The same for programs", code(&file_name(story, "json"))));
    let release: Option<ReleaseName> = story.fact(key::RELEASE);
    let journal = journal::file_name(release.as_ref().map_or(&story.stage, |release| release.as_str()));
    lines.push(("Every event", code(&journal)));
    ("Evidence links", markdown::table_of_pairs(&lines))
}

/// How what was taken was given back.
fn released(story: &Story) -> String {
    let rows: String = story
        .released
        .iter()
        .map(|ended| {
            let mark = if ended.failure.is_some() { "❌" } else { "✅" };
            row([mark, &inline(&ending::title_of(story, &ended.step)), &inline(&ended.text)])
        })
        .collect();
    if rows.is_empty() { String::new() } else { format!("{}{rows}\n", head(&["", "In the end", "Result"])) }
}

fn or_not_reached(text: String) -> String {
    if text.is_empty() { "Not reached.\n".to_owned() } else { text }
}

fn steps(story: &Story, survey: bool) -> String {
    let rows: String = story
        .rows
        .iter()
        .zip(sections::step_rows(story))
        .filter(|(row, _)| row.info.survey == survey)
        .map(|(_, line)| line)
        .collect();
    if rows.is_empty() { String::new() } else { format!("{}{rows}\n", head(&sections::STEPS_HEAD)) }
}

fn symlink(story: &Story) -> String {
    let findings::Link { before, after, switched, known, took_us } = findings::link(story);
    let name = |release: Option<String>| release.map_or("nothing".to_owned(), |release| code(&release));
    let made = story.text_fact(key::RELEASE).map_or("the new release".to_owned(), code);
    let after = match (&story.outcome, switched) {
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

fn release(story: &Story) -> String {
    let mut lines = Vec::new();
    if let Some(release) = story.text_fact(key::RELEASE) {
        lines.push(("Release", code(release)));
    }
    if let Some(sha) = story.text_fact(key::SHA) {
        lines.push(("Commit", code(sha)));
    }
    let hops = findings::hops(story);
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

fn criteria(story: &Story) -> Part {
    let line = |criterion: findings::Criterion| {
        let findings::Criterion { text, result, why } = criterion;
        match result {
            Met::Met => format!("- [x] {text}\n"),
            Met::NotMet => format!("- [ ] {text}: not met ({})\n", inline(&why.unwrap_or_default())),
            Met::NotReached => format!("- [ ] {text}: not reached\n"),
        }
    };
    ("Acceptance criteria", findings::criteria(story).into_iter().map(line).collect())
}

fn next_steps(story: &Story) -> Part {
    ("Next steps", findings::next_steps(story).iter().map(|step| format!("- {}\n", inline(step))).collect())
}
