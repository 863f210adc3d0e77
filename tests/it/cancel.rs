//! Somebody presses "Cancel workflow". The runner sends SIGINT, 7.5 s later SIGTERM, and then lets us run on alone
//! (actions/runner `ProcessInvoker.cs`).

use std::time::Duration;

use gated_deploy_lab::{
    app::Variant,
    github::{Phase, Run},
    runner::Signal,
    server::SEED_RELEASE,
    story::{Story, commit, green_run},
};

use crate::support::{assert_ended, assert_says, story};

/// A machine that others keep busy takes a minute for what takes seconds here.
const PATIENCE: Duration = Duration::from_secs(300);

fn left_behind(story: &Story) -> String {
    story.lab.exec("cd /var/www/staging; ls -A releases .gated-deploy .gated-deploy/incoming; ls -A backups | grep part || true").expect("ls")
}

#[test]
fn a_run_cancelled_while_it_waits_leaves_nothing_and_starts_nothing() {
    let story = story();
    let commit = commit("cancelled early");
    // A build that does not end.
    story.github.add_run(Run { phase: Phase::in_progress(), ..green_run(&commit) });
    let running = story.staging(&commit).input("build-wait-attempts", "60").unhurried().spawn_binary(story.binary());
    running.wait_for_line("attempt 2 of 60", PATIENCE);

    running.signal(Signal::INT);
    let finished = running.wait();

    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &["cancelled"]);
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    let left = left_behind(&story);
    assert!(!left.contains("lock") && !left.contains(&commit[..8]), "{left}");
}

#[test]
fn a_run_cancelled_after_the_switch_goes_back() {
    let story = story();
    let commit = commit("cancelled late");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let running = story.staging(&commit).input("grace-period", "60s").unhurried().spawn_binary(story.binary());
    running.wait_for_line("17 Reload PHP-FPM and nginx: ", PATIENCE);

    running.signal(Signal::TERM);
    let finished = running.wait();

    assert_ended(&finished, 3, "rolled-back");
    assert!(finished.duration < Duration::from_secs(60), "the grace period was not waited for");
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    assert_eq!(story.served().expect("the site"), gated_deploy_lab::server::SEED_COMMIT);
    let left = left_behind(&story);
    assert!(!left.contains("lock") && !left.contains(&commit[..8]), "{left}");
}
