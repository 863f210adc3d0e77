//! A small sweep in memory: what the engine rolls back, whichever row fails and however.

use std::{cell::RefCell, time::Duration};

use futures_util::FutureExt as _;
use tokio::sync::watch;

use super::*;
use crate::{
    domain::{Outcome, failure},
    engine::{
        Decided, Decision, Done, Events, Table, run_table,
        step::{self, change, check, cleanup, commit, hold, lanes, undo},
    },
};

/// What the rows made, one entry each.
type Place = Rc<RefCell<Vec<&'static str>>>;

struct Fails {
    before: bool,
}

#[async_trait(?Send)]
impl Fault<Place> for Fails {
    async fn before(&self, _: &Place, _: &Io) -> Result<(), Failure> {
        if self.before { Err(failure::Failure::world("working", "before")) } else { Ok(()) }
    }

    async fn after(&self, _: &Place, _: &Io) -> Result<(), Failure> {
        Err(failure::Failure::world("working", "after"))
    }
}

fn makes(what: &'static str) -> impl Act<Place> {
    async move |place: &Place, _: &Io| {
        place.borrow_mut().push(what);
        Ok(Done::passed(what))
    }
}

fn removes(what: &'static str) -> impl UndoAct<Place> {
    async move |place: &Place, _: &Io| {
        let had = place.borrow().contains(&what);
        place.borrow_mut().retain(|thing| *thing != what);
        Ok(if had { step::Undone::Done(what.to_owned()) } else { step::Undone::Nothing(what.to_owned()) })
    }
}

fn gives_back(what: &'static str) -> impl CleanupAct<Place> {
    async move |place: &Place, _: &Io, _: &Ending| {
        place.borrow_mut().retain(|thing| *thing != what);
        Ok(what.to_owned())
    }
}

fn table() -> Table<Place, Place> {
    Table {
        survey: Vec::new(),
        apply: vec![
            hold("lock", "Take it", makes("lock"), cleanup("free it", gives_back("lock"))).into(),
            change("folder", "Make it", makes("folder"), undo("remove it", removes("folder"))).into(),
            lanes(vec![
                vec![change("left", "Left", makes("left"), undo("remove it", removes("left")))],
                vec![
                    change("right", "Right", makes("right"), undo("remove it", removes("right"))),
                    check("looks", "Look", makes("asked")),
                ],
            ]),
            change("switch", "Turn", makes("turned"), undo("turn back", removes("turned"))).activates().into(),
            check("health", "Ask", makes("asked")).into(),
            commit("live", "It stays").into(),
            change("prune", "Tidy", makes("pruned"), undo("never undone", removes("pruned"))).into(),
        ],
    }
}

fn run(table: &Table<Place, Place>) -> (Outcome, Vec<&'static str>) {
    let place = Place::default();
    let events = Events::new(Box::new(|| (0, Duration::ZERO)), Vec::new());
    let decide = async |place| Ok(Decided { cx: place, decision: Decision::Go });
    let cancel = watch::channel(false).1;
    let outcome = run_table("test", table, place.clone(), decide, &events, cancel).now_or_never();
    let mut left = place.take();
    left.retain(|thing| *thing != "asked");
    (outcome.unwrap_or_else(|| panic!("nothing here waits")), left)
}

#[test]
fn every_row_that_fails_leaves_the_place_as_it_was_until_it_is_live() {
    for row in table().outline() {
        for before in [true, false] {
            let mut table = table();
            let put = into_act(&mut table.apply, row.step.as_str(), Rc::new(Fails { before }));
            let (outcome, left) = run(&table);
            let (ends, stays): (_, &[&str]) = match (row.step.as_str(), before) {
                ("lock" | "folder" | "left" | "right" | "looks", _) | ("switch", true) => ("failed", &[]),
                ("switch", false) | ("health", _) => ("rolled-back", &[]),
                ("live", _) => ("live", &["folder", "left", "right", "turned", "pruned"]),
                (_, true) => ("live", &["folder", "left", "right", "turned"]),
                (_, false) => ("live", &["folder", "left", "right", "turned", "pruned"]),
            };
            assert_eq!(put, row.step.as_str() != "live", "a commit does nothing");
            assert_eq!((outcome.word(), left.as_slice()), (ends, stays), "{} {before}", row.step);
        }
    }
    assert!(!into_act(&mut table().apply, "unknown", Rc::new(Fails { before: true })));
}

#[test]
fn an_undo_that_fails_ends_the_undoing_and_gives_back_what_was_held_all_the_same() {
    for (row, before, stays) in [
        ("switch", true, &["folder", "left", "right", "turned"][..]),
        ("switch", false, &["folder", "left", "right"]),
        ("right", true, &["folder", "left", "right"]),
        ("left", false, &["folder"]),
        ("folder", true, &["folder"]),
        ("folder", false, &[]),
    ] {
        let mut table = table();
        assert!(into_act(&mut table.apply, "health", Rc::new(Fails { before: true })));
        assert!(into_undo(&mut table.apply, row, Rc::new(Fails { before })));
        let (outcome, left) = run(&table);
        assert_eq!((outcome.word(), left.as_slice()), ("stuck", stays), "{row} {before}");
    }
    let mut table = table();
    assert!(into_act(&mut table.apply, "health", Rc::new(Fails { before: true })));
    assert!(into_undo(&mut table.apply, "lock", Rc::new(Fails { before: true })));
    assert_eq!((run(&table).0.word(), run(&table).1.as_slice()), ("rolled-back", &["lock"][..]));
    assert!(!into_undo(&mut table.apply, "health", Rc::new(Fails { before: true })), "a check has no undo");
}
