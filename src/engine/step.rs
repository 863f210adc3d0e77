//! Rows and tables.

use std::{
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use futures_util::future;
use tokio::sync::watch;

use super::event::{Body, Events, RowInfo, RowKind, Verdict};
use crate::domain::{Failure, Outcome, StepId, Warning, row::RowId};

/// A future on the run's own thread. Steps share their context by reference, so it need not be `Send`.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a step gives back.
pub type StepResult = Result<Done, Failure>;

/// A step that did its work, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub verdict: Verdict,
    pub text: String,
}

impl Done {
    /// It worked. `text` is what a person wants to know of it: "26.6 MB in 1.2 s", "9/9".
    pub fn passed(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Passed, text: text.into() }
    }

    /// It worked, with a warning.
    pub fn warned(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warned, text: text.into() }
    }

    /// There was nothing to do.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, text: why.into() }
    }
}

/// What an undo found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// The change was there and is undone.
    Done(String),
    /// The change was not there; nothing had to be done.
    Nothing(String),
    /// What the step made does no harm and stays, because it is useful (a verified backup) or could not be read. The outcome
    /// lists it under "what stays".
    Stays(String),
}

/// How the rows before it ended, for a hold that is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub outcome: Outcome,
    /// The rows after the approval that were really done, in order: not those that failed, found nothing to do, or were not reached.
    pub done: Vec<StepId>,
    /// The run was cancelled, and its time was too short to undo everything: the next run completes the rollback, so nothing that it needs
    /// for that may be removed.
    pub handed_over: bool,
}

/// What a step may say and hear while it works.
#[derive(Clone)]
pub struct Io {
    step: StepId,
    events: Events,
    cancel: watch::Receiver<bool>,
    /// Of a row in a lane: whether a row of any lane has failed.
    stop: Option<watch::Receiver<bool>>,
}

impl Io {
    pub(super) fn new(step: StepId, events: Events, cancel: watch::Receiver<bool>) -> Self {
        Self { step, events, cancel, stop: None }
    }

    /// The same for a row in a lane, which also ends when a row of another lane has failed.
    pub(super) fn in_lane(self, stop: watch::Receiver<bool>) -> Self {
        Self { stop: Some(stop), ..self }
    }

    pub fn step(&self) -> &StepId {
        &self.step
    }

    /// A line that a person may want to follow. Foreign text is fine: readers make it safe.
    pub fn line(&self, text: impl Into<String>) {
        self.events.emit(Body::Line { step: self.step.clone(), text: text.into() });
    }

    /// Bytes moved so far.
    pub fn progress(&self, what: &str, done: u64, total: Option<u64>, bytes_per_second: u64) {
        self.events.emit(Body::Progress {
            step: self.step.clone(),
            what: what.to_owned(),
            done,
            total,
            bytes_per_second,
        });
    }

    /// Attempt `n` of `of` ended with `text`.
    pub fn attempt(&self, n: u32, of: u32, text: impl Into<String>) {
        self.events.emit(Body::Attempt { step: self.step.clone(), n, of, text: text.into() });
    }

    /// A named value for the readers. Values must serialise; what does not is a fault of ours and is told as such.
    pub fn record(&self, key: &str, value: impl serde::Serialize) {
        let value = serde_json::to_value(value)
            .unwrap_or_else(|error| serde_json::Value::String(format!("(not serialisable: {error})")));
        self.events.emit(Body::Recorded { step: self.step.clone(), key: key.to_owned(), value });
    }

    /// Something that is not as it should be, and does not stop the run: a warning of `errors`, or a failure after which the run goes on.
    pub fn warning(&self, warning: impl Into<Warning>) {
        self.events.emit(Body::warned(self.step.clone(), warning));
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.events.elapsed()
    }

    /// Whether this step is to end: the run was cancelled, or a row of another lane failed. Undo steps are never cancelled.
    pub fn cancelled(&self) -> bool {
        *self.cancel.borrow() || self.stop.as_ref().is_some_and(|stop| *stop.borrow())
    }

    /// Resolves when this step is to end; never, if it is not.
    pub async fn until_cancelled(&self) {
        match &self.stop {
            None => said(&self.cancel).await,
            Some(stop) => {
                future::select(pin!(said(&self.cancel)), pin!(said(stop))).await;
            }
        }
    }
}

async fn said(asked: &watch::Receiver<bool>) {
    let mut asked = asked.clone();
    if asked.wait_for(|asked| *asked).await.is_err() {
        future::pending::<()>().await;
    }
}

/// A step's work. Every `async fn(&Context, &Io) -> StepResult` is one; types implement it to offer a preview too.
pub trait Act<C> {
    fn act<'a>(&'a self, cx: &'a C, io: &'a Io) -> Local<'a, StepResult>;

    /// What the plan prints for this row: commands or sentences.
    fn preview(&self, _cx: &C) -> Vec<String> {
        Vec::new()
    }
}

impl<C, F> Act<C> for F
where
    F: for<'a> AsyncFn(&'a C, &'a Io) -> StepResult,
{
    fn act<'a>(&'a self, cx: &'a C, io: &'a Io) -> Local<'a, StepResult> {
        Box::pin(async move { self(cx, io).await })
    }
}

/// Undoes a change. It looks first, and finding nothing is fine: it is armed before the change begins. A failure of the kind
/// `Cancelled` hands over: what is undone after it is not begun, and the next holder of the lock goes on.
pub trait UndoAct<C> {
    fn undo<'a>(&'a self, cx: &'a C, io: &'a Io) -> Local<'a, Result<Undone, Failure>>;

    /// What a person would type if even this failed.
    fn by_hand(&self, _cx: &C) -> Vec<String> {
        Vec::new()
    }
}

impl<C, F> UndoAct<C> for F
where
    F: for<'a> AsyncFn(&'a C, &'a Io) -> Result<Undone, Failure>,
{
    fn undo<'a>(&'a self, cx: &'a C, io: &'a Io) -> Local<'a, Result<Undone, Failure>> {
        Box::pin(async move { self(cx, io).await })
    }
}

/// Gives a hold back, knowing how the run ends. Returns what it did, in a sentence.
pub trait CleanupAct<C> {
    fn cleanup<'a>(&'a self, cx: &'a C, io: &'a Io, ending: &'a Ending) -> Local<'a, Result<String, Failure>>;
}

impl<C, F> CleanupAct<C> for F
where
    F: for<'a> AsyncFn(&'a C, &'a Io, &'a Ending) -> Result<String, Failure>,
{
    fn cleanup<'a>(&'a self, cx: &'a C, io: &'a Io, ending: &'a Ending) -> Local<'a, Result<String, Failure>> {
        Box::pin(async move { self(cx, io, ending).await })
    }
}

/// How a change is undone, or why it is not.
pub enum Undo<C> {
    Do { text: &'static str, act: Box<dyn UndoAct<C>> },
    No { because: &'static str },
    Within { what: &'static str },
}

/// The undo of a change: what it does, in words, and the step that does it.
pub fn undo<C>(text: &'static str, act: impl UndoAct<C> + 'static) -> Undo<C> {
    Undo::Do { text, act: Box::new(act) }
}

/// Why a change is not undone. The outcome lists it under "what stays".
pub fn no_undo<C>(because: &'static str) -> Undo<C> {
    Undo::No { because }
}

/// A change that goes when an earlier row is undone, as `what` says: it needs no undo of its own and does not stay.
pub fn within<C>(what: &'static str) -> Undo<C> {
    Undo::Within { what }
}

/// How a hold is given back.
pub struct Cleanup<C> {
    pub(super) text: &'static str,
    pub(super) act: Box<dyn CleanupAct<C>>,
    pub(super) at_commit: bool,
}

pub fn cleanup<C>(text: &'static str, act: impl CleanupAct<C> + 'static) -> Cleanup<C> {
    Cleanup { text, act: Box::new(act), at_commit: false }
}

impl<C> Cleanup<C> {
    /// A run that commits gives it back then, and not after the rows that follow the commit.
    #[must_use]
    pub fn at_commit(mut self) -> Self {
        self.at_commit = true;
        self
    }
}

pub(super) enum Work<C> {
    Observe(Box<dyn Act<C>>),
    Hold(Box<dyn Act<C>>, Cleanup<C>),
    Change(Box<dyn Act<C>>, Undo<C>),
    Check(Box<dyn Act<C>>),
    Commit,
}

/// One row of a table.
pub struct Row<C> {
    pub(super) id: StepId,
    pub(super) number: Option<u8>,
    pub(super) title: String,
    pub(super) work: Work<C>,
    pub(super) advisory: bool,
    pub(super) activates: bool,
    pub(super) runs_on: bool,
    pub(super) decides: bool,
}

impl<C> Row<C> {
    /// A title may begin with the pipeline's step number: `"11 Unpack into releases/<name>"`.
    fn new(id: &'static str, title: &'static str, work: Work<C>) -> Self {
        let (number, title) = match title.split_once(' ') {
            Some((number, rest)) if number.parse::<u8>().is_ok() => (number.parse().ok(), rest),
            _ => (None, title),
        };
        Self {
            id: StepId::new(id),
            number,
            title: title.to_owned(),
            work,
            advisory: false,
            activates: false,
            runs_on: false,
            decides: false,
        }
    }

    /// Failing is a warning: the run goes on (F51: advisory failures appear in the verdict).
    #[must_use]
    pub fn advisory(mut self) -> Self {
        self.advisory = true;
        self
    }

    /// Failing ends the run only when the rows after it have looked, too, so that one problem does not hide the others.
    ///
    /// # Panics
    /// If the row does more than read before the approval: after a failed change nothing may go on. A fault in a table, caught by
    /// the first test that builds it.
    #[must_use]
    pub fn run_on(mut self) -> Self {
        assert!(
            matches!(self.work, Work::Observe(_)),
            "{}: only rows that observe can fail and let others run",
            self.id
        );
        self.runs_on = true;
        self
    }

    /// Undoing this change is the rollback; before it, a failing run is only refused.
    #[must_use]
    pub fn activates(mut self) -> Self {
        self.activates = true;
        self
    }

    /// This row decides whether the run commits. Once begun it is not cancelled. If it fails with the kind `Cancelled`, its answer is
    /// unknown, and nothing is undone: the run may have committed.
    #[must_use]
    pub fn decides(mut self) -> Self {
        self.decides = true;
        self
    }

    pub(super) fn info(&self, survey: bool, lane: Option<usize>) -> RowInfo {
        let (kind, undo) = match &self.work {
            Work::Observe(_) => (RowKind::Observe, None),
            Work::Hold(_, release) => (RowKind::Hold, Some(release.text.to_owned())),
            Work::Change(_, Undo::Do { text, .. }) => (RowKind::Change, Some((*text).to_owned())),
            Work::Change(_, Undo::Within { what }) => (RowKind::Change, Some((*what).to_owned())),
            Work::Change(_, Undo::No { because }) => (RowKind::Change, Some(format!("not undone: {because}"))),
            Work::Check(_) => (RowKind::Check, None),
            Work::Commit => (RowKind::Commit, None),
        };
        let lane = lane.and_then(|lane| u8::try_from(lane).ok());
        RowInfo { step: self.id.clone(), number: self.number, title: self.title.clone(), kind, undo, survey, lane }
    }

    /// Number and title, as readers show them.
    pub(super) fn name(&self) -> String {
        self.number.map_or_else(|| self.title.clone(), |number| format!("{number} {}", self.title))
    }
}

/// Reads; runs in plan mode too.
pub fn observe<C>(id: &'static str, title: &'static str, act: impl Act<C> + 'static) -> Row<C> {
    Row::new(id, title, Work::Observe(Box::new(act)))
}

/// Takes something and gives it back however the run ends.
pub fn hold<C>(id: &'static str, title: &'static str, act: impl Act<C> + 'static, release: Cleanup<C>) -> Row<C> {
    Row::new(id, title, Work::Hold(Box::new(act), release))
}

/// Changes the server and says how that is undone, or why it is not.
pub fn change<C>(id: &'static str, title: &'static str, act: impl Act<C> + 'static, undo: Undo<C>) -> Row<C> {
    Row::new(id, title, Work::Change(Box::new(act), undo))
}

/// Reads after a change; failing unwinds.
pub fn check<C>(id: &'static str, title: &'static str, act: impl Act<C> + 'static) -> Row<C> {
    Row::new(id, title, Work::Check(Box::new(act)))
}

/// From here on nothing is rolled back: later failures are warnings.
pub fn commit<C>(id: &'static str, title: &'static str) -> Row<C> {
    Row::new(id, title, Work::Commit)
}

/// A place in the table: one row, or rows that run at the same time.
pub enum Entry<C> {
    One(Row<C>),
    Together(Vec<Row<C>>),
    Lanes(Vec<Vec<Row<C>>>),
}

impl<C> From<Row<C>> for Entry<C> {
    fn from(row: Row<C>) -> Self {
        Self::One(row)
    }
}

impl<C> Entry<C> {
    /// Whether a row of this name stands here.
    pub fn has(&self, id: RowId) -> bool {
        self.rows().any(|row| row.id == id)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row<C>> {
        let (rows, lanes): (&[Row<C>], &[Vec<Row<C>>]) = match self {
            Self::One(row) => (std::slice::from_ref(row), &[]),
            Self::Together(rows) => (rows, &[]),
            Self::Lanes(lanes) => (&[], lanes),
        };
        rows.iter().chain(lanes.iter().flatten())
    }

    #[cfg(any(test, feature = "fault"))]
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row<C>> {
        let (rows, lanes): (&mut [Row<C>], &mut [Vec<Row<C>>]) = match self {
            Self::One(row) => (std::slice::from_mut(row), &mut []),
            Self::Together(rows) => (rows, &mut []),
            Self::Lanes(lanes) => (&mut [], lanes),
        };
        rows.iter_mut().chain(lanes.iter_mut().flatten())
    }

    fn infos(&self, survey: bool) -> Vec<RowInfo> {
        match self {
            Self::Lanes(lanes) => {
                let of = |(lane, rows): (usize, &Vec<Row<C>>)| -> Vec<RowInfo> {
                    rows.iter().map(|row| row.info(survey, Some(lane + 1))).collect()
                };
                lanes.iter().enumerate().flat_map(of).collect()
            }
            Self::One(_) | Self::Together(_) => self.rows().map(|row| row.info(survey, None)).collect(),
        }
    }
}

/// Puts a row behind another one, in its lane if it stands in one.
pub fn insert_after<C>(entries: &mut Vec<Entry<C>>, id: RowId, row: Row<C>) {
    let at = entries.iter().position(|entry| entry.has(id)).unwrap_or(entries.len());
    if let Some(Entry::Lanes(lanes)) = entries.get_mut(at)
        && let Some((lane, at)) =
            lanes.iter_mut().find_map(|lane| lane.iter().position(|row| row.id == id).map(|at| (lane, at)))
    {
        lane.insert(at + 1, row);
        return;
    }
    entries.insert((at + 1).min(entries.len()), row.into());
}

/// Rows that need nothing from each other. Only rows that read can run together: changes have an order to be undone in.
///
/// # Panics
/// If a row is a hold, a change or a commit: a fault in a table, caught by the first test that builds it.
pub fn together<C>(rows: Vec<Row<C>>) -> Entry<C> {
    for row in &rows {
        assert!(
            matches!(row.work, Work::Observe(_) | Work::Check(_)),
            "{}: only rows that read can run together",
            row.id
        );
    }
    Entry::Together(rows)
}

/// Rows that run one after the other in their lane, and beside those of the other lanes, changes included. What follows needs all lanes.
///
/// The undos of all lanes are one list, in the order in which they were armed. If a row fails, or the run is cancelled, the other lanes are
/// stopped and have ended before anything is undone (decision 37).
///
/// # Panics
/// If a row decides whether the run commits, commits it, or activates the release: beside it nothing may be at work that could still fail.
pub fn lanes<C>(lanes: Vec<Vec<Row<C>>>) -> Entry<C> {
    for row in lanes.iter().flatten() {
        let alone = row.decides || row.activates || matches!(row.work, Work::Commit);
        assert!(!alone, "{}: what decides, activates or commits cannot stand in a lane", row.id);
    }
    Entry::Lanes(lanes)
}

/// A whole run: rows that look, the approval, rows that act.
pub struct Table<S, D> {
    pub survey: Vec<Entry<S>>,
    pub apply: Vec<Entry<D>>,
}

impl<S, D> Table<S, D> {
    /// Every row in order, as the first event and the outline test show it.
    pub fn outline(&self) -> Vec<RowInfo> {
        let survey = self.survey.iter().flat_map(|entry| entry.infos(true));
        let apply = self.apply.iter().flat_map(|entry| entry.infos(false));
        survey.chain(apply).collect()
    }
}
