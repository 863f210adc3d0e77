//! The run so far, as one value. All readers render from it.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::render::clean;
use crate::{
    domain::{Failure, Outcome, Stage, StepId, record::key, row::RowId},
    engine::event::{Body, Event, Preview, RowInfo, RowKind, Verdict},
};

/// Longest text that is kept, in bytes, and most lines of details: a program that floods us shall not fill the memory,
/// and nobody reads that far. The journal has everything.
const LONGEST_TEXT: usize = 4 * 1024;
const MOST_DETAILS: usize = 200;

/// What a run is about, and so what can be said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Works on the runner alone and cannot say anything of a site.
    Bundle,
    /// Makes a release, or was asked to.
    Release,
    /// Rolls back to an earlier release, or was asked to.
    Rollback,
    /// Looks at a site and would change nothing.
    Site,
    /// Looks whether a release would go through, and makes none.
    Preflight,
    /// Compares a server with what was confirmed on it.
    Verify,
    /// Looks how GitHub and the server stand.
    Audit,
    /// Brings to its end what another run left.
    Recovery,
    /// Corrects one finding, or was asked to.
    Fix,
}

/// Everything the events told, in the order of the table.
#[derive(Debug, Clone, Default)]
pub struct RunView {
    pub stage: String,
    /// When the run began, milliseconds since 1970.
    pub began_unix_ms: i64,
    /// From the beginning to the last event.
    pub took_ms: u64,
    pub rows: Vec<Row>,
    pub records: BTreeMap<String, Value>,
    pub warnings: Vec<Warning>,
    pub plan: Option<PlanRecord>,
    /// How holds were given back.
    pub released: Vec<Ended>,
    /// From here on failures are warnings: nobody rolls a confirmed release back.
    pub committed: bool,
    /// `None` while it runs, and for ever if it was killed.
    pub outcome: Option<Outcome>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub info: RowInfo,
    #[serde(flatten)]
    pub state: RowState,
    #[serde(rename = "taken_back", skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoRecord>,
    /// Whether it ended after the commit.
    #[serde(skip)]
    pub after_commit: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum RowState {
    NotReached,
    Running { since_ms: u64 },
    Finished { verdict: Verdict, text: String, failure: Option<Failure>, took_ms: u64 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UndoRecord {
    /// What undoing this row means.
    pub text: String,
    /// `None` while it is being undone.
    pub done: Option<Ended>,
    /// Whether there was something to undo.
    pub undone: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    pub step: String,
    pub text: String,
    pub failure: Option<Failure>,
    pub took_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub step: String,
    /// Empty where it has none yet, or an earlier version wrote the report.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub code: Cow<'static, str>,
    pub text: String,
    pub hint: Option<String>,
}

/// Why the run stopped at the approval, and what it would have done.
#[derive(Debug, Clone, Serialize)]
pub struct PlanRecord {
    pub because: String,
    pub previews: Vec<Preview>,
}

impl RunView {
    /// The story that a stored list of events tells.
    pub fn of<'e>(events: impl IntoIterator<Item = &'e Event>) -> Self {
        let mut view = Self::default();
        events.into_iter().for_each(|event| view.apply(event));
        view
    }

    /// Takes in one event.
    pub fn apply(&mut self, event: &Event) {
        self.took_ms = event.elapsed_ms;
        match &event.body {
            Body::RunStarted { stage, rows } => {
                self.stage.clone_from(stage);
                self.began_unix_ms = event.unix_ms - i64::try_from(event.elapsed_ms).unwrap_or(0);
                self.rows = rows
                    .iter()
                    .map(|info| Row {
                        info: info.clone(),
                        state: RowState::NotReached,
                        undo: None,
                        after_commit: false,
                    })
                    .collect();
            }
            Body::Started { step } => self.set(step.as_str(), RowState::Running { since_ms: event.elapsed_ms }),
            Body::Finished { step, verdict, text, failure, took_ms } => {
                let state = RowState::Finished {
                    verdict: *verdict,
                    text: short(text),
                    failure: failure.as_ref().map(short_failure),
                    took_ms: *took_ms,
                };
                self.set(step.as_str(), state);
            }
            Body::Committed { step } => {
                self.committed = true;
                let text = "confirmed; the run rolls back no more".to_owned();
                self.set(
                    step.as_str(),
                    RowState::Finished { verdict: Verdict::Passed, text, failure: None, took_ms: 0 },
                );
            }
            Body::UndoStarted { step, text } => {
                if let Some(row) = self.row_mut(step.as_str()) {
                    row.undo = Some(UndoRecord { text: text.clone(), done: None, undone: false });
                }
            }
            Body::UndoFinished { step, undone, text, failure, took_ms } => {
                let ended = ended(step, text, failure.as_ref(), *took_ms);
                if let Some(undo) = self.row_mut(step.as_str()).and_then(|row| row.undo.as_mut()) {
                    undo.done = Some(ended);
                    undo.undone = *undone;
                }
            }
            // Told for the runner's state alone.
            Body::Recorded { key, .. } if key == key::LOCK => {}
            Body::Recorded { key, value, .. } => {
                self.records.insert(key.clone(), value.clone());
            }
            Body::Warned { step, code, text, hint } => {
                let (code, hint) = (code.clone(), hint.as_deref().map(short));
                let warning = Warning { step: step.to_string(), code, text: short(text), hint };
                let at = self.place_of_warning(&warning.step);
                self.warnings.insert(at, warning);
            }
            Body::Planned { because, previews } => {
                self.plan = Some(PlanRecord { because: because.clone(), previews: previews.clone() })
            }
            Body::CleanedUp { step, text, failure } => {
                self.released.push(ended(step, text, failure.as_ref(), 0));
            }
            Body::RunFinished { outcome } => self.outcome = Some(short_outcome(outcome)),
            Body::Line { .. } | Body::Progress { .. } | Body::Attempt { .. } => {}
        }
    }

    pub fn row(&self, id: RowId) -> Option<&Row> {
        self.rows.iter().find(|row| row.info.step == id)
    }

    /// The row of a step, if it is one.
    pub fn step(&self, step: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.info.step.as_str() == step)
    }

    /// A fact in its type. What has another shape than its key promises counts as not told: a reader prints nothing
    /// rather than something wrong (F4).
    pub fn record<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.records.get(key).and_then(|value| T::deserialize(value).ok())
    }

    /// A fact that is text; empty text counts as not told.
    pub fn text_record(&self, key: &str) -> Option<&str> {
        self.records.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Whether the rows after the approval were allowed to run.
    pub fn executed(&self) -> bool {
        self.record(key::EXECUTED).unwrap_or(false)
    }

    /// What the run is about. A run whose stage could not be read is told as a release: that claims the least.
    pub fn subject(&self) -> Subject {
        match self.stage.parse() {
            Ok(Stage::BuildGate) => Subject::Bundle,
            Ok(Stage::Smoke) => Subject::Site,
            Ok(Stage::Preflight) => Subject::Preflight,
            Ok(Stage::Verify) => Subject::Verify,
            Ok(Stage::Rollback) => Subject::Rollback,
            Ok(Stage::Audit) => Subject::Audit,
            Ok(Stage::Recover) => Subject::Recovery,
            Ok(Stage::Fix) => Subject::Fix,
            _ => Subject::Release,
        }
    }

    /// Rows that failed before the commit; more than one where they let each other run.
    pub fn failed_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict() == Some(Verdict::Failed) && !row.after_commit)
    }

    /// Rows after the approval.
    pub fn release_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.info.survey)
    }

    /// Everything somebody should look at: what steps warned of, rows that ended with a warning of their own, rows that
    /// failed after the commit, and holds that could not be given back. Headline, summary and
    /// evidence count these.
    pub fn all_warnings(&self) -> Vec<Warning> {
        let rows = self.rows.iter().filter_map(|row| self.warning_of(row));
        let kept = self.released.iter().filter_map(|ended| Some(Warning::of(&ended.step, ended.failure.as_ref()?)));
        self.warnings.iter().cloned().chain(rows).chain(kept).collect()
    }

    fn warning_of(&self, row: &Row) -> Option<Warning> {
        let RowState::Finished { verdict, text, failure, .. } = &row.state else { return None };
        let step = row.info.step.as_str();
        match (verdict, failure) {
            (Verdict::Warned, Some(failure)) => Some(Warning::of(step, failure)),
            // A row that warned on its way only sums up at its end.
            (Verdict::Warned, None) if self.warnings.iter().any(|warning| warning.step == step) => None,
            (Verdict::Warned, None) => {
                Some(Warning { step: step.to_owned(), code: Cow::default(), text: text.clone(), hint: None })
            }
            (Verdict::Failed, Some(failure)) if row.after_commit => Some(Warning::of(step, failure)),
            _ => None,
        }
    }

    /// Behind those that were told before. Of rows in lanes they stand in the order of the table, whichever was told first.
    fn place_of_warning(&self, step: &str) -> usize {
        let lane_row = |step: &str| {
            let (at, row) = self.rows.iter().enumerate().find(|(_, row)| row.info.step.as_str() == step)?;
            row.info.lane.map(|_| at)
        };
        let Some(own) = lane_row(step) else { return self.warnings.len() };
        let later = self.warnings.iter().rev().take_while(|earlier| lane_row(&earlier.step).is_some_and(|at| at > own));
        self.warnings.len() - later.count()
    }

    fn row_mut(&mut self, step: &str) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.info.step.as_str() == step)
    }

    fn set(&mut self, step: &str, state: RowState) {
        let committed = self.committed;
        if let Some(row) = self.row_mut(step) {
            row.state = state;
            row.after_commit = committed;
        }
    }
}

impl Warning {
    fn of(step: &str, failure: &Failure) -> Self {
        Self {
            step: step.to_owned(),
            code: failure.code.clone(),
            text: failure.to_string(),
            hint: failure.hint.clone(),
        }
    }

    /// Whether both say the same. A report of an earlier version has no codes.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        (&self.step, &self.text, &self.hint) == (&other.step, &other.text, &other.hint)
    }
}

impl Row {
    /// Number and title, as in the table.
    pub fn name(&self) -> String {
        match self.info.number {
            Some(number) => format!("{number} {}", self.info.title),
            None => self.info.title.clone(),
        }
    }

    /// Whether it runs or is being undone.
    pub fn is_at_work(&self) -> bool {
        matches!(self.state, RowState::Running { .. }) || self.undo.as_ref().is_some_and(|undo| undo.done.is_none())
    }

    pub fn verdict(&self) -> Option<Verdict> {
        match &self.state {
            RowState::Finished { verdict, .. } => Some(*verdict),
            RowState::NotReached | RowState::Running { .. } => None,
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        match &self.state {
            RowState::Finished { failure, .. } => failure.as_ref(),
            RowState::NotReached | RowState::Running { .. } => None,
        }
    }

    pub fn changes_something(&self) -> bool {
        self.info.kind == RowKind::Change
    }
}

fn short(text: &str) -> String {
    clean::cut(text, LONGEST_TEXT)
}

fn short_failure(failure: &Failure) -> Failure {
    let details = failure.details.iter().take(MOST_DETAILS).map(|line| short(line)).collect();
    let hint = failure.hint.as_deref().map(short);
    Failure {
        kind: failure.kind,
        code: failure.code.clone(),
        doing: short(&failure.doing),
        cause: short(&failure.cause),
        hint,
        details,
    }
}

/// The commands to type stay as they are: half a command is worse than none.
fn short_outcome(outcome: &Outcome) -> Outcome {
    let mut outcome = outcome.clone();
    match &mut outcome {
        Outcome::Planned | Outcome::Passed | Outcome::Live { .. } => {}
        Outcome::Refused { cause, stays, .. } | Outcome::RolledBack { cause, stays, .. } => {
            *cause = short_failure(cause);
            stays.iter_mut().for_each(|stays| *stays = short(stays));
        }
        Outcome::Stuck { cause, undo_cause, stays, .. } => {
            *cause = short_failure(cause);
            *undo_cause = short_failure(undo_cause);
            stays.iter_mut().for_each(|stays| *stays = short(stays));
        }
    }
    outcome
}

fn ended(step: &StepId, text: &str, failure: Option<&Failure>, took_ms: u64) -> Ended {
    Ended { step: step.to_string(), text: short(text), failure: failure.map(short_failure), took_ms }
}
