//! The job summary: what a release engineer understands in ten seconds, at two in the morning.

use std::path::PathBuf;

use super::{
    audit, fix,
    log::Log,
    markdown::{block, code, head, inline, short},
    sections, words,
};
use crate::{
    domain::{Approval, FailureKind, Outcome, Sha256Digest, fact::key},
    engine::event::{Body, Event, Reader},
    report::{
        Setting,
        record::file::OwnPart,
        render::ending,
        story::{PlanTold, Story, Subject},
    },
};

/// Most bytes of a summary. The runner uploads nothing at all of one above 1 MiB (actions/runner `FileCommandManager.cs`), and nobody
/// reads that far.
pub const LONGEST: usize = 64 * 1024;

/// Kept for the note that says what was left out.
const NOTE: usize = 200;

/// Keeps the file of the job summary true while the run goes on, so that a run that is killed has left one that says
/// where it died. What stood in the file before stays.
pub struct Summary {
    log: Log,
    setting: Setting,
    story: Story,
    file: Option<OwnPart>,
}

impl Summary {
    /// `path` is where `GITHUB_STEP_SUMMARY` points, if anywhere.
    pub fn new(path: Option<PathBuf>, setting: Setting, log: Log) -> Self {
        Self {
            file: path.map(|path| OwnPart::new(path, "the job summary", log.clone())),
            log,
            setting,
            story: Story::default(),
        }
    }
}

impl Reader for Summary {
    fn read(&mut self, event: &Event) {
        self.story.hear(&self.log.redactor().event(event));
        let turns = matches!(
            event.body,
            Body::RunStarted { .. }
                | Body::Started { .. }
                | Body::Finished { .. }
                | Body::Planned { .. }
                | Body::UndoStarted { .. }
                | Body::UndoFinished { .. }
                | Body::RunFinished { .. }
        );
        if turns && let Some(file) = &mut self.file {
            file.write(&self.log.redactor().text(&render(&self.story, &self.setting)));
        }
    }
}

/// The summary of a story, at most [`LONGEST`] bytes.
pub fn render(story: &Story, setting: &Setting) -> String {
    let title = format!("## {} {}\n\n", mark(story), inline(&ending::headline(story)));
    let before = [
        title,
        format!("{}\n", sections::overview(story, setting)),
        sections::ending(story),
        sections::failing_gates(story),
        approval(story, setting),
        sections::warnings(story),
        sections::checks(story),
        sections::health(story),
    ];
    let mut page = Page::new();
    before.into_iter().for_each(|part| page.push(&part));
    if story.subject() == Subject::Preflight {
        page.table("### What was looked at\n\n", &sections::FINDINGS_HEAD, sections::finding_rows(story));
    }
    if story.subject() == Subject::Audit {
        page.push(&audit::decisions(story));
        page.table("### Target and actual\n\n", &audit::HEAD, audit::rows(story));
    }
    if story.subject() == Subject::Fix {
        let table = fix::table(story);
        if !table.is_empty() {
            page.push(&format!("### Before and after\n\n{table}"));
        }
    }
    page.table("### Steps\n\n", &sections::STEPS_HEAD, sections::step_rows(story));
    if let Some(plan) = &story.plan {
        page.push(&previews(story, plan));
    }
    page.finish()
}

/// Puts parts together as long as there is room, and counts what there was none for.
struct Page {
    text: String,
    parts_left_out: usize,
    rows_left_out: usize,
}

impl Page {
    fn new() -> Self {
        Self { text: String::new(), parts_left_out: 0, rows_left_out: 0 }
    }

    fn fits(&self, part: &str) -> bool {
        self.text.len() + part.len() + NOTE <= LONGEST
    }

    fn push(&mut self, part: &str) {
        if self.fits(part) {
            self.text.push_str(part);
        } else {
            self.parts_left_out += 1;
        }
    }

    fn table(&mut self, title: &str, columns: &[&str], rows: Vec<String>) {
        if rows.is_empty() {
            return;
        }
        self.push(&format!("{title}{}", head(columns)));
        for row in rows {
            if self.rows_left_out == 0 && self.fits(&row) {
                self.text.push_str(&row);
            } else {
                self.rows_left_out += 1;
            }
        }
        self.text.push('\n');
    }

    fn finish(mut self) -> String {
        let left_out: Vec<String> = [(self.rows_left_out, "step"), (self.parts_left_out, "section")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| words::count(n, what))
            .collect();
        if !left_out.is_empty() {
            self.text.push_str(&format!(
                "_Cut at {} KiB: {} left out. The log has everything._\n",
                LONGEST / 1024,
                left_out.join(" and ")
            ));
        }
        self.text
    }
}

fn mark(story: &Story) -> &'static str {
    match &story.outcome {
        None => "⏳",
        Some(Outcome::Planned) => "📋",
        Some(Outcome::Passed | Outcome::Live { .. }) => "✅",
        Some(Outcome::Refused { cause, .. }) if cause.kind == FailureKind::Cancelled => "🛑",
        Some(Outcome::Refused { .. }) => "⛔",
        Some(Outcome::RolledBack { .. }) => "↩️",
        Some(Outcome::Stuck { .. }) => "🚨",
    }
}

/// Why it is only a plan, and what to write to have it done.
fn approval(story: &Story, setting: &Setting) -> String {
    let Some(plan) = &story.plan else { return String::new() };
    let mut text = format!("### To go ahead\n\n**Why it is only a plan:** {}\n\n", short(&plan.because, 1200));
    // A plan without a digest does not know what would be released: there is nothing to approve.
    let digest: Option<Sha256Digest> = story.fact(key::PLAN_DIGEST);
    if let (Some(phrase), Some(digest)) = (&setting.phrase, digest) {
        text.push_str(&format!(
            "To {} exactly this plan, run again with `approval` set to:\n\n{}\n",
            if matches!(story.subject(), Subject::Rollback | Subject::Fix) { "carry out" } else { "release" },
            block(&[Approval::phrase_for(phrase, &digest)], 1, 500)
        ));
        text.push_str(&format!(
            "While the plan stays the same, the digest counts; {} alone approves whatever the plan is then.\n\n",
            code(phrase)
        ));
    }
    text
}

/// What the rows would do, folded away.
fn previews(story: &Story, plan: &PlanTold) -> String {
    let told: Vec<String> = plan
        .previews
        .iter()
        .filter(|preview| !preview.lines.is_empty())
        .map(|preview| {
            format!(
                "**{}**\n\n{}\n",
                inline(&ending::title_of(story, preview.step.as_str())),
                block(&preview.lines, 40, 500)
            )
        })
        .collect();
    if told.is_empty() {
        return String::new();
    }
    format!("<details><summary>What would run</summary>\n\n{}</details>\n\n", told.concat())
}
