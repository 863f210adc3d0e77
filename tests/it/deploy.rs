//! A day at work: deploy, ask the site, deploy again, deploy something sick.

use gated_deploy_lab::{Options, app::Variant, load::Load, server::SEED_RELEASE, story::commit};

use crate::support::{assert_ended, assert_says, output, story, story_on};

#[test]
fn f48_f89_two_releases_in_a_row_go_live() {
    let story = story();
    let mut before = SEED_RELEASE.to_owned();
    let mut head = String::new();
    for word in ["first", "second"] {
        let commit = commit(word);
        let run = story.ship(&commit, Variant::Healthy).expect("the build");

        let finished = story.deploy(&commit);

        assert_ended(&finished, 0, "live");
        assert_eq!(story.served().expect("the site"), commit, "the site answers as the new release");
        let release = output(&finished, "release");
        assert!(release.ends_with(&commit[..8]), "{release}");
        assert_eq!(story.current().expect("current").as_deref(), Some(release));
        assert_eq!(output(&finished, "previous-release"), before);
        assert_eq!(output(&finished, "sha"), commit);
        assert_eq!(output(&finished, "build-run-id"), run.to_string());
        assert_eq!(output(&finished, "executed"), "true");
        assert_eq!(output(&finished, "decision"), "go");
        assert_says(
            &finished.summary,
            &[release, &before, "9/9", "3/3", &commit[..8], "the .sha256 beside it, the server"],
        );
        before = release.to_owned();
        head = output(&finished, "ledger-head").to_owned();
    }
    // Attempts are written down, each line naming the one before it.
    let ledger = story.lab.exec("cat /var/www/staging/.gated-deploy/ledger.jsonl").expect("the ledger");
    let lines: Vec<serde_json::Value> =
        ledger.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(lines.iter().map(|line| &line["outcome"]).collect::<Vec<_>>(), ["live", "live"]);
    let first = ledger.lines().next().expect("a first line");
    assert_eq!(lines[1]["prev"], gated_deploy::domain::Sha256Digest::of(first).as_str());
    assert_eq!(verify(story.binary(), &ledger, &["--head", &head]).0, 0, "as the last run left it");
    let edited = ledger.replacen("\"live\"", "\"refused\"", 1);
    let (code, said) = verify(story.binary(), &edited, &[]);
    assert_eq!(code, 1);
    assert_says(&said, &["broken: line 2"]);
    // The chain alone cannot know how long it was.
    let (code, said) = verify(story.binary(), first, &["--head", &head]);
    assert_eq!(code, 1);
    assert_says(&said, &[&head]);
    assert_eq!(verify(story.binary(), first, &[]).0, 0);
    assert_eq!(verify(story.binary(), &ledger, &["--head", ""]).0, 2, "an output that was not written checks nothing");
    // Nothing of the run is left but what is meant to stay.
    let left =
        story.lab.exec("ls -A /var/www/staging/.gated-deploy /var/www/staging/.gated-deploy/incoming").expect("ls");
    assert!(!left.contains("lock") && !left.contains(".tar.gz"), "{left}");
}

/// `gated-deploy ledger verify` on a text: its exit code and what it says.
fn verify(binary: &std::path::Path, ledger: &str, more: &[&str]) -> (i32, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), ledger).expect("writing it");
    let args = ["ledger", "verify"].iter().chain(more);
    let output = std::process::Command::new(binary).args(args).arg(file.path()).output().expect("it runs");
    (output.status.code().expect("a code"), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn the_first_release_of_a_new_place_goes_live() {
    let story = story_on(Options { seed: false, ..Options::default() });
    let commit = commit("the very first");
    story.ship(&commit, Variant::Healthy).expect("the build");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    assert_eq!(story.served().expect("the site"), commit);
    assert_eq!(output(&finished, "previous-release"), "");
}

#[test]
fn f8_without_the_phrase_the_plan_is_printed_and_the_server_stays_as_it_was() {
    let story = story();
    let commit = commit("planned");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let before = story.lab.tree_digest("/var/www").expect("the tree");

    let finished = story.staging(&commit).input("approval", "").run_binary(story.binary());

    assert_ended(&finished, 0, "planned");
    assert_eq!(story.lab.tree_digest("/var/www").expect("the tree"), before, "not a byte changed");
    assert_eq!(output(&finished, "executed"), "false");
    assert_says(
        &finished.summary,
        &["STAGING-TEST FREIGEGEBEN", &output(&finished, "plan-digest")[..16], SEED_RELEASE],
    );
    assert_says(&finished.log, &["mv -Tf", "migrate --force", "sudo -n service php8.2-fpm reload"]);
}

#[test]
fn the_digest_of_the_plan_approves_that_plan_only() {
    let story = story();
    let commit = commit("by digest");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let plan = story.staging(&commit).input("approval", "").run_binary(story.binary());
    let digest = output(&plan, "plan-digest")[..16].to_owned();
    let phrase = |digest: &str| format!("STAGING-TEST FREIGEGEBEN {digest}");

    let stale = story.staging(&commit).input("approval", &phrase("0badc0de0badc0de")).run_binary(story.binary());
    assert_ended(&stale, 1, "refused");
    assert_says(&stale.log, &[&phrase(&digest)]);

    let finished = story.staging(&commit).input("approval", &phrase(&digest)).run_binary(story.binary());
    assert_ended(&finished, 0, "live");
}

#[test]
fn f52_f82_f84_a_release_that_answers_500_is_rolled_back_in_the_same_run() {
    let story = story();
    let (good, sick) = (commit("good"), commit("sick"));
    story.ship(&good, Variant::Healthy).expect("the build");
    let first = story.deploy(&good);
    assert_ended(&first, 0, "live");
    story.ship(&sick, Variant::Sick500).expect("the build");

    let finished = story.deploy(&sick);

    assert_ended(&finished, 3, "rolled-back");
    assert_eq!(story.served().expect("the site"), good, "the old release answers");
    let old = output(&first, "release");
    assert_eq!(story.current().expect("current").as_deref(), Some(old));
    // Nothing was migrated: only the backup stays, and that is said.
    let stays = "### What stays\n\n- Back up the app and its database: the verified backup is kept in /var/www/staging/backups/";
    assert_says(
        &finished.summary,
        &[stays, &format!("-{}\n\n", &sick[..8]), "/var/www/staging/shared/storage/logs/laravel.log"],
    );
    assert_says(&finished.summary, &["Rolled back: the old release is live again and healthy", old, "500", "/health"]);
    assert!(!finished.summary.contains(" 0.0 MB"), "what is there has a size: {}", finished.summary);
    // The sick release is gone, and the next one goes live.
    let releases = story.lab.exec("ls /var/www/staging/releases").expect("ls");
    assert!(!releases.contains(&sick[..8]), "{releases}");
    let next = commit("next");
    story.ship(&next, Variant::Healthy).expect("the build");
    assert_ended(&story.deploy(&next), 0, "live");
}

#[test]
fn f63_migrations_of_a_release_that_was_rolled_back_stay_and_are_named() {
    let story = story();
    let commit = commit("sick, with a migration");
    let tree = gated_deploy_lab::app::source(&commit, Variant::Sick500)
        .and_then(|tree| tree.with(Variant::ExtraMigration("invoices".to_owned())))
        .expect("the tree");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 3, "rolled-back");
    assert_says(&finished.summary, &["invoices", "old code runs on the new schema"]);
}

#[test]
fn fd1_f63_what_a_migration_did_is_measured_and_one_that_ends_php_is_a_failure() {
    let story = story();
    let commit = commit("leaves in the middle");
    let tree = gated_deploy_lab::app::source(&commit, Variant::Healthy).expect("the tree");
    let migration = |up: &str| crate::plan::migration(up);
    let does = "Schema::table('visitors', fn ($table) => $table->string('nickname')->nullable());
        DB::table('visitors')->insert(['name' => 'what nobody may read', 'email' => 'nobody']); DB::statement(\"update visitors set nickname = 'a literal'\");
        fwrite(STDOUT, PHP_EOL . 'known=yes' . PHP_EOL . 'after=2031_01_02_000000_leave' . PHP_EOL);";
    tree.write("database/migrations/2031_01_01_000000_nickname.php", migration(does)).expect("a migration");
    // In a transaction of its own, in which the migration before it is seen, and a name that was never recorded.
    let leaves =
        "DB::beginTransaction(); DB::table('migrations')->insert(['migration' => 'never', 'batch' => 9]); exit(0);";
    tree.write("database/migrations/2031_01_02_000000_leave.php", migration(leaves)).expect("a migration");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");

    let runner = story.staging(&commit);
    let finished = runner.clone().run_binary(story.binary());

    assert_ended(&finished, 1, "refused");
    assert_says(
        &finished.summary,
        &["PHP was ended by a migration", "stay: 2031_01_01_000000_nickname", "3 statements, 0."],
    );
    assert_says(&finished.log, &["after=2031_01_02_000000_leave"]);
    let line = story.lab.exec("tail -n 1 /var/www/staging/.gated-deploy/ledger.jsonl").expect("the ledger");
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line");
    assert_eq!(line["migrations"], serde_json::json!(["2031_01_01_000000_nickname"]));
    let measured = &line["measured"][0];
    assert_eq!((&measured["statements"], measured["sql"].is_null()), (&serde_json::json!(3), true), "{line}");
    assert!(measured["sha256"].is_string() && measured["rows"].as_u64().is_some(), "{line}");
    let evidence =
        std::fs::read_to_string(runner.workspace().join(output(&finished, "report-json"))).expect("the report");
    assert_says(&evidence, &["alter table `visitors` add `nickname`", "set nickname = '***'"]);
    assert!(!evidence.contains("a literal") && !evidence.contains("what nobody may read"), "data leaves no server");
}

/// The site writes to the table of migrations, with whatever names it likes.
#[test]
fn f63_a_row_in_the_table_of_migrations_speaks_for_none_that_is_pending() {
    let story = story();
    let commit = commit("drops a table");
    let tree = gated_deploy_lab::app::source(&commit, Variant::Healthy).expect("the tree");
    let name = "2031_01_01_000000_drop";
    let drops = crate::plan::migration("Schema::dropIfExists('notes');");
    tree.write(&format!("database/migrations/{name}.php"), drops).expect("a migration");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
    let insert = format!(
        "INSERT INTO migrations (migration, batch) VALUES ('zz\\nran={name}\\nbefore={name}\\nafter={name}', 1), ('yy\\nlisted=yes\\nknown=yes\\nstatus=0\\nended=0', 1)"
    );
    story.lab.exec(&format!("mariadb lab_staging -e \"{insert}\"")).expect("the rows");

    let plan = story.staging(&commit).input("approval", "").run_binary(story.binary());
    assert_ended(&plan, 0, "planned");
    assert_says(&plan.summary, &[name, "destructive"]);

    let live = story.deploy(&commit);
    assert_ended(&live, 0, "live");
    let line = story.lab.exec("tail -n 1 /var/www/staging/.gated-deploy/ledger.jsonl").expect("the ledger");
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line");
    assert_eq!(line["migrations"], serde_json::json!([name]), "{line}");
}

#[test]
fn no_request_fails_while_a_release_goes_live() {
    let story = story();
    let commit = commit("under load");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let site = story.staging_site();
    // The first visitor compiles the page's view; Laravel writes it in place, and others may read half of it meanwhile.
    story.lab.get(&site, "/", None).expect("the first visit");
    let load = Load::start(story.lab.http_addr(), &site.host, "/", 8);

    let finished = story.deploy(&commit);

    let report = load.stop().expect("the load's report");
    assert_ended(&finished, 0, "live");
    assert!(
        report.failures.is_empty(),
        "{} of {} requests failed: {:?}",
        report.failures.len(),
        report.requests,
        report.failures
    );
    assert!(report.requests > 100, "only {} requests were made", report.requests);
}

#[test]
fn a_server_whose_reloads_cut_requests_is_warned_about() {
    let story = story_on(Options { process_control_timeout: 0, ..Options::default() });
    let commit = commit("warned");
    story.ship(&commit, Variant::Healthy).expect("the build");

    for approval in ["", "STAGING-TEST FREIGEGEBEN"] {
        let finished = story.staging(&commit).input("approval", approval).run_binary(story.binary());

        assert_eq!(finished.exit_code, 0, "{}", finished.raw_log);
        assert_says(&finished.summary, &["process_control_timeout = 10s", "/etc/php/8.2/fpm/php-fpm.conf"]);
        assert_says(&finished.log, &["process_control_timeout = 10s"]);
    }
}
