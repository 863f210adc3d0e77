//! The evidence of a run: a report for the file, and the same as JSON.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    ReportDir, Setting,
    file::Complaint,
    log::Log,
    markdown::{code, head, inline},
    plan, sections,
    story::Story,
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
        fs::write(dir.join(file_name(&self.story, "json")), document + "\n")?;
        fs::write(dir.join(file_name(&self.story, "md")), redactor.text(&render(&self.story, &self.setting)))
    }
}

/// The name of the report: what it is evidence of, and when the run began.
pub fn file_name(story: &Story, extension: &str) -> String {
    let subject = match story.stage.as_str() {
        "deploy-staging" => "E2E_STAGING_VALIDATION",
        "deploy-production" => "E2E_PRODUCTION_DEPLOYMENT",
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
        if story.runs_without_server() { "Validation" } else { "Release" },
        words::time(story.began_unix_ms)
    );
    parts.into_iter().fold(title, |text, (title, part)| format!("{text}## {title}\n\n{}\n\n", part.trim_end()))
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

/// What a release must have shown. Each is computed from what was told; what was not told is not ticked (F89).
fn criteria(story: &Story) -> String {
    let gates = story
        .fact::<GateReport>(key::GATES)
        .is_some_and(|report| report.total() > 0 && report.passed() == report.total());
    let bundle = story.fact::<BundleFact>(key::BUNDLE).is_some_and(|bundle| !bundle.verified_at.is_empty());
    let mut criteria =
        vec![("The bundle's digest was seen to be the same in another place", bundle), ("Every gate passed", gates)];
    if !story.runs_without_server() {
        let health = story.fact::<HealthReport>(key::HEALTH).is_some_and(|report| report.healthy());
        let assets =
            story.fact::<Score>(key::ASSETS).is_some_and(|score| score.total > 0 && score.passed == score.total);
        criteria.extend([
            ("A backup was made and verified", story.fact::<BackupFact>(key::BACKUP).is_some()),
            ("The new release answered healthy on every endpoint", health),
            ("Every asset of the front end answered", assets),
        ]);
    }
    let failed = story.rows.iter().any(|row| row.verdict() == Some(Verdict::Failed));
    criteria.push(("No step failed", !story.rows.is_empty() && !failed));
    criteria.into_iter().map(|(text, met)| format!("- [{}] {text}\n", if met { "x" } else { " " })).collect()
}

fn next_steps(story: &Story) -> String {
    let hint = story.outcome.as_ref().and_then(Outcome::cause).and_then(|cause| cause.hint.as_deref());
    let ours = match &story.outcome {
        None => "See where the run stopped, and run it again.",
        Some(Outcome::Planned) => "Read the plan; approve it with the phrase in the job summary, or do nothing.",
        Some(Outcome::Passed) => "Release it.",
        Some(Outcome::Live { .. }) if story.all_warnings().is_empty() => "None: the release is confirmed.",
        Some(Outcome::Live { .. }) => "Look at the warnings above; the release is confirmed.",
        Some(Outcome::Refused { .. }) => "Remove the cause, then run again.",
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
