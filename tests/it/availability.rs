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
/// A machine that others keep busy takes a minute for what takes seconds here.
const PATIENCE: Duration = Duration::from_secs(300);

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

    let runner = story.staging(&commit).input("grace-period", "until-stable");
    let runner = policy(runner, "stable-within: 2m\n");
    let finished = runner.run_binary(story.binary());

    load.stop().expect("the load's report");
    assert_ended(&finished, 0, "live");
    assert_eq!(output(&finished, "downtime-ms"), "0");
    let release = output(&finished, "release");
    assert_says(&finished.summary, &["**Downtime** | ✅ none: 0 of ", "by health answers and one-time file"]);
    assert_says(&finished.log, &["20 requests in a row were answered by the new release"]);
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
            "| server | release folder, each file compared with the bundle | ",
            "| **The switch took** | ",
            "Not needed: the new release is confirmed.",
            "/actions/runs/",
        ],
    );
    assert_unmarked(&story);
}

/// A release during whose grace period PHP cannot be reached for a while.
fn with_an_outage(story: &Story, word: &str, allowed: &str) -> (Runner, Finished) {
    let commit = commit(word);
    story.ship(&commit, Variant::Healthy).expect("the build");
    let runner = story.staging(&commit).input("grace-period", "4s");
    let runner = policy(runner, &format!("max-downtime: {allowed}\n"));
    let running = runner.spawn_binary(story.binary());
    running.wait_for_line("group::18 Grace period", PATIENCE);
    let socket = "/run/php/php8.2-fpm-staging.sock";
    story.lab.exec(&format!("chmod 000 {socket}; sleep 1.2; chmod 660 {socket}")).expect("PHP, away and back");
    let finished = running.wait();
    (runner, finished)
}

#[test]
fn an_outage_in_the_grace_period_is_counted_and_rolled_back_where_it_is_longer_than_allowed() {
    let story = story();

    let (runner, finished) = with_an_outage(&story, "within its budget", "1m");

    assert_ended(&finished, 0, "live");
    let downtime: u64 = output(&finished, "downtime-ms").parse().expect("a number");
    assert!((1000..20_000).contains(&downtime), "PHP was away for 1.2 s: {downtime}");
    assert_says(&finished.summary, &["**Downtime** | ⚠️ ", "answered 502", "requests failed"]);
    let told = report(&runner, &finished);
    assert_says(&told, &["| answered 502 |"]);
    assert!(["fresh", "kept"].iter().any(|kind| told.contains(&format!("| `/health` | {kind} | "))), "{told}");
    document(&runner, &finished);
    let live = output(&finished, "release").to_owned();

    let (runner, finished) = with_an_outage(&story, "beyond its budget", "0s");

    assert_ended(&finished, 3, "rolled-back");
    assert_eq!(story.current().expect("current").as_deref(), Some(live.as_str()));
    // It goes back at once: what has been spent cannot be won back by waiting for the end of the grace period.
    assert_says(
        &finished.summary,
        &[
            "**18 Grace period**: comparing the downtime with `max-downtime`",
            "Rolled back: the old release is live again and healthy",
        ],
    );
    assert_says(&report(&runner, &finished), &["- [ ] Visitors met no more downtime than allowed: not met ("]);
    let document = document(&runner, &finished);
    assert_eq!(document["rollback"]["status"], "done");
    assert!(document["rollback"]["old_again_ms"].is_u64(), "the way back is measured too: {}", document["rollback"]);
    assert_unmarked(&story);
}

#[test]
fn a_sick_release_is_not_asked_again_once_it_has_cost_more_than_is_allowed() {
    let story = story();
    let commit = commit("sick and out of time");
    story.ship(&commit, Variant::Sick500).expect("the build");

    let runner = story.staging(&commit).input("health-attempts", "30");
    let finished = policy(runner, "max-downtime: 2s\n").run_binary(story.binary());

    assert_ended(&finished, 3, "rolled-back");
    assert_says(&finished.log, &["the health check ends here"]);
    assert!(!finished.log.contains("attempt 30 of 30"), "{}", finished.log);
}

#[test]
fn a_sick_release_costs_what_it_cost_and_the_receipt_says_so() {
    let story = story();
    let commit = commit("sick for a while");
    story.ship(&commit, Variant::Sick500).expect("the build");

    // However slow the machine is, every attempt is made.
    let runner = policy(story.staging(&commit), "max-downtime: 10m\n");
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
    assert_says(&finished.summary, &[&stale, "stale code in OPcache"]);
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

/// The sampler alone, on a site that follows a script.
mod alone {
    use std::{cell::RefCell, rc::Rc, time::Duration};

    use async_trait::async_trait;
    use gated_deploy::{
        config::typed::Grace,
        context::Deploy,
        domain::record::{self, DowntimeReport},
        engine::{
            Done, Row,
            step::{StepResult, check, cleanup, hold},
        },
        http::{Connection, Get, Reply, Site, Unanswered},
        server::health::sampler,
    };
    use tokio::task::LocalSet;

    use crate::rows::{OTHER, Ran, SHA, Stage};

    /// Answers request number `n` as a function says; `None` is no answer at all.
    struct Played {
        answer: Box<dyn Fn(usize) -> Option<Reply>>,
        asked: RefCell<Vec<Get>>,
    }

    #[async_trait(?Send)]
    impl Site for Played {
        async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
            let number = self.asked.borrow().len();
            self.asked.borrow_mut().push(get);
            match (self.answer)(number) {
                Some(reply) => Ok(reply),
                None => std::future::pending().await,
            }
        }

        fn within(&self, _: &str, _: &str) -> Option<String> {
            None
        }
    }

    fn played(answer: impl Fn(usize) -> Option<Reply> + 'static) -> Rc<Played> {
        Rc::new(Played { answer: Box::new(answer), asked: RefCell::default() })
    }

    fn reply(status: u16) -> Reply {
        let body = format!(r#"{{"status":"ok","commit":"{OTHER}"}}"#).into_bytes();
        Reply {
            status,
            headers: Vec::new(),
            length: body.len() as u64,
            body,
            took: Duration::from_millis(3),
            vantage: None,
        }
    }

    /// Samples a site for a virtual second, and ends.
    async fn sampled(site: Rc<Played>) -> Ran {
        let row = hold("row", "The row", sampler::start, cleanup("stop", sampler::end));
        run(site, row).await
    }

    async fn run(site: Rc<Played>, row: Row<Deploy>) -> Ran {
        let stage = Stage::with_site(site);
        let between = async |cx: &Deploy, io: &gated_deploy::engine::Io| -> StepResult {
            for _ in 0..20 {
                cx.ports.clock.sleep(Duration::from_millis(50)).await;
            }
            sampler::check(cx, io).await
        };
        LocalSet::new().run_until(stage.release_rows(vec![row, check("check", "The check", between)])).await
    }

    /// What ends the grace period within 15 s: five answers in a row by the new release, or the time.
    async fn settled(answer: impl Fn(usize) -> Option<Reply> + 'static) -> String {
        let mut stage = Stage::with_site(played(answer));
        stage.inputs.health.grace = Grace::UntilStable { samples: 5, within: Duration::from_secs(15) };
        let waits = async |cx: &Deploy, _: &gated_deploy::engine::Io| -> StepResult {
            let moments = async {
                for _ in 0..300 {
                    cx.ports.clock.sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                text = sampler::stable(cx, Some(5)) => Ok(Done::passed(text)),
                () = moments => Ok(Done::passed(sampler::unstable(cx).unwrap_or_default())),
            }
        };
        let sampling = hold("sampler", "The sampler", sampler::start, cleanup("stop", sampler::end));
        let rows = vec![sampling, check("row", "The row", waits)];
        LocalSet::new().run_until(stage.release_rows(rows)).await.said().to_owned()
    }

    #[tokio::test]
    async fn a_grace_period_may_end_when_the_new_release_answers_alone() {
        let by = |commit: &str| {
            let body = format!(r#"{{"status":"ok","commit":"{commit}"}}"#).into_bytes();
            Some(Reply { length: body.len() as u64, body, ..reply(200) })
        };
        // Both releases answer for a while.
        let said = settled(move |number| by(if number < 12 && number % 2 == 0 { OTHER } else { SHA })).await;
        assert!(said.ends_with("5 requests in a row were answered by the new release"), "{said}");
        let said = settled(move |_| by(OTHER)).await;
        assert_eq!(
            said,
            "not stable: of 5 requests in a row the new release answered the last 0; the health check decides"
        );
    }

    fn receipt(ran: &Ran) -> DowntimeReport {
        ran.record(record::key::RECEIPT)
    }

    #[tokio::test]
    async fn fresh_and_kept_connections_are_asked_in_turn_with_the_token() {
        let site = played(|_| Some(reply(200)));
        let ran = sampled(site.clone()).await;
        let asked = site.asked.borrow();
        assert!(asked.len() >= 10, "{} requests", asked.len());
        let kept = asked.iter().filter(|get| get.connection == Connection::Kept).count();
        assert!(kept.abs_diff(asked.len() - kept) <= 1, "{kept} of {}", asked.len());
        assert!(asked.iter().all(|get| get.path == "/health" && get.bearer.is_some()));
        assert_eq!((receipt(&ran).failures, receipt(&ran).answered_by.old), (0, asked.len() as u64));
        assert!(!ran.everything().contains("the-health-token"));
    }

    #[tokio::test]
    async fn a_site_that_fails_before_the_switch_is_not_measured() {
        let ran = sampled(played(|_| Some(reply(503)))).await;
        assert!(
            ran.said().contains("downtime is not measured: /health fails before the switch (answered 503)"),
            "{}",
            ran.said()
        );
        assert!(!ran.everything().contains(record::key::RECEIPT), "there is nothing to tell");
    }

    #[tokio::test]
    async fn a_site_that_counts_requests_is_asked_seldom() {
        let site = played(|_| {
            let limit = ("x-ratelimit-limit".to_owned(), "60".to_owned());
            Some(Reply { headers: vec![limit], ..reply(200) })
        });
        let ran = sampled(site.clone()).await;
        let receipt = receipt(&ran);
        // The first answer says so; from then on it is one in five seconds.
        let most = 2 + receipt.lasted_ms / 5000;
        assert!(receipt.requests <= most, "what we use up is missing in the health check: {receipt:?}");
        assert!(receipt.remarks[0].contains("x-ratelimit-limit: 60"), "{receipt:?}");
    }

    #[tokio::test]
    async fn requests_without_an_answer_are_few_and_count_as_failed() {
        let site = played(|number| (number < 6).then(|| reply(200)));
        let ran = sampled(site.clone()).await;
        assert_eq!(site.asked.borrow().len(), 9, "three at once, and no more");
        let receipt = receipt(&ran);
        assert_eq!((receipt.requests, receipt.failures), (9, 3), "{receipt:?}");
        assert!(ran.failure().to_string().contains("`max-downtime` is 5 s"), "{}", ran.failure());
    }
}
