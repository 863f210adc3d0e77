//! A run that somebody or something ended, and who brings to its end what it began: the post step, `stage: recover`, the next run.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use gated_deploy::transport::shell::Script;
use gated_deploy_lab::{
    app::Variant,
    github::{Phase, Run},
    runner::{Finished, Runner, Running, Signal},
    server::{SEED_COMMIT, SEED_RELEASE},
    story::{Story, commit, green_run},
};

use crate::{
    failures::answer,
    support::{BINARY, assert_ended, assert_says, output, story},
    watchdog::{guards, ledger, on_server, time_passes, until},
};

/// A machine that others keep busy takes a minute for what takes seconds here.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long after its first signal the runner sends the second one.
const SECOND_SIGNAL: Duration = Duration::from_millis(7500);
const STATE: &str = "/var/www/staging/.gated-deploy";
const POST: &str = "gated-deploy-post";

/// The step `stage: recover` for staging: no phrase, no commit and no GitHub.
pub(crate) fn recover(story: &Story) -> Runner {
    let here = ["approval", "github-token", "build-wait-attempts", "build-wait-interval"];
    let inputs = story.staging_inputs().into_iter().filter(|(name, _)| !here.contains(name));
    let runner =
        story.runner(&commit("recovering")).secret(story.lab.private_key()).secret(&story.staging_site().health_token);
    inputs
        .fold(runner, |runner, (name, value)| runner.input(name, &value))
        .input("stage", "recover")
        .input("environment", "staging")
        .run_id(99_001)
}

/// A release that was switched to, seen right after its reload.
pub(crate) fn switched(story: &Story, word: &str) -> (String, Running) {
    let commit = commit(word);
    story.ship(&commit, Variant::Healthy).expect("the build");
    let running =
        story.staging(&commit).input("grace-period", "25s").input("confirm-within", "5m").spawn_binary(story.binary());
    running.wait_for_line("17 Reload PHP-FPM and nginx: ", PATIENCE);
    assert_eq!(story.served().expect("the site"), commit, "the new release is live");
    (commit, running)
}

/// A main step as if it had left this state.
fn left(mut main: Finished, state: &[(&str, &str)]) -> Finished {
    main.state = state.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    main
}

/// Everything that only exists while a run is at work.
#[track_caller]
fn assert_nothing_is_left(story: &Story, commit: &str) {
    let left = on_server(
        story,
        "cd /var/www/staging; ls -d .current.* releases/*/public/gated-deploy-* backups/*.part .gated-deploy/incoming/* .gated-deploy/lock* \
         .gated-deploy/watchdog/*.armed .gated-deploy/watchdog/*.reverting .gated-deploy/watchdog/*.finish 2>/dev/null; ls releases",
    );
    assert!(!left.contains('.') && !left.contains(&commit[..8]), "{left}");
}

/// The site as it was before the run.
#[track_caller]
fn assert_as_before(story: &Story) {
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    assert_eq!(story.served().expect("the site"), SEED_COMMIT);
}

#[test]
fn f86_what_a_killed_run_left_is_taken_back_by_recover_and_only_then() {
    let story = story();
    let (dead, running) = switched(&story, "killed for good");
    running.signal(Signal::KILL);
    // A reboot ends the watcher as well: nobody on the server goes back.
    on_server(&story, "pkill -KILL -f '[w]atchdog/.*/program'");
    let main = running.wait();
    assert_eq!(main.state["phase"], "switched", "written before the switch: {:?}", main.state);
    assert!(main.state["release"].ends_with(&dead[..8]), "{:?}", main.state);

    // Its lease is not over: it could be at work.
    let refused = recover(&story).run_binary(story.binary());
    assert_ended(&refused, 1, "refused");
    assert_says(&refused.log, &["it is still running: run https://github.com/acme/shop/actions/runs/30433642"]);
    assert_eq!(story.served().expect("the site"), dead);

    time_passes(&story);
    let plan = recover(&story).input("plan-only", "true").run_binary(story.binary());
    assert_ended(&plan, 0, "planned");
    assert_says(
        &plan.log,
        &["take over the deploy lock of run https://", &format!("to releases/{SEED_RELEASE}, reload"), "remove "],
    );
    assert_eq!(story.served().expect("the site"), dead, "a plan changes nothing");

    // As it lies there when a run has taken that lock over, failed, and given it on.
    on_server(&story, &format!("mv {STATE}/lock {STATE}/lock.dead"));
    let plan = recover(&story).input("plan-only", "true").run_binary(story.binary());
    assert_says(&plan.log, &["complete the recovery of run https://github.com/acme/shop/actions/runs/30433642"]);

    let finished = recover(&story).run_binary(story.binary());
    assert_ended(&finished, 3, "rolled-back");
    assert_says(&finished.summary, &["Rolled back: the old release is live again and healthy (3/3)", "not confirmed"]);
    assert_as_before(&story);
    assert_nothing_is_left(&story, &dead);
    let lines = ledger(&story);
    assert_eq!(lines.iter().map(|line| line["outcome"].clone()).collect::<Vec<_>>(), ["reverted-by-watchdog"]);

    // Once more there is nothing to do; and the next release goes the usual way.
    let again = recover(&story).run_binary(story.binary());
    assert_ended(&again, 0, "passed");
    assert_says(&again.summary, &["there was nothing to recover; the site is healthy"]);
    let next = commit("after recovering");
    story.ship(&next, Variant::Healthy).expect("the build");
    assert_ended(&story.deploy(&next), 0, "live");

    // A stuck run's lock is nobody's to take.
    on_server(
        &story,
        &format!(
            "mkdir {STATE}/lock; echo 'run 17' >{STATE}/lock/owner; echo 1 >{STATE}/lock/renewed; echo 1 >{STATE}/lock/lease; touch {STATE}/lock/kept"
        ),
    );
    let stuck = recover(&story).run_binary(story.binary());
    assert_ended(&stuck, 1, "refused");
    assert_says(&stuck.log, &["has pinned the deploy lock: run 17", &format!("rm -r {STATE}/lock")]);
}

#[test]
fn f86_post_finishes_for_a_run_that_died_and_one_that_is_still_about() {
    let story = story();
    let (dead, running) = switched(&story, "killed by the runner");
    running.signal(Signal::KILL);
    let main = running.wait();
    let of_main = story.staging(&dead);
    let post = of_main.run_post(&main, story.binary(), POST);
    assert_eq!(post.exit_code, 3, "{}", post.raw_log);
    post.assert_no_secret_leaks();
    assert_says(
        &post.log,
        &["took over the deploy lock of an interrupted run", "Rolled back: the old release is live again and healthy"],
    );
    assert_as_before(&story);
    assert_nothing_is_left(&story, &dead);
    let again = of_main.run_post(&main, story.binary(), POST);
    assert_eq!(again.exit_code, 0, "{}", again.raw_log);
    assert_eq!(ledger(&story).len(), 1);

    // The runner kills its client only: main itself may go on beside post. Here it stands still, and wakes up afterwards.
    let (orphan, running) = switched(&story, "an orphan");
    running.signal(Signal::STOP);
    let number = on_server(&story, &format!("cat {STATE}/lock/nonce"));
    let release = on_server(&story, &format!("cat {STATE}/lock/makes"));
    let told = [("phase", "switched"), ("lock", number.as_str()), ("release", release.as_str())];
    let seen = left(main, &told);
    let post = story.staging(&orphan).run_post(&seen, story.binary(), POST);
    assert_eq!(post.exit_code, 3, "{}", post.raw_log);
    assert_as_before(&story);
    running.signal(Signal::CONT);
    let woken = running.wait();
    assert!(["refused", "rolled-back"].contains(&output(&woken, "outcome")), "{}", woken.raw_log);
    assert_as_before(&story);
    assert_nothing_is_left(&story, &orphan);
    ledger(&story);
}

#[test]
fn post_does_not_even_connect_when_there_is_nothing_to_do() {
    let runner = Runner::new().input("stage", "deploy-staging").input("ssh-host", "192.0.2.1");
    let main = runner.run_binary(BINARY);
    assert_eq!((main.exit_code, main.state["phase"].as_str()), (2, "ended"), "{}", main.raw_log);
    let after = |state: &[(&str, &str)], stage: &str| {
        let main = left(runner.run_binary(BINARY), state);
        let post = runner.clone().input("stage", stage).run_post(&main, BINARY, POST);
        assert_eq!(post.exit_code, 0, "{}", post.raw_log);
        assert_eq!(post.log.lines().count(), 1, "{}", post.log);
        post.log
    };
    assert_says(&after(&[("phase", "ended")], "deploy-staging"), &["the step completed"]);
    assert_says(&after(&[], "deploy-staging"), &["the step ended before it changed anything"]);
    assert_says(&after(&[("phase", "switched")], "smoke"), &["this stage changes nothing on a server"]);
}

/// Makes one step slow on the server: a program of the same name before the real one, which notes that it was called.
fn slow(story: &Story, program: &str, when: &str) {
    let real = on_server(story, &format!("command -v {program}"));
    let text = format!("#!/bin/sh\ncase \"$*\" in {when}) touch /tmp/slow; sleep 40 ;; esac\nexec {real} \"$@\"\n");
    on_server(
        story,
        &format!("rm -f /tmp/slow; printf '%s' '{text}' >/usr/local/bin/{program}; chmod 755 /usr/local/bin/{program}"),
    );
}

#[test]
fn a_run_that_is_cancelled_in_a_slow_step_ends_in_six_seconds_and_post_does_the_rest() {
    let story = story();
    let steps: [(&str, Option<(&str, &str)>); 7] = [
        ("await-build", None),
        ("backup", Some(("mariadb-dump", "*"))),
        ("upload", Some(("sha256sum", "*incoming*"))),
        ("unpack-release", Some(("tar", "-xzf*"))),
        ("migrate", Some(("php", "*migrate*"))),
        ("grace", None),
        ("health", None),
    ];
    for (step, shadow) in steps {
        let commit = commit(&format!("cancelled in {step}"));
        let variant = if step == "health" { Variant::Sick500 } else { Variant::Healthy };
        let runner = story.staging(&commit).input("build-wait-attempts", "100").input("health-attempts", "100");
        let runner = runner.input("confirm-within", "10m");
        let runner = if step == "grace" { runner.input("grace-period", "90s") } else { runner };
        if step == "await-build" {
            story.github.add_run(Run { phase: Phase::in_progress(), ..green_run(&commit) });
        } else {
            story.ship(&commit, variant).expect("the build");
        }
        if let Some((program, when)) = shadow {
            slow(&story, program, when);
        }
        let running = runner.spawn_binary(story.binary());
        match step {
            "await-build" => drop(running.wait_for_line("attempt 2 of 100", PATIENCE)),
            "grace" => drop(running.wait_for_line("5 s of 90 s", PATIENCE)),
            "health" => drop(running.wait_for_line("attempt 2 of 100", PATIENCE)),
            _ => until("the slow program is called", PATIENCE, || {
                !on_server(&story, "ls /tmp/slow 2>/dev/null || :").is_empty()
            }),
        }

        running.signal(Signal::INT);
        let asked = Instant::now();
        let main = running.wait();
        // Then the runner sends its second signal, and 2.5 s later it waits no more: what is not said and left in order by then nobody reads.
        assert!(asked.elapsed() < SECOND_SIGNAL, "{step}: {:?}\n{}", asked.elapsed(), main.raw_log);
        assert!([1, 3, 4].contains(&main.exit_code), "{step}: {}", main.raw_log);
        println!("{step}: gone after {:?} with {}, {:?}", asked.elapsed(), main.exit_code, main.state);
        assert_says(&main.log, &["cancelled"]);
        assert!(main.state["release"].ends_with(&commit[..8]) && main.state.contains_key("lock"), "{:?}", main.state);
        main.assert_no_secret_leaks();
        if let Some((program, _)) = shadow {
            on_server(&story, &format!("rm -f /usr/local/bin/{program}"));
        }

        let post = runner.run_post(&main, story.binary(), POST);
        assert!([0, 3].contains(&post.exit_code), "{step}: {}", post.raw_log);
        assert_as_before(&story);
        assert_nothing_is_left(&story, &commit);
        let lines = ledger(&story);
        if step == "migrate" {
            // It was not ended, and what became of it is known.
            assert_says(
                &main.summary,
                &["### What stays", "Run forward migrations: no time was left after the run was cancelled"],
            );
            assert_says(
                &post.log,
                &["the migration of an interrupted run is still running", "its migration ran to its end on the server"],
            );
            let line = lines.iter().find(|line| line["sha"] == commit.as_str()).expect("its line");
            assert_says(line["cause"].as_str().expect("a cause"), &["its migration ran to its end on the server"]);
            assert!(line["migrations"].is_array(), "{line}");
        }
    }
    let next = commit("after all of them");
    story.ship(&next, Variant::Healthy).expect("the build");
    assert_ended(&story.deploy(&next), 0, "live");
    // On a slow machine a rollback is left to the watchdog, whose last entries stay as a record.
    let guards = guards(&story);
    assert!(guards.lines().all(|guard| guard.ends_with(".reverted")), "{guards}");
}

#[test]
fn f86_a_run_that_has_no_time_to_go_back_hands_over_to_the_server_and_to_post() {
    let story = story();
    let (commit, running) = switched(&story, "cancelled and cut off");
    // The site goes on, and nobody answers on the line any more.
    on_server(&story, "pkill -STOP sshd");
    running.signal(Signal::INT);
    let asked = Instant::now();
    let main = running.wait();
    let took = asked.elapsed();
    on_server(&story, "pkill -CONT sshd");
    assert!(took < SECOND_SIGNAL, "{took:?}\n{}", main.raw_log);
    assert_ended(&main, 4, "stuck");
    assert_says(
        &main.summary,
        &["Handed over: the run was cancelled and had no time to roll back. The watchdog rolls back"],
    );
    assert_eq!(main.state["phase"], "handed-over");
    assert_says(&on_server(&story, &format!("ls {STATE} {STATE}/watchdog")), &["lock", ".armed"]);
    assert!(
        on_server(&story, &format!("ls {STATE}/lock")).lines().all(|name| name != "kept"),
        "its lock can be taken over"
    );

    let post = story.staging(&commit).run_post(&main, story.binary(), POST);
    assert_eq!(post.exit_code, 3, "{}", post.raw_log);
    assert_as_before(&story);
    assert_nothing_is_left(&story, &commit);
    let next = self::commit("after the hand-over");
    story.ship(&next, Variant::Healthy).expect("the build");
    assert_ended(&story.deploy(&next), 0, "live");
}

/// `sudo sed -i` gives the ledger to root. The site is whole without a line, and no command by hand is needed for it.
#[test]
fn f86_f89_recover_goes_back_though_the_ledger_takes_no_line_and_a_later_run_writes_it() {
    let story = story();
    // So that there is a ledger.
    let first = commit("in the ledger");
    story.ship(&first, Variant::Healthy).expect("the build");
    let released = story.deploy(&first);
    assert_ended(&released, 0, "live");
    let release = output(&released, "release").to_owned();
    let (dead, running) = switched(&story, "killed, and no line");
    running.signal(Signal::KILL);
    on_server(&story, "pkill -KILL -f '[w]atchdog/.*/program'");
    running.wait();
    let closed = "chown root:root /var/www/staging/.gated-deploy/ledger.jsonl; chmod";
    for mode in ["644", "600"] {
        on_server(&story, &format!("{closed} {mode} {STATE}/ledger.jsonl"));
        if mode == "644" {
            time_passes(&story);
        }
        let finished = recover(&story).run_binary(story.binary());
        assert_ended(&finished, 3, "rolled-back");
        assert_says(&finished.log, &["code: ledger-line-missing", "ls -l"]);
        assert!(!finished.summary.contains("Manual action required"), "{}", finished.summary);
        assert_eq!(story.served().expect("the site"), first);
        assert!(!on_server(&story, &format!("ls {STATE}")).lines().any(|name| name == "lock"), "it is free");
    }
    // A release would not be recorded either.
    let next = commit("after the ledger");
    story.ship(&next, Variant::Healthy).expect("the build");
    assert_eq!(story.deploy(&next).exit_code, 1);
    assert_eq!(story.served().expect("the site"), first);

    on_server(&story, &format!("chown deploy: {STATE}/ledger.jsonl"));
    assert_ended(&story.deploy(&next), 0, "live");
    let outcomes: Vec<_> = ledger(&story).iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["live", "reverted-by-watchdog", "live"]);
    assert!(!on_server(&story, "ls /var/www/staging/releases").contains(&dead[..8]));
    assert!(on_server(&story, "ls /var/www/staging/releases").contains(&release));
}

#[test]
fn f86_what_was_live_before_is_sick_and_recover_says_so() {
    let story = story();
    let (dead, running) = switched(&story, "killed over a sick one");
    running.signal(Signal::KILL);
    running.wait();
    time_passes(&story);
    let old = format!("/var/www/staging/releases/{SEED_RELEASE}/public/index.php");
    on_server(&story, &format!("mv {old} {old}.away; echo '<?php http_response_code(500);' >{old}"));

    let finished = recover(&story).run_binary(story.binary());
    assert_ended(&finished, 4, "stuck");
    assert_says(
        &finished.summary,
        &[
            "Manual action required: the rollback failed at ",
            &format!("ln -sfn releases/{SEED_RELEASE}"),
            "service php8.2-fpm reload",
        ],
    );
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE), "it went back all the same");
    on_server(&story, &format!("test -e {STATE}/lock/kept && rm -r {STATE}/lock"));

    // Once more there is nothing to take back, and the site is still not well.
    let again = recover(&story).run_binary(story.binary());
    assert_ended(&again, 1, "refused");
    assert_says(&again.summary, &["NO-GO: there is no unconfirmed release, but the site is unhealthy"]);

    on_server(&story, &format!("mv {old}.away {old}; service php8.2-fpm reload"));
    until("it is well again", PATIENCE, || story.served().is_ok_and(|served| served == SEED_COMMIT));
    assert_ended(&recover(&story).run_binary(story.binary()), 0, "passed");
    assert_nothing_is_left(&story, &dead);
    ledger(&story);
}

#[test]
fn f86_f89_a_run_that_died_after_it_confirmed_is_written_down_as_live() {
    let story = story();
    let commit = commit("confirmed and killed");
    story.ship(&commit, Variant::Healthy).expect("the build");
    // Right after the confirmation the line is written; there the run is killed.
    let text = format!(
        "#!/bin/sh\nif [ -e {STATE}/lock/confirmed ]; then case \"$*\" in *ledger.jsonl) touch /tmp/slow; sleep 640.5; exit 1 ;; esac; fi\n\
         exec /usr/bin/tail \"$@\"\n"
    );
    on_server(
        &story,
        &format!("rm -f /tmp/slow; printf '%s' '{text}' >/usr/local/bin/tail; chmod 755 /usr/local/bin/tail"),
    );
    let running = story.staging(&commit).spawn_binary(story.binary());
    until("the release is confirmed", 4 * PATIENCE, || !on_server(&story, "ls /tmp/slow 2>/dev/null || :").is_empty());
    running.signal(Signal::KILL);
    let main = running.wait();
    on_server(&story, "rm -f /usr/local/bin/tail; pkill -f 'sleep 640[.]5'");

    let post = story.staging(&commit).run_post(&main, story.binary(), POST);

    assert_eq!(post.exit_code, 0, "{}", post.raw_log);
    assert_eq!(story.served().expect("the site"), commit, "a confirmed release stays");
    let lines = ledger(&story);
    let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
    assert_eq!(
        (&line["outcome"], &line["sha"], &line["standing"]),
        (&"live".into(), &commit.as_str().into(), &"confirmed".into())
    );
    assert_says(line["cause"].as_str().expect("a cause"), &["its run was interrupted before it wrote this line"]);
    // It can be gone back to, and production can compare it.
    for digest in ["bundle_sha256", "tree_sha256"] {
        assert!(line[digest].as_str().is_some_and(|digest| digest.len() == 64), "{digest}: {line}");
    }
    assert!(
        !on_server(&story, &format!("ls {STATE}; ls /var/www/staging/releases/*/public")).contains("gated-deploy-")
    );
    let next = self::commit("on top of it");
    story.ship(&next, Variant::Healthy).expect("the build");
    assert_ended(&story.deploy(&next), 0, "live");
}

#[test]
fn f86_going_back_is_not_cut_in_half_with_the_run_that_asked_for_it() {
    let place = tempfile::tempdir().expect("a folder");
    let path = |name: &str| place.path().join(name).to_str().expect("a path").to_owned();
    for folder in ["releases/old", "releases/new", "journal", "watchdog/new.armed", "lock"] {
        fs::create_dir_all(path(folder)).expect("a folder");
    }
    symlink("releases/new", path("current")).expect("a link");
    fs::write(path("lock/nonce"), "1\n").expect("a lock");
    fs::write(path("watchdog/new.armed/reload"), "sleep 2\n").expect("a reload");
    fs::write(path("watchdog/new.armed/workers"), ":\n").expect("a program");
    let watch = Script::new("watch", include_str!("../../src/server/watchdog/watch.sh"))
        .var("ENTRY", path("watchdog/new"))
        .var("NOW", "yes")
        .var("CURRENT", path("current"))
        .var("LINK", "releases/new")
        .var("BEFORE", "releases/old")
        .var("TREE", path("releases/old"))
        .var("NEW", path(".current.back"))
        .var("JOURNAL", path("journal/new.jsonl"))
        .var("LEDGER", path("ledger"))
        .var("WELL", "{\"prev\":\"@PREV@\",\"at\":\"@AT@\",\"outcome\":\"well\"}")
        .var("ILL", "{}")
        .var("LOCK", "")
        .var("LOCK_NONCE", "");
    let finish = |number: &str| {
        Script::new("finish", include_str!("../../src/server/recovery/finish.sh"))
            .var("ENTRY", path("watchdog/new"))
            .var("PROGRAM", watch.text("1"))
            .var("LOCK", path("lock"))
            .var("LOCK_NONCE", number)
    };
    // Somebody whose lock was taken over meanwhile must not touch what its new owner guards.
    assert_eq!(answer(&finish("2"))["refused"], "lock-lost");

    let mut run =
        Command::new("setsid").args(["sh", "-s"]).stdin(std::process::Stdio::piped()).spawn().expect("a shell");
    let mut input = run.stdin.take().expect("its input");
    std::io::Write::write_all(&mut input, finish("1").text("1").as_bytes()).expect("sending it");
    drop(input);
    until("it goes back", PATIENCE, || fs::read_link(path("current")).is_ok_and(|link| link.ends_with("old")));
    // The whole process group, as a cancelled run ends it.
    Command::new("kill").args(["-s", "KILL", "--", &format!("-{}", run.id())]).status().expect("kill");
    run.wait().expect("its end");
    assert!(Path::new(&path("watchdog/new.reverting")).exists(), "it is still waiting for the reload");
    until("it comes to its end all the same", PATIENCE, || Path::new(&path("watchdog/new.reverted")).exists());
    assert_eq!(followed(Path::new(&path("ledger"))), 1);
}

/// Whether the tool itself follows the chain of a ledger to its end; how many lines it has.
fn followed(ledger: &Path) -> usize {
    let verify = Command::new(BINARY).args(["ledger", "verify"]).arg(ledger).output().expect("the tool");
    let text = fs::read_to_string(ledger).expect("the ledger");
    assert!(verify.status.success(), "{}\n{text}", String::from_utf8_lossy(&verify.stdout));
    text.lines().count()
}

/// A folder with every program that an appending script needs, but for flock.
fn without_flock(folder: &Path) -> String {
    for program in [
        "tail",
        "head",
        "wc",
        "truncate",
        "sha256sum",
        "date",
        "mkdir",
        "cat",
        "mv",
        "rm",
        "sleep",
        "sed",
        "tr",
        "grep",
    ] {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("a shell").stdout;
        let found = String::from_utf8(found).expect("a path");
        symlink(found.trim(), folder.join(program)).expect("a link");
    }
    folder.to_str().expect("a path").to_owned()
}

#[test]
fn f89_of_many_who_write_to_the_ledger_at_once_each_names_the_line_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let bare = without_flock(folder.path());
    for (name, path) in [("locked-by-the-kernel", None), ("locked-by-a-folder", Some(bare))] {
        let ledger = folder.path().join(name);
        let append = |writer: usize, line: usize| {
            let script = Script::new("ledger", include_str!("../../src/server/ledger/ledger.sh"))
                .var("LEDGER", ledger.to_str().expect("a path"))
                .var("LINE", format!("{{\"prev\":\"@PREV@\",\"at\":\"@AT@\",\"writer\":{writer},\"line\":{line}}}"))
                .var("LOCK", "")
                .var("LOCK_NONCE", "");
            let script = match &path {
                Some(path) => script.var("PATH", path),
                None => script,
            };
            assert!(answer(&script).contains_key("written"), "writer {writer}, line {line}");
        };
        let append = &append;
        thread::scope(|scope| {
            for writer in 0..8 {
                scope.spawn(move || (0..6).for_each(|line| append(writer, line)));
            }
        });
        assert_eq!(followed(&ledger), 48, "{name}");
    }
}

#[test]
fn f89_a_writer_that_died_keeps_nobody_from_the_ledger() {
    let folder = tempfile::tempdir().expect("a folder");
    let bare = without_flock(folder.path());
    let ledger = folder.path().join("ledger");
    // Where there is no flock, its lock outlives it.
    fs::create_dir(folder.path().join("ledger.writing")).expect("a lock");
    let script = Script::new("ledger", include_str!("../../src/server/ledger/ledger.sh"))
        .var("LEDGER", ledger.to_str().expect("a path"))
        .var("LINE", "{\"prev\":\"@PREV@\",\"at\":\"@AT@\"}")
        .var("LOCK", "")
        .var("LOCK_NONCE", "")
        .var("PATH", bare);
    assert!(answer(&script).contains_key("written"));
    assert_eq!(followed(&ledger), 1);
    assert!(!folder.path().join("ledger.writing").exists());
}
