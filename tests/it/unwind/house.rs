//! A server on which one cell follows another, and what must be true of it after each.

mod dead;

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fs,
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use gated_deploy::{domain::EnvironmentName, steps::ledger::Book};
use gated_deploy_lab::{
    Options,
    app::{self, Variant},
    runner::{Finished, Runner},
    server::{Environment, SEED_COMMIT, SEED_RELEASE},
    story::{Built, Story, commit},
};

use super::fault::{CONTAINER, Cell, FILLER, Fault, Plan, Stage, VARIABLE};
use crate::{
    plan::migration,
    rollback::rollback,
    support::{BINARY, output, story_on},
};

/// Three commits, so that there is always one that is neither live nor was just tried.
const WORDS: [&str; 3] = ["unwound one", "unwound two", "unwound three"];

/// Every one of them has this migration, and before each cell it is pending again. One that dies in its middle has to bear being run once
/// more: MariaDB takes nothing back of a table.
const MIGRATION: &str = "2031_01_01_000000_unwound";
const MIGRATES: &str = "Schema::hasTable('unwound') || Schema::create('unwound', fn ($table) => $table->id());
        usleep(300000);
        Schema::hasColumn('unwound', 'word') || Schema::table('unwound', fn ($table) => $table->string('word')->nullable());";

const ARGS: [&str; 4] = ["--exact", "unwind::the_action_with_a_fault", "--nocapture", "--test-threads=2"];

/// How long a dead run's release may stay before the server goes back by itself.
const CONFIRM_WITHIN: &str = "10s";

/// Until what a run left at work on the server has come to its end.
const PATIENCE: Duration = Duration::from_secs(120);

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

pub(super) struct House {
    story: Story,
    environment: Environment,
    /// The site's folder.
    base: String,
    /// This test program, which is the action with a fault in it when it is called with [`ARGS`].
    program: PathBuf,
    foreign: String,
    /// States from which a release went live.
    proven: RefCell<BTreeSet<String>>,
}

type Found = Result<(), String>;

/// What a person can type, and what they would see that the server is like.
struct Look {
    current: String,
    served: String,
    book: Book,
}

impl House {
    /// A server with two confirmed releases on it, so that there is one to go back to.
    pub(super) fn open(fault: Fault, environment: Environment) -> Result<Self, String> {
        static BUILT: OnceLock<Vec<Built>> = OnceLock::new();
        let options = Options { base_tmpfs_mb: Some(320), reboots: fault == Fault::Rebooted, ..Options::default() };
        let story = story_on(options);
        let build = |word: &&str| {
            let commit = commit(word);
            let tree = app::source(&commit, Variant::Healthy).expect("the tree");
            tree.write(&format!("database/migrations/{MIGRATION}.php"), migration(MIGRATES)).expect("the migration");
            story.build(&commit, &tree).expect("the build")
        };
        for built in BUILT.get_or_init(|| WORDS.iter().map(build).collect()) {
            story.publish(built).expect("the artifact");
        }
        let program = std::env::current_exe().expect("this program");
        let base = story.lab.site(environment).base_dir.clone();
        let mut house = Self { story, environment, base, program, foreign: String::new(), proven: RefCell::default() };
        house.release(&commit(WORDS[0]))?;
        house.release(&commit(WORDS[1]))?;
        house.furnish();
        Ok(house)
    }

    pub(super) fn environment(&self) -> Environment {
        self.environment
    }

    fn furnish(&mut self) {
        let base = self.base.clone();
        self.on(&format!(
            "cd {base}; mkdir -p ../beside
             mkdir releases/kept-by-hand backups/by-hand
             for file in ../beside/file beside.txt releases/kept-by-hand/file releases/notes.txt backups/by-hand/file \
                 .gated-deploy/notes.txt .gated-deploy/incoming/by-hand.tar.gz; do echo 'not ours' >$file; chown deploy: $file; done
             chown deploy: ../beside releases/kept-by-hand backups/by-hand"
        ));
        self.foreign = self.foreign();
    }

    /// Runs a script as root on the server.
    fn on(&self, script: &str) -> String {
        self.story.lab.exec(&format!("set -eu\n{script}")).expect("a command on the server").trim().to_owned()
    }

    fn foreign(&self) -> String {
        let (base, paths) = (&self.base, FOREIGN.join(" "));
        self.on(&format!(
            "cd {base}; find {paths} -printf '%p %y %m %U:%G %T@ %l\\n' | sort; find {paths} -type f -print0 | sort -z | xargs -0 sha256sum"
        ))
    }

    fn inputs(runner: Runner) -> Runner {
        runner.input("keep-releases", "3").input("keep-backups", "2").time_limit(Duration::from_secs(180))
    }

    /// The step that releases here. Production takes only what staging has proven, which is made sure of first.
    fn releasing(&self, commit: &str) -> Result<Runner, String> {
        let staging = Self::inputs(self.story.staging(commit));
        if self.environment == Environment::Staging {
            return Ok(staging);
        }
        went_live(&staging.run_binary(BINARY))?;
        Ok(Self::inputs(self.story.production(commit)))
    }

    /// A release by the action as it is shipped: it goes live.
    fn release(&self, commit: &str) -> Found {
        let finished = self.releasing(commit)?.run_binary(BINARY);
        finished.assert_no_secret_leaks();
        went_live(&finished)
    }

    fn rollback(&self) -> Runner {
        Self::inputs(rollback(&self.story))
    }

    /// How long each row takes when nothing goes wrong, found out once.
    pub(super) fn rehearsal(&self) -> Result<&'static HashMap<(&'static str, String), Duration>, String> {
        static STAGING: OnceLock<HashMap<(&'static str, String), Duration>> = OnceLock::new();
        static PRODUCTION: OnceLock<HashMap<(&'static str, String), Duration>> = OnceLock::new();
        let (stage, known) = match self.environment {
            Environment::Staging => (Stage::Release, &STAGING),
            Environment::Production => (Stage::Production, &PRODUCTION),
        };
        if let Some(took) = known.get() {
            return Ok(took);
        }
        let mut took = HashMap::new();
        if stage == Stage::Release {
            let runner = self.rollback();
            let finished = runner.run_binary(BINARY);
            went_live(&finished)?;
            took = events(Stage::Rollback, &runner, &finished)?;
        }
        self.forget_the_migration();
        let runner = self.releasing(&commit(WORDS[2]))?;
        let finished = runner.run_binary(BINARY);
        went_live(&finished)?;
        took.extend(events(stage, &runner, &finished)?);
        // The rollback has left one release; with these there is again one to go back to.
        self.release(&commit(WORDS[0]))?;
        Ok(known.get_or_init(|| took))
    }

    /// What is live now does not know it either, so it is pending once more.
    fn forget_the_migration(&self) {
        let forgotten = format!("drop table if exists unwound; delete from migrations where migration = '{MIGRATION}'");
        self.on(&format!("mariadb -e \"{forgotten}\" {}", self.story.lab.site(self.environment).database));
    }

    /// Carries out one cell; says what is not as it must be.
    pub(super) fn cell(&self, cell: &Cell) -> Found {
        if cell.stage == Stage::Recover {
            self.forget_the_migration();
            return self.recover_cell(cell);
        }
        let base = &*self.base;
        let took = self.rehearsal()?.get(&(cell.stage.name(), cell.row.clone())).copied().unwrap_or_default();
        self.forget_the_migration();
        let plan = Plan { cell: cell.clone(), middle: (took / 2).min(Duration::from_secs(3)) };
        let before = self.look()?;
        let whole = self.story.lab.tree_digest(base).expect("the tree");
        let tried = self.another(&[&before.served]);

        let runner = if cell.stage == Stage::Rollback { self.rollback() } else { self.releasing(&tried)? };
        let runner = self.with_fault(runner, &plan);
        // Whose guard nobody takes off, of that the server has to take care as well.
        let unguarded = cell.row == "arm-watchdog" && cell.fault == Fault::UndoBefore;
        let dies = cell.fault == Fault::Killed || unguarded;
        let runner = if dies { runner.input("confirm-within", CONFIRM_WITHIN) } else { runner };
        let finished = self.carry_out(runner, cell);
        if std::env::var_os("UNWIND_ONLY").is_some() {
            println!("{}", finished.log);
        }
        let found = self.judge(cell, &finished, &before, &whole, &tried);
        found.map_err(|problem| format!("{problem}\n--- the run with the fault:\n{}", finished.log))
    }

    /// The action with a fault in it.
    fn with_fault(&self, runner: Runner, plan: &Plan) -> Runner {
        runner
            .args(&ARGS)
            .env(VARIABLE, &plan.to_string())
            .env(CONTAINER, self.story.lab.container_id())
            .env("PATH", &std::env::var("PATH").unwrap_or_default())
    }

    fn carry_out(&self, runner: Runner, cell: &Cell) -> Finished {
        let finished = runner.run_binary(&self.program);
        if cell.fault == Fault::Interrupted {
            // As GitHub does after a step that was cancelled; it has nothing to do unless the run had no time to go back.
            let post = runner.clone().args(&[]).run_post(&finished, BINARY, "gated-deploy-post");
            post.assert_no_secret_leaks();
            println!("post of {} {}: {}", cell.stage.name(), cell.row, post.log.lines().last().unwrap_or_default());
        }
        self.on(&format!("rm -f {}/{FILLER}", self.base));
        finished
    }

    fn judge(&self, cell: &Cell, finished: &Finished, before: &Look, whole: &str, tried: &str) -> Found {
        let base = &*self.base;
        if !finished.raw_log.contains(super::fault::MARK) {
            return Err("the fault never happened".to_owned());
        }
        finished.assert_no_secret_leaks();
        let outcome = output(finished, "outcome");
        let killed = cell.fault == Fault::Killed;
        if outcome.is_empty() != killed {
            return Err(format!("the run ended with the outcome `{outcome}` and exit code {}", finished.exit_code));
        }
        // Then the server's watcher and the post step look after it, and one of them writes the line.
        let handed_over = finished.state.get("phase").is_some_and(|phase| phase == "handed-over");
        if outcome == "stuck" && !handed_over {
            self.by_hand(finished)?;
        }
        self.wait_until_quiet(killed || handed_over)?;
        let after = self.look()?;
        if killed {
            // The deploy lock of a dead run is over with its lease, as the next run finds out.
            self.on(&format!(
                "if [ -d {base}/.gated-deploy/lock ]; then echo 1000 >{base}/.gated-deploy/lock/renewed; fi"
            ));
        } else if self.on(&format!("ls {base}/.gated-deploy")).lines().any(|name| name == "lock") {
            let frees_it = cell.row == "deploy-lock" && cell.fault == Fault::UndoBefore;
            if !frees_it {
                return Err("the deploy lock is still held".to_owned());
            }
            self.on(&format!("echo 1000 >{base}/.gated-deploy/lock/renewed"));
        }
        // What was confirmed when the run died, the next one writes down.
        let late = killed && after.current != before.current;
        self.whole(&after, !late)?;
        let outcome = if handed_over { "" } else { outcome };
        self.truth(cell, outcome, finished, before, &after)?;
        // A release has gone live from this very state; or from one that differs in nothing but names and times. Where something new is
        // live the next one follows in any case: a rollback has used up what there was to go back to.
        let state = format!("{} {outcome} {} {}", cell.stage.name(), self.schema(), self.state());
        let known = after.current == before.current && self.proven.borrow().contains(&state);
        if known || self.story.lab.tree_digest(base).expect("the tree") == whole {
            return Ok(());
        }
        self.release(&self.another(&[&after.served, tried]))?;
        let next = self.look()?;
        self.whole(&next, true)?;
        self.migrated()?;
        if late && !self.confirmed(&next.book, &after.current) {
            return Err(format!(
                "{} was confirmed when the run died, and the ledger still does not know it",
                after.current
            ));
        }
        self.no_leftovers(&next)?;
        self.proven.borrow_mut().insert(state);
        Ok(())
    }

    /// What lies where in the site's folder, whose it is and how it may be used; names of releases, and how many there are of one kind,
    /// make no difference. What the releases are in themselves, their tree's digest says.
    fn state(&self) -> String {
        let base = &*self.base;
        self.on(&format!(
            "cd {base}; {{ find . '(' -path './releases/*/*' -o -path ./shared ')' -prune -o -printf '%p %y %m %u:%g %l\\n'
             find releases -path '*/public/gated-deploy-*'; }} | sed -E 's/[0-9]{{8}}_[0-9]{{6}}-[0-9a-f]{{8}}/RELEASE/g; s/gated-deploy-[0-9a-f]+/FILE/' | sort -u"
        ))
    }

    /// One of the commits that is none of these.
    fn another(&self, not: &[&str]) -> String {
        WORDS.iter().map(|word| commit(word)).find(|commit| !not.contains(&commit.as_str())).expect("a third one")
    }

    /// What the run told to type, typed.
    fn by_hand(&self, finished: &Finished) -> Found {
        let base = &*self.base;
        // They stand in the annotation, too.
        let commands: Vec<&str> = finished.log.lines().filter_map(|line| line.strip_prefix("  type: ")).collect();
        if commands.is_empty() {
            return Err("the run is stuck and does not say what to type".to_owned());
        }
        let script = format!("set -e; cd {base}\n{}", commands.join("\n"));
        self.story.lab.exec_as("deploy", &script).map(drop).map_err(|error| format!("typed by hand: {error:#}"))
    }

    /// What still works on the server ends; that of a dead run goes back by itself.
    fn wait_until_quiet(&self, dead: bool) -> Found {
        let base = &*self.base;
        let began = Instant::now();
        loop {
            let busy =
                self.on("ps -u deploy -o pid=,args= | grep -v -e '[s]shd:' -e 'watchdog/' -e 'sleep 1$' || true");
            let guards = if dead {
                self.on(&format!("ls {base}/.gated-deploy/watchdog | grep -e armed -e reverting || true"))
            } else {
                String::new()
            };
            if busy.is_empty() && guards.is_empty() {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                let said = self.on(&format!(
                    "cd {base}/.gated-deploy/watchdog; tail -n 20 -- */log */*.answer 2>&1 | tr '\\0' '\\n' || true; ps -ef"
                ));
                return Err(format!("after {PATIENCE:?} there is still at work: {busy} {guards}\n{said}"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn look(&self) -> Result<Look, String> {
        let base = &*self.base;
        let site = self.story.lab.site(self.environment);
        let current = self.story.lab.current(&site).expect("current").ok_or("there is no current")?;
        let served =
            self.story.lab.served_commit(&site).map_err(|error| format!("the site does not answer: {error:#}"))?;
        let text = self.on(&format!("cat {base}/.gated-deploy/ledger.jsonl"));
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), format!("{text}\n")).expect("writing");
        let verify = Command::new(BINARY).args(["ledger", "verify"]).arg(file.path()).output().expect("the tool");
        if !verify.status.success() {
            return Err(format!("{}\n{text}", String::from_utf8_lossy(&verify.stdout)));
        }
        Ok(Look { current, served, book: Book::of(&text) })
    }

    /// `current` is a complete confirmed release, the site answers as it, and nothing of others was touched.
    fn whole(&self, look: &Look, written: bool) -> Found {
        let base = &*self.base;
        let Look { current, served, book } = look;
        if written && !self.confirmed(book, current) {
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
        self.story
            .lab
            .exec_as("deploy", &format!("cd {base}/current && test -f public/index.php && test -f public/build/manifest.json && test -d app && test -r .env && php artisan --version"))
            .map_err(|error| format!("{current} is not complete: {error:#}"))?;
        let foreign = self.foreign();
        if foreign != self.foreign {
            return Err(format!("foreign files were:\n{}\nand are:\n{foreign}", self.foreign));
        }
        Ok(())
    }

    /// What the run and the ledger say is what the site shows.
    fn truth(&self, cell: &Cell, outcome: &str, finished: &Finished, before: &Look, after: &Look) -> Found {
        let new = &after.book.lines[before.book.lines.len()..];
        let told: Vec<&str> = new.iter().map(|line| line.outcome.as_str()).collect();
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
        let last_live = after.book.lines.iter().rev().find(|line| line.outcome == "live");
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

    /// How far the migration has come: the columns of its table, and how often it is written down as run.
    fn schema(&self) -> String {
        let database = self.story.lab.site(self.environment).database;
        self.on(&format!(
            "mariadb -N -e \"select group_concat(column_name order by ordinal_position) from information_schema.columns
                 where table_schema = database() and table_name = 'unwound';
             select count(*) from migrations where migration = '{MIGRATION}'\" {database} | xargs"
        ))
    }

    /// What is live has the table that it wants, whatever became of its migration before.
    fn migrated(&self) -> Found {
        let schema = self.schema();
        if schema == "id,word 1" { Ok(()) } else { Err(format!("the migration has come this far: {schema}")) }
    }

    fn confirmed(&self, book: &Book, release: &str) -> bool {
        let environment: EnvironmentName = self.environment.name().parse().expect("a name");
        book.standings(&environment).confirmed().iter().any(|known| known.as_str() == release)
    }

    /// After a release that went live nothing is left of those that did not.
    fn no_leftovers(&self, look: &Look) -> Found {
        let base = &*self.base;
        let listed = self.on(&format!(
            "cd {base}; find . -maxdepth 1 -name '.current*'; find releases -mindepth 1 -maxdepth 1 -type d
             find backups -mindepth 1 -maxdepth 1 -name '*.part'; find releases -path '*/public/gated-deploy-*'
             find .gated-deploy -mindepth 1 -maxdepth 1 ! -name journal ! -name incoming ! -name watchdog ! -name jobs
             find .gated-deploy/incoming .gated-deploy/watchdog .gated-deploy/jobs -mindepth 1 -maxdepth 1"
        ));
        // The folder of a stuck run goes with retention.
        let live: Vec<&str> = look
            .book
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

/// How long each row took, as the run's journal says.
fn events(
    stage: Stage,
    runner: &Runner,
    finished: &Finished,
) -> Result<HashMap<(&'static str, String), Duration>, String> {
    let report = runner.workspace().join(output(finished, "report-json"));
    let folder = report.parent().ok_or("a folder of reports")?;
    let journal = folder.join(format!("{}-events.jsonl", output(finished, "release")));
    let text = fs::read_to_string(&journal).map_err(|error| format!("{}: {error}", journal.display()))?;
    let took = text.lines().filter_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        if event["event"] != "finished" {
            return None;
        }
        let took = Duration::from_millis(event["took_ms"].as_u64()?);
        Some(((stage.name(), event["step"].as_str()?.to_owned()), took))
    });
    Ok(took.collect())
}
