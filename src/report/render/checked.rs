//! What a pre-flight checked, a line each.

use super::{
    markdown::{help_in_cell, row, short, title},
    words,
};
use crate::{
    domain::record::{Finding, Judgement, Score, key},
    engine::event::Verdict,
    report::run_view::{Row, RowState, RunView},
};

/// Longest text in a cell, in characters.
const CELL: usize = 240;
/// Longest finding or hint, in characters.
const SENTENCE: usize = 1200;

pub(crate) const HEAD: [&str; 3] = ["Check", "Found", "Verdict"];

/// What a pre-flight looked at, a line each: what its rows told, and the row itself where it told nothing.
pub(crate) fn rows(view: &RunView) -> Vec<String> {
    checked(view).into_iter().map(|checked| checked.row(SENTENCE)).collect()
}

/// The findings to see to before a release, each with what to do.
pub(crate) fn warned_rows(view: &RunView) -> Vec<String> {
    let checked = checked(view).into_iter();
    checked.filter(|checked| checked.judged == Some(Judgement::Warned)).map(|checked| checked.row(SENTENCE)).collect()
}

/// All others. What failed stands above with its cause and its code, and what a row warned of stands among the warnings.
pub(crate) fn other_rows(view: &RunView) -> Vec<String> {
    let others = checked(view).into_iter().filter(|checked| checked.judged != Some(Judgement::Warned));
    let brief = others.map(|checked| match checked.mark {
        "❌ NO-GO" | "⚠️ warned" => Checked { found: words::SEE_ABOVE.to_owned(), hint: None, ..checked },
        _ => checked,
    });
    brief.map(|checked| checked.row(SENTENCE)).collect()
}

/// How many checks of a pre-flight passed, and how many were made.
pub(crate) fn count(view: &RunView) -> Score {
    let marks: Vec<&str> = checked(view).into_iter().map(|checked| checked.mark).collect();
    let made = marks.iter().filter(|mark| !mark.contains("skipped") && !mark.contains("not reached"));
    Score { passed: marks.iter().filter(|mark| mark.contains("passed")).count(), total: made.count() }
}

pub(crate) fn findings(view: &RunView) -> Vec<Finding> {
    view.record(key::FINDINGS).unwrap_or_default()
}

/// One check of a pre-flight.
struct Checked {
    check: String,
    found: String,
    hint: Option<String>,
    mark: &'static str,
    /// `None` where the row told no findings.
    judged: Option<Judgement>,
}

impl Checked {
    fn of(finding: &Finding) -> Self {
        let mark = match finding.judgement {
            Judgement::Passed => "✅ passed",
            Judgement::Warned => "⚠️ warned",
            Judgement::Failed => "❌ NO-GO",
        };
        Self {
            check: short(&finding.check, CELL),
            found: finding.found.clone(),
            hint: finding.hint.clone(),
            mark,
            judged: Some(finding.judgement),
        }
    }

    fn of_row(step: &Row) -> Self {
        let (found, mark) = match &step.state {
            RowState::NotReached => (String::new(), "◽ not reached"),
            RowState::Running { .. } => (String::new(), "⏳ running"),
            RowState::Finished { verdict: Verdict::Failed, failure: Some(failure), .. } => {
                (failure.to_string(), "❌ NO-GO")
            }
            RowState::Finished { verdict, text, .. } => (text.clone(), words::verdict_mark(*verdict)),
        };
        Self { check: title(&step.info.title), found, hint: None, mark, judged: None }
    }

    fn row(&self, longest: usize) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("<br>{}", help_in_cell(hint, longest)));
        let found = format!("{}{}", short(&self.found, longest), hint.unwrap_or_default());
        row([self.check.as_str(), &found, self.mark])
    }
}

fn checked(view: &RunView) -> Vec<Checked> {
    let findings = findings(view);
    let lines = view.rows.iter().flat_map(|step| {
        let mut described =
            findings.iter().filter(|finding| finding.step == step.info.step).map(Checked::of).peekable();
        match described.peek() {
            Some(_) => described.collect(),
            None => vec![Checked::of_row(step)],
        }
    });
    lines.collect()
}
