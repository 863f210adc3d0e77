//! Whatever dies, the site is whole: every row of the tables that change a site, and everything that can go wrong with a row (F79, F82, F86).
//!
//! The cells are made of the tables, so a new row is swept the day it is added. A fault from outside comes at points of the protocol: before
//! the row's script is sent, inside its work, when the server has done it and has not answered, and before the next row. Without being asked
//! for more, the test carries out a third of the points where a fault hurts a row most, a seventh of the others, and a fourth of the cells in
//! which a second run waits, another part each day, so that three days have each row with each fault and a week has everything. `cargo xtask sweep` carries out all. Cells by the beginning of their names, several divided by commas:
//! `UNWIND_ONLY=release/switch/SIGKILL,rollback/ cargo nextest run --test it unwind::f79 --no-capture`.

mod fault;
mod house;

use std::{
    collections::HashMap,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use self::{
    fault::{AS_RELEASE, Cell, FAULTS, Fault, POINTS, STAGES, Stage, why_not, why_not_at},
    house::{House, Kind, Shared},
};

/// How many servers there are at the same time; `UNWIND_LANES` says another number.
const LANES: usize = 4;

#[test]
fn f79_f82_f86_whatever_goes_wrong_with_a_row_the_site_is_whole() {
    sweep(asked_for());
}

/// Not a test of its own when it is asked for: the program in which a fault happens. Asked for nothing, it holds the matrix to the tables.
#[test]
fn the_action_with_a_fault() {
    fault::run_if_asked();
    let every = Cell::every();
    let names: HashMap<String, &Cell> = every.iter().map(|cell| (cell.to_string(), cell)).collect();
    assert_eq!(names.len(), every.len(), "two cells have one name");
    for cell in &every {
        assert_eq!(cell.to_string().parse().as_ref(), Ok(cell));
    }
    for (fault, name) in FAULTS {
        for stage in STAGES {
            for row in stage.outline() {
                let of_the_row = every.iter().filter(|cell| {
                    !cell.second && cell.stage == stage && cell.row == row.step.as_str() && cell.fault == fault
                });
                let of_the_row: Vec<&Cell> = of_the_row.collect();
                let place = format!("{} {}, {name}", stage.name(), row.step);
                let reason = why_not(stage, &row, fault);
                assert_ne!(!of_the_row.is_empty(), reason.is_some(), "{place}: {reason:?}");
                let fixed = of_the_row.iter().filter(|cell| cell.is_hardest()).count();
                assert_eq!(fixed, usize::from(reason.is_none()), "{place}: one point is the hardest");
                for (point, _) in POINTS {
                    let swept = of_the_row.iter().any(|cell| cell.point == Some(point));
                    let wanted =
                        reason.is_none() && fault.comes_from_outside() && why_not_at(stage, &row, point).is_none();
                    assert_eq!(swept, wanted, "{place}, {point}");
                }
            }
        }
    }
    assert_eq!(every.iter().filter(|cell| cell.is_daily()).count(), 1, "one cell is carried out every day");
    let week: Vec<Vec<Cell>> = (20_000..20_007).map(Cell::of_day).collect();
    for cell in &every {
        let on = |days: &[Vec<Cell>]| days.iter().filter(|day| day.contains(cell)).count();
        let (three_days, all) = (on(&week[..3]), on(&week));
        match cell.is_hardest() {
            _ if cell.is_daily() => assert_eq!(all, 7, "{cell}: on how many days of a week"),
            _ if cell.second => assert!([1, 2].contains(&all), "{cell}: on {all} days of a week"),
            true => assert_eq!(three_days, 1, "{cell}: on how many of three days"),
            false => assert_eq!(all, 1, "{cell}: on how many days of a week"),
        }
    }
    for (stage, row) in STAGES.iter().flat_map(|stage| stage.outline().into_iter().map(|row| (*stage, row))) {
        assert_eq!(why_not_at(stage, &row, fault::Point::Before), None, "{} {}", stage.name(), row.step);
    }
}

/// The cells that the variables ask for, those that need a server as it was at first before the others.
fn asked_for() -> Vec<Cell> {
    let only = env::var("UNWIND_ONLY").unwrap_or_default();
    let mut cells = if !only.is_empty() {
        let mut cells = Cell::every();
        cells.retain(|cell| only.split(',').any(|name| cell.to_string().starts_with(name)));
        cells
    } else if env::var_os("UNWIND_ALL").is_some() {
        Cell::every()
    } else {
        let day = match env::var("UNWIND_DAY") {
            Ok(day) => day.parse().expect("UNWIND_DAY is a number of days since 1970"),
            Err(_) => SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs() / 86_400,
        };
        println!(
            "part {} of 3 of the hardest points, part {} of 7 of the others, part {} of 4 of those with a second run (UNWIND_DAY={day})",
            day % 3 + 1,
            day % 7 + 1,
            day % 4 + 1
        );
        Cell::of_day(day)
    };
    assert!(!cells.is_empty(), "no cell is called {only}");
    if let Ok(shard) = env::var("UNWIND_SHARD") {
        let (mine, of) = shard.split_once('/').expect("UNWIND_SHARD is like 2/4");
        let (mine, of): (usize, usize) = (mine.parse().expect("a number"), of.parse().expect("a number"));
        assert!((1..=of).contains(&mine), "UNWIND_SHARD={shard}: there is no such part");
        let mut number = 0;
        cells.retain(|_| {
            number += 1;
            number % of == mine % of
        });
    }
    // Production needs what staging has proven, which is so on a new server; what takes longest must not begin last.
    cells.sort_by_key(|cell| match cell.stage {
        Stage::Production => 0,
        Stage::Recover => 1,
        Stage::Rollback => 2,
        Stage::Release => 3,
    });
    cells
}

struct Swept {
    cell: Cell,
    seconds: f32,
    problem: Option<String>,
}

/// What all lanes take from and add to.
struct Work {
    shared: Shared,
    cells: Mutex<Vec<Cell>>,
    swept: Mutex<Vec<Swept>>,
    /// How long servers took to begin, of all lanes.
    opening: Mutex<Duration>,
}

fn sweep(cells: Vec<Cell>) {
    let began = Instant::now();
    let count = cells.len();
    let shared = Shared::prepare().expect("what all lanes share");
    let prepared = began.elapsed();
    let work = Work { shared, cells: cells.into(), swept: Mutex::default(), opening: Mutex::default() };
    let lanes = env::var("UNWIND_LANES").map_or(LANES, |lanes| lanes.parse().expect("UNWIND_LANES is a number"));
    std::thread::scope(|scope| {
        for number in 0..lanes.min(count) {
            let work = &work;
            scope.spawn(move || lane(number, work));
        }
    });
    let swept = work.swept.into_inner().expect("the results");
    for (fault, _) in FAULTS.iter().filter(|(fault, _)| swept.iter().any(|swept| swept.cell.fault == *fault)) {
        println!("{}", drawn(*fault, &swept));
    }
    let opening = work.opening.into_inner().expect("the time");
    let mut slowest: Vec<&Swept> = swept.iter().collect();
    slowest.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    let in_cells: f32 = swept.iter().map(|swept| swept.seconds).sum();
    println!(
        "{count} cells on {lanes} lanes in {:.0} s: set-up {:.1} s, servers {:.1} s, cells {in_cells:.1} s of all lanes; {} releases to \
         prove a state; {:.0} s of processor time here, {:.0} s on the servers; the slowest cells:",
        began.elapsed().as_secs_f32(),
        prepared.as_secs_f32(),
        opening.as_secs_f32(),
        work.shared.releases.load(Ordering::Relaxed),
        processor_time(),
        work.shared.servers_cpu.load(Ordering::Relaxed) as f32 / 1000.0,
    );
    for swept in slowest.iter().take(10) {
        println!("  {:6.1} s  {}", swept.seconds, swept.cell);
    }
    let problems: Vec<String> =
        swept.iter().filter_map(|swept| Some(format!("=== {}: {}", swept.cell, swept.problem.as_ref()?))).collect();
    assert!(problems.is_empty(), "{} of {count} cells are not whole:\n{}", problems.len(), problems.join("\n"));
    assert_eq!(swept.len(), count, "a hole in the matrix");
}

/// Seconds that this process and those that it waited for had of the processors (proc(5), /proc/pid/stat).
fn processor_time() -> f32 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4);
    fields.filter_map(|ticks| ticks.parse::<f32>().ok()).sum::<f32>() / 100.0
}

/// One server, on which one cell follows another as long as each leaves it whole. The first lane begins with those that need a server which
/// can be started again.
fn lane(number: usize, work: &Work) {
    let mut house: Option<House<'_>> = None;
    loop {
        let preferred = match &house {
            Some(house) => house.kind(),
            None if number == 0 => Kind::Reboots,
            None => Kind::Plain,
        };
        let cell = {
            let mut cells = work.cells.lock().expect("the cells");
            if cells.is_empty() {
                break;
            }
            let at = cells.iter().position(|cell| cell.kind() == preferred).unwrap_or_default();
            cells.remove(at)
        };
        let mut began = Instant::now();
        let carried_out = catch_unwind(AssertUnwindSafe(|| {
            if house.as_ref().is_none_or(|house| house.kind() != cell.kind()) {
                if let Some(house) = house.take() {
                    house.close();
                }
                house = Some(House::open(&work.shared, cell.kind())?);
                *work.opening.lock().expect("the time") += began.elapsed();
                began = Instant::now();
            }
            house.as_ref().map_or(Ok(()), |house| house.cell(&cell))
        }));
        let problem = match carried_out {
            Ok(result) => result.err(),
            Err(panic) => Some(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "panicked".to_owned())),
        };
        if let Some(house) = house.take_if(|_| problem.is_some()) {
            house.close();
        }
        let seconds = began.elapsed().as_secs_f32();
        let told = problem.as_deref().and_then(|problem| problem.lines().next()).unwrap_or("ok");
        let via = if cell.by_tunnel() { " through a tunnel" } else { "" };
        println!("{cell}{via} in {seconds:.1} s: {told}");
        work.swept.lock().expect("the results").push(Swept { cell, seconds, problem });
    }
    if let Some(house) = house {
        house.close();
    }
}

/// The matrix of this fault: a line for each row, a column for each stage.
fn drawn(fault: Fault, swept: &[Swept]) -> String {
    let mut rows: Vec<String> = Vec::new();
    for row in STAGES.iter().flat_map(|stage| stage.outline()) {
        if !rows.contains(&row.step.to_string()) {
            rows.push(row.step.to_string());
        }
    }
    let mut text = format!("{fault}\n{:20}", "row");
    text.extend(STAGES.map(|stage| format!(" {:>14}", stage.name())));
    text.push('\n');
    for row in rows {
        let of = |stage: Stage| {
            let found: Vec<&Swept> = swept
                .iter()
                .filter(|Swept { cell, .. }| cell.stage == stage && cell.row == row && cell.fault == fault)
                .collect();
            let bad = found.iter().filter(|swept| swept.problem.is_some()).count();
            let seconds: f32 = found.iter().map(|swept| swept.seconds).sum();
            match (found.len(), bad) {
                (0, _) => match stage.outline().iter().find(|info| info.step.as_str() == row) {
                    Some(info) => match why_not(stage, info, fault) {
                        Some(AS_RELEASE) => "as release".to_owned(),
                        Some(_) => "cannot".to_owned(),
                        None => "not asked".to_owned(),
                    },
                    None => "-".to_owned(),
                },
                (1, 0) => format!("ok {seconds:.1} s"),
                (points, 0) => format!("ok {points} in {seconds:.1} s"),
                (points, bad) => format!("NOT WHOLE {bad}/{points}"),
            }
        };
        text.push_str(&format!("{row:20}"));
        text.extend(STAGES.map(|stage| format!(" {:>14}", of(stage))));
        text.push('\n');
    }
    text
}
