//! Whatever dies, the site is whole: every row of the tables that change a site, and everything that can go wrong with a row (F79, F82, F86).
//!
//! The cells are made of the tables, so a new row is swept the day it is added. All of them take about an hour; without being asked for more,
//! a test carries out every fifth of its cells, another fifth for each fault, so that each row meets a fifth of the faults and each
//! fault a fifth of the rows. `cargo xtask sweep` carries out all. One cell alone:
//! `UNWIND_ONLY=release/switch cargo nextest run --test it unwind::f86_the_runner_is_killed --no-capture`.

mod fault;
mod house;

use std::{
    collections::{HashMap, VecDeque},
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    time::Instant,
};

use self::{
    fault::{AS_RELEASE, Cell, FAULTS, Fault, STAGES, why_not},
    house::House,
};
use crate::support::root;

/// How many servers a test has at the same time.
const LANES: usize = 2;

#[test]
fn f79_every_row_fails_before_it_does_anything() {
    sweep(Fault::Before);
}

#[test]
fn f79_every_row_fails_after_it_did_its_work() {
    sweep(Fault::After);
}

#[test]
fn f86_the_line_drops_in_the_middle_of_every_row() {
    sweep(Fault::LineDrops);
}

#[test]
fn f86_the_runner_is_killed_in_the_middle_of_every_row() {
    sweep(Fault::Killed);
}

#[test]
fn f86_the_runner_is_interrupted_in_the_middle_of_every_row() {
    sweep(Fault::Interrupted);
}

#[test]
fn f86_the_disk_is_full_from_every_row_on() {
    sweep(Fault::DiskFull);
}

#[test]
fn f86_the_server_is_rebooted_in_the_middle_of_every_row() {
    sweep(Fault::Rebooted);
}

#[test]
fn f82_every_undo_fails_before_it_does_anything() {
    sweep(Fault::UndoBefore);
}

#[test]
fn f82_every_undo_fails_after_it_did_its_work() {
    sweep(Fault::UndoAfter);
}

/// Not a test of its own when it is asked for: the program in which a fault happens. Asked for nothing, it holds the matrix to the tables.
#[test]
fn the_action_with_a_fault() {
    fault::run_if_asked();
    let own = fs::read_to_string(root().join("tests/it/unwind.rs")).expect("this file");
    for (fault, name) in FAULTS {
        assert!(own.contains(&format!("    sweep(Fault::{fault:?});")), "no test sweeps: {name}");
        let cells = Cell::all(fault);
        let usual = cells.iter().filter(|cell| cell.is_in_the_usual_fifth()).count();
        assert!(usual * 6 >= cells.len() && usual * 4 <= cells.len(), "{name}: {usual} of {}", cells.len());
        for stage in STAGES {
            for row in stage.outline() {
                let cell = Cell { stage, row: row.step.to_string(), fault };
                let swept = cells.contains(&cell);
                let reason = why_not(stage, &row, fault);
                assert_ne!(swept, reason.is_some(), "{} {}, {name}: {reason:?}", stage.name(), row.step);
                let plan = fault::Plan { cell, middle: std::time::Duration::from_millis(7) };
                assert_eq!(plan.to_string().parse(), Ok(plan));
            }
        }
    }
}

struct Swept {
    cell: Cell,
    seconds: f32,
    problem: Option<String>,
}

fn sweep(fault: Fault) {
    let only = env::var("UNWIND_ONLY").unwrap_or_default();
    let all = !only.is_empty() || env::var_os("UNWIND_ALL").is_some();
    let wanted = |cell: &Cell| {
        format!("{}/{}", cell.stage.name(), cell.row).starts_with(&only) && (all || cell.is_in_the_usual_fifth())
    };
    let cells: VecDeque<Cell> = Cell::all(fault).into_iter().filter(wanted).collect();
    assert!(!cells.is_empty(), "no cell is called {only}");
    let count = cells.len();
    let queue = Mutex::new(cells);
    let swept = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES.min(count) {
            scope.spawn(|| lane(fault, &queue, &swept));
        }
    });
    let swept = swept.into_inner().expect("the results");
    println!("{}", drawn(fault, &swept));
    let problems: Vec<String> = swept
        .iter()
        .filter_map(|swept| {
            let problem = swept.problem.as_ref()?;
            Some(format!("=== {} {}, {fault}: {problem}", swept.cell.stage.name(), swept.cell.row))
        })
        .collect();
    assert!(problems.is_empty(), "{} of {count} cells are not whole:\n{}", problems.len(), problems.join("\n"));
    assert_eq!(swept.len(), count, "a hole in the matrix");
}

/// One server, on which one cell follows another as long as each leaves it whole.
fn lane(fault: Fault, queue: &Mutex<VecDeque<Cell>>, swept: &Mutex<Vec<Swept>>) {
    let mut house: Option<House> = None;
    loop {
        let Some(cell) = queue.lock().expect("the cells").pop_front() else { return };
        let began = Instant::now();
        let carried_out = catch_unwind(AssertUnwindSafe(|| {
            if house.as_ref().is_none_or(|house| house.environment() != cell.stage.environment()) {
                house = Some(House::open(fault, cell.stage.environment())?);
            }
            house.as_ref().map_or(Ok(()), |house| house.cell(&cell))
        }));
        let problem = match carried_out {
            Ok(result) => result.err(),
            Err(panic) => Some(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "panicked".to_owned())),
        };
        if problem.is_some() {
            house = None;
        }
        let seconds = began.elapsed().as_secs_f32();
        let told = problem.as_deref().and_then(|problem| problem.lines().next()).unwrap_or("ok");
        println!("{fault}: {} {} in {seconds:.1} s: {told}", cell.stage.name(), cell.row);
        swept.lock().expect("the results").push(Swept { cell, seconds, problem });
    }
}

/// The matrix of this fault: a line for each row, a column for each stage.
fn drawn(fault: Fault, swept: &[Swept]) -> String {
    let found: HashMap<(&str, &str), &Swept> =
        swept.iter().map(|swept| ((swept.cell.stage.name(), swept.cell.row.as_str()), swept)).collect();
    let mut rows: Vec<String> = Vec::new();
    for row in STAGES.iter().flat_map(|stage| stage.outline()) {
        if !rows.contains(&row.step.to_string()) {
            rows.push(row.step.to_string());
        }
    }
    let mut text = format!("{fault}\n{:20}", "row");
    text.extend(STAGES.map(|stage| format!(" {:>12}", stage.name())));
    text.push('\n');
    for row in rows {
        let of = |stage: fault::Stage| match found.get(&(stage.name(), row.as_str())) {
            Some(Swept { problem: None, seconds, .. }) => format!("ok {seconds:.1} s"),
            Some(_) => "NOT WHOLE".to_owned(),
            None => match stage.outline().iter().find(|info| info.step.as_str() == row) {
                Some(info) => match why_not(stage, info, fault) {
                    Some(AS_RELEASE) => "as release".to_owned(),
                    Some(_) => "cannot".to_owned(),
                    None => "not asked".to_owned(),
                },
                None => "-".to_owned(),
            },
        };
        text.push_str(&format!("{row:20}"));
        text.extend(STAGES.map(|stage| format!(" {:>12}", of(stage))));
        text.push('\n');
    }
    text
}
