//! The first screen of the job summary, for each way in which a run can end. `cargo xtask pictures` renders some of the snapshots.

use gated_deploy::{
    domain::{Failure, FailureKind, Outcome, StepId, record::key},
    engine::event::{Body, Event, Preview, RowInfo, RowKind, Verdict},
    report::{RunView, Setting, render::summary},
};
use serde_json::{Value, json};

use crate::{
    reports::{DIGEST, NEW, OLD, SHA, Tape, gates, health, setting},
    support::assert_says,
};

/// Step, number, title, kind, undo.
type Line = (&'static str, Option<u8>, &'static str, RowKind, Option<&'static str>);

const SURVEY: [Line; 4] = [
    ("find-build", Some(6), "Find the build of this commit", RowKind::Observe, None),
    ("survey-server", Some(7), "Survey the server", RowKind::Observe, None),
    ("baseline-health", Some(7), "Check the health of the live release", RowKind::Observe, None),
    ("look-ahead", None, "Preview the changes", RowKind::Observe, None),
];

const APPLY: [Line; 8] = [
    ("deploy-lock", None, "Take the deploy lock", RowKind::Hold, Some("free it")),
    ("backup", Some(8), "Back up the app and its database", RowKind::Change, Some("remove it if it is incomplete")),
    ("unpack", Some(11), "Unpack the bundle into the release", RowKind::Change, Some("remove that folder")),
    ("verify-tree", Some(12), "Check the nine gates", RowKind::Check, None),
    ("migrate", Some(13), "Run the migrations", RowKind::Change, Some("not undone: migrations stay")),
    ("switch", Some(15), "Switch to the release", RowKind::Change, Some("switch back, reload")),
    ("health", Some(19), "Check the health of the release", RowKind::Check, None),
    ("confirm", Some(20), "Confirm the release", RowKind::Commit, None),
];

fn rows(stage: &str, survey: &[Line], apply: &[Line]) -> Tape {
    let of = |survey: bool| {
        move |(step, number, title, kind, undo): &Line| RowInfo {
            step: StepId::new(step),
            number: *number,
            title: (*title).to_owned(),
            kind: *kind,
            undo: undo.map(str::to_owned),
            survey,
        }
    };
    Tape::with(stage, survey.iter().map(of(true)).chain(apply.iter().map(of(false))).collect())
}

fn target(tape: Tape) -> Tape {
    tape.record(key::ENVIRONMENT, json!("production"))
        .record(key::URL, json!("https://shop.example.com/"))
        .record(key::SERVER, json!("deploy@shop.example.com:22"))
}

/// Everything that a survey finds.
fn surveyed() -> Tape {
    let migrations = ["2025_11_02_090000_add_guest_to_orders", "2025_11_02_091500_drop_legacy_carts"];
    let pending = |name: &str, class: &str| {
        json!({ "name": name, "file": format!("database/migrations/{name}.php"), "sha256": DIGEST, "class": class,
            "calls": [], "connections": [] })
    };
    target(rows("deploy-production", &SURVEY, &APPLY))
        .record(key::SHA, json!(SHA))
        .record(
            key::BUILD_RUN,
            json!({ "id": 4690, "attempt": 1, "workflow": "build-artifacts.yml",
                "url": "https://github.com/acme/shop/actions/runs/4690", "event": "push", "branch": "main",
                "subject": "Let guests pay without an account (#482)" }),
        )
        .record(
            key::ARTIFACT,
            json!({ "id": 77, "name": "deployment-bundle", "size": 27_100_000, "digest": DIGEST, "expires_at": null }),
        )
        .done("find-build", "run 4690, attempt 1")
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .done("survey-server", "PHP 8.3.14, php8.3-fpm, 41 GB free")
        .record(key::BASELINE, health(None))
        .done("baseline-health", "1/1 healthy")
        .record(
            key::CHANGE_PREVIEW,
            json!({ "files": { "added": 12, "changed": 31, "removed": 2, "public_gone": ["public/old-logo.svg"] },
                "migrations": [pending(migrations[0], "expand"), pending(migrations[1], "destructive")],
                "backup": { "app_bytes": 96_200_000, "database_bytes": 418_000_000 },
                "free_bytes": 41_000_000_000_u64, "confirm_within_seconds": 300 }),
        )
        .done("look-ahead", "2 pending migrations")
        .record(key::PLAN_DIGEST, json!(DIGEST))
}

fn approved() -> Tape {
    surveyed().record(key::EXECUTED, json!(true)).record(key::RELEASE, json!(NEW))
}

fn backed_up() -> Tape {
    let file = |name: &str, size: u64, counted: &str| json!({ "name": name, "size": size, "sha256": DIGEST, "counted": counted });
    approved()
        .done("deploy-lock", "taken")
        .record(
            key::BACKUP,
            json!({ "path": format!("/srv/shop/backups/{NEW}"),
                "files": [file("app.tar.gz", 31_400_000, "8,214 entries"), file("database.sql.gz", 88_900_000, "61 tables")],
                "skipped": [],
                "elsewhere": { "status": "verified", "path": format!("/mnt/nas/shop/{NEW}"), "problem": null } }),
        )
        .done("backup", "120.3 MB, verified")
}

fn receipt(failures: u64) -> Value {
    let failed =
        json!({ "at_ms": 41, "path": "/health", "connection": "fresh", "cause": "answered 502", "took_ms": 12 });
    json!({ "paths": ["/health"], "rate": 20, "lasted_ms": 18_000, "requests": 358, "failures": failures, "held_back": 0,
        "first_failures": if failures > 0 { vec![failed] } else { vec![] }, "slowest_ms": 84, "outages": u64::from(failures > 0),
        "downtime_ms": failures * 100, "budget_ms": 0, "answered_by": { "old": 120, "new": 238, "unnamed": 0 },
        "first_new_ms": 6, "side_by_side_ms": 40, "old_again_ms": null, "remarks": [] })
}

fn switched() -> Tape {
    backed_up()
        .record(
            key::BUNDLE,
            json!({ "file": "deployment-bundle.tar.gz", "size": 26_600_000, "sha256": DIGEST, "commit": SHA, "files": 8_312,
                "verified_at": ["GitHub's artifact digest", "the server"] }),
        )
        .done("unpack", "8,312 files")
        .record(key::GATES, gates(&[]))
        .done("verify-tree", "9/9")
        .record(
            key::MIGRATIONS,
            json!({ "ran": ["2025_11_02_090000_add_guest_to_orders", "2025_11_02_091500_drop_legacy_carts"],
                "measured": [{ "name": "2025_11_02_090000_add_guest_to_orders", "statements": 1, "milliseconds": 1_840, "rows": 412_000 }] }),
        )
        .done("migrate", "2 migrations ran")
        .record(key::SWITCH, json!({ "from": format!("releases/{OLD}"), "to": NEW, "took_us": 1_967 }))
        .done("switch", "in 2 ms")
}

fn live() -> Vec<Event> {
    switched()
        .record(key::HEALTH, health(None))
        .record(key::IDENTITY, json!({ "release": NEW, "proven": true, "by": ["health answers", "one-time file"], "in_a_row": 2, "note": null }))
        .done("health", "1/1 healthy")
        .record(key::RECEIPT, receipt(0))
        .and(Body::Committed { step: StepId::new("confirm") })
        .and(Body::Warned {
            code: Default::default(),
            step: StepId::new("survey-server"),
            text: "`process_control_timeout` is 0: a reload cuts running requests".to_owned(),
            hint: Some("set `process_control_timeout = 10s` in /etc/php/8.3/fpm/php-fpm.conf".to_owned()),
        })
        .record(key::LEDGER, json!("/srv/shop/.gated-deploy/ledger.jsonl"))
        .ends(Outcome::Live { warnings: 1 })
}

fn previews() -> Vec<Preview> {
    let of = |step: &str, lines: &[&str]| Preview {
        step: StepId::new(step),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    };
    vec![
        of("migrate", &["php artisan migrate --force", "2025_11_02_091500_drop_legacy_carts [destructive]"]),
        of("switch", &["mv -Tf current.new current", "sudo -n systemctl reload php8.3-fpm"]),
    ]
}

fn planned() -> Vec<Event> {
    surveyed()
        .record(key::EXECUTED, json!(false))
        .record(key::RELEASE, json!(NEW))
        .and(Body::Warned {
            code: Default::default(),
            step: StepId::new("look-ahead"),
            text: "2025_11_02_091500_drop_legacy_carts: data is gone or overwritten: only the backup brings it back"
                .to_owned(),
            hint: None,
        })
        .and(Body::Planned { because: "no approval was given".to_owned(), previews: previews() })
        .ends(Outcome::Planned)
}

fn unhealthy() -> Failure {
    Failure::refused("asking https://shop.example.com/ for its health", "0 of 1 endpoints are healthy")
        .code("site-unhealthy")
        .hint("read the end of the application's log: `ssh deploy@shop.example.com tail -n 50 /srv/shop/shared/storage/logs/laravel.log`")
        .details(["/health: 500 instead of 200: SQLSTATE[42S22]: Column not found: 1054 Unknown column 'guest'"])
}

fn failing() -> Tape {
    switched().record(key::HEALTH, health(Some("500 instead of 200"))).failed("health", unhealthy())
}

fn rolled_back() -> Vec<Event> {
    failing()
        .undone("switch", None)
        .record(key::RECEIPT, receipt(14))
        .record(key::HEALTH_AFTER_ROLLBACK, health(None))
        .ends(Outcome::RolledBack {
            at: StepId::new("health"),
            cause: unhealthy(),
            stays: vec![
                "Run the migrations: 2 migrations ran and stay; the old code runs on the new schema".to_owned(),
                format!("Back up the app and its database: it is verified and kept in /srv/shop/backups/{NEW}"),
            ],
        })
}

fn not_undone(undo_cause: Failure) -> Vec<Event> {
    failing().undone("switch", Some(undo_cause.clone())).record(key::RECEIPT, receipt(14)).ends(Outcome::Stuck {
        at: StepId::new("health"),
        cause: unhealthy(),
        undoing: StepId::new("switch"),
        undo_cause,
        by_hand: vec![
            format!("ln -sfn releases/{OLD} /srv/shop/.current.by-hand"),
            "mv -Tf /srv/shop/.current.by-hand /srv/shop/current".to_owned(),
            "sudo -n systemctl reload php8.3-fpm".to_owned(),
            "rm -r /srv/shop/.gated-deploy/lock".to_owned(),
        ],
        stays: vec![format!("Unpack the bundle into the release: /srv/shop/releases/{NEW}")],
    })
}

fn stuck() -> Vec<Event> {
    not_undone(
        Failure::world("pointing `current` back to the previous release", "the server did not answer for 60 s")
            .code("ssh-no-answer"),
    )
}

fn handed_over() -> Vec<Event> {
    not_undone(Failure::cancelled("pointing `current` back to the previous release", "the run was cancelled"))
}

fn refused_at_migrations() -> Vec<Event> {
    let cause = Failure::refused("running `php artisan migrate --force`", "artisan migrate ended with status 1")
        .code("migration-failed")
        .hint("correct the migration, then release again")
        .details(["SQLSTATE[42S21]: Column already exists: 1060 Duplicate column name 'guest'"]);
    backed_up()
        .record(key::GATES, gates(&[]))
        .done("unpack", "8,312 files")
        .done("verify-tree", "9/9")
        .failed("migrate", cause.clone())
        .ends(Outcome::Refused {
            at: StepId::new("migrate"),
            cause,
            stays: vec![format!(
                "Back up the app and its database: it is verified and kept in /srv/shop/backups/{NEW}"
            )],
        })
}

fn blocked() -> Vec<Event> {
    let sudo = Failure::refused("asking sudo for the commands of a release", "deploy may not run `sudo -n systemctl reload php8.3-fpm`")
        .code("sudo-rule-missing")
        .hint("add this line to /etc/sudoers.d/gated-deploy: `deploy ALL=(root) NOPASSWD: /usr/bin/systemctl reload php8.3-fpm`");
    let site = Failure::refused("asking https://shop.example.com/ for its health", "0 of 1 endpoints are healthy")
        .code("site-unhealthy")
        .details(["/health: 502 instead of 200"])
        .hint("start PHP-FPM: `sudo systemctl start php8.3-fpm`");
    target(rows("deploy-production", &SURVEY, &APPLY))
        .record(key::SHA, json!(SHA))
        .done("find-build", "run 4690, attempt 1")
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .failed("survey-server", sudo.clone())
        .record(key::BASELINE, health(Some("502 instead of 200")))
        .failed("baseline-health", site)
        .begun("look-ahead")
        .finished("look-ahead", Verdict::Skipped, "not checked: the survey failed", None)
        .ends(Outcome::Refused { at: StepId::new("survey-server"), cause: sudo, stays: Vec::new() })
}

const BACK: [Line; 4] = [
    ("unchanged-tree", None, "Check that the target is what was confirmed", RowKind::Check, None),
    ("switch", Some(15), "Switch to the release", RowKind::Change, Some("switch back, reload")),
    ("health", Some(19), "Check the health of the release", RowKind::Check, None),
    ("confirm", Some(20), "Confirm the release", RowKind::Commit, None),
];

/// A rollback to the older of the two releases.
fn going_back() -> Tape {
    target(rows("rollback", &SURVEY[1..3], &BACK))
        .record(key::PREVIOUS_RELEASE, json!(NEW))
        .done("survey-server", "2 confirmed releases")
        .record(key::SHA, json!(SHA))
        .record(key::MIGRATIONS_STAY, json!({ "ran": ["2025_11_02_091500_drop_legacy_carts"] }))
        .record(key::RELEASE, json!(OLD))
        .record(key::PLAN_DIGEST, json!(DIGEST))
}

fn back() -> Vec<Event> {
    going_back()
        .record(key::EXECUTED, json!(true))
        .done("unchanged-tree", "unchanged")
        .record(key::SWITCH, json!({ "from": format!("releases/{NEW}"), "to": OLD, "took_us": 1_800 }))
        .done("switch", "in 1.8 ms")
        .record(key::HEALTH, health(None))
        .done("health", "1/1 healthy")
        .and(Body::Committed { step: StepId::new("confirm") })
        .ends(Outcome::Live { warnings: 0 })
}

fn back_planned() -> Vec<Event> {
    going_back()
        .record(key::EXECUTED, json!(false))
        .and(Body::Planned { because: "no approval was given".to_owned(), previews: previews() })
        .ends(Outcome::Planned)
}

fn back_failed() -> Vec<Event> {
    going_back()
        .record(key::SWITCH, json!({ "from": format!("releases/{NEW}"), "to": OLD, "took_us": 1_800 }))
        .done("switch", "in 1.8 ms")
        .record(key::HEALTH, health(Some("500 instead of 200")))
        .failed("health", unhealthy())
        .undone("switch", None)
        .record(key::HEALTH_AFTER_ROLLBACK, health(None))
        .ends(Outcome::RolledBack { at: StepId::new("health"), cause: unhealthy(), stays: Vec::new() })
}

const RECOVERY: [Line; 3] = [
    ("deploy-lock", None, "Take the deploy lock", RowKind::Hold, Some("free it")),
    ("finish-unconfirmed", None, "Roll back an unconfirmed release", RowKind::Check, Some("roll back")),
    ("health", Some(19), "Check the health of the release", RowKind::Check, None),
];

fn recovered() -> Vec<Event> {
    target(rows("recover", &SURVEY[1..2], &RECOVERY))
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .done("survey-server", "an interrupted run left files")
        .done("deploy-lock", "taken over from run 4710")
        .done("finish-unconfirmed", "removed incoming/x.tar.gz")
        .record(key::HEALTH, health(None))
        .done("health", "1/1 healthy")
        .ends(Outcome::Passed)
}

const CHECKS: [Line; 3] = [
    ("survey-server", None, "Survey the server", RowKind::Observe, None),
    ("reload", None, "Check what a reload costs", RowKind::Observe, None),
    ("env", None, "Check .env", RowKind::Observe, None),
];

fn finding(step: &str, check: &str, found: &str, judgement: &str, hint: Option<&str>) -> Value {
    json!({ "step": step, "check": check, "found": found, "judgement": judgement, "hint": hint })
}

fn preflight(failing: bool) -> Vec<Event> {
    let cut = ("`process_control_timeout` is 0: a reload cuts running requests", "set `process_control_timeout = 10s`");
    let key = ("`APP_KEY` is missing", "restore the key: php artisan key:generate --show");
    let mut findings = vec![
        finding("survey-server", "/srv/shop", &format!("{OLD} is live"), "passed", None),
        finding("reload", "process_control_timeout", cut.0, "warned", Some(cut.1)),
        finding("env", "APP_ENV", "production", "passed", None),
    ];
    if failing {
        findings.push(finding("env", "APP_KEY", key.0, "failed", Some(key.1)));
    }
    let cause = Failure::refused("checking .env", key.0).code("app-key-unfit").hint(key.1);
    let tape = target(rows("preflight", &CHECKS, &[]))
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .done("survey-server", "in order")
        .begun("reload")
        .and(Body::Warned {
            step: StepId::new("reload"),
            code: Default::default(),
            text: cut.0.to_owned(),
            hint: Some(cut.1.to_owned()),
        })
        .finished("reload", Verdict::Warned, cut.0, None)
        .record(key::FINDINGS, json!(findings));
    match failing {
        true => tape.failed("env", cause.clone()).ends(Outcome::Refused {
            at: StepId::new("env"),
            cause,
            stays: Vec::new(),
        }),
        false => tape.done("env", "in order").ends(Outcome::Passed),
    }
}

fn smoke(failing: bool) -> Vec<Event> {
    let line: Line = ("health", None, "Check the health of the site", RowKind::Observe, None);
    let tape = rows("smoke", &[line], &[])
        .record(key::ENVIRONMENT, json!("production"))
        .record(key::URL, json!("https://shop.example.com/"));
    match failing {
        true => {
            let tape = tape.record(key::HEALTH, health(Some("500 instead of 200"))).failed("health", unhealthy());
            tape.ends(Outcome::Refused { at: StepId::new("health"), cause: unhealthy(), stays: Vec::new() })
        }
        false => tape.record(key::HEALTH, health(None)).done("health", "1/1 healthy").ends(Outcome::Passed),
    }
}

fn audit() -> Vec<Event> {
    let lines: [Line; 2] = [
        ("branch-protection", None, "Check branch protection", RowKind::Observe, None),
        ("reach-server", None, "Connect to the server", RowKind::Observe, None),
    ];
    let found = |id: &str, title: &str, actual: &str, impact: &str, status: &str, fix: Option<&str>| {
        json!({ "step": "branch-protection", "id": id, "title": title, "target": format!("{title}: yes"), "actual": actual,
            "impact": impact, "status": status, "fix": fix, "source": format!("GET /repos/acme/shop/branches, {id}"), "unix_ms": 1_762_098_540_000_i64 })
    };
    let findings = [
        found(
            "main-protected",
            "main is protected",
            "no rule protects it",
            "P0",
            "not-met",
            Some("stage: fix, fix: branch-protection-main"),
        ),
        found("develop-protected", "develop is protected", "a ruleset protects it", "P1", "met", None),
    ];
    let unprotected =
        Failure::refused("checking branch protection", "1 finding prevents a release").code("audit-no-go");
    let lost = Failure::world("connecting to deploy@shop.example.com:22", "connection refused")
        .code("ssh-unreachable")
        .hint("try it from the runner's network: ssh -p 22 deploy@shop.example.com");
    rows("audit", &lines, &[])
        .record(key::ENVIRONMENT, json!("production"))
        .record(key::AUDIT, json!(findings))
        .failed("branch-protection", unprotected.clone())
        .failed("reach-server", lost)
        .ends(Outcome::Refused { at: StepId::new("branch-protection"), cause: unprotected, stays: Vec::new() })
}

fn fix(stuck: bool) -> Vec<Event> {
    let lines: [Line; 1] =
        [("protect", None, "Protect the branch", RowKind::Change, Some("restore the settings from before"))];
    let set = |value: &str| json!([{ "what": "required checks", "value": value }]);
    let tape = rows("fix", &[("look", None, "Read the protection of main", RowKind::Observe, None)], &lines)
        .record(
            key::FIX,
            json!({ "name": "branch-protection-main", "subject": "protection of main", "before": set("none"),
                "wanted": set("build, test"), "after": null, "sends": ["PUT /repos/acme/shop/branches/main/protection"],
                "needs": "administration=write", "nothing": null }),
        )
        .done("look", "no rule protects it");
    if !stuck {
        let sends = "PUT /repos/acme/shop/branches/main/protection".to_owned();
        let preview = Preview { step: StepId::new("protect"), lines: vec![sends] };
        return tape
            .record(key::PLAN_DIGEST, json!(DIGEST))
            .and(Body::Planned { because: "no approval was given".to_owned(), previews: vec![preview] })
            .ends(Outcome::Planned);
    }
    let lost = Failure::world("sending the protection of main", "the answer was cut off").code("github-unavailable");
    let down = Failure::world("restoring the protection of main", "502 Bad Gateway").code("github-unavailable");
    tape.record(key::EXECUTED, json!(true)).failed("protect", lost.clone()).undone("protect", Some(down.clone())).ends(
        Outcome::Stuck {
            at: StepId::new("protect"),
            cause: lost,
            undoing: StepId::new("protect"),
            undo_cause: down,
            by_hand: vec!["gh api --method DELETE repos/acme/shop/branches/main/protection".to_owned()],
            stays: Vec::new(),
        },
    )
}

fn built(failing: &[&str]) -> Vec<Event> {
    let line: Line = ("pre-bundle-gates", Some(1), "Check the nine gates", RowKind::Check, None);
    let tape = rows("build-gate", &[], &[line]).record(key::SHA, json!(SHA)).record(key::GATES, gates(failing));
    if failing.is_empty() {
        let bundle = json!({ "file": "dist/deployment-bundle.tar.gz", "size": 26_600_000, "sha256": DIGEST, "commit": SHA,
            "files": 8_312, "verified_at": ["built here"] });
        return tape.record(key::BUNDLE, bundle).done("pre-bundle-gates", "9/9").ends(Outcome::Passed);
    }
    let cause = Failure::refused("checking the gates of the build", "8/9 gates passed")
        .code("bundle-incomplete")
        .details(failing.iter().map(|gate| format!("{gate}: is missing")))
        .hint("correct the build, and build again");
    tape.failed("pre-bundle-gates", cause.clone()).ends(Outcome::Refused {
        at: StepId::new("pre-bundle-gates"),
        cause,
        stays: Vec::new(),
    })
}

fn cancelled() -> Vec<Event> {
    let cause =
        Failure::new(FailureKind::Cancelled, "waiting for the deploy lock", "the run was cancelled").code("cancelled");
    approved().begun("deploy-lock").ends(Outcome::Refused { at: StepId::new("deploy-lock"), cause, stays: Vec::new() })
}

fn all() -> Vec<(&'static str, Vec<Event>)> {
    vec![
        ("live", live()),
        ("planned", planned()),
        ("rolled-back", rolled_back()),
        ("stuck", stuck()),
        ("handed-over", handed_over()),
        ("refused", refused_at_migrations()),
        ("blockers", blocked()),
        ("cancelled", cancelled()),
        ("running", switched().begun("health").0),
        ("rollback-live", back()),
        ("rollback-planned", back_planned()),
        ("rollback-failed", back_failed()),
        ("recovered", recovered()),
        ("preflight-go", preflight(false)),
        ("preflight-no-go", preflight(true)),
        ("smoke-go", smoke(false)),
        ("smoke-no-go", smoke(true)),
        ("audit", audit()),
        ("fix-planned", fix(false)),
        ("fix-stuck", fix(true)),
        ("build", built(&[])),
        ("build-refused", built(&["routes"])),
    ]
}

fn rendered(events: &[Event]) -> String {
    summary::render(&RunView::of(events), &Setting { phrase: Some("PROD-DEPLOY FREIGEGEBEN".to_owned()), ..setting() })
}

#[test]
fn each_ending_has_the_first_screen_that_it_needs() {
    for (name, events) in all() {
        insta::assert_snapshot!(name, rendered(&events));
    }
}

/// What stands before everything that is folded away.
fn first_screen(page: &str) -> &str {
    page.split_once("<details>").map_or(page, |(first, _)| first)
}

#[test]
fn the_cause_stands_before_every_table_and_the_commands_before_the_cause() {
    let mut seen = 0;
    for (name, events) in all() {
        let view = RunView::of(&events);
        let page = rendered(&events);
        let screen = first_screen(&page);
        assert!(screen.lines().count() <= 60, "{name} is longer than a screen:\n{screen}");
        let Some(cause) = view.outcome.as_ref().and_then(Outcome::cause) else { continue };
        let table = page.find("\n| ").expect("a table");
        // An audit's verdict gives the reason, of which the finding has the details.
        if name == "audit" {
            assert!(page.find("no rule protects it").expect("the reason") < table, "{page}");
            continue;
        }
        seen += 1;
        let told = page.find(&cause.cause).unwrap_or_else(|| panic!("{name} does not tell {}:\n{page}", cause.cause));
        assert!(told < table, "{name}: the cause stands below a table:\n{page}");
        assert_says(screen, &[&format!("(`{}`)", cause.code)]);
        if let Some(hint) = &cause.hint {
            let hint = screen.find("**What to do:**").unwrap_or_else(|| panic!("{name} hides: {hint}\n{page}"));
            assert!(told < hint && hint < table, "{name}:\n{page}");
        }
        if let Some(Outcome::Stuck { by_hand, .. }) = &view.outcome {
            let typed = page.find(&by_hand.join("\n")).expect("the commands");
            assert!(typed < told, "{name}: what to type stands below the cause:\n{page}");
        }
    }
    assert!(seen > 8, "{seen}");
}

#[test]
fn the_phrase_stands_behind_what_it_approves() {
    for events in [planned(), back_planned(), fix(false)] {
        let page = rendered(&events);
        let phrase = page.find("PROD-DEPLOY FREIGEGEBEN 3f9a1c2e8d7b6a5f").expect("the phrase");
        for before in ["What would run: ", "📋 would run", "<summary>Commands</summary>"] {
            assert!(page.find(before).unwrap_or_else(|| panic!("{before}:\n{page}")) < phrase, "{before}:\n{page}");
        }
        assert!(page.matches("PROD-DEPLOY FREIGEGEBEN 3f9a").count() == 1, "{page}");
    }
    assert_says(&rendered(&planned()), &["2 pending: ", "(⚠️ destructive)", "app 96.2 MB, database 418 MB"]);
}

#[test]
fn no_table_has_an_empty_head_or_a_head_without_rows() {
    let mut tables = 0;
    for (name, events) in all() {
        let page = rendered(&events);
        let lines: Vec<&str> = page.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_rule =
                |line: &str| line.starts_with('|') && line.chars().all(|c| "|-: ".contains(c)) && line.contains("--");
            if !is_rule(line) {
                continue;
            }
            tables += 1;
            let mut cells = lines[at - 1].trim_matches('|').split('|').map(str::trim);
            assert!(cells.all(|cell| !cell.is_empty()), "{name} has an empty head:\n{page}");
            assert!(
                lines.get(at + 1).is_some_and(|row| row.starts_with("| ")),
                "{name} has a head without rows:\n{page}"
            );
        }
        assert_eq!(page.matches("<details>").count(), page.matches("</details>").count(), "{name}:\n{page}");
        assert!(!page.contains("<summary></summary>") && !page.contains("</summary>\n\n\n"), "{name}:\n{page}");
    }
    assert!(tables > 40, "{tables}");
}

/// Sentences, cells and lines of at least four words, without markup.
fn sentences(page: &str) -> Vec<String> {
    let plain = page.replace("**", "").replace("<br>", "|").replace(". ", "|").replace("; ", "|");
    plain
        .lines()
        .flat_map(|line| line.split('|'))
        .map(|part| part.trim().trim_start_matches(['-', '#', ' ']).trim_end_matches('.').to_owned())
        // Scores are no sentences: each check may have the same one.
        .filter(|part| part.split_whitespace().count() >= 4 && !part.starts_with(['✅', '❌']))
        .collect()
}

#[test]
fn nothing_is_said_twice() {
    for (name, events) in all() {
        let page = rendered(&events);
        let mut said = sentences(&page);
        said.sort();
        for pair in said.windows(2) {
            assert_ne!(pair[0], pair[1], "{name} says it twice:\n{page}");
        }
    }
}

#[test]
fn the_first_screen_says_what_is_live_what_changed_and_what_visitors_met() {
    let screen = |events: &[Event]| first_screen(&rendered(events)).to_owned();
    let compare = "https://github.com/acme/shop/compare/5eed1e55...2e5059da";
    let new = &["Let guests pay without an account (\\#482)", compare];
    assert_says(&screen(&live()), new);
    assert_says(
        &screen(&live()),
        &[
            &format!("| **Live now** | `{NEW}` |"),
            "0 of 358 requests failed",
            "2 ran: `2025_11_02_090000_add_guest_to_orders` (1 statement, 1.8 s",
            &format!("`/srv/shop/backups/{NEW}` of 2025-11-02 15:49 UTC, 120.3 MB in 2 files"),
            &format!("off-site copy verified in `/mnt/nas/shop/{NEW}`"),
        ],
    );
    assert_says(
        &screen(&rolled_back()),
        &[
            &format!("| **Live now** | `{OLD}` again |"),
            "14 of 358 requests failed",
            "answered 502",
            "⚠️ 1 public file removed",
        ],
    );
    assert_says(&screen(&stuck()), &["| **Live now** | ❔ not known", &format!("| **Before** | `{OLD}` |")]);
    assert_says(&screen(&refused_at_migrations()), &[&format!("| **Live now** | `{OLD}`, not touched |")]);
    // A rollback names what it takes out: the comparison begins at the target.
    assert_says(
        &screen(&back()),
        &["| **Reverted commits** | [`5eed1e55...2e5059da`]", "| **Migrations that stay** | 1 ran: "],
    );
    // Whoever moved `current` meanwhile knows what is live; this run does not.
    let moved = Failure::refused("comparing `current`", "another run moved it").code("current-moved");
    let moved = approved().ends(Outcome::Refused { at: StepId::new("nothing-moved"), cause: moved, stays: Vec::new() });
    assert!(!rendered(&moved).contains("Live now"), "{}", rendered(&moved));
    // Before the survey is over, nobody looked whether something is live.
    let early = target(rows("deploy-production", &SURVEY, &APPLY)).begun("find-build").0;
    assert!(!rendered(&early).contains("Live now"), "{}", rendered(&early));
}

#[test]
fn a_commits_message_is_text_and_nothing_else() {
    let build = json!({ "id": 1, "attempt": 1, "workflow": "b.yml", "url": "https://github.com/acme/shop/actions/runs/1",
        "event": "push", "branch": "main", "subject": "@ada </table><img src=x> | [x](javascript:1) `a`" });
    let page = rendered(&approved().record(key::BUILD_RUN, build).ends(Outcome::Live { warnings: 0 }));
    let line = page.lines().find(|line| line.starts_with("| **Commit** |")).expect("the commit");
    for bad in ["<img", "</table>", "@ada", "[x]("] {
        assert!(!line.contains(bad), "{bad}: {line}");
    }
    assert_eq!(line.matches('|').count(), 3, "{line}");
}
