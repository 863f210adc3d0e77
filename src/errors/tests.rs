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
    assert_eq!(
        (&*alone.code, alone.kind, &alone.cause),
        ("server-php-missing", failure::FailureKind::Refused, &php.cause)
    );
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
    assert_eq!(problem.hint, "chmod o+x '/srv/x;reboot'");
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

/// A warning without a code cannot be searched for.
#[test]
fn every_warning_of_the_server_has_a_code() {
    let mut folders: Vec<_> =
        ["server", "transport"].map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                assert!(!text.contains("io.warn("), "{}: use `io.warning` with a code", path.display());
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
