//! Running a table.

use std::{
    cell::{Cell, RefCell},
    panic::AssertUnwindSafe,
    time::Duration,
};

use futures_util::{FutureExt as _, future};
use tokio::{sync::watch, time::Instant};

use super::{
    event::{Body, Events, Preview, UNDECIDED, Verdict, millis},
    step::{Act, Cleanup, Done, Ending, Entry, Io, Local, Row, StepResult, Table, Undo, Undone, Work},
};
use crate::domain::{Failure, FailureKind, Outcome, StepId, row};

/// Where a run stopped that the approval refused: no row failed.
pub const APPROVAL: &str = "approval";

/// How long a run goes on after it was cancelled. The runner sends its second signal after 7.5 s, and kills the run 2.5 s later
/// (actions/runner `ProcessInvoker.cs`); the rest of that time is for the report.
pub const AFTER_CANCEL: Duration = Duration::from_millis(4500);

/// The request to cancel, and how long the run may go on after it.
#[derive(Clone)]
pub struct Cancel {
    pub asked: watch::Receiver<bool>,
    pub time: Duration,
}

impl From<watch::Receiver<bool>> for Cancel {
    fn from(asked: watch::Receiver<bool>) -> Self {
        Self { asked, time: AFTER_CANCEL }
    }
}

/// What the approval decided.
pub struct Decided<D> {
    /// Everything the rows after the approval know. Fixed from here on, so that an undo is written from what was known before.
    pub cx: D,
    pub decision: Decision,
}

/// Whether the rows after the approval run.
pub enum Decision {
    Go,
    /// Stop here on purpose and print what would have run.
    Plan {
        because: String,
    },
    /// Stop here: it was asked for, and it may not be.
    Refuse(Failure),
}

/// Runs a table from its first row to its outcome.
///
/// `settle` turns what the survey rows found into the context of the release rows. Once `cancel` asks for it, no new row begins and the
/// changes are undone.
pub async fn run_table<S, D>(
    stage: &str,
    table: &Table<S, D>,
    survey: S,
    decide: impl AsyncFnOnce(S) -> Result<Decided<D>, Failure>,
    events: &Events,
    cancel: impl Into<Cancel>,
) -> Outcome {
    events.emit(Body::RunStarted { stage: stage.to_owned(), rows: table.outline() });
    let Cancel { asked: cancel, time } = cancel.into();
    let run = Run { events, cancel, time, asked: Cell::new(None) };
    let outcome = run.through(table, survey, decide).await;
    events.emit(Body::RunFinished { outcome: outcome.clone() });
    outcome
}

struct Run<'a> {
    events: &'a Events,
    cancel: watch::Receiver<bool>,
    /// How long it goes on after that.
    time: Duration,
    /// When the run noticed that it was cancelled.
    asked: Cell<Option<Instant>>,
}

/// How unwinding ended, and whether there was time for all of it.
struct Unwound {
    outcome: Outcome,
    handed_over: bool,
}

/// A row that failed or was stopped, and why.
#[derive(Clone)]
struct Stop {
    at: StepId,
    cause: Failure,
    /// False if the run was cancelled before the row did anything.
    began: bool,
    /// It may have committed the run all the same.
    undecided: bool,
    /// It was ended, because a row of another lane had failed.
    stopped: bool,
}

impl Stop {
    /// Whether the rows after it may look all the same.
    fn lets_others_run<C>(&self, row: &Row<C>) -> bool {
        row.runs_on && self.cause.kind != FailureKind::Cancelled
    }
}

/// What has been done so far and how to take it back, of all lanes.
struct Stack<'t, D> {
    /// In the order in which they were armed.
    undos: Vec<(&'t Row<D>, &'t Undo<D>)>,
    holds: Vec<(&'t Row<D>, &'t Cleanup<D>)>,
    done: Vec<StepId>,
    /// Rows that were at work when the run failed.
    unfinished: Vec<StepId>,
    warnings: usize,
    committed: bool,
}

impl<'t, D> Stack<'t, D> {
    fn new() -> Self {
        let (undos, holds, done, unfinished) = Default::default();
        Self { undos, holds, done, unfinished, warnings: 0, committed: false }
    }

    /// Before the row begins: a dropped line can hide a finished change.
    fn arm(&mut self, row: &'t Row<D>) {
        match &row.work {
            Work::Change(_, undo) if !self.committed => self.undos.push((row, undo)),
            Work::Hold(_, release) => self.holds.push((row, release)),
            _ => {}
        }
    }

    fn ended(&mut self, row: &Row<D>, verdict: Verdict) {
        self.warnings += usize::from(verdict == Verdict::Warned);
        match verdict {
            // What found nothing to do leaves nothing that could stay.
            Verdict::Skipped => {
                self.undos.retain(|(armed, undo)| armed.id != row.id || !matches!(undo, Undo::No { .. }));
            }
            _ => self.done.push(row.id.clone()),
        }
    }

    fn failed(&mut self, stop: &Stop) {
        if self.committed {
            // After the commit nothing stops the run any more: a failed clean-up is no reason to roll back a healthy site.
            self.warnings += 1;
        } else if stop.began {
            self.unfinished.push(stop.at.clone());
        } else {
            self.undos.retain(|(armed, _)| armed.id != stop.at);
        }
    }
}

/// What the rows of lanes know of each other: which of them failed first, and that all others are to end.
struct Lanes {
    asked: watch::Sender<bool>,
    /// What is told of a row that is stopped.
    because: RefCell<String>,
    first: RefCell<Option<Stop>>,
}

impl Lanes {
    fn new() -> Self {
        Self { asked: watch::Sender::new(false), because: RefCell::default(), first: RefCell::default() }
    }

    fn are_stopped(&self) -> bool {
        *self.asked.borrow()
    }

    /// A row has failed. Of several the first one ends the run.
    fn stop(&self, stop: &Stop, name: &str) {
        if self.are_stopped() {
            return;
        }
        let because = match stop.cause.kind {
            FailureKind::Cancelled => "stopped because the run was cancelled".to_owned(),
            _ => format!("stopped because \"{name}\" failed"),
        };
        self.because.replace(because);
        self.first.replace(Some(stop.clone()));
        self.asked.send_replace(true);
    }
}

impl Run<'_> {
    async fn through<S, D>(
        &self,
        table: &Table<S, D>,
        survey: S,
        decide: impl AsyncFnOnce(S) -> Result<Decided<D>, Failure>,
    ) -> Outcome {
        let mut last = StepId::new(row::START);
        let mut stops = Vec::new();
        for entry in &table.survey {
            let (stopped, runs_on) = self.survey_entry(entry, &survey).await;
            stops.extend(stopped);
            if !runs_on {
                break;
            }
            if let Some(row) = entry.rows().last() {
                last = row.id.clone();
            }
        }
        if let Some(stop) = weightiest(stops) {
            return Outcome::Refused { at: stop.at, cause: stop.cause, stays: Vec::new() };
        }
        let decided = match decide(survey).await {
            Ok(decided) => decided,
            Err(cause) => return Outcome::Refused { at: last, cause, stays: Vec::new() },
        };
        match decided.decision {
            Decision::Go => self.release(&table.apply, &decided.cx).await,
            Decision::Plan { because } => {
                self.plan(&table.apply, &decided.cx, because);
                Outcome::Planned
            }
            Decision::Refuse(cause) => Outcome::Refused { at: StepId::new(APPROVAL), cause, stays: Vec::new() },
        }
    }

    fn plan<D>(&self, entries: &[Entry<D>], cx: &D, because: String) {
        let previews = entries
            .iter()
            .flat_map(|entry| entry.rows())
            .map(|row| Preview {
                step: row.id.clone(),
                lines: match &row.work {
                    Work::Observe(act) | Work::Hold(act, _) | Work::Change(act, _) | Work::Check(act) => {
                        act.preview(cx)
                    }
                    Work::Commit => Vec::new(),
                },
            })
            .collect();
        self.events.emit(Body::Planned { because, previews });
    }

    async fn release<D>(&self, entries: &[Entry<D>], cx: &D) -> Outcome {
        let stack = RefCell::new(Stack::new());
        let mut stopped = None;
        for entry in entries {
            let result = match entry {
                Entry::One(row) if matches!(row.work, Work::Commit) => {
                    self.commit(row, cx, &stack).await;
                    Ok(())
                }
                Entry::One(row) => self.armed(row, cx, &stack, None).await,
                Entry::Together(rows) => {
                    let all = rows.iter().map(|row| self.armed(row, cx, &stack, None));
                    future::join_all(all).await.into_iter().collect()
                }
                Entry::Lanes(lanes) => self.lanes(lanes, cx, &stack).await,
            };
            if let Err(stop) = result
                && !stack.borrow().committed
            {
                stopped = Some(stop);
                break;
            }
        }
        let stack = stack.into_inner();
        let Unwound { outcome, handed_over } = match stopped {
            Some(stop) => self.unwind(&stack, cx, stop).await,
            None => Unwound {
                outcome: if stack.committed { Outcome::Live { warnings: stack.warnings } } else { Outcome::Passed },
                handed_over: false,
            },
        };
        let mut ending = Ending { outcome, done: stack.done, handed_over };
        self.give_back(stack.holds, cx, &mut ending).await;
        ending.outcome
    }

    async fn commit<'t, D>(&self, row: &'t Row<D>, cx: &D, stack: &RefCell<Stack<'t, D>>) {
        self.events.emit(Body::Committed { step: row.id.clone() });
        let (now, mut ending) = {
            let mut stack = stack.borrow_mut();
            stack.committed = true;
            stack.done.push(row.id.clone());
            let (now, later) = stack.holds.drain(..).partition(|(_, release)| release.at_commit);
            stack.holds = later;
            let outcome = Outcome::Live { warnings: stack.warnings };
            (now, Ending { outcome, done: stack.done.clone(), handed_over: false })
        };
        // One that could not be given back now is tried again at the end.
        let failed = self.give_back(now, cx, &mut ending).await;
        stack.borrow_mut().holds.extend(failed);
    }

    /// Runs a row whose undo, or how it is given back, is armed before.
    async fn armed<'t, D>(
        &self,
        row: &'t Row<D>,
        cx: &D,
        stack: &RefCell<Stack<'t, D>>,
        lanes: Option<&Lanes>,
    ) -> Result<(), Stop> {
        stack.borrow_mut().arm(row);
        let result = self.row(row, cx, lanes).await;
        let mut stack = stack.borrow_mut();
        match result {
            Ok(verdict) => {
                stack.ended(row, verdict);
                Ok(())
            }
            Err(stop) => {
                stack.failed(&stop);
                Err(stop)
            }
        }
    }

    /// Runs all lanes until each has come to its end, or has been stopped; gives the first failure.
    async fn lanes<'t, D>(&self, lanes: &'t [Vec<Row<D>>], cx: &D, stack: &RefCell<Stack<'t, D>>) -> Result<(), Stop> {
        let shared = Lanes::new();
        // After the commit the rows of a lane follow a failed one as they do elsewhere.
        let stops = (!stack.borrow().committed).then_some(&shared);
        let lane = async |rows: &'t [Row<D>]| {
            for row in rows {
                let goes_on = !shared.are_stopped() && self.armed(row, cx, stack, stops).await.is_ok();
                if !goes_on && stops.is_some() {
                    return;
                }
            }
        };
        future::join_all(lanes.iter().map(|rows| lane(rows))).await;
        shared.first.take().map_or(Ok(()), Err)
    }

    /// Runs an entry before the approval: what failed in it, and whether the entries after it may look all the same.
    async fn survey_entry<C>(&self, entry: &Entry<C>, cx: &C) -> (Vec<Stop>, bool) {
        let shared = Lanes::new();
        let lane = async |rows: &[Row<C>], lanes: Option<&Lanes>| {
            let mut stops = Vec::new();
            for row in rows {
                if lanes.is_some_and(Lanes::are_stopped) {
                    return (stops, false);
                }
                if let Err(stop) = self.row(row, cx, lanes).await {
                    let runs_on = stop.lets_others_run(row);
                    if !stop.stopped {
                        stops.push(stop);
                    }
                    if !runs_on {
                        return (stops, false);
                    }
                }
            }
            (stops, true)
        };
        let results = match entry {
            Entry::One(row) => vec![lane(std::slice::from_ref(row), None).await],
            Entry::Together(rows) => {
                future::join_all(rows.iter().map(|row| lane(std::slice::from_ref(row), None))).await
            }
            Entry::Lanes(lanes) => future::join_all(lanes.iter().map(|rows| lane(rows, Some(&shared)))).await,
        };
        let runs_on = results.iter().all(|(_, runs_on)| *runs_on);
        (results.into_iter().flat_map(|(stops, _)| stops).collect(), runs_on)
    }

    async fn row<C>(&self, row: &Row<C>, cx: &C, lanes: Option<&Lanes>) -> Result<Verdict, Stop> {
        let act: &dyn Act<C> = match &row.work {
            Work::Observe(act) | Work::Hold(act, _) | Work::Change(act, _) | Work::Check(act) => act.as_ref(),
            Work::Commit => return Ok(Verdict::Passed),
        };
        let io = Io::new(row.id.clone(), self.events.clone(), self.cancel.clone());
        let io = match lanes {
            Some(lanes) => io.in_lane(lanes.asked.subscribe()),
            None => io,
        };
        let began = self.events.elapsed();
        self.events.emit(Body::Started { step: row.id.clone() });
        let began_work = !io.cancelled();
        let result = match began_work {
            false => Some(Err(cancelled("starting this step"))),
            true if row.decides => Some(self.in_time(act.act(cx, &self.uncancellable(&row.id))).await),
            true => self.guarded(act.act(cx, &io), &io, lanes).await,
        };
        let took_ms = millis(self.events.elapsed().saturating_sub(began));
        let finished =
            |verdict, text, failure| Body::Finished { step: row.id.clone(), verdict, text, failure, took_ms };
        match result {
            Some(Ok(done)) => {
                self.events.emit(finished(done.verdict, done.text, None));
                Ok(done.verdict)
            }
            Some(Err(failure)) if row.advisory && failure.kind != FailureKind::Cancelled => {
                self.events.emit(finished(Verdict::Warned, failure.to_string(), Some(failure)));
                Ok(Verdict::Warned)
            }
            Some(Err(failure)) => {
                self.events.emit(finished(Verdict::Failed, failure.to_string(), Some(failure.clone())));
                let undecided = row.decides && began_work && failure.kind == FailureKind::Cancelled;
                let stop = Stop { at: row.id.clone(), cause: failure, began: began_work, undecided, stopped: false };
                if let Some(lanes) = lanes.filter(|_| !stop.lets_others_run(row)) {
                    lanes.stop(&stop, &row.name());
                }
                Err(stop)
            }
            None => {
                let because = lanes.map(|lanes| lanes.because.borrow().clone()).unwrap_or_default();
                let cause = Failure::cancelled("working on this step", because.clone());
                self.events.emit(finished(Verdict::Stopped, because, None));
                Err(Stop { at: row.id.clone(), cause, began: true, undecided: false, stopped: true })
            }
        }
    }

    /// A step that is cancelled inside, not only between steps; and one that panics is a failure like any other, so that
    /// the changes are still undone. `None`: a row of another lane has failed, or was cancelled, before.
    async fn guarded(
        &self,
        work: Local<'_, StepResult>,
        io: &Io,
        lanes: Option<&Lanes>,
    ) -> Option<Result<Done, Failure>> {
        let work = AssertUnwindSafe(work).catch_unwind();
        let stop = std::pin::pin!(io.until_cancelled());
        match future::select(std::pin::pin!(work), stop).await {
            future::Either::Left((Ok(result), _)) => Some(result),
            future::Either::Left((Err(panic), _)) => Some(Err(panicked(panic.as_ref()))),
            future::Either::Right(((), _)) => {
                if *self.cancel.borrow() {
                    self.asked.set(self.asked.get().or_else(|| Some(Instant::now())));
                }
                match lanes {
                    Some(lanes) if lanes.are_stopped() => None,
                    _ => Some(Err(cancelled("working on this step"))),
                }
            }
        }
    }

    /// Undoes the changes, the last one first. A cancelled run has little time: what is not undone then is left to the next run, and
    /// reported.
    async fn unwind<D>(&self, stack: &Stack<'_, D>, cx: &D, stop: Stop) -> Unwound {
        let mut turned_back = false;
        let mut handed_over = false;
        let mut stays = Vec::new();
        let mut left = stop.undecided.then_some(UNDECIDED);
        for (row, undo) in stack.undos.iter().rev() {
            let (text, act) = match undo {
                Undo::Do { text, act } => (*text, act),
                Undo::Within { .. } => continue,
                Undo::No { because } => {
                    let partly = if stack.unfinished.contains(&row.id) { " (not completed)" } else { "" };
                    stays.push(format!("{}{partly}: {because}", row.title));
                    continue;
                }
            };
            self.events.emit(Body::UndoStarted { step: row.id.clone(), text: text.to_owned() });
            let began = self.events.elapsed();
            let io = self.uncancellable(&row.id);
            // What is begun and cut off may have taken effect, so nothing is begun without time for it.
            let result = match left.or_else(|| self.is_out_of_time().then_some(OUT_OF_TIME)) {
                Some(why) => Err(Failure::cancelled("undoing this step", why)),
                None => self.in_time(act.undo(cx, &io)).await,
            };
            let took_ms = millis(self.events.elapsed().saturating_sub(began));
            let finished =
                |undone, text, failure| Body::UndoFinished { step: row.id.clone(), undone, text, failure, took_ms };
            match result {
                Ok(Undone::Done(text)) => {
                    turned_back |= row.activates;
                    self.events.emit(finished(true, text, None));
                }
                Ok(Undone::Nothing(text)) => self.events.emit(finished(false, text, None)),
                Ok(Undone::Stays(text)) => {
                    stays.push(format!("{}: {text}", row.title));
                    self.events.emit(finished(false, text, None));
                }
                // Leftovers do no harm; only a rollback that fails needs manual action.
                Err(undo_cause) if undo_cause.kind == FailureKind::Cancelled && !row.activates => {
                    handed_over = true;
                    left.get_or_insert(LEFT);
                    stays.push(format!(
                        "{}: {}; the next run that takes the deploy lock completes it ({text})",
                        row.title, undo_cause.cause
                    ));
                    self.events.emit(finished(false, undo_cause.to_string(), Some(undo_cause)));
                }
                Err(undo_cause) => {
                    handed_over = undo_cause.kind == FailureKind::Cancelled;
                    self.events.emit(finished(false, undo_cause.to_string(), Some(undo_cause.clone())));
                    let by_hand = act.by_hand(cx);
                    let outcome = Outcome::Stuck {
                        at: stop.at,
                        cause: stop.cause,
                        undoing: row.id.clone(),
                        undo_cause,
                        by_hand,
                        stays,
                    };
                    return Unwound { outcome, handed_over };
                }
            }
        }
        let outcome = if turned_back {
            Outcome::RolledBack { at: stop.at, cause: stop.cause, stays }
        } else {
            Outcome::Refused { at: stop.at, cause: stop.cause, stays }
        };
        Unwound { outcome, handed_over }
    }

    /// Gives back what the run holds, and gives those that could not be. One that was cut off leaves the earlier ones to the next holder of
    /// the lock, too.
    async fn give_back<'t, D>(
        &self,
        holds: Vec<(&'t Row<D>, &'t Cleanup<D>)>,
        cx: &D,
        ending: &mut Ending,
    ) -> Vec<(&'t Row<D>, &'t Cleanup<D>)> {
        let mut failed = Vec::new();
        for (row, release) in holds.into_iter().rev() {
            let io = self.uncancellable(&row.id);
            let (text, failure) = match self.in_time(release.act.cleanup(cx, &io, ending)).await {
                Ok(text) => (text, None),
                Err(failure) => (failure.to_string(), Some(failure)),
            };
            if let Some(failure) = &failure {
                ending.handed_over |= failure.kind == FailureKind::Cancelled;
                failed.push((row, release));
            }
            self.events.emit(Body::CleanedUp { step: row.id.clone(), text, failure });
        }
        failed
    }

    /// Work that is not cancelled, but that has to end in time once the run is. A panic is a failure like any other.
    async fn in_time<T>(&self, work: Local<'_, Result<T, Failure>>) -> Result<T, Failure> {
        let work = std::pin::pin!(AssertUnwindSafe(work).catch_unwind());
        let late = std::pin::pin!(self.out_of_time());
        match future::select(work, late).await {
            future::Either::Left((result, _)) => result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))),
            future::Either::Right(((), _)) => Err(Failure::cancelled("completing this step", OUT_OF_TIME)),
        }
    }

    /// Whether the time is over that a run has after it was asked to stop.
    fn is_out_of_time(&self) -> bool {
        self.asked.get().is_some_and(|asked| asked.elapsed() >= self.time)
    }

    /// Resolves when the time is over that a run has after it was cancelled; never, if it is not.
    async fn out_of_time(&self) {
        let mut cancel = self.cancel.clone();
        if cancel.wait_for(|asked| *asked).await.is_err() {
            return future::pending().await;
        }
        let asked = self.asked.get().unwrap_or_else(Instant::now);
        self.asked.set(Some(asked));
        tokio::time::sleep_until(asked + self.time).await;
    }

    /// An `Io` for undoing: a clean-up is not cancelled.
    fn uncancellable(&self, step: &StepId) -> Io {
        let (_never, cancel) = watch::channel(false);
        Io::new(step.clone(), self.events.clone(), cancel)
    }
}

/// Why something was left to others.
const OUT_OF_TIME: &str = "no time was left after the run was cancelled";

/// What is undone after something that was left to others.
const LEFT: &str = "an earlier part of this rollback was left to the next run";

/// Of several failures the one that the run is told to have ended with: a "no" that was found weighs more than what could not be
/// asked, and of equal ones the first counts. A cancellation weighs more than all of them.
fn weightiest(stops: Vec<Stop>) -> Option<Stop> {
    let order = |stop: &Stop| match stop.cause.kind {
        FailureKind::Cancelled => 0,
        FailureKind::Refused => 1,
        FailureKind::Input => 2,
        FailureKind::Bug => 3,
        FailureKind::World => 4,
    };
    stops.into_iter().min_by_key(order)
}

fn cancelled(doing: &str) -> Failure {
    Failure::cancelled(doing, "the run was cancelled")
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text =
        panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    Failure::bug("working on this step", text.unwrap_or_else(|| "panicked".to_owned()))
}

#[cfg(test)]
mod tests;
