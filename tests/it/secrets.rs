//! Secrets, looked for in every byte that came out, on both machines.

use gated_deploy_lab::{app::Variant, story::commit};

use crate::support::{assert_ended, output, story};

#[test]
fn f40_no_secret_is_seen_on_either_machine() {
    let story = story();
    let site = story.staging_site();
    let commit = commit("with eyes on it");
    story.ship(&commit, Variant::Sick500).expect("the build");
    let password = story.lab.exec("grep ^DB_PASSWORD= /var/www/staging/shared/.env/staging.env").expect("the password");
    let word = password.trim_end().trim_end_matches('"').rsplit(' ').next().expect("a word").to_owned();
    // Every argument list on the server, again and again while the run works.
    story
        .lab
        .exec("(while [ ! -e /tmp/stop ]; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; done >/tmp/seen &) >/dev/null 2>&1")
        .expect("a watcher");
    // A dump of so little may be over before anybody looks: this one begins when its arguments have been seen.
    story
        .lab
        .exec(
            "printf '%s\\n' '#!/bin/sh' 'until grep -aq mariadb-dump /tmp/seen; do :; done' 'exec /usr/bin/mariadb-dump \"$@\"' \
             >/usr/local/bin/mariadb-dump && chmod 755 /usr/local/bin/mariadb-dump",
        )
        .expect("a dump that waits to be seen");

    let runner = story.staging(&commit).input("report-dir", "reports");
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 3, "rolled-back");
    story.lab.exec("touch /tmp/stop").expect("ending the watcher");
    // Each word once: no secret here has a blank in it.
    let seen =
        story.lab.exec("tr ' ' '\\n' </tmp/seen | tr -cd '[:print:]\\n' | sort -u").expect("what the watcher saw");
    assert!(seen.contains("--defaults-file=/dev/stdin"), "the watcher saw the dump at work");
    let reports: String = std::fs::read_dir(runner.workspace().join("reports"))
        .expect("the reports")
        .map(|entry| std::fs::read_to_string(entry.expect("a report").path()).expect("text"))
        .collect();
    assert!(reports.contains(output(&finished, "release")), "the reports are there");
    // Logs of the server and everything of ours in its folders; the .env and the dump are where the password belongs.
    let kept = story
        .lab
        .exec("cat /var/log/*.log /var/log/*/*.log /var/www/staging/.gated-deploy/*.jsonl /var/www/staging/.gated-deploy/*/* /tmp/*.log /home/deploy/.*_history 2>/dev/null || true")
        .expect("what is kept");
    let private = story.lab.private_key();
    let line = private.lines().nth(1).expect("a line of the key");
    for secret in [word.as_str(), &site.health_token, line, story.github.token()] {
        for (place, text) in
            [("an argument list on the server", &seen), ("a report", &reports), ("a file kept on the server", &kept)]
        {
            assert!(!text.contains(secret), "a secret is in {place}");
        }
        assert!(
            !finished.raw_log.replace(&format!("::add-mask::{secret}"), "").contains(secret),
            "a secret is in the log"
        );
    }
}
