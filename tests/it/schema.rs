//! Whether the old code works on the schema that migrations left: asked before the switch, and read by a later rollback.

use std::{cell::RefCell, collections::VecDeque, fs::File, rc::Rc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{TimeDelta, Utc};
use gated_deploy::{
    domain::{
        RemotePath,
        command::quote,
        ledger,
        record::{BackupRecord, HealthReport, key},
        schema::{SchemaVerdict, Verdict},
    },
    http::{Get, Reply, Site, Unanswered, Why},
    server::{
        health::{canary, probe, sampler},
        inspect::Gateway,
    },
    transport::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel},
};
use gated_deploy_lab::{
    app::{self, Variant},
    runner::Finished,
    story::{Story, commit},
};

use crate::{
    evidence,
    rollback::rollback,
    rows::{Ran, Stage},
    support::{assert_ended, assert_says, output, story},
};

const BASE: &str = "/var/www/staging";
const HEALTH: &str = "app/Http/Controllers/HealthController.php";
const DROPS: &str = "2024_03_01_090000_drop_the_email_of_visitors";

// ---- What the row concludes, without a server ----

const WELL: &str = "Status: 200 OK\r\n\r\n{\"status\":\"ok\"}";
const BROKEN: &str = "Status: 500 Internal Server Error\r\n\r\nno";
const MISSING: &str = "Status: 404 Not Found\r\n\r\nno";

/// A pool, by what the new release and the live one answer at each page in one script; or why it says nothing.
struct Pool(RefCell<VecDeque<Result<(&'static str, &'static str), &'static str>>>);

#[async_trait(?Send)]
impl Shell for Pool {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        panic!("this row makes no connection of its own");
    }

    async fn run(&self, script: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        assert_eq!(script.name(), "canary");
        let (new, live) = match self.0.borrow_mut().pop_front().expect("one script more than expected") {
            Ok(said) => said,
            Err(why) => return Ok(Answer::new(vec![("unreachable".to_owned(), why.to_owned())])),
        };
        let page = |number: usize, text: &str| {
            ("answer".to_owned(), format!("{number} 3 whole {} {}", text.len(), STANDARD.encode(text)))
        };
        // Two rounds of three pages, the page that does not exist, and the three pages of the live release.
        let pages = [new, new, new, new, new, new, MISSING, live, live, live];
        let mut records: Vec<_> = pages.iter().enumerate().map(|(number, text)| page(number, text)).collect();
        for (folder, _) in [(0, new), (1, live)].into_iter().filter(|(_, text)| *text == BROKEN) {
            records.push(("causes".to_owned(), format!("{folder} RuntimeException: folder {folder} is broken")));
        }
        Ok(Answer::new(records))
    }

    async fn send(&self, _: File, _: u64, _: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
        panic!("this row sends nothing");
    }

    async fn tunnel(&self, _: &str, _: u16) -> Result<Tunnel, ShellError> {
        panic!("this row opens no tunnel");
    }

    fn another(&self) -> Rc<dyn Shell> {
        panic!("this row makes no connection of its own");
    }
}

/// The site, by what its web server answers; `None` if it cannot be reached.
struct Served(Option<u16>);

#[async_trait(?Send)]
impl Site for Served {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        let Some(status) = self.0 else { return Err(Unanswered::new(Why::Line, "the connection broke")) };
        let status = if get.path == probe::NOWHERE { 404 } else { status };
        let body = b"{\"status\":\"ok\"}".to_vec();
        Ok(Reply { status, headers: Vec::new(), length: 15, body, took: Duration::from_millis(3), vantage: None })
    }

    fn within(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

type Said = Result<(&'static str, &'static str), &'static str>;

/// A run whose migration ran, and whose backup has commands.
fn migrated(pool: &[Said], served: Option<u16>) -> Stage {
    let mut stage = Stage::with_site(Rc::new(Served(served)));
    stage.shell = Rc::new(Pool(RefCell::new(pool.iter().copied().collect())));
    stage.server.services.gateway = Ok(Gateway {
        pool: "shop".to_owned(),
        address: "unix:///run/php/shop.sock".to_owned(),
        public: "/public".to_owned(),
        chroot: None,
    });
    stage.state.migrations = Some(vec![DROPS.to_owned()]);
    stage.state.backup = Some(BackupRecord {
        path: "/srv/backups/one".to_owned(),
        files: Vec::new(),
        skipped: Vec::new(),
        elsewhere: None,
        restore: vec!["php artisan db:wipe".to_owned(), "gzip -dc dump | mariadb shop".to_owned()],
    });
    stage.state.backed_up = Some(Utc::now() - TimeDelta::seconds(3 * 3600 + 10 * 60 + 20));
    stage
}

fn verdict(ran: &Ran) -> SchemaVerdict {
    let told = ran.record(key::SCHEMA);
    assert!(ran.outcome.cause().is_some() || ran.state.schema.as_ref() == Some(&told), "the ledger's line");
    told
}

#[tokio::test]
async fn a_live_release_that_works_on_the_new_schema_is_asked_in_the_same_script() {
    let ran = migrated(&[Ok((WELL, WELL))], None).release(canary::check).await;
    assert_eq!(ran.said(), "3/3; asked through the pool shop; the live release on the new schema: healthy");
    assert_eq!(verdict(&ran), SchemaVerdict::healthy());
    assert!(ran.warnings().is_empty());
    // Without a migration there is nothing to ask.
    let mut stage = migrated(&[Ok((WELL, BROKEN))], None);
    stage.state.migrations = Some(Vec::new());
    let ran = stage.release(canary::check).await;
    assert_eq!(ran.said(), "3/3; asked through the pool shop");
    assert!(!ran.recorded(key::SCHEMA) && ran.state.schema.is_none());
    // A run that lost its connection does not know whether one ran.
    let mut stage = migrated(&[Ok((WELL, WELL))], None);
    stage.state.migrations = None;
    assert_eq!(verdict(&stage.release(canary::check).await), SchemaVerdict::healthy());
    let mut stage = migrated(&[Ok((WELL, WELL))], None);
    (stage.server.live_tree, stage.server.current) = (None, None);
    assert_eq!(verdict(&stage.release(canary::check).await), SchemaVerdict::not_asked("nothing is live yet"));
}

#[tokio::test]
async fn a_live_release_that_fails_on_the_new_schema_is_a_loud_reason_to_switch() {
    let ran = migrated(&[Ok((WELL, BROKEN))], Some(500)).release(canary::check).await;
    let told = SchemaVerdict::unhealthy("/health: 500 instead of 200");
    assert_eq!((verdict(&ran), ran.state.schema.as_ref()), (told.clone(), Some(&told)));
    assert!(ran.said().ends_with("the live release on the new schema: unhealthy (/health: 500 instead of 200)"));
    let [warning] = ran.warnings()[..] else { panic!("{:?}", ran.warnings()) };
    assert!(warning.contains(DROPS) && warning.contains("folder 1 is broken"), "{warning}");
    assert!(ran.everything().contains("live-unhealthy-on-schema"));
    // What visitors meet before the switch is no downtime of the release that ends it.
    let mut stage = migrated(&[], None);
    stage.state.schema = Some(told);
    assert!(stage.release(sampler::start).await.said().starts_with("downtime is not measured"));
}

#[tokio::test]
async fn where_neither_release_works_the_error_has_migration_backup_and_commands() {
    let pool = [Ok((BROKEN, BROKEN)), Ok((BROKEN, WELL)), Ok((BROKEN, WELL))];
    let ran = migrated(&pool, Some(503)).release(canary::check).await;
    let failure = ran.failure();
    assert_eq!((ran.outcome.exit_code(), &*failure.code), (1, "schema-unhealthy"));
    assert_says(&failure.cause, &[DROPS, "(/health: 503 instead of 200)", "folder 0 is broken"]);
    assert!(failure.details.iter().any(|line| line.ends_with("folder 1 is broken")), "{:?}", failure.details);
    let hint = failure.hint.as_deref().expect("what to do");
    assert_says(hint, &["/srv/backups/one is 3 h 10 min old", "was not measured", "/shared/.env/staging.env"]);
    let commands: Vec<&str> = hint.lines().skip(1).collect();
    assert_eq!(commands, ["php artisan db:wipe", "gzip -dc dump | mariadb shop"], "a line of its own each, to copy");
    assert_eq!(verdict(&ran).verdict, Verdict::Unhealthy);
}

/// Each says something else than that the migrations broke the live release.
#[tokio::test]
async fn what_is_no_doing_of_the_migrations_is_no_verdict() {
    // By its web server it is healthy: nginx says something to PHP that the canary does not know. So nothing is said of the new one either.
    let broken = Ok((BROKEN, BROKEN));
    let ran = migrated(&[broken, broken, broken], Some(200)).release(canary::check).await;
    let told = verdict(&ran);
    assert_eq!(told.verdict, Verdict::NotAsked);
    assert!(told.why.is_some_and(|why| why.contains("the web server gets a healthy answer")));
    assert!(ran.said().starts_with("not asked: the live release is unhealthy, too, when it is asked this way"));
    // It was unhealthy before.
    let mut stage = migrated(&[Ok((WELL, BROKEN))], Some(500));
    stage.unhealthy_before = stage.inputs.health.paths.clone();
    let told = verdict(&stage.release(canary::check).await);
    assert_eq!(told, SchemaVerdict::not_asked("unhealthy before the migrations, too: /health: 500 instead of 200"));
    // It cannot be reached.
    let told = verdict(&migrated(&[Ok((WELL, BROKEN))], None).release(canary::check).await);
    assert_eq!(told, SchemaVerdict::not_asked("/health: the connection broke"));
}

#[tokio::test]
async fn where_the_pool_says_nothing_the_site_is_asked_for_the_live_release() {
    let closed = Err("unix:///run/php/shop.sock: Permission denied");
    let ran = migrated(&[closed], Some(200)).release(canary::check).await;
    assert_eq!(verdict(&ran), SchemaVerdict::healthy());
    // Twice: one answer may be a moment's.
    let stage = migrated(&[closed], Some(500));
    let clock = stage.clock.clone();
    let ran = stage.release(canary::check).await;
    assert_eq!(verdict(&ran), SchemaVerdict::unhealthy("/health: 500 instead of 200"));
    assert_eq!(clock.slept()[0], Duration::from_secs(1));
    assert_eq!(ran.warnings().len(), 2, "the canary, and the schema: {:?}", ran.warnings());
    // No pool is known.
    let mut stage = migrated(&[], Some(200));
    stage.server.services.gateway = Err("two pools serve the site".to_owned());
    assert_eq!(verdict(&stage.release(canary::check).await), SchemaVerdict::healthy());
}

// ---- On a server ----

#[track_caller]
fn on(story: &Story, script: &str) -> String {
    story.lab.exec(&format!("set -eu; cd {BASE}\n{script}")).expect("a command on the server")
}

/// Releases a tree; `reads` the column by its health check, `drops` it by a migration.
fn release(story: &Story, word: &str, reads: bool, drops: bool) -> (String, Finished, serde_json::Value) {
    let commit = commit(word);
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    if reads {
        tree.replace(
            HEALTH,
            "DB::table('visitors')->count() >= 0",
            "DB::table('visitors')->select('email')->get() !== null",
        )
        .expect("the controller");
    }
    if drops {
        let migration = "<?php\n\nreturn new class extends Illuminate\\Database\\Migrations\\Migration\n{\n    public function up()\n    {\n        \
            Illuminate\\Support\\Facades\\Schema::table('visitors', fn ($table) => $table->dropColumn('email'));\n        \
            Illuminate\\Support\\Facades\\Schema::create('addresses', fn ($table) => $table->id());\n    }\n};\n";
        tree.write(&format!("database/migrations/{DROPS}.php"), migration).expect("the migration");
    }
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
    let (finished, report) = deployed(story, &commit);
    (commit, finished, report)
}

/// Releases a commit that is built; gives the report as well.
fn deployed(story: &Story, commit: &str) -> (Finished, serde_json::Value) {
    let runner = story.staging(commit);
    let finished = runner.run_binary(story.binary());
    let text = std::fs::read_to_string(runner.workspace().join(output(&finished, "report-json"))).expect("the report");
    let report = serde_json::from_str(&text).expect("JSON");
    evidence::valid(&report);
    (finished, report)
}

/// The schema verdict of each line of the ledger, whose chain must be whole.
fn verdicts(story: &Story) -> Vec<serde_json::Value> {
    let text = on(story, "cat .gated-deploy/ledger.jsonl");
    ledger::follow(text.as_bytes()).expect("a whole chain");
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line")["schema"].clone())
        .collect()
}

#[test]
fn old_code_that_fails_on_the_new_schema_is_replaced_at_once_and_no_target_of_a_rollback() {
    let story = story();
    let (old, finished, _) = release(&story, "reads the column", true, false);
    assert_ended(&finished, 0, "live");
    let old_release = output(&finished, "release").to_owned();

    let (new, finished, report) = release(&story, "drops the column", false, true);

    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["live-unhealthy-on-schema", DROPS, "❌ unhealthy (/health: 503 instead of 200)"]);
    assert_says(&finished.log, &["Unknown column", "downtime is not measured"]);
    assert_eq!(report["schema"]["verdict"], "unhealthy");
    assert_eq!(verdicts(&story)[1]["verdict"], "unhealthy");
    assert_eq!(story.served().expect("the site"), new);

    // Nothing is planned either.
    for approval in ["", "STAGING-TEST FREIGEGEBEN"] {
        let back = rollback(&story).input("approval", approval).run_binary(story.binary());
        assert_ended(&back, 1, "refused");
        assert_says(&back.summary, &["schema-verdict-unhealthy", &old_release, DROPS, "ignore-schema-verdict: true"]);
    }
    assert_eq!(story.served().expect("the site"), new);

    // A person has made the column again, which no ledger knows.
    on(&story, "mariadb lab_staging -e 'alter table visitors add email varchar(255)'");
    let back = rollback(&story).input("ignore-schema-verdict", "true").run_binary(story.binary());
    assert_ended(&back, 0, "live");
    assert_says(&back.summary, &["schema-verdict-ignored", DROPS]);
    assert_eq!(story.served().expect("the site"), old);
}

#[test]
fn where_neither_release_works_on_the_schema_nothing_is_switched_and_the_printed_commands_restore_it() {
    let story = story();
    let (old, finished, _) = release(&story, "reads the column", true, false);
    assert_ended(&finished, 0, "live");
    let old_release = output(&finished, "release").to_owned();
    on(&story, "mariadb lab_staging -e \"insert into visitors (name, email) values ('Ada', 'ada@example.test')\"");

    let (_, finished, report) = release(&story, "drops the column and reads it", true, true);

    assert_ended(&finished, 1, "refused");
    assert_says(&finished.summary, &["schema-unhealthy", DROPS, "was not measured", "Unknown column"]);
    assert_eq!(story.current().expect("current").as_deref(), Some(&*old_release));
    assert_eq!(on(&story, "ls releases | wc -l").trim(), "2", "its folder is removed");
    let hint = report["ending"]["cause"]["hint"].as_str().unwrap_or_else(|| panic!("{:#}", report["ending"]));
    let commands: Vec<&str> = hint.lines().skip(1).collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in &commands {
        assert_says(&finished.summary, &[command]);
    }
    assert_eq!(verdicts(&story)[1]["verdict"], "unhealthy");
    let health = || story.lab.get(&story.staging_site(), "/health", Some(&story.staging_site().health_token));
    assert_eq!(health().expect("the site").status, 503, "the live release is broken");

    // What a person types at the client's question stands in the command here.
    let password = on(
        &story,
        "php -r '$all = require \"current/bootstrap/cache/config.php\"; echo $all[\"database\"][\"connections\"][\"mysql\"][\"password\"];'",
    );
    let script = commands.join("\n").replace("--password", &quote(&format!("--password={password}")));
    story.lab.exec_as("deploy", &format!("set -e\n{script}")).expect("the printed commands");
    assert_eq!(health().expect("the site").status, 200);
    assert_eq!(story.served().expect("the site"), old);
    assert_eq!(on(&story, "mariadb -N lab_staging -e 'select email from visitors'").trim(), "ada@example.test");
    assert!(!on(&story, "mariadb -N lab_staging -e 'show tables'").contains("addresses"), "made by the migration");
}

#[test]
fn old_code_that_works_on_the_new_schema_is_told_in_ledger_and_evidence() {
    let story = story();
    let commit = commit("adds a table");
    story.ship(&commit, Variant::ExtraMigration("invoices".to_owned())).expect("the build");
    let (finished, report) = deployed(&story, &commit);
    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["Old code on the new schema", "✅ healthy"]);
    assert_eq!(report["schema"], serde_json::json!({ "verdict": "healthy" }));
    assert_eq!(verdicts(&story), [serde_json::json!({ "verdict": "healthy" })]);
    let rounds: HealthReport = serde_json::from_value(report["facts"]["canary"].clone()).expect("the canary's");
    assert!(rounds.healthy());
}
