//! What goes wrong, and how it is made to. A cell that needs a process of its own runs the action in one: this very test program,
//! started again with a table in which one row has a fault.

use std::{cell::RefCell, env, ffi::OsString, fmt, rc::Rc, str::FromStr, time::Duration, time::Instant};

use async_trait::async_trait;
use gated_deploy::{
    domain::{Failure, RemotePath},
    engine::{
        Table,
        event::{RowInfo, RowKind},
        fault,
        step::Io,
    },
    inputs::Environment,
    ports::shell::{Script, Shell},
    run::{Alter, RecoverTable, SiteTable, run_with},
    stages::{deploy, recover, rollback},
    steps::context::{Deploy, Ports, Survey},
};
use gated_deploy_lab::{reboot, runner, server::Environment as Site};

/// The variable that carries a [`Plan`] to the program that carries it out.
pub(super) const VARIABLE: &str = "UNWIND_PLAN";
/// The server's container, for the program that reboots it.
pub(super) const CONTAINER: &str = "UNWIND_CONTAINER";
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
    /// While the row works, every session of the run on the server is ended.
    LineDrops,
    /// While the row works, the runner's process gets SIGKILL.
    Killed,
    /// While the row works, the runner's process gets SIGINT.
    Interrupted,
    /// The site's disk has no byte left from when the row begins until the run has ended.
    DiskFull,
    /// While the row works, the server's processes end all at once; it starts again, and the files are what they were then.
    Rebooted,
    /// The next check fails, and then the row's undo, before it does anything.
    UndoBefore,
    /// The next check fails, and then the row's undo, after it did what it does.
    UndoAfter,
}

pub(super) const FAULTS: [(Fault, &str); 9] = [
    (Fault::Before, "fails before"),
    (Fault::After, "fails after"),
    (Fault::LineDrops, "line drops"),
    (Fault::Killed, "SIGKILL"),
    (Fault::Interrupted, "SIGINT"),
    (Fault::DiskFull, "disk full"),
    (Fault::Rebooted, "rebooted"),
    (Fault::UndoBefore, "undo fails before"),
    (Fault::UndoAfter, "undo fails after"),
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
            Self::Release => fault::into_undo(&mut deploy::table().release, row, Rc::new(Idle)),
            Self::Rollback => fault::into_undo(&mut rollback::table(None).release, row, Rc::new(Idle)),
            Self::Production => fault::into_undo(&mut deploy::production().release, row, Rc::new(Idle)),
            Self::Recover => fault::into_undo(&mut recover::table().release, row, Rc::new(Idle)),
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

/// One cell of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) stage: Stage,
    pub(super) row: String,
    pub(super) fault: Fault,
}

impl Cell {
    /// Every row for which there is such a fault, of all tables.
    pub(super) fn all(fault: Fault) -> Vec<Self> {
        let rows = STAGES.into_iter().flat_map(|stage| stage.outline().into_iter().map(move |row| (stage, row)));
        rows.filter(|(stage, row)| why_not(*stage, row, fault).is_none())
            .map(|(stage, row)| Self { stage, row: row.step.to_string(), fault })
            .collect()
    }
}

impl Cell {
    /// Whether it is carried out where nobody asks for all.
    pub(super) fn is_in_the_usual_fifth(&self) -> bool {
        let cell = Self::all(self.fault).iter().position(|cell| cell == self).unwrap_or_default();
        let fault = FAULTS.iter().position(|(fault, _)| *fault == self.fault).unwrap_or_default();
        (cell + fault).is_multiple_of(5)
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
        _ => None,
    }
}

struct Idle;

impl<C> fault::Fault<C> for Idle {}

/// A cell, and how long after the row's beginning its middle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) cell: Cell,
    pub(super) middle: Duration,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { stage, row, fault } = &self.cell;
        let fault = FAULTS.iter().position(|(other, _)| other == fault).unwrap_or_default();
        write!(f, "{} {row} {fault} {}", stage.name(), self.middle.as_millis())
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let [stage, row, fault, middle] = words.as_slice() else { return Err(format!("four words: {text}")) };
        let stage = STAGES.into_iter().find(|known| known.name() == *stage).ok_or("a stage")?;
        let fault = fault.parse().ok().and_then(|at: usize| FAULTS.get(at)).ok_or("a fault")?.0;
        let middle = Duration::from_millis(middle.parse().map_err(|_| "milliseconds")?);
        Ok(Self { cell: Cell { stage, row: (*row).to_owned(), fault }, middle })
    }
}

/// The action with the fault of the environment in its table, if this process was started for that. Does not come back then.
pub(super) fn run_if_asked() {
    let Ok(plan) = env::var(VARIABLE) else { return };
    let plan: Plan = plan.parse().expect("a plan");
    let args = [OsString::from("gated-deploy")];
    let code = run_with(&Environment::of_this_process(), args, Instant::now(), &plan);
    std::process::exit(code.into());
}

impl Alter for Plan {
    fn site(&self, table: &mut SiteTable) {
        put(self, table);
    }

    fn recover(&self, table: &mut RecoverTable) {
        put(self, table);
    }
}

fn put<S: Ground, D: Ground>(plan: &Plan, table: &mut Table<S, D>) {
    let Cell { row, fault, .. } = &plan.cell;
    let outline = table.outline();
    let at = outline.iter().position(|other| other.step.as_str() == row).expect("the row");
    let sabotage = |fault| Rc::new(Sabotage { fault, middle: plan.middle, beside: RefCell::default() });
    match fault {
        Fault::UndoBefore | Fault::UndoAfter => {
            let next = outline[at + 1..].iter().find(|row| row.kind == RowKind::Check).expect("a check after it");
            assert!(fault::into_act(&mut table.release, next.step.as_str(), sabotage(Fault::Before)));
            let undo = if *fault == Fault::UndoBefore { Fault::Before } else { Fault::After };
            assert!(fault::into_undo(&mut table.release, row, sabotage(undo)));
        }
        // A commit takes no time: what happens to it happens between the row before it and the one behind it.
        _ if outline[at].kind == RowKind::Commit => {
            let before = &outline[at - 1].step;
            assert!(fault::into_act(&mut table.release, before.as_str(), Rc::new(AtItsEnd(*fault))));
        }
        _ => assert!(
            fault::into_act(&mut table.survey, row, sabotage(*fault))
                || fault::into_act(&mut table.release, row, sabotage(*fault))
        ),
    }
}

/// Where a row stands: before the seam or behind it.
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

/// Everything that works for the deploy user stands still where it is, but for the sessions themselves.
const STAND_STILL: &str = "for pid in $(pgrep -u \"$(id -u)\"); do
    case $(cat \"/proc/$pid/comm\" 2>/dev/null) in sshd | '') continue ;; esac
    [ \"$pid\" = \"$$\" ] || kill -s STOP \"$pid\" 2>/dev/null || :
done\n";

const FILL: &str = "cat /dev/zero >\"$FILE\" 2>/dev/null || :\nput left \"$(df -Pk \"$FILE\" | tail -n 1)\"\n";

struct Sabotage {
    fault: Fault,
    middle: Duration,
    /// A second connection, made before the row begins.
    beside: RefCell<Option<Rc<dyn Shell>>>,
}

fn failed() -> Failure {
    Failure::world("working on this step", "a fault that was put here")
}

async fn run(shell: &dyn Shell, script: Script) {
    shell.run(script, &mut |_| {}).await.expect("the script of the fault");
}

#[async_trait(?Send)]
impl<C: Ground> fault::Fault<C> for Sabotage {
    async fn before(&self, cx: &C, io: &Io) -> Result<(), Failure> {
        match self.fault {
            Fault::Before => {
                io.line(MARK);
                return Err(failed());
            }
            Fault::LineDrops | Fault::Rebooted => {
                let beside = cx.ports().shell.another();
                beside.connect().await.expect("a second connection");
                self.beside.replace(Some(beside));
            }
            Fault::DiskFull => {
                let file = cx.base().join(FILLER);
                run(&*cx.ports().shell.another(), Script::new("fill", FILL).var("FILE", file.as_str())).await;
                io.line(MARK);
            }
            _ => {}
        }
        Ok(())
    }

    async fn beside(&self, _cx: &C, io: &Io) {
        if !matches!(self.fault, Fault::LineDrops | Fault::Rebooted | Fault::Killed | Fault::Interrupted) {
            return;
        }
        tokio::time::sleep(self.middle).await;
        io.line(MARK);
        let shell = self.beside.take();
        happen(self.fault, shell.as_deref()).await;
    }

    async fn after(&self, _cx: &C, io: &Io) -> Result<(), Failure> {
        if self.fault == Fault::After {
            io.line(MARK);
            return Err(failed());
        }
        Ok(())
    }
}

/// What needs no table to happen.
async fn happen(fault: Fault, shell: Option<&dyn Shell>) {
    match fault {
        Fault::Killed => runner::raise(runner::Signal::KILL),
        Fault::Interrupted => runner::raise(runner::Signal::INT),
        Fault::LineDrops => run(shell.expect("a connection"), Script::new("end", END_SESSIONS)).await,
        Fault::Rebooted => {
            run(shell.expect("a connection"), Script::new("still", STAND_STILL)).await;
            let container = env::var(CONTAINER).expect("the container");
            let rebooted = tokio::task::spawn_blocking(move || reboot(&container)).await;
            rebooted.expect("the thread").expect("the server starts again");
        }
        Fault::Before | Fault::After | Fault::DiskFull | Fault::UndoBefore | Fault::UndoAfter => {}
    }
}

/// The fault comes when the row has ended well, before anything else.
struct AtItsEnd(Fault);

#[async_trait(?Send)]
impl<C: Ground> fault::Fault<C> for AtItsEnd {
    async fn after(&self, cx: &C, io: &Io) -> Result<(), Failure> {
        let beside = cx.ports().shell.another();
        if matches!(self.0, Fault::LineDrops | Fault::Rebooted) {
            beside.connect().await.expect("a second connection");
        }
        io.line(MARK);
        match self.0 {
            Fault::DiskFull => {
                let file = cx.base().join(FILLER);
                run(&*beside, Script::new("fill", FILL).var("FILE", file.as_str())).await;
            }
            fault => happen(fault, Some(&*beside)).await,
        }
        Ok(())
    }
}
