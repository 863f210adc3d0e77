//! What the engine makes of rows that fail before the approval and let others run.

mod lanes;

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::sync::watch;

use super::*;
use crate::{
    domain::{failure, outcome},
    engine::{
        Decided, Event, Reader, Row, event, run,
        step::{self, change, check, cleanup, commit, hold, no_undo, observe, together, undo},
    },
};

type Seen = RefCell<Vec<&'static str>>;

async fn well(seen: &Seen, _: &Io) -> StepResult {
    seen.borrow_mut().push("well");
    Ok(step::Done::passed("well"))
}

async fn no(seen: &Seen, _: &Io) -> StepResult {
    seen.borrow_mut().push("no");
    Err(failure::Failure::refused("looking", "no"))
}

async fn unseen(seen: &Seen, _: &Io) -> StepResult {
    seen.borrow_mut().push("nobody");
    Err(failure::Failure::world("asking", "nobody answered"))
}

async fn broken(_: &Seen, _: &Io) -> StepResult {
    panic!("a fault of ours")
}

#[derive(Clone, Default)]
struct Recorder(Rc<RefCell<Vec<String>>>);

impl Reader for Recorder {
    fn read(&mut self, event: &Event) {
        if let event::Body::Finished { step, verdict, .. } = &event.body {
            self.0.borrow_mut().push(format!("{step} {verdict:?}"));
        }
    }
}

/// How the rows end together, and what was told of each.
fn run(survey: Vec<Entry<Rc<Seen>>>, cancel: watch::Receiver<bool>) -> (Outcome, Vec<String>) {
    let described = Recorder::default();
    let events = event::Events::new(Box::new(|| (0, Duration::ZERO)), vec![Box::new(described.clone())]);
    let table = Table::<Rc<Seen>, ()> { survey, apply: Vec::new() };
    let decide = async |_| Ok(Decided { cx: (), decision: run::Decision::Go });
    let outcome = run_table("test", &table, Rc::default(), decide, &events, cancel)
        .now_or_never()
        .unwrap_or_else(|| panic!("nothing here waits"));
    (outcome, described.0.take())
}

fn never() -> watch::Receiver<bool> {
    watch::channel(false).1
}

/// A row over the shared notes.
fn row(id: &'static str, act: impl AsyncFn(&Seen, &Io) -> StepResult + 'static) -> Row<Rc<Seen>> {
    observe(id, id, async move |seen: &Rc<Seen>, io: &Io| act(seen, io).await)
}

fn at(outcome: &Outcome) -> (&str, u8) {
    (outcome.at().map_or("", outcome::StepId::as_str), outcome.exit_code())
}

#[test]
fn a_row_that_lets_others_run_does_not_hide_what_they_find() {
    let rows = vec![row("first", no).run_on().into(), row("second", no).run_on().into(), row("third", well).into()];
    let (outcome, described) = run(rows, never());
    assert_eq!(at(&outcome), ("first", 1), "the run is refused all the same");
    assert_eq!(described, ["first Failed", "second Failed", "third Passed"]);

    let (outcome, described) = run(vec![row("first", no).into(), row("second", no).run_on().into()], never());
    assert_eq!(at(&outcome), ("first", 1));
    assert_eq!(described, ["first Failed"], "a row ends the run unless it says otherwise");
}

#[test]
fn a_no_that_was_found_weighs_more_than_what_could_not_be_asked() {
    let rows = vec![row("asked", unseen).run_on().into(), row("found", no).run_on().into()];
    assert_eq!(at(&run(rows, never()).0), ("found", 1));

    let rows = vec![row("asked", unseen).run_on().into(), row("broken", broken).run_on().into()];
    assert_eq!(at(&run(rows, never()).0), ("broken", 5), "a fault of ours is told before the world's");

    let rows = vec![row("found", no).run_on().into(), row("asked", unseen).into(), row("last", well).into()];
    let (outcome, described) = run(rows, never());
    assert_eq!(at(&outcome), ("found", 1), "also when another row ends the run");
    assert_eq!(described, ["found Failed", "asked Failed"]);
}

#[test]
fn together_and_alone_the_same_rule_holds() {
    let rows = vec![together(vec![row("first", unseen).run_on(), row("second", no).run_on()]), row("third", no).into()];
    let (outcome, described) = run(rows, never());
    assert_eq!((at(&outcome), described.len()), (("second", 1), 3));
}

#[test]
fn who_cancels_is_obeyed_at_once() {
    let (ask, cancel) = watch::channel(false);
    let cancelling = observe("cancelled", "cancelled", async move |_: &Rc<Seen>, _: &Io| {
        ask.send_replace(true);
        std::future::pending::<StepResult>().await
    });
    let rows = vec![row("found", no).run_on().into(), cancelling.run_on().into(), row("last", well).run_on().into()];
    let (outcome, described) = run(rows, cancel);
    assert_eq!(at(&outcome), ("cancelled", 1), "{outcome:?}");
    assert_eq!(described, ["found Failed", "cancelled Failed"]);
}

/// Changes whose undo never ends, and a lock, under a run that was asked to stop: how it ends, and what the hold was told.
async fn cut_off(activates: bool) -> (Outcome, bool) {
    let (ask, cancel) = watch::channel(false);
    let described = Rc::new(RefCell::new(None));
    let heard = described.clone();
    let work = async |_: &(), _: &Io| Ok(step::Done::passed("done"));
    let hangs = async |_: &(), _: &Io| std::future::pending::<Result<Undone, Failure>>().await;
    let given = async move |_: &(), _: &Io, ending: &Ending| {
        *heard.borrow_mut() = Some(ending.handed_over);
        Ok("given back".to_owned())
    };
    let mut made = change("made", "made", work, undo("take it back", hangs));
    if activates {
        made = made.activates();
    }
    let stopping = check("stopping", "stopping", async move |_: &(), _: &Io| {
        ask.send_replace(true);
        std::future::pending::<StepResult>().await
    });
    let table = Table::<(), ()> {
        survey: Vec::new(),
        apply: vec![hold("lock", "lock", work, cleanup("free it", given)).into(), made.into(), stopping.into()],
    };
    let events = event::Events::new(Box::new(|| (0, Duration::ZERO)), Vec::new());
    let decide = async |()| Ok(Decided { cx: (), decision: run::Decision::Go });
    let outcome = run_table("test", &table, (), decide, &events, cancel).await;
    let handed_over = described.borrow_mut().take().unwrap_or_else(|| panic!("the hold was not given back"));
    (outcome, handed_over)
}

#[tokio::test]
async fn what_there_is_no_time_for_is_handed_over_and_said() {
    let began = Instant::now();
    // Side by side, because each of them takes all the time that it has.
    let (rollback, elsewhere) = future::join(cut_off(true), cut_off(false)).await;
    assert!(began.elapsed() >= AFTER_CANCEL, "it had its time");
    assert!(
        matches!(&rollback.0, outcome::Outcome::Stuck { undo_cause, .. } if undo_cause.kind == failure::FailureKind::Cancelled),
        "{rollback:?}"
    );
    let outcome::Outcome::Refused { cause, stays, .. } = &elsewhere.0 else { panic!("{elsewhere:?}") };
    assert_eq!(cause.kind, failure::FailureKind::Cancelled);
    assert!(
        stays.iter().any(|stays| stays.contains("the next run that takes the deploy lock completes it")),
        "{stays:?}"
    );
    assert!(rollback.1 && elsewhere.1, "a cleanup knows that others go on");
}

/// The rows of a release in which something goes wrong: how it ends, what was done in order, and whether it was handed over.
#[derive(Clone, Default)]
struct Ran(Rc<RefCell<Vec<&'static str>>>);

impl Ran {
    fn note(&self, what: &'static str) {
        self.0.borrow_mut().push(what);
    }

    /// A step that notes its name.
    fn does(&self, what: &'static str) -> impl AsyncFn(&(), &Io) -> StepResult + 'static {
        let ran = self.clone();
        async move |_: &(), _: &Io| {
            ran.note(what);
            Ok(step::Done::passed(what))
        }
    }

    fn takes_back(&self, what: &'static str) -> impl AsyncFn(&(), &Io) -> Result<Undone, Failure> + 'static {
        let ran = self.clone();
        async move |_: &(), _: &Io| {
            ran.note(what);
            Ok(step::Undone::Done(what.to_owned()))
        }
    }

    fn gives_back(
        &self,
        what: &'static str,
        handed_over: &'static str,
    ) -> impl AsyncFn(&(), &Io, &Ending) -> Result<String, Failure> + 'static {
        let ran = self.clone();
        async move |_: &(), _: &Io, ending: &Ending| {
            ran.note(if ending.handed_over { handed_over } else { what });
            Ok(what.to_owned())
        }
    }

    async fn table(&self, rows: Vec<Entry<()>>, cancel: watch::Receiver<bool>) -> (Outcome, Vec<&'static str>) {
        let events = event::Events::new(Box::new(|| (0, Duration::ZERO)), Vec::new());
        let decide = async |()| Ok(Decided { cx: (), decision: run::Decision::Go });
        let table = Table::<(), ()> { survey: Vec::new(), apply: rows };
        let outcome = run_table("test", &table, (), decide, &events, cancel).await;
        (outcome, self.0.take())
    }
}

#[tokio::test]
async fn fd33_a_row_that_decides_is_not_cancelled_and_the_run_commits() {
    let ran = Ran::default();
    let (ask, cancel) = watch::channel(false);
    let decides = async move |_: &(), io: &Io| {
        ask.send_replace(true);
        tokio::task::yield_now().await;
        assert!(!io.cancelled());
        Ok(step::Done::passed("yes"))
    };
    let rows = vec![
        hold("ledger", "ledger", ran.does("take"), cleanup("write", ran.gives_back("written", "left")).at_commit())
            .into(),
        change("made", "made", ran.does("make"), undo("undo", ran.takes_back("unmade"))).activates().into(),
        check("confirm", "confirm", decides).decides().into(),
        commit("live", "live").into(),
        change("prune", "prune", ran.does("prune"), no_undo("gone")).into(),
    ];
    let (outcome, ran) = ran.table(rows, cancel).await;
    assert_eq!(outcome, outcome::Outcome::Live { warnings: 1 }, "what follows is not begun any more");
    assert_eq!(ran, ["take", "make", "written"]);
}

#[tokio::test]
async fn fd33_nothing_is_undone_of_a_run_that_may_have_committed() {
    for kind in [failure::FailureKind::Cancelled, failure::FailureKind::World] {
        let ran = Ran::default();
        let decides =
            async move |_: &(), _: &Io| Err(failure::Failure::new(kind, "confirming", "the server did not answer"));
        let rows = vec![
            hold("lock", "lock", ran.does("take"), cleanup("free", ran.gives_back("freed", "left"))).into(),
            change("made", "made", ran.does("make"), undo("undo", ran.takes_back("unmade"))).activates().into(),
            check("confirm", "confirm", decides).decides().into(),
            commit("live", "live").into(),
        ];
        let (outcome, ran) = ran.table(rows, never()).await;
        if kind == failure::FailureKind::Cancelled {
            assert!(
                matches!(&outcome, outcome::Outcome::Stuck { undo_cause, .. } if undo_cause.cause == UNDECIDED),
                "{outcome:?}"
            );
            assert_eq!(ran, ["take", "make", "left"]);
        } else {
            assert!(matches!(&outcome, outcome::Outcome::RolledBack { .. }), "it was not sent: {outcome:?}");
            assert_eq!(ran, ["take", "make", "unmade", "freed"]);
        }
    }
}

#[tokio::test]
async fn fd34_what_is_given_back_at_the_commit_does_not_wait_for_the_rows_after_it() {
    let ran = Ran::default();
    let tries = Rc::new(Cell::new(0));
    let (again, noted) = (tries.clone(), ran.clone());
    let fails_once = async move |_: &(), _: &Io, ending: &Ending| {
        assert_eq!(
            ending.done.last().map(outcome::StepId::as_str),
            Some(if again.get() == 0 { "live" } else { "prune" })
        );
        noted.note("write");
        again.set(again.get() + 1);
        if again.get() == 1 { Err(failure::Failure::world("writing", "no")) } else { Ok("written".to_owned()) }
    };
    let rows = vec![
        hold("lock", "lock", ran.does("take"), cleanup("free", ran.gives_back("freed", "left"))).into(),
        hold("ledger", "ledger", ran.does("open"), cleanup("write", fails_once).at_commit()).into(),
        commit("live", "live").into(),
        change("prune", "prune", ran.does("prune"), no_undo("gone")).into(),
    ];
    let (_, ran) = ran.table(rows, never()).await;
    assert_eq!(ran, ["take", "open", "write", "prune", "write", "freed"], "one that failed is tried again at the end");
}

#[tokio::test]
async fn fd32_nothing_is_undone_below_what_is_left_to_the_next_run() {
    let ran = Ran::default();
    let leaves = async |_: &(), _: &Io| {
        Err::<Undone, _>(failure::Failure::new(failure::FailureKind::Cancelled, "waiting", "it is still running"))
    };
    let fails = async |_: &(), _: &Io| Err(failure::Failure::refused("checking", "no"));
    let rows = vec![
        hold("lock", "lock", ran.does("take"), cleanup("free", ran.gives_back("freed", "left"))).into(),
        change("folder", "Folder", ran.does("folder"), undo("remove it", ran.takes_back("removed"))).into(),
        change("migrate", "Migrate", ran.does("migrate"), undo("wait", leaves)).into(),
        check("fails", "fails", fails).into(),
    ];
    let (outcome, ran) = ran.table(rows, never()).await;
    assert_eq!(ran, ["take", "folder", "migrate", "left"], "what it runs in is not removed");
    let outcome::Outcome::Refused { stays, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(stays[0].starts_with("Migrate: it is still running") && stays[1].starts_with("Folder: "), "{stays:?}");
}

#[tokio::test]
async fn fd42_what_never_began_does_not_stay() {
    for began in [true, false] {
        let ran = Ran::default();
        let (ask, cancel) = watch::channel(!began);
        let cuts = async move |_: &(), _: &Io| {
            ask.send_replace(true);
            std::future::pending::<StepResult>().await
        };
        let rows = vec![change("made", "Made", cuts, no_undo("it stays")).into()];
        let (outcome, _) = ran.table(rows, cancel).await;
        let outcome::Outcome::Refused { stays, .. } = &outcome else { panic!("{outcome:?}") };
        let expected: &[&str] = if began { &["Made (not completed): it stays"] } else { &[] };
        assert_eq!(stays, expected);
    }
}
