//! The first screen of the job summary, for each way in which a run can end. `cargo xtask pictures` renders some of the snapshots.
//!
//! Rows, errors, commands and codes are the program's own: a picture shows what a run would print.

use gated_deploy::{
    domain::{
        Failure, Outcome, RemoteCommand, RemotePath, StepId, Warning, fix::FixName, migration::Class, record::key,
    },
    engine::event::{Body, Event, Preview, Verdict},
    errors,
    report::{
        RunView, Setting,
        render::{markdown, summary},
    },
    server::{activation::current, services::reload},
    stages::{audit, build_gate, deploy, fix, preflight, recover, rollback, smoke},
};
use serde_json::{Value, json};

use crate::{
    reports::{DIGEST, NEW, OLD, SHA, Tape, gates, health, setting},
    support::assert_says,
};

/// Of the release that was live before.
const OLD_SHA: &str = "5eed1e55c0a7a1b6d1f3e8f2b4c6d8e0f1a2b3c4";
const EXPAND: &str = "2025_11_02_090000_add_guest_to_orders";
const DESTRUCTIVE: &str = "2025_11_02_091500_drop_legacy_carts";
const FPM: &str = "php8.3-fpm";
const HEALTH: &str = "checking the health of https://shop.example.com/";

/// What rows say that have nothing to say for the test.
fn usual(step: &str) -> &'static str {
    match step {
        "staging-evidence" => "GO: 20251102_141500-2e5059da is confirmed there, and healthy",
        "find-build" => "run 4690, attempt 1",
        "reach-server" => "deploy@shop.example.com:22",
        "survey-server" => "20251101_120000-5eed1e55 is live; PHP 8.3.14, php8.3-fpm; 41.0 GB free",
        "can-reload" => "both are running and can be reloaded",
        "live-tree" => "unchanged since it was confirmed, SHA-256 5eed1e55c0a7",
        "baseline-health" | "present-health" | "site-health" => "1 of 1 endpoints healthy",
        "read-bundle" => "8,312 files in 26.6 MB",
        "bundle-gates" | "verify-tree" | "pre-bundle-gates" => "9/9",
        "php" => "8.3.14 on the command line and in the pool",
        "deploy-lock" => "run https://github.com/acme/shop/actions/runs/4711 (attempt 1) by ada",
        "finish-unconfirmed" => "no unconfirmed release",
        "upload" => "26.6 MB at 9.8 MB/s",
        "unpack-release" => "8,312 files in releases/20251102_154900-2e5059da",
        "boot-release" => "Laravel Framework 12.3.0",
        "reload" => "php8.3-fpm and nginx run with new workers",
        "grace" => "5 s",
        "assets" => "42/42",
        "confirm" => "over a fresh connection",
        "verify-bundle" => "8,312 files match the manifest",
        _ => "",
    }
}

impl Tape {
    /// Each row before this one that has not begun runs and passes.
    fn until(self, step: &str) -> Self {
        let Some(Body::RunStarted { rows, .. }) = self.0.first().map(|event| event.body.clone()) else {
            unreachable!("a tape begins with its rows")
        };
        assert!(rows.iter().any(|row| row.step.as_str() == step), "{step} is no row of this stage");
        let before = rows.into_iter().take_while(|row| row.step.as_str() != step);
        before.fold(self, |tape, row| {
            let begun = |event: &Event| matches!(&event.body, Body::Started { step } if *step == row.step);
            match tape.0.iter().any(begun) {
                true => tape,
                false => tape.done(row.step.as_str(), usual(row.step.as_str())),
            }
        })
    }

    /// The row and all before it.
    fn through(self, step: &str) -> Self {
        self.until(step).done(step, usual(step))
    }

    fn fails_at(self, step: &str, failure: Failure) -> Self {
        self.until(step).failed(step, failure)
    }

    fn warned(self, step: &str, Warning { text, code, hint }: Warning) -> Self {
        self.and(Body::Warned { step: StepId::new(step), code, text, hint })
    }

    fn planned(self, previews: Vec<Preview>) -> Vec<Event> {
        self.record(key::EXECUTED, json!(false))
            .and(Body::Planned { because: "`approval` is not set".to_owned(), previews })
            .ends(Outcome::Planned)
    }
}

fn refused(at: &str, cause: Failure, stays: Vec<String>) -> Outcome {
    Outcome::Refused { at: StepId::new(at), cause, stays }
}

fn target(tape: Tape) -> Tape {
    tape.record(key::ENVIRONMENT, json!("production"))
        .record(key::URL, json!("https://shop.example.com/"))
        .record(key::SERVER, json!("deploy@shop.example.com:22"))
}

fn production() -> Tape {
    target(Tape::with("deploy-production", deploy::production().outline()))
}

/// Everything that a survey finds.
fn surveyed() -> Tape {
    let pending = |name: &str, class: &str| {
        json!({ "name": name, "file": format!("database/migrations/{name}.php"), "sha256": DIGEST, "class": class,
            "calls": [], "connections": [] })
    };
    production()
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
        .through("find-build")
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .through("survey-server")
        .record(key::BASELINE, health_of(OLD_SHA, None))
        .through("baseline-health")
        .record(
            key::CHANGE_PREVIEW,
            json!({ "files": { "added": 12, "changed": 31, "removed": 2, "public_gone": ["public/old-logo.svg"] },
                "migrations": [pending(EXPAND, "expand"), pending(DESTRUCTIVE, "destructive")],
                "backup": { "app_bytes": 96_200_000, "database_bytes": 418_000_000 },
                "free_bytes": 41_000_000_000_u64, "confirm_within_seconds": 300 }),
        )
        .until("look-ahead")
        .begun("look-ahead")
        .finished(
            "look-ahead",
            Verdict::Warned,
            &format!("12 files new, 31 changed, 2 removed; 2 migrations are pending; {}", drops()),
            None,
        )
        .through("room")
        .record(key::PLAN_DIGEST, json!(DIGEST))
}

/// What the preview says of the worst migration.
fn drops() -> String {
    format!("{DESTRUCTIVE}: {}", Class::Destructive.meaning())
}

fn approved() -> Tape {
    surveyed().record(key::EXECUTED, json!(true)).record(key::RELEASE, json!(NEW))
}

fn backed_up() -> Tape {
    let file = |name: &str, size: u64, counted: &str| json!({ "name": name, "size": size, "sha256": DIGEST, "counted": counted });
    approved()
        .until("backup")
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

/// Approved, up to the migrations.
fn unpacked() -> Tape {
    backed_up()
        .record(
            key::BUNDLE,
            json!({ "file": "deployment-bundle.tar.gz", "size": 26_600_000, "sha256": DIGEST, "commit": SHA, "files": 8_312,
                "verified_at": ["GitHub's artifact digest", "the server"] }),
        )
        .through("unpack-release")
        .record(key::GATES, gates(&[]))
        .until("migrate")
}

fn migrated() -> Tape {
    unpacked()
        .record(
            key::MIGRATIONS,
            json!({ "ran": [EXPAND, DESTRUCTIVE],
                "measured": [{ "name": EXPAND, "statements": 1, "milliseconds": 1_840, "rows": 412_000 }] }),
        )
        .done("migrate", &format!("{EXPAND}, {DESTRUCTIVE}"))
        .record(key::SCHEMA, json!({ "verdict": "healthy" }))
}

fn switched() -> Tape {
    migrated()
        .until("switch")
        .begun("switch")
        .record(key::SWITCH, json!({ "from": format!("releases/{OLD}"), "to": NEW, "took_us": 1_967 }))
        .finished("switch", Verdict::Passed, &format!("releases/{NEW}, in 2 ms"), None)
}

fn live() -> Vec<Event> {
    switched()
        .until("health")
        .record(key::HEALTH, health(None))
        .record(key::IDENTITY, json!({ "release": NEW, "proven": true, "by": ["health answers", "one-time file"], "in_a_row": 2, "note": null }))
        .done("health", "1 of 1 endpoints healthy, as the new release")
        .record(key::RECEIPT, receipt(0))
        .until("live")
        .and(Body::Committed { step: StepId::new("live") })
        .done("live", "")
        .done("prune", "2 old releases and 2 old backups removed")
        .warned("survey-server", errors::services::reload_cuts_requests(FPM, "/etc/php/8.3/fpm/php-fpm.conf"))
        .record(key::LEDGER, json!("/srv/shop/.gated-deploy/ledger.jsonl"))
        .ends(Outcome::Live { warnings: 1 })
}

fn preview(step: &str, lines: impl IntoIterator<Item = String>) -> Preview {
    Preview { step: StepId::new(step), lines: lines.into_iter().collect() }
}

/// The commands of the switch to `to`.
fn switches(to: &str) -> [Preview; 2] {
    let next = format!("/srv/shop/.current.{to}");
    let link = RemoteCommand::new(["ln", "-s", &format!("releases/{to}"), &next]);
    let rename = RemoteCommand::new(["mv", "-Tf", &next, "/srv/shop/current"]);
    let reload = reload_commands().into_iter().map(|command| format!("{command}    (sudo allows it)"));
    [preview("switch", [link.to_string(), rename.to_string()]), preview("reload", reload)]
}

fn reload_commands() -> [RemoteCommand; 2] {
    [["sudo", "-n", "systemctl", "reload", FPM], ["sudo", "-n", "systemctl", "reload", "nginx"]].map(RemoteCommand::new)
}

fn to_plan() -> Tape {
    surveyed().record(key::RELEASE, json!(NEW))
}

fn previews() -> Vec<Preview> {
    let migrate = ["php artisan migrate --force".to_owned(), format!("{DESTRUCTIVE} [destructive]")];
    [preview("migrate", migrate)].into_iter().chain(switches(NEW)).collect()
}

fn planned() -> Vec<Event> {
    to_plan().planned(previews())
}

/// A release that no run confirmed is live: it is rolled back before anything else.
fn planned_on_unconfirmed() -> Vec<Event> {
    to_plan().record(key::LIVE_UNCONFIRMED, json!("20251102_120000-0badc0de")).planned(previews())
}

/// The health that a site reports which answers as this commit.
fn health_of(commit: &str, problem: Option<&str>) -> Value {
    let mut report = health(problem);
    report["endpoints"][0]["answered_as"] = json!(commit);
    report
}

const DOWN: &str = "/health: 500 instead of 200: SQLSTATE[42S22]: Column not found: 1054 Unknown column 'guest'";

/// As the check of the health fails.
fn unhealthy(report: &Value, problem: &str) -> Failure {
    let report = serde_json::from_value(report.clone()).expect("a report");
    errors::health::unhealthy(HEALTH, &report, vec![problem.to_owned()])
        .hint("Read the end of the application's log: `ssh deploy@shop.example.com tail -n 50 /srv/shop/shared/storage/logs/laravel.log`.")
}

fn sick() -> (Value, Failure) {
    let report = health(Some("500 instead of 200"));
    let failure = unhealthy(&report, DOWN);
    (report, failure)
}

fn failing() -> Tape {
    let (report, failure) = sick();
    switched().until("health").record(key::HEALTH, report).failed("health", failure)
}

fn backup_stays() -> String {
    format!("8 Back up the app and its database: it is verified and kept in /srv/shop/backups/{NEW}")
}

fn rolled_back() -> Vec<Event> {
    failing()
        .undone("switch", None)
        .record(key::RECEIPT, receipt(14))
        .record(key::HEALTH_AFTER_ROLLBACK, health_of(OLD_SHA, None))
        .ends(Outcome::RolledBack {
            at: StepId::new("health"),
            cause: sick().1,
            stays: vec![
                "13 Run forward migrations: 2 migrations ran and stay; the old code runs on the new schema".to_owned(),
                backup_stays(),
            ],
        })
}

/// What a run prints whose rollback failed.
fn by_hand() -> Vec<String> {
    let current: RemotePath = "/srv/shop/current".parse().expect("a path");
    let mut commands = current::pointing_back(&current, Some(&format!("releases/{OLD}")));
    commands.extend(reload::by_hand(&reload_commands(), &[]));
    commands.push(RemoteCommand::new(["rm", "-r", "/srv/shop/.gated-deploy/lock"]));
    commands.iter().map(ToString::to_string).collect()
}

fn pointing_back() -> String {
    format!("pointing /srv/shop/current back to releases/{OLD}")
}

fn not_undone(undo_cause: Failure) -> Vec<Event> {
    failing().undone("switch", Some(undo_cause.clone())).record(key::RECEIPT, receipt(14)).ends(Outcome::Stuck {
        at: StepId::new("health"),
        cause: sick().1,
        undoing: StepId::new("switch"),
        undo_cause,
        by_hand: by_hand(),
        stays: vec![format!("11 Unpack into releases/<name>: /srv/shop/releases/{NEW}")],
    })
}

fn stuck() -> Vec<Event> {
    not_undone(errors::ssh::connection_lost(&pointing_back(), "the server did not answer for 60 s".to_owned()))
}

fn handed_over() -> Vec<Event> {
    not_undone(Failure::cancelled(pointing_back(), "the run was cancelled"))
}

fn refused_at_migrations() -> Vec<Event> {
    let tail = ["SQLSTATE[42S21]: Column already exists: 1060 Duplicate column name 'guest'".to_owned()];
    let cause = errors::migration_result::failed("running the migrations", "1", &[], tail);
    unpacked().failed("migrate", cause.clone()).ends(refused("migrate", cause, vec![backup_stays()]))
}

fn unhealthy_before_the_switch() -> Vec<Event> {
    let thrown =
        "RuntimeException: the key of the shop is missing (app/Providers/AppServiceProvider.php:12)".to_owned();
    let cause = errors::health::before_the_switch(sick().1, &[thrown]);
    let migrations = "13 Run forward migrations: 2 migrations ran and stay; the old code runs on the new schema";
    migrated().until("canary").failed("canary", cause.clone()).ends(refused(
        "canary",
        cause,
        vec![migrations.to_owned(), backup_stays()],
    ))
}

fn blocked() -> Vec<Event> {
    let command = format!("sudo -n systemctl reload {FPM}");
    let sudo = errors::services::sudo_rule_missing(
        format!("deploy cannot run {command}: sudo asks for a password"),
        format!(
            "Add this line to /etc/sudoers.d/gated-deploy: deploy ALL=(root) NOPASSWD: /usr/bin/systemctl reload {FPM}"
        ),
    )
    .failure("reading /srv/shop on the server");
    let report = health_of(OLD_SHA, Some("502 instead of 200"));
    let site = unhealthy(&report, "/health: 502 instead of 200");
    production()
        .record(key::SHA, json!(SHA))
        .through("reach-server")
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .failed("survey-server", sudo.clone())
        .until("baseline-health")
        .record(key::BASELINE, report)
        .failed("baseline-health", site)
        .until("look-ahead")
        .begun("look-ahead")
        .finished("look-ahead", Verdict::Skipped, "not checked: the survey failed", None)
        .through("room")
        .ends(refused("survey-server", sudo, Vec::new()))
}

/// A rollback to the older of the two releases.
fn going_back() -> Tape {
    target(Tape::with("rollback", rollback::table(None).outline()))
        .record(key::PREVIOUS_RELEASE, json!(NEW))
        .until("survey-server")
        .done("survey-server", &format!("{NEW} is live; PHP 8.3.14, {FPM}; 41.0 GB free"))
        .record(key::SHA, json!(OLD_SHA))
        .record(key::MIGRATIONS_STAY, json!({ "ran": [DESTRUCTIVE] }))
        .record(key::RELEASE, json!(OLD))
        .until("choose-release")
        .done("choose-release", OLD)
        .record(key::PLAN_DIGEST, json!(DIGEST))
}

fn switched_back() -> Tape {
    going_back()
        .record(key::EXECUTED, json!(true))
        .until("switch")
        .begun("switch")
        .record(key::SWITCH, json!({ "from": format!("releases/{NEW}"), "to": OLD, "took_us": 1_800 }))
        .finished("switch", Verdict::Passed, &format!("releases/{OLD}, in 1.8 ms"), None)
        .until("health")
}

fn back() -> Vec<Event> {
    switched_back()
        .record(key::HEALTH, health_of(OLD_SHA, None))
        .done("health", "1 of 1 endpoints healthy, as the target release")
        .until("live")
        .and(Body::Committed { step: StepId::new("live") })
        .done("live", "")
        .ends(Outcome::Live { warnings: 0 })
}

fn back_planned() -> Vec<Event> {
    going_back().planned(switches(OLD).into_iter().collect())
}

fn back_failed() -> Vec<Event> {
    let report = health_of(OLD_SHA, Some("500 instead of 200"));
    let cause = unhealthy(&report, DOWN);
    switched_back()
        .record(key::HEALTH, report)
        .failed("health", cause.clone())
        .undone("switch", None)
        .record(key::HEALTH_AFTER_ROLLBACK, health(None))
        .ends(Outcome::RolledBack { at: StepId::new("health"), cause, stays: Vec::new() })
}

fn recovered() -> Vec<Event> {
    target(Tape::with("recover", recover::table().outline()))
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .until("survey-server")
        .done("survey-server", "an interrupted run left files")
        .done("deploy-lock", "run https://github.com/acme/shop/actions/runs/4712 (attempt 1) by ada")
        .warned(
            "deploy-lock",
            errors::lock::taken_over("run https://github.com/acme/shop/actions/runs/4711 (attempt 1) by ada"),
        )
        .done("finish-unconfirmed", "removed incoming/x.tar.gz")
        .record(key::HEALTH, health_of(OLD_SHA, None))
        .done("health", "1 of 1 endpoints healthy")
        .ends(Outcome::Passed)
}

fn preflight(failing: bool) -> Vec<Event> {
    let cut = errors::services::reload_cuts_requests(FPM, "/etc/php/8.3/fpm/php-fpm.conf");
    let key_missing = errors::preflight::app_key_missing(&"/srv/shop/shared/.env");
    let finding = |step: &str, check: &str, found: &str, judgement: &str, hint: Option<&str>| json!({ "step": step, "check": check, "found": found, "judgement": judgement, "hint": hint });
    let mut findings = vec![
        finding("survey-server", "/srv/shop", &format!("{OLD} is live"), "passed", None),
        finding("reload", "process_control_timeout", &cut.text, "warned", cut.hint.as_deref()),
        finding("env-file", "APP_ENV", "production", "passed", None),
    ];
    if failing {
        findings.push(finding("env-file", "APP_KEY", &key_missing.cause, "failed", Some(&key_missing.hint)));
    }
    let cause = key_missing.failure("checking /srv/shop/shared/.env");
    let tape = target(Tape::with("preflight", preflight::table().outline()))
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .until("survey-server")
        .done("survey-server", "in order")
        .until("reload")
        .begun("reload")
        .warned("reload", cut.clone())
        .finished("reload", Verdict::Warned, &cut.text, None)
        .record(key::FINDINGS, json!(findings));
    match failing {
        true => tape.fails_at("env-file", cause.clone()).through("baseline-health").ends(refused(
            "env-file",
            cause,
            Vec::new(),
        )),
        false => tape.until("env-file").done("env-file", "in order").through("baseline-health").ends(Outcome::Passed),
    }
}

fn smoke(failing: bool) -> Vec<Event> {
    let tape = Tape::with("smoke", smoke::table().outline())
        .record(key::ENVIRONMENT, json!("production"))
        .record(key::URL, json!("https://shop.example.com/"));
    match failing {
        true => {
            let (report, cause) = sick();
            let tape = tape.record(key::HEALTH, report).failed("health", cause.clone());
            tape.ends(refused("health", cause, Vec::new()))
        }
        false => tape.record(key::HEALTH, health(None)).through("assets").ends(Outcome::Passed),
    }
}

fn audit() -> Vec<Event> {
    let found = |id: &str, actual: &str, status: &str, fix: Option<&str>| {
        let check = audit::catalogue::find(id).expect("a finding of the catalogue");
        json!({ "step": "branch-protection", "id": id, "title": check.title, "target": check.target, "actual": actual,
            "impact": check.impact, "status": status, "environment": "production", "fix": fix,
            "source": format!("GET /repos/acme/shop/branches/main, {id}"),
            "unix_ms": 1_762_098_540_000_i64 })
    };
    let fix = "stage: fix, fix: branch-protection-main";
    let findings = [
        found("main-protected", "no rule protects `main`", "not-met", Some(fix)),
        found("main-required-checks", "build, test", "met", None),
    ];
    let unprotected = errors::fix::findings_forbid(
        "reading the protection of the branches",
        "The branch of production is protected: no rule protects `main`".to_owned(),
        Vec::new(),
        Some(fix.to_owned()),
    );
    // A command in the help names an account, and is copied.
    let lost = Failure {
        hint: Some("Try it from the runner's network: ssh -p 22 deploy@shop.example.com".to_owned()),
        ..errors::ssh::unreachable("connecting to deploy@shop.example.com:22", "connection refused".to_owned())
    };
    Tape::with("audit", audit::table().outline())
        .record(key::ENVIRONMENT, json!("production"))
        .record(key::AUDIT, json!(findings))
        .fails_at("branch-protection", unprotected.clone())
        .fails_at("reach-server", lost)
        .ends(refused("branch-protection", unprotected, Vec::new()))
}

fn fix(stuck: bool) -> Vec<Event> {
    let set = |value: &str| json!([{ "what": "required checks", "value": value }]);
    let sends = "PUT /repos/acme/shop/branches/main/protection";
    let tape = Tape::with("fix", fix::outline(FixName::BranchProtectionMain))
        .record(
            key::FIX,
            json!({ "name": "branch-protection-main", "subject": "branch `main` of acme/shop", "before": set("none"),
                "wanted": set("build, test"), "after": null, "sends": [sends],
                "needs": "administration=write, which no GITHUB_TOKEN has", "nothing": null }),
        )
        .done("branch-protection", "no rule protects it");
    if !stuck {
        return tape
            .record(key::PLAN_DIGEST, json!(DIGEST))
            .planned(vec![preview("protect-branch", [sends.to_owned()])]);
    }
    let lost =
        errors::fix::protection_differs("verifying the protection of `main`", &["test is not required".to_owned()]);
    let down = errors::github::unavailable("restoring the protection of `main`", "502 Bad Gateway".to_owned());
    tape.record(key::EXECUTED, json!(true))
        .through("protect-branch")
        .failed("branch-protected", lost.clone())
        .undone("protect-branch", Some(down.clone()))
        .ends(Outcome::Stuck {
            at: StepId::new("branch-protected"),
            cause: lost,
            undoing: StepId::new("protect-branch"),
            undo_cause: down,
            by_hand: vec!["gh api --method DELETE repos/acme/shop/branches/main/protection".to_owned()],
            stays: Vec::new(),
        })
}

fn built(failing: &[&str]) -> Vec<Event> {
    let tape = Tape::with("build-gate", build_gate::table().outline())
        .done("resolve-event", &format!("{}, from push", &SHA[..8]))
        .record(key::SHA, json!(SHA))
        .record(key::GATES, gates(failing));
    if failing.is_empty() {
        let bundle = json!({ "file": "dist/deployment-bundle.tar.gz", "size": 26_600_000, "sha256": DIGEST, "commit": SHA,
            "files": 8_312, "verified_at": ["built here"] });
        return tape.record(key::BUNDLE, bundle).through("verify-bundle").ends(Outcome::Passed);
    }
    let lines = failing.iter().map(|gate| format!("{gate}: is missing")).collect();
    let cause = errors::preflight::gates_failed("8/9", lines);
    tape.fails_at("pre-bundle-gates", cause.clone()).ends(refused("pre-bundle-gates", cause, Vec::new()))
}

fn cancelled() -> Vec<Event> {
    let cause = Failure::cancelled("waiting for the deploy lock", "the run was cancelled");
    approved().begun("deploy-lock").ends(refused("deploy-lock", cause, Vec::new()))
}

fn all() -> Vec<(&'static str, Vec<Event>)> {
    vec![
        ("live", live()),
        ("planned", planned()),
        ("planned-on-unconfirmed", planned_on_unconfirmed()),
        ("planned-needs-digest", planned()),
        ("rolled-back", rolled_back()),
        ("stuck", stuck()),
        ("handed-over", handed_over()),
        ("refused", refused_at_migrations()),
        ("unhealthy-before-the-switch", unhealthy_before_the_switch()),
        ("blockers", blocked()),
        ("cancelled", cancelled()),
        ("running", switched().until("health").begun("health").0),
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
    rendered_in(events, false)
}

fn rendered_in(events: &[Event], needs_digest: bool) -> String {
    let view = RunView::of(events);
    let phrase = if view.stage == "fix" { "PROD-FIX FREIGEGEBEN" } else { "PROD-DEPLOY FREIGEGEBEN" };
    summary::render(&view, &Setting { phrase: Some(phrase.to_owned()), needs_digest, ..setting() })
}

#[test]
fn each_ending_has_the_first_screen_that_it_needs() {
    for (name, events) in all() {
        insta::assert_snapshot!(name, rendered_in(&events, name == "planned-needs-digest"));
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
            assert!(page.find("no rule protects `main`").expect("the reason") < table, "{page}");
            continue;
        }
        seen += 1;
        let told = page
            .find(&markdown::short(&cause.cause, 1200))
            .unwrap_or_else(|| panic!("{name} does not tell {}:\n{page}", cause.cause));
        assert!(told < table, "{name}: the cause stands below a table:\n{page}");
        assert_says(screen, &[&format!("(`{}`)", cause.code)]);
        if let Some(hint) = &cause.hint {
            let hint = screen[told..].find("**Help:**").unwrap_or_else(|| panic!("{name} hides: {hint}\n{page}"));
            assert!(told + hint < table, "{name}:\n{page}");
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
        let phrase = page.find(" FREIGEGEBEN 3f9a1c2e8d7b6a5f").expect("the phrase");
        for before in ["What would run: ", "📋 would run", "<summary>Commands</summary>"] {
            assert!(page.find(before).unwrap_or_else(|| panic!("{before}:\n{page}")) < phrase, "{before}:\n{page}");
        }
        assert!(page.matches("FREIGEGEBEN 3f9a").count() == 1, "{page}");
    }
    assert_says(&rendered(&fix(false)), &["PROD-FIX FREIGEGEBEN 3f9a"]);
    assert_says(&rendered(&planned()), &["2 pending: ", "(⚠️ destructive)", "app 96.2 MB, database 418 MB"]);
}

/// A person who reads that the phrase alone approves a plan must be able to use it.
#[test]
fn a_plan_says_that_the_phrase_alone_is_refused_where_the_policy_requires_the_digest() {
    let bare = "Without the digest, `PROD-DEPLOY FREIGEGEBEN` approves whatever the next run plans.";
    let refused = "The policy requires the digest: the phrase alone is refused.";
    for (needs_digest, says, hides) in [(false, bare, refused), (true, refused, bare)] {
        let page = rendered_in(&planned(), needs_digest);
        assert_says(&page, &["This run only planned: `approval` is not set.", says]);
        assert!(!page.contains(hides), "{page}");
    }
}

#[test]
fn every_code_is_one_of_the_program() {
    let known: Vec<&str> = errors::all().map(|code| code.name).chain(["cancelled"]).collect();
    let mut seen = 0;
    for (name, events) in all() {
        let view = RunView::of(&events);
        let undo = match &view.outcome {
            Some(Outcome::Stuck { undo_cause, .. }) => Some(undo_cause),
            _ => None,
        };
        let cause = view.outcome.as_ref().and_then(Outcome::cause);
        let failures = cause.into_iter().chain(undo).chain(view.rows.iter().filter_map(|row| row.failure()));
        for code in failures.map(|failure| failure.code.as_ref()) {
            assert!(known.contains(&code), "{name}: {code} is no code");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// What is copied out of the page must be what the program wrote.
#[test]
fn a_command_in_a_help_keeps_its_bytes() {
    let page = rendered(&audit());
    assert_says(&page, &["**Help:** Try it from the runner\'s network: ssh -p 22 deploy@shop.example.com\n"]);
    let lines = errors::ssh::second_factor("connecting", "partial success".to_owned(), "deploy");
    let page = rendered(&production().fails_at("reach-server", lines.clone()).ends(refused(
        "reach-server",
        lines,
        Vec::new(),
    )));
    assert_says(&page, &["```text\nMatch User deploy\n    AuthenticationMethods publickey\n```"]);
    // A mention would notify an account of every release.
    let cause = Failure::refused("releasing", "stopped by @ada").code("lock-held").hint("Ask @ada.");
    let page =
        rendered(&production().fails_at("find-build", cause.clone()).ends(refused("find-build", cause, Vec::new())));
    assert!(!page.contains("@ada"), "{page}");
}

#[test]
fn a_title_with_code_is_shown_as_code() {
    let page = rendered(&live());
    assert_says(&page, &["| Switch `current` to the release |", "| Check that `current` has not moved |"]);
    assert!(!page.contains("&#96;"), "{page}");
    assert_says(&rendered(&stuck()), &["the rollback failed at step 15 (Switch `current` to the release)"]);
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
        // Each row has an undo of its own, and some have the same.
        .filter(|part| !part.starts_with("undo: "))
        .collect()
}

#[test]
fn nothing_is_said_twice() {
    for (name, events) in all() {
        let page = rendered(&events);
        let mut said = sentences(&page);
        // A row keeps its name in each table that has it.
        said.retain(|part| RunView::of(&events).rows.iter().all(|row| row.info.title != *part));
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
    // Between the first command of the switch and its answer, `current` may lead to either release.
    let killed = unpacked().until("switch").begun("switch").0;
    assert_says(&rendered(&killed), &["| **Live now** | ❔ not known", &format!("| **Before** | `{OLD}` |")]);
    let recovering = target(Tape::with("recover", recover::table().outline()))
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .fails_at("finish-unconfirmed", errors::recovery::unconfirmed(NEW, "run 4711"))
        .0;
    assert_says(&rendered(&recovering), &["| **Live now** | ❔ not known"]);
    // An unconfirmed release is what visitors get until the release rolls it back.
    let first =
        "`20251102_120000-0badc0de`, unconfirmed: the release rolls it back to `20251101_120000-5eed1e55` first";
    assert_says(&screen(&planned_on_unconfirmed()), &[&format!("| **Live now** | {first} |")]);
    // Before the survey is over, nobody looked whether something is live.
    let early = production().begun("find-build").0;
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
