//! `smoke`: asks a site whether it is well, with nothing but its address and its token.

use gated_deploy_lab::{runner::Runner, server::Environment, story::Story};

use crate::support::{assert_ended, assert_says, output, story};

/// The step as a workflow has it: no server, no commit, no approval, no token for the API.
fn smoke(story: &Story) -> Runner {
    let site = story.staging_site();
    let runner = Runner::new().declared(&[("stage", "")]).secret(&site.health_token);
    let runner = runner.event("schedule", serde_json::json!({ "schedule": "17 */6 * * *" }));
    [
        ("stage", "smoke"),
        ("url", &site.url),
        ("health-address", &story.lab.http_addr().to_string()),
        ("healthcheck-token", &site.health_token),
        ("health-attempts", "2"),
        ("health-interval", "1s"),
    ]
    .into_iter()
    .fold(runner, |runner, (name, value)| runner.input(name, value))
}

#[test]
fn a_healthy_site_passes_and_nothing_on_the_server_changes() {
    let story = story();
    let before = story.lab.tree_digest("/var/www").expect("the tree");

    let runner = smoke(&story);
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "passed");
    assert_eq!((output(&finished, "decision"), output(&finished, "executed")), ("go", "false"));
    assert_eq!(output(&finished, "url").trim_end_matches('/'), story.staging_site().url);
    assert_says(&finished.summary, &["GO: the site is healthy", "3/3", "staging", "/healthcheck.php"]);
    let report = runner.workspace().join(output(&finished, "report"));
    let report = std::fs::read_to_string(report).expect("the report");
    assert_says(
        &report,
        &["- [x] The site answered healthy on every endpoint", "- [x] Every asset", "# Validation of"],
    );
    assert!(!report.contains("backup") && !report.contains("Release it"), "it speaks of the site alone:\n{report}");
    let production = story.lab.site(Environment::Production);
    let runner = smoke(&story).input("environment", "production").input("url", &production.url);
    let runner = runner.secret(&production.health_token).input("healthcheck-token", &production.health_token);
    let finished = runner.run_binary(story.binary());
    assert_ended(&finished, 0, "passed");
    assert_says(&finished.summary, &["production", "1/1"]);

    assert_eq!(story.lab.tree_digest("/var/www").expect("the tree"), before, "not a byte changed");
}

#[test]
fn f68_a_site_that_is_not_well_is_refused_and_every_reason_is_named() {
    let story = story();
    let asset = story.lab.exec("cd /var/www/staging/current/public/build/assets && ls | head -n 1").expect("an asset");
    let asset = asset.trim();
    story.lab.exec(&format!("rm /var/www/staging/current/public/build/assets/{asset}")).expect("removing it");

    // A missing asset alone.
    let finished = smoke(&story).run_binary(story.binary());
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.summary, &["3/3", asset, "404"]);

    // And a token that the site does not take: neither hides the other.
    let finished = smoke(&story).input("healthcheck-token", "not-the-token-of-this-site").run_binary(story.binary());
    assert_ended(&finished, 1, "refused");
    assert_eq!(output(&finished, "decision"), "no-go");
    assert_says(&finished.summary, &["401", "healthcheck-token", asset]);

    // And nobody behind nginx.
    story.lab.exec("service php8.2-fpm stop").expect("stopping PHP");
    let finished = smoke(&story).run_binary(story.binary());
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.summary, &["NO-GO: the site is unhealthy", "0/3", "502", "PHP-FPM"]);
}

#[test]
fn through_the_server_a_site_that_only_it_can_reach_is_asked() {
    let story = story();
    let tunnel = smoke(&story).input("health-via", "tunnel").input("health-address", "127.0.0.1:80");

    // The way leads through a server, so the server must be named.
    let refused = tunnel.run_binary(story.binary());
    assert_ended(&refused, 2, "refused");
    assert_says(&refused.log, &["ssh-host", "ssh-private-key", "ssh-known-hosts"]);

    let inputs = story.staging_inputs();
    let ssh = ["ssh-host", "ssh-port", "ssh-private-key", "ssh-known-hosts"];
    let tunnel = smoke(&story).secret(story.lab.private_key()).input("health-via", "tunnel");
    let tunnel = tunnel.input("health-address", "127.0.0.1:80");
    let finished = ssh.iter().fold(tunnel, |runner, name| runner.input(name, &inputs[name])).run_binary(story.binary());
    assert_ended(&finished, 0, "passed");
}
