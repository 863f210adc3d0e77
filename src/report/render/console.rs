//! The log, as it is followed while the run goes on and read after it failed.
//!
//! In Actions each row's output folds away behind its title. Its verdict, and every failure with cause, hint and details,
//! stand outside: nobody has to unfold anything to see why. Every line begins with something of ours.

use std::collections::HashMap;

use super::{
    clean,
    log::{Log, Style},
    words,
};
use crate::{
    domain::{Failure, Outcome, StepId, record::key},
    engine::event::{Body, Event, Reader, Verdict},
    report::{
        render::ending,
        run_view::{Row, RowState, RunView},
    },
};

/// Progress is told this often at most, in milliseconds, and once more when its row ends.
const PROGRESS_EVERY: u64 = 5_000;

/// Tells the run to the log, live.
pub struct Console {
    log: Log,
    view: RunView,
    /// The row whose group is open.
    open: Option<StepId>,
    progress: HashMap<(StepId, String), Progress>,
}

/// What was told of one piece of long work.
struct Progress {
    shown_ms: u64,
    /// Come since, and not told yet.
    pending: Option<String>,
}

impl Console {
    pub fn new(log: Log) -> Self {
        Self { log, view: RunView::default(), open: None, progress: HashMap::new() }
    }
}

impl Reader for Console {
    fn read(&mut self, event: &Event) {
        let event = self.log.redactor().event(event);
        self.view.apply(&event);
        match &event.body {
            Body::RunStarted { stage, rows } if rows.is_empty() => self.log.line(&format!("gated-deploy {stage}")),
            Body::RunStarted { stage, rows } => {
                self.log.line(&format!("gated-deploy {stage}: {}", words::count(rows.len(), "step")));
            }
            Body::Started { step } => self.begin(step, &self.name(step)),
            Body::Line { step, text } => self.log.text(&self.prefix(step), text),
            Body::Progress { step, what, done, total, bytes_per_second } => {
                let text = progress(what, *done, *total, *bytes_per_second);
                self.progress(step, what, text, event.elapsed_ms);
            }
            Body::Attempt { step, n, of, text } => {
                self.log.line(&format!("{}attempt {n} of {of}: {}", self.indent(step), clean::one_line(text)));
            }
            Body::Recorded { .. } | Body::Planned { .. } => {}
            Body::Warned { step, code, text, hint } => self.warned(step, code, text, hint.as_deref()),
            Body::Finished { step, verdict, text, failure, took_ms } => {
                self.finished(step, *verdict, text, failure.as_ref(), *took_ms);
            }
            Body::UndoStarted { step, text } => self.begin(step, &format!("undo \"{}\": {text}", self.name(step))),
            Body::UndoFinished { step, undone, text, failure, took_ms } => {
                self.undo_finished(step, *undone, text, failure.as_ref(), *took_ms);
            }
            Body::Committed { step } => {
                self.log.line(&format!("ok    {}: confirmed; the run rolls back no more", self.name(step)))
            }
            Body::CleanedUp { step, text, failure } => self.released(step, text, failure.as_ref()),
            Body::RunFinished { .. } => self.run_finished(),
        }
    }
}

impl Console {
    fn begin(&mut self, step: &StepId, title: &str) {
        match self.log.style() {
            // Groups do not nest: of rows that run together the first has the group, the others say their name. Of lanes none has one, or
            // the end of a row would be folded away with the output of another.
            Style::Actions if self.open.is_none() && !self.has_lane(step) => {
                self.log.group(title);
                self.open = Some(step.clone());
            }
            Style::Actions | Style::Plain => self.log.line(&format!("-->   {title}")),
        }
    }

    fn end(&mut self, step: &StepId) {
        self.tell_pending(step);
        if self.open.as_ref() == Some(step) {
            self.log.group_ends();
            self.open = None;
        }
    }

    fn finished(&mut self, step: &StepId, verdict: Verdict, text: &str, failure: Option<&Failure>, took_ms: u64) {
        self.end(step);
        let name = self.name(step);
        let word = match verdict {
            Verdict::Passed => "ok   ",
            Verdict::Warned => "warn ",
            Verdict::Skipped => "skip ",
            Verdict::Failed => "FAIL ",
            Verdict::Stopped => "stop ",
        };
        let text = if verdict == Verdict::Failed { "failed".to_owned() } else { clean::one_line(text) };
        self.log.line(&format!("{word} {name}: {text} ({})", words::duration(took_ms)));
        match (verdict, failure) {
            (Verdict::Failed, Some(failure)) if !self.view.committed => self.failed(&format!("{name} failed"), failure),
            (_, Some(failure)) => self.advisory(&name, failure),
            (_, None) => {}
        }
    }

    /// A row that may fail: a warning with everything that a failure would say.
    fn advisory(&self, name: &str, failure: &Failure) {
        let title = format!("{name} failed, and the run went on{}", in_title(&failure.code));
        let message = format!("{failure}{}{}", in_message(&failure.code), hint_of(failure));
        self.log.warning(&title, &message);
        self.log.text("  detail: ", &failure.details.join("\n"));
    }

    fn failed(&self, title: &str, failure: &Failure) {
        self.log.annotate_error(&format!("{title}{}", in_title(&failure.code)), &brief(failure));
        self.explain(failure);
    }

    fn explain(&self, failure: &Failure) {
        self.log.text("error: ", &failure.to_string());
        if !failure.code.is_empty() {
            self.log.line(&format!("  code: {}", clean::one_line(&failure.code)));
        }
        self.log.text("  detail: ", &failure.details.join("\n"));
        // Without a prefix in front of the lines behind the first: they are there to be copied.
        if let Some(hint) = &failure.hint {
            self.log.text("", &format!("help: {hint}"));
        }
    }

    fn warned(&self, step: &StepId, code: &str, text: &str, hint: Option<&str>) {
        let hint = hint.map(|hint| format!("\nhelp: {hint}")).unwrap_or_default();
        let title = format!("{}{}", self.name(step), in_title(code));
        self.log.warning(&title, &format!("{text}{}{hint}", in_message(code)));
    }

    fn undo_finished(&mut self, step: &StepId, undone: bool, text: &str, failure: Option<&Failure>, took_ms: u64) {
        self.end(step);
        let name = self.name(step);
        let took = words::duration(took_ms);
        match failure {
            None if undone => self.log.line(&format!("undone {name}: {} ({took})", clean::one_line(text))),
            None => self.log.line(&format!("nothing to undo in {name}: {} ({took})", clean::one_line(text))),
            Some(failure) => {
                self.log.line(&format!("FAIL  undoing {name} ({took})"));
                self.failed(&format!("Undoing \"{name}\" failed"), failure);
            }
        }
    }

    fn released(&self, step: &StepId, text: &str, failure: Option<&Failure>) {
        match failure {
            None => self.log.line(&format!("back  {}: {}", self.name(step), clean::one_line(text))),
            Some(failure) => self.warned(step, &failure.code, &failure.to_string(), failure.hint.as_deref()),
        }
    }

    fn run_finished(&mut self) {
        let Some(outcome) = &self.view.outcome.clone() else { return };
        if let Some(step) = self.open.take() {
            self.tell_pending(&step);
            self.log.group_ends();
        }
        let headline = ending::headline(&self.view);
        let (stays, by_hand) = leftovers(outcome);
        if let Some(cause) = outcome.cause() {
            let at = outcome.at().map(|at| ending::title_of(&self.view, at.as_str())).unwrap_or_default();
            self.ended_badly(&headline, &at, cause, by_hand);
        }
        self.log.line(&headline);
        self.log.text("  ", &journey(&self.view));
        for stays in stays {
            self.log.text("  stays: ", stays);
        }
        if let Outcome::Stuck { undo_cause, .. } = outcome {
            self.log.text("  undoing failed: ", &undo_cause.to_string());
        }
        for command in by_hand {
            self.log.text("  type: ", command);
        }
        self.log.line(&format!("  took: {}", words::duration(self.view.took_ms)));
    }

    /// The cause was explained where its row failed; a run that ended between rows (at the approval, on its inputs) has had
    /// no such place.
    fn ended_badly(&self, headline: &str, at: &str, cause: &Failure, by_hand: &[String]) {
        let explained = self.view.rows.iter().any(|row| failure_of(row) == Some(cause));
        if !explained {
            self.explain(cause);
        }
        let type_this = by_hand.iter().map(|command| format!("type: {command}\n"));
        let blockers = self.blockers();
        let message: String = match blockers.as_slice() {
            [] | [_] => type_this.chain([format!("at: {at}\n"), brief(cause)]).collect(),
            several => type_this.chain([several.join("\n")]).collect(),
        };
        if let [_, _, ..] = blockers.as_slice() {
            self.log.line(&format!("{} blockers found. Fix all of them, then run again:", blockers.len()));
            for blocker in &blockers {
                self.log.text("  blocker: ", blocker);
            }
        }
        self.log.annotate_outcome(headline, &message);
    }

    /// Every failure of rows that let each other run, in a form that makes sense apart from its row.
    fn blockers(&self) -> Vec<String> {
        /// A row that found several problems has one in each detail; other details are the end of a log.
        const DETAILS: usize = 10;
        let shown = |row: &Row| {
            let failure = row.failure()?;
            let details = failure.details.iter().take(DETAILS).map(|detail| format!("\n  {}", clean::one_line(detail)));
            Some(format!("{}: {failure}{}{}", row.name(), details.collect::<String>(), hint_of(failure)))
        };
        self.view.failed_rows().filter_map(shown).collect()
    }

    fn progress(&mut self, step: &StepId, what: &str, text: String, now_ms: u64) {
        let indent = self.indent(step);
        let shown = self.progress.get(&(step.clone(), what.to_owned())).map(|progress| progress.shown_ms);
        let due = shown.is_none_or(|shown| now_ms.saturating_sub(shown) >= PROGRESS_EVERY);
        if due {
            self.log.line(&format!("{indent}{text}"));
        }
        let shown_ms = if due { now_ms } else { shown.unwrap_or(now_ms) };
        self.progress.insert((step.clone(), what.to_owned()), Progress { shown_ms, pending: (!due).then_some(text) });
    }

    /// How far the work of a row had come when it ended.
    fn tell_pending(&mut self, step: &StepId) {
        let indent = self.indent(step);
        self.progress.retain(|(of, _), progress| {
            if of == step
                && let Some(text) = &progress.pending
            {
                self.log.line(&format!("{indent}{text}"));
            }
            of != step
        });
    }

    /// Whether it runs beside rows of other lanes. It is undone alone.
    fn has_lane(&self, step: &StepId) -> bool {
        let row = self.view.step(step.as_str());
        row.is_some_and(|row| row.info.lane.is_some() && matches!(row.state, RowState::Running { .. }))
    }

    fn name(&self, step: &StepId) -> String {
        ending::title_of(&self.view, step.as_str())
    }

    /// Before our own lines: says which row speaks, when it is not the one whose group is open.
    fn indent(&self, step: &StepId) -> String {
        if self.speaks_alone(step) { "  ".to_owned() } else { format!("  {step}: ") }
    }

    /// Before lines that came from elsewhere: never blank, so that none of them can begin like a command.
    fn prefix(&self, step: &StepId) -> String {
        if self.speaks_alone(step) { "  | ".to_owned() } else { format!("  {step} | ") }
    }

    fn speaks_alone(&self, step: &StepId) -> bool {
        match self.log.style() {
            Style::Actions => self.open.as_ref() == Some(step),
            Style::Plain => self.view.rows.iter().all(|row| row.info.step == *step || !row.is_at_work()),
        }
    }
}

/// From where to where.
fn journey(view: &RunView) -> String {
    let Some(release) = view.text_record(key::RELEASE) else { return String::new() };
    let previous = view.text_record(key::PREVIOUS_RELEASE).unwrap_or("(nothing was live)");
    let site = view.text_record(key::URL).map(|url| format!(" on {url}")).unwrap_or_default();
    format!("release: {previous} -> {release}{}{site}", ending::note(view))
}

fn leftovers(outcome: &Outcome) -> (&[String], &[String]) {
    match outcome {
        Outcome::Planned | Outcome::Passed | Outcome::Live { .. } => (&[], &[]),
        Outcome::Refused { stays, .. } | Outcome::RolledBack { stays, .. } => (stays, &[]),
        Outcome::Stuck { stays, by_hand, .. } => (stays, by_hand),
    }
}

/// A code behind the title of an annotation.
fn in_title(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" [{}]", clean::one_line(code)) }
}

/// The code of a warning below its text.
fn in_message(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!("\ncode: {}", clean::one_line(code)) }
}

/// Cause, details and hint, for an annotation, which has no log beside it.
fn brief(failure: &Failure) -> String {
    const MOST: usize = 10;
    let mut lines = vec![failure.to_string()];
    lines.extend(failure.details.iter().take(MOST).map(|detail| format!("- {detail}")));
    if failure.details.len() > MOST {
        lines.push(format!("- and {} more: see the log", failure.details.len() - MOST));
    }
    lines.join("\n") + &hint_of(failure)
}

fn hint_of(failure: &Failure) -> String {
    failure.hint.as_ref().map(|hint| format!("\nhelp: {hint}")).unwrap_or_default()
}

fn failure_of(row: &Row) -> Option<&Failure> {
    row.verdict().filter(|verdict| *verdict == Verdict::Failed).and(row.failure())
}

fn progress(what: &str, done: u64, total: Option<u64>, bytes_per_second: u64) -> String {
    let (what, done_bytes, rate) = (clean::one_line(what), words::bytes(done), words::bytes(bytes_per_second));
    match total {
        Some(total) if total > 0 => {
            let percent = u128::from(done) * 100 / u128::from(total);
            format!("{what}: {done_bytes} of {} ({percent} %), {rate}/s", words::bytes(total))
        }
        _ => format!("{what}: {done_bytes}, {rate}/s"),
    }
}
