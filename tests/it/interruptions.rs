//! What a run that was interrupted leaves on the server, and what the next one finds. The scripts run in this machine's own shell.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command},
    rc::Rc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use gated_deploy::{
    context::Deploy,
    domain::{Failure, FailureKind, Outcome, RemoteCommand, RemotePath},
    engine::{
        Done, Event, Io,
        event::Body,
        step::{StepResult, change, check, undo},
    },
    server::{activation, database, lock, watchdog},
    transport::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel},
};

use crate::{
    failures::{answers, answers_of, switch_script},
    rows::Stage,
    support::assert_says,
};

/// The answer of a script, and what it had before it was ended.
struct Answered(Vec<(String, String)>);

impl Answered {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// A server's folder for one app.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        for folder in ["releases/old", "releases/new", "state/journal", "state/jobs", "state/watchdog", "bin"] {
            fs::create_dir_all(place.0.path().join(folder)).expect("a folder");
        }
        std::os::unix::fs::symlink("releases/old", place.0.path().join("current")).expect("current");
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path").to_owned()
    }

    fn has(&self, name: &str) -> bool {
        Path::new(&self.path(name)).exists()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// Stands before the real program of this name.
    fn program(&self, name: &str, text: &str) {
        let path = self.path(&format!("bin/{name}"));
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// Runs it with these programs first.
    fn run(&self, script: &Script) -> Answered {
        let mut shell = Command::new("sh");
        shell.env("PATH", format!("{}:{}", self.path("bin"), std::env::var("PATH").expect("PATH")));
        Answered(answers_of(shell, script))
    }

    fn lock(&self, nonce: &str) -> Answered {
        self.lock_after(nonce, "")
    }

    fn lock_after(&self, nonce: &str, own: &str) -> Answered {
        Answered(answers(
            &Script::new("lock", include_str!("../../src/server/lock/lock.sh"))
                .var("STATE", self.path("state"))
                .var("JOBS", self.path("state/jobs"))
                .var("LOCK", self.path("state/lock"))
                .var("OWNER", format!("run {nonce}"))
                .var("NONCE", nonce)
                .var("ENVIRONMENT", "staging")
                .var("LEASE", "60")
                .var("RELEASE", format!("release-{nonce}"))
                .var("MAKES", format!("release-{nonce}"))
                .var("BEGUN", format!("attempt {nonce}"))
                .var("OWN", own),
        ))
    }

    fn lease_is_over(&self) {
        self.write("state/lock/renewed", "1000000000\n");
    }

    fn renew(&self, nonce: &str) -> Answered {
        let script = Script::new("renew", include_str!("../../src/server/lock/renew.sh"));
        Answered(answers(&script.var("LOCK", self.path("state/lock")).var("NONCE", nonce)))
    }

    /// Work of a run that goes on without its connection.
    fn job(&self, name: &str, finishes: Option<&str>) -> Job {
        let child = Command::new("setsid").args(["sleep", "600"]).spawn().expect("a process");
        let folder = format!("state/jobs/{name}");
        fs::create_dir_all(self.path(&folder)).expect("a folder");
        self.write(&format!("{folder}/answer"), "begin=1:1\0before=first\0");
        self.write(&format!("{folder}/pid"), &format!("{} {}\n", child.id(), began(child.id())));
        if let Some(lock) = finishes {
            self.write(&format!("{folder}/finishes"), &format!("{lock}\n"));
        }
        Job(child)
    }

    fn confirm(&self) -> Script {
        Script::new("confirm", include_str!("../../src/server/watchdog/confirm.sh"))
            .var("CURRENT", "")
            .var("LINK", "")
            .var("ENTRY", self.path("state/watchdog/new"))
            .var("NONCE", "guard")
            .var("JOURNAL", self.path("state/journal/new.jsonl"))
            .var("NOTE", "{\"guard\":\"guard\"}")
            .var("LOCK", self.path("state/lock"))
            .var("LOCK_NONCE", "one")
            .var("PROOF", "{\"bundle_sha256\":\"b\"}")
    }

    /// A guard and a lock, as a run has them right before it confirms.
    fn before_it_confirms() -> Self {
        let place = Self::new();
        assert_eq!(place.lock("one").get("taken"), Some("yes"));
        fs::create_dir_all(place.path("state/watchdog/new.armed")).expect("a guard");
        place.write("state/watchdog/new.armed/nonce", "guard\n");
        place
    }

    /// Whether the next run finds the release confirmed, and its proof.
    fn found_by_the_next(&self, nonce: &str) -> (bool, String) {
        self.lease_is_over();
        let answer = self.lock(nonce);
        assert_eq!(answer.get("taken"), Some("yes"), "{:?}", answer.0);
        let confirmed: Vec<&str> =
            answer.0.iter().filter(|(key, _)| key == "dead-confirmed").map(|(_, value)| value.as_str()).collect();
        let proofs: Vec<&str> =
            answer.0.iter().filter(|(key, _)| key == "dead-proof").map(|(_, value)| value.as_str()).collect();
        (confirmed.last() == Some(&"yes"), proofs.last().copied().unwrap_or_default().to_owned())
    }
}

struct Job(Child);

impl Job {
    fn is_at_work(&mut self) -> bool {
        self.0.try_wait().expect("its state").is_none()
    }

    fn end(&mut self) {
        self.0.kill().expect("ending it");
        self.0.wait().expect("its end");
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.is_at_work() {
            self.end();
        }
    }
}

/// When a process began, as /proc tells it.
fn began(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its state");
    let rest = stat.rsplit_once(") ").expect("a name").1;
    rest.split(' ').nth(19).expect("a time").to_owned()
}

#[test]
fn fd32_a_migration_of_a_dead_run_is_waited_for_and_never_ended() {
    let place = Place::new();
    assert_eq!(place.lock("one").get("taken"), Some("yes"));
    let (mut migration, mut backup) = (place.job("m", Some("one")), place.job("b", None));
    assert_eq!(place.lock("two").get("migrating"), Some("yes"), "whoever is refused is told what is at work");
    place.lease_is_over();
    for _ in 0..2 {
        let answer = place.lock("two");
        assert_eq!((answer.get("taken"), answer.get("busy")), (None, Some(migration.0.id().to_string().as_str())));
        assert_says(answer.get("busy-log").expect("its log"), &["state/jobs/m/log"]);
        assert!(migration.is_at_work() && backup.is_at_work());
    }
    assert_eq!(place.lock("three").get("held"), Some("run two"), "one waits for it, under the lock");
    place.lease_is_over();
    place.lock("two");
    assert_ne!(place.read("state/lock/renewed"), "1000000000\n", "its lease is renewed while it waits");

    migration.end();
    place.write("state/jobs/m/answer", "begin=1:1\0before=first\0after=first\nsecond\0status=0\0end=1:0\0");
    for _ in 0..2 {
        let answer = place.lock("two");
        assert_eq!((answer.get("taken"), answer.get("busy")), (Some("yes"), None));
        let migrated = answer.get("dead-migrated").expect("what became of it");
        assert_says(migrated, &["before=first\u{1e}after=first\nsecond\u{1e}status=0\u{1e}"]);
    }
    assert!(!backup.is_at_work(), "what can be made again is ended");
    assert_eq!(fs::read_dir(place.path("state/jobs")).expect("the jobs").count(), 0);
}

/// The post step takes over the lock of its own run at once, and waits as well.
#[test]
fn fd32_the_post_step_waits_too() {
    let place = Place::new();
    place.lock("one");
    let mut migration = place.job("m", Some("one"));
    let answer = place.lock_after("two", "one");
    assert_eq!((answer.get("held"), answer.get("taken"), answer.get("busy").is_some()), (None, None, true));
    assert!(migration.is_at_work());
}

#[test]
fn fd32_a_run_that_is_rolled_back_asks_what_its_migration_does_before_it_removes_its_folder() {
    let place = Place::new();
    place.lock("one");
    let fenced = Script::new("test", "fenced \"$LOCK\" \"$LOCK_NONCE\"; put began yes")
        .var("LOCK", place.path("state/lock"))
        .var("LOCK_NONCE", "one");
    assert_eq!(place.run(&fenced).get("began"), Some("yes"));
    let ask = Script::new("migrated", include_str!("../../src/server/database/migrated.sh"))
        .var("JOBS", place.path("state/jobs"))
        .var("LOCK", place.path("state/lock"))
        .var("LOCK_NONCE", "one");
    let mut of_others = place.job("other", Some("two"));
    assert_eq!(place.run(&ask).get("state"), Some("none"));
    assert_eq!(place.run(&fenced).get("refused"), Some("run-ending"));

    let mut migration = place.job("m", Some("one"));
    assert_eq!(place.run(&ask).get("state"), Some("running"));
    migration.end();
    let answer = place.run(&ask);
    assert_eq!(answer.get("state"), Some("ended"));
    assert_eq!(answer.get("migrated"), Some("begin=1:1\u{1e}before=first\u{1e}"));
    assert!(of_others.is_at_work());

    // The run that took the lock over cleared what this one left: nothing is known, and "none ran" would be a lie.
    fs::remove_dir_all(place.path("state/jobs/m")).expect("the job");
    place.lease_is_over();
    assert_eq!(place.lock("two").get("taken").or(Some("busy")), Some("busy"), "the other job is at work");
    place.write("state/lock/nonce", "two\n");
    assert_eq!(place.run(&ask).get("state"), Some("lost"));
}

#[test]
fn fd35_a_lock_whose_files_a_power_cut_emptied_expires_by_its_age() {
    let place = Place::new();
    place.lock("one");
    for file in ["nonce", "owner", "lease", "renewed"] {
        place.write(&format!("state/lock/{file}"), "");
    }
    assert_eq!(place.lock("two").get("taken"), None, "it may be new");
    let holder =
        Script::new("holder", include_str!("../../src/server/lock/holder.sh")).var("LOCK", place.path("state/lock"));
    assert_eq!(place.run(&holder).get("lock-lease"), Some("3600"), "a survey says the same");
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(86_400);
    lock_is_old(&place, yesterday);
    assert_eq!(place.lock("two").get("taken"), Some("yes"));
    // Or some of them are not there at all.
    for file in ["nonce", "lease", "renewed"] {
        fs::remove_file(place.path(&format!("state/lock/{file}"))).expect("a file");
    }
    lock_is_old(&place, yesterday);
    assert_eq!(place.lock("three").get("taken"), Some("yes"));
}

fn lock_is_old(place: &Place, since: std::time::SystemTime) {
    fs::File::open(place.path("state/lock")).expect("the lock").set_modified(since).expect("its age");
}

#[test]
fn fd35_what_an_interrupted_take_over_left_blocks_nothing() {
    let place = Place::new();
    place.lock("one");
    fs::create_dir(place.path("state/lock/takeover")).expect("a leftover");
    assert_eq!(place.renew("one").get("renewed"), Some("yes"), "its owner is not taken for lost");
    place.lease_is_over();
    assert_eq!(place.lock("two").get("taken"), Some("yes"), "an empty folder, as earlier versions left it");

    // Two runs died one after the other while they took it over.
    fs::create_dir_all(place.path("state/lock/takeover/next")).expect("a leftover");
    place.write("state/lock/takeover/by", "1 1\n");
    place.write("state/lock/takeover/next/by", "999999999 5\n");
    assert_eq!(place.renew("two").get("renewed"), Some("yes"));
    place.lease_is_over();
    assert_eq!(place.lock("three").get("taken"), Some("yes"));

    // One that is at it is let do it.
    let me = std::process::id();
    fs::create_dir_all(place.path("state/lock/takeover")).expect("a claim");
    place.write("state/lock/takeover/by", &format!("{me} {}\n", began(me)));
    place.lease_is_over();
    assert_eq!(place.lock("four").get("held"), Some("run three"));
}

#[test]
fn fd35_of_many_who_find_an_expired_lock_one_gets_it() {
    for _ in 0..8 {
        let place = Place::new();
        place.lock("one");
        place.lease_is_over();
        fs::create_dir_all(place.path("state/lock/takeover")).expect("a leftover");
        place.write("state/lock/takeover/by", "1 1\n");
        let taken = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..4)
                .map(|run| {
                    let place = &place;
                    scope.spawn(move || place.lock(&format!("run{run}")).get("taken").is_some())
                })
                .collect();
            runs.into_iter().map(|run| run.join().expect("a run")).filter(|taken| *taken).count()
        });
        assert_eq!(taken, 1);
    }
}

/// A stuck run's lock is removed by hand, as it says. What the run could not write into the ledger must not go with it.
#[test]
fn f89_what_a_stuck_run_could_not_record_outlasts_its_lock() {
    let pinned = |place: &Place, unrecorded: &str| {
        assert_eq!(place.lock("one").get("taken"), Some("yes"));
        let mut migration = place.job("m", Some("one"));
        migration.end();
        let script = Script::new("unlock", include_str!("../../src/server/lock/unlock.sh"))
            .var("LOCK", place.path("state/lock"))
            .var("NONCE", "one")
            .var("KEEP", "yes")
            .var("UNRECORDED", unrecorded);
        for _ in 0..2 {
            assert_eq!(place.run(&script).get("found"), Some("kept"));
        }
        assert_eq!(place.lock("two").get("held"), Some("run one"), "it is still pinned");
        fs::remove_dir_all(place.path("state/lock")).expect("by hand");
    };
    let place = Place::new();
    pinned(&place, "yes");
    for _ in 0..2 {
        let next = place.lock("two");
        assert_eq!((next.get("taken"), next.get("took-over")), (Some("yes"), None), "no lock was taken over");
        assert_eq!(next.get("stuck-begun"), Some("attempt one"));
        // What became of its migration is known, too.
        assert_eq!(next.get("stuck-migrated"), Some("begin=1:1\u{1e}before=first\u{1e}"));
    }
    let recovered = Script::new("recovered", include_str!("../../src/server/recovery/recovered.sh"))
        .var("LOCK", place.path("state/lock"))
        .var("LOCK_NONCE", "two");
    place.run(&recovered);
    assert_eq!(place.lock("two").get("stuck-begun"), None, "once it is recorded it is not recorded again");

    assert!(!place.has("state/lock.migrated.one"));

    // What stands in the ledger is kept nowhere else.
    let place = Place::new();
    pinned(&place, "");
    assert_eq!(place.lock("two").get("stuck-begun"), None);
}

#[test]
fn fd33_fd34_the_renamed_guard_decides_whatever_the_moment_at_which_confirming_was_cut_off() {
    // Right before the rename.
    let place = Place::before_it_confirms();
    let cut = place.confirm().with_checkpoint("checkpoint() { [ \"$1\" != inside ] || kill -s KILL $$; }");
    assert_eq!(place.run(&cut).get("state"), None);
    assert!(place.has("state/watchdog/new.armed"));
    assert_eq!(place.found_by_the_next("two"), (false, String::new()));

    // Right after it: nothing else was written.
    let place = Place::before_it_confirms();
    place
        .program("mv", "/bin/mv \"$@\"; ended=$?; case \"$*\" in *new.armed*) kill -s KILL $PPID ;; esac; exit $ended");
    assert_eq!(place.run(&place.confirm()).get("state"), None);
    assert!(place.has("state/watchdog/new.off") && !place.has("state/lock/confirmed"));
    let proof = "{\"bundle_sha256\":\"b\"}".to_owned();
    assert_eq!(place.found_by_the_next("two"), (true, proof.clone()));
    // The next one removed the guard, and died before it wrote the line.
    fs::remove_dir_all(place.path("state/watchdog/new.off")).expect("the guard");
    assert_eq!(place.found_by_the_next("three"), (true, proof.clone()));

    // Its answer was lost: asked again, it says the same.
    let place = Place::before_it_confirms();
    for _ in 0..2 {
        assert_eq!(place.run(&place.confirm()).get("state"), Some("off"));
    }
    assert_eq!(place.found_by_the_next("two"), (true, proof));
    // So it does where the journal cannot be written: the lock says it, too.
    let place = Place::before_it_confirms();
    fs::create_dir_all(place.path("state/journal/new.jsonl")).expect("no file");
    for _ in 0..2 {
        assert_eq!(place.run(&place.confirm()).get("state"), Some("off"));
    }

    // So it does where another run has the lock by then: what was decided stays decided.
    let place = Place::before_it_confirms();
    assert_eq!(place.run(&place.confirm()).get("state"), Some("off"));
    place.lease_is_over();
    assert_eq!(place.lock("two").get("taken"), Some("yes"));
    let again = place.run(&place.confirm());
    assert_eq!((again.get("state"), again.get("refused")), (Some("off"), None));
    assert!(!place.has("state/lock/confirmed"), "nothing is said of the other run's release");

    // The watchdog was faster.
    let place = Place::before_it_confirms();
    fs::rename(place.path("state/watchdog/new.armed"), place.path("state/watchdog/new.reverting")).expect("the guard");
    assert_eq!(place.run(&place.confirm()).get("state"), Some("reverting"));
    assert_eq!(place.found_by_the_next("two"), (false, String::new()));
}

/// The lines of a log of calls that hold one of these words, as those words.
fn order(log: &str, words: &[&'static str]) -> Vec<&'static str> {
    log.lines().filter_map(|line| words.iter().copied().find(|word| line.contains(word))).collect()
}

#[test]
fn fd39_what_is_renamed_into_place_was_flushed_before() {
    let place = Place::new();
    place.lock("one");
    let calls = place.path("calls");
    for name in ["sync", "mv"] {
        place.program(name, &format!("echo \"{name} $*\" >>'{calls}'; exec /bin/{name} \"$@\""));
    }
    fs::create_dir_all(place.path("state/watchdog/new.armed")).expect("a guard");
    let switch = switch_script(Path::new(&place.path("")), "releases/old", "releases/new")
        .var("JOURNAL", place.path("state/journal/new.jsonl"))
        .var("GUARD", place.path("state/watchdog/new.armed"))
        .var("LOCK", place.path("state/lock"))
        .var("LOCK_NONCE", "one");
    assert_eq!(place.run(&switch).get("switched"), Some("yes"));
    let base = place.path("");
    let (journal, renamed) = ("sync -- ", "mv -Tf ");
    assert_eq!(
        order(&place.read("calls"), &[journal, renamed]),
        [journal, renamed, journal],
        "{}",
        place.read("calls")
    );
    assert_says(&place.read("calls"), &["new.jsonl", &format!("sync -- {}", base.trim_end_matches('/'))]);

    place.write("calls", "");
    let arm = Script::new("arm", include_str!("../../src/server/watchdog/arm.sh"))
        .var("PLACE", place.path("state/watchdog"))
        .var("ENTRY", place.path("state/watchdog/newer"))
        .var("NONCE", "guard")
        .var("WITHIN", "300")
        .var("HEAD", "{\"deadline\":")
        .var("TAIL", "}")
        .var("BEFORE", "releases/old")
        .var("PROGRAM", format!("echo $$ >'{0}.new'; mv '{0}.new' '{0}'", place.path("state/watchdog/newer.armed/pid")))
        .var("RELOAD", "")
        .var("WORKERS", "")
        .var("RELEASE", place.path("releases/new"))
        .var("LOCK", place.path("state/lock"))
        .var("LOCK_NONCE", "one");
    assert!(place.run(&arm).get("pid").is_some());
    let (release, entry, armed) = ("sync -f -- ", "newer.new/entry.json", "newer.armed");
    let found = order(&place.read("calls"), &[release, entry, armed]);
    assert_eq!(found[..3], [release, entry, armed], "{}", place.read("calls"));

    place.write("calls", "");
    place.program("php", "printf 'driver=none\\ndatabase=\\ntables=0\\nkib=0\\n' >&5");
    let backup = Script::new("backup", include_str!("../../src/server/backup/backup.sh"))
        .var("BACKUPS", place.path("backups"))
        .var("DIR", place.path("backups/one"))
        .var("TREE", place.path("releases/old"))
        .var("ENV_FILE", place.path(".env"))
        .var("PHP", place.path("bin/php"))
        .var("NGINX", "")
        .var("RELEASE", "one")
        .var("DATABASE_PHP", "");
    let ran = place.run(&backup);
    assert_eq!(ran.get("refused"), None);
    assert!(place.has("backups/one/manifest.json"), "{:?}", ran.0);
    assert_eq!(order(&place.read("calls"), &["sync -f", "mv -T"]), ["sync -f", "mv -T"]);

    place.write("calls", "");
    let ledger = |number: u32| {
        Script::new("ledger", include_str!("../../src/server/ledger/ledger.sh"))
            .var("LEDGER", place.path("state/ledger.jsonl"))
            .var("LINE", format!("{{\"prev\":\"@PREV@\",\"number\":{number}}}"))
            .var("LOCK", "")
            .var("LOCK_NONCE", "")
    };
    assert!(place.run(&ledger(1)).get("written").is_some());
    assert_says(&place.read("calls"), &["sync -- ", "ledger.jsonl"]);

    // A sync that takes no file flushes everything.
    place.program("sync", &format!("[ $# -eq 0 ] || exit 1; echo everything >>'{calls}'"));
    place.write("calls", "");
    assert!(place.run(&ledger(2)).get("written").is_some());
    assert_says(&place.read("calls"), &["everything"]);
}

#[test]
fn fd36_a_script_that_takes_its_time_renews_the_lease_of_its_run_by_itself() {
    let place = Place::new();
    place.lock("one");
    place.lease_is_over();
    let waits = "fenced \"$LOCK\" \"$LOCK_NONCE\"; tries=0
        until [ \"$(cat \"$LOCK/renewed\")\" != 1000000000 ] || [ \"$tries\" -gt 400 ]; do tries=$((tries + 1)); sleep 0.05; done
        put renewed \"$(cat \"$LOCK/renewed\")\"; put renewer \"$renewer\"";
    let script = |program: &'static str| {
        Script::new("test", program)
            .timeout(Duration::from_secs(600))
            .var("LOCK", place.path("state/lock"))
            .var("LOCK_NONCE", "one")
            .var("RENEWAL", "0.1")
    };
    let answer = place.run(&script(waits));
    assert_ne!(answer.get("renewed"), Some("1000000000"));
    let renewer = answer.get("renewer").expect("its number");
    let cmdline = || fs::read_to_string(format!("/proc/{renewer}/cmdline")).unwrap_or_default();
    let asked = Instant::now();
    while !cmdline().is_empty() {
        assert!(asked.elapsed() < Duration::from_secs(60), "it ends with its script");
        std::thread::yield_now();
    }

    // Another run has it: the script is refused, and no lease is renewed.
    place.lease_is_over();
    place.lock("two");
    place.lease_is_over();
    assert_eq!(place.run(&script(waits)).get("refused"), Some("lock-lost"));
    assert_eq!(place.read("state/lock/renewed"), "1000000000\n");

    // A script that has no such line is given it.
    let begins = Script::new("test", "put began yes").fenced(&place.path("state/lock"), "one");
    let answer = place.run(&begins);
    assert_eq!((answer.get("began"), answer.get("refused").is_some()), (None, true));
    let begins = Script::new("test", "put began yes").fenced(&place.path("state/lock"), "two");
    assert_eq!(place.run(&begins).get("began"), Some("yes"));
}

/// What a server answers to each script in turn; the last one over and over.
type Said = Result<&'static [(&'static str, &'static str)], ShellError>;

struct Server {
    answers: RefCell<VecDeque<Said>>,
    reached: Result<(), ShellError>,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Server {
    fn that_says(answers: impl IntoIterator<Item = Said>) -> Rc<Self> {
        let answers = RefCell::new(answers.into_iter().collect());
        Rc::new(Self { answers, reached: Ok(()), asked: Rc::default() })
    }
}

/// One connection to it.
struct Line(Rc<Server>);

#[async_trait(?Send)]
impl Shell for Line {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        let greeting = Greeting { host_key: String::new(), client_key: String::new(), banner: String::new() };
        self.0.reached.clone().map(|()| greeting)
    }

    async fn run(&self, script: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        self.0.asked.borrow_mut().push(script.text("n"));
        let mut answers = self.0.answers.borrow_mut();
        let said = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let records = said.expect("an answer")?;
        Ok(Answer::new(records.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()))
    }

    async fn send(&self, _: File, _: u64, to: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
        panic!("nothing is sent: {to}");
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, ShellError> {
        panic!("no tunnel to {host}:{port} is needed");
    }

    fn another(&self) -> Rc<dyn Shell> {
        Rc::new(Self(self.0.clone()))
    }
}

fn dropped() -> Said {
    Err(ShellError::Dropped("the line is gone".to_owned()))
}

#[tokio::test]
async fn fd33_an_answer_about_the_confirmation_that_is_missing_is_asked_for() {
    let no_answer = Err(ShellError::NoAnswer { noise: String::new() });
    let server = Server::that_says([dropped(), no_answer, Ok(&[("state", "off")])]);
    let ran = Stage::with_shell(Rc::new(Line(server.clone()))).release(watchdog::confirm).await;
    assert_eq!(ran.said(), "over a fresh connection");
    let asked = server.asked.take();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|text| *text == asked[0]), "the same question, so that the server knows it");

    // A "no" is an answer.
    let refused =
        Err(ShellError::Refused { code: "watchdog-changed".to_owned(), values: Vec::new(), tail: Vec::new() });
    let server = Server::that_says([refused]);
    let ran = Stage::with_shell(Rc::new(Line(server.clone()))).release(watchdog::confirm).await;
    assert_eq!((ran.failure().kind, server.asked.borrow().len()), (FailureKind::Refused, 1));

    // It never comes: then it is not known.
    let server = Server::that_says([dropped()]);
    let ran = Stage::with_shell(Rc::new(Line(server))).release(watchdog::confirm).await;
    assert_eq!(ran.failure().kind, FailureKind::Cancelled);

    // Nothing was sent: then the release is not confirmed, and that is known.
    let unreachable = Err(ShellError::Unreachable("nobody".to_owned()));
    let server = Rc::new(Server { answers: RefCell::default(), reached: unreachable, asked: Rc::default() });
    let ran = Stage::with_shell(Rc::new(Line(server.clone()))).release(watchdog::confirm).await;
    assert_eq!((ran.failure().kind, server.asked.borrow().len()), (FailureKind::World, 0));
}

/// How the undo of a migration ends whose run did not hear its end; what stays, and how often the server was asked.
async fn settled(answers: impl IntoIterator<Item = Said>) -> (Vec<String>, usize) {
    let begins = async |cx: &Deploy, _: &Io| {
        let mut made = cx.state.borrow_mut();
        (made.migrations, made.migrating) = (None, true);
        Ok(Done::passed("begun"))
    };
    let fails = async |_: &Deploy, _: &Io| -> StepResult { Err(Failure::refused("checking", "no")) };
    let server = Server::that_says(answers);
    let rows = vec![
        change("migrate", "Migrate", begins, undo("wait for it", database::settled)),
        check("fails", "It fails", fails),
    ];
    let ran = Stage::with_shell(Rc::new(Line(server.clone()))).release_rows(rows).await;
    let Outcome::Refused { stays, .. } = ran.outcome else { panic!("{:?}", ran.outcome) };
    let asked = server.asked.borrow().len();
    (stays, asked)
}

#[tokio::test]
async fn fd32_fd42_a_rollback_waits_for_the_migration_and_names_what_ran() {
    let running = || Ok(&[("state", "running"), ("process", "7")][..]);
    let ended: Said = Ok(&[("state", "ended"), ("migrated", "before=a\u{1e}after=a\nb\u{1e}status=0")]);
    assert_eq!(
        settled([running(), running(), ended]).await,
        (vec!["Migrate: b ran; the old code runs on the new schema".to_owned()], 3)
    );
    let nothing: Said = Ok(&[("state", "ended"), ("migrated", "before=a\u{1e}after=a\u{1e}status=0")]);
    assert_eq!(settled([nothing]).await, (Vec::new(), 1), "none ran, so nothing stays");
    assert_eq!(settled([Ok(&[("state", "none")][..])]).await, (Vec::new(), 1), "it had not begun");
    // What is not known, and what takes too long, is left to the next run.
    let (stays, _) = settled([dropped()]).await;
    assert!(stays[0].starts_with("Migrate: it may still be running: ") && stays.len() == 1, "{stays:?}");
    let (stays, asked) = settled([running()]).await;
    assert!(stays[0].starts_with("Migrate: it is still running after 600 s"), "{stays:?}");
    assert!(asked > 1000, "{asked}");
}

/// The rollback of a first release: without a link no code is served, so a reload that fails calls nobody, unless a service ended by it.
#[tokio::test]
async fn fd11_where_nothing_was_live_a_reload_that_fails_calls_nobody() {
    for (code, stuck) in [("old-workers-remain", false), ("reload-failed", false), ("service-ended", true)] {
        let switches = async |_: &Deploy, _: &Io| Ok(Done::passed("switched"));
        let fails = async |_: &Deploy, _: &Io| -> StepResult { Err(Failure::refused("checking", "no")) };
        let refused = Err(ShellError::Refused { code: code.to_owned(), values: Vec::new(), tail: Vec::new() });
        let server = Server::that_says([Ok(&[][..]), refused, Ok(&[][..])]);
        let mut stage = Stage::with_shell(Rc::new(Line(server.clone())));
        stage.server.current = None;
        let reload = |service| RemoteCommand::new(["sudo", "-n", "service", service, "reload"]);
        stage.server.services.reload = ["php8.2-fpm", "nginx"].map(reload).to_vec();
        let rows = vec![
            change("switch", "Switch", switches, undo("switch back", activation::current::roll_back)),
            check("fails", "It fails", fails),
        ];
        let ran = stage.release_rows(rows).await;
        assert_eq!(matches!(ran.outcome, Outcome::Stuck { .. }), stuck, "{code}: {:?}", ran.outcome);
        let warned = |event: &Event| matches!(&event.body, Body::Warned { code: said, .. } if *said == *code);
        assert_eq!(ran.events.iter().any(warned), !stuck, "{code}");
        assert_eq!(server.asked.borrow().len(), 3);
    }
}

#[tokio::test]
async fn fd32_whoever_takes_the_lock_waits_for_a_migration_up_to_a_limit() {
    let busy: Said = Ok(&[("busy", "7"), ("busy-log", "/srv/jobs/m/log")]);
    let stage = Stage::with_shell(Rc::new(Line(Server::that_says([busy]))));
    let clock = stage.clock.clone();
    let ran = stage.release(lock::acquire).await;
    assert_says(&ran.failure().cause, &["the migration of an interrupted run is still running", "process 7", "600 s"]);
    assert_says(ran.failure().hint.as_deref().expect("a hint"), &["Do not end it", "tail -f /srv/jobs/m/log"]);
    assert_eq!(ran.failure().code, "migration-running");
    assert_says(ran.lines()[0], &["the migration of an interrupted run is still running", "waiting up to 600 s"]);
    let waited: Duration = clock.slept().iter().sum();
    assert_eq!(waited, Duration::from_secs(600));
}
