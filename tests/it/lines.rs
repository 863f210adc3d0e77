//! Lines that drop: the work on the server goes on, and is done once (F39).

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use gated_deploy::transport::shell::Script;
use gated_deploy_lab::{
    app::{self, TempTree, Variant},
    runner::{Runner, Signal},
    server::SEED_RELEASE,
    story::{Story, commit},
};

use crate::{
    failures::{answer, answers, switch_script},
    plan::migration,
    recover::recover,
    support::{assert_ended, assert_says, output, story},
};

const BASE: &str = "/var/www/staging";
const STATE: &str = "/var/www/staging/.gated-deploy";
/// A machine that others keep busy takes a minute for what takes seconds here.
const PATIENCE: Duration = Duration::from_secs(300);

/// Ends the server's process for each connection of the deploy user; what runs on them lives on, as it does when a line breaks.
const DROP: &str = "pkill -KILL -u deploy -f '[s]shd: deploy@'";

#[track_caller]
fn on(story: &Story, script: &str) -> String {
    story.lab.exec(script).expect("a command on the server").trim().to_owned()
}

/// Puts a program in front of one of the server's own: `script` runs first, and ends with calling the real one.
#[track_caller]
fn in_front_of(story: &Story, program: &str, script: &str) {
    let text = format!("#!/bin/sh\n{script}\nexec /usr/bin/{program} \"$@\"\n");
    on(story, &format!("cat >/usr/local/bin/{program} <<'END'\n{text}END\nchmod 755 /usr/local/bin/{program}"));
}

#[track_caller]
fn ship(story: &Story, commit: &str, tree: &TempTree) {
    story.publish(&story.build(commit, tree).expect("the build")).expect("the artifact");
}

/// Nothing is taken from the live release: there is a bundle to be sent.
fn whole(story: &Story, commit: &str) -> Runner {
    story.staging(commit).input("delivery", "full")
}

/// Bytes that no compression makes fewer.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// What no run may leave: a lock, a job, an upload, half a backup.
#[track_caller]
fn assert_in_order(story: &Story) {
    let left = on(
        story,
        &format!(
            "cd {STATE}; ls -A -d lock* 2>/dev/null; ls -A jobs incoming watchdog 2>/dev/null; ls -A ../backups | grep part; true"
        ),
    );
    let names: Vec<&str> = left.lines().filter(|line| !line.is_empty() && !line.ends_with(':')).collect();
    assert!(names.is_empty(), "left over: {left}");
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The connection breaks in the middle of the dump, the upload, the unpacking and the migration, and right after the guard was armed,
/// the link was switched and the release was confirmed, before anybody heard of it.
#[test]
fn f39_a_release_goes_live_over_a_line_that_breaks_again_and_again() {
    let story = story();
    let commit = commit("over a bad line");
    let tree = app::source(&commit, Variant::Healthy).expect("a tree");
    tree.write("public/film.bin", noise(40_000_000)).expect("a big file");
    let migration = format!(
        "<?php\n\nreturn new class extends Illuminate\\Database\\Migrations\\Migration\n{{\n    public function up()\n    {{\n        \
         if (Illuminate\\Support\\Facades\\DB::connection()->pretending()) {{ return; }}\n        \
         file_put_contents('/tmp/migrated', \"x\\n\", FILE_APPEND);\n        echo \"the migration begins\\n\";\n        usleep(300000);\n        \
         shell_exec(\"{DROP}\");\n        sleep(3);\n        echo \"the migration ends\\n\";\n    }}\n}};\n"
    );
    tree.write("database/migrations/2024_03_01_090000_takes_its_time.php", migration).expect("a slow migration");
    ship(&story, &commit, &tree);
    let secret = on(&story, &format!("sed -n 's/^DB_PASSWORD=//p' {BASE}/shared/.env/staging.env"));
    let word = secret.trim_end_matches('"').rsplit(' ').next().expect("a word").to_owned();
    in_front_of(
        &story,
        "mariadb-dump",
        &format!("echo x >>/tmp/dumped; sleep 0.3; {DROP}; sleep 2; cp -r {STATE}/jobs /tmp/jobs"),
    );
    in_front_of(
        &story,
        "tar",
        &format!("case \" $* \" in *' -xzf '*) echo x >>/tmp/unpacked; sleep 0.3; {DROP}; sleep 2 ;; esac"),
    );
    // After the real one has done it.
    in_front_of(
        &story,
        "mv",
        &format!(
            "case \"$*\" in *.new\\ *.armed | '-Tf '*/current | *.armed\\ *.off) /usr/bin/mv \"$@\" || exit; echo x >>/tmp/moved; {DROP}; exit 0 ;; esac"
        ),
    );
    on(
        &story,
        &format!(
            "setsid sh -c 'until [ \"$(stat -c %s {STATE}/incoming/*.tar.gz 2>/dev/null || echo 0)\" -gt 2000000 ]; do sleep 0.005; done; {}' \
             </dev/null >/dev/null 2>&1 &",
            DROP.replace('\'', "\"")
        ),
    );

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    assert_eq!(story.served().expect("the site"), commit);
    for work in ["dumped", "unpacked", "migrated"] {
        assert_eq!(on(&story, &format!("cat /tmp/{work}")), "x", "{work} once");
    }
    assert_eq!(on(&story, "cat /tmp/moved"), "x\nx\nx", "armed, switched and confirmed, each once");
    for line in ["dumping the database lab_staging", "the migration begins", "the migration ends"] {
        assert_eq!(count(&finished.raw_log, line), 1, "`{line}` in:\n{}", finished.raw_log);
    }
    assert!(count(&finished.raw_log, "the connection broke") >= 7, "each drop is told:\n{}", finished.raw_log);
    let (_, rest) = finished.raw_log.split_once("the upload resumes at ").expect("the upload went on");
    let numbers: Vec<u64> = rest.split(' ').filter_map(|word| word.parse().ok()).take(2).collect();
    assert!(numbers[0] > 2_000_000 && numbers[0] < numbers[1], "{numbers:?}");
    assert_in_order(&story);
    let journal = on(&story, &format!("cat {STATE}/journal/{}.jsonl", output(&finished, "release")));
    for event in ["\"switching\"", "\"switched\"", "\"confirmed\"", "\"uploading\""] {
        assert_eq!(count(&journal, event), 1, "{event} in:\n{journal}");
    }
    // What lay on the disk while the dump ran, when the password was in the shell's memory.
    let lay = on(&story, "cat /tmp/jobs/*/log; stat -c '%a %F' /tmp/jobs; cat /tmp/jobs/*/answer | tr '\\0' '\\n'");
    assert_says(&lay, &["dumping the database", "700 directory", "app.tar.gz"]);
    assert!(!lay.contains(&word) && !lay.contains(&story.staging_site().health_token), "a secret lay on the disk");
}

/// First the tunnel goes with its connection, right after the switch; then the server forwards nothing any more from there on.
#[test]
fn fd8_a_healthy_release_behind_a_tunnel_stays_live_when_the_tunnel_does_not() {
    let story = story();
    let after_switch = |script: &str| {
        let script = format!(
            "case \"$*\" in '-Tf '*/current) /usr/bin/mv \"$@\" || exit; echo x >>/tmp/switched; {script}; exit 0 ;; esac"
        );
        in_front_of(&story, "mv", &script);
    };
    let release = |title: &str| {
        let commit = commit(title);
        story.ship(&commit, Variant::Healthy).expect("the build");
        let runner = story.staging(&commit).input("health-via", "tunnel").input("health-address", "127.0.0.1:80");
        let finished = runner.run_binary(story.binary());
        (commit, finished)
    };

    after_switch(DROP);
    let (first, finished) = release("over a line that breaks");
    assert_ended(&finished, 0, "live");
    assert_eq!((story.served().expect("the site"), output(&finished, "downtime-ms")), (first, "0"));
    assert_says(&finished.log, &["the connection broke"]);

    let forbid = "sed -i 's/^ssh-/no-port-forwarding ssh-/' /home/deploy/.ssh/authorized_keys";
    after_switch(&format!("{forbid}; {DROP}"));
    let (second, finished) = release("without a tunnel");
    assert_ended(&finished, 0, "live");
    assert_eq!((story.served().expect("the site"), output(&finished, "downtime-ms")), (second.clone(), "0"));
    let from = "asked on the server itself, because: the SSH server forwards no connection to 127.0.0.1:80";
    assert_says(&finished.log, &[&format!("3/3, answered as {second}, {from}"), "did not reach the site"]);
    assert_says(&finished.summary, &[from]);
    assert_eq!(on(&story, "cat /tmp/switched"), "x\nx", "each release was switched to once");

    // What is known before the release is refused before it.
    let (_, finished) = release("never begun");
    assert_ended(&finished, 5, "failed");
    assert_says(&finished.log, &["the SSH server forwards no connection", "Set `AllowTcpForwarding local`"]);
    assert_in_order(&story);
}

/// The server allows one session, which the migration's has. Both runs lose it for longer than was left of the lease.
#[test]
fn fd36_fd37_a_long_migration_keeps_its_lock_through_an_outage_beside_a_run_that_waits_for_it() {
    let story = story();
    on(
        &story,
        "echo 'MaxSessions 1' >/etc/ssh/sshd_config.d/one.conf; service ssh restart; sshd -T | grep -i '^maxsessions 1$'",
    );
    let commit = commit("through an outage");
    let tree = app::source(&commit, Variant::Healthy).expect("a tree");
    let waits = "touch('/tmp/inside'); while (! file_exists('/tmp/go')) { usleep(100000); clearstatcache(); }";
    tree.write("database/migrations/2031_01_01_000000_long.php", migration(waits)).expect("a long migration");
    ship(&story, &commit, &tree);
    let first = story.staging(&commit).spawn_binary(story.binary());
    until("the migration runs", || on(&story, "ls /tmp").contains("inside"));
    let second = recover(&story).input("lock-wait", "10m").spawn_binary(story.binary());
    second.wait_for_line("waiting up to 600 s for run https://", PATIENCE);

    let renewed = format!("{STATE}/lock/renewed");
    let left = format!("echo $(($(date +%s) - $(cat {STATE}/lock/lease) + 40)) | tee {renewed}");
    let before = on(&story, &format!("service ssh stop >&2; {DROP}; {left}"));
    until("the server renews the lease by itself", || on(&story, &format!("cat {renewed}")) != before);
    on(&story, "service ssh start; touch /tmp/go");

    let (first, second) = (first.wait(), second.wait());
    assert_ended(&first, 0, "live");
    assert_says(&first.log, &["the connection broke"]);
    assert_ended(&second, 0, "passed");
    assert_says(&second.log, &["no leftovers"]);
    assert!(!second.log.contains("took over the deploy lock"), "{}", second.log);
    assert_eq!(story.served().expect("the site"), commit);
    assert_eq!(on(&story, &format!("grep -c . {STATE}/ledger.jsonl")), "1");
    assert_in_order(&story);
}

/// As after a reboot in the middle of the dump: nothing is left that could answer.
#[test]
fn f39_work_that_was_lost_with_its_line_is_told_and_nothing_stays() {
    let story = story();
    let commit = commit("lost on the way");
    story.ship(&commit, Variant::Healthy).expect("the build");
    in_front_of(
        &story,
        "mariadb-dump",
        &format!("echo x >>/tmp/dumped; sleep 0.3; {DROP}; kill -s KILL -- -\"$(ps -o pgid= -p $$ | tr -d ' ')\""),
    );

    let finished = story.deploy(&commit);

    assert_ended(&finished, 5, "failed");
    assert_says(&finished.log, &["the connection broke", "ended without an answer", "may be complete or not"]);
    assert_eq!(on(&story, "cat /tmp/dumped"), "x", "it was not begun again");
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    assert_in_order(&story);
}

#[test]
fn f39_a_cancelled_run_ends_what_it_was_attached_to_again() {
    let story = story();
    let commit = commit("cancelled on its second line");
    story.ship(&commit, Variant::Healthy).expect("the build");
    in_front_of(&story, "mariadb-dump", &format!("sleep 0.3; {DROP}; sleep 1; echo attached >&2; sleep 605.25"));
    let running = story.staging(&commit).unhurried().spawn_binary(story.binary());
    running.wait_for_line("attached", PATIENCE);

    running.signal(Signal::INT);
    let finished = running.wait();

    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &["the connection broke", "cancelled"]);
    until("the dump was ended on the server", || on(&story, "pgrep -f 'sleep 605[.]25' || true").is_empty());
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    assert_in_order(&story);
}

/// A run that is killed while it unpacks what it has sent, and whose lease is over; gives its release.
fn dead_while_unpacking(story: &Story, commit: &str) -> String {
    story.ship(commit, Variant::Healthy).expect("the build");
    in_front_of(
        story,
        "tar",
        "case \" $* \" in *' -xzf '*) echo x >>/tmp/unpacked; [ \"$(wc -l </tmp/unpacked)\" -gt 1 ] || sleep 606.25 ;; esac",
    );
    let running = whole(story, commit).spawn_binary(story.binary());
    until("it unpacks", || on(story, "cat /tmp/unpacked 2>/dev/null || true") == "x");
    running.signal(Signal::KILL);
    running.wait();
    assert!(!on(story, "pgrep -f 'sleep 606[.]25' || true").is_empty(), "its work goes on without it");
    on(story, &format!("echo 1000 > {STATE}/lock/renewed"));
    on(story, &format!("cat {STATE}/lock/makes"))
}

/// What it had at work ends before anybody else works there; what it had sent is not sent again.
#[test]
fn f39_a_run_that_follows_a_dead_one_ends_its_work_and_takes_over_its_upload() {
    let story = story();
    let commit = commit("tried twice");
    let dead = dead_while_unpacking(&story, &commit);

    let finished = whole(&story, &commit).run_attempt(2).run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert_says(
        &finished.log,
        &[
            "which an interrupted run had left running on the server",
            &format!("resumed from {STATE}/journal/{dead}.jsonl"),
            "MB of it uploaded before",
        ],
    );
    assert_eq!(on(&story, "pgrep -f 'sleep 606[.]25' || true"), "", "it was ended");
    assert_says(
        &on(&story, &format!("cat {STATE}/journal/{}.jsonl", output(&finished, "release"))),
        &[&format!("\"event\":\"resumed\",\"from\":\"{dead}\"")],
    );
    assert_eq!(on(&story, &format!("ls {BASE}/releases")), format!("{SEED_RELEASE}\n{}", output(&finished, "release")));
    assert_in_order(&story);
}

/// The beginning of an upload is believed only once the whole has the right digest.
#[test]
fn f27_what_a_dead_run_had_sent_and_somebody_damaged_is_sent_again() {
    let story = story();
    let commit = commit("damaged on the disk");
    let dead = dead_while_unpacking(&story, &commit);
    let sent = format!("{STATE}/incoming/{dead}.tar.gz");
    on(&story, &format!("truncate -s 100000 {sent}; printf X | dd of={sent} bs=1 seek=50000 conv=notrunc status=none"));

    let finished = whole(&story, &commit).run_attempt(2).run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    let resumed = format!("resumed from {STATE}/journal/{dead}.jsonl");
    assert_says(
        &finished.log,
        &[&resumed, "the uploaded part does not match the bundle", "uploading the whole bundle again"],
    );
    assert_eq!(story.served().expect("the site"), commit);
    assert_in_order(&story);
}

// The scripts that change something in a moment, asked twice. They run here, in a folder of their own.

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        for folder in ["releases/old", "releases/new", "state/journal", "state/incoming"] {
            fs::create_dir_all(place.0.path().join(folder)).expect("a folder");
        }
        std::os::unix::fs::symlink("releases/old", place.0.path().join("current")).expect("current");
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path").to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn live(&self) -> String {
        fs::read_link(self.path("current")).expect("current").to_string_lossy().into_owned()
    }

    fn switch(&self, from: &str, to: &str, event: &str) -> Script {
        switch_script(Path::new(&self.path("")), from, to)
            .var("JOURNAL", self.path("state/journal/new.jsonl"))
            .var("BEGINS", format!("{event} begins"))
            .var("ENDS", format!("{event} ends"))
    }

    fn unlock(&self, nonce: &str, keep: &str) -> BTreeMap<String, String> {
        answer(
            &Script::new("unlock", include_str!("../../src/server/lock/unlock.sh"))
                .var("LOCK", self.path("state/lock"))
                .var("NONCE", nonce)
                .var("KEEP", keep)
                .var("UNRECORDED", ""),
        )
    }

    fn lock(&self, nonce: &str) -> BTreeMap<String, String> {
        self.lock_records(nonce).into_iter().collect()
    }

    fn lock_records(&self, nonce: &str) -> Vec<(String, String)> {
        answers(
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
                .var("OWN", ""),
        )
    }

    fn incoming(&self, release: &str, digest: &str) -> BTreeMap<String, String> {
        answer(
            &Script::new("incoming", include_str!("../../src/server/release_dir/incoming.sh"))
                .var("PLACE", self.path("state/incoming"))
                .var("FILE", self.path(&format!("state/incoming/{release}.tar.gz")))
                .var("RELEASE", release)
                .var("JOURNALS", self.path("state/journal"))
                .var("DIGEST", digest)
                .var("BEGINS", format!("{{\"event\":\"uploading\",\"sha256\":\"{digest}\",\"to\":\"{release}\"}}"))
                .var("LOCK", "")
                .var("LOCK_NONCE", ""),
        )
    }

    fn has_upload(&self, release: &str) -> bool {
        Path::new(&self.path(&format!("state/incoming/{release}.tar.gz"))).exists()
    }
}

#[test]
fn f39_a_switch_that_was_not_heard_of_can_be_asked_for_again() {
    let place = Place::new();
    let there = place.switch("releases/old", "releases/new", "switch");
    for _ in 0..2 {
        assert_eq!(answer(&there)["switched"], "yes");
        assert_eq!(
            (place.live().as_str(), place.read("state/journal/new.jsonl").as_str()),
            ("releases/new", "switch begins\nswitch ends\n")
        );
    }
    // Somebody else's switch to the same release is not this one.
    assert_eq!(answer(&place.switch("releases/old", "releases/new", "other"))["moved"], "releases/new");
    let back = place.switch("releases/new", "releases/old", "back");
    for _ in 0..2 {
        assert_eq!(answer(&back)["switched"], "yes");
        assert_eq!(place.live(), "releases/old");
    }
    // It came to its first line only.
    let place = Place::new();
    fs::write(place.path("state/journal/new.jsonl"), "switch begins\n").expect("a journal");
    assert_eq!(answer(&place.switch("releases/old", "releases/new", "switch"))["switched"], "yes");
    assert_eq!(place.read("state/journal/new.jsonl"), "switch begins\nswitch ends\n");
}

#[test]
fn f39_a_lock_that_was_not_heard_of_is_ours() {
    let place = Place::new();
    assert_eq!(place.lock("one")["taken"], "yes");
    fs::write(place.path("state/lock/renewed"), "1000\n").expect("a lease that is over");
    for _ in 0..2 {
        let answer = place.lock("two");
        assert_eq!((answer["taken"].as_str(), answer["took-over"].trim()), ("yes", "run one"));
        assert_eq!((answer["dead-release"].as_str(), answer["dead-begun"].as_str()), ("release-one", "attempt one"));
    }
    assert_eq!(place.lock("three")["held"], "run two");
    assert_eq!(
        fs::read_dir(place.path("state")).expect("the state").count(),
        4,
        "journal, incoming, lock, environment"
    );
}

/// Whoever took over a dead run's lock may fail, die or be stuck before that run's remains are dealt with: they are never forgotten.
#[test]
fn f15_what_a_dead_run_left_is_known_until_it_is_brought_to_its_end() {
    let place = Place::new();
    let of_the_dead = |answers: &[(String, String)]| -> Vec<String> {
        answers.iter().filter(|(key, _)| key == "dead-release").map(|(_, release)| release.clone()).collect()
    };
    let dies = || fs::write(place.path("state/lock/renewed"), "1000\n").expect("a lease that is over");
    place.lock("one");
    dies();
    assert_eq!(of_the_dead(&place.lock_records("two")), ["release-one"]);
    // It fails, and frees the lock.
    assert_eq!(place.unlock("two", "")["found"], "ours");
    assert!(!Path::new(&place.path("state/lock")).exists());
    assert_eq!(of_the_dead(&place.lock_records("three")), ["release-one"]);
    // It dies.
    dies();
    assert_eq!(of_the_dead(&place.lock_records("four")), ["release-three", "release-one"]);
    // It is stuck, and a person removes its lock.
    assert_eq!(place.unlock("four", "yes")["found"], "kept");
    fs::remove_dir_all(place.path("state/lock")).expect("the lock");
    assert_eq!(of_the_dead(&place.lock_records("five")), ["release-three", "release-one"]);
    // It brings it to its end.
    answer(
        &Script::new("recovered", include_str!("../../src/server/recovery/recovered.sh"))
            .var("LOCK", place.path("state/lock"))
            .var("LOCK_NONCE", "five"),
    );
    assert_eq!(place.unlock("five", "")["found"], "ours");
    assert_eq!(of_the_dead(&place.lock_records("six")), [""; 0]);
}

#[test]
fn f39_an_upload_is_taken_over_only_if_it_is_of_the_same_bundle_and_of_today() {
    let place = Place::new();
    let sent = |release: &str, digest: &str| {
        place.incoming(release, digest);
        fs::write(place.path(&format!("state/incoming/{release}.tar.gz")), release).expect("a part");
    };
    sent("1-older", "aa");
    fs::write(place.path("state/incoming/0-nobodys.tar.gz"), "somebody put it there").expect("a file");
    // Two of the same bundle, where a run died twice: the newer one counts.
    fs::write(place.path("state/incoming/2-newer.tar.gz"), "2-newer").expect("a part");
    fs::copy(place.path("state/journal/1-older.jsonl"), place.path("state/journal/2-newer.jsonl")).expect("a journal");
    for _ in 0..2 {
        let answer = place.incoming("3-same", "aa");
        assert_eq!(answer["resumed"], place.path("state/journal/2-newer.jsonl"));
        assert_eq!(place.read("state/incoming/3-same.tar.gz"), "2-newer");
    }
    assert!(!place.has_upload("1-older") && !place.has_upload("2-newer"), "the newest only");

    assert!(!place.incoming("4-other", "bb").contains_key("resumed"), "of another bundle");
    assert!(!place.has_upload("3-same") && !place.has_upload("4-other"), "it is removed");

    sent("5-old", "cc");
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(25 * 3600);
    fs::File::options()
        .write(true)
        .open(place.path("state/incoming/5-old.tar.gz"))
        .and_then(|file| file.set_modified(yesterday))
        .expect("a time");
    assert!(!place.incoming("6-late", "cc").contains_key("resumed"), "of yesterday");
    assert!(!place.has_upload("5-old") && place.has_upload("0-nobodys"), "only what a journal names is removed");
}
