//! Scripts in this machine's own shell.
use crate::transport::shell;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use super::*;

/// Stands for a PHP that runs the filter: it stars out one word, up to the line that ends the input.
const FILTER: &str = "#!/bin/sh\nmark=$8\nsed -u -e \"/^$mark$/Q\" -e 's/hunter2/***/'\n";

fn run(script: &Script) -> Output {
    let mut shell = Command::new("/bin/sh")
        .args(["-s", "n1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    shell.stdin.take().expect("its input").write_all(script.text("n1").as_bytes()).expect("it reads");
    shell.wait_with_output().expect("it ends")
}

/// A script that runs an app's code with this filter (empty: PHP is missing).
fn hiding(folder: &std::path::Path, filter: &str, program: &'static str) -> Script {
    let php = folder.join("php");
    if !filter.is_empty() {
        fs::write(&php, filter).expect("a program");
        fs::set_permissions(&php, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    let env = folder.join(".env").to_str().expect("UTF-8").parse().expect("a path");
    shell::Script::new("test", program).var("PHP", php.to_str().expect("UTF-8")).hiding(&env)
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', ";");
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_the_app_prints_passes_the_filter_and_its_status_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = "say 'password hunter2'\necho 'and hunter2' >&2\nput version \"$(cleaned 'v hunter2')\"\nsay more\nfalse\nput never yes";
    let output = run(&hiding(folder.path(), FILTER, program));
    let (answer, log) = said(&output);
    assert!(answer.starts_with("begin=n1:") && answer.ends_with(";version=v ***;end=n1:1;"), "{answer}");
    let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, ["password ***", "and ***", "more"]);
    assert_eq!(output.status.code(), Some(1));

    let refused = said(&run(&hiding(folder.path(), FILTER, "( refuse made-up name='a value' )\nput never yes"))).0;
    assert!(refused.ends_with(";refused=made-up;value=name=a value;end=n1:10;"), "{refused}");
    let early = said(&run(&hiding(folder.path(), FILTER, "put one 1\nexit 0\nput never yes"))).0;
    assert!(early.ends_with(";one=1;end=n1:0;"), "{early}");
}

#[test]
fn without_the_filter_nothing_of_the_app_is_passed_on() {
    for filter in ["", "#!/bin/sh\nexit 255\n", "#!/bin/sh\nread -r line\nexit 3\n"] {
        let folder = tempfile::tempdir().expect("a folder");
        let program =
            "say 'password hunter2'\nput version \"$(cleaned 'v hunter2')\"\nsay 'more hunter2'\nput done yes";
        let (answer, log) = said(&run(&hiding(folder.path(), filter, program)));
        assert!(!log.contains("hunter2") && !answer.contains("hunter2"), "{filter:?}: {log} {answer}");
        assert!(log.contains("output withheld: the filter that hides the values of"), "{filter:?}: {log}");
        // The work itself goes on.
        assert!(answer.ends_with(";done=yes;end=n1:0;"), "{filter:?}: {answer}");
    }
}

#[test]
fn a_process_that_the_app_leaves_behind_does_not_hold_the_script() {
    let folder = tempfile::tempdir().expect("a folder");
    let began = Instant::now();
    let program = "sleep 30 3>&- &\nput left $!\nsay last";
    let (answer, log) = said(&run(&hiding(folder.path(), FILTER, program)));
    let left = answer.split("left=").nth(1).and_then(|rest| rest.split(';').next()).expect("its number").to_owned();
    Command::new("kill").arg(left).status().expect("kill");
    assert!(log.contains("last") && answer.ends_with(";end=n1:0;"), "{log} {answer}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// The answer is the script's. What an app opens or writes there is none of it.
#[test]
fn the_app_has_no_part_in_the_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let forger = "#!/bin/sh\ncase $1 in -n) mark=$8; exec sed -u \"/^$mark\\$/Q\" ;; esac\n\
                  cat >/dev/null\n{ printf 'forged=yes\\0' >&3; } 2>/dev/null\necho printed\necho answered >&5\n";
    let program = "private_folder \"$PLACE\"\nput app \"$(app '<?php' a)\"\nput live \"$(live_app '<?php' b)\"\nput done \"$(cleaned yes)\"";
    let place = folder.path().to_str().expect("UTF-8").to_owned();
    let (answer, log) = said(&run(&hiding(folder.path(), forger, program).var("PLACE", place)));
    assert!(answer.ends_with(";app=answered;live=answered;done=yes;end=n1:0;"), "{answer} {log}");
    assert_eq!(log.matches("printed").count(), 2, "what it prints is log: {log}");
}

/// A PHP that makes traces writes no argument of a function into them: PHP 8.1 and earlier cut a password there to 15 characters.
#[test]
fn php_makes_traces_without_arguments_wherever_it_runs() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut calls = 0;
    {
        for file in walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("an entry").into_path()) {
            if file.extension().is_none_or(|extension| extension != "sh") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a script");
            for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
                for call in line.split("\"$PHP\" ").skip(1).filter(|call| call.starts_with('-')) {
                    // The second loads no code of an app, and answers by itself. The third are words that are started elsewhere.
                    let words = line.trim_start().starts_with("set -- ") && text.contains(" hook \"$@\" 3>&-");
                    assert!(
                        call.contains(" 3>&-") || call.contains("$ASK_PHP") || words,
                        "the answer's descriptor is open: {}: {line}",
                        file.display()
                    );
                    // Neither runs any code.
                    if call.starts_with("-n -l ") {
                        continue;
                    }
                    calls += 1;
                    let quiet = ["-d zend.exception_ignore_args=1 ", "-n -d zend.exception_ignore_args=1 "];
                    assert!(quiet.iter().any(|flag| call.starts_with(flag)), "{}: {line}", file.display());
                }
            }
        }
    }
    assert!(calls > 5, "{calls} calls were found");
}

/// The records that a script answers with, without the process in the first, and its log.
fn carried_out(script: &Script) -> (Vec<String>, String) {
    let output = run(script);
    let answer = String::from_utf8(output.stdout).expect("text");
    let records = answer.split_terminator('\0').map(|record| match record.strip_prefix("begin=n1:") {
        Some(_) => "begin".to_owned(),
        None => record.to_owned(),
    });
    (records.collect(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn a_checkpoint_comes_after_the_work_and_before_the_end_of_the_answer() {
    let script = shell::Script::new("test", "say working\ncheckpoint inside\nput done yes");
    let (records, log) = carried_out(&script);
    assert_eq!((records.join(" ").as_str(), log.as_str()), ("begin done=yes end=n1:0", "working\n"));

    let stopped = script.with_checkpoint("checkpoint() { put at \"$1\"; }");
    let (records, _) = carried_out(&stopped);
    assert_eq!(records.join(" "), "begin at=inside done=yes at=answer end=n1:0");

    let refuses = shell::Script::new("test", "refuse no").with_checkpoint("checkpoint() { put at \"$1\"; }");
    assert_eq!(carried_out(&refuses).0.join(" "), "begin refused=no at=answer end=n1:10");
}

#[test]
fn each_error_of_a_connection_has_its_code_and_kind() {
    use crate::domain::FailureKind::{Refused, World};
    let text = String::new;
    let cases = [
        (shell::ShellError::Unreachable(text()), "ssh-unreachable", World),
        (shell::ShellError::Throttled(text()), "ssh-turned-away", World),
        (
            shell::ShellError::HostKey {
                host: text(),
                key_type: text(),
                got: text(),
                expected: text(),
                line: "[h]:22 k".into(),
            },
            "host-key-mismatch",
            Refused,
        ),
        (shell::ShellError::HostKeyUnusable(text()), "host-key-unusable", Refused),
        (
            shell::ShellError::Weak { host: text(), what: "cipher", offered: text(), wanted: text() },
            "ssh-algorithms-weak",
            Refused,
        ),
        (
            shell::ShellError::Denied {
                host: text(),
                user: text(),
                fingerprint: text(),
                methods: text(),
                line: text(),
            },
            "ssh-key-denied",
            Refused,
        ),
        (
            shell::ShellError::SecondFactor { host: text(), user: text(), fingerprint: text(), methods: text() },
            "ssh-second-factor",
            Refused,
        ),
        (shell::ShellError::Dropped(text()), "connection-lost", World),
        (shell::ShellError::TimedOut(Duration::from_secs(1)), "script-timed-out", World),
        (shell::ShellError::Failed { status: text(), tail: vec!["its end".into()] }, "command-failed", Refused),
        (shell::ShellError::NoAnswer { noise: text() }, "shell-answer-invalid", Refused),
        (shell::ShellError::Local(text()), "ssh-runner-error", World),
    ];
    for (error, code, kind) in cases {
        let failure = error.failure("connecting");
        assert_eq!((&*failure.code, failure.kind), (code, kind));
        assert!(failure.hint.is_some() || code == "ssh-runner-error", "{code} says what to do");
    }
}
