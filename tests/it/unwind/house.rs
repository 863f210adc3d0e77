//! A server on which one cell follows another, and what must be true of it after each.

mod dead;
mod second;

use std::{
    cell::{Cell as StdCell, RefCell},
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use gated_deploy::{
    domain::{
        EnvironmentName,
        ledger::{self, Line},
    },
    server::ledger::History,
};
use gated_deploy_lab::{
    Lab, Options,
    app::{self, Variant},
    runner::{Finished, Runner, declared_from_action_yml},
    server::{Environment, SEED_COMMIT, SEED_RELEASE},
    snapshot,
    story::{Built, Story, commit, push},
};

use super::fault::{CONTAINER, Cell, FILLER, Fault, GATE, MARK, Point, Stage, UNNAMED, VARIABLE, open};
use crate::{
    plan::migration,
    rollback::rollback,
    support::{BINARY, output, root, story_on},
};

/// Three commits, so that there is always one that is neither live nor was just tried.
const WORDS: [&str; 3] = ["unwound one", "unwound two", "unwound three"];

/// Which of them were released where before a server begins: production has not the last one, which staging has proven.
const RELEASED: [(usize, Environment); 5] = [
    (0, Environment::Staging),
    (0, Environment::Production),
    (1, Environment::Staging),
    (1, Environment::Production),
    (2, Environment::Staging),
];

/// Every one of them has this migration, and before each cell it is pending again. One that dies in its middle has to bear being run once
/// more: MariaDB takes nothing back of a table. Between its two statements it waits where a cell's fault is to happen there.
const MIGRATION: &str = "2031_01_01_000000_unwound";
const MIGRATES: &str = "Schema::hasTable('unwound') || Schema::create('unwound', fn ($table) => $table->id());
        $waits = fn () => getenv('UNWIND_POINT') === 'inside' && ! file_exists(getenv('UNWIND_GATE'));
        if ($waits()) {
            echo PHP_EOL, getenv('UNWIND_REACHED'), PHP_EOL;
        }
        for ($waited = 0; $waits() && $waited < 600; $waited++) {
            usleep(50000);
            clearstatcache();
        }
        Schema::hasColumn('unwound', 'word') || Schema::table('unwound', fn ($table) => $table->string('word')->nullable());";

const POLICY: &str = ".github/gated-deploy.yml";

/// One of them is the app's own, and another one leaves a process behind. The time limit after the switch fits into [`CONFIRM_WITHIN`].
const HOOKS: &str = "hooks:
  before-migrate: [artisan env, {run: [\"test\", \"-f\", artisan]}]
  before-switch: [{run: [sh, -c, 'sleep 600 &']}]
  after-switch: [{run: [\"test\", \"-f\", artisan], within: 7s}]
  after-rollback: [test -f artisan]
";

const ARGS: [&str; 4] = ["--exact", "unwind::the_action_with_a_fault", "--nocapture", "--test-threads=2"];

/// What the number of a run with a fault in it is counted from.
const RUNS: u64 = 60_000_000;

/// The number that every other run has.
const WITHOUT_FAULT: u64 = 30_433_642;

/// How long a dead run's release may stay before the server goes back by itself.
const CONFIRM_WITHIN: &str = "10s";

/// Until what a run left at work on the server has come to its end, in seconds.
const PATIENCE: u32 = 120;

/// What the server itself went back from stays to be read, the newest of it.
const KEPT: &str = ".reverted";

/// Files and folders of somebody else, wherever a run writes or removes; from the site's folder.
const FOREIGN: [&str; 8] = [
    "../beside",
    "beside.txt",
    "releases/kept-by-hand",
    "releases/notes.txt",
    "backups/by-hand",
    "shared/public/uploads",
    ".gated-deploy/notes.txt",
    ".gated-deploy/incoming/by-hand.tar.gz",
];

/// Puts them there. Said once for a server: another text makes another snapshot.
const FILES_OF_OTHERS: &str = "set -eu; mkdir -p /var/www/beside; echo 'not ours' >/var/www/beside/file; chown -R deploy: /var/www/beside
for site in staging production; do
    cd /var/www/$site
    mkdir releases/kept-by-hand backups/by-hand
    for file in beside.txt releases/kept-by-hand/file releases/notes.txt backups/by-hand/file \
        .gated-deploy/notes.txt .gated-deploy/incoming/by-hand.tar.gz; do echo 'not ours' >$file; chown deploy: $file; done
    chown deploy: releases/kept-by-hand backups/by-hand
done";

/// How large the disk of a site is.
const DISK_MB: u32 = 320;

/// What divides the parts of an answer of the server.
const DIVIDER: char = '\u{1}';

/// What all lanes share: what is released, what the servers start from, and what has been found out.
pub(super) struct Shared {
    built: Vec<Built>,
    image: String,
    /// Of this machine; every server sees the gates in it.
    gates: tempfile::TempDir,
    /// States from which a release went live.
    proven: Mutex<BTreeSet<String>>,
    /// Milliseconds of processor time that the servers took.
    pub(super) servers_cpu: AtomicU64,
    /// How many releases were made only to prove a state.
    pub(super) releases: AtomicU64,
    cells: AtomicU64,
}

impl Shared {
    /// Builds the bundles, and the place from which every server starts: confirmed releases on both sites, so that there is one to go back
    /// to; one on staging that production has not; and files of others.
    pub(super) fn prepare() -> Result<Self, String> {
        let built: Vec<Built> = std::thread::scope(|scope| {
            let builds = WORDS.map(|word| scope.spawn(move || built(&commit(word))));
            builds.into_iter().map(|build| build.join().expect("a build")).collect()
        });
        let gates = tempfile::tempdir().expect("a folder for the gates");
        // The deploy user looks whether one is there.
        fs::set_permissions(gates.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let bundles: Vec<Vec<u8>> = built.iter().map(|built| fs::read(&built.bundle).expect("a bundle")).collect();
        let action = fs::read(BINARY).expect("the action");
        let mut parts: Vec<&[u8]> = bundles.iter().map(Vec::as_slice).collect();
        let released = format!("{RELEASED:?}");
        parts.extend([action.as_slice(), released.as_bytes(), FILES_OF_OTHERS.as_bytes()]);
        let place = || -> anyhow::Result<Lab> {
            let story = story_on(Options { base_tmpfs_mb: Some(DISK_MB), ..Options::default() });
            for built in &built {
                story.publish(built)?;
            }
            for (word, environment) in RELEASED {
                let commit = commit(WORDS[word]);
                let step = match environment {
                    Environment::Staging => story.staging(&commit),
                    Environment::Production => story.production(&commit),
                };
                went_live(&House::inputs(step).run_binary(BINARY)).map_err(anyhow::Error::msg)?;
            }
            story.lab.exec(FILES_OF_OTHERS)?;
            Ok(story.lab)
        };
        let image = snapshot::ensure(&parts, place).map_err(|error| format!("making the snapshot: {error:#}"))?;
        Ok(Self {
            built,
            image,
            gates,
            proven: Mutex::default(),
            servers_cpu: AtomicU64::default(),
            releases: AtomicU64::default(),
            cells: AtomicU64::default(),
        })
    }

    fn is_proven(&self, state: &str) -> bool {
        self.proven.lock().expect("the states").contains(state)
    }

    fn prove(&self, state: String) {
        self.proven.lock().expect("the states").insert(state);
    }
}

/// The bundle of a commit, as the build workflow makes it.
fn built(commit: &str) -> Built {
    let tree = app::source(commit, Variant::Healthy).expect("the tree");
    tree.write(&format!("database/migrations/{MIGRATION}.php"), migration(MIGRATES)).expect("the migration");
    let declared = declared_from_action_yml(root().join("action.yml")).expect("the inputs");
    let job = Runner::new().must_not_leak().declared(&declared).sha(commit).ref_name("develop");
    let job = job.input("stage", "build-gate").event("push", push(commit));
    Built::run(job, commit, &tree, BINARY.as_ref()).expect("the build")
}

/// Which servers a cell can be carried out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// It can be started again, and is the same then; its disk is not as small.
    Reboots,
}

impl Cell {
    pub(super) fn kind(&self) -> Kind {
        if self.fault == Fault::Rebooted { Kind::Reboots } else { Kind::Plain }
    }
}

pub(super) struct House<'s> {
    shared: &'s Shared,
    story: Story,
    kind: Kind,
    /// This test program, which is the action with a fault in it when it is called with [`ARGS`].
    program: PathBuf,
    foreign: [String; 2],
    /// The current releases that were seen to be complete, with what `find` said of their files.
    complete: RefCell<BTreeSet<String>>,
    /// Whether staging is as it was when it proved the last of the commits.
    staging_is_new: StdCell<bool>,
    /// Whether there is something to go back to on staging.
    used_up: StdCell<bool>,
    /// The attempts whose runs ended too early: the next run may write lines of them, too.
    owed: RefCell<Vec<Owed>>,
    gate: RefCell<PathBuf>,
    /// The number of the run with the fault.
    run: StdCell<u64>,
}

/// An attempt of which a later run may write a line.
#[derive(Debug, Clone)]
struct Owed {
    run: u64,
    release: String,
    /// How that line may say that it ended.
    outcomes: &'static [&'static str],
}

/// It was confirmed when its run died.
const CONFIRMED: &[&str] = &["live"];
/// It was not; the server, or whoever takes over the lock, may have gone back from it.
const NOT_CONFIRMED: &[&str] = &["failed", "reverted-by-watchdog"];
/// Its run was stuck, and has written its own line. The guard that it left armed has one, too.
const GUARDED: &[&str] = &["reverted-by-watchdog"];

impl Owed {
    fn is_told_by(&self, line: &Line) -> bool {
        is_of(line, self.run) && line.release.as_str() == self.release && self.outcomes.contains(&line.outcome.as_str())
    }
}

/// Whether the run of this number began the attempt.
fn is_of(line: &Line, run: u64) -> bool {
    line.run.as_ref().is_some_and(|url| url.ends_with(&format!("/actions/runs/{run}")))
}

type Found = Result<(), String>;

/// Which guards on the server are waited for.
#[derive(Clone, Copy)]
enum Guards {
    /// None: the run itself took care of its own.
    No,
    /// Those that stand: each comes to its end.
    Stand,
    /// Those at work: on a full disk one that rolled back cannot write that down, and leaves the rest to the next run.
    Work,
}

/// What a person can type, and what they would see that the server is like.
struct Look {
    current: String,
    served: String,
    history: History,
    foreign: String,
    /// A digest over everything in the site's folder, and one over the files of the live release. A file that is written again has
    /// another change time, whatever is in it.
    tree: String,
    live: String,
    /// The number of the deploy lock; empty if there is none.
    lock: String,
}

impl<'s> House<'s> {
    /// A server as the snapshot has it.
    pub(super) fn open(shared: &'s Shared, kind: Kind) -> Result<Self, String> {
        let story = story_on(Options {
            base_tmpfs_mb: Some(DISK_MB),
            reboots: kind == Kind::Reboots,
            image: Some(shared.image.clone()),
            gates: Some(shared.gates.path().to_owned()),
            ..Options::default()
        });
        for built in &shared.built {
            story.publish(built).map_err(|error| format!("publishing: {error:#}"))?;
        }
        let mut house = Self {
            shared,
            story,
            kind,
            program: std::env::current_exe().expect("this program"),
            foreign: Default::default(),
            complete: RefCell::default(),
            staging_is_new: true.into(),
            used_up: false.into(),
            owed: RefCell::default(),
            gate: RefCell::default(),
            run: 0.into(),
        };
        house.foreign = [Environment::Staging, Environment::Production]
            .map(|site| house.ask(site, &foreign_files()).unwrap_or_default());
        Ok(house)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    fn base(&self, environment: Environment) -> String {
        self.story.lab.site(environment).base_dir
    }

    /// Runs a script as root in the site's folder.
    fn ask(&self, environment: Environment, script: &str) -> Result<String, String> {
        let said = self.story.lab.exec(&format!("set -eu; cd {}\n{script}", self.base(environment)));
        said.map(|said| said.trim().to_owned()).map_err(|error| format!("{error:#}"))
    }

    /// With hooks at every moment, so that their rows do work.
    fn inputs(runner: Runner) -> Runner {
        let policy = fs::read_to_string(runner.workspace().join(POLICY)).unwrap_or_default();
        let policy = if policy.is_empty() { "environments:\n  staging: {}\n".to_owned() } else { policy };
        let runner = runner.file(POLICY, &format!("{HOOKS}{policy}"));
        runner.input("keep-releases", "3").input("keep-backups", "2").time_limit(std::time::Duration::from_secs(900))
    }

    /// The step that releases here. Production takes only what staging has proven, which is made sure of first.
    fn releasing(&self, environment: Environment, commit: &str) -> Result<Runner, String> {
        let staging = Self::inputs(self.story.staging(commit));
        if environment == Environment::Staging {
            return Ok(staging);
        }
        let proven = self.staging_is_new.get() && commit == self::commit(WORDS[2]);
        if !proven {
            went_live(&staging.run_binary(BINARY))?;
            self.staging_is_new.set(false);
        }
        Ok(Self::inputs(self.story.production(commit)))
    }

    /// A release by the action as it is shipped: it goes live.
    fn release(&self, environment: Environment, commit: &str) -> Found {
        self.shared.releases.fetch_add(1, Ordering::Relaxed);
        went_live(&self.releasing(environment, commit)?.run_binary(BINARY))?;
        if environment == Environment::Staging {
            self.used_up.set(false);
        }
        self.owed.take();
        Ok(())
    }

    fn rollback(&self) -> Runner {
        Self::inputs(rollback(&self.story))
    }

    /// What is live now does not know the migration either, so it is pending once more.
    fn forget_the_migration(&self, environment: Environment) -> Found {
        // On the disk at once: the lab's database keeps a second of rows, but of no tables, in memory, and a cell may cut the power.
        let forgotten = format!(
            "set global innodb_flush_log_at_trx_commit = 1; drop table if exists unwound; delete from migrations where migration = '{MIGRATION}'"
        );
        let database = self.story.lab.site(environment).database;
        self.ask(environment, &format!("mariadb -e \"{forgotten}\" {database}")).map(drop)
    }

    /// Carries out one cell; says what is not as it must be.
    pub(super) fn cell(&self, cell: &Cell) -> Found {
        let environment = cell.stage.environment();
        let number = self.shared.cells.fetch_add(1, Ordering::Relaxed);
        self.gate.replace(self.shared.gates.path().join(number.to_string()));
        self.run.set(RUNS + number);
        if environment == Environment::Staging {
            self.staging_is_new.set(false);
        }
        let follows = (self.used_up.get() && cell.stage == Stage::Rollback)
            || (!self.owed.borrow().is_empty() && cell.stage == Stage::Recover);
        if follows {
            let look = self.look(environment)?;
            self.release(environment, &self.another(&[&look.served]))?;
        }
        self.forget_the_migration(environment)?;
        if cell.stage == Stage::Recover {
            return self.recover_cell(cell);
        }
        let before = self.look(environment)?;
        let tried = self.another(&[&before.served]);
        let runner = match cell.stage {
            Stage::Rollback => self.rollback(),
            _ => self.releasing(environment, &tried)?,
        };
        let runner = self.with_fault(runner, cell);
        if cell.second {
            return self.beside_a_second(cell, runner, &before, &tried);
        }
        // Whose guard nobody takes off, of that the server has to take care as well.
        let unguarded = cell.row == "arm-watchdog" && cell.fault == Fault::UndoBefore;
        let dies = cell.fault.kills() || unguarded;
        let runner = if dies { runner.input("confirm-within", CONFIRM_WITHIN) } else { runner };
        let finished = self.carry_out(runner, cell)?;
        let found = self.judge(cell, &finished, &before, &tried);
        found.map_err(|problem| format!("{problem}\n--- the run with the fault:\n{}", finished.log))
    }

    /// The action with a fault in it.
    fn with_fault(&self, runner: Runner, cell: &Cell) -> Runner {
        let runner = match cell.by_tunnel() {
            true => runner.input("health-via", "tunnel").input("health-address", "127.0.0.1:80"),
            false => runner,
        };
        // What the live release lacks is too little to be met in its middle. Of the unpacking, half of the cells have all of the bundle.
        let all = match cell.row.as_str() {
            "upload" => cell.point == Some(Point::Inside),
            row => row == "unpack-release" && cell.by_tunnel(),
        };
        let runner = if all { runner.input("delivery", "full") } else { runner };
        runner
            .run_id(self.run.get())
            .args(&ARGS)
            .env(VARIABLE, &cell.to_string())
            .env(GATE, &self.gate.borrow().to_string_lossy())
            .env(CONTAINER, self.story.lab.container_id())
            .env("PATH", &std::env::var("PATH").unwrap_or_default())
    }

    fn carry_out(&self, runner: Runner, cell: &Cell) -> Result<Finished, String> {
        let finished = runner.run_binary(&self.program);
        open(&self.gate.borrow());
        self.after_the_run(&runner, cell, &finished)?;
        Ok(finished)
    }

    /// What GitHub and a person do when the run has ended.
    fn after_the_run(&self, runner: &Runner, cell: &Cell, finished: &Finished) -> Found {
        if std::env::var_os("UNWIND_LOGS").is_some() {
            println!("{cell}:\n{}", finished.log);
        }
        if cell.fault == Fault::Interrupted {
            // As GitHub does after a step that was cancelled; it has nothing to do unless the run had no time to go back.
            let post = runner.clone().args(&[]).run_post(finished, BINARY, "gated-deploy-post");
            println!("post of {cell}: {}", post.log.lines().last().unwrap_or_default());
        }
        if cell.fault == Fault::DiskFull {
            self.ask(cell.stage.environment(), &format!("rm -f {FILLER}"))?;
        }
        Ok(())
    }

    fn judge(&self, cell: &Cell, finished: &Finished, before: &Look, tried: &str) -> Found {
        let environment = cell.stage.environment();
        if let Some(line) = finished.raw_log.lines().find(|line| line.contains(UNNAMED)) {
            return Err(format!("{line}; name it in WORKS"));
        }
        if !finished.raw_log.contains(MARK) {
            return Err("the fault never happened".to_owned());
        }
        let outcome = output(finished, "outcome");
        let killed = cell.fault.kills();
        if outcome.is_empty() != killed {
            return Err(format!("the run ended with the outcome `{outcome}` and exit code {}", finished.exit_code));
        }
        // Then the server's watcher and the post step look after it, and one of them writes the line.
        let handed_over = finished.state.get("phase").is_some_and(|phase| phase == "handed-over");
        if outcome == "stuck" && !handed_over {
            self.by_hand(environment, finished)?;
        }
        asked_through_its_tunnel(cell, finished)?;
        if cell.fault == Fault::OtherLane {
            self.other_lane_failed(environment, finished)?;
        }
        if cell.fault == Fault::Interrupted
            && cell.row == "confirm"
            && cell.point != Some(Point::Next)
            && outcome != "live"
        {
            return Err(format!("a confirmation is not cancelled once it is sent, and the run ended {outcome}"));
        }
        if cell.fault == Fault::FullAndKilled {
            self.wait_until_quiet(environment, Guards::Work)?;
            self.ask(environment, &format!("rm -f {FILLER}"))?;
        } else {
            self.wait_until_quiet(environment, if killed || handed_over { Guards::Stand } else { Guards::No })?;
        }
        let after = self.look(environment)?;
        // The deploy lock of a killed run is over with its lease, as the next run finds out that takes the lock. One that ends before that
        // leaves it where it is.
        let held = self.ask(
            environment,
            "[ ! -d .gated-deploy/lock ] || { echo 1000 >.gated-deploy/lock/renewed; cat .gated-deploy/lock/nonce; }",
        )?;
        let frees_it = cell.row == "deploy-lock" && matches!(cell.fault, Fault::UndoBefore | Fault::GiveBack);
        if !held.is_empty() && held.trim() != before.lock && !killed && !frees_it && !cell.leaves_the_line() {
            return Err("the deploy lock is still held".to_owned());
        }
        let moved = after.current != before.current;
        if moved && cell.stage == Stage::Rollback {
            self.used_up.set(true);
        }
        // What was confirmed when the run died, the next one writes down.
        let late = (killed || cell.leaves_the_line()) && moved;
        self.whole(environment, &after, !late)?;
        let outcome = if handed_over { "" } else { outcome };
        self.truth(cell, outcome, finished, before, &after)?;
        let outcomes = match outcome {
            "" if late => Some(CONFIRMED),
            "" => Some(NOT_CONFIRMED),
            "stuck" => Some(GUARDED),
            _ if cell.leaves_the_line() && !moved => Some(NOT_CONFIRMED),
            _ => None,
        };
        self.note_owed(finished, outcomes, &after.history);
        if after.tree == before.tree {
            return Ok(());
        }
        // A release has gone live from this very state; or from one that differs in nothing but names and times.
        let state =
            format!("{} {outcome} {} {}", cell.stage.name(), self.schema(environment)?, self.state(environment)?);
        if !late && self.shared.is_proven(&state) {
            return Ok(());
        }
        let owed = self.owed.borrow().clone();
        self.release(environment, &self.another(&[&after.served, tried]))?;
        let next = self.look(environment)?;
        self.whole(environment, &next, true)?;
        self.nothing_foreign(&next.history.lines[after.history.lines.len()..], &[WITHOUT_FAULT], &owed)?;
        self.migrated(environment)?;
        // Whoever takes the lock of a dead run writes down how that one ended.
        let rows = cell.stage.outline();
        let place = |id: &str| rows.iter().position(|row| row.step.as_str() == id);
        if killed
            && place(&cell.row) > place("deploy-lock")
            && !next.history.lines.iter().any(|line| is_of(line, self.run.get()))
        {
            return Err("no line of the ledger tells of the run that died".to_owned());
        }
        if late && !self.confirmed(environment, &next.history, &after.current) {
            return Err(format!(
                "{} was confirmed when the run died, and the ledger still does not know it",
                after.current
            ));
        }
        self.no_leftovers(environment, &next)?;
        self.shared.prove(state);
        Ok(())
    }

    /// The row was stopped, and what both lanes had made is gone, but for a verified backup.
    fn other_lane_failed(&self, environment: Environment, finished: &Finished) -> Found {
        if !finished.log.lines().any(|line| line.starts_with("stop  ") && line.contains("stopped because")) {
            return Err("the row was not stopped when another lane failed".to_owned());
        }
        let release = finished.state.get("release").ok_or("the release has no name")?;
        let made = format!("releases/{release} .gated-deploy/incoming/{release}.tar.gz backups/{release}.part");
        let left = self.ask(environment, &format!("for path in {made}; do [ ! -e $path ] || echo $path; done"))?;
        if left.is_empty() { Ok(()) } else { Err(format!("the run left {left}")) }
    }

    /// What the servers took of the processors.
    pub(super) fn close(self) {
        // Of the second version of control groups, or of the first.
        let used = self.ask(
            Environment::Staging,
            "cd /sys/fs/cgroup; if [ -e cpuacct/cpuacct.usage ]; then echo $(($(cat cpuacct/cpuacct.usage) / 1000000))
             else echo $(($(sed -n 's/^usage_usec //p' cpu.stat) / 1000)); fi",
        );
        let used: u64 = used.ok().and_then(|used| used.parse().ok()).unwrap_or_default();
        self.shared.servers_cpu.fetch_add(used, Ordering::Relaxed);
    }

    /// What lies where in the site's folder, whose it is and how it may be used; names of releases, numbers of calls, and how many there
    /// are of one kind make no difference. What the releases are in themselves, their tree's digest says.
    fn state(&self, environment: Environment) -> Result<String, String> {
        self.ask(
            environment,
            "{ find . '(' -path './releases/*/*' -o -path ./shared ')' -prune -o -printf '%p %y %m %u:%g %l\\n'
             find releases -path '*/public/gated-deploy-*'; } | sed -E 's/[0-9]{8}_[0-9]{6}-[0-9a-f]{8}/RELEASE/g; s/gated-deploy-[0-9a-f]+/FILE/; s/[0-9a-f]{32}/NUMBER/g' | sort -u",
        )
    }

    /// One of the commits that is none of these.
    fn another(&self, not: &[&str]) -> String {
        // From the last on: that is the one which staging has proven on a new server.
        WORDS.iter().rev().map(|word| commit(word)).find(|commit| !not.contains(&commit.as_str())).expect("a third one")
    }

    /// What the run told to type, typed.
    fn by_hand(&self, environment: Environment, finished: &Finished) -> Found {
        let base = self.base(environment);
        // They stand in the annotation, too.
        let commands: Vec<&str> = finished.log.lines().filter_map(|line| line.strip_prefix("  type: ")).collect();
        if commands.is_empty() {
            return Err("the run is stuck and does not say what to type".to_owned());
        }
        let script = format!("set -e; cd {base}\n{}", commands.join("\n"));
        self.story.lab.exec_as("deploy", &script).map(drop).map_err(|error| format!("typed by hand: {error:#}"))
    }

    /// What still works on the server ends; that of a dead run goes back by itself.
    fn wait_until_quiet(&self, environment: Environment, guards: Guards) -> Found {
        let while_any = match guards {
            Guards::No => "false",
            Guards::Stand => "true",
            Guards::Work => "kill -0 \"$(cat \"$guard/pid\")\" 2>/dev/null",
        };
        let script = format!(
            r#"shopt -s nullglob
            quiet=0
            while :; do
                guards=
                for guard in .gated-deploy/watchdog/*.armed .gated-deploy/watchdog/*.reverting; do
                    if [ -d "$guard" ] && {while_any}; then guards="$guards $guard"; fi
                done
                busy=
                if [ -z "$guards" ]; then
                    # A run that waits beside this one has shells that wait for a script: they have no children.
                    busy=$(ps -u deploy -o pid=,ppid=,args= |
                        awk '{{ all[$1] = $0; parent[$2] = 1 }}
                            END {{ for (pid in all) if (all[pid] !~ /\/bin\/sh -s [0-9a-f]+$/ || pid in parent) print all[pid] }}' |
                        grep -v -e '[s]shd:' -e 'watchdog/' -e 'sleep 1$' || :)
                    if [ -z "$busy" ]; then quiet=$((quiet + 1)); else quiet=0; fi
                    [ "$quiet" -lt 3 ] || exit 0
                fi
                [ "$SECONDS" -lt {PATIENCE} ] || break
                sleep 0.1
            done
            echo "after {PATIENCE} s there is still at work: $busy $guards" >&2
            cd .gated-deploy/watchdog
            tail -n 20 -- */log */*.answer 2>&1 | tr '\0' '\n' >&2 || :
            ps -ef >&2
            exit 1"#
        );
        self.ask(environment, &script).map(drop)
    }

    fn look(&self, environment: Environment) -> Result<Look, String> {
        let find =
            |what: &str| format!("find {what} -printf '%p %y %m %U:%G %s %T@ %C@ %l\\n' | LC_ALL=C sort | sha256sum");
        let (all, live) = (find("."), find("$(readlink current) ! -type d"));
        let lock = "cat .gated-deploy/lock/nonce 2>/dev/null || :";
        let parts = ["readlink current", "cat .gated-deploy/ledger.jsonl", &foreign_files(), &all, &live, lock]
            .join("\nprintf '\\1'\n");
        let said = self.ask(environment, &parts)?;
        let parts: Vec<&str> = said.split(DIVIDER).map(str::trim_end).collect();
        let [link, text, foreign, tree, live, lock] = parts.as_slice() else {
            return Err(format!("six parts: {said}"));
        };
        let site = self.story.lab.site(environment);
        let served =
            self.story.lab.served_commit(&site).map_err(|error| format!("the site does not answer: {error:#}"))?;
        ledger::follow(format!("{text}\n").as_bytes())
            .map_err(|broken| format!("the ledger is broken: {broken}\n{text}"))?;
        Ok(Look {
            current: link.rsplit('/').next().unwrap_or_default().to_owned(),
            served,
            history: History::of(text),
            foreign: (*foreign).to_owned(),
            tree: (*tree).to_owned(),
            live: (*live).to_owned(),
            lock: lock.trim().to_owned(),
        })
    }

    /// `current` is a complete confirmed release, the site answers as it, and nothing of others was touched.
    fn whole(&self, environment: Environment, look: &Look, written: bool) -> Found {
        let Look { current, served, history, foreign, live, .. } = look;
        if written && !self.confirmed(environment, history, current) {
            return Err(format!("current is {current}, which the ledger does not know as confirmed"));
        }
        let commit = WORDS
            .iter()
            .map(|word| commit(word))
            .chain([SEED_COMMIT.to_owned()])
            .find(|sha| current.ends_with(&sha[..8]));
        if commit.as_ref() != Some(served) {
            return Err(format!("current is {current}, and the site answers as {served}"));
        }
        if !self.complete.borrow().contains(live) {
            let script = "cd current; test -f public/index.php; test -f public/build/manifest.json; test -d app
                su deploy -s /bin/sh -c 'test -r .env && php artisan --version'";
            self.ask(environment, script).map_err(|error| format!("{current} is not complete: {error:#}"))?;
            self.complete.borrow_mut().insert(live.clone());
        }
        let was = &self.foreign[usize::from(environment == Environment::Production)];
        if foreign != was {
            return Err(format!("foreign files were:\n{was}\nand are:\n{foreign}"));
        }
        Ok(())
    }

    /// What the run and the ledger say is what the site shows.
    fn truth(&self, cell: &Cell, outcome: &str, finished: &Finished, before: &Look, after: &Look) -> Found {
        let new = &after.history.lines[before.history.lines.len()..];
        let run = self.run.get();
        // Production: staging has proven the commit in a ledger of its own.
        self.nothing_foreign(new, &[run], &self.owed.borrow())?;
        let told: Vec<&str> = new.iter().filter(|line| is_of(line, run)).map(|line| line.outcome.as_str()).collect();
        let moved = after.current != before.current;
        match outcome {
            "live" if output(finished, "release") != after.current => {
                return Err(format!("the run says live, and current is {}", after.current));
            }
            "planned" | "refused" | "failed" | "rolled-back" | "stuck" if moved => {
                return Err(format!(
                    "the run says {outcome}, and current went from {} to {}",
                    before.current, after.current
                ));
            }
            _ => {}
        }
        let last_live = after.history.lines.iter().rev().find(|line| line.outcome == "live");
        if moved && !outcome.is_empty() && last_live.is_none_or(|line| line.release.as_str() != after.current) {
            return Err(format!("current moved to {}, of which the ledger says {told:?}", after.current));
        }
        if outcome.is_empty() {
            let untold = cell.fault == Fault::Interrupted && told.is_empty();
            return if untold { Err("no line tells of the run that handed over".to_owned()) } else { Ok(()) };
        }
        let rows = cell.stage.outline();
        let place = |id: &str| rows.iter().position(|row| row.step.as_str() == id);
        let opened = place(&cell.row) > place("ledger") || outcome == "live";
        let unwritten = cell.row == "ledger" && cell.fault == Fault::UndoBefore;
        if opened && !unwritten && told.last() != Some(&outcome) {
            return Err(format!("the run ended {outcome}, and the ledger says {told:?} of it"));
        }
        if told.iter().any(|told| *told != outcome && *told != "reverted-by-watchdog") {
            return Err(format!("the run ended {outcome}, and the ledger says {told:?}"));
        }
        Ok(())
    }

    /// Each of these lines tells of an attempt of these runs, or of one that had no line yet, and of the latter once.
    fn nothing_foreign(&self, lines: &[Line], runs: &[u64], owed: &[Owed]) -> Found {
        let mut owed = owed.to_vec();
        for line in lines.iter().filter(|line| !runs.iter().any(|run| is_of(line, *run))) {
            let Some(at) = owed.iter().position(|owed| owed.is_told_by(line)) else {
                return Err(format!("a line of the ledger tells of none of the runs {runs:?} and {owed:?}: {line:?}"));
            };
            owed.swap_remove(at);
        }
        Ok(())
    }

    /// Notes the attempts of which a later run may write a line.
    fn note_owed(&self, finished: &Finished, outcomes: Option<&'static [&'static str]>, history: &History) {
        let run = self.run.get();
        let mut owed = self.owed.borrow_mut();
        if let Some((release, outcomes)) = finished.state.get("release").zip(outcomes) {
            owed.push(Owed { run, release: release.clone(), outcomes });
        }
        owed.retain(|owed| !history.lines.iter().any(|line| owed.is_told_by(line)));
    }

    /// How far the migration has come: the columns of its table, and how often it is written down as run.
    fn schema(&self, environment: Environment) -> Result<String, String> {
        let database = self.story.lab.site(environment).database;
        self.ask(
            environment,
            &format!(
                "mariadb -N -e \"select group_concat(column_name order by ordinal_position) from information_schema.columns
                     where table_schema = database() and table_name = 'unwound';
                 select count(*) from migrations where migration = '{MIGRATION}'\" {database} | xargs"
            ),
        )
    }

    /// What is live has the table that it wants, whatever became of its migration before.
    fn migrated(&self, environment: Environment) -> Found {
        let schema = self.schema(environment)?;
        if schema == "id,word 1" { Ok(()) } else { Err(format!("the migration has come this far: {schema}")) }
    }

    fn confirmed(&self, environment: Environment, history: &History, release: &str) -> bool {
        let environment: EnvironmentName = environment.name().parse().expect("a name");
        history.standings(&environment).confirmed().iter().any(|known| known.as_str() == release)
    }

    /// After a release that went live nothing is left of those that did not.
    fn no_leftovers(&self, environment: Environment, look: &Look) -> Found {
        let listed = self.ask(
            environment,
            "find . -maxdepth 1 -name '.current*'; find releases -mindepth 1 -maxdepth 1 -type d
             find backups -mindepth 1 -maxdepth 1 -name '*.part'; find releases -path '*/public/gated-deploy-*'
             find .gated-deploy -mindepth 1 -maxdepth 1 ! -name journal ! -name incoming ! -name watchdog ! -name jobs
             find .gated-deploy/incoming .gated-deploy/watchdog .gated-deploy/jobs -mindepth 1 -maxdepth 1",
        )?;
        // The folder of a stuck run goes with retention.
        let live: Vec<&str> = look
            .history
            .lines
            .iter()
            .filter(|line| ["live", "stuck"].contains(&line.outcome.as_str()))
            .map(|line| line.release.as_str())
            .collect();
        let known = |path: &str| {
            FOREIGN.contains(&path)
                || path.strip_prefix("releases/").is_some_and(|name| name == SEED_RELEASE || live.contains(&name))
                || [".gated-deploy/ledger.jsonl", ".gated-deploy/environment"].contains(&path)
                || path.ends_with(KEPT)
        };
        let left: Vec<&str> = listed.lines().filter(|path| !known(path)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("after the next release there is still: {left:?}")) }
    }
}

fn went_live(finished: &Finished) -> Found {
    match (finished.exit_code, output(finished, "outcome")) {
        (0, "live") => Ok(()),
        (code, outcome) => Err(format!("a release without a fault ended {outcome} ({code}):\n{}", finished.log)),
    }
}

/// A tunnel ends with its connection and is opened anew with the next one: a healthy release stays live, and nothing has to be asked on the
/// server itself.
fn asked_through_its_tunnel(cell: &Cell, finished: &Finished) -> Found {
    if !cell.by_tunnel() || cell.fault != Fault::LineDrops {
        return Ok(());
    }
    if let Some(line) = finished.log.lines().find(|line| line.contains("on the server itself")) {
        return Err(format!("the tunnel was not opened anew: {line}"));
    }
    match output(finished, "outcome") {
        "live" | "passed" => Ok(()),
        outcome if cell.asks_or_later() => Err(format!("the line came back, and the run ended {outcome}")),
        _ => Ok(()),
    }
}

/// Prints what those files are, whose, and since when.
fn foreign_files() -> String {
    format!("find {} -printf '%p %y %m %U:%G %s %T@ %C@ %l\\n' | LC_ALL=C sort", FOREIGN.join(" "))
}
