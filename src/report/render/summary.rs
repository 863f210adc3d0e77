//! The job summary: what a release engineer understands in ten seconds, at two in the morning.

use std::path::PathBuf;

use super::{
    audit, checked, first, fix,
    log::Log,
    markdown::{block, code, folded, head, short, table_of_pairs, title},
    sections, words,
};
use crate::{
    domain::{Approval, FailureKind, Outcome, Sha256Digest, record::key},
    engine::event::{Body, Event, Reader},
    report::{
        Setting,
        record::file::OwnPart,
        render::ending,
        run_view::{PlanRecord, Row, RunView, Subject},
    },
};

/// Most bytes of a summary. The runner uploads nothing at all of one above 1 MiB (actions/runner `FileCommandManager.cs`), and nobody
/// reads that far.
pub const LONGEST: usize = 64 * 1024;

/// Kept for the note that says what was left out, and for the end of what is folded.
const NOTE: usize = 400;

/// Keeps the file of the job summary true while the run goes on, so that a run that is killed has left one that says
/// where it died. What stood in the file before stays.
pub struct Summary {
    log: Log,
    setting: Setting,
    view: RunView,
    file: Option<OwnPart>,
}

impl Summary {
    /// `path` is where `GITHUB_STEP_SUMMARY` points, if anywhere.
    pub fn new(path: Option<PathBuf>, setting: Setting, log: Log) -> Self {
        Self {
            file: path.map(|path| OwnPart::new(path, "the job summary", log.clone())),
            log,
            setting,
            view: RunView::default(),
        }
    }
}

impl Reader for Summary {
    fn read(&mut self, event: &Event) {
        self.view.apply(&self.log.redactor().event(event));
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
            file.write(&self.log.redactor().text(&render(&self.view, &self.setting)));
        }
    }
}

/// The summary of a story, at most [`LONGEST`] bytes: what somebody must know first on the first screen, all else folded below it.
pub fn render(view: &RunView, setting: &Setting) -> String {
    let mut page = Page::new();
    page.push(&format!("## {} {}\n\n", mark(view), title(&ending::headline(view))));
    if view.subject() == Subject::Audit {
        page.push(&audit::decisions(view));
    }
    page.push(&first::cause(view));
    page.push(&first::failing_gates(view));
    page.push(&first::rows(view, setting));
    page.push(&first::stays(view));
    page.push(&first::site_health(view));
    warnings(&mut page, view);
    match view.subject() {
        Subject::Audit => page.table("### Open findings\n\n", &audit::HEAD, audit::rows(view, false)),
        Subject::Fix => page.push(&fix::section(view)),
        _ => {}
    }
    if let Some(plan) = &view.plan {
        would_run(&mut page, view, plan);
        page.push(&approval(view, setting, plan));
    }
    folded_away(&mut page, view);
    page.finish()
}

fn warnings(page: &mut Page, view: &RunView) {
    if !matches!(view.subject(), Subject::Preflight | Subject::Verify) {
        page.push(&sections::warnings(view));
        return;
    }
    let (found, apart) = (checked::warned_rows(view), sections::warnings_apart(view));
    let title = format!("### {}\n\n", sections::warnings_title(view));
    match (found.is_empty(), apart.is_empty()) {
        (true, true) => {}
        (true, false) => page.push(&format!("{title}{apart}\n")),
        (false, _) => {
            page.table(&title, &checked::HEAD, found);
            page.push(&if apart.is_empty() { apart } else { format!("{apart}\n") });
        }
    }
}

/// Checks, steps with their times, and evidence.
fn folded_away(page: &mut Page, view: &RunView) {
    match view.subject() {
        Subject::Preflight | Subject::Verify => page.fold("Checks", &checked::HEAD, checked::other_rows(view)),
        Subject::Audit => page.fold("Findings that are met", &audit::HEAD, audit::rows(view, true)),
        _ => {}
    }
    // A build that was checked is all that there is to say of it, and stands on the first screen.
    if view.subject() != Subject::Bundle {
        let lines = table_of_pairs(&sections::check_lines(view));
        let health = if first::site_health(view).is_empty() { sections::health(view) } else { String::new() };
        if !(lines.is_empty() && health.is_empty()) {
            let has_checks = matches!(view.subject(), Subject::Preflight | Subject::Verify);
            let title = if has_checks { "Scores" } else { "Checks" };
            page.push(&folded(title, &format!("{lines}\n{health}")));
        }
    }
    let planned = view.plan.is_some();
    let ran = view.rows.iter().filter(|row| !planned || row.info.survey);
    let rows = sections::brief_rows(view, ran);
    let title = format!("{}, {}", words::count(rows.len(), "step"), words::duration(view.took_ms));
    page.fold(&title, &sections::STEPS_HEAD, rows);
    if view.subject() != Subject::Bundle {
        let lines = table_of_pairs(&sections::evidence_lines(view));
        if !lines.is_empty() {
            page.push(&folded("Evidence", &lines));
        }
    }
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
        self.rows(&format!("{title}{}", head(columns)), rows, "\n");
    }

    /// The same, folded away below its title.
    fn fold(&mut self, title: &str, columns: &[&str], rows: Vec<String>) {
        let before = format!("<details><summary>{title}</summary>\n\n{}", head(columns));
        self.rows(&before, rows, "\n</details>\n\n");
    }

    /// As many rows as there is room for, and no head without a row.
    fn rows(&mut self, before: &str, rows: Vec<String>, after: &str) {
        let fits = |page: &Self, row: &str| page.rows_left_out == 0 && page.fits(row);
        let mut rows = rows.into_iter();
        let Some(first) = rows.next() else { return };
        let begin = format!("{before}{first}");
        if !fits(self, &begin) {
            self.rows_left_out += 1 + rows.count();
            return;
        }
        self.text.push_str(&begin);
        for row in rows {
            if fits(self, &row) {
                self.text.push_str(&row);
            } else {
                self.rows_left_out += 1;
            }
        }
        self.text.push_str(after);
    }

    fn finish(mut self) -> String {
        let left_out: Vec<String> = [(self.rows_left_out, "row"), (self.parts_left_out, "section")]
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

fn mark(view: &RunView) -> &'static str {
    match &view.outcome {
        None => "⏳",
        Some(Outcome::Planned) => "📋",
        Some(Outcome::Passed | Outcome::Live { .. }) => "✅",
        Some(Outcome::Refused { cause, .. }) if cause.kind == FailureKind::Cancelled => "🛑",
        Some(Outcome::Refused { .. }) => "⛔",
        Some(Outcome::RolledBack { .. }) => "↩️",
        Some(Outcome::Stuck { .. }) => "🚨",
    }
}

/// What is approved: each row with its undo, then the commands of those that have some.
fn would_run(page: &mut Page, view: &RunView, plan: &PlanRecord) {
    let rows: Vec<&Row> = view.release_rows().collect();
    let changes = rows.iter().filter(|row| row.changes_something()).count();
    let title = format!("What would run: {}, {}", words::count(rows.len(), "step"), words::count(changes, "change"));
    page.fold(&title, &sections::STEPS_HEAD, sections::brief_rows(view, rows.into_iter()));
    page.push(&previews(view, plan));
}

/// How to approve what stands above.
fn approval(view: &RunView, setting: &Setting, plan: &PlanRecord) -> String {
    // A plan without a digest does not know what would be released: there is nothing to approve.
    let digest: Option<Sha256Digest> = view.record(key::PLAN_DIGEST);
    let because = short(&plan.because, 1200);
    let (Some(phrase), Some(digest)) = (&setting.phrase, digest) else {
        return format!("### Not approved\n\nThis run only planned: {because}.\n\n");
    };
    let verb = if matches!(view.subject(), Subject::Rollback | Subject::Fix) { "carry out" } else { "release" };
    let bare = match setting.needs_digest {
        true => "The policy requires the digest: the phrase alone is refused.".to_owned(),
        false => format!("Without the digest, {} approves whatever the next run plans.", code(phrase)),
    };
    format!(
        "### Approve this plan\n\nThis run only planned: {because}.\n\nTo {verb} exactly this plan, run again with `approval` set to:\n\n\
         {}\nThis approval is valid only while the plan stays the same. {bare}\n\n",
        block(&[Approval::phrase_for(phrase, &digest)], 1, 500),
    )
}

/// The commands of the rows that would run, folded away.
fn previews(view: &RunView, plan: &PlanRecord) -> String {
    let described: Vec<String> = plan
        .previews
        .iter()
        .filter(|preview| !preview.lines.is_empty())
        .map(|preview| {
            format!(
                "**{}**\n\n{}\n",
                title(&ending::title_of(view, preview.step.as_str())),
                block(&preview.lines, 40, 500)
            )
        })
        .collect();
    if described.is_empty() { String::new() } else { folded("Commands", &described.concat()) }
}
