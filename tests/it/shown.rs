//! `gated-deploy report show`: reports of every version that there was, and files that are none.
//!
//! `tests/fixtures/report-v1-*.json` were written by the last version of the program that wrote version 1, from releases in the lab; only
//! the server's address was replaced.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    reports::{live, planned, rolled_back, stuck, tell},
    support::{BINARY, assert_says, root},
};

/// Exit code, and what it says.
fn show(document: &[u8]) -> (i32, String) {
    let mut child = Command::new(BINARY)
        .args(["report", "show", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("its input").write_all(document).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).expect("UTF-8"))
}

fn shown(document: &Value) -> String {
    let (code, said) = show(document.to_string().as_bytes());
    assert_eq!(code, 0, "{said}");
    said
}

fn refused(document: impl AsRef<[u8]>) -> String {
    let (code, said) = show(document.as_ref());
    assert_eq!(code, 2, "{said}");
    assert!(said.starts_with("error: standard input "), "{said}");
    said
}

/// A report of version 1.
fn old(name: &str) -> Value {
    let text = fs::read_to_string(root().join(format!("tests/fixtures/report-v1-{name}.json"))).expect("the fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn new(events: &[gated_deploy::engine::event::Event]) -> Value {
    serde_json::from_str(&tell(events).report_json).expect("JSON")
}

#[test]
fn a_report_of_version_1_still_reads() {
    let said = shown(&old("rolled-back"));
    assert_says(
        &said,
        &[
            "Rolled back: the old release is live again and healthy (3/3)\n",
            "outcome      rolled-back, exit code 3\n",
            "stage        deploy-staging\n",
            "release      20261125_030637-770e6076 -> 20261125_030641-2f05d4b6 (rolled back)\n",
            "commit       2f05d4b689d270cafb02285f35f44866f7dc8a2d\n",
            "report       version 1\n",
            "19 The site answers, healthy, as this release: asking the site whether the new release is healthy: 1 of 3 endpoints are healthy",
            "    help: look at the application's log (shared/storage/logs)",
            "    | /api/health-check: 500 instead of 200\n",
            "\nWhat stays\n  nothing\n",
            // Version 1 kept how undoing went where version 2 has what undoing means.
            "15 Point current at it: undone: ",
            "9/9 passed\n",
            "server: bundle, read again from its disk: b34309420ca4d23eac1115e991e794b5ab98694fe5b59b9257ae346f373d9718 the same\n",
            "all of them agree\n",
            "worked out now from what the report tells\n",
            "  met: Every gate passed\n",
            "  NOT met: The new release answered healthy on every endpoint (1/3)\n",
            // That version did not measure it.
            "  not told: Visitors met no more downtime than allowed\n",
            "http://staging.lab.test` is plain http",
        ],
    );
    let said = shown(&old("live"));
    assert_says(
        &said,
        &["Live, with 1 warning: the new release is live and healthy\n", "outcome      live, exit code 0\n"],
    );
    assert!(!said.contains("What failed"), "{said}");
}

#[test]
fn a_report_says_what_the_summary_of_its_run_said() {
    for events in [live(), planned(), rolled_back(), stuck()] {
        let told = tell(&events);
        let (code, said) = show(told.report_json.as_bytes());
        assert_eq!(code, 0, "{said}");
        let headline = said.lines().next().expect("a headline");
        let title = told.summary.lines().next().expect("a title");
        // The summary escapes what Markdown would take for its own.
        assert!(title.replace("&#34;", "\"").ends_with(headline), "{headline}\n{title}");
        let document: Value = serde_json::from_str(&told.report_json).expect("JSON");
        let steps = document["next_steps"].as_array().expect("next steps");
        assert!(!steps.is_empty());
        for step in steps {
            assert_says(&said, &[step.as_str().expect("a text")]);
        }
        assert_says(&said, &["report       version 2\n", "\nAcceptance criteria\n"]);
    }
}

#[test]
fn whoever_is_stuck_reads_the_commands_in_the_stored_report() {
    let said = shown(&new(&stuck()));
    assert_says(
        &said,
        &[
            "Manual action required: the rollback failed at step 15 (Switch `current` to the release)",
            "Why the rollback is not complete\n  15 Switch `current` to the release: pointing current back: the server does not answer any more\n",
            "Run these commands on the server\n    ln -s releases/",
            "mv -Tf /srv/app/.current.tmp /srv/app/current\n",
        ],
    );
}

#[test]
fn a_bundle_that_is_not_the_same_everywhere_is_said() {
    let mut document = old("rolled-back");
    document["facts"]["bundle"]["verified_at"] = json!(["the .sha256 beside it"]);
    assert_says(
        &shown(&document),
        &["bundle, read again from its disk: b3430942", "NOT compared\n", "2 digests not compared\n"],
    );
    let mut document = new(&live());
    let hop = |sha256: &str| json!({ "place": "runner", "what": "bundle", "sha256": sha256.repeat(64), "same": true });
    document["bundle"]["hops"] = json!([hop("a"), hop("b")]);
    assert_says(&shown(&document), &["they do NOT agree"]);
}

#[test]
fn another_version_and_a_broken_file_are_told_with_what_and_where() {
    let mut later = new(&live());
    later["version"] = json!(3);
    assert_says(&refused(later.to_string()), &["`version` is 3; this program reads 1 to 2\nhelp: "]);
    let text = tell(&live()).report_json;
    assert_says(&refused(&text[..text.len() / 2]), &["is cut short: it ends in the middle, at line "]);
    assert_says(&refused(""), &["is empty"]);
    assert_says(&refused("not JSON"), &["is no JSON", "line 1 column"]);
    assert_says(&refused("[]"), &["is no report"]);
    assert_says(&refused("{}"), &["is no report of a run: it has no `version`"]);
    assert_says(&refused(b"\xff\xfe{}"), &["is no JSON"]);
    assert_says(&refused("[".repeat(100_000)), &["is no JSON: recursion limit"]);
    for version in [json!(null), json!("2"), json!(-1), json!(1.5)] {
        let mut odd = new(&live());
        odd["version"] = version;
        assert_says(&refused(odd.to_string()), &["not a number of a version"]);
    }
    let (code, said) = {
        let output = Command::new(BINARY).args(["report", "show", "/nowhere/report.json"]).output().expect("it starts");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    assert_eq!(code, Some(2));
    assert_says(&said, &["error: reading /nowhere/report.json: No such file"]);
}

#[test]
fn what_is_null_is_not_known_and_what_has_another_shape_is_named() {
    let whole = new(&rolled_back());
    for name in whole.as_object().expect("an object").keys() {
        let mut document = whole.clone();
        document[name] = Value::Null;
        let (code, said) = show(document.to_string().as_bytes());
        assert!([0, 2].contains(&code), "{name}: {code} {said}");
        if code == 2 {
            assert_says(&said, &[&format!("`{name}`")]);
        }
        let mut document = whole.clone();
        document[name] = json!([{ "step": 7 }]);
        let (code, said) = show(document.to_string().as_bytes());
        assert!([0, 2].contains(&code), "{name}: {code} {said}");
    }
    let mut document = whole.clone();
    document["rows"][2]["verdict"] = json!("splendid");
    assert_says(&refused(document.to_string()), &["`rows[2]` cannot be read: unknown variant `splendid`"]);
    let mut document = whole.clone();
    for part in ["facts", "rows", "criteria", "warnings", "bundle", "next_steps"] {
        document[part] = Value::Null;
    }
    assert_says(&shown(&document), &["Steps\n  none is told\n", "Gates\n  not reached\n", "Bundle\n  not reached\n"]);
    let mut document = whole;
    document["facts"]["gates"] = json!({ "results": "all of them" });
    assert_says(&shown(&document), &["told in a form that this program does not know"]);
}

#[test]
fn a_report_that_contradicts_itself_is_not_believed() {
    let mut document = new(&rolled_back());
    document["outcome"] = json!("live");
    assert_says(
        &refused(document.to_string()),
        &["contradicts itself: `outcome` is \"live\", by its `ending` it is \"rolled-back\""],
    );
    let mut document = new(&rolled_back());
    document["exit_code"] = json!(0);
    assert_says(&refused(document.to_string()), &["`exit_code` is 0, by its `ending` it is 3"]);
}

#[test]
fn a_report_cannot_move_the_cursor_give_commands_or_make_lines() {
    let hostile =
        "\u{1b}[2J\u{1b}]0;title\u{7}\r\nLive: the new release is live and healthy\n::error::x ##[group]y\u{202e}z\0";
    let mut document = old("rolled-back");
    hurt(&mut document, hostile);
    let said = shown(&document);
    assert!(!said.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{said:?}");
    for line in said.lines() {
        assert!(!line.starts_with("Live:") && !line.trim_start().starts_with("::") && !line.contains("##["), "{line}");
    }
    assert_says(&said, &["Rolled back: "]);
}

/// Puts a text into everything that is free text.
fn hurt(value: &mut Value, text: &str) {
    match value {
        Value::Object(members) => {
            let free =
                ["title", "text", "cause", "hint", "doing", "problem", "url", "server", "environment", "undo", "path"];
            for (name, member) in members {
                match member {
                    Value::String(old) if free.contains(&name.as_str()) => old.push_str(text),
                    other => hurt(other, text),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hurt(item, text)),
        _ => {}
    }
}

#[test]
fn help_says_how_to_read_a_report() {
    let help = |args: &[&str]| {
        let output = Command::new(BINARY).args(args).output().expect("it starts");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let (code, said) = help(&["--help"]);
    assert_eq!(code, Some(0));
    assert_says(&said, &["gated-deploy report show --help", "gated-deploy ledger verify --help"]);
    let (code, said) = help(&["report", "show", "--help"]);
    assert_eq!(code, Some(0));
    assert_says(&said, &["FILE", "Exit codes"]);
    assert_eq!(help(&["report", "show"]).0, Some(2));
}
