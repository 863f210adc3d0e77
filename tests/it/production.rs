//! Production takes what staging has proven, and nothing else.

use gated_deploy_lab::{
    app::{self, Variant},
    github::{Phase, Review, Run},
    runner::{Finished, Runner},
    server::{Environment, SEED_COMMIT, SEED_RELEASE},
    story::{PRODUCTION_PHRASE, STAGING_PHRASE, Story, commit},
};

use crate::support::{assert_ended, assert_says, output, story};

/// A commit that is built and live on staging.
fn proven(story: &Story, word: &str) -> String {
    let commit = commit(word);
    story.ship(&commit, Variant::Healthy).expect("the build");
    assert_ended(&story.deploy(&commit), 0, "live");
    commit
}

fn served(story: &Story) -> String {
    story.lab.served_commit(&story.production_site()).expect("production answers")
}

/// Runs a release that must be refused for these reasons, with production's server as it was.
#[track_caller]
fn refused(story: &Story, runner: &Runner, says: &[&str]) -> Finished {
    let before = story.lab.tree_digest("/var/www/production").expect("the tree");
    let finished = runner.run_binary(story.binary());
    assert_ended(&finished, 1, "refused");
    assert_eq!(output(&finished, "decision"), "no-go");
    assert_says(&finished.summary, says);
    assert_says(&finished.log, &["help: "]);
    assert_eq!(story.lab.tree_digest("/var/www/production").expect("the tree"), before, "not a byte changed");
    finished
}

#[test]
fn f8_f64_staging_then_production_and_each_phrase_opens_its_own_door() {
    let story = story();
    let commit = commit("proven on staging");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    for (name, column) in [("2031_01_01_000000_first", "first"), ("2031_01_02_000000_second", "second")] {
        let up = format!("Schema::table('visitors', fn ($table) => $table->string('{column}')->nullable());");
        tree.write(&format!("database/migrations/{name}.php"), crate::plan::migration(&up)).expect("a migration");
    }
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
    let known = "insert into migrations (migration, batch) values ('2031_01_02_000000_second', 9)";
    story.lab.exec(&format!("mariadb -e \"{known}\" lab_staging")).expect("a migration that staging ran long ago");
    let with = |runner: Runner, approval: &str| runner.input("approval", approval).run_binary(story.binary());

    let wrong = with(story.staging(&commit), PRODUCTION_PHRASE);
    assert_ended(&wrong, 1, "refused");
    assert_says(&wrong.log, &[STAGING_PHRASE]);
    assert_ended(&story.deploy(&commit), 0, "live");
    for near in [STAGING_PHRASE, "PROD-DEPLOY  FREIGEGEBEN", "prod-deploy freigegeben", "PROD DEPLOY FREIGEGEBEN"] {
        let finished =
            refused(&story, &story.production(&commit).input("approval", near), &["is not a valid approval phrase"]);
        assert_says(&finished.log, &[PRODUCTION_PHRASE]);
    }
    let before = story.lab.tree_digest("/var/www/production").expect("the tree");
    let planned = with(story.production(&commit), "");
    assert_ended(&planned, 0, "planned");
    assert_says(&planned.summary, &[PRODUCTION_PHRASE, "Check that staging is healthy and has confirmed this commit"]);
    let cost = planned.log.find("on staging this file took: 1 statement, 0.").expect("what staging measured");
    let second = planned.log.find("2031_01_02_000000_second [").expect("the second migration");
    assert!(cost < second && planned.log[second..].contains("staging has not run this file, or did not measure it"));
    assert_eq!(story.lab.tree_digest("/var/www/production").expect("the tree"), before, "a plan changes nothing");
    assert_eq!(served(&story), SEED_COMMIT);

    let stopped = with(story.production(&commit), "ABBRECHEN");
    assert_ended(&stopped, 1, "refused");
    assert_says(&stopped.summary, &["**approval**", "it says ABBRECHEN", "✅ GO", "1/1, attempt 1"]);
    let again = with(story.production(&commit), "APPEND MISSING INFO");
    assert_ended(&again, 0, "planned");
    assert_eq!(served(&story), SEED_COMMIT);

    // develop was merged into main: production is asked for the merge commit, which nothing was built for (FD2).
    let merged = story.merge(&commit);
    let stale = &output(&planned, "plan-digest")[..16];
    refused(
        &story,
        &story.production(&merged).input("approval", &format!("{PRODUCTION_PHRASE} {stale}")),
        &["it is for the plan"],
    );
    let planned = with(story.production(&merged), "");
    assert_ended(&planned, 0, "planned");
    let equality =
        format!("main {} has the same tree as develop {}, which staging confirmed", &merged[..8], &commit[..8]);
    for told in [&planned.log, &planned.summary] {
        assert_says(told, &[&equality]);
    }

    let runner = story.production(&merged);
    let digest = &output(&planned, "plan-digest")[..16];
    let runner = runner.input("approval", &format!("{PRODUCTION_PHRASE} {digest}"));
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert_eq!(served(&story), commit, "production answers as the commit that was built");
    assert_eq!((output(&finished, "sha"), &output(&finished, "release")[16..]), (commit.as_str(), &commit[..8]));
    assert_says(&finished.summary, &[&equality, "the same tree"]);
    let ledger = story.lab.exec("tail -n 1 /var/www/production/.gated-deploy/ledger.jsonl").expect("the ledger");
    assert_says(
        &ledger,
        &[&format!("\"sha\":\"{commit}\""), &format!("\"asked_for\":\"{merged}\""), "\"build\":{\"run\":"],
    );
    assert_eq!(
        story.lab.current(&story.production_site()).expect("current").as_deref(),
        Some(output(&finished, "release"))
    );
    assert_eq!(output(&finished, "previous-release"), SEED_RELEASE);
    assert_says(&finished.summary, &["9/9", "1/1", "nginx.tar.gz", "on both", "the ledger on its server, its site"]);
    let report = output(&finished, "report");
    assert_says(report, &["E2E_PRODUCTION_DEPLOYMENT_"]);
    let report = std::fs::read_to_string(runner.workspace().join(report)).expect("the report");
    assert_says(&report, &[&equality]);
    assert_says(
        &report,
        &["- [x] Staging had proven this commit", "## Zero-downtime measurement", "## Rollback status"],
    );
    let backup = output(&finished, "backup");
    let nginx =
        story.lab.exec(&format!("cd {backup} && sha256sum -c SHA256SUMS && tar -tzf nginx.tar.gz")).expect("it");
    assert_says(&nginx, &["nginx.tar.gz: OK", "nginx/nginx.conf", "nginx/sites-available/"]);
    assert_eq!(story.served().expect("staging"), commit, "staging was only asked");
}

#[test]
fn what_staging_has_not_proven_is_refused() {
    let story = story();
    let commit = proven(&story, "stable one day");

    let young = story.production(&commit).input("staging-stable-for", "1h");
    refused(&story, &young, &["confirmed on staging", "`staging-stable-for` is 1 h", "Release again at "]);

    let other = commit_of(&story, "never on staging");
    story.github.compared(&format!("{commit}...{other}"), &[("config/app.php", &other)]);
    let page = format!("github.com/acme/shop/compare/{commit}...{other}");
    let says = ["not of", "their files differ: ", "config/app.php", "Release this commit to staging first"];
    let finished = refused(&story, &story.production(&other), &says);
    assert_says(&finished.log, &[&page]);

    story.lab.exec("mv /var/www/staging/current/public/index.php /root/").expect("breaking it");
    refused(&story, &story.production(&commit), &["staging is unhealthy now: 1 of 3 endpoints", "/health: 404"]);
    story.lab.exec("mv /root/index.php /var/www/staging/current/public/").expect("mending it");

    // The same commit, built again into another bundle.
    let again = app::source(&commit, Variant::Healthy).expect("the tree");
    again.write("public/built-again.txt", "later").expect("a file");
    story.publish(&story.build(&commit, &again).expect("the build")).expect("the artifact");
    let finished = story.production(&commit).run_binary(story.binary());
    assert_ended(&finished, 1, "refused");
    assert_says(
        &finished.summary,
        &["comparing the bundle with staging's", "staging confirmed", "The commit was built again"],
    );
    assert_eq!(served(&story), SEED_COMMIT);

    // Somebody points staging elsewhere by hand.
    story
        .lab
        .exec_as("deploy", &format!("ln -sfn releases/{SEED_RELEASE} /var/www/staging/current"))
        .expect("the link");
    story.lab.exec("service php8.2-fpm reload").expect("a reload");
    let finished = refused(&story, &story.production(&commit), &["`current` points to", SEED_RELEASE]);
    assert_says(&finished.summary, &["2 problems found"]);
}

/// A commit that is built.
fn commit_of(story: &Story, word: &str) -> String {
    let commit = commit(word);
    story.ship(&commit, Variant::Healthy).expect("the build");
    commit
}

#[test]
fn a_staging_failure_that_is_known_since_then_is_no_go() {
    let story = story();
    let good = proven(&story, "good on staging");
    let sick = commit("sick on staging");
    story.ship(&sick, Variant::Sick500).expect("the build");
    assert_ended(&story.deploy(&sick), 3, "rolled-back");

    let finished = refused(&story, &story.production(&good), &["ended in `rolled-back` on staging", &sick[..8]]);
    assert_says(&finished.log, &["release to staging again"]);
    refused(&story, &story.production(&sick), &["not of"]);

    // An attempt of another commit that never got as far as the site says nothing of the one that is live.
    assert_ended(&story.deploy(&good), 0, "live");
    let broken = commit("broken on staging");
    story.ship(&broken, Variant::BrokenAutoload).expect("the build");
    assert_ended(&story.deploy(&broken), 1, "refused");
    assert_ended(&story.production(&good).input("approval", "").run_binary(story.binary()), 0, "planned");

    // A time that nobody can read is no hour, and no zero either.
    let ledger = "/var/www/staging/.gated-deploy/ledger.jsonl";
    story
        .lab
        .exec(&format!("cp {ledger} /root/ledger && sed -i '3s/\"at\":\"[^\"]*/\"at\":\"soon/;4d' {ledger}"))
        .expect("an edit");
    refused(&story, &story.production(&good), &["the time at which staging confirmed it cannot be read"]);
    story.lab.exec(&format!("cat /root/ledger >{ledger}")).expect("the ledger as it was");

    // A ledger that was edited proves nothing.
    story.lab.exec("sed -i '2s/rolled-back/live/' /var/www/staging/.gated-deploy/ledger.jsonl").expect("an edit");
    refused(&story, &story.production(&good), &["staging's ledger is broken", "line 3"]);
}

#[test]
fn without_its_ledger_staging_is_known_by_its_site_and_its_workflow() {
    let story = story();
    let good = proven(&story, "known by its site");
    // Without a way to the server.
    let policy: String = story
        .staging_policy()
        .lines()
        .filter(|line| !line.contains("ssh-") && !line.contains("base-dir"))
        .map(|line| format!("{line}\n"))
        .collect();
    let runner = story.production(&good).file(".github/gated-deploy.yml", &policy);

    refused(&story, &runner, &["no run of deploy-staging.yml has succeeded"]);

    // A run that a build started has the default branch's head as its commit, so the site has to name the release.
    let run = |id: u64, ended: &str, conclusion: &str| Run {
        name: Some("Deploy to staging".to_owned()),
        path: ".github/workflows/deploy-staging.yml".to_owned(),
        event: "workflow_run".to_owned(),
        created_at: ended.to_owned(),
        phase: Phase::completed(conclusion),
        ..Run::green(id, &commit("the head of main"))
    };
    story.github.add_run(run(1, "2026-01-05T09:00:00Z", "success"));
    let runner = runner.input("staging-stable-for", "1h");
    let planned = runner.clone().input("approval", "").run_binary(story.binary());
    assert_ended(&planned, 0, "planned");
    assert_says(&planned.summary, &["read: its site, its workflow"]);

    story.github.add_run(run(2, "2026-01-05T10:00:00Z", "cancelled"));
    // A run that waited in a queue and was replaced has touched nothing.
    assert_ended(&runner.clone().input("approval", "").run_binary(story.binary()), 0, "planned");
    story.github.add_run(run(3, "2026-01-05T11:00:00Z", "failure"));
    refused(&story, &runner, &["a run of deploy-staging.yml has ended in failure since", "actions/runs/3"]);
    // Staging was repaired after that.
    story.github.add_run(run(4, "2026-01-05T12:00:00Z", "success"));
    let finished = runner.run_binary(story.binary());
    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["bundles not compared, because staging's ledger was not read"]);

    let other = commit_of(&story, "not what staging answers");
    let runner = story.production(&other).file(".github/gated-deploy.yml", &policy);
    refused(&story, &runner, &["staging's site runs ", "and their files differ", &good[..8]]);
}

#[test]
fn f83_a_production_release_that_goes_sick_is_back_on_the_old_one() {
    let story = story();
    let commit = commit("well on staging alone");
    story.ship(&commit, Variant::Sick500In("production".to_owned())).expect("the build");
    assert_ended(&story.deploy(&commit), 0, "live");

    let finished = story.production(&commit).run_binary(story.binary());

    assert_ended(&finished, 3, "rolled-back");
    assert_eq!(output(&finished, "decision"), "no-go");
    assert_eq!(served(&story), SEED_COMMIT, "the old release answers");
    assert_eq!(story.lab.current(&story.production_site()).expect("current").as_deref(), Some(SEED_RELEASE));
    assert_says(
        &finished.summary,
        &["Rolled back: ", "Health of the old release, after the rollback: 1/1", "/health", "500"],
    );
    let ledger = story.lab.exec("cat /var/www/production/.gated-deploy/ledger.jsonl").expect("the ledger");
    assert_says(&ledger, &["\"outcome\":\"rolled-back\"", &commit]);
    // What failed on production is known there, and may be tried again only as it is on staging.
    let again = story.production(&commit).input("approval", "").run_binary(story.binary());
    assert_ended(&again, 0, "planned");
}

#[test]
fn somebody_else_must_have_approved_the_run_where_the_policy_asks_for_it() {
    let story = story();
    let commit = commit_of(&story, "reviewed");
    let policy = "environments:\n  staging:\n    approval-review: Staging\n";
    let runner = story.staging(&commit).file(".github/gated-deploy.yml", policy).run_id(777);
    let review = |user: &str, state: &str, environment: &str| Review {
        state: state.to_owned(),
        user: user.to_owned(),
        environment: environment.to_owned(),
    };

    let refuse = |says: &[&str]| {
        let finished = runner.run_binary(story.binary());
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.log, says);
        assert_says(&finished.log, &["environment: Staging"]);
        assert_eq!(
            story.lab.current(&story.lab.site(Environment::Staging)).expect("current").as_deref(),
            Some(SEED_RELEASE)
        );
    };
    refuse(&["no reviewer approved it"]);
    story.github.add_review(777, review("acme", "approved", "Staging"));
    refuse(&["only @acme approved it, but also started it"]);
    story.github.add_review(777, review("reviewer", "rejected", "Staging"));
    story.github.add_review(777, review("reviewer", "approved", "Elsewhere"));
    story.github.add_review(776, review("reviewer", "approved", "Staging"));
    refuse(&["only @acme approved it, but also started it"]);
    // GitHub does not say which of a reviewer's words came last, so a rejection stays one.
    story.github.add_review(777, review("reviewer", "approved", "Staging"));
    refuse(&["@reviewer approved it, but also rejected it"]);
    // The phrase is needed all the same.
    story.github.add_review(777, review("another", "approved", "Staging"));
    assert_ended(&runner.clone().input("approval", "").run_binary(story.binary()), 0, "planned");

    assert_ended(&runner.run_binary(story.binary()), 0, "live");
}
