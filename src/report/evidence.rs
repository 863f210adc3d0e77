//! The evidence of a run: a report for the file, and the same as JSON.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    ReportDir, Setting,
    file::Complaint,
    log::Log,
    markdown::{code, head, inline},
    plan, sections,
    story::{Story, Subject},
    words,
};
use crate::{
    domain::{
        Outcome,
        fact::{BackupFact, BundleFact, HealthReport, Score, Switch, key},
        gate::GateReport,
    },
    engine::event::{Body, Event, Reader, Verdict},
};

/// Version of the JSON; readers refuse what they do not know.
const DOCUMENT_VERSION: u32 = 1;

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
        let document = serde_json::to_string_pretty(&redactor.value(&document(&self.story)))?;
        whole(&dir.join(file_name(&self.story, "json")), &(document + "\n"))?;
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
        _ => "VALIDATION",
    };
    format!("{subject}_{}.{extension}", words::stamp(story.began_unix_ms))
}

/// The whole run, for programs.
pub fn document(story: &Story) -> serde_json::Value {
    serde_json::json!({
        "version": DOCUMENT_VERSION,
        "stage": story.stage,
        "began": words::time(story.began_unix_ms),
        "took_ms": story.took_ms,
        "outcome": story.outcome.as_ref().map(Outcome::word),
        "exit_code": story.outcome.as_ref().map(Outcome::exit_code),
        "ending": story.outcome,
        "facts": story.facts,
        "plan": plan::document(story),
        "warnings": story.all_warnings(),
        "rows": story.rows,
        "released": story.released,
    })
}

/// The report as Markdown (pipeline.md, "Reports").
pub fn render(story: &Story, setting: &Setting) -> String {
    let outcome = story.outcome.as_ref().map_or("unknown", Outcome::word);
    // A look at a site has no gates, no link and no bundle: a heading for them would say that they were not reached.
    let only_releases = ["Gate results", "Symlink before and after", "Release, commit and bundle"];
    let parts = [
        (
            "Executive summary",
            format!(
                "**{}**\n\n{}\n{}",
                inline(&words::headline(story)),
                sections::overview(story, setting),
                sections::ending(story)
            ),
        ),
        ("Pre-conditions", format!("{}{}", steps(story, true), sections::baseline(story))),
        (
            "Run evidence",
            format!(
                "Began {}, outcome `{outcome}`.\n\n{}{}",
                words::time(story.began_unix_ms),
                steps(story, false),
                sections::warnings(story)
            ),
        ),
        ("Gate results", sections::all_gates(story)),
        ("Health checks", or_not_reached(sections::health(story))),
        ("Symlink before and after", symlink(story)),
        ("Release, commit and bundle", or_not_reached(release(story) + &sections::checks(story))),
        ("Acceptance criteria", criteria(story)),
        ("Next steps", next_steps(story)),
    ];
    let title = format!(
        "# {} of {}\n\n",
        match story.subject() {
            Subject::Release => "Release",
            Subject::Rollback => "Rollback",
            Subject::Bundle | Subject::Site => "Validation",
        },
        words::time(story.began_unix_ms)
    );
    let parts =
        parts.into_iter().filter(|(title, _)| story.subject() != Subject::Site || !only_releases.contains(title));
    parts.fold(title, |text, (title, part)| format!("{text}## {title}\n\n{}\n\n", part.trim_end()))
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
    let before = story.text_fact(key::PREVIOUS_RELEASE).map_or("nothing".to_owned(), code);
    let after = match (&story.outcome, story.fact::<Switch>(key::SWITCH)) {
        (Some(Outcome::Stuck { .. }), Some(_)) => "unknown: undoing failed".to_owned(),
        (Some(Outcome::RolledBack { .. }), Some(switch)) => {
            format!("{before} again, after it was {}", code(switch.to.as_str()))
        }
        (_, Some(switch)) => code(switch.to.as_str()),
        (_, None) => format!("{before}: this run did not switch"),
    };
    sections::table_of_pairs(&[("Before", before), ("After", after)])
}

fn release(story: &Story) -> String {
    let mut lines = Vec::new();
    if let Some(release) = story.text_fact(key::RELEASE) {
        lines.push(("Release", code(release)));
    }
    if let Some(sha) = story.text_fact(key::SHA) {
        lines.push(("Commit", code(sha)));
    }
    if let Some(bundle) = story.fact::<BundleFact>(key::BUNDLE) {
        lines.push(("Bundle SHA-256", code(bundle.sha256.as_str())));
    }
    if lines.is_empty() { String::new() } else { format!("{}\n", sections::table_of_pairs(&lines)) }
}

/// What a run must have shown. Each is computed from what was told (F89): met, not met and why, or not reached, which is
/// not the same.
fn criteria(story: &Story) -> String {
    let score = |passed: usize, total: usize| {
        if total > 0 && passed == total { Ok(()) } else { Err(format!("{passed}/{total}")) }
    };
    let gates = || story.fact::<GateReport>(key::GATES).map(|report| score(report.passed(), report.total()));
    let bundle = || {
        let bundle = story.fact::<BundleFact>(key::BUNDLE)?;
        Some(if bundle.verified_at.is_empty() { Err("it was compared with nothing".to_owned()) } else { Ok(()) })
    };
    let backup = || {
        let backup = story.fact::<BackupFact>(key::BACKUP)?;
        Some(if backup.files.is_empty() { Err(backup.skipped.join("; ")) } else { Ok(()) })
    };
    let health = || {
        let Score { passed, total } = story.fact::<HealthReport>(key::HEALTH)?.score();
        Some(score(passed, total))
    };
    let assets = || story.fact::<Score>(key::ASSETS).map(|assets| score(assets.passed, assets.total));
    // A step that failed before it could tell a fact was reached all the same.
    let unless_failed = |met: Option<Result<(), String>>, steps: &[&str]| {
        let failed = |step: &&str| story.row(step).is_some_and(|row| row.verdict() == Some(Verdict::Failed));
        met.or_else(|| steps.iter().any(failed).then(|| Err("its step failed".to_owned())))
    };
    // Under the lock, and not only when it was chosen.
    let tree = || {
        let verdict = story.row("unchanged-tree")?.verdict()?;
        Some(if verdict == Verdict::Passed { Ok(()) } else { Err("its step failed".to_owned()) })
    };
    let bundle = (
        "The bundle's digest was seen to be the same in another place",
        unless_failed(bundle(), &["fetch-bundle", "verify-bundle"]),
    );
    let gates = ("Every gate passed", unless_failed(gates(), &["verify-tree", "pre-bundle-gates"]));
    let assets = ("Every asset of the front end answered", unless_failed(assets(), &["assets"]));
    let health = unless_failed(health(), &["health"]);
    let mut criteria = match story.subject() {
        Subject::Bundle => vec![bundle, gates],
        Subject::Release => vec![
            bundle,
            gates,
            ("A backup was made and verified", unless_failed(backup(), &["backup"])),
            ("The new release answered healthy on every endpoint", health),
            assets,
        ],
        Subject::Rollback => vec![
            ("The release is still what was confirmed", tree()),
            gates,
            ("The release that was gone back to answered healthy on every endpoint", health),
            assets,
        ],
        Subject::Site => vec![("The site answered healthy on every endpoint", health), assets],
    };
    let failed = story.rows.iter().filter(|row| row.verdict() == Some(Verdict::Failed)).count();
    let steps = || if failed == 0 { Ok(()) } else { Err(words::count(failed, "step")) };
    criteria.push(("No step failed", (!story.rows.is_empty()).then(steps)));
    let line = |(text, met): (&str, Option<Result<(), String>>)| match met {
        Some(Ok(())) => format!("- [x] {text}\n"),
        Some(Err(why)) => format!("- [ ] {text}: not met ({})\n", inline(&why)),
        None => format!("- [ ] {text}: not reached\n"),
    };
    criteria.into_iter().map(line).collect()
}

fn next_steps(story: &Story) -> String {
    let hint = story.outcome.as_ref().and_then(Outcome::cause).and_then(|cause| cause.hint.as_deref());
    let ours = match &story.outcome {
        None => "See where the run stopped, and run it again.",
        Some(Outcome::Planned) => "Read the plan; approve it with the phrase in the job summary, or do nothing.",
        Some(Outcome::Passed) => match story.subject() {
            Subject::Bundle => "Release it.",
            Subject::Release | Subject::Rollback | Subject::Site => "None: everything is in order.",
        },
        Some(Outcome::Live { .. }) if story.subject() == Subject::Rollback => {
            "Find out what was wrong with the release that was left, and release its repair; it is no target of a rollback any more."
        }
        Some(Outcome::Live { .. }) if story.all_warnings().is_empty() => "None: the release is confirmed.",
        Some(Outcome::Live { .. }) => "Look at the warnings above; the release is confirmed.",
        Some(Outcome::Refused { .. }) => "Remove the cause, then run again.",
        Some(Outcome::RolledBack { .. }) if story.subject() == Subject::Rollback => {
            "Find out why the earlier release did not do; if it was not well, the next rollback passes it over."
        }
        Some(Outcome::RolledBack { .. }) => {
            "Find out why the release failed before it is tried again; mind what stays."
        }
        Some(Outcome::Stuck { .. }) => {
            "Type the commands above on the server now, in that order, then look at the site."
        }
    };
    let hint = hint.map(|hint| format!("- {}\n", inline(hint))).unwrap_or_default();
    format!("{hint}- {ours}\n")
}
