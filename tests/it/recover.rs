//! A run that somebody or something ended, and who brings to its end what it began: the post step, `stage: recover`, the next run.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, thread};

use gated_deploy::ports::shell::Script;

use crate::{failures::answer, support::BINARY};

/// Whether the tool itself follows the chain of a ledger to its end; how many lines it has.
fn followed(ledger: &Path) -> usize {
    let verify = Command::new(BINARY).args(["ledger", "verify"]).arg(ledger).output().expect("the tool");
    let text = fs::read_to_string(ledger).expect("the ledger");
    assert!(verify.status.success(), "{}\n{text}", String::from_utf8_lossy(&verify.stdout));
    text.lines().count()
}

/// A folder with every program that an appending script needs, but for flock.
fn without_flock(folder: &Path) -> String {
    for program in ["tail", "sha256sum", "date", "mkdir", "cat", "mv", "rm", "sleep"] {
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
            let script = Script::new("ledger", include_str!("../../src/steps/sh/ledger.sh"))
                .var("LEDGER", ledger.to_str().expect("a path"))
                .var("LINE", format!("{{\"prev\":\"@PREV@\",\"at\":\"@AT@\",\"writer\":{writer},\"line\":{line}}}"));
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
    let script = Script::new("ledger", include_str!("../../src/steps/sh/ledger.sh"))
        .var("LEDGER", ledger.to_str().expect("a path"))
        .var("LINE", "{\"prev\":\"@PREV@\",\"at\":\"@AT@\"}")
        .var("PATH", bare);
    assert!(answer(&script).contains_key("written"));
    assert_eq!(followed(&ledger), 1);
    assert!(!folder.path().join("ledger.writing").exists());
}
