//! What visitors met while a release changed hands, and which release it was that answered.

use std::{fs, time::Duration};

use gated_deploy_lab::{
    app::Variant,
    load::Load,
    runner::{Finished, Runner},
    server::SEED_RELEASE,
    story::{Story, commit},
};
use serde_json::Value;

use crate::{
    evidence::valid,
    support::{assert_ended, assert_says, output, story},
};

const BASE: &str = "/var/www/staging";
const PATIENCE: Duration = Duration::from_secs(60);

/// The report for programs, which must be what its schema says.
#[track_caller]
fn document(runner: &Runner, finished: &Finished) -> Value {
    let path = runner.workspace().join(output(finished, "report-json"));
    let document = serde_json::from_str(&fs::read_to_string(path).expect("the report")).expect("JSON");
    valid(&document);
    document
}

#[track_caller]
fn report(runner: &Runner, finished: &Finished) -> String {
    fs::read_to_string(runner.workspace().join(output(finished, "report"))).expect("the report")
}

fn policy(runner: Runner, text: &str) -> Runner {
    fs::create_dir_all(runner.workspace().join(".github")).expect("a folder");
    fs::write(runner.workspace().join(".github/gated-deploy.yml"), text).expect("the policy");
    runner
}

/// No release has kept a one-time file.
#[track_caller]
fn assert_unmarked(story: &Story) {
    let left = story.lab.exec(&format!("find {BASE}/releases -name 'gated-deploy-*'")).expect("find");
    assert_eq!(left, "", "one-time files are left");
}

#[test]
fn f85_a_release_under_load_has_a_receipt_and_names_who_answered() {
    let story = story();
    let commit = commit("with a receipt");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let site = story.staging_site();
    story.lab.get(&site, "/", None).expect("the first visit");
    let load = Load::start(story.lab.http_addr(), &site.host, "/", 4);

    let runner = story.staging(&commit).input("grace-period", "1s");
    let finished = runner.run_binary(story.binary());

    load.stop().expect("the load's report");
    assert_ended(&finished, 0, "live");
    assert_eq!(output(&finished, "downtime-ms"), "0");
    let release = output(&finished, "release");
    assert_says(&finished.summary, &["**Downtime** | ✅ none: 0 of ", "by health answers and one-time file"]);
    let document = document(&runner, &finished);
    let receipt = &document["zero_downtime"];
    assert_eq!((&receipt["failures"], &receipt["downtime_ms"]), (&0.into(), &0.into()));
    assert!(receipt["requests"].as_u64() > Some(20), "{receipt}");
    for side in ["old", "new"] {
        assert!(receipt["answered_by"][side].as_u64() > Some(0), "both releases answered: {receipt}");
    }
    assert!(receipt["side_by_side_ms"].is_u64(), "{receipt}");
    assert_eq!((&document["identity"]["proven"], &document["identity"]["release"]), (&true.into(), &release.into()));
    let attempts = &document["health"]["after"];
    assert_eq!(attempts["identity"]["answered_as"], release, "the file is asked like an endpoint");
    assert_eq!(attempts["earlier"].as_array().map(Vec::len), Some(1), "two rounds in a row, and both are kept");
    let report = report(&runner, &finished);
    assert_says(
        &report,
        &[
            "## Zero-downtime measurement",
            "- [x] Visitors met no more downtime than allowed",
            "- [x] The release that answered was seen to be the new one",
            "### The new release: every attempt",
            "| server | bundle, read again from its disk | ",
            "| **The switch took** | ",
            "Not needed: the new release is confirmed.",
            "/actions/runs/",
        ],
    );
    assert_unmarked(&story);
}

/// A release during whose grace period the web server is away for a while.
fn with_an_outage(story: &Story, word: &str, allowed: &str) -> (Runner, Finished) {
    let commit = commit(word);
    story.ship(&commit, Variant::Healthy).expect("the build");
    let runner = story.staging(&commit).input("grace-period", "4s");
    let runner = policy(runner, &format!("max-downtime: {allowed}\n"));
    let running = runner.spawn_binary(story.binary());
    running.wait_for_line("group::18 Grace period", PATIENCE);
    story.lab.exec("service nginx stop; sleep 1.2; service nginx start").expect("nginx, off and on");
    let finished = running.wait();
    (runner, finished)
}

#[test]
fn an_outage_in_the_grace_period_is_counted_and_rolled_back_where_it_is_longer_than_allowed() {
    let story = story();

    let (runner, finished) = with_an_outage(&story, "within its budget", "1m");

    assert_ended(&finished, 0, "live");
    let downtime: u64 = output(&finished, "downtime-ms").parse().expect("a number");
    assert!((1000..20_000).contains(&downtime), "nginx was away for 1.2 s and more: {downtime}");
    assert_says(&finished.summary, &["**Downtime** | ⚠️ ", "over a fresh connection: ", "requests failed"]);
    assert_says(&report(&runner, &finished), &["| `/health` | fresh | "]);
    document(&runner, &finished);
    let live = output(&finished, "release").to_owned();

    let (runner, finished) = with_an_outage(&story, "beyond its budget", "0s");

    assert_ended(&finished, 3, "rolled-back");
    assert_eq!(story.current().expect("current").as_deref(), Some(live.as_str()));
    assert_says(&finished.summary, &["max-downtime", "Rolled back: the old release is live again and healthy"]);
    assert_says(&report(&runner, &finished), &["- [ ] Visitors met no more downtime than allowed: not met ("]);
    let document = document(&runner, &finished);
    assert_eq!(document["rollback"]["status"], "done");
    assert!(document["rollback"]["old_again_ms"].is_u64(), "the way back is measured too: {}", document["rollback"]);
    assert_unmarked(&story);
}

#[test]
fn a_sick_release_costs_what_it_cost_and_the_receipt_says_so() {
    let story = story();
    let commit = commit("sick for a while");
    story.ship(&commit, Variant::Sick500).expect("the build");

    let runner = story.staging(&commit);
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 3, "rolled-back");
    let downtime: u64 = output(&finished, "downtime-ms").parse().expect("a number");
    assert!(downtime >= 1000, "three attempts, a second apart: {downtime}");
    let document = document(&runner, &finished);
    assert_eq!(document["link"]["before"], SEED_RELEASE);
    assert_eq!((&document["link"]["after"], &document["rollback"]["to"]), (&SEED_RELEASE.into(), &SEED_RELEASE.into()));
    assert_eq!(document["health"]["after"]["earlier"].as_array().map(Vec::len), Some(2), "every attempt is kept");
    assert!(document["rollback"]["old_again_ms"].is_u64(), "{}", document["rollback"]);
    assert_says(
        &report(&runner, &finished),
        &["answered 500", "The old release answered again after", "- [x] The old release answered healthy again"],
    );
    assert_unmarked(&story);
}

/// New workers are seen, but the master lives, and with it what OPcache holds.
const RELOAD_THAT_KEEPS_OPCACHE: &str = r#"cat >/usr/sbin/service <<'END'
#!/bin/sh
case $1 in
php*) for pid in $(pgrep -f 'php-fpm: pool'); do kill -QUIT $pid; done ;;
nginx) exec nginx -s reload ;;
esac
END"#;

#[test]
fn f74_stale_code_of_an_app_that_names_nothing_is_not_taken_for_the_new_release() {
    let story = story();
    let first = commit("nameless");
    story.ship(&first, Variant::Nameless).expect("the build");
    let finished = story.deploy(&first);
    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["2 times in a row, by one-time file"]);
    let live = output(&finished, "release").to_owned();
    story.lab.exec(RELOAD_THAT_KEEPS_OPCACHE).expect("a reload that keeps OPcache");

    let second = commit("nameless, and stale");
    story.ship(&second, Variant::Nameless).expect("the build");
    let finished = story.deploy(&second);

    assert_ended(&finished, 3, "rolled-back");
    let stale = format!("answers as {live}, expected {}", output(&finished, "release"));
    assert_says(&finished.summary, &[&stale, "stale code (OPcache not reloaded?)"]);
    assert_eq!(story.current().expect("current").as_deref(), Some(live.as_str()));
    assert_unmarked(&story);
}

#[test]
fn f85_where_nobody_can_name_the_release_its_identity_is_not_proven_and_that_is_said() {
    let story = story();
    // As Laravel's own advice has it: PHP runs where the app has its doors, and nowhere else.
    let only_doors =
        r"sed -i 's#location ~ .\.php\$#location ~ ^/(index|healthcheck)\\.php$#' /etc/nginx/sites-available/staging";
    let deny = r"sed -i '0,/location \/ {/s##location ~ ^/gated-deploy- { return 403; }\n    location / {#' /etc/nginx/sites-available/staging";
    story.lab.exec(&format!("{only_doors}; {deny}; nginx -t && service nginx reload")).expect("nginx");
    let commit = commit("nobody knows");
    story.ship(&commit, Variant::Nameless).expect("the build");

    let runner = story.staging(&commit);
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["identity not proven", "⚠️ not proven", "it answers 403"]);
    let document = document(&runner, &finished);
    assert_eq!(document["identity"]["proven"], false);
    let criterion = "- [ ] The release that answered was seen to be the new one: not met (";
    assert_says(&report(&runner, &finished), &[criterion]);
    assert_unmarked(&story);
}
