//! Queue workers run the code of the release that is live.

use gated_deploy_lab::{
    app::{self, Variant},
    story::{Story, commit},
};

use crate::support::{assert_ended, assert_says, output, story};

/// What keeps a queue worker running, as supervisord or systemd does, and notes where it started each one.
const SUPERVISOR: &str = "setsid sh -c 'while cd -P /var/www/staging/current; do pwd -P >>/tmp/started; \
    php artisan queue:work --sleep=1; done' >/tmp/worker.log 2>&1 &";

/// The release in which the worker that runs now was started, once it is `expected`. A worker looks once a second whether it
/// shall end.
fn worker_runs_in(story: &Story, expected: &str) {
    let wait = format!(
        "for n in $(seq 150); do [ \"$(tail -n 1 /tmp/started)\" != /var/www/staging/{expected} ] || exit 0; sleep 0.1; done; exit 1"
    );
    if story.lab.exec(&wait).is_err() {
        panic!("not in {expected}: {}", story.lab.exec("cat /tmp/started /tmp/worker.log").expect("the logs"));
    }
}

#[test]
fn f76_queue_workers_follow_the_release_that_is_live() {
    let story = story();
    let with_a_queue =
        "sed -i s/QUEUE_CONNECTION=sync/QUEUE_CONNECTION=database/ /var/www/staging/shared/.env/staging.env
        mariadb lab_staging -e 'create table jobs (id bigint unsigned auto_increment primary key, queue varchar(255),
            payload longtext, attempts tinyint unsigned, reserved_at int unsigned, available_at int unsigned,
            created_at int unsigned)'";
    story.lab.exec(with_a_queue).expect("a queue");
    story.lab.exec_as("deploy", SUPERVISOR).expect("a worker");

    let healthy = commit("with workers");
    story.ship(&healthy, Variant::Healthy).expect("the build");
    let live = story.deploy(&healthy);
    assert_ended(&live, 0, "live");
    assert_says(&live.summary, &["php artisan queue:restart"]);
    let release = output(&live, "release");
    worker_runs_in(&story, &format!("releases/{release}"));

    // A worker that was started in a release that is taken back leaves it, too.
    let sick = commit("sick, with workers");
    story.ship(&sick, Variant::Sick500).expect("the build");
    let taken_back = story.staging(&sick).input("grace-period", "3s").run_binary(story.binary());
    assert_ended(&taken_back, 3, "rolled-back");
    let signals = taken_back.log.matches("Broadcasting queue restart signal").count();
    assert_eq!(signals, 2, "after the switch, and after pointing back:\n{}", taken_back.log);
    let started = story.lab.exec("cat /tmp/started").expect("where workers were started");
    assert!(started.contains(output(&taken_back, "release")), "one was started in the sick release: {started}");
    worker_runs_in(&story, &format!("releases/{release}"));
}

/// Horizon's own processes are told by its own command, whatever the queue connection is.
#[test]
fn f76_an_app_with_horizon_is_told_by_its_command() {
    let story = story();
    let commit = commit("with horizon");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    let console = "<?php\nuse Illuminate\\Support\\Facades\\Artisan;\nArtisan::command('horizon:terminate', fn () => \
         $this->info('told in ' . basename(base_path())));\n";
    tree.write("routes/console.php", console).expect("the command");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["php artisan horizon:terminate: each worker restarts after its current job"]);
    assert_says(&finished.log, &[&format!("told in {}", output(&finished, "release"))]);
}

#[test]
fn an_app_without_workers_is_left_alone_and_it_is_said() {
    let story = story();
    let commit = commit("without workers");
    story.ship(&commit, Variant::Healthy).expect("the build");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["its queue connection is sync"]);
}

#[test]
fn f51_workers_that_cannot_be_told_are_a_warning_that_says_what_to_type() {
    let story = story();
    let commit = commit("deaf workers");
    // The release has a queue, and its own command fails.
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    let command =
        "<?php\nIlluminate\\Support\\Facades\\Artisan::command('queue:restart', function () { return 1; });\n";
    tree.write("routes/console.php", command).expect("the command");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
    let queue = "sed -i s/QUEUE_CONNECTION=sync/QUEUE_CONNECTION=database/ /var/www/staging/shared/.env/staging.env";
    story.lab.exec(queue).expect("a queue");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    assert_says(
        &finished.summary,
        &["with 2 warnings", "php artisan queue:restart failed", "/var/www/staging/current"],
    );
}
