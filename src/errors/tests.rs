use crate::{
    domain::{Layout, RemotePath, failure},
    errors::{self, activation, general, preflight, services},
};
use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use super::*;

fn value(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The names in braces.
fn names_in(template: &str) -> BTreeSet<&str> {
    template.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
}

#[test]
fn every_code_has_a_name_of_its_own_that_can_be_an_anchor() {
    let names: Vec<&str> = all().map(|code| code.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "two codes have one name: {names:?}");
    for code in all() {
        let plain =
            code.name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
        assert!(plain && !code.name.is_empty(), "{}", code.name);
        for text in [code.meaning, code.cause, code.action] {
            assert!(text.ends_with(['.', ':', ')', '`']), "{}: {text}", code.name);
        }
    }
}

#[test]
fn what_a_script_refuses_becomes_a_failure_with_its_values() {
    let values = [value("path", "/srv/app/shared/storage"), value("folder", "/srv/app/shared")];
    let failure = of_script("path-replaced", "unpacking the release", &values);
    assert_eq!(failure.code, "path-replaced");
    assert_eq!(
        failure.to_string(),
        "unpacking the release: /srv/app/shared/storage was replaced while this script ran"
    );
    assert_eq!(failure.hint.as_deref(), Some("Find out who writes there: ls -l /srv/app/shared"));
    // A value is text, and no template.
    let failure = of_script("ledger-busy", "writing", &[value("path", "/srv/{path}/x")]);
    assert_eq!(failure.cause, "another process has been writing to /srv/{path}/x for 30 s");
    // What another version's script says is told, and loses nothing.
    let failure = of_script("unheard-of", "writing", &[value("path", "/srv")]);
    assert_eq!(
        (failure.cause.as_str(), failure.details.as_slice()),
        ("the server refused: unheard-of", &["path: /srv".to_owned()][..])
    );
}

#[test]
fn after_a_rollback_without_reload_the_reason_of_the_reload_is_named() {
    let places = ["/srv/current", "releases/old", "releases/new", "/srv/watchdog/new.reverting"];
    let why = of_script("nginx-not-reloaded", "", &[value("service", "nginx"), value("fault", "no certificate")]);
    let failure = activation::reload_failed("rolling back", places, Some(why));
    assert_eq!(failure.code, "rollback-reload-failed");
    assert_eq!(
        failure.cause,
        "/srv/current points to releases/old again, but the reload failed (nginx was not reloaded: no certificate): PHP may still run the \
         code of releases/new"
    );
    let failure = activation::reload_failed("rolling back", places, None);
    assert!(failure.cause.contains("but the reload failed: PHP"), "{}", failure.cause);
}

#[test]
fn one_problem_is_refused_by_its_own_code_and_several_by_one_that_names_each() {
    let php = preflight::php_missing("php8.2");
    let alone = preflight::refusal("looking at the server", vec![php.clone()]);
    assert_eq!((&*alone.code, alone.kind, &alone.cause), ("php-missing", failure::FailureKind::Refused, &php.cause));
    assert_eq!(alone.hint.as_ref(), Some(&php.hint));
    let several = preflight::refusal("looking at the server", vec![php.clone(), preflight::clock_wrong(600)]);
    assert_eq!((&*several.code, several.kind), ("several-problems", failure::FailureKind::Refused));
    assert_eq!(several.details.len(), 2);
    assert!(several.details[0].contains(&php.cause) && several.details[0].contains(&php.hint), "{several:?}");
    // A failure that becomes one of several keeps its code.
    let missing = services::sudo_rule_missing("may not".to_owned(), "allow it".to_owned());
    assert_eq!(errors::Problem::from(missing.clone().failure("asking sudo")), missing);
}

#[test]
fn a_command_to_type_quotes_every_path() {
    let lock = "/srv/shop data/.gated-deploy/lock";
    let base: RemotePath = "/srv/shop data".parse().expect("a path");
    let layout = Layout::new(base.clone(), "shared/.env");
    let values = |names: &[&str]| names.iter().map(|name| value(name, "/srv/shop data/x")).collect::<Vec<_>>();
    let (file, link) = (layout.env_file(), layout.current());
    let hints = [
        errors::lock::held_help(lock, Duration::from_secs(145)),
        errors::lock::migration_running("", "1", Duration::ZERO, lock).hint.expect("a hint"),
        errors::recovery::stuck_lock("", "run 1", lock).hint.expect("a hint"),
        activation::reload_failed("", ["", "", "", lock], None).hint.expect("a hint"),
        activation::current_not_a_link(&layout.current()).hint,
        preflight::base_read_only("deploy", &base).hint,
        preflight::base_of_another(&base, "production", "staging", &layout.state()).hint,
        preflight::base_unmarked(&layout, &layout.state(), &[], "staging").hint,
        preflight::env_link_elsewhere(&link, "/x", &file).hint,
        preflight::env_link_not_a_link(&link, &file).hint,
        preflight::env_link_missing(&link, &file).hint,
        preflight::storage_full(&layout.shared()).hint,
        preflight::room_unknown("/srv/shop data").hint,
        errors::backup::offsite_leftover(&Failure::bug("", ""), layout.base(), lock).hint.expect("a hint"),
        errors::release::size_unknown(&layout.current()).hint.expect("a hint"),
    ];
    let of_scripts = all().filter_map(|code| {
        let names: Vec<&str> = names_in(code.template?.1).into_iter().collect();
        of_script(code.name, "", &values(&names)).hint
    });
    for hint in hints.into_iter().chain(of_scripts) {
        // In every command, which stands behind a colon.
        for command in hint.split(": ").skip(1) {
            let bare = command.replace("'/srv/shop data", "");
            assert!(!bare.contains("/srv/shop data"), "{hint}");
        }
    }
    // `&&` and a suffix stay outside of the quotes.
    assert!(
        activation::current_not_a_link(&layout.current())
            .hint
            .ends_with("mv '/srv/shop data/current' '/srv/shop data/current'.old && ln -s '/srv/shop data/current'.old '/srv/shop data/current'")
    );
}

#[test]
fn a_command_to_type_quotes_what_others_named() {
    let problem = preflight::shared_not_reachable("www-data", "/srv/x;reboot", "/srv/app/shared/storage");
    assert_eq!(problem.hint, "Run: chmod o+x '/srv/x;reboot'");
}

/// A script that misspells a code or a value would be told as it came.
#[test]
fn scripts_refuse_with_known_codes_and_every_value_of_their_text() {
    let mut refused = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "sh") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a script").replace("\\\n", " ");
            for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
                for call in line.split("refuse ").skip(1) {
                    let name = call.split([' ', ';', ')']).next().unwrap_or_default();
                    refused.insert(name.to_owned());
                    let place = format!("{}: {line}", path.display());
                    let code = all().find(|code| code.name == name);
                    let (cause, help) =
                        code.and_then(|code| code.template).unwrap_or_else(|| panic!("{place}: no code {name}"));
                    for wanted in names_in(cause).union(&names_in(help)) {
                        assert!(call.contains(&format!(" {wanted}=")), "{place}: no value for {{{wanted}}}");
                    }
                }
            }
        }
    }
    for code in all().filter(|code| code.template.is_some()) {
        assert!(refused.contains(code.name), "no script refuses with {}", code.name);
    }
}

/// The domain cannot import a code; it has their names.
#[test]
fn what_is_cancelled_and_what_is_our_own_mistake_have_codes() {
    let of = |failure: &Failure| all().find(|code| code.name == failure.code).map(|code| code.kind);
    assert_eq!(
        of(&failure::Failure::cancelled("waiting", "the run was cancelled")),
        Some(failure::FailureKind::Cancelled)
    );
    assert_eq!(of(&failure::Failure::bug("counting", "2 + 2 is 5")), Some(failure::FailureKind::Bug));
}

#[test]
fn every_wrong_input_is_named_under_one_code() {
    let one = general::input_invalid("`stage` is missing");
    let many = general::inputs_invalid(["a".to_owned(), "b".to_owned()].into_iter());
    assert_eq!((&*one.code, &*many.code), ("inputs-invalid", "inputs-invalid"));
    assert_eq!((many.cause.as_str(), many.details.len()), ("2 inputs are wrong", 2));
}

/// A warning without a code cannot be searched for. The compiler asks each for one; this asks that it is one of the list.
#[test]
fn every_warning_has_a_code() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            // This file names what it forbids, and a report shows the warnings of older reports.
            if path.is_dir() && !path.ends_with("src/report") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("errors/tests.rs")
            {
                let text: String = fs::read_to_string(&path).expect("a source file").split_whitespace().collect();
                let place = path.display();
                for uncoded in
                    [".warn(", "code:Default::default(),text", "code:Cow::default(),text", "code:\"\".into()"]
                {
                    assert!(!text.contains(uncoded), "{place}: `{uncoded}`: a warning needs a code of `errors`");
                }
                let made = text.contains("Warning::new(") || text.contains("Self::new(problem.code");
                assert!(!made || place.to_string().contains("/errors/"), "{place}: make it with `Code::warning`");
            }
        }
    }
}

#[test]
fn what_only_warns_says_so() {
    let warns = |name: &str| all().find(|code| code.name == name).map(|code| code.only_warns);
    assert_eq!((warns("lock-taken-over"), warns("lock-lost")), (Some(true), Some(false)));
    let warning = errors::lock::lost("");
    assert_eq!((&*warning.code, &*warning.text), ("lock-lost", "this run lost the deploy lock: it was removed"));
    let failure = activation::reload_failed("rolling back", ["a", "b", "c", "d"], None);
    let warning = crate::domain::Warning::from(failure.clone());
    assert_eq!((warning.code, warning.text, warning.hint), (failure.code.clone(), failure.to_string(), failure.hint));
}

/// The folders whose helps are held to the style: a sentence begins with a capital letter and ends in a full stop. What is copied (a
/// command, a path, a line of a file) stands at the end, behind a colon and without a full stop.
const HELPS_IN_STYLE: [&str; 1] = ["src/errors"];

/// A string literal of the source: where it ends, and its text.
fn literal(source: &str, at: usize) -> Option<(usize, String)> {
    let mut letters = source[at..].char_indices();
    letters.next().filter(|(_, letter)| *letter == '"')?;
    let mut text = String::new();
    while let Some((offset, letter)) = letters.next() {
        match letter {
            '"' => return Some((at + offset + 1, text)),
            '\\' => match letters.next()? {
                // The line goes on behind the indentation.
                (offset, '\n') => {
                    let rest = &source[at + offset + 1..];
                    let indent = rest.len() - rest.trim_start().len();
                    letters = source[at..].char_indices();
                    letters.nth(source[at..at + offset + indent].chars().count());
                }
                (_, 'n') => text.push('\n'),
                (_, letter) => text.push(letter),
            },
            letter => text.push(letter),
        }
    }
    None
}

/// Where the arguments of a call begin, of which the bracket stands before `at`.
fn arguments(source: &str, at: usize) -> Vec<usize> {
    let (mut begins, mut depth, mut here) = (vec![at], 0, at);
    while let Some(letter) = source[here..].chars().next() {
        match letter {
            '"' => {
                here = literal(source, here).map_or(source.len(), |(end, _)| end);
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return begins,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => begins.push(here + 1),
            _ => {}
        }
        here += letter.len_utf8();
    }
    begins
}

/// The literals that are helps: of a failure, a problem, a warning, or a refusal of a script.
fn helps(source: &str) -> Vec<String> {
    let calls = [(".hint(", 0), (".problem(", 1), (".warning(", 1)];
    let mut found = Vec::new();
    for (call, index) in calls {
        for (at, _) in source.match_indices(call) {
            let Some(argument) = arguments(source, at + call.len()).get(index).copied() else { continue };
            let text = source[argument..].trim_start();
            let text = text.strip_prefix("format!(").unwrap_or(text).trim_start();
            found.extend(literal(source, source.len() - text.len()).map(|(_, text)| text));
        }
    }
    found
}

fn in_style(help: &str) -> bool {
    // What is copied may be lines of their own.
    let help = help.lines().next().unwrap_or_default();
    let last = help.rsplit_once(". ").map_or(help, |(_, last)| last);
    let begins = help.chars().next().is_none_or(|letter| !letter.is_lowercase());
    begins && (help.is_empty() || help.ends_with(['.', '}', ':']) || last.contains(": "))
}

#[test]
fn every_help_is_a_sentence_or_ends_in_what_is_copied() {
    for (help, fits) in [
        ("Run again.", true),
        ("Run again", false),
        ("run again.", false),
        ("Remove it: rm {path}", true),
        ("See: x. Then run again", false),
        ("Add the line below.\nMatch User deploy", true),
    ] {
        assert_eq!(in_style(help), fits, "{help}");
    }
    let (mut seen, mut wrong) = (0, Vec::new());
    for folder in HELPS_IN_STYLE {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.ends_with("tests.rs") {
                continue;
            }
            for help in helps(&fs::read_to_string(&path).expect("a source file")) {
                seen += 1;
                if !in_style(&help) {
                    wrong.push(format!("{}: {help}", path.display()));
                }
            }
        }
    }
    for (_, help) in all().filter_map(|code| code.template) {
        seen += 1;
        if !in_style(help) {
            wrong.push(help.to_owned());
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 150, "{seen}");
}
