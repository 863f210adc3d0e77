//! The run dies. What it armed on the server before the switch goes back by itself, or the next run does (F86).

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use gated_deploy::transport::shell::Script;
use gated_deploy_lab::{
    app::Variant,
    github::{Phase, Run},
    runner::{Runner, Running, Signal},
    server::{SEED_COMMIT, SEED_RELEASE},
    story::{Story, commit, green_run},
};

use crate::{
    failures::{answer, answers_of, switch_script},
    support::{BINARY, assert_ended, assert_says, output, story},
};

/// A machine that others keep busy takes a minute for what takes seconds here.
const PATIENCE: Duration = Duration::from_secs(300);
const STATE: &str = "/var/www/staging/.gated-deploy";

/// A release that stands still between its switch and its health check, and that the server takes back after half a minute.
fn slow(story: &Story, commit: &str) -> Runner {
    story.staging(commit).input("grace-period", "25s").input("confirm-within", "30s")
}

/// The same, seen right after the reload.
fn switched(story: &Story, word: &str) -> (String, Running) {
    switched_within(story, word, "30s")
}

/// The same with another time for the watchdog to wait: what must happen before it fires may take long on a busy machine.
fn switched_within(story: &Story, word: &str, within: &str) -> (String, Running) {
    let commit = commit(word);
    story.ship(&commit, Variant::Healthy).expect("the build");
    let running = slow(story, &commit).input("confirm-within", within).spawn_binary(story.binary());
    running.wait_for_line("17 Reload PHP-FPM and nginx: ", PATIENCE);
    assert_eq!(story.served().expect("the site"), commit, "the new release is live");
    (commit, running)
}

#[track_caller]
pub(crate) fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn on_server(story: &Story, script: &str) -> String {
    story.lab.exec(script).expect("a command on the server").trim().to_owned()
}

pub(crate) fn guards(story: &Story) -> String {
    on_server(story, &format!("ls {STATE}/watchdog"))
}

fn watchers(story: &Story) -> String {
    on_server(story, "pgrep -f '[w]atchdog/.*/program' || echo none")
}

/// The ledger's lines, after its chain was followed by the tool itself.
pub(crate) fn ledger(story: &Story) -> Vec<serde_json::Value> {
    let text = on_server(story, &format!("cat {STATE}/ledger.jsonl"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), format!("{text}\n")).expect("writing");
    let verify = Command::new(BINARY).args(["ledger", "verify"]).arg(file.path()).output().expect("the tool");
    assert!(verify.status.success(), "{}\n{text}", String::from_utf8_lossy(&verify.stdout));
    text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
}

/// A lease later: nobody has renewed the dead run's lock.
pub(crate) fn time_passes(story: &Story) {
    on_server(story, &format!("echo 1000 > {STATE}/lock/renewed"));
}

#[test]
fn f15_a_run_that_slept_through_its_lease_changes_nothing_more() {
    let story = story();
    let (asleep, awake) = (commit("asleep"), commit("awake"));
    let sleeper = story.staging(&asleep).input("build-wait-attempts", "60");
    story.github.add_run(Run { phase: Phase::in_progress(), ..green_run(&asleep) });
    let running = sleeper.spawn_binary(story.binary());
    running.wait_for_line("attempt 1 of 60", PATIENCE);
    running.signal(Signal::STOP);
    story.ship(&asleep, Variant::Healthy).expect("the build");
    story.ship(&awake, Variant::Healthy).expect("the build");
    time_passes(&story);
    assert_ended(&story.deploy(&awake), 0, "live");

    running.signal(Signal::CONT);
    let finished = running.wait();

    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &["this run lost the deploy lock", "  code: lock-lost"]);
    assert_eq!(story.served().expect("the site"), awake);
    assert!(!on_server(&story, "ls /var/www/staging/releases").contains(&asleep[..8]), "what it made is gone");
}

#[test]
fn f15_a_run_at_work_renews_its_lock() {
    let story = story();
    let commit = commit("long at work");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let running = story.staging(&commit).input("grace-period", "30s").unhurried().spawn_binary(story.binary());
    running.wait_for_line("15 Switch `current` to the release: ", PATIENCE);
    time_passes(&story);
    until("it says that it is there", PATIENCE, || on_server(&story, &format!("cat {STATE}/lock/renewed")) != "1000");
    running.signal(Signal::TERM);
    assert_ended(&running.wait(), 3, "rolled-back");
}

#[test]
fn f15_what_a_dead_run_left_goes_with_its_lock() {
    let story = story();
    let (dead, next) = (commit("dead early"), commit("its successor"));
    story.ship(&dead, Variant::Healthy).expect("the build");
    story.ship(&next, Variant::Healthy).expect("the build");
    let running = story.staging(&dead).spawn_binary(story.binary());
    running.wait_for_line("11 Unpack into releases/<name>: ", PATIENCE);
    running.signal(Signal::KILL);
    running.wait();
    let left = |what: &str| on_server(&story, &format!("ls /var/www/staging/{what}")).contains(&dead[..8]);
    assert!(left("releases"), "the dead run's folder");
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE), "it never got to its switch");
    on_server(&story, &format!("touch {STATE}/incoming/$(cat {STATE}/lock/makes).tar.gz"));
    // Locks that never got their name, one that may still get it, and a folder of somebody else.
    let half = |first: char| format!("lock.{first}123456789abcdef0123456789abcdef");
    let (taken, freed, young) = (half('a'), format!("{}.freed", half('b')), half('c'));
    on_server(
        &story,
        &format!(
            "cd {STATE}; mkdir {taken} {freed} {young} lock.by-hand; touch -d '2 minutes ago' {taken} {freed} lock.by-hand"
        ),
    );
    time_passes(&story);

    let finished = story.deploy(&next);

    assert_ended(&finished, 0, "live");
    assert_says(&finished.log, &["removed the leftovers of"]);
    assert!(!left("releases") && !left(".gated-deploy/incoming"));
    let locks = on_server(&story, &format!("cd {STATE}; ls -d lock*"));
    assert_eq!(locks.lines().collect::<Vec<_>>(), ["lock.by-hand", &young]);
    assert_eq!(story.served().expect("the site"), next);
    assert!(on_server(&story, "ls /var/www/staging/releases").contains(SEED_RELEASE), "what was live stays");
    let lines = ledger(&story);
    assert_eq!(lines.iter().map(|line| line["outcome"].clone()).collect::<Vec<_>>(), ["failed", "live"]);
    assert_eq!((&lines[0]["sha"], &lines[0]["standing"]), (&dead.as_str().into(), &"failed".into()), "{:?}", lines[0]);
    assert_says(lines[0]["cause"].as_str().expect("a cause"), &["its run was interrupted"]);
}

#[test]
fn f15_a_run_that_may_wait_is_told_for_whom_and_goes_on_after_it() {
    let story = story();
    let (first, second) = (commit("first"), commit("second"));
    story.ship(&first, Variant::Healthy).expect("the build");
    story.ship(&second, Variant::Healthy).expect("the build");
    let running = story.staging(&first).input("grace-period", "10s").spawn_binary(story.binary());
    running.wait_for_line("15 Switch `current` to the release: ", PATIENCE);

    let waiting = story.staging(&second).input("lock-wait", "2m").spawn_binary(story.binary());
    waiting.wait_for_line("waiting up to 120 s for run https://", PATIENCE);
    assert_ended(&running.wait(), 0, "live");
    let finished = waiting.wait();

    assert_ended(&finished, 0, "live");
    assert_eq!(finished.log.matches("waiting up to 120 s").count(), 1, "told once:\n{}", finished.log);
    assert_eq!(story.served().expect("the site"), second);
    let outcomes: Vec<_> = ledger(&story).iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["live", "live"]);
}

#[test]
fn f86_a_killed_run_is_taken_back_by_the_server_itself() {
    let story = story();
    let (commit, running) = switched(&story, "killed");

    running.signal(Signal::KILL);
    let killed = Instant::now();
    running.wait();
    until("the old release answers again", PATIENCE, || story.served().is_ok_and(|served| served == SEED_COMMIT));
    println!("healed {:?} after the kill", killed.elapsed());

    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    until("the watcher has ended", PATIENCE, || watchers(&story) == "none");
    let lines = ledger(&story);
    let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
    assert_eq!(
        (&line["outcome"], &line["sha"], &line["from"]),
        (&"reverted-by-watchdog".into(), &commit.as_str().into(), &format!("releases/{SEED_RELEASE}").into())
    );
    assert_says(line["cause"].as_str().expect("a cause"), &["the release was not confirmed within 30 s"]);
    assert_says(&guards(&story), &[".reverted"]);

    // The next release does not wait for the lease of the killed run.
    let next = self::commit("after the kill");
    story.ship(&next, Variant::Healthy).expect("the build");
    on_server(&story, &format!("date +%s > {STATE}/lock/renewed"));
    let finished = story.deploy(&next);
    assert_ended(&finished, 0, "live");
    assert_says(&finished.log, &["took over the deploy lock of an interrupted run: run https://", "/actions/runs/"]);
    assert_eq!(story.served().expect("the site"), next);
    assert_eq!(ledger(&story).len(), 2);
}

#[test]
fn f86_a_run_killed_on_its_way_back_is_healed_all_the_same() {
    let story = story();
    let (_, running) = switched(&story, "killed twice");
    // A cancelled run goes back itself; here it gets as far as it gets before the machine under it goes.
    running.signal(Signal::TERM);
    running.signal(Signal::KILL);
    running.wait();

    until("the old release answers again", PATIENCE, || story.served().is_ok_and(|served| served == SEED_COMMIT));
    until("no guard is left at work", PATIENCE, || {
        let guards = guards(&story);
        !guards.contains(".armed") && !guards.contains(".reverting")
    });
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    ledger(&story);
}

#[test]
fn f15_runs_that_begin_at_once_go_one_after_the_other_or_not_at_all() {
    let story = story();
    let commit = commit("all at once");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let wait = |run: usize| if run.is_multiple_of(5) { "3m" } else { "0s" };
    let running: Vec<_> =
        (0..10).map(|run| story.staging(&commit).input("lock-wait", wait(run)).spawn_binary(story.binary())).collect();
    let finished: Vec<_> = running.into_iter().map(Running::wait).collect();

    let (live, others): (Vec<_>, Vec<_>) = finished.iter().partition(|run| output(run, "outcome") == "live");
    assert!(!live.is_empty());
    for run in others {
        assert_ended(run, 1, "refused");
    }
    let made: Vec<&str> = live.iter().map(|run| output(run, "release")).collect();
    let current = story.current().expect("current").expect("a release");
    assert!(made.contains(&current.as_str()), "{current} of {made:?}");
    assert_eq!(story.served().expect("the site"), commit);
    // None half done: no lock, no guard, no folder of a run that was refused.
    assert_eq!(guards(&story), "");
    assert!(!on_server(&story, &format!("ls {STATE}")).contains("lock"));
    let folders = on_server(&story, "ls /var/www/staging/releases");
    assert_eq!(folders.lines().filter(|name| *name != SEED_RELEASE).count(), made.len(), "{folders}");
    let lines = ledger(&story);
    assert_eq!(lines.iter().filter(|line| line["outcome"] == "live").count(), made.len(), "{lines:?}");
}

#[test]
fn f86_a_confirmed_release_stays_when_its_time_is_over() {
    let story = story();
    let commit = commit("confirmed");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let finished = story.staging(&commit).input("confirm-within", "60s").run_binary(story.binary());
    assert_ended(&finished, 0, "live");
    assert_says(&finished.log, &["Confirm the release over a new connection: over a fresh connection"]);
    assert_eq!(guards(&story), "", "nothing is left to go back");
    until("the watcher sees that and ends", PATIENCE, || watchers(&story) == "none");

    let over = on_server(&story, "date +%s").parse::<u64>().expect("a time") + 60;
    until("its time is over", PATIENCE, || on_server(&story, "date +%s").parse::<u64>().expect("a time") > over);
    assert_eq!(story.served().expect("the site"), commit);
    assert_eq!(ledger(&story).len(), 1);
}

/// The run's own connection goes on, but a release must not be confirmed on a server that lets no administrator in any more.
#[test]
fn f86_a_release_after_which_nobody_can_log_in_is_not_confirmed() {
    let story = story();
    let commit = commit("locked out");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let running = story.staging(&commit).input("grace-period", "4s").spawn_binary(story.binary());
    running.wait_for_line("18 Grace period", PATIENCE);
    on_server(&story, "echo 'closed for maintenance' >/etc/nologin");
    let finished = running.wait();
    on_server(&story, "rm /etc/nologin");
    assert_ended(&finished, 3, "rolled-back");
    assert_eq!(story.served().expect("the site"), SEED_COMMIT);
}

#[test]
fn f86_a_run_that_wakes_up_too_late_tells_the_truth() {
    let story = story();
    let (_, running) = switched(&story, "asleep");

    running.signal(Signal::STOP);
    until("the server goes back", PATIENCE, || guards(&story).contains(".reverted"));
    running.signal(Signal::CONT);
    let finished = running.wait();

    assert_ended(&finished, 3, "rolled-back");
    assert_says(&finished.log, &["the watchdog rolled back"]);
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    assert_eq!(story.served().expect("the site"), SEED_COMMIT);
    let outcomes: Vec<_> = ledger(&story).iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["reverted-by-watchdog", "rolled-back"]);
}

#[test]
fn f86_a_run_that_goes_back_itself_takes_its_guard_along() {
    let story = story();
    let commit = commit("sick");
    story.ship(&commit, Variant::Sick500).expect("the build");

    assert_ended(&story.deploy(&commit), 3, "rolled-back");

    assert_eq!(guards(&story), "");
    until("the watcher ends", PATIENCE, || watchers(&story) == "none");
}

#[test]
fn f86_what_the_server_could_not_finish_the_next_run_does_first() {
    let story = story();
    let (commit, running) = switched_within(&story, "rebooted", "5m");
    running.signal(Signal::KILL);
    // A reboot ends the watcher as well.
    on_server(&story, "pkill -KILL -f '[w]atchdog/.*/program'");
    running.wait();
    time_passes(&story);

    let next = self::commit("after the reboot");
    story.ship(&next, Variant::Healthy).expect("the build");
    let plan = story.staging(&next).input("approval", "").run_binary(story.binary());
    assert_ended(&plan, 0, "planned");
    assert_says(&plan.log, &["is unconfirmed (made by "]);
    assert_says(&plan.summary, &[&format!("unconfirmed: the release rolls it back to `{SEED_RELEASE}` first")]);
    assert_eq!(output(&plan, "previous-release"), SEED_RELEASE, "the plan builds on what will be live then");
    assert_eq!(story.served().expect("the site"), commit, "a plan changes nothing");

    // Ready to be released to by the time that its guard is read, whatever state its site is in.
    let finished = story.deploy(&next);
    assert_ended(&finished, 0, "live");
    assert_says(&finished.log, &["rolled back", &format!("to releases/{SEED_RELEASE}")]);
    let lines = ledger(&story);
    assert_eq!(lines.iter().map(|line| line["outcome"].clone()).collect::<Vec<_>>(), ["reverted-by-watchdog", "live"]);
    assert_eq!(lines[1]["from"], format!("releases/{SEED_RELEASE}"));
}

// The programs themselves, in this machine's own shell.

struct Place(tempfile::TempDir);

/// Seconds in which a release is to be confirmed, by the place's own clock.
const WITHIN: u64 = 300;

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        for folder in ["releases/old", "releases/new", "journal"] {
            fs::create_dir_all(place.0.path().join(folder)).expect("a folder");
        }
        symlink("releases/new", place.0.path().join("current")).expect("a link");
        fs::create_dir(place.path("bin")).expect("a folder");
        // The place's own time since the boot: it stands still until the test lets it pass. However slow the machine is, nothing is over before.
        place.pass(0);
        place
    }

    /// Lets this many seconds pass at once.
    fn pass(&self, seconds: u64) {
        fs::write(self.path("uptime.new"), format!("{}.50 0.00\n", 1000 + seconds)).expect("a clock");
        fs::rename(self.path("uptime.new"), self.path("uptime")).expect("a clock");
    }

    /// A program of this name before the machine's own.
    fn program(&self, name: &str, text: &str) {
        let path = self.path(&format!("bin/{name}"));
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// What a script answers here.
    fn answer(&self, script: &Script) -> std::collections::BTreeMap<String, String> {
        let mut shell = std::process::Command::new("sh");
        shell.env("PATH", format!("{}:{}", self.path("bin"), std::env::var("PATH").expect("PATH")));
        answers_of(shell, script).into_iter().collect()
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path").to_owned()
    }

    /// Armed with [`WITHIN`] to confirm in.
    fn arm(&self, before: &str, reload: &'static str) {
        assert!(self.armed(before, reload).contains_key("pid"));
    }

    fn armed(&self, before: &str, reload: &'static str) -> std::collections::BTreeMap<String, String> {
        let stored = |script: Script| format!("#!/bin/sh\n{}", script.text("1"));
        let script = Script::new("arm", include_str!("../../src/server/watchdog/arm.sh"))
            .var("PLACE", self.path("watchdog"))
            .var("ENTRY", self.path("watchdog/new"))
            .var("NONCE", "one")
            .var("WITHIN", WITHIN.to_string())
            .var("HEAD", "{\"deadline\":")
            .var("TAIL", "}")
            .var("BEFORE", before)
            .var("UPTIME", self.path("uptime"))
            .var("PROGRAM", stored(self.watch("", before)))
            .var("RELOAD", stored(Script::new("reload", reload)))
            .var("WORKERS", stored(Script::new("workers", "put told yes")))
            .var("RELEASE", self.path("releases/new"))
            .var("LOCK", "")
            .var("LOCK_NONCE", "");
        self.answer(&script)
    }

    fn watch(&self, now: &str, before: &str) -> Script {
        Script::new("watch", include_str!("../../src/server/watchdog/watch.sh"))
            .var("ENTRY", self.path("watchdog/new"))
            .var("NOW", now)
            .var("CURRENT", self.path("current"))
            .var("LINK", "releases/new")
            .var("BEFORE", before)
            .var("TREE", self.path("releases/old"))
            .var("NEW", self.path(".current.back"))
            .var("JOURNAL", self.path("journal/new.jsonl"))
            .var("LEDGER", self.path("ledger"))
            .var("WELL", "{\"prev\":\"@PREV@\",\"at\":\"@AT@\",\"outcome\":\"well\"}")
            .var("ILL", "{\"prev\":\"@PREV@\",\"at\":\"@AT@\",\"outcome\":\"ill\"}")
            .var("LOCK", self.path("lock"))
            .var("LOCK_NONCE", "the run")
            .var("UPTIME", self.path("uptime"))
    }

    /// A later run completes the rollback.
    fn finish(&self, before: &str) -> Script {
        Script::new("finish", include_str!("../../src/server/recovery/finish.sh"))
            .var("ENTRY", self.path("watchdog/new"))
            .var("PROGRAM", self.watch("yes", before).text("2"))
            .var("LOCK", "")
            .var("LOCK_NONCE", "")
    }

    fn confirm(&self, nonce: &str) -> std::collections::BTreeMap<String, String> {
        let script = Script::new("confirm", include_str!("../../src/server/watchdog/confirm.sh"))
            .var("CURRENT", self.path("current"))
            .var("LINK", "releases/new")
            .var("ENTRY", self.path("watchdog/new"))
            .var("NONCE", nonce)
            .var("JOURNAL", self.path("journal/new.jsonl"))
            .var("NOTE", format!("{{\"guard\":\"{nonce}\"}}"))
            .var("LOCK", "")
            .var("LOCK_NONCE", "");
        self.answer(&script)
    }

    fn live(&self) -> Option<String> {
        fs::read_link(self.path("current")).ok().map(|link| link.to_string_lossy().into_owned())
    }

    fn has(&self, state: &str) -> bool {
        Path::new(&self.path(&format!("watchdog/new.{state}"))).exists()
    }
}

#[test]
fn f86_confirming_and_going_back_cannot_both_win() {
    for round in 0..12 {
        let place = Place::new();
        place.arm("releases/old", "put reloaded yes");
        let roll_back = || place.answer(&place.watch("yes", "releases/old"))["found"].clone();
        let (confirmed, found) = std::thread::scope(|scope| {
            // One begins now and then before the other, and they take about the same time.
            let first = (round % 2 == 0).then(|| scope.spawn(roll_back));
            let confirming = scope.spawn(|| place.confirm("one")["state"] == "off");
            let going_back = first.unwrap_or_else(|| scope.spawn(roll_back));
            (confirming.join().expect("confirming"), going_back.join().expect("going back"))
        });
        assert_eq!(found, if confirmed { "none" } else { "went-back" }, "round {round}");
        let expected = if confirmed { "releases/new" } else { "releases/old" };
        assert_eq!(place.live().as_deref(), Some(expected), "round {round}");
        assert_eq!(Path::new(&place.path("ledger")).exists(), !confirmed);
    }
}

#[test]
fn f86_a_guard_is_confirmed_by_its_own_number_only() {
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    assert_eq!(place.confirm("two")["refused"], "watchdog-changed");
    assert!(place.has("armed"));
    fs::write(place.path("watchdog/new.armed/nonce"), "three\n").expect("tampering");
    assert_eq!(place.confirm("one")["refused"], "watchdog-changed");
    assert_eq!(place.confirm("three")["state"], "off");
    assert_eq!(place.live().as_deref(), Some("releases/new"));
    assert_eq!(place.confirm("one")["state"], "none");
}

#[test]
fn f86_what_is_not_live_is_not_confirmed() {
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    fs::remove_file(place.path("current")).expect("removing");
    symlink("releases/other", place.path("current")).expect("a link");
    let refused = place.confirm("one");
    assert_eq!((&*refused["refused"], &*refused["value.now"]), ("release-not-live", "releases/other"));
    assert!(place.has("armed"), "the watchdog stays");
}

/// Two runs roll back to one release, which has one name. The first stood still until the watchdog had put an end to its attempt.
#[test]
fn f86_a_run_that_wakes_up_late_leaves_what_another_run_switched_to() {
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    let back = || {
        place.answer(
            &switch_script(Path::new(&place.path("")), "releases/new", "releases/old")
                .var("MINE", place.path("watchdog/new"))
                .var("MINE_NONCE", "one")
                .var("MINE_LOCK", place.path("lock"))
                .var("MINE_LOCK_NONCE", "the run")
                .var("JOURNAL", place.path("journal/new.jsonl")),
        )
    };
    let guard = || {
        let script = Script::new("guard", include_str!("../../src/server/watchdog/guard.sh"))
            .var("ENTRY", place.path("watchdog/new"))
            .var("NONCE", "one");
        place.answer(&script)["state"].clone()
    };
    place.pass(WITHIN + 1);
    until("the server went back", PATIENCE, || place.has("reverted"));
    assert_eq!((&*guard(), place.live().as_deref()), ("reverted", Some("releases/old")));

    // Another run rolls back to the same release; its guard has the same name.
    fs::remove_file(place.path("current")).expect("removing");
    symlink("releases/new", place.path("current")).expect("a link");
    for state in ["reverted", "armed"] {
        let answer = back();
        assert_eq!((&*answer["moved"], &*answer["by-another"]), ("releases/new", "yes"), "{state}");
        assert_eq!(place.live().as_deref(), Some("releases/new"));
        fs::rename(place.path("watchdog/new.reverted"), place.path("watchdog/new.armed")).unwrap_or_default();
        fs::write(place.path("watchdog/new.armed/nonce"), "two\n").expect("another guard");
    }
    assert_eq!(guard(), "none", "that guard is another run's");

    // While this run has the lock, or its guard, what is live is its own.
    fs::create_dir(place.path("lock")).expect("a lock");
    fs::write(place.path("lock/nonce"), "the run\n").expect("its number");
    assert_eq!(back()["switched"], "yes");
    assert_eq!(place.live().as_deref(), Some("releases/old"));
}

/// What a run that needs manual action says of its watchdog.
#[test]
fn f86_the_state_of_a_watchdog_is_read_by_its_fencing_token() {
    let place = Place::new();
    let state = |token: &str| {
        let script = Script::new("guard", include_str!("../../src/server/watchdog/guard.sh"));
        let answer = place.answer(&script.var("ENTRY", place.path("watchdog/new")).var("NONCE", token));
        // Whether it had switched is known by its mark.
        let marked = ["armed", "reverting"].iter().any(|state| place.has(&format!("{state}/switched")));
        assert_eq!(answer.contains_key("switched"), token == "one" && marked, "{answer:?}");
        (answer["state"].clone(), answer["deadline"].parse::<u64>().ok())
    };
    // A run that has armed none has no token; a missing file is not its watchdog.
    assert_eq!(state(""), ("none".to_owned(), None));
    place.arm("releases/old", "refuse fpm-not-reloaded service=php9.9-fpm fault=");
    let (armed, deadline) = state("one");
    assert!(armed == "armed" && deadline.is_some_and(|deadline| deadline > 1_700_000_000), "{armed} {deadline:?}");
    assert_eq!([state("another").0, state("").0], ["none", "none"]);
    fs::write(place.path("watchdog/new.armed/switched"), "").expect("the switch");
    assert_eq!([state("one").0, state("another").0], ["armed", "none"]);
    place.pass(WITHIN + 1);
    until("the reload failed", PATIENCE, || place.has("reverting/written"));
    assert_eq!(state("one"), ("reverting".to_owned(), deadline));
}

/// A journal and a log that take nothing, as on a full disk.
#[test]
fn f86_a_full_disk_is_no_reason_not_to_go_back() {
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    for file in ["reload.answer", "workers.answer"] {
        let file = fs::metadata(place.path(&format!("watchdog/new.armed/{file}"))).expect("a file");
        assert!(file.len() == 0 && file.blocks() > 0, "it has no room of its own: {file:?}");
    }
    symlink("/dev/full", place.path("journal/new.jsonl")).expect("a journal");
    let full = fs::File::options().write(true).open("/dev/full").expect("a full disk");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-s", "n1"]).stdin(std::process::Stdio::piped()).stderr(full).stdout(std::process::Stdio::null());
    let mut shell = shell.spawn().expect("a shell");
    let mut input = shell.stdin.take().expect("its input");
    input.write_all(place.watch("yes", "releases/old").text("n1").as_bytes()).expect("the program");
    drop(input);
    shell.wait().expect("its end");
    assert_eq!(place.live().as_deref(), Some("releases/old"));
    assert_says(
        &fs::read_to_string(place.path("watchdog/new.reverted/reload.answer")).expect("an answer"),
        &["reloaded=yes"],
    );
}

impl Place {
    /// From here on no file, link or folder can be made: a program that makes one fails, and what the watchdog marks cannot be opened.
    fn runs_out_of_inodes(&self, marks: &[&str]) {
        for program in ["ln", "mkdir", "mktemp"] {
            self.program(program, "echo 'No space left on device' >&2; exit 1");
        }
        for mark in marks {
            symlink("/no/such/folder/file", self.path(&format!("watchdog/new.armed/{mark}"))).expect("a link");
        }
    }

    /// The rollback by the run that armed the watchdog.
    fn back(&self, at: &str) -> std::collections::BTreeMap<String, String> {
        self.answer(
            &switch_script(Path::new(&self.path("")), "releases/new", "releases/old")
                .var("MINE", self.path("watchdog/new"))
                .var("MINE_NONCE", "one")
                .var("MINE_LOCK", self.path("lock"))
                .var("MINE_LOCK_NONCE", "the run")
                .var("BEGINS", format!("begins at {at}"))
                .var("ENDS", format!("ends at {at}"))
                .var("JOURNAL", self.path("journal/new.jsonl")),
        )
    }
}

/// Each file takes an inode, and a server can run out of them while it has room: all that a rollback makes is made when the watchdog is armed.
#[test]
fn f86_a_server_without_a_free_inode_goes_back() {
    let place = Place::new();
    fs::write(place.path("ledger"), "").expect("a ledger");
    place.arm("releases/old", "put reloaded yes");
    place.runs_out_of_inodes(&["turning", "written"]);
    place.pass(WITHIN + 1);
    until("the server went back", PATIENCE, || place.has("reverted"));
    assert_eq!(place.live().as_deref(), Some("releases/old"));
    assert!(place.has("reverted/turning") && place.has("reverted/written"), "a later run would write a second line");
    assert_says(&fs::read_to_string(place.path("ledger")).expect("a ledger"), &["well"]);

    // So does a run, which marks that it did.
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    place.runs_out_of_inodes(&["turned"]);
    assert_eq!(place.back("one")["switched"], "yes");
    assert_eq!(place.live().as_deref(), Some("releases/old"));
    assert!(place.has("armed/turned"));

    // Before the switch it is a refusal with a name, and nothing has changed.
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    place.runs_out_of_inodes(&[]);
    let forward = switch_script(Path::new(&place.path("")), "releases/new", "releases/newer")
        .var("JOURNAL", place.path("journal/newer.jsonl"))
        .var("GUARD", place.path("watchdog/new.armed"));
    let refused = place.answer(&forward);
    assert_eq!((&*refused["refused"], &*refused["value.path"]), ("link-unwritable", &*place.path(".current.new")));
    assert_eq!(place.live().as_deref(), Some("releases/new"));
    fs::rename(place.path("watchdog/new.armed"), place.path("watchdog/new.off")).expect("disarming");
    assert_eq!(place.armed("releases/old", "put reloaded yes")["refused"], "watchdog-entry-unwritable");
}

/// The run and its watchdog share the link that was made ahead. The watchdog's time is over in the moment in which the run has chosen it.
#[test]
fn f86_a_run_and_its_watchdog_that_roll_back_at_once_both_end_well() {
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    let entry = place.path("watchdog/new");
    place.program(
        "stat",
        &format!("/usr/bin/stat \"$@\"; if [ -d {entry}.armed ]; then mv {entry}.armed {entry}.reverting; fi"),
    );
    let answer = place.back("one");
    assert!(place.has("reverting"), "the watchdog took it");
    assert_eq!(answer.get("switched").map(String::as_str), Some("yes"), "{answer:?}");
    assert_eq!(place.live().as_deref(), Some("releases/old"));

    // The other one was faster, and used the link.
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    let (link, current) = (place.path("watchdog/new.armed/back"), place.path("current"));
    place.program("stat", &format!("/usr/bin/stat \"$@\"; if [ -L {link} ]; then mv -Tf {link} {current}; fi"));
    assert_eq!(place.back("one")["switched"], "yes");
    assert_eq!(place.live().as_deref(), Some("releases/old"));
}

/// A run whose connection broke asks again. Nothing tells the second answer from that of a run which never switched, where the journal takes no
/// line, but the run's mark; without it PHP would go on with the code of the failed release.
#[test]
fn f86_a_switch_back_that_is_asked_for_twice_was_this_runs_both_times() {
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    symlink("/dev/full", place.path("journal/new.jsonl")).expect("a journal");
    for at in ["one", "two"] {
        let answer = place.back(at);
        assert_eq!((answer.get("switched").map(String::as_str), answer.get("moved")), (Some("yes"), None), "{at}");
        assert_eq!(place.live().as_deref(), Some("releases/old"));
    }
    // A run that never switched says so.
    let place = Place::new();
    fs::remove_file(place.path("current")).expect("removing");
    symlink("releases/old", place.path("current")).expect("a link");
    place.arm("releases/old", "put reloaded yes");
    assert_eq!(place.back("one")["moved"], "releases/old");
}

/// The clock of a server can be set, by a person or by NTP after a boot.
#[test]
fn f86_the_watchdog_waits_as_long_as_it_says_whatever_the_clock_does() {
    for hour in ["-3600", "+3600"] {
        let place = Place::new();
        // Before it begins, because a shell remembers where it found a program.
        let (set, naps) = (place.path("clock"), place.path("naps"));
        fs::write(&set, "+0").expect("a clock");
        place.program("date", &format!("exec /bin/date --date=\"@$(($(/bin/date +%s) $(cat {set})))\" \"$@\""));
        place.program("sleep", &format!("echo >>{naps}; exec /bin/sleep \"$@\""));
        let slept = || fs::read_to_string(&naps).map_or(0, |naps| naps.len());
        place.arm("releases/old", "put reloaded yes");
        fs::write(&set, hour).expect("a clock");
        let before = slept();
        until("it has looked at the time", PATIENCE, || slept() > before + 2);
        assert!(place.has("armed"), "{hour}: its time is not over");
        place.pass(WITHIN + 1);
        until(&format!("{hour}: it went back"), PATIENCE, || place.has("reverted"));
        assert_eq!(place.live().as_deref(), Some("releases/old"));
    }
}

/// A person or another tool may have made `current` absolute: it leads to the same release.
#[test]
fn current_means_the_same_whether_it_is_relative_or_absolute() {
    let absolute = |place: &Place, release: &str| {
        fs::remove_file(place.path("current")).expect("removing");
        symlink(place.path(&format!("releases/{release}")), place.path("current")).expect("a link");
    };
    // What a run reads.
    let place = Place::new();
    let read = || {
        let script = Script::new("current", include_str!("../../src/server/activation/current.sh"));
        place.answer(&script.var("CURRENT", place.path("current")))["current"].clone()
    };
    let mut elsewhere = vec![place.path("old"), "/".to_owned(), "old".to_owned()];
    symlink(place.path(""), place.path("releases/base")).expect("another way to the base");
    for link in [
        "releases/old",
        "./releases/old",
        "releases//old/",
        &place.path("releases/old"),
        &place.path("releases/base/releases/old/"),
    ] {
        fs::remove_file(place.path("current")).expect("removing");
        symlink(link, place.path("current")).expect("a link");
        assert_eq!(read(), "releases/old", "{link}");
    }
    elsewhere.push(place.path("releases/old/public"));
    for link in &elsewhere {
        fs::remove_file(place.path("current")).expect("removing");
        symlink(link, place.path("current")).expect("a link");
        assert_eq!(&read(), link);
    }

    // The switch away from it, and the way back.
    absolute(&place, "new");
    place.arm("releases/old", "put reloaded yes");
    let forward = switch_script(Path::new(&place.path("")), "releases/new", "releases/old");
    assert_eq!(place.answer(&forward)["switched"], "yes");
    absolute(&place, "new");
    assert_eq!(place.back("one")["switched"], "yes");
    absolute(&place, "old");
    assert_eq!(place.back("two")["switched"], "yes", "it was this run's");

    // The confirmation.
    let place = Place::new();
    absolute(&place, "new");
    place.arm("releases/old", "put reloaded yes");
    assert_eq!(place.confirm("one")["state"], "off");

    // The watchdog, and what an entry of an earlier version names.
    for before in ["releases/old".to_owned(), "absolute".to_owned()] {
        let place = Place::new();
        absolute(&place, "new");
        let before = if before == "absolute" { place.path("releases/old") } else { before };
        place.arm(&before, "put reloaded yes");
        place.pass(WITHIN + 1);
        until("the server went back", PATIENCE, || place.has("reverted"));
        assert_eq!(
            fs::canonicalize(place.path("current")).expect("current"),
            Path::new(&place.path("releases/old")).canonicalize().expect("old")
        );
    }
    let place = Place::new();
    absolute(&place, "old");
    place.arm(&place.path("releases/old"), "put reloaded yes");
    fs::write(place.path("watchdog/new.armed/switched"), "").expect("the switch");
    place.pass(WITHIN + 1);
    until("the server has reloaded", PATIENCE, || place.has("reverted"));
}

/// The site is whole once it was reloaded. What is missing is a line, and it comes when the ledger takes one.
#[test]
fn f86_f89_a_ledger_that_takes_no_line_keeps_nothing_from_going_back() {
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    symlink("/no/such/folder/ledger", place.path("ledger")).expect("a ledger that cannot be made");
    place.pass(WITHIN + 1);
    until("the server has reloaded and closed its answer", PATIENCE, || {
        fs::read_to_string(place.path("watchdog/new.reverting/answer")).is_ok_and(|answer| answer.contains("end="))
    });
    assert_eq!(place.live().as_deref(), Some("releases/old"));
    assert_says(
        &fs::read_to_string(place.path("watchdog/new.reverting/answer")).expect("its answer"),
        &["unrecorded=ledger-unwritable", "found=unrecorded"],
    );
    let again = place.answer(&place.finish("releases/old"));
    assert_eq!(
        (&*again["found"], &*again["unrecorded"], again.get("refused")),
        ("unrecorded", "ledger-unwritable", None)
    );
    // Nor is the entry closed without the line by a run that found the reload unnecessary.
    let close = Script::new("rolled-back", include_str!("../../src/server/recovery/rolled-back.sh"))
        .var("ENTRY", place.path("watchdog/new"))
        .var("LOCK", "")
        .var("LOCK_NONCE", "");
    place.answer(&close);
    assert!(place.has("reverting"));
    fs::remove_file(place.path("ledger")).expect("repairing");
    assert_eq!(place.answer(&place.finish("releases/old"))["found"], "went-back");
    assert_eq!(fs::read_to_string(place.path("ledger")).expect("a ledger").lines().count(), 1);
}

#[test]
fn f86_a_first_release_that_nobody_confirms_is_taken_off() {
    let place = Place::new();
    place.arm("", "put reloaded yes");
    place.pass(WITHIN + 1);
    until("it is gone", PATIENCE, || place.has("reverted"));
    assert_eq!(place.live(), None);
    assert_says(&fs::read_to_string(place.path("ledger")).expect("a ledger"), &[&"0".repeat(64), "well"]);
}

/// The run that armed it was killed: the next one is not refused for the rest of its lease.
#[test]
fn fd38_after_the_watchdog_rolled_back_the_lock_of_its_run_can_be_taken_over() {
    for (nonce, free) in [("the run", true), ("another run", false)] {
        let place = Place::new();
        fs::create_dir_all(place.path("lock")).expect("a lock");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
        for (name, text) in
            [("nonce", nonce), ("owner", "run one"), ("lease", "600"), ("renewed", &(now + WITHIN).to_string())]
        {
            fs::write(place.path(&format!("lock/{name}")), format!("{text}\n")).expect("a file");
        }
        place.arm("releases/old", "put reloaded yes");
        let lock = || {
            let script = Script::new("lock", include_str!("../../src/server/lock/lock.sh"))
                .var("STATE", place.path(""))
                .var("JOBS", place.path("jobs"))
                .var("LOCK", place.path("lock"))
                .var("OWNER", "run two")
                .var("NONCE", "two")
                .var("ENVIRONMENT", "staging")
                .var("LEASE", "60")
                .var("RELEASE", "newer")
                .var("MAKES", "newer")
                .var("BEGUN", "")
                .var("OWN", "");
            place.answer(&script).contains_key("taken")
        };
        assert!(!lock(), "its lease is not over");
        place.pass(WITHIN + 1);
        until("it is gone", PATIENCE, || place.has("reverted"));
        until("the watchdog has ended", PATIENCE, || {
            place.answer(&place.watch("yes", "releases/old"))["found"] == "none"
        });
        let holder = gated_deploy::server::lock::Holder::read(&gated_deploy::transport::shell::Answer::new(
            place
                .answer(
                    &Script::new("holder", include_str!("../../src/server/lock/holder.sh"))
                        .var("LOCK", place.path("lock")),
                )
                .into_iter()
                .collect(),
        ));
        assert_eq!(holder.map(|holder| holder.gone), Some(free), "{nonce}: what a plan sees");
        assert_eq!(lock(), free, "{nonce}");
    }
}

#[test]
fn f86_a_release_that_somebody_replaced_is_left_alone() {
    let place = Place::new();
    fs::remove_file(place.path("current")).expect("removing");
    symlink("releases/other", place.path("current")).expect("a link");
    place.arm("releases/old", "put reloaded yes");
    place.pass(WITHIN + 1);
    until("the guard is closed", PATIENCE, || !place.has("armed") && !place.has("reverting"));
    assert_eq!(place.live().as_deref(), Some("releases/other"));
    assert!(!Path::new(&place.path("ledger")).exists());
}

#[test]
fn f86_going_back_is_taken_up_where_it_was_cut_off() {
    let place = Place::new();
    place.arm("releases/old", "refuse fpm-not-reloaded service=php9.9-fpm fault='zz-other.conf:2: no\naccount'");
    place.pass(WITHIN + 1);
    until("the reload failed", PATIENCE, || place.has("reverting/written"));
    assert_eq!(place.live().as_deref(), Some("releases/old"));
    assert_says(&fs::read_to_string(place.path("ledger")).expect("a ledger"), &["ill"]);

    // The server stays as it is until the reload works; a second line is not written.
    let unfinished = place.answer(&place.finish("releases/old"));
    assert_eq!((&*unfinished["found"], &*unfinished["end"]), ("not-reloaded", "1:0"));
    assert_eq!(unfinished["reload-refused"], "fpm-not-reloaded");
    assert_eq!(unfinished["reload-value.service"], "php9.9-fpm");
    assert_eq!(unfinished["reload-value.fault"], "zz-other.conf:2: no\naccount");
    // What an earlier attempt refused is not the cause of this one.
    fs::write(place.path("watchdog/new.reverting/reload"), "exit 1\n").expect("another fault");
    let unfinished = place.answer(&place.finish("releases/old"));
    assert_eq!((&*unfinished["found"], unfinished.get("reload-refused")), ("not-reloaded", None), "{unfinished:?}");
    fs::write(place.path("watchdog/new.reverting/reload"), "exit 0\n").expect("repairing");
    assert_eq!(place.answer(&place.finish("releases/old"))["found"], "went-back");
    assert_eq!(fs::read_to_string(place.path("ledger")).expect("a ledger").lines().count(), 1);
}

#[test]
fn f86_what_the_server_refuses_while_it_goes_back_comes_to_the_run_that_asked_for_it() {
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    fs::remove_dir_all(place.path("releases/old")).expect("somebody removes it");
    let refused = place.answer(&place.finish("releases/old"));
    assert_eq!((&*refused["refused"], &*refused["end"]), ("previous-release-missing", "1:10"));
    assert_eq!(refused["value.path"], place.path("releases/old"));
    assert_eq!(refused["value.entry"], place.path("watchdog/new.reverting"));
    // One that ends without an answer is no rollback.
    let silent = place.answer(&place.finish("releases/old").var("PROGRAM", "exit 1"));
    assert_eq!(silent["refused"], "recovery-incomplete");
}

#[test]
fn f86_a_run_that_pointed_back_and_died_before_its_reload_is_finished_by_the_server() {
    let place = Place::new();
    place.arm("releases/old", "put reloaded yes");
    // As the switch does it, and then its undo, which got no further.
    fs::write(place.path("watchdog/new.armed/switched"), "").expect("the switch");
    fs::remove_file(place.path("current")).expect("removing");
    symlink("releases/old", place.path("current")).expect("a link");
    place.pass(WITHIN + 1);
    until("the server has reloaded", PATIENCE, || place.has("reverted"));
    assert!(place.has("reverted/reload.answer"), "without it PHP goes on serving the new code");
    assert_says(&fs::read_to_string(place.path("ledger")).expect("a ledger"), &["well"]);
}

#[test]
fn f86_a_switch_that_comes_too_late_is_refused() {
    let place = Place::new();
    let switch = |guard: &str| {
        answer(
            &switch_script(Path::new(&place.path("")), "releases/new", "releases/newer")
                .var("JOURNAL", place.path("journal/newer.jsonl"))
                .var("GUARD", guard),
        )
    };
    assert_eq!(switch(&place.path("watchdog/newer.armed"))["refused"], "switch-too-late");
    assert_eq!(place.live().as_deref(), Some("releases/new"));
    fs::create_dir_all(place.path("watchdog/newer.armed")).expect("a guard");
    assert_eq!(switch(&place.path("watchdog/newer.armed"))["switched"], "yes");
}
