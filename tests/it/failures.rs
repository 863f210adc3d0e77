//! What has gone wrong in releases by hand-written scripts, class by class; `docs/failure-classes.md` says which test holds which.
//! Here are the classes that no other story tells.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use chrono::DateTime;
use gated_deploy::{
    domain::{CommitSha, ReleaseName},
    engine::event::{RowInfo, RowKind},
    stages,
    transport::shell::Script,
};
use gated_deploy_lab::{
    Options,
    app::{self, SERVED_BY_NGINX, TempTree, Variant},
    runner::Finished,
    server::SEED_RELEASE,
    story::{Story, commit},
};

use crate::{
    refusals::refused,
    support::{assert_ended, assert_says, output, root, story, story_on},
};

const BASE: &str = "/var/www/staging";

// The table of classes itself.

#[test]
fn f5_every_class_has_a_row_and_every_test_it_names_exists() {
    let table = fs::read_to_string(root().join("docs/failure-classes.md")).expect("the table");
    let tests = names_of_functions();
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| F")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, id, class, held, _] = cells.as_slice() else { panic!("three cells are wanted: {line}") };
        assert!(!class.is_empty() && !held.is_empty(), "{line}");
        assert!(rows.insert((*id).to_owned(), (*held).to_owned()).is_none(), "{id} has two rows");
        let named: Vec<&str> = held.split('`').skip(1).step_by(2).filter(|word| word.contains('_')).collect();
        for test in &named {
            assert!(tests.contains(&(*test).to_owned()), "{id}: there is no test {test}");
        }
        let own = format!("{}_", id.to_lowercase());
        let carries = |test: &&str| test.starts_with(&own) || test.contains(&format!("_{own}"));
        assert!(
            held.starts_with("design: ") || named.iter().any(carries),
            "{id}: neither a test that carries its id nor `design: ` with what makes it impossible"
        );
    }
    for id in 1..=92 {
        assert!(rows.contains_key(&format!("F{id}")), "F{id} has no row");
    }
    for test in tests.iter().filter(|test| test.starts_with('f') && test[1..].starts_with(|c: char| c.is_ascii_digit()))
    {
        for part in test.split('_').take_while(|part| is_id(part)) {
            let row = rows.get(&part.to_uppercase()).unwrap_or_else(|| panic!("{test}: there is no class {part}"));
            assert!(row.contains(&format!("`{test}`")), "{part}: its row does not name {test}");
        }
    }
}

#[test]
fn every_row_of_the_threat_model_has_a_mechanism_and_its_tests_exist() {
    let page = fs::read_to_string(root().join("docs/threat-model.md")).expect("the page");
    let tests = names_of_functions();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Who "))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    for row in rows {
        let [_, touches, never, mechanism, held] = row.as_slice() else { panic!("five cells are wanted: {row:?}") };
        assert!(![touches, never, mechanism, held].iter().any(|cell| cell.is_empty()), "{row:?}");
        assert!(held.contains('`') && !held.contains('?'), "no test holds this: {row:?}");
        for test in held.split('`').skip(1).step_by(2) {
            assert!(tests.contains(&test.to_owned()), "there is no test {test}: {row:?}");
        }
    }
}

fn is_id(part: &str) -> bool {
    part.strip_prefix('f').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn names_of_functions() -> Vec<String> {
    let mut names = Vec::new();
    for file in ["src", "tests/it"].iter().flat_map(|folder| files_under(&root().join(folder), "rs")) {
        let text = fs::read_to_string(&file).expect("a source file");
        for line in text.lines() {
            let line = line.trim_start().trim_start_matches("async ");
            if let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

// What the scripts for the server may contain. They are short enough to be read by a test.

#[test]
fn f28_f75_no_script_wipes_data_or_clears_what_the_live_site_uses() {
    let allowed = [
        "'--version', ",
        "'migrate', '--force')",
        "$cache === 'storage-link' ? 'storage:link' : \"$cache:cache\")",
        // A second start of the app, where its routes cannot be cached in the first one.
        "'route:cache')",
        "$command)",
        // The function itself, which passes on its words, and a hook, which the policy names.
        "$words, ",
        "...$words)",
    ];
    for (name, text) in scripts() {
        for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', '/', 'f'])) {
            let command = line
                .split_once("gated_deploy_artisan($kernel, ")
                .or_else(|| line.split_once("['artisan'], "))
                .or_else(|| line.split_once("['artisan', "));
            if let Some((_, command)) = command {
                assert!(allowed.iter().any(|allowed| command.starts_with(allowed)), "{name}: artisan {command}");
            }
            assert!(!line.contains("$PHP\" artisan"), "{name} runs the file of the app: {line}");
        }
        for word in ["migrate:", "db:", ":clear", "tinker", "phpunit", "artisan test", "DROP ", "TRUNCATE "] {
            assert!(!text.contains(word), "{name} contains `{word}`");
        }
    }
}

#[test]
fn f43_no_shell_is_written_in_yaml_and_no_script_has_a_heredoc() {
    let action = fs::read_to_string(root().join("action.yml")).expect("action.yml");
    assert_says(&action, &["using: docker"]);
    assert!(!action.contains("run:") && !action.contains("<<"), "action.yml runs the program and nothing else");
    for (name, text) in scripts() {
        assert!(!text.contains("<<"), "{name} has a heredoc");
    }
}

/// Each script is a shell of its own, so none can leave its working directory to the next: it only has to go where it works.
#[test]
fn f46_a_script_goes_to_its_folder_before_it_runs_artisan() {
    let mut seen = 0;
    for (name, text) in scripts() {
        if let Some(artisan) = text.find("artisan ").filter(|_| name.ends_with(".sh")) {
            let cd = text.find("cd \"$DIR\"").or_else(|| text.find("cd -P \"$DIR\"")).unwrap_or(usize::MAX);
            assert!(cd < artisan, "{name} runs artisan without saying where");
            seen += 1;
        }
    }
    assert!(seen > 0, "the scripts that run artisan moved");
}

#[test]
fn f54_f65_no_script_removes_by_pattern_or_recurses_into_modes_and_owners() {
    for (name, text) in scripts() {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            // A fix takes named paths by their exact names, a link itself and never what it leads to.
            let exact = ["chown-ask.sh", "chown.sh"].contains(&name.as_str()) && !line.contains("-R");
            let told = exact && (line.contains("chown -h \"$OWNER\" \"$path\"") || !line.contains("sudo"));
            assert!(!line.contains("chown") || told, "{name}: {line}");
            assert!(!line.contains("chmod -R") && !line.contains("chmod --recursive"), "{name}: {line}");
            if let Some((_, line)) = line.split_once("rm -") {
                // `${NAME:?}` is no pattern: it ends the script when the name is empty.
                assert!(!line.replace(":?}", "}").contains(['*', '?', '[']), "{name} removes by a pattern: {line}");
            }
        }
    }
}

#[test]
fn f51_no_script_swallows_the_failure_of_a_command() {
    for (name, text) in scripts() {
        for line in text.lines() {
            for swallowed in ["|| true", "|| :", "set +e", "--ignore-failed-read", "2>/dev/null || exit 0"] {
                assert!(!line.contains(swallowed), "{name}: {line}");
            }
        }
    }
}

fn scripts() -> BTreeMap<String, String> {
    let found: BTreeMap<String, String> = ["sh", "php"]
        .iter()
        .flat_map(|ending| files_under(&root().join("src"), ending))
        .filter(|path| !["prelude.sh", "job.sh", "hide.sh"].iter().any(|name| path.ends_with(name)))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a script"))
        })
        .collect();
    assert!(found.len() > 20, "the scripts moved: {found:?}");
    found
}

fn files_under(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_under(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

// The order of the rows, and the small things that need no server.

#[test]
fn f57_f64_f72_one_table_for_every_environment_in_an_order_that_protects() {
    let rows = stages::deploy::table().outline();
    let at =
        |step: &str| rows.iter().position(|row| row.step.as_str() == step).unwrap_or_else(|| panic!("no row {step}"));
    assert!(at("backup") < at("migrate"), "nothing is migrated before the backup is whole");
    assert!(
        at("verify-tree") < at("migrate") && at("boot-release") < at("migrate"),
        "what does not boot is not migrated"
    );
    assert!(at("migrate") < at("switch") && at("health") > at("reload"));
    for step in ["backup", "unpack-release", "migrate"] {
        assert_eq!(rows[at(step)].kind, RowKind::Change, "{step} must not run when only a plan is wanted");
    }
    let undone = |row: &RowInfo| row.undo.as_deref().is_some_and(|undo| !undo.is_empty());
    assert!(rows.iter().filter(|row| row.kind == RowKind::Change).all(undone), "each change says how it is taken back");
}

#[test]
fn f49_release_names_are_utc_whatever_the_zone() {
    let commit: CommitSha = commit("zone").parse().expect("a commit");
    let at = DateTime::parse_from_rfc3339("2025-11-02T11:53:13+01:00").expect("a time");
    let name = ReleaseName::new(at.to_utc(), &commit);
    assert!(name.as_str().starts_with("20251102_105313-"), "{name}");
    assert_eq!(name.made_at(), at);
}

#[test]
fn f79_rollback_needs_a_switch() {
    let base = tempfile::tempdir().expect("a folder");
    let path = |name: &str| base.path().join(name).to_str().expect("a path").to_owned();
    let point = |expected: &str, target: &str| answer(&switch_script(base.path(), expected, target));
    let live = || fs::read_link(path("current")).expect("the link").to_string_lossy().into_owned();
    std::os::unix::fs::symlink("releases/good", path("current")).expect("a link");

    // Going back from a release that was never switched to: somebody else's link stays what it is.
    let back = point("releases/new", "releases/old");
    assert_eq!((live().as_str(), back["moved"].as_str()), ("releases/good", "releases/good"));
    assert!(!Path::new(&path("journal")).exists(), "nothing began");

    // Forth and back again, each from what is there.
    assert_eq!(point("releases/good", "releases/new")["switched"], "yes");
    assert_eq!(live(), "releases/new");
    assert_eq!(point("releases/new", "releases/good")["switched"], "yes");
    assert_eq!(live(), "releases/good");
}

#[test]
fn f15_of_many_runs_one_gets_the_lock_and_only_it_gives_it_back() {
    let base = tempfile::tempdir().expect("a folder");
    let path = |name: &str| base.path().join(name).to_str().expect("a path").to_owned();
    let take = |run| take_lock(base.path(), run);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..20)
            .map(|run| {
                scope.spawn({
                    let take = &take;
                    move || take(run)
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("a run")).collect()
    });
    let winners: Vec<usize> = (0..20).filter(|run| answers[*run].contains_key("taken")).collect();
    let [winner] = winners.as_slice() else { panic!("not one winner: {answers:?}") };
    assert_eq!(take(99)["held"], format!("run {winner}"));

    let free = |run: usize| {
        let script = Script::new("unlock", include_str!("../../src/server/lock/unlock.sh"));
        answer(
            &script.var("LOCK", path("state/lock")).var("NONCE", run.to_string()).var("KEEP", "").var("UNRECORDED", ""),
        )
    };
    assert_eq!(free(99)["found"], "others");
    assert_eq!(free(*winner)["found"], "ours");
    assert!(take(99).contains_key("taken"));
    assert_eq!(free(99)["found"], "ours");
    assert_eq!(
        fs::read_dir(path("state")).expect("a folder").count(),
        3,
        "journal, incoming, environment; no half lock"
    );
}

#[test]
fn f15_of_many_runs_one_takes_over_the_lock_of_a_dead_one() {
    let base = tempfile::tempdir().expect("a folder");
    let path = |name: &str| base.path().join(name).to_str().expect("a path").to_owned();
    let take = |run| take_lock(base.path(), run);
    let renew = |run: usize| {
        let script = Script::new("renew", include_str!("../../src/server/lock/renew.sh"));
        answer(&script.var("LOCK", path("state/lock")).var("NONCE", run.to_string()))
    };
    assert!(take(99).contains_key("taken"));
    fs::write(path("state/lock/renewed"), "1000\n").expect("a long time ago");
    assert!(renew(99).contains_key("renewed"));
    assert_eq!(take(98)["held"], "run 99", "a lock that was renewed is no dead one's");

    fs::write(path("state/lock/renewed"), "1000\n").expect("a long time ago");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let take = &take;
        let runs: Vec<_> = (0..20).map(|run| scope.spawn(move || take(run))).collect();
        runs.into_iter().map(|run| run.join().expect("a run")).collect()
    });
    let winners: Vec<usize> = (0..20).filter(|run| answers[*run].contains_key("taken")).collect();
    let [winner] = winners.as_slice() else { panic!("not one winner: {answers:?}") };
    assert_eq!(take(97)["held"], format!("run {winner}"));
    assert_eq!(answers.iter().filter(|answer| answer.contains_key("took-over")).count(), 1);
    let journal = fs::read_to_string(path("state/journal/20261101_080000-0123abcd.jsonl")).expect("a journal");
    let line: serde_json::Value = serde_json::from_str(journal.trim_end()).expect("one line");
    assert_eq!(line["from"], "run 99");
    assert_eq!(renew(99)["lost"], format!("run {winner}"));

    // After the clock was set back its time lies ahead. It counts from when that was first seen, and a holder that renews it keeps it.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock").as_secs();
    let ahead = now + 400 * 24 * 60 * 60;
    fs::write(path("state/lock/renewed"), format!("{ahead}\n")).expect("another year");
    assert_eq!(take(95)["held"], format!("run {winner}"));
    assert!(renew(*winner).contains_key("renewed"));
    assert_eq!(take(95)["held"], format!("run {winner}"), "it is at work");
    fs::write(path("state/lock/renewed"), format!("{ahead}\n")).expect("another year");
    fs::write(path("state/lock/ahead"), format!("{ahead} 1000\n")).expect("seen a long time ago");
    assert!(take(94).contains_key("took-over"), "nobody has renewed it since");
    // What is no time at all counts from the lock's own.
    fs::write(path("state/lock/renewed"), "99999999999999999999\n").expect("too long a number");
    assert_eq!(take(93)["held"], "run 94");
    let winner = &94;

    // That of a stuck run stays, however long it is gone.
    fs::write(path("state/lock/renewed"), "1000\n").expect("a long time ago");
    let keep = Script::new("unlock", include_str!("../../src/server/lock/unlock.sh"));
    let keep = keep.var("LOCK", path("state/lock")).var("NONCE", winner.to_string());
    let kept = answer(&keep.var("KEEP", "yes").var("UNRECORDED", ""));
    assert_eq!(kept["found"], "kept");
    assert_eq!(take(96)["held"], format!("run {winner}"));
}

/// Two runs look at a lock, and its place changes hands before either moves it. What was moved must be what was looked at.
#[test]
fn f15_the_lock_of_a_third_run_is_neither_freed_nor_pinned_nor_taken_over() {
    let base = tempfile::tempdir().expect("a folder");
    let path = |name: &str| base.path().join(name).to_str().expect("a path").to_owned();
    fs::create_dir(path("bin")).expect("a folder");
    let third =
        format!("rm -rf {0}; mkdir {0}; echo third >{0}/nonce; echo 'run third' >{0}/owner", path("state/lock"));
    // Right before the first rename with this word in it, another run has the lock.
    let meanwhile = |word: &str| {
        let mv = format!(
            "#!/bin/sh\ncase \"$*\" in {word}) [ -e {0} ] || {{ : >{0}; {third}; }} ;; esac\nexec /bin/mv \"$@\"\n",
            path("done")
        );
        fs::write(path("bin/mv"), mv).expect("a program");
        fs::set_permissions(path("bin/mv"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    };
    let run = |script: &Script| -> BTreeMap<String, String> {
        let mut shell = Command::new("sh");
        shell.env("PATH", format!("{}:{}", path("bin"), std::env::var("PATH").expect("PATH")));
        answers_of(shell, script).into_iter().collect()
    };
    let unlock = |keep: &str| {
        let script = Script::new("unlock", include_str!("../../src/server/lock/unlock.sh"));
        let script = script.var("LOCK", path("state/lock")).var("NONCE", "1").var("UNRECORDED", "");
        run(&script.var("KEEP", keep))["found"].clone()
    };
    let lock_script = |run: usize| lock_script(base.path(), run);
    for (word, keep) in [("*lock.1.freed", ""), ("*lock/kept", "yes")] {
        assert!(run(&lock_script(1)).contains_key("taken"));
        meanwhile(word);
        assert_eq!(unlock(keep), "others", "{word}");
        assert!(Path::new(&path("done")).exists(), "{word}: the other run came in between");
        assert_eq!(fs::read_to_string(path("state/lock/nonce")).expect("its lock"), "third\n", "{word}");
        assert!(!Path::new(&path("state/lock/kept")).exists() && !Path::new(&path("state/lock.1.freed")).exists());
        fs::remove_dir_all(path("state")).expect("all of it");
        fs::remove_file(path("done")).expect("the mark");
    }
    // A run takes an expired lock over, whose holder frees it after all.
    assert!(run(&lock_script(1)).contains_key("taken"));
    fs::write(path("state/lock/renewed"), "1000\n").expect("a long time ago");
    meanwhile("*lock.dead");
    assert_eq!(run(&lock_script(2)).get("held").map(String::as_str), Some("run third"));
    assert!(Path::new(&path("done")).exists(), "the other run came in between");
    assert_eq!(fs::read_to_string(path("state/lock/nonce")).expect("its lock"), "third\n");
    assert!(!Path::new(&path("state/lock.dead")).exists());

    // Pinning needs no inode, and an earlier version's lock can be pinned as well.
    for name in ["", "pin.1"] {
        fs::remove_dir_all(path("state")).expect("all of it");
        assert!(run(&lock_script(1)).contains_key("taken"));
        if !name.is_empty() {
            fs::remove_file(path(&format!("state/lock/{name}"))).expect("the file");
        }
        std::os::unix::fs::symlink("/no/such/folder/file", path("state/lock/kept")).expect("what cannot be opened");
        assert_eq!(unlock("yes"), "kept", "{name}");
        assert!(Path::new(&path("state/lock/kept")).exists(), "{name}");
    }
}

#[test]
fn f15_a_lock_that_is_freed_takes_no_leftovers_along() {
    let base = tempfile::tempdir().expect("a folder");
    let path = |name: &str| base.path().join(name).to_str().expect("a path").to_owned();
    let free = || {
        let script = Script::new("unlock", include_str!("../../src/server/lock/unlock.sh"));
        let script = script.var("LOCK", path("lock")).var("NONCE", "1").var("UNRECORDED", "");
        answer(&script.var("KEEP", ""))["found"].clone()
    };
    // Those of two interrupted runs: one in the lock, one beside it.
    for (folder, owner) in [("lock/dead", "run 1"), ("lock.dead", "run 2")] {
        fs::create_dir_all(path(folder)).expect("leftovers");
        fs::write(path(&format!("{folder}/owner")), owner).expect("an owner");
    }
    fs::write(path("lock/nonce"), "1\n").expect("a lock");
    assert_eq!(free(), "ours");
    let owner = |name: &str| fs::read_to_string(path(name)).expect("an owner");
    assert_eq!([owner("lock.dead/owner"), owner("lock.dead/dead/owner")], ["run 1", "run 2"]);

    // Where they cannot be moved out of it the lock stays, and expires.
    fs::create_dir(path("lock")).expect("a lock");
    fs::write(path("lock/nonce"), "1\n").expect("a lock");
    fs::rename(path("lock.dead"), path("lock/dead")).expect("leftovers");
    fs::write(path("lock.dead"), "something else").expect("a file in the way");
    assert_eq!(free(), "left");
    assert_eq!([owner("lock/nonce"), owner("lock/dead/owner")], ["1\n", "run 1"]);
}

#[test]
fn f15_a_run_that_lost_its_lock_cannot_switch() {
    let base = tempfile::tempdir().expect("a folder");
    let path = |name: &str| base.path().join(name).to_str().expect("a path").to_owned();
    fs::create_dir(path("lock")).expect("a lock");
    let switch = |nonce: &str| {
        answer(&switch_script(base.path(), "", "releases/new").var("LOCK", path("lock")).var("LOCK_NONCE", nonce))
    };
    fs::write(path("lock/nonce"), "theirs\n").expect("a number");
    assert_eq!(switch("ours")["refused"], "lock-lost");
    assert!(!Path::new(&path("current")).exists() && !Path::new(&path("journal")).exists(), "nothing began");
    assert_eq!(switch("theirs")["switched"], "yes");
}

#[test]
fn going_back_removes_the_link_of_a_switch_that_was_cut_off_before_its_rename() {
    let base = tempfile::tempdir().expect("a folder");
    let path = |name: &str| base.path().join(name).to_str().expect("a path").to_owned();
    std::os::unix::fs::symlink("releases/old", path("current")).expect("current");
    std::os::unix::fs::symlink("releases/new", path(".current.new")).expect("a link");
    let back = switch_script(base.path(), "releases/new", "releases/old");
    assert_eq!(answer(&back)["moved"], "releases/old");
    assert!(fs::symlink_metadata(path(".current.new")).is_err(), "the link is left");
    assert_eq!(fs::read_link(path("current")).expect("current").to_str(), Some("releases/old"));
}

/// The switch of the place `base` from one link to another. A test sets more by `var`: the last value counts.
pub(crate) fn switch_script(base: &Path, from: &str, to: &str) -> Script {
    let path = |name: &str| base.join(name).to_str().expect("a path").to_owned();
    let script = Script::new("switch", include_str!("../../src/server/activation/switch.sh"))
        .var("CURRENT", path("current"))
        .var("EXPECTED", from)
        .var("TARGET", to)
        .var("NEW", path(".current.new"))
        .var("JOURNAL", path("journal"))
        .var("BEGINS", "begins")
        .var("ENDS", "ends");
    let empty = ["MINE", "MINE_NONCE", "MINE_LOCK", "MINE_LOCK_NONCE", "GUARD", "LOCK", "LOCK_NONCE"];
    empty.into_iter().fold(script, |script, name| script.var(name, ""))
}

/// What the server answers to the run of this number that wants the deploy lock of `base`.
fn take_lock(base: &Path, run: usize) -> BTreeMap<String, String> {
    answer(&lock_script(base, run))
}

fn lock_script(base: &Path, run: usize) -> Script {
    let path = |name: &str| base.join(name).to_str().expect("a path").to_owned();
    Script::new("lock", include_str!("../../src/server/lock/lock.sh"))
        .var("STATE", path("state"))
        .var("JOBS", path("state/jobs"))
        .var("LOCK", path("state/lock"))
        .var("OWNER", format!("run {run}"))
        .var("NONCE", run.to_string())
        .var("ENVIRONMENT", "staging")
        .var("LEASE", "60")
        .var("RELEASE", "20261101_080000-0123abcd")
        .var("MAKES", "")
        .var("BEGUN", "")
        .var("OWN", "")
}

/// Runs a script in this machine's own shell, as the server's shell would.
pub(crate) fn answer(script: &Script) -> BTreeMap<String, String> {
    answers(script).into_iter().collect()
}

/// The same with every record, in order. A value of a refusal, `value=name=text`, has the key `value.name`.
pub(crate) fn answers(script: &Script) -> Vec<(String, String)> {
    answers_of(Command::new("sh"), script)
}

/// The same from a shell of the test's own making.
pub(crate) fn answers_of(mut shell: Command, script: &Script) -> Vec<(String, String)> {
    let mut shell = shell.arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
    shell.stdin.take().expect("its input").write_all(script.text("1").as_bytes()).expect("sending the script");
    let output = shell.wait_with_output().expect("the shell's end");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split('\0')
        .filter_map(|record| record.split_once('='))
        .map(|(key, value)| match value.split_once('=') {
            Some((name, value)) if key.ends_with("value") => (format!("{key}.{name}"), value.to_owned()),
            _ => (key.to_owned(), value.to_owned()),
        })
        .collect()
}

// What visitors get, besides the health endpoints.

#[test]
fn fd6_fd9_a_home_page_that_fails_is_rolled_back_and_maintenance_mode_is_named() {
    let story = story();
    let kernel = include_str!("../../lab/app/app/Http/Kernel.php").replacen(
        "    // No sessions",
        "    protected $middleware = [\\Illuminate\\Foundation\\Http\\Middleware\\PreventRequestsDuringMaintenance::class];\n\n    // No sessions",
        1,
    );
    let ship = |title: &str, home: Option<&str>| {
        let commit = commit(title);
        let tree = app::source(&commit, Variant::Healthy).expect("the tree");
        tree.write("app/Http/Kernel.php", &kernel).expect("a kernel");
        if let Some(home) = home {
            tree.write("app/Http/Controllers/HomeController.php", home).expect("a home page");
        }
        story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
        commit
    };
    let first = ship("with maintenance mode", None);
    assert_ended(&story.deploy(&first), 0, "live");

    let throws = format!(
        "<?php\nnamespace App\\Http\\Controllers;\nclass HomeController {{ public function __invoke() {{ if ({SERVED_BY_NGINX}) {{ throw new \\Exception('no'); }} return 'well'; }} }}\n"
    );
    let second = ship("whose home page fails", Some(&throws));
    let finished = story.deploy(&second);
    assert_ended(&finished, 3, "rolled-back");
    assert_says(&finished.log, &["every endpoint is healthy, but /: visitors get status 500", "`home-path`"]);
    assert_says(&finished.summary, &["visitors get status 500"]);
    assert_eq!(story.served().expect("the site"), first);

    on(&story, "cd current && php artisan down");
    let finished = story.deploy(&second);
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &["503: the application is in maintenance mode", "php artisan up"]);
}

// A bare place, and what a release makes of it.

#[test]
fn f21_f22_f66_the_folders_that_a_bare_place_lacks_are_made_for_both_writers() {
    let story = story_on(Options { seed: false, ..Options::default() });
    on(&story, "rm -r shared/storage/*");
    let commit = commit("into a bare place");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    let built = story.build(&commit, &tree).expect("the build");
    story.publish(&built).expect("the artifact");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    for folder in ["app/public", "framework/cache/data", "framework/sessions", "framework/views", "logs"] {
        on(&story, &format!("test -d shared/storage/{folder}"));
    }
    // PHP-FPM's user writes, renames and removes in every folder and beside every file that the release made.
    on(
        &story,
        "su --shell /bin/sh www-data --command '
             find shared/storage -type d | while read -r folder; do
                 touch $folder/probe && mv $folder/probe $folder/probe2 && rm $folder/probe2 || exit 1
             done'",
    );
    assert_eq!(on(&story, "find shared/storage -type f -user deploy '(' ! -group www-data -o ! -perm -g+w ')'"), "");
    // Laravel's list of packages was made here, on this PHP, and did not come with the bundle.
    let bundled = Command::new("tar").arg("-tzf").arg(&built.bundle).output().expect("listing the bundle");
    let bundled = String::from_utf8(bundled.stdout).expect("names");
    assert!(bundled.contains("vendor/autoload.php") && !bundled.contains("packages.php"), "{bundled}");
    on(&story, "test -s current/bootstrap/cache/packages.php");
}

#[test]
fn f41_f47_f54_only_what_this_run_made_is_used_and_the_password_is_read_as_laravel_reads_it() {
    let story = story_on(Options { seed: false, ..Options::default() });
    let secret = on(&story, "sed -n 's/^DB_PASSWORD=//p' shared/.env/staging.env");
    assert!(["=", "#", "'", "\\$", "\\\""].iter().all(|odd| secret.contains(odd)), "the lab's password became tame");
    on(&story, "mariadb lab_staging -e 'CREATE TABLE kept (id int)'");
    let foreign = "/tmp/deployment-bundle-old.tar.gz .gated-deploy/incoming/deployment-bundle-old.tar.gz";
    // Named as a run names it, and no run is at work: one that died has left it.
    let dead = ".gated-deploy/incoming/20250101_000000-deadbeef.tar.gz";
    on(
        &story,
        &format!(
            "install -d -o deploy -m 755 .gated-deploy .gated-deploy/incoming
             for file in {foreign} {dead}; do echo leftover >$file; chown deploy $file; done"
        ),
    );
    let shared_folders = "ls -A /tmp /var/tmp /dev/shm /home/deploy";
    let before = on(&story, shared_folders);
    let commit = commit("beside leftovers");
    story.ship(&commit, Variant::Healthy).expect("the build");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    let release = output(&finished, "release");
    let dump = on(&story, &format!("gzip -dc backups/{release}/database.sql.gz"));
    assert_says(&dump, &["CREATE TABLE `kept`", "-- Dump completed"]);
    assert_eq!(on(&story, "stat -c %a .gated-deploy").trim(), "700");
    assert_eq!(on(&story, &format!("cat {foreign}; test ! -e {dead}")), "leftover\nleftover\n");
    assert_eq!(on(&story, shared_folders), before, "nothing was left where everybody can write");
}

// Backups that prove nothing.

#[test]
fn f56_f57_f58_a_dump_that_is_not_whole_stops_the_release_and_costs_no_good_backup() {
    let story = story();
    let good = commit("with a good backup");
    story.ship(&good, Variant::Healthy).expect("the build");
    let first = story.deploy(&good);
    assert_ended(&first, 0, "live");
    let kept = output(&first, "release");
    let next = commit("with a bad backup");
    story.ship(&next, Variant::Healthy).expect("the build");
    for (dump, says) in [
        ("exit 0", "is incomplete"),
        ("echo 'Access denied' >&2; exit 2", "status 2"),
        ("/usr/bin/mariadb-dump \"$@\" | head -n 30", "is incomplete"),
        ("cat >/dev/null; echo '-- Dump completed on 2025-11-02'", "lacks: table `migrations`"),
    ] {
        on(&story, &format!("printf '#!/bin/sh\\n%s\\n' {} >/usr/local/bin/mariadb-dump", quoted(dump)));
        on(&story, "chmod 755 /usr/local/bin/mariadb-dump");

        refused(&story, story.staging(&next).input("keep-backups", "1"), 1, &["dump", says]);

        assert_eq!(on(&story, "ls -A backups").trim(), kept, "{dump}: only the verified backup is there");
        on(&story, &format!("cd backups/{kept} && sha256sum --check --quiet SHA256SUMS"));
    }
}

#[test]
fn f69_a_dump_is_not_believed_where_its_check_cannot_fail() {
    let story = story();
    let commit = commit("a check that cannot fail");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let fake = |name: &str, body: &str| {
        on(
            &story,
            &format!(
                "printf '#!/bin/sh\\n%s\\n' {} >/usr/local/bin/{name}; chmod 755 /usr/local/bin/{name}",
                quoted(body)
            ),
        );
    };
    // Whatever it is asked about: whole, with everything in it, and read to its end.
    fake(
        "awk",
        "case $1 in *'FILENAME == ARGV'*) ;; *'CREATE TABLE'*) cat >/dev/null; echo whole ;; *) exec /usr/bin/awk \"$@\" ;; esac",
    );
    fake("gzip", "case $1 in -dc) /usr/bin/gzip \"$@\"; exit 0 ;; *) exec /usr/bin/gzip \"$@\" ;; esac");
    refused(
        &story,
        story.staging(&commit),
        1,
        &[
            "the self-test of the dump check failed: it accepts an empty dump, a dump without tables, half a dump as complete",
        ],
    );
    // One of them is enough for one kind of dump.
    on(&story, "rm /usr/local/bin/gzip");
    refused(&story, story.staging(&commit), 1, &["it accepts a dump without tables as complete"]);
    assert_eq!(on(&story, "ls -A backups"), "", "no backup that nobody could check");

    on(&story, "rm /usr/local/bin/awk");
    let finished = story.deploy(&commit);
    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["; dump check self-tested"]);
}

/// What a run without an approval phrase says.
fn planned(story: &Story, commit: &str) -> Finished {
    story.staging(commit).input("approval", "").run_binary(story.binary())
}

#[test]
fn f56_fd22_fd23_fd24_fd25_a_dump_holds_all_that_the_catalogue_has_or_the_object_and_the_grant_are_named() {
    let story = story();
    let commit = commit("with more than tables");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let objects = "mariadb lab_staging -e \"create table history (id int) with system versioning; insert into history values (1);
            create table photos (photo longblob) engine=aria; create sequence numbers; create view newest as select * from history;
            create trigger guards before insert on history for each row set new.id = new.id + 1;
            create event cleans on schedule every 1 day do delete from history where id < 0;
            set global max_allowed_packet = 134217728\"
        mariadb --max-allowed-packet=128M lab_staging -e \"insert into photos values (repeat('x', 40000000))\"
        mariadb lab_staging -e 'create function foreign_function() returns int return 1; create table dropped (id int);
            create view gone as select * from dropped; drop table dropped'";
    on(&story, objects);

    // The function is root's: the app's account may not read it. Known before anything changes.
    let says = [
        "dump-object-unreadable",
        "view `gone`: View 'lab_staging.gone' references invalid table(s)",
        "function `foreign_function`",
        // A command is a line of its own.
        "- GRANT SELECT ON mysql.proc TO 'lab_staging'@",
    ];
    let plan = planned(&story, &commit);
    assert_ended(&plan, 1, "refused");
    assert_says(&plan.log, &says);
    refused(&story, story.staging(&commit), 1, &says);
    on(&story, "mariadb lab_staging -e 'drop function foreign_function; drop view gone'");
    let live = story.deploy(&commit);
    assert_ended(&live, 0, "live");
    let dump = format!("gzip -dc backups/{}/database.sql.gz", output(&live, "release"));
    let counted = on(
        &story,
        &format!(
            "{dump} | cut -b 1-200 | grep -acE 'CREATE TABLE `(history|photos)` |CREATE SEQUENCE `numbers` |VIEW `newest` AS select|trigger guards|EVENT `cleans`'"
        ),
    );
    assert_eq!(counted.trim(), "6", "each of them once");
    assert_eq!(
        on(&story, &format!("{dump} | wc -c | xargs -I@ test @ -gt 80000000; echo the photo")).trim(),
        "the photo"
    );
    assert_says(&live.summary, &["the history of 1 tables with system versioning"]);

    // What an account cannot even see is told, with the right that it lacks.
    on(
        &story,
        "for host in localhost 127.0.0.1; do
            mariadb -e \"revoke all privileges, grant option from lab_staging@$host;
                grant select, insert, update, delete, create, alter, drop, index, references, show view on lab_staging.* to lab_staging@$host\"
        done",
    );
    let plan = planned(&story, &commit);
    assert_ended(&plan, 0, "planned");
    assert_says(
        &plan.log,
        &[
            "a backup would lack triggers, events, procedures and functions",
            "GRANT TRIGGER, EVENT, EXECUTE ON `lab_staging`.*",
        ],
    );
    // Who may read every table may read the catalogue of routines, too.
    for right in ["select on mysql.proc", "select on *.*"] {
        on(
            &story,
            &format!("for host in localhost 127.0.0.1; do mariadb -e \"grant {right} to lab_staging@$host\"; done"),
        );
        assert_says(&planned(&story, &commit).log, &["a backup would lack triggers, events, if the database has any"]);
        on(
            &story,
            &format!("for host in localhost 127.0.0.1; do mariadb -e \"revoke {right} from lab_staging@$host\"; done"),
        );
    }
}

#[test]
fn f56_fd26_a_dump_connects_as_the_app_does_and_no_configuration_narrows_it() {
    let story = story();
    let commit = commit("over TLS");
    story.ship(&commit, Variant::Healthy).expect("the build");
    on(
        &story,
        "cd /etc/mysql; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout server.key -out server.csr
        echo subjectAltName=IP:127.0.0.1,DNS:localhost >extensions
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 2 -extfile extensions -out server.pem
        chmod 644 ca.pem server.pem; chown mysql ca.key server.key
        printf '[mariadbd]\\nssl-ca=/etc/mysql/ca.pem\\nssl-cert=/etc/mysql/server.pem\\nssl-key=/etc/mysql/server.key\\n' >mariadb.conf.d/99-tls.cnf
        service mariadb restart
        for host in localhost 127.0.0.1; do mariadb -e \"alter user lab_staging@$host require ssl\"; done",
    );
    let plan = planned(&story, &commit);
    assert_ended(&plan, 1, "refused");
    assert_says(&plan.log, &["database-query-failed", "Access denied for user 'lab_staging'"]);

    on(
        &story,
        "echo MYSQL_ATTR_SSL_CA=/etc/mysql/ca.pem >>shared/.env/staging.env; rm -f current/bootstrap/cache/config.php",
    );
    let narrow = "[mysqldump]\\nwhere = 1=0\\nno_data\\nloose-no_create-info\\n[mariadb-dump]\\nignore_table_data=lab_staging.visitors";
    on(&story, &format!("printf '{narrow}\\n' >/etc/mysql/conf.d/narrow.cnf"));
    // A machine with the clients alone may have no program that tells the configuration. Then the program for the dump does.
    for hide in ["", "mv /usr/bin/my_print_defaults /root/"] {
        on(&story, &format!("test -e /usr/bin/my_print_defaults; {hide}"));
        let says = ["dump-configuration-narrows", "--where --no-data --no-create-info --ignore-table-data"];
        refused(&story, story.staging(&commit), 1, &says);
    }

    on(
        &story,
        "printf '[mysqldump]\\ncompress\\ndefault-character-set=latin1\\n' >/etc/mysql/conf.d/narrow.cnf
        mariadb --default-character-set=utf8mb4 lab_staging -e \
            'create table größe (name text character set utf8mb4); insert into größe values (\"🚀\")'",
    );
    // Of the deploy user's own option file nothing is taken: its password would win over the app's.
    on(
        &story,
        "printf '[client]\\npassword=of-somebody-else\\n' >/home/deploy/.my.cnf; chown deploy /home/deploy/.my.cnf",
    );
    let live = story.deploy(&commit);
    assert_ended(&live, 0, "live");
    let dump = format!("gzip -dc backups/{}/database.sql.gz", output(&live, "release"));
    assert_eq!(
        on(&story, &format!("{dump} | grep -ac -e 'CREATE TABLE `größe`' -e 🚀")).trim(),
        "2",
        "each letter is in the dump"
    );

    // Where nothing tells the configuration, the run says what it does not know.
    let next = self::commit("with a program that tells nothing");
    story.ship(&next, Variant::Healthy).expect("the build");
    let program = "case $1 in --print-defaults) exit 1 ;; esac; exec /usr/bin/mariadb-dump \"$@\"";
    on(
        &story,
        &format!(
            "printf '#!/bin/sh\\n%s\\n' {} >/usr/local/bin/mariadb-dump; chmod 755 /usr/local/bin/mariadb-dump",
            quoted(program)
        ),
    );
    let live = story.deploy(&next);
    assert_ended(&live, 0, "live");
    assert_says(&live.log, &["dump-configuration-unread"]);
}

const POSTGRES: &str = "<?php return ['default' => 'pgsql', 'migrations' => 'migrations', 'connections' => ['pgsql' => ['driver' => 'pgsql',
    'host' => env('DB_HOST'), 'port' => env('DB_PORT'), 'database' => env('DB_DATABASE'), 'username' => env('DB_USERNAME'),
    'password' => env('DB_PASSWORD'), 'charset' => 'utf8', 'prefix' => '', 'schema' => 'public', 'sslmode' => 'prefer']]];\n";

#[test]
fn f56_fd30_a_postgresql_database_is_dumped_and_compared() {
    let story = story();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("database.php"), POSTGRES).expect("the configuration");
    story.lab.upload(folder.path(), "/tmp/postgres").expect("uploading");
    let sql = |database: &str, script: &str| {
        let file = format!("cat >/tmp/x.sql <<'SQL'\n{script}\nSQL\n");
        on(&story, &format!("{file}su postgres -c 'psql -q -v ON_ERROR_STOP=1 {database} -f /tmp/x.sql'"))
    };
    on(&story, "pg_ctlcluster 15 main start");
    sql("postgres", "create role shop login password 'p w;x'; create database shop owner shop;");
    on(
        &story,
        "sed -i -e '/^DB_/d' shared/.env/staging.env
        printf '%s\\n' DB_CONNECTION=pgsql DB_HOST=127.0.0.1 DB_PORT=5432 DB_DATABASE=shop DB_USERNAME=shop 'DB_PASSWORD=\"p w;x\"' >>shared/.env/staging.env
        cp /tmp/postgres/database.php current/config/database.php; rm -f current/bootstrap/cache/config.php
        su deploy -c 'cd current && php artisan migrate --force'",
    );
    let commit = commit("on PostgreSQL");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    tree.write("config/database.php", POSTGRES).expect("the configuration");
    ship(&story, &commit, &tree);

    // pg_dump writes neither what an extension brings, nor the functions that a type brings.
    on(
        &story,
        "cd /usr/share/postgresql/15/extension; printf \"default_version = '1'\\n\" >lab_extension.control
        echo \"create table extended (id int); create function extends() returns trigger language plpgsql as 'begin return new; end';
            create trigger of_extension before insert on extended for each row execute function extends();\" >lab_extension--1.sql",
    );
    sql(
        "shop",
        "create extension lab_extension; grant select on extended to shop; create type span as range (subtype = float8);",
    );
    sql("shop", "create table foreign_table (id int); create view seen as select 1 as one; create materialized view kept as select 1 as one;
        create function answer() returns int language sql as 'select 42';
        create function noted() returns trigger language plpgsql as 'begin return new; end';
        create trigger notes before insert on visitors for each row execute function noted();");
    let says =
        ["dump-object-unreadable", "table public.foreign_table", "- GRANT SELECT ON public.foreign_table TO shop;"];
    let plan = planned(&story, &commit);
    assert_ended(&plan, 1, "refused");
    assert_says(&plan.log, &says);
    sql("shop", "alter table foreign_table owner to shop; grant select on kept to shop;");

    let live = story.deploy(&commit);
    assert_ended(&live, 0, "live");
    assert_says(&live.summary, &["database.dump", "dump check self-tested"]);
    let backup = format!("backups/{}", output(&live, "release"));
    let listed =
        on(&story, &format!("cd {backup} && sha256sum --check --quiet SHA256SUMS && pg_restore --list database.dump"));
    assert_says(
        &listed,
        &["TABLE public visitors shop", "MATERIALIZED VIEW public kept", "TRIGGER public visitors notes"],
    );

    // A dump that ends too early, and one that lacks a table, are none.
    let next = self::commit("on PostgreSQL, again");
    let tree = app::source(&next, Variant::Healthy).expect("the tree");
    tree.write("config/database.php", POSTGRES).expect("the configuration");
    ship(&story, &next, &tree);
    let cut = "/usr/bin/pg_dump \"$@\"; for file do case $file in --file=*) truncate -s -300 \"${file#--file=}\" ;; esac; done";
    for (dump, says) in [
        (cut, "dump-corrupt"),
        ("exec /usr/bin/pg_dump --exclude-table=visitors \"$@\"", "lacks: TABLE public visitors shop"),
    ] {
        on(
            &story,
            &format!(
                "printf '#!/bin/sh\n%s\n' {} >/usr/local/bin/pg_dump; chmod 755 /usr/local/bin/pg_dump",
                quoted(dump)
            ),
        );
        refused(&story, story.staging(&next), 1, &[says]);
    }

    // A comparison that finds everything in a dump with nothing in it proves nothing.
    let awk = "case $1 in *'FILENAME == ARGV'*) ;; *) exec /usr/bin/awk \"$@\" ;; esac";
    on(
        &story,
        &format!(
            "rm /usr/local/bin/pg_dump; printf '#!/bin/sh\\n%s\\n' {} >/usr/local/bin/awk; chmod 755 /usr/local/bin/awk",
            quoted(awk)
        ),
    );
    refused(&story, story.staging(&next), 1, &["it accepts a dump without tables as complete"]);
}

#[test]
fn f59_f60_a_backup_lies_outside_of_what_it_copies_and_misses_nothing() {
    let story = story();
    let commit = commit("backed up");
    story.ship(&commit, Variant::Healthy).expect("the build");

    on(&story, &format!("install -d -o deploy releases/{SEED_RELEASE}/backups && ln -sn current/backups backups"));
    refused(&story, story.staging(&commit), 1, &["are inside the release to back up", "outside"]);
    on(&story, &format!("rm backups && rmdir releases/{SEED_RELEASE}/backups"));

    let unreadable = format!("releases/{SEED_RELEASE}/public/only-root.txt");
    on(&story, &format!("install -m 600 /dev/null {unreadable}"));
    refused(&story, story.staging(&commit), 1, &["only-root.txt", "Permission denied"]);
    assert_eq!(on(&story, "ls -A backups"), "", "no partial backup stays");

    on(&story, &format!("rm {unreadable}"));
    assert_ended(&story.deploy(&commit), 0, "live");
}

// Looking before anything changes.

#[test]
fn f34_the_key_needs_no_agent_and_no_file() {
    let story = story();
    let commit = commit("without an agent");
    story.ship(&commit, Variant::Healthy).expect("the build");

    let runner =
        story.staging(&commit).input("approval", "").env("SSH_AUTH_SOCK", "/nowhere/agent").env("HOME", "/nowhere");
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "planned");
    assert_says(&finished.log, &["logged in as deploy with the key"]);
}

#[test]
fn f49_times_that_would_break_the_order_of_releases_are_refused() {
    let story = story();
    let commit = commit("at a wrong time");
    story.ship(&commit, Variant::Healthy).expect("the build");

    on(
        &story,
        "printf '#!/bin/sh\\nexec /usr/bin/date -d \"+1 hour\" \"$@\"\\n' >/usr/local/bin/date && chmod 755 /usr/local/bin/date",
    );
    refused(&story, story.staging(&commit), 1, &["clock is about 60 min ahead", "timesyncd"]);
    on(&story, "rm /usr/local/bin/date");

    on(&story, "install -d -o deploy releases/20991231_235959-0badc0de");
    refused(&story, story.staging(&commit), 1, &["20991231_235959-0badc0de is not older than now"]);
}

#[test]
fn f70_f72_a_health_route_that_cannot_answer_is_seen_before_the_switch() {
    let story = story();
    let commit = commit("broken probe");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    let gone = "->middleware('App\\\\Http\\\\Middleware\\\\Gone')";
    tree.replace("routes/web.php", "->middleware('health.token')", gone).expect("the route");
    ship(&story, &commit, &tree);

    refused(&story, story.staging(&commit), 1, &["/health", "middleware", "Gone", "does not exist"]);
}

// After the switch.

#[test]
fn f51_f75_a_cache_that_cannot_be_built_is_told_and_the_live_caches_stay() {
    let story = story();
    let commit = commit("with a closure in its configuration");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    tree.write("config/closure.php", "<?php\n\nreturn ['made' => fn () => 1];\n").expect("the configuration");
    ship(&story, &commit, &tree);
    on(&story, "install -o www-data -g www-data -m 664 /dev/null shared/storage/framework/cache/data/a-visitors-cart");
    let caches = format!("{BASE}/releases/{SEED_RELEASE}/bootstrap/cache");
    let before = story.lab.tree_digest(&caches).expect("the live caches");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["these caches could not be built: config"]);
    assert_eq!(story.lab.tree_digest(&caches).expect("the old caches"), before, "the old release keeps its caches");
    on(&story, "test -e shared/storage/framework/cache/data/a-visitors-cart");
}

/// On a full disk Laravel's command says that all is well, and leaves an empty file or half of one.
#[test]
fn f75_a_cache_that_was_cut_short_does_not_replace_a_whole_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    fs::create_dir_all(path("bootstrap/cache")).expect("a folder");
    // `php -n -l` as PHP's own parser judges: what does not end in a semicolon was cut. Else it is asked to write the file behind `--`.
    let php = "#!/bin/sh\ncase $2 in -l) case $(cat \"$3\") in *';') exit 0 ;; *) exit 255 ;; esac ;; esac\n\
         cat >/dev/null\nwhile [ \"$1\" != -- ]; do shift; done\nprintf '%s' \"$(cat \"$(dirname \"$0\")/written\")\" >\"$2\"\n\
         echo done=config >&5\n";
    fs::write(path(".env"), "").expect("a .env");
    fs::write(path("php"), php).expect("a program");
    fs::set_permissions(path("php"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let build = |written: &str| {
        fs::write(path("bootstrap/cache/config.php"), "whole").expect("a cache");
        fs::write(path("written"), written).expect("what is written");
        let script = Script::new("cache", include_str!("../../src/server/release_dir/cache.sh"));
        let script = ["APP_PHP", "CACHES_PHP"].iter().fold(script, |script, name| script.var(name, ""));
        let answer = answer(&script.var("DIR", path("")).var("PHP", path("php")).var("CACHES", "config"));
        (answer, fs::read_to_string(path("bootstrap/cache/config.php")).expect("the cache"))
    };
    for cut in ["", "<?php return ["] {
        let (answer, cache) = build(cut);
        assert_eq!((answer.get("failed").map(String::as_str), cache.as_str()), (Some("config"), "whole"), "{cut}");
    }
    let (answer, cache) = build("<?php return [];");
    assert_eq!((answer["built"].as_str(), cache.as_str()), ("config", "<?php return [];"));
    assert_eq!(fs::read_dir(path("bootstrap/cache")).expect("the caches").count(), 1, "nothing half lies about");
}

#[test]
fn f89_a_ledger_line_that_a_crash_cut_short_does_not_swallow_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let ledger = |line: &str| {
        answer(
            &Script::new("ledger", include_str!("../../src/server/ledger/ledger.sh"))
                .var("LEDGER", path.to_str().expect("a path"))
                .var("LINE", line)
                .var("LOCK", "")
                .var("LOCK_NONCE", ""),
        )
    };
    std::fs::write(&path, "{\"whole\":1}\n{\"cut sh").expect("a ledger");

    assert_eq!(ledger("{\"new\":1}")["written"], "{\"new\":1}");

    assert_eq!(std::fs::read_to_string(&path).expect("the ledger"), "{\"whole\":1}\n{\"new\":1}\n");
    assert_eq!(ledger("")["last"], "{\"new\":1}");
    // The chain goes on behind what was complete, also where a file system left NUL bytes or an empty line.
    let line = |line: &str| format!("{{\"v\":1,\"prev\":\"@PREV@\",\"is\":\"{line}\"}}");
    for end in ["{\"cut sh", "\0\0\0\0\0\0", "\n", "{\"cut\0\0\0", "\n\n\n"] {
        std::fs::remove_file(&path).expect("removing it");
        ledger(&line("first"));
        let whole = std::fs::read_to_string(&path).expect("the ledger");
        std::fs::write(&path, format!("{whole}{end}")).expect("a ledger");
        ledger(&line("second"));
        let text = std::fs::read_to_string(&path).expect("the ledger");
        assert!(text.starts_with(&whole) && text.lines().count() == 2, "{end:?}: {text:?}");
        let digest = gated_deploy::domain::Sha256Digest::of(whole.trim_end());
        assert!(text[whole.len()..].contains(&format!("\"prev\":\"{digest}\"")), "{end:?}: {text:?}");
    }
    // A line that is whole was left by a person without its line feed, and is kept: also one in which braces are text.
    let folded = "{\"v\":1,\"prev\":\"0\",\"is\":\"}{\\\"}\",\"list\":[{\"in\":{}}]}";
    for (end, kept) in [
        (folded, true),
        (&folded[..folded.len() - 1], false),
        (&folded[..folded.len() - 2], false),
        ("[]", false),
        ("{}}", false),
    ] {
        std::fs::write(&path, format!("{{\"whole\":1}}\n{end}")).expect("a ledger");
        ledger(&line("second"));
        let text = std::fs::read_to_string(&path).expect("the ledger");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[lines.len() - 2] == end), (if kept { 3 } else { 2 }, kept), "{end}: {text}");
        let digest = gated_deploy::domain::Sha256Digest::of(lines[lines.len() - 2]);
        assert!(lines[lines.len() - 1].contains(&format!("\"prev\":\"{digest}\"")), "{end}: {text}");
    }
    // A run whose lock was taken over writes no line behind those of later runs.
    let lock = folder.path().join("lock");
    std::fs::create_dir(&lock).expect("a lock");
    std::fs::write(lock.join("nonce"), "theirs\n").expect("a number");
    let late = |number: &str| {
        answer(
            &Script::new("ledger", include_str!("../../src/server/ledger/ledger.sh"))
                .var("LEDGER", path.to_str().expect("a path"))
                .var("LINE", "{\"late\":1}")
                .var("LOCK", lock.to_str().expect("a path"))
                .var("LOCK_NONCE", number),
        )
    };
    assert!(late("ours").contains_key("lost"));
    assert!(!std::fs::read_to_string(&path).expect("the ledger").contains("late"));
    assert_eq!(late("theirs")["written"], "{\"late\":1}");
    // Where nothing can be written, nothing is said to be.
    std::fs::remove_file(&path).expect("removing it");
    std::os::unix::fs::symlink("/dev/null", &path).expect("a place that keeps nothing");
    assert!(!ledger("{\"lost\":1}").contains_key("written"));
}

#[test]
fn f80_f81_f89_f90_f91_every_way_back_leads_to_what_was_live_and_is_written_down() {
    let story = story();
    // Newer than what is live, by name and by time: a release that somebody unpacked and never confirmed.
    on(
        &story,
        &format!(
            "cp -a releases/{SEED_RELEASE} releases/20250202_000000-0badc0de && touch releases/20250202_000000-0badc0de"
        ),
    );
    for word in ["sick once", "sick twice"] {
        let sick = commit(word);
        story.ship(&sick, Variant::Sick500).expect("the build");
        let finished = story.deploy(&sick);
        assert_ended(&finished, 3, "rolled-back");
        assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
        assert_no_false_cheer(&finished);
    }
    let unmigratable = commit("unmigratable");
    story.ship(&unmigratable, Variant::FailingMigration).expect("the build");
    let finished = refused(&story, story.staging(&unmigratable), 1, &["migrate"]);
    assert_no_false_cheer(&finished);

    let ledger = on(&story, "cat .gated-deploy/ledger.jsonl");
    let lines: Vec<serde_json::Value> =
        ledger.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let told: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["outcome"].as_str().unwrap_or_default(), line["failed_at"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(told, [("rolled-back", "health"), ("rolled-back", "health"), ("refused", "migrate")]);
}

/// The summary tells each step with what became of it, and none of the words for a good end.
#[track_caller]
fn assert_no_false_cheer(finished: &Finished) {
    let rows = stages::deploy::table().outline();
    for row in &rows {
        // Between backticks it is code, and stays as it is.
        let parts = row.title.split('`').enumerate();
        let parts =
            parts.map(
                |(at, part)| if at % 2 == 0 { part.replace('<', "&lt;").replace('>', "&gt;") } else { part.to_owned() },
            );
        let title = parts.collect::<Vec<_>>().join("`");
        let line = finished.summary.lines().find(|line| line.starts_with('|') && line.contains(&title));
        let line = line.unwrap_or_else(|| panic!("{} has no row in:\n{}", row.title, finished.summary));
        let verdict = line.split('|').map(str::trim).nth(3).unwrap_or_default();
        assert!(!verdict.is_empty(), "an empty cell: {line}");
    }
    let confirmed = rows.iter().find(|row| row.kind == RowKind::Commit).expect("the row that confirms");
    let line = finished.summary.lines().find(|line| line.contains(&confirmed.title)).unwrap_or_default();
    assert!(line.contains("not reached"), "{line}");
    assert_eq!(output(finished, "decision"), "no-go");
}

#[test]
fn f83_an_old_release_that_is_sick_too_is_another_ending_with_commands_that_work() {
    let story = story();
    let commit = commit("drops what the old one needs");
    let tree = app::source(&commit, Variant::Sick500).expect("the tree");
    let migration = "<?php\n\nreturn new class extends Illuminate\\Database\\Migrations\\Migration\n{\n    public function up()\n    {\n        Illuminate\\Support\\Facades\\Schema::rename('visitors', 'guests');\n    }\n};\n";
    tree.write("database/migrations/2024_03_01_090000_rename_visitors.php", migration).expect("the migration");
    // Before the switch the new release is healthy on the new schema.
    let health = "app/Http/Controllers/HealthController.php";
    tree.replace(health, "DB::table('visitors')", "DB::table('guests')").expect("the health check");
    ship(&story, &commit, &tree);

    let finished = story.deploy(&commit);

    assert_ended(&finished, 4, "stuck");
    let by_hand = commands(&finished);
    assert!(by_hand.len() >= 4, "link and reload:\n{}", finished.summary);
    assert_says(&on(&story, "tail -n 1 .gated-deploy/ledger.jsonl"), &["\"outcome\":\"stuck\""]);

    // Whoever repairs the database and types the commands has the old release back, from wherever the link leads.
    on(&story, "mariadb lab_staging -e 'RENAME TABLE guests TO visitors' && ln -sfn shared current");
    story.lab.exec_as("deploy", &format!("set -e\n{}", by_hand.join("\n"))).expect("the commands of the summary");
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    assert_eq!(story.served().expect("the site"), gated_deploy_lab::server::SEED_COMMIT);
}

/// What the summary tells somebody to type.
fn commands(finished: &Finished) -> Vec<String> {
    let (_, after) =
        finished.summary.split_once("### Run these commands on the server").expect("commands in the summary");
    after
        .lines()
        .skip_while(|line| !line.starts_with("```"))
        .skip(1)
        .take_while(|line| !line.starts_with("```"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn f67_f74_a_reload_that_reloads_nothing_is_noticed() {
    let story = story_on(Options { process_control_timeout: 1, ..Options::default() });
    let commit = commit("never seen");
    story.ship(&commit, Variant::Healthy).expect("the build");
    on(&story, "printf '#!/bin/sh\\nexit 0\\n' >/usr/sbin/service");

    let finished = story.deploy(&commit);

    // The way back reloads too, so nobody can say what the site runs: help is needed.
    assert_ended(&finished, 4, "stuck");
    assert_says(&finished.summary, &["reported success, but", "old workers are still running"]);
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
}

/// Runs a script as root on the server, in the site's folder.
#[track_caller]
fn on(story: &Story, script: &str) -> String {
    story.lab.exec(&format!("set -eu; cd {BASE}\n{script}")).expect("a command on the server")
}

#[track_caller]
fn ship(story: &Story, commit: &str, tree: &TempTree) {
    story.publish(&story.build(commit, tree).expect("the build")).expect("the artifact");
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[test]
fn f67_a_reload_that_nobody_can_see_is_believed_and_told() {
    // As on a server that hides other users' processes: there is no process of these names to be seen.
    let script = Script::new("reload", crate::services::RELOAD)
        .var("FPM_COMMAND", "true")
        .var("NGINX_COMMAND", "true")
        .var("FPM_NAME", "no-such-fpm")
        .var("NGINX_NAME", "no-such-nginx")
        .var("FPM_SERVICE", "no-such-fpm")
        .var("NGINX_SERVICE", "no-such-nginx")
        .var("PROC", "/proc")
        .var("RUN", "/run")
        .var("ETC", "/nonexistent")
        .var("CURRENT", "")
        .var("NEXT", "")
        .var("WAIT", "1");
    assert_eq!(answer(&script)["unseen"], "no-such-nginx");
}
