//! What goes wrong, and how it is made to. A cell that needs a process of its own runs the action in one: this very test program,
//! started again with a table in which one row has a fault.

use std::{
    cell::{Cell as StdCell, RefCell},
    env,
    ffi::OsString,
    fmt,
    fs::File,
    path::{Path, PathBuf},
    rc::Rc,
    str::FromStr,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use gated_deploy::{
    app::{Alter, RecoverTable, SiteTable, run_with},
    config::Environment,
    context::{Deploy, Ports, Survey},
    domain::{Failure, RemotePath},
    engine::{
        Table,
        event::{RowInfo, RowKind},
        fault,
        step::Io,
    },
    stages::{deploy, recover, rollback},
    transport::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel},
};
use gated_deploy_lab::{
    cut_power, power_on, runner,
    server::{Environment as Site, GATES},
    story::commit,
};
use tokio::sync::Notify;

/// The variable that names the [`Cell`] to the program that carries it out.
pub(super) const VARIABLE: &str = "UNWIND_CELL";
/// The server's container, for the program that reboots it.
pub(super) const CONTAINER: &str = "UNWIND_CONTAINER";
/// The file that lets a stopped script go on, for the program that stops it.
pub(super) const GATE: &str = "UNWIND_GATE";
/// What is told when the fault happens. A cell whose fault nobody saw proves nothing.
pub(super) const MARK: &str = "the fault happens now";
/// What fills the disk, in the site's base folder.
pub(super) const FILLER: &str = ".filled-to-the-brim";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The row does nothing and fails.
    Before,
    /// The row does its work and fails.
    After,
    /// At a point of the row, every session of the run on the server is ended.
    LineDrops,
    /// At a point of the row, the runner's process gets SIGKILL.
    Killed,
    /// At a point of the row, the runner's process gets SIGINT.
    Interrupted,
    /// The site's disk has no byte left from when the row begins until the run has ended.
    DiskFull,
    /// At a point of the row, the server's processes end all at once; it starts again, and the files are what they were then.
    Rebooted,
    /// The next check fails, and then the row's undo, before it does anything.
    UndoBefore,
    /// The next check fails, and then the row's undo, after it did what it does.
    UndoAfter,
    /// Nothing else fails, and what the row holds cannot be given back.
    GiveBack,
    /// When the row has ended well, the disk has no byte left, and the runner's process gets SIGKILL. The disk stays full until the server
    /// has done what it can by itself.
    FullAndKilled,
    /// At a point of the row, the last row of another lane fails, which has waited for that with its work done.
    OtherLane,
}

pub(super) const FAULTS: [(Fault, &str); 12] = [
    (Fault::Before, "fails before"),
    (Fault::After, "fails after"),
    (Fault::LineDrops, "line drops"),
    (Fault::Killed, "SIGKILL"),
    (Fault::Interrupted, "SIGINT"),
    (Fault::DiskFull, "disk full"),
    (Fault::Rebooted, "rebooted"),
    (Fault::UndoBefore, "undo fails before"),
    (Fault::UndoAfter, "undo fails after"),
    (Fault::GiveBack, "giving back fails"),
    (Fault::FullAndKilled, "disk full and SIGKILL"),
    (Fault::OtherLane, "other lane fails"),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FAULTS.iter().find(|(fault, _)| fault == self).map_or("?", |(_, name)| name))
    }
}

/// Which of the stages that change a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Release,
    Rollback,
    /// The same table as a release's, of which only the rows are swept that staging's has not.
    Production,
    /// After a run that died.
    Recover,
}

pub(super) const STAGES: [Stage; 4] = [Stage::Release, Stage::Rollback, Stage::Production, Stage::Recover];

impl Stage {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Rollback => "rollback",
            Self::Production => "production",
            Self::Recover => "recover",
        }
    }

    pub(super) fn outline(self) -> Vec<RowInfo> {
        match self {
            Self::Release => deploy::table().outline(),
            Self::Rollback => rollback::table(None).outline(),
            Self::Production => deploy::production().outline(),
            Self::Recover => recover::table().outline(),
        }
    }

    /// Whether there is an undo of this row, or a way in which it is given back.
    fn undoes(self, row: &str) -> bool {
        match self {
            Self::Release => fault::into_undo(&mut deploy::table().apply, row, Rc::new(Idle)),
            Self::Rollback => fault::into_undo(&mut rollback::table(None).apply, row, Rc::new(Idle)),
            Self::Production => fault::into_undo(&mut deploy::production().apply, row, Rc::new(Idle)),
            Self::Recover => fault::into_undo(&mut recover::table().apply, row, Rc::new(Idle)),
        }
    }

    /// The server's site that it changes here.
    pub(super) fn environment(self) -> Site {
        match self {
            Self::Release | Self::Rollback | Self::Recover => Site::Staging,
            Self::Production => Site::Production,
        }
    }
}

/// When a fault happens that comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// Before the row's script is sent; of a row without one, before it begins.
    Before,
    /// Inside of what the script, or the upload, does.
    Inside,
    /// The server has done it, and its answer is not complete yet.
    Answer,
    /// Between the answer and the next row.
    Next,
    /// The server has undone the row, or has given it back, and its answer is not complete yet.
    Undo,
}

pub(super) const POINTS: [(Point, &str); 5] = [
    (Point::Before, "before"),
    (Point::Inside, "inside"),
    (Point::Answer, "answer"),
    (Point::Next, "next"),
    (Point::Undo, "undo"),
];

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(POINTS.iter().find(|(point, _)| point == self).map_or("?", |(_, name)| name))
    }
}

/// What a row does that can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Nothing on the server, or only a connection.
    Nothing,
    /// This script: of several the first that changes something, or else the first that always runs.
    Script(&'static str),
    /// This script, and a place inside of its work where it can be stopped.
    Inside(&'static str),
}

/// What each row does, by the name of its script. The tests hold it to the tables: a new row is named here, or the matrix has a hole.
const WORKS: [(&str, Work); 55] = [
    ("find-build", Work::Nothing),
    ("reach-server", Work::Nothing),
    ("survey-server", Work::Script("look")),
    ("can-reload", Work::Script("can-reload")),
    ("live-tree", Work::Script("digest")),
    ("baseline-health", Work::Nothing),
    ("present-health", Work::Nothing),
    ("choose-release", Work::Script("digest")),
    ("staging-evidence", Work::Script("ledger-read")),
    ("read-bundle", Work::Nothing),
    ("look-ahead", Work::Script("change-preview")),
    ("bundle-gates", Work::Nothing),
    ("php", Work::Nothing),
    ("env-file", Work::Script("env")),
    ("shared-folders", Work::Script("access")),
    ("room", Work::Script("room")),
    ("deploy-lock", Work::Script("lock")),
    ("finish-unconfirmed", Work::Script("guards")),
    ("nothing-moved", Work::Script("current")),
    ("ledger", Work::Script("ledger")),
    ("backup", Work::Inside("backup")),
    ("copy-backup", Work::Nothing),
    ("await-build", Work::Nothing),
    ("fetch-bundle", Work::Nothing),
    ("same-bundle", Work::Nothing),
    ("upload", Work::Inside("incoming")),
    ("unpack-release", Work::Inside("unpack")),
    ("unchanged-tree", Work::Script("digest")),
    ("verify-tree", Work::Script("gates")),
    ("boot-release", Work::Script("boot")),
    ("before-migrate", Work::Inside("hook")),
    ("migrate", Work::Inside("migrate")),
    ("build-caches", Work::Script("cache")),
    ("seal-release", Work::Script("digest")),
    ("name-release", Work::Script("mark")),
    ("canary", Work::Script("canary")),
    ("before-switch", Work::Inside("hook")),
    ("warm-up", Work::Nothing),
    ("sample-site", Work::Nothing),
    ("can-still-reload", Work::Script("can-reload")),
    ("arm-hooks", Work::Nothing),
    ("arm-watchdog", Work::Script("arm")),
    ("switch", Work::Script("switch")),
    ("rebuild-caches", Work::Script("cache")),
    ("reload", Work::Script("reload")),
    ("warm-up-again", Work::Nothing),
    ("restart-workers", Work::Script("workers")),
    ("after-switch", Work::Inside("hook")),
    ("after-rollback", Work::Inside("hook")),
    ("grace", Work::Nothing),
    ("health", Work::Nothing),
    ("assets", Work::Nothing),
    ("zero-downtime", Work::Nothing),
    ("confirm", Work::Inside("confirm")),
    ("prune", Work::Script("prune")),
];

/// What the row does; `None` for a row that nobody has named.
fn work(stage: Stage, row: &str) -> Option<Work> {
    match (stage, row) {
        (Stage::Recover, "health") => Some(Work::Script("current")),
        _ => WORKS.iter().find(|(name, _)| *name == row).map(|(_, work)| *work),
    }
}

/// The rows that ask the site, and those after the switch that follow them.
const ASKS_OR_LATER: [&str; 10] = [
    "baseline-health",
    "present-health",
    "sample-site",
    "health",
    "assets",
    "zero-downtime",
    "confirm",
    "live",
    "prune",
    "after-rollback",
];

/// The script that undoes these rows, or gives them back.
const UNDOES: [(&str, &str); 3] = [("unpack-release", "remove"), ("switch", "switch"), ("deploy-lock", "unlock")];

/// Where a second run waits for the deploy lock while the first one meets its fault. Each costs two runs, so only the faults stand here that
/// change who holds the lock, or what the second run finds under it. Left out are faults of the connection and reboots: the first run, or the
/// server's guard, goes on after them under its own lock, and the second one only waits longer. Production has the rows of a release.
const SECOND: [(Stage, &str, Fault, Option<Point>); 15] = [
    (Stage::Release, "migrate", Fault::Killed, Some(Point::Inside)),
    (Stage::Release, "migrate", Fault::Interrupted, Some(Point::Inside)),
    (Stage::Release, "switch", Fault::Killed, Some(Point::Answer)),
    (Stage::Release, "switch", Fault::Interrupted, Some(Point::Answer)),
    (Stage::Release, "confirm", Fault::Killed, Some(Point::Inside)),
    (Stage::Release, "confirm", Fault::Killed, Some(Point::Answer)),
    (Stage::Release, "confirm", Fault::Interrupted, Some(Point::Answer)),
    (Stage::Release, "live", Fault::Killed, Some(Point::Before)),
    (Stage::Release, "unpack-release", Fault::Killed, Some(Point::Undo)),
    (Stage::Release, "switch", Fault::Killed, Some(Point::Undo)),
    (Stage::Release, "switch", Fault::Interrupted, Some(Point::Undo)),
    (Stage::Release, "deploy-lock", Fault::Killed, Some(Point::Undo)),
    (Stage::Release, "deploy-lock", Fault::Interrupted, Some(Point::Undo)),
    (Stage::Release, "switch", Fault::UndoBefore, None),
    (Stage::Rollback, "switch", Fault::Killed, Some(Point::Answer)),
];

/// The rows at which a killed run leaves its work to the watchdog, or to the confirmation that it sent.
const ASKS_AFTER_THE_SWITCH: [&str; 4] = ["health", "assets", "zero-downtime", "confirm"];

/// The last part of the name of a cell with a second run.
const BESIDE: &str = "second run";

/// One cell of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) stage: Stage,
    pub(super) row: String,
    pub(super) fault: Fault,
    /// For faults that come from outside.
    pub(super) point: Option<Point>,
    /// Whether a second run of another commit waits for the deploy lock.
    pub(super) second: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.stage.name(), self.row, self.fault)?;
        self.point.map_or(Ok(()), |point| write!(f, "/{point}"))?;
        if self.second { write!(f, "/{BESIDE}") } else { Ok(()) }
    }
}

impl Cell {
    /// Every row for which there is such a fault, of all tables, at every point.
    pub(super) fn all(fault: Fault) -> Vec<Self> {
        let rows = STAGES.into_iter().flat_map(|stage| stage.outline().into_iter().map(move |row| (stage, row)));
        rows.filter(|(stage, row)| why_not(*stage, row, fault).is_none())
            .flat_map(|(stage, row)| {
                let points = match fault.comes_from_outside() {
                    true => POINTS.iter().map(|(point, _)| Some(*point)).collect(),
                    false => vec![None],
                };
                let offered =
                    |point: &Option<Point>| point.is_none_or(|point| why_not_at(stage, &row, point).is_none());
                let cell = |point| Self { stage, row: row.step.to_string(), fault, point, second: false };
                points.into_iter().filter(offered).map(cell).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Every cell of every fault, and those with a second run.
    pub(super) fn every() -> Vec<Self> {
        let second = |(stage, row, fault, point): (Stage, &str, Fault, Option<Point>)| Self {
            stage,
            row: row.to_owned(),
            fault,
            point,
            second: true,
        };
        FAULTS.iter().flat_map(|(fault, _)| Self::all(*fault)).chain(SECOND.map(second)).collect()
    }

    /// Whether the run asks the site through its SSH connection: always where a fault of the connection comes while it asks or later, of the
    /// other cells every second one. `UNWIND_VIA` says `tunnel` or `direct` for all.
    pub(super) fn by_tunnel(&self) -> bool {
        match env::var("UNWIND_VIA").as_deref() {
            Ok("tunnel") => return true,
            Ok("direct") => return false,
            _ => {}
        }
        let digest = commit(&self.to_string());
        (self.fault.comes_from_outside() && self.asks_or_later()) || digest.as_bytes()[0].is_multiple_of(2)
    }

    /// Whether the row asks the site, or follows those that ask the new release.
    pub(super) fn asks_or_later(&self) -> bool {
        ASKS_OR_LATER.contains(&self.row.as_str())
    }

    /// Whether its run cannot write down how it ended: the next run has to, from the lock that this one leaves.
    pub(super) fn leaves_the_line(&self) -> bool {
        self.row == "ledger" && matches!(self.fault, Fault::GiveBack | Fault::UndoBefore)
    }

    /// Whether this is the point at which the fault hurts the row most: each row meets each fault there in a few days.
    pub(super) fn is_hardest(&self) -> bool {
        let hardest = [Point::Inside, Point::Answer, Point::Next, Point::Before];
        let offered = |point: &Point| {
            let row = self.stage.outline().into_iter().find(|row| row.step.as_str() == self.row);
            row.is_some_and(|row| why_not_at(self.stage, &row, *point).is_none())
        };
        self.point.is_none() || self.point == hardest.into_iter().find(offered)
    }

    /// The signal arrives while the server's word on the confirmation is under way: the narrowest place of all, tried every day.
    pub(super) fn is_daily(&self) -> bool {
        self.to_string() == "release/confirm/SIGINT/answer"
    }

    /// Those of a day where nobody asks for all: of the hardest points a third, so that three days have all of them; of the others a seventh;
    /// of those with a second run a fourth. All hardest points of one day would take two cores twenty minutes.
    pub(super) fn of_day(day: u64) -> Vec<Self> {
        let (mut hardest, mut others, mut second) = (0, 0, 0);
        let mut cells = Self::every();
        cells.retain(|cell| match cell.is_hardest() {
            _ if cell.is_daily() => true,
            _ if cell.second => {
                second += 1;
                second % 4 == day % 4
            }
            true => {
                hardest += 1;
                hardest % 3 == day % 3
            }
            false => {
                others += 1;
                others % 7 == day % 7
            }
        });
        cells
    }

    /// The script at which, or in which, the fault happens.
    fn script(&self) -> Option<&'static str> {
        match (work(self.stage, &self.row)?, self.point?) {
            (_, Point::Undo) => UNDOES.iter().find(|(row, _)| *row == self.row).map(|(_, script)| *script),
            (Work::Nothing, _) | (_, Point::Next) => None,
            (Work::Script(name) | Work::Inside(name), _) => Some(name),
        }
    }
}

/// Why a row of production is not swept a second time.
pub(super) const AS_RELEASE: &str = "it is the row of a release";

/// Why there is no such cell, where there is none.
pub(super) fn why_not(stage: Stage, row: &RowInfo, fault: Fault) -> Option<&'static str> {
    let of_release = || deploy::table().outline().iter().any(|other| other.step == row.step);
    match fault {
        _ if stage == Stage::Production && of_release() => Some(AS_RELEASE),
        Fault::Before | Fault::After if row.kind == RowKind::Commit => Some("it does nothing that could fail"),
        Fault::UndoBefore | Fault::UndoAfter => {
            (!stage.undoes(row.step.as_str())).then_some("nothing of it is undone or given back")
        }
        Fault::GiveBack => (row.kind != RowKind::Hold).then_some("it holds nothing"),
        Fault::FullAndKilled => {
            let guarded = row.step.as_str() == "switch" || ASKS_AFTER_THE_SWITCH.contains(&row.step.as_str());
            (!guarded).then_some("a full disk alone, and SIGKILL alone, meet it")
        }
        Fault::OtherLane if row.survey => Some("it only reads"),
        Fault::OtherLane => row.lane.is_none().then_some("nothing runs beside it"),
        _ => None,
    }
}

/// Why a fault from outside cannot happen at this point, where it cannot.
pub(super) fn why_not_at(stage: Stage, row: &RowInfo, point: Point) -> Option<&'static str> {
    if row.kind == RowKind::Commit {
        return (point != Point::Before).then_some("it takes no time: after it comes what is before the next row");
    }
    match (work(stage, row.step.as_str()), point) {
        (_, Point::Undo) => Some("it is met there only where a second run waits"),
        (None, _) => Some("nobody has said what it does: name its script in WORKS"),
        (_, Point::Before | Point::Next) | (Some(Work::Inside(_)), _) | (Some(Work::Script(_)), Point::Answer) => None,
        (Some(Work::Nothing), _) => Some("it runs no script"),
        (Some(Work::Script(_)), Point::Inside) => Some("its script has no inner steps"),
    }
}

struct Idle;

impl<C> fault::Fault<C> for Idle {}

impl Fault {
    /// Whether it has nothing to do with the row, which it meets at some point of its work.
    pub(super) fn comes_from_outside(self) -> bool {
        matches!(self, Self::LineDrops | Self::Killed | Self::Interrupted | Self::Rebooted | Self::OtherLane)
    }

    /// Whether the run ends by it at once.
    pub(super) fn kills(self) -> bool {
        matches!(self, Self::Killed | Self::FullAndKilled)
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let [stage, row, fault, more @ ..] = parts.as_slice() else {
            return Err(format!("three parts or more: {text}"));
        };
        let (second, point) = match more.split_last() {
            Some((last, before)) if *last == BESIDE => (true, before),
            _ => (false, more),
        };
        let stage = STAGES.into_iter().find(|known| known.name() == *stage).ok_or("a stage")?;
        let fault = FAULTS.into_iter().find(|(_, name)| name == fault).ok_or("a fault")?.0;
        let known = |point: &&str| POINTS.into_iter().find(|(_, name)| name == point).map(|(point, _)| point);
        let point = point.first().map(|point| known(point).ok_or("a point")).transpose()?;
        Ok(Self { stage, row: (*row).to_owned(), fault, point, second })
    }
}

/// The action with the fault of the environment in its table, if this process was started for that. Does not come back then.
pub(super) fn run_if_asked() {
    let Ok(cell) = env::var(VARIABLE) else { return };
    let cell: Cell = cell.parse().expect("a cell");
    let gate = env::var(GATE).expect("the gate");
    let plan = Plan(Rc::new(Incident {
        cell,
        gate: gate.into(),
        at_work: false.into(),
        happened: false.into(),
        begun: false.into(),
        beside: None.into(),
        run: None.into(),
        stands: Notify::new(),
    }));
    let args = [OsString::from("gated-deploy")];
    let code = run_with(&Environment::of_this_process(), args, Instant::now(), &plan);
    std::process::exit(code.into());
}

/// The table and the connections of a run, with a fault in them.
struct Plan(Rc<Incident>);

impl Alter for Plan {
    fn site(&self, table: &mut SiteTable) {
        put(&self.0, table);
    }

    fn recover(&self, table: &mut RecoverTable) {
        put(&self.0, table);
    }

    fn shell(&self, shell: Rc<dyn Shell>) -> Rc<dyn Shell> {
        Rc::new(Watched { shell, incident: self.0.clone() })
    }
}

fn put<S: Ground, D: Ground>(incident: &Rc<Incident>, table: &mut Table<S, D>) {
    let Cell { row, fault, .. } = &incident.cell;
    let outline = table.outline();
    let at = outline.iter().position(|other| other.step.as_str() == row).expect("the row");
    let sabotage = |fault| Rc::new(Sabotage { fault, incident: incident.clone() });
    let check_fails = |table: &mut Table<S, D>| {
        // A check of another lane may come before the row.
        let follows = |row: &&RowInfo| row.lane.is_none() || row.lane == outline[at].lane;
        let mut checks = outline[at + 1..].iter().filter(|row| row.kind == RowKind::Check);
        let next = checks.find(follows).expect("a check after it");
        assert!(fault::into_act(&mut table.apply, next.step.as_str(), sabotage(Fault::Before)));
    };
    assert!(fault::into_act(&mut table.survey, outline[0].step.as_str(), Rc::new(Hears(incident.clone()))));
    match fault {
        // What is held is given back after a good end, too.
        _ if incident.cell.point == Some(Point::Undo) => {
            if outline[at].kind == RowKind::Change {
                check_fails(table);
            }
            assert!(fault::into_undo(&mut table.apply, row, sabotage(*fault)));
        }
        Fault::UndoBefore | Fault::UndoAfter => {
            check_fails(table);
            let undo = if *fault == Fault::UndoBefore { Fault::Before } else { Fault::After };
            assert!(fault::into_undo(&mut table.apply, row, sabotage(undo)));
        }
        Fault::GiveBack => assert!(fault::into_undo(&mut table.apply, row, sabotage(Fault::Before))),
        Fault::OtherLane => {
            let beside = outline.iter().rfind(|row| !row.survey && row.lane.is_some() && row.lane != outline[at].lane);
            let beside = beside.expect("another lane");
            assert!(fault::into_act(&mut table.apply, row, sabotage(*fault)));
            assert!(fault::into_act(&mut table.apply, beside.step.as_str(), Rc::new(FailsThen(incident.clone()))));
        }
        // A commit takes no time: what happens to it happens between the row before it and the one behind it.
        _ if outline[at].kind == RowKind::Commit => {
            let before = &outline[at - 1].step;
            assert!(fault::into_act(&mut table.apply, before.as_str(), Rc::new(AtItsEnd(incident.clone()))));
        }
        _ => assert!(
            fault::into_act(&mut table.survey, row, sabotage(*fault))
                || fault::into_act(&mut table.apply, row, sabotage(*fault))
        ),
    }
}

/// Where a row stands: before the approval or behind it.
trait Ground: 'static {
    fn ports(&self) -> &Ports;
    fn base(&self) -> &RemotePath;
}

impl Ground for Survey {
    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn base(&self) -> &RemotePath {
        self.inputs.layout.base()
    }
}

impl Ground for Deploy {
    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn base(&self) -> &RemotePath {
        self.inputs.layout.base()
    }
}

impl Ground for recover::Survey {
    fn ports(&self) -> &Ports {
        &self.server.ports
    }

    fn base(&self) -> &RemotePath {
        self.server.inputs.layout.base()
    }
}

impl Ground for recover::Recover {
    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn base(&self) -> &RemotePath {
        self.inputs.layout.base()
    }
}

/// Every session of the deploy user but the one that this runs in.
const END_SESSIONS: &str =
    "for pid in $(pgrep -u \"$(id -u)\" -x sshd); do [ \"$pid\" = \"$PPID\" ] || kill -s KILL \"$pid\"; done\n";

const FILL: &str = "cat /dev/zero >\"$FILE\" 2>/dev/null || :\nput left \"$(df -Pk \"$FILE\" | tail -n 1)\"\n";

/// What is told when a row runs a script that [`WORKS`] does not know of.
pub(super) const UNNAMED: &str = "a row without a script runs one";

/// The script that renews the lock, and the one that ends the sessions.
const RENEWS: &str = "renew";
const ENDS: &str = "end";

/// What a script prints when it has come to the point where it waits.
pub(super) const REACHED: &str = "unwind: the work stands at its checkpoint";

/// In place of the checkpoint that does nothing: once in its life the script says that it is there, and waits until the gate is open. A
/// script that is run again, or that was told to end, does not wait.
const CHECKPOINT: &str = r#"export UNWIND_POINT UNWIND_REACHED UNWIND_GATE
checkpoint() {
    if [ "$1" = "$UNWIND_POINT" ] && [ -z "${UNWIND_PASSED:-}" ]; then
        UNWIND_PASSED=yes
        UNWIND_WAITED=0
        if [ ! -e "$UNWIND_GATE" ]; then printf '%s\n' "$UNWIND_REACHED" >&2; fi
        while [ ! -e "$UNWIND_GATE" ] && [ "$UNWIND_WAITED" -lt 600 ]; do
            UNWIND_WAITED=$((UNWIND_WAITED + 1))
            sleep 0.05
        done
    fi
}"#;

/// What is told when the fault waits for the second run.
const AWAITS: &str = "the fault waits until a second run waits for the deploy lock";

/// Beside the gate: the file that says that the second run waits.
pub(super) fn second_waits(gate: &Path) -> PathBuf {
    gate.with_extension("second")
}

/// The fault, and what it waits for.
struct Incident {
    cell: Cell,
    /// A file of this machine that the server sees as well. Where it exists, no script waits.
    gate: PathBuf,
    /// Whether the row itself works now, and none of another lane.
    at_work: StdCell<bool>,
    /// Whether the fault has happened: what runs from then on may take back what earlier rows did.
    happened: StdCell<bool>,
    /// Whether the script was seen that it belongs to. One that is run again meets no second fault.
    begun: StdCell<bool>,
    /// A second connection, made before the row begins.
    beside: RefCell<Option<Rc<dyn Shell>>>,
    /// By which it is known whether the run has heard that it is to stop.
    run: RefCell<Option<Io>>,
    /// Told when the row stands where another lane is to fail.
    stands: Notify,
}

impl Incident {
    /// Whether it is for this script.
    fn takes(&self, script: &Script) -> bool {
        self.at_work.get()
            && self.cell.fault.comes_from_outside()
            && self.cell.script() == Some(script.name())
            && !self.begun.replace(true)
    }

    /// Whether the row runs this script, and [`WORKS`] says that it runs none. The lock is renewed beside every row.
    fn is_unnamed(&self, script: &Script) -> bool {
        let nothing = work(self.cell.stage, &self.cell.row) == Some(Work::Nothing);
        // What is put into its undo, or into its giving back, says nothing of the row's own work.
        let in_its_undo = matches!(self.cell.fault, Fault::UndoBefore | Fault::UndoAfter | Fault::GiveBack);
        let other = in_its_undo || [RENEWS, ENDS].contains(&script.name());
        self.at_work.get() && !self.happened.get() && nothing && !other
    }

    /// The gate as the server sees it.
    fn gate_there(&self) -> String {
        format!("{GATES}/{}", self.gate.file_name().expect("a file").to_string_lossy())
    }

    /// Comes back when a second run waits for the deploy lock, where the cell has one.
    async fn second_run_waits(&self) {
        let waits = second_waits(&self.gate);
        if self.cell.second && !waits.exists() {
            println!("{AWAITS}");
        }
        while self.cell.second && !waits.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets the script go on that the signal has met, if it is one that nobody cancels. The row's other work is dropped by the engine in the
    /// very turn in which the run hears of the signal, so what comes back from here is not cancelled.
    async fn goes_on_after_the_signal(&self) {
        if self.cell.fault != Fault::Interrupted {
            return;
        }
        let run = self.run.borrow().clone().expect("the first row has begun");
        run.until_cancelled().await;
        tokio::task::yield_now().await;
        open(&self.gate);
    }

    async fn happen(&self) {
        self.second_run_waits().await;
        self.happened.set(true);
        println!("{MARK}");
        match self.cell.fault {
            Fault::Killed | Fault::FullAndKilled => runner::raise(runner::Signal::KILL),
            Fault::Interrupted => runner::raise(runner::Signal::INT),
            Fault::LineDrops => {
                let beside = self.beside.borrow().clone().expect("a connection");
                run(&*beside, Script::new(ENDS, END_SESSIONS)).await;
                open(&self.gate);
            }
            Fault::Rebooted => {
                let (container, gate) = (env::var(CONTAINER).expect("the container"), self.gate.clone());
                let rebooted = tokio::task::spawn_blocking(move || {
                    cut_power(&container)?;
                    open(&gate);
                    power_on(&container)
                });
                rebooted.await.expect("the thread").expect("the server starts again");
            }
            Fault::OtherLane => {
                self.stands.notify_one();
                // The engine stops the row here.
                std::future::pending::<()>().await;
            }
            Fault::Before | Fault::After | Fault::DiskFull | Fault::UndoBefore | Fault::UndoAfter | Fault::GiveBack => {
            }
        }
    }
}

/// Lets every script go on.
pub(super) fn open(gate: &Path) {
    std::fs::write(gate, "").expect("opening the gate");
}

/// Opens the gate when it is dropped: the run waits no longer for a script that nothing ends, and that goes on without it.
struct GoesOn(Option<PathBuf>);

impl Drop for GoesOn {
    fn drop(&mut self) {
        if let Some(gate) = &self.0 {
            open(gate);
        }
    }
}

/// A connection on which the fault happens at its point.
struct Watched {
    shell: Rc<dyn Shell>,
    incident: Rc<Incident>,
}

#[async_trait(?Send)]
impl Shell for Watched {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        self.shell.connect().await
    }

    async fn run(&self, script: Script, on_line: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        if self.incident.is_unnamed(&script) {
            println!("{UNNAMED}: {}", script.name());
        }
        let by_upload = self.incident.cell.row == "upload" && self.incident.cell.point == Some(Point::Inside);
        if by_upload || !self.incident.takes(&script) {
            return self.shell.run(script, on_line).await;
        }
        let Some(point) = self.incident.cell.point.filter(|point| *point != Point::Before) else {
            self.incident.happen().await;
            self.incident.goes_on_after_the_signal().await;
            return self.shell.run(script, on_line).await;
        };
        let script = script
            .var("UNWIND_POINT", if point == Point::Undo { Point::Answer } else { point }.to_string())
            .var("UNWIND_REACHED", REACHED)
            .var("UNWIND_GATE", self.incident.gate_there())
            .with_checkpoint(CHECKPOINT);
        let _goes_on = GoesOn(script.is_never_ended().then(|| self.incident.gate.clone()));
        let (reached, mut stands) = tokio::sync::mpsc::unbounded_channel();
        let work = async move {
            let mut hear = |line: String| match line.trim() == REACHED {
                true => drop(reached.send(())),
                false => on_line(line),
            };
            self.shell.run(script, &mut hear).await
        };
        let fault = async {
            if stands.recv().await.is_some() {
                self.incident.happen().await;
                self.incident.goes_on_after_the_signal().await;
            }
        };
        futures_util::join!(work, fault).0
    }

    async fn send(
        &self,
        file: File,
        size: u64,
        to: &RemotePath,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), ShellError> {
        let Incident { cell, at_work, begun, .. } = &*self.incident;
        let here = cell.point == Some(Point::Inside) && cell.row == "upload" && at_work.get();
        if !here || !cell.fault.comes_from_outside() || begun.get() {
            return self.shell.send(file, size, to, on_bytes).await;
        }
        let (reached, mut stands) = tokio::sync::mpsc::unbounded_channel();
        let work = async move {
            let mut hear = |there: u64| {
                if there > 0 && there < size && !begun.replace(true) {
                    let _ = reached.send(());
                }
                on_bytes(there);
            };
            self.shell.send(file, size, to, &mut hear).await
        };
        let fault = async {
            if stands.recv().await.is_some() {
                self.incident.happen().await;
            }
        };
        futures_util::join!(work, fault).0
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, ShellError> {
        self.shell.tunnel(host, port).await
    }

    fn another(&self) -> Rc<dyn Shell> {
        Rc::new(Self { shell: self.shell.another(), incident: self.incident.clone() })
    }
}

/// Takes from the first row by what a run hears that it is to stop. What a row that decides is given never says so.
struct Hears(Rc<Incident>);

#[async_trait(?Send)]
impl<C> fault::Fault<C> for Hears {
    async fn before(&self, _cx: &C, io: &Io) -> Result<(), Failure> {
        self.0.run.replace(Some(io.clone()));
        Ok(())
    }
}

struct Sabotage {
    fault: Fault,
    incident: Rc<Incident>,
}

fn failed() -> Failure {
    Failure::world("working on this step", "a fault that was put here")
}

async fn run(shell: &dyn Shell, script: Script) {
    shell.run(script, &mut |_| {}).await.expect("the script of the fault");
}

async fn fill<C: Ground>(cx: &C) {
    let file = cx.base().join(FILLER);
    run(&*cx.ports().shell.another(), Script::new("fill", FILL).var("FILE", file.as_str())).await;
    println!("{MARK}");
}

async fn connect_beside<C: Ground>(incident: &Incident, cx: &C) {
    let beside = cx.ports().shell.another();
    beside.connect().await.expect("a second connection");
    incident.beside.replace(Some(beside));
}

#[async_trait(?Send)]
impl<C: Ground> fault::Fault<C> for Sabotage {
    async fn before(&self, cx: &C, _io: &Io) -> Result<(), Failure> {
        match self.fault {
            Fault::Before => {
                self.incident.second_run_waits().await;
                println!("{MARK}");
                return Err(failed());
            }
            Fault::DiskFull => fill(cx).await,
            Fault::LineDrops => connect_beside(&self.incident, cx).await,
            _ => {}
        }
        if self.incident.cell.point == Some(Point::Before) && self.incident.cell.script().is_none() {
            self.incident.happen().await;
        }
        Ok(())
    }

    fn enters(&self) {
        self.incident.at_work.set(true);
    }

    fn leaves(&self) {
        self.incident.at_work.set(false);
    }

    async fn after(&self, cx: &C, _io: &Io) -> Result<(), Failure> {
        if self.fault == Fault::After {
            println!("{MARK}");
            return Err(failed());
        }
        if self.fault == Fault::FullAndKilled {
            fill(cx).await;
        }
        if self.fault == Fault::FullAndKilled || self.incident.cell.point == Some(Point::Next) {
            self.incident.happen().await;
        }
        Ok(())
    }
}

/// Its work is done, and it fails when the row of another lane stands where that is to happen.
struct FailsThen(Rc<Incident>);

#[async_trait(?Send)]
impl<C> fault::Fault<C> for FailsThen {
    async fn after(&self, _cx: &C, _io: &Io) -> Result<(), Failure> {
        self.0.stands.notified().await;
        Err(failed())
    }
}

/// The fault comes when the row has ended well, before anything else.
struct AtItsEnd(Rc<Incident>);

#[async_trait(?Send)]
impl<C: Ground> fault::Fault<C> for AtItsEnd {
    async fn after(&self, cx: &C, _io: &Io) -> Result<(), Failure> {
        match self.0.cell.fault {
            Fault::DiskFull => fill(cx).await,
            fault => {
                if fault == Fault::LineDrops {
                    connect_beside(&self.0, cx).await;
                }
                self.0.happen().await;
            }
        }
        Ok(())
    }
}
