//! The script that runs a hook, in this machine's own shell: what ends it, and what it leaves.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use gated_deploy::{
    domain::{
        RemotePath,
        hook::{Hook, Moment},
    },
    server::hooks::{Around, script},
    transport::shell::Script,
};

/// A machine that others keep busy takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// In the place of PHP: as the filter it passes everything on, and asked for entries of `.env` it knows one.
const PHP: &str = r#"case "$*" in
*" -r "*) eval "mark=\${$(($# - 1))}"; exec sed -u "/^$mark\$/q" ;;
*SHOP_KEY*) cat >/dev/null; printf "export SHOP_KEY='it'\\\\''s \n\$HOME'\n" ;;
*) cat >/dev/null; echo NO_SUCH; exit 3 ;;
esac"#;

struct Release(tempfile::TempDir);

impl Release {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("release")).expect("a release");
        let php = folder.path().join("php");
        fs::write(&php, format!("#!/bin/sh\n{PHP}\n")).expect("a program");
        fs::set_permissions(&php, fs::Permissions::from_mode(0o755)).expect("its mode");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn hook(&self, words: &[&str], within: u64, env: &[&str]) -> Script {
        let dir: RemotePath = self.path("release").parse().expect("a path");
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let hook = Hook { run: texts(words), within: Duration::from_secs(within), required: true, env: texts(env) };
        let around = Around {
            dir: &dir,
            env_file: &self.path(".env").parse().expect("a path"),
            php: &self.path("php"),
            live: false,
            moment: Moment::AfterSwitch,
            environment: "staging",
            release: "20261101_080000-0123abcd",
            other: "20261001_080000-0123abcd",
        };
        script(&hook, &around)
    }

    /// A command line of a shell as a hook.
    fn shell(&self, line: &str, within: u64) -> Ran {
        ended(begun(&self.hook(&["sh", "-c", line], within, &[])))
    }

    /// The processes whose numbers the hook wrote, once it has: those that are there still.
    fn alive(&self) -> Vec<String> {
        let numbers =
            until(|| fs::read_to_string(self.path("release/numbers")).ok().filter(|text| text.contains('\n')));
        numbers.split_whitespace().filter(|number| is_alive(number)).map(str::to_owned).collect()
    }
}

fn is_alive(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Looks again and again until there is something.
fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Begins a script in a process group of its own, as sshd does.
fn begun(script: &Script) -> Child {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-s", "n1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut shell = shell.spawn().expect("a shell");
    shell.stdin.take().expect("its input").write_all(script.text("n1").as_bytes()).expect("it reads");
    shell
}

struct Ran {
    answer: String,
    log: String,
}

impl Ran {
    fn get(&self, key: &str) -> Option<&str> {
        self.answer.split('\0').find_map(|record| record.strip_prefix(key)?.strip_prefix('='))
    }
}

fn ended(shell: Child) -> Ran {
    let output = shell.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { answer: text(&output.stdout), log: text(&output.stderr) }
}

fn signal(name: &str, process: &str) {
    let sent = Command::new("kill").args(["-s", name, "--", process]).status().expect("kill");
    assert!(sent.success(), "{name} to {process}");
}

#[test]
fn a_hook_has_the_environment_that_is_documented_and_entries_of_env_stand_in_no_argument() {
    let release = Release::new();
    let manifest = format!(r#"{{"version":1,"commit":"{}","files":{{}}}}"#, "0123abcd".repeat(5));
    fs::write(release.path("release/.gated-deploy-manifest.json"), manifest).expect("a manifest");
    // The shell sets PWD and the like by itself, so that the program is asked.
    let line =
        "env -0 | sort -z | tr '\\0' '|'; tr '\\0' ' ' </proc/$$/cmdline; tr '\\0' ' ' </proc/$PPID/cmdline; cat";
    let ran = ended(begun(&release.hook(&["sh", "-c", line], 60, &["SHOP_KEY"])));
    assert_eq!(ran.get("status"), Some("0"), "{}", ran.log);
    let (entries, _) = ran.log.split_once("|sh -c ").expect("the argument lists behind the variables");
    let names: Vec<&str> = entries.split('|').filter_map(|entry| Some(entry.split_once('=')?.0)).collect();
    let documented = [
        "GATED_DEPLOY_COMMIT",
        "GATED_DEPLOY_ENVIRONMENT",
        "GATED_DEPLOY_MOMENT",
        "GATED_DEPLOY_OTHER_RELEASE",
        "GATED_DEPLOY_RELEASE",
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "PWD",
        "SHOP_KEY",
        "USER",
    ];
    assert_eq!(names, documented, "{}", ran.log);
    for entry in [
        &format!("GATED_DEPLOY_COMMIT={}|", "0123abcd".repeat(5)),
        "GATED_DEPLOY_MOMENT=after-switch|",
        "GATED_DEPLOY_RELEASE=20261101_080000-0123abcd|",
        &format!("PWD={}|", release.path("release")),
        "SHOP_KEY=it's \n$HOME|",
    ] {
        assert!(ran.log.contains(entry), "{entry} in {}", ran.log);
    }
    assert_eq!(ran.log.matches("it's").count(), 1, "the value stands in its environment alone: {}", ran.log);
    let docs = fs::read_to_string(crate::support::root().join("docs/hooks.md")).expect("docs/hooks.md");
    for name in documented.iter().filter(|name| !["PWD", "SHOP_KEY"].contains(name)) {
        assert!(docs.contains(&format!("`{name}`")), "{name} is not documented");
    }

    let ran = ended(begun(&release.hook(&["touch", "ran"], 60, &["NO_SUCH"])));
    assert_eq!(ran.get("refused"), Some("hook-variable-missing"), "{}", ran.log);
    assert!(ran.answer.contains("value=names=NO_SUCH") && !Path::new(&release.path("release/ran")).exists());
}

#[test]
fn words_reach_the_program_as_they_stand_in_the_policy() {
    let release = Release::new();
    let ran = ended(begun(&release.hook(&["printf", "<%s>", "a b", "", "$HOME", "*", "'", "`id`", "\\"], 60, &[])));
    assert_eq!(ran.get("status"), Some("0"), "{}", ran.log);
    assert!(ran.log.contains(r"<a b><><$HOME><*><'><`id`><\>"), "{}", ran.log);
}

#[test]
fn however_a_hook_ends_its_status_is_known_and_nothing_of_its_group_is_left() {
    for (line, status, left) in [
        ("exit 7", "7", false),
        ("no-such-program", "127", false),
        ("sleep 600 & echo $! $$ >numbers", "0", true),
        ("sleep 600 & echo $! $$ >numbers; kill -9 $PPID; wait", "137", true),
        ("sleep 600 & echo $! $$ >numbers; kill -9 0; wait", "137", true),
        ("sleep 600 & echo $! $$ >numbers; kill -9 $$", "137", true),
    ] {
        let release = Release::new();
        let ran = release.shell(line, 300);
        assert_eq!((ran.get("status"), ran.get("late")), (Some(status), None), "{line}: {} {}", ran.answer, ran.log);
        assert!(ran.answer.contains("end=n1:0"), "{line}: {}", ran.answer);
        if left {
            assert_eq!(release.alive(), Vec::<String>::new(), "{line}");
        }
    }
    let release = Release::new();
    let ran = ended(begun(&release.hook(&["no-such-program", "a"], 60, &[])));
    assert_eq!(ran.get("status"), Some("127"), "{}", ran.log);
    assert!(ran.log.contains("no-such-program"), "{}", ran.log);
}

#[test]
fn a_hook_ends_when_its_time_is_over_whatever_it_ignores() {
    for line in
        ["sleep 600 & echo $! $$ >numbers; wait", "trap '' TERM; sleep 600 & echo $! $$ >numbers; wait; sleep 600"]
    {
        let release = Release::new();
        let began = Instant::now();
        let ran = release.shell(line, 2);
        assert_eq!(ran.get("late"), Some("yes"), "{line}: {} {}", ran.answer, ran.log);
        assert!(began.elapsed() >= Duration::from_secs(2) && began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        assert_eq!(release.alive(), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn a_hook_ends_with_its_script_however_that_ends() {
    for (name, whole_group) in [("TERM", true), ("KILL", true), ("KILL", false)] {
        let release = Release::new();
        let shell = begun(&release.hook(&["sh", "-c", "sleep 600 & echo $! $$ >numbers; wait"], 600, &[]));
        until(|| (!release.alive().is_empty()).then_some(()));
        let number = shell.id().to_string();
        match whole_group {
            true => signal(name, &format!("-{number}")),
            // The shell that waits for the hook, and not the one that sshd began.
            false => {
                let hook = fs::read_to_string(release.path("release/numbers")).expect("numbers");
                let parent = |process: &str| {
                    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
                    let (_, rest) = stat.rsplit_once(')').expect("its name");
                    rest.split_whitespace().nth(1).expect("its parent").to_owned()
                };
                let own = hook.split_whitespace().nth(1).expect("the hook");
                signal(name, &parent(&parent(own)));
            }
        }
        // The one that is killed alone lets the shell above it answer that.
        let ran = ended(shell);
        assert!(!ran.answer.contains("status="), "{name}: {}", ran.answer);
        until(|| release.alive().is_empty().then_some(()));
    }
}
