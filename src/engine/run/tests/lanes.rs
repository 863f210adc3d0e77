//! Rows of several lanes: what runs beside what, and what is undone when one of them fails while another works.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::sync::watch;

use super::{
    super::{AFTER_CANCEL, run_table},
    never,
};
use crate::{
    domain::{
        Failure, Outcome,
        failure::FailureKind,
        outcome::StepId,
        row::{self, RowId},
    },
    engine::{
        Decided, Decision, Done, Ending, Entry, Event, Events, Io, Reader, Row, StepResult, Table, Undone, Verdict,
        event::Body,
        step::{change, check, cleanup, commit, hold, insert_after, lanes, no_undo, observe, undo},
    },
};

/// What happened, in order: what rows and undos did, and what was told of the end of rows.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<String>>>);

impl Seen {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }

    fn at(&self, what: &str) -> Option<usize> {
        self.0.borrow().iter().position(|seen| seen == what)
    }

    fn has(&self, what: &str) -> bool {
        self.at(what).is_some()
    }
}

impl Reader for Seen {
    fn read(&mut self, event: &Event) {
        if let Body::Finished { step, verdict, text, .. } = &event.body
            && matches!(verdict, Verdict::Failed | Verdict::Stopped)
        {
            self.note(format!("told: {step} {verdict:?} {text}"));
        }
    }
}

/// Says when the work of a row is dropped before its end.
struct Works {
    seen: Seen,
    row: &'static str,
    ended: bool,
}

impl Drop for Works {
    fn drop(&mut self) {
        if !self.ended {
            self.seen.note(format!("{} is ended", self.row));
        }
    }
}

/// How the work of a row goes.
#[derive(Clone)]
enum Work {
    Well,
    Fails,
    Panics,
    /// It works until it is ended.
    Long,
    /// It waits until this was noted.
    WellAfter(&'static str),
    FailsAfter(&'static str),
}

/// Comes back when something was noted; the test's other futures go on meanwhile.
async fn until(seen: &Seen, what: &str) {
    while !seen.has(what) {
        tokio::task::yield_now().await;
    }
}

fn works(seen: &Seen, row: &'static str, work: Work) -> impl AsyncFn(&(), &Io) -> StepResult + 'static {
    let seen = seen.clone();
    async move |_: &(), _: &Io| {
        let mut guard = Works { seen: seen.clone(), row, ended: false };
        seen.note(format!("{row} begins"));
        match &work {
            Work::Long => std::future::pending().await,
            Work::WellAfter(what) | Work::FailsAfter(what) => until(&seen, what).await,
            Work::Well | Work::Fails | Work::Panics => {}
        }
        guard.ended = true;
        match work {
            Work::Panics => panic!("a fault of ours"),
            Work::Fails | Work::FailsAfter(_) => Err(Failure::world("working", row)),
            _ => {
                seen.note(format!("{row} ends"));
                Ok(Done::passed(row))
            }
        }
    }
}

/// A change whose undo is noted.
fn changes(seen: &Seen, row: &'static str, work: Work) -> Row<()> {
    let undone = seen.clone();
    let takes_back = async move |_: &(), _: &Io| {
        undone.note(format!("{row} is undone"));
        Ok(Undone::Done(row.to_owned()))
    };
    change(row, row, works(seen, row, work), undo("undo it", takes_back))
}

fn holds(seen: &Seen, row: &'static str) -> Row<()> {
    let given = seen.clone();
    let gives_back = async move |_: &(), _: &Io, _: &Ending| {
        given.note(format!("{row} is given back"));
        Ok(row.to_owned())
    };
    hold(row, row, works(seen, row, Work::Well), cleanup("give it back", gives_back))
}

async fn run(seen: &Seen, apply: Vec<Entry<()>>, cancel: watch::Receiver<bool>) -> Outcome {
    let events = Events::new(Box::new(|| (0, Duration::ZERO)), vec![Box::new(seen.clone())]);
    let table = Table::<(), ()> { survey: Vec::new(), apply };
    let decide = async |()| Ok(Decided { cx: (), decision: Decision::Go });
    run_table("test", &table, (), decide, &events, cancel).await
}

fn cause(outcome: &Outcome) -> (&str, &str) {
    let at = outcome.at().map_or("", StepId::as_str);
    (at, outcome.cause().map_or("", |cause| cause.cause.as_str()))
}

#[tokio::test]
async fn rows_of_lanes_run_side_by_side_and_what_follows_needs_all_of_them() {
    let seen = Seen::default();
    let rows = vec![
        lanes(vec![
            vec![changes(&seen, "a1", Work::WellAfter("b1 ends")), changes(&seen, "a2", Work::Well)],
            vec![changes(&seen, "b1", Work::Well), changes(&seen, "b2", Work::WellAfter("a2 ends"))],
        ]),
        changes(&seen, "last", Work::Well).into(),
        commit("live", "live").into(),
    ];
    assert_eq!(run(&seen, rows, never()).await, Outcome::Live { warnings: 0 });
    let all = seen.take();
    let order = ["a1 begins", "b1 begins", "b1 ends", "b2 begins", "a1 ends", "a2 begins", "a2 ends", "b2 ends"];
    assert_eq!(all[..8], order, "{all:?}");
    assert_eq!(all[8..], ["last begins", "last ends"], "{all:?}");
}

/// A row fails, before its work, in it or at its end, while a row of the other lane is inside of its own; each lane once.
#[tokio::test]
async fn a_row_that_fails_stops_the_other_lane_before_anything_is_undone() {
    for fails_first in [true, false] {
        for (how, cause_of_it) in
            [(Work::Fails, "x"), (Work::FailsAfter("y begins"), "x"), (Work::Panics, "a fault of ours")]
        {
            let seen = Seen::default();
            let fails = vec![
                changes(&seen, "w", Work::WellAfter("y begins")),
                holds(&seen, "h"),
                changes(&seen, "x", how.clone()),
                changes(&seen, "not begun", Work::Well),
            ];
            let works = vec![changes(&seen, "y", Work::Long), changes(&seen, "never begun", Work::Well)];
            let both = if fails_first { vec![fails, works] } else { vec![works, fails] };
            let rows = vec![
                holds(&seen, "lock").into(),
                changes(&seen, "first", Work::Well).into(),
                lanes(both),
                changes(&seen, "behind", Work::Well).into(),
            ];
            let outcome = run(&seen, rows, never()).await;
            assert_eq!(cause(&outcome), ("x", cause_of_it), "{outcome:?}");
            assert_eq!(outcome.word(), "failed");
            let all = seen.take();
            let failed = all.iter().position(|seen| seen.starts_with("told: x Failed")).expect("it is recorded");
            // The order of arming, whichever lane a row stands in.
            let armed: &[&str] = if fails_first { &["x", "y", "w"] } else { &["x", "w", "y"] };
            let undone = armed.iter().chain(&["first"]).map(|row| format!("{row} is undone"));
            let expected: Vec<String> = ["y is ended", "told: y Stopped stopped because \"x\" failed"]
                .into_iter()
                .map(str::to_owned)
                .chain(undone)
                .chain(["h is given back".to_owned(), "lock is given back".to_owned()])
                .collect();
            assert_eq!(all[failed + 1..], expected, "{all:?}");
            assert!(!all.iter().any(|seen| seen.contains("begun") || seen.contains("behind")), "{all:?}");
        }
    }
}

#[tokio::test]
async fn a_second_failure_in_another_lane_is_recorded_and_the_first_is_the_cause() {
    let seen = Seen::default();
    let rows = vec![lanes(vec![
        vec![changes(&seen, "a", Work::FailsAfter("c begins"))],
        vec![changes(&seen, "b", Work::FailsAfter("c begins"))],
        vec![changes(&seen, "c", Work::Long)],
    ])];
    let outcome = run(&seen, rows, never()).await;
    assert_eq!(cause(&outcome), ("a", "a"));
    let all = seen.take();
    let expected = [
        "told: a Failed working: a",
        "told: b Failed working: b",
        "c is ended",
        "told: c Stopped stopped because \"a\" failed",
        "c is undone",
        "b is undone",
        "a is undone",
    ];
    assert_eq!(all[3..], expected, "{all:?}");
}

/// A row that ends well in the moment in which another one fails is done, and the row behind it does not begin.
#[tokio::test]
async fn behind_a_row_that_ends_while_another_lane_fails_none_begins() {
    let seen = Seen::default();
    let rows = vec![lanes(vec![
        vec![changes(&seen, "a", Work::FailsAfter("b begins"))],
        vec![changes(&seen, "b", Work::WellAfter("told: a Failed working: a")), changes(&seen, "c", Work::Well)],
    ])];
    let outcome = run(&seen, rows, never()).await;
    assert_eq!(cause(&outcome), ("a", "a"));
    let expected = ["a begins", "b begins", "told: a Failed working: a", "b ends", "b is undone", "a is undone"];
    assert_eq!(seen.take(), expected);
}

#[tokio::test]
async fn a_run_that_is_cancelled_ends_all_lanes_and_undoes_both() {
    let seen = Seen::default();
    let (ask, cancel) = watch::channel(false);
    let cancels = async {
        until(&seen, "b begins").await;
        ask.send_replace(true);
    };
    let rows = vec![lanes(vec![
        vec![changes(&seen, "a", Work::Long), changes(&seen, "a2", Work::Well)],
        vec![changes(&seen, "b", Work::Long)],
    ])];
    let (outcome, ()) = tokio::join!(run(&seen, rows, cancel), cancels);
    let Outcome::Refused { cause: failure, at, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.kind, at.as_str()), (FailureKind::Cancelled, "a"));
    let expected = [
        "a begins",
        "b begins",
        "a is ended",
        "told: a Failed working on this step: the run was cancelled",
        "b is ended",
        "told: b Stopped stopped because the run was cancelled",
        "b is undone",
        "a is undone",
    ];
    assert_eq!(seen.take(), expected, "one row is the cause");
}

/// The time that a cancelled run has counts from the signal, in whichever lane that is noticed.
#[tokio::test]
async fn what_a_cancelled_run_has_no_time_for_is_handed_over_with_lanes_too() {
    let seen = Seen::default();
    let (ask, cancel) = watch::channel(false);
    let hangs = async |_: &(), _: &Io| std::future::pending::<Result<Undone, Failure>>().await;
    let looks = seen.clone();
    let cancels = async move |_: &(), _: &Io| {
        until(&looks, "b begins").await;
        ask.send_replace(true);
        std::future::pending::<StepResult>().await
    };
    let rows = vec![lanes(vec![
        vec![change("a", "a", cancels, undo("undo it", hangs))],
        vec![changes(&seen, "b", Work::Long)],
    ])];
    let began = tokio::time::Instant::now();
    let outcome = run(&seen, rows, cancel).await;
    assert!(began.elapsed() >= AFTER_CANCEL, "it had its time");
    let Outcome::Refused { stays, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(stays.iter().any(|stays| stays.starts_with("a: ") && stays.contains("the next run")), "{stays:?}");
    assert!(seen.has("b is undone"), "its undo came first, and had time");
}

#[tokio::test]
async fn what_was_stopped_and_is_not_undone_is_said_to_be_incomplete() {
    let seen = Seen::default();
    let rows = vec![lanes(vec![
        vec![change("a", "Kept", works(&seen, "a", Work::Long), no_undo("it stays"))],
        vec![changes(&seen, "b", Work::FailsAfter("c ends"))],
        vec![change("c", "Whole", works(&seen, "c", Work::Well), no_undo("it stays, too"))],
    ])];
    let outcome = run(&seen, rows, never()).await;
    let Outcome::Refused { stays, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(*stays, ["Whole: it stays, too", "Kept (not completed): it stays"]);
}

#[tokio::test]
async fn an_advisory_row_in_a_lane_stops_nothing_and_behind_the_commit_no_row_does() {
    let seen = Seen::default();
    let rows = vec![
        lanes(vec![
            vec![changes(&seen, "a", Work::Fails).advisory(), changes(&seen, "a2", Work::Well)],
            vec![changes(&seen, "b", Work::WellAfter("a2 ends"))],
        ]),
        commit("live", "live").into(),
        lanes(vec![
            vec![changes(&seen, "c", Work::Fails), changes(&seen, "c2", Work::Well)],
            vec![changes(&seen, "d", Work::WellAfter("c2 ends"))],
        ]),
    ];
    assert_eq!(run(&seen, rows, never()).await, Outcome::Live { warnings: 2 });
    assert!(seen.has("d ends") && !seen.take().iter().any(|seen| seen.contains("undone")));
}

#[tokio::test]
async fn lanes_before_the_approval_name_every_problem_or_end_at_once() {
    let looks = |seen: &Seen, row: &'static str, work: Work| observe(row, row, works(seen, row, work));
    for runs_on in [true, false] {
        let seen = Seen::default();
        let events = Events::new(Box::new(|| (0, Duration::ZERO)), vec![Box::new(seen.clone())]);
        let fails = looks(&seen, "a", Work::FailsAfter("b begins"));
        let after = if runs_on { Work::FailsAfter("a2 ends") } else { Work::Long };
        let survey = vec![
            lanes(vec![
                vec![if runs_on { fails.run_on() } else { fails }, looks(&seen, "a2", Work::Well)],
                vec![looks(&seen, "b", after).run_on()],
            ]),
            looks(&seen, "c", Work::Well).into(),
        ];
        let table = Table::<(), ()> { survey, apply: Vec::new() };
        let decide = async |()| Ok(Decided { cx: (), decision: Decision::Go });
        let outcome = run_table("test", &table, (), decide, &events, never()).await;
        assert_eq!(cause(&outcome), ("a", "a"), "{outcome:?}");
        assert_eq!((seen.has("a2 ends"), seen.has("c ends")), (runs_on, runs_on));
        let of_b = if runs_on { "told: b Failed working: b" } else { "told: b Stopped stopped because \"a\" failed" };
        assert!(seen.has(of_b), "{:?}", seen.take());
    }
}

#[test]
fn what_decides_activates_or_commits_cannot_stand_in_a_lane() {
    let well = async |_: &(), _: &Io| Ok(Done::passed("well"));
    let alone: [fn(_) -> Row<()>; 3] = [
        |well| check("row", "row", well).decides(),
        |well| change("row", "row", well, no_undo("it stays")).activates(),
        |_| commit("row", "row"),
    ];
    for row in alone {
        let row = row(well);
        let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lanes(vec![vec![row]])));
        assert!(built.is_err(), "the table is built");
    }
}

#[test]
fn a_row_is_put_behind_another_one_in_its_lane() {
    let row = |id: &'static str| check(id, id, async |_: &(), _: &Io| Ok(Done::passed("well")));
    let named = |id: RowId| row(id.as_str());
    let mut apply = vec![
        named(row::DEPLOY_LOCK).into(),
        lanes(vec![vec![named(row::BACKUP)], vec![named(row::FETCH_BUNDLE), named(row::UPLOAD)]]),
        named(row::MIGRATE).into(),
    ];
    insert_after(&mut apply, row::FETCH_BUNDLE, row("in-lane"));
    insert_after(&mut apply, row::DEPLOY_LOCK, row("alone"));
    insert_after(&mut apply, row::SWITCH, row("at-the-end"));
    let table = Table::<(), ()> { survey: Vec::new(), apply };
    let outline: Vec<String> = table
        .outline()
        .iter()
        .map(|info| format!("{} {}", info.step, info.lane.map_or("-".to_owned(), |lane| lane.to_string())))
        .collect();
    assert_eq!(
        outline,
        [
            "deploy-lock -",
            "alone -",
            "backup 1",
            "fetch-bundle 2",
            "in-lane 2",
            "upload 2",
            "migrate -",
            "at-the-end -"
        ]
    );
}
