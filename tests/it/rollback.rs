//! Going back by hand: to the right release, to one that is still what it was, and never to one that was bad.

use gated_deploy::domain::{Sha256Digest, ledger};
use gated_deploy_lab::{
    app::{self, Variant},
    runner::{Finished, Runner},
    server::SEED_RELEASE,
    story::{Story, commit},
};

use crate::support::{assert_ended, assert_says, output, root, story};

const BASE: &str = "/var/www/staging";

/// The step that goes back on staging, approved. Nothing of what it is given names a build or a commit.
pub(crate) fn rollback(story: &Story) -> Runner {
    let site = story.staging_site();
    let inputs = story.staging_inputs();
    let needed = |name: &&str| !name.starts_with("build-") && !["stage", "github-token"].contains(name);
    let runner = story
        .runner(&commit("wherever the workflow stands"))
        .secret(story.lab.private_key())
        .secret(&site.health_token)
        .event("workflow_dispatch", serde_json::json!({ "inputs": {}, "ref": "refs/heads/develop" }))
        .input("stage", "rollback")
        .input("environment", "staging");
    inputs.iter().filter(|(name, _)| needed(name)).fold(runner, |runner, (name, value)| runner.input(name, value))
}

fn roll_back(story: &Story) -> Finished {
    rollback(story).run_binary(story.binary())
}

fn go_back_to(story: &Story, release: &str) -> Finished {
    rollback(story).input("rollback-to", release).run_binary(story.binary())
}

/// Releases a commit of this word; gives the commit and the release's name.
fn released(story: &Story, word: &str) -> (String, String) {
    released_as(story, word, Variant::Healthy)
}

fn released_as(story: &Story, word: &str, variant: Variant) -> (String, String) {
    let commit = commit(word);
    story.ship(&commit, variant).expect("the build");
    let finished = story.deploy(&commit);
    assert_ended(&finished, 0, "live");
    (commit, output(&finished, "release").to_owned())
}

/// Runs a script as root on the server, in the site's folder.
#[track_caller]
fn on(story: &Story, script: &str) -> String {
    story.lab.exec(&format!("set -eu; cd {BASE}\n{script}")).expect("a command on the server")
}

#[track_caller]
fn assert_live(story: &Story, release: &str, commit: &str) {
    assert_eq!(story.current().expect("current").as_deref(), Some(release));
    assert_eq!(story.served().expect("the site"), commit);
}

/// The ledger's lines, whose chain must be whole.
fn lines(story: &Story) -> Vec<serde_json::Value> {
    let text = on(story, "cat .gated-deploy/ledger.jsonl");
    ledger::follow(text.as_bytes()).expect("a whole chain");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// What somebody sees in the log of why each release was chosen or not.
fn reason<'a>(finished: &'a Finished, release: &str) -> &'a str {
    let line = finished.log.lines().find(|line| line.contains(&format!("{release}: ")));
    line.unwrap_or_else(|| panic!("nothing is said of {release}:\n{}", finished.log))
}

/// Today's policy says how the next release is built. An earlier one was built under the policy of its time.
#[test]
fn fd19_f84_a_rollback_goes_to_a_release_with_or_without_a_front_end_whatever_the_policy_says_today() {
    let story = story();
    let policy = |front_end: &str| format!("front-end: {front_end}\nenvironments: {{}}\n");
    let released_with = |word: &str, front_end: &str| {
        let commit = commit(word);
        let tree = app::source(&commit, Variant::Healthy).expect("the tree");
        if front_end == "none" {
            for path in ["vite.config.js", "public/build"] {
                tree.remove(path).expect("no front end");
            }
            let home = "return view('home', ['commit' => config('release.commit')]);\n    }\n}\n";
            let controller = "app/Http/Controllers/HomeController.php";
            tree.write(controller, format!("<?php\n\nnamespace App\\Http\\Controllers;\n\nclass HomeController\n{{\n    public function __invoke()\n    {{\n        {home}")).expect("a controller");
            tree.write("resources/views/home.blade.php", "<code id=\"commit\">{{ $commit }}</code>\n").expect("a page");
        }
        tree.write(".github/gated-deploy.yml", policy(front_end)).expect("the policy");
        story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
        let runner = story.staging(&commit).file(".github/gated-deploy.yml", &policy(front_end));
        let finished = runner.run_binary(story.binary());
        assert_ended(&finished, 0, "live");
        (commit, output(&finished, "release").to_owned())
    };
    let (vite, vite_release) = released_with("with Vite", "vite");
    let (none, none_release) = released_with("without a front end", "none");
    released_with("with Vite again", "vite");
    for (today, release, commit, says) in
        [("vite", none_release, none, "the release was built without a front end"), ("none", vite_release, vite, "5/5")]
    {
        let back = rollback(&story).file(".github/gated-deploy.yml", &policy(today)).run_binary(story.binary());
        assert_ended(&back, 0, "live");
        assert_live(&story, &release, &commit);
        assert_says(&back.summary, &["9/9", says]);
    }
}

#[test]
fn f80_f81_f84_f89_a_rollback_goes_to_what_was_confirmed_and_never_to_what_failed_or_was_left() {
    let story = story();
    let (first, first_release) = released(&story, "first");
    // A release that failed, and whose folder somebody kept: newer than the one to go back to, by name and by time.
    let failed = commit("failed");
    story.ship(&failed, Variant::Sick500).expect("the build");
    let finished = story.deploy(&failed);
    assert_ended(&finished, 3, "rolled-back");
    let failed_release = output(&finished, "release").to_owned();
    on(&story, &format!("cp -a releases/{first_release} releases/{failed_release}"));
    let (second, second_release) = released(&story, "second");
    let (third, third_release) = released(&story, "third");
    assert_live(&story, &third_release, &third);

    // Without the phrase it only says what it would do.
    let before = story.lab.tree_digest("/var/www").expect("the tree");
    let plan = rollback(&story).input("approval", "").run_binary(story.binary());
    assert_ended(&plan, 0, "planned");
    assert_eq!(story.lab.tree_digest("/var/www").expect("the tree"), before, "not a byte changed");
    assert_says(&plan.summary, &["STAGING-TEST FREIGEGEBEN", &second_release, "To carry out exactly this plan"]);
    assert_says(&plan.log, &["mv -Tf", "sudo -n service php8.2-fpm reload"]);
    assert!(!plan.log.contains("migrate --force"), "{}", plan.log);
    assert_says(reason(&plan, &failed_release), &["it was rolled back"]);
    assert_says(reason(&plan, SEED_RELEASE), &["does not record it"]);
    assert_says(reason(&plan, &third_release), &["it is live"]);
    assert_says(reason(&plan, &first_release), &["confirmed 20", "not selected"]);

    // With the phrase of this plan it goes back.
    let phrase = format!("STAGING-TEST FREIGEGEBEN {}", &output(&plan, "plan-digest")[..16]);
    let backups = on(&story, "ls backups");
    let runner = rollback(&story).input("approval", &phrase);
    let back = runner.run_binary(story.binary());
    assert_ended(&back, 0, "live");
    assert_live(&story, &second_release, &second);
    assert_eq!(output(&back, "release"), second_release);
    assert_eq!(output(&back, "previous-release"), third_release);
    assert_eq!(output(&back, "sha"), second);
    assert_says(&back.summary, &["the earlier release is live again and healthy", "9/9", "3/3", &third_release]);
    assert!(!back.summary.contains("new release"), "{}", back.summary);
    let report = std::fs::read_to_string(runner.workspace().join(output(&back, "report"))).expect("the report");
    assert_says(
        &report,
        &["# Rollback of", "- [x] The release is still what was confirmed", "- [x] Every gate passed"],
    );
    assert!(!report.contains("- [ ]") && !report.contains("new release"), "{report}");
    let document = std::fs::read(runner.workspace().join(output(&back, "report-json"))).expect("the report");
    crate::evidence::valid(&serde_json::from_slice(&document).expect("JSON"));
    assert_eq!(on(&story, "ls backups"), backups, "nothing is backed up, and nothing pruned");

    // A second one goes further back, and not to the release that was left.
    let further = roll_back(&story);
    assert_ended(&further, 0, "live");
    assert_live(&story, &first_release, &first);
    assert_says(reason(&further, &third_release), &["a rollback replaced it"]);

    // Then there is nothing left; and neither what failed nor what was left can be named.
    let none = roll_back(&story);
    assert_ended(&none, 1, "refused");
    assert_says(&none.summary, &["there is no release to roll back to", &failed_release, "docs/recovery.md"]);
    for (release, says) in [
        (&failed_release, "it was rolled back"),
        (&third_release, "a rollback replaced it"),
        (&first_release, "it is live"),
        (&SEED_RELEASE.to_owned(), "does not record it"),
        (&"20200101_000000-0badc0de".to_owned(), "does not record it"),
    ] {
        let refused = go_back_to(&story, release);
        assert_ended(&refused, 1, "refused");
        assert_says(&refused.log, &[says, "help: "]);
    }
    assert_live(&story, &first_release, &first);

    // Every attempt that could change something is written down, and what became of each release.
    let told: Vec<(String, String, String, String)> = lines(&story)
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            (text("attempt"), text("release"), text("reached"), text("standing"))
        })
        .collect();
    let line = |attempt: &str, release: &str, reached: &str, standing: &str| {
        (attempt.to_owned(), release.to_owned(), reached.to_owned(), standing.to_owned())
    };
    assert_eq!(
        told,
        [
            line("release", &first_release, "confirmed", "confirmed"),
            line("release", &failed_release, "activated", "reverted"),
            line("release", &second_release, "confirmed", "confirmed"),
            line("release", &third_release, "confirmed", "confirmed"),
            line("rollback", &second_release, "confirmed", "confirmed"),
            line("rollback", &first_release, "confirmed", "confirmed"),
        ]
    );
    // Whoever asks the ledger what staging has proven finds the same bundle and the same tree in the rollback's line.
    let all = lines(&story);
    for same in ["bundle_sha256", "tree_sha256", "sha"] {
        assert!(all[5][same].is_string() && all[5][same] == all[0][same], "{same}: {} {}", all[5], all[0]);
    }
    let ledger = on(&story, "cat .gated-deploy/ledger.jsonl");
    assert_eq!(Sha256Digest::of(ledger.lines().last().expect("a line")).as_str(), output(&further, "ledger-head"));
}

#[test]
fn f80_f88_a_tree_that_was_changed_is_no_target_and_a_changed_live_release_is_told() {
    let story = story();
    let (_, first_release) = released(&story, "untouched");
    let (_, second_release) = released(&story, "touched");
    let (_, third_release) = released(&story, "live");
    // Caches are written again by each rollback, and belong to nobody's digest.
    on(&story, &format!("touch releases/{first_release}/bootstrap/cache/packages.php"));

    for (change, repair) in [
        ("echo '// mended' >>FILE", "sed -i '$d' FILE"),
        ("chmod +x FILE", "chmod -x FILE"),
        ("touch FILE.orig", "rm FILE.orig"),
        ("mv FILE FILE.orig; ln -s artisan FILE", "mv -T FILE.orig FILE"),
        ("mkdir FILE.d", "rmdir FILE.d"),
    ] {
        let at = |script: &str| script.replace("FILE", &format!("releases/{second_release}/routes/web.php"));
        on(&story, &at(change));
        let plan = rollback(&story).input("approval", "").run_binary(story.binary());
        assert_ended(&plan, 0, "planned");
        assert_eq!(output(&plan, "release"), first_release, "{change}");
        assert_says(
            &plan.summary,
            &[&format!("{second_release} is not used as the target"), "its files changed after it was confirmed"],
        );
        let named = go_back_to(&story, &second_release);
        assert_ended(&named, 1, "refused");
        assert_says(&named.summary, &["its files changed after it was confirmed", &commit("touched")]);
        on(&story, &at(repair));
    }
    let plan = rollback(&story).input("approval", "").run_binary(story.binary());
    assert_eq!(output(&plan, "release"), second_release, "put right again, it is what was confirmed");
    assert!(!plan.summary.contains("is not used as the target"), "{}", plan.summary);

    // The handbook's command names what is not as it was built.
    let handbook = std::fs::read_to_string(root().join("docs/recovery.md")).expect("the page");
    let (_, command) = handbook.split_once("php -r 'foreach").expect("the command");
    let command = command.split('\'').next().expect("its end");
    let command = format!("cd {BASE}/releases/{second_release} && php -r 'foreach{command}'");
    assert_eq!(story.lab.exec_as("deploy", &command).expect("the command"), "");
    on(&story, &format!("echo '// once more' >>releases/{second_release}/routes/web.php"));
    assert_eq!(story.lab.exec_as("deploy", &command).expect("the command"), "routes/web.php\n");
    on(&story, &format!("sed -i '$d' releases/{second_release}/routes/web.php"));

    // What cannot be read is not left out of the digest in silence.
    on(&story, &format!("install -m 600 /dev/null releases/{second_release}/only-root.txt"));
    let unreadable = roll_back(&story);
    assert_ended(&unreadable, 1, "refused");
    assert_says(&unreadable.log, &["not all files in it could be read", "only-root.txt"]);
    on(&story, &format!("rm releases/{second_release}/only-root.txt"));

    // What changes between the look and the lock is seen under the lock: here the lock's own mkdir changes it.
    let meddle = format!(
        "printf '#!/bin/sh\\ncase $* in */lock*) echo >>{BASE}/releases/{second_release}/routes/web.php ;; esac\\nexec /usr/bin/mkdir \"$@\"\\n' \
            >/usr/local/bin/mkdir; chmod 755 /usr/local/bin/mkdir"
    );
    on(&story, &meddle);
    let meddled = roll_back(&story);
    assert_ended(&meddled, 1, "refused");
    assert_says(&meddled.summary, &["its files changed after the plan"]);
    assert_eq!(story.current().expect("current").as_deref(), Some(third_release.as_str()));
    assert_eq!(lines(&story).pop().expect("a line")["standing"], serde_json::Value::Null, "nobody tried it");
    on(&story, "rm /usr/local/bin/mkdir");

    // The live release is another matter: it is told before anything replaces it.
    on(&story, &format!("echo '// by hand' >>releases/{third_release}/routes/web.php"));
    let next = commit("after a change by hand");
    story.ship(&next, Variant::Healthy).expect("the build");
    let finished = story.deploy(&next);
    assert_ended(&finished, 0, "live");
    assert_says(
        &finished.summary,
        &[&format!("the files of {third_release} changed on the server"), "commit it to the repository"],
    );
}

#[test]
fn f63_a_rollback_says_which_migrations_stay() {
    let story = story();
    let (first, first_release) = released(&story, "before the table");
    let (_, second_release) = released_as(&story, "with a table", Variant::ExtraMigration("invoices".to_owned()));
    // Its migrations stay although it was taken back.
    let sick = commit("sick, with another table");
    let tree = app::source(&sick, Variant::Sick500)
        .and_then(|tree| tree.with(Variant::ExtraMigration("receipts".to_owned())))
        .expect("the tree");
    story.publish(&story.build(&sick, &tree).expect("the build")).expect("the artifact");
    assert_ended(&story.deploy(&sick), 3, "rolled-back");

    let back = roll_back(&story);

    assert_ended(&back, 0, "live");
    assert_live(&story, &first_release, &first);
    assert_says(
        &back.summary,
        &["2 migrations ran since", "create_invoices_table", "create_receipts_table", "newer schema"],
    );
    assert_says(&on(&story, "mariadb -N -e 'show tables' lab_staging"), &["invoices", "receipts"]);
    assert_says(&lines(&story)[2]["migrations"].to_string(), &["create_receipts_table"]);
    assert_eq!(output(&back, "previous-release"), second_release);
}

/// Makes a release answer 500 from now on as soon as nginx serves it, without a change to its tree: by what its code finds in the shared folder.
const SICK_WHEN_MARKED: &str = "if (str_starts_with($_SERVER['SERVER_SOFTWARE'] ?? '', 'nginx/') && is_file(storage_path('app/sick-'.basename(base_path())))) { throw new \\RuntimeException('sick since'); }";

fn released_with_a_weak_spot(story: &Story, word: &str) -> (String, String) {
    let commit = commit(word);
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    let body = format!(
        "{{\n        if (! $this->app->runningInConsole()) {{\n            {SICK_WHEN_MARKED}\n        }}\n    }}"
    );
    tree.replace("app/Providers/AppServiceProvider.php", "{\n    }", &body).expect("the provider");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
    let finished = story.deploy(&commit);
    assert_ended(&finished, 0, "live");
    (commit, output(&finished, "release").to_owned())
}

#[test]
fn f81_f83_a_target_that_is_sick_is_left_again_and_passed_over_next_time() {
    let story = story();
    let (first, first_release) = released(&story, "well");
    let (_, second_release) = released_with_a_weak_spot(&story, "sick by now");
    let (third, third_release) = released(&story, "well and live");
    on(&story, &format!("touch shared/storage/app/sick-{second_release}"));

    let finished = roll_back(&story);

    assert_ended(&finished, 3, "rolled-back");
    assert_live(&story, &third_release, &third);
    assert_says(
        &finished.summary,
        &[
            "Rollback failed: the target release was not confirmed; the previous release is live again and healthy",
            "500",
        ],
    );
    let last = lines(&story).pop().expect("a line");
    assert_eq!(
        [&last["attempt"], &last["outcome"], &last["reached"], &last["standing"], &last["failed_at"]],
        ["rollback", "rolled-back", "activated", "reverted", "health"]
    );
    let next = roll_back(&story);
    assert_ended(&next, 0, "live");
    assert_live(&story, &first_release, &first);
    assert_says(reason(&next, &second_release), &["it was rolled back"]);
}

/// The app writes caches whenever it starts; a full disk cuts them short, and nobody notices until it starts again.
#[test]
fn f82_a_target_whose_caches_were_cut_short_is_gone_back_to() {
    let story = story();
    let (first, first_release) = released(&story, "well, with caches");
    released(&story, "the next one");
    on(
        &story,
        &format!("for cache in config packages; do : >releases/{first_release}/bootstrap/cache/$cache.php; done"),
    );

    let finished = roll_back(&story);

    assert_ended(&finished, 0, "live");
    assert_live(&story, &first_release, &first);
    on(&story, "test -s current/bootstrap/cache/config.php && test -s current/bootstrap/cache/packages.php");
}

#[test]
fn f83_f90_when_both_are_sick_help_is_called_with_commands_that_work() {
    let story = story();
    let (_, first_release) = released_with_a_weak_spot(&story, "the old one");
    let (second, second_release) = released_with_a_weak_spot(&story, "the live one");
    on(&story, &format!("touch shared/storage/app/sick-{first_release} shared/storage/app/sick-{second_release}"));

    let finished = roll_back(&story);

    assert_ended(&finished, 4, "stuck");
    assert_says(&finished.summary, &["Manual action required: the rollback failed at ", "unhealthy: 1/3"]);
    assert_eq!(lines(&story).pop().expect("a line")["outcome"], "stuck");
    // The lock stays: nobody goes on top of it.
    let next = roll_back(&story);
    assert_ended(&next, 1, "refused");
    assert_says(&next.log, &["holds the deploy lock"]);
    // Whoever mends what was live and types the commands has it back, wherever the link leads.
    let by_hand = commands(&finished);
    assert!(by_hand.len() >= 4, "link and reload:\n{}", finished.summary);
    on(&story, &format!("rm shared/storage/app/sick-{second_release} && ln -sfn shared current"));
    story.lab.exec_as("deploy", &format!("set -e\n{}", by_hand.join("\n"))).expect("the commands of the summary");
    assert_live(&story, &second_release, &second);
}

/// What the summary tells somebody to type.
fn commands(finished: &Finished) -> Vec<String> {
    let (_, after) =
        finished.summary.split_once("### Run these commands on the server").expect("commands in the summary");
    let block = after.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    block.take_while(|line| !line.starts_with("```")).map(str::to_owned).collect()
}

#[test]
fn f82_a_site_that_is_down_and_a_disk_that_is_full_do_not_keep_anybody_from_going_back() {
    let story = story();
    let (first, first_release) = released(&story, "the way out");
    let (_, second_release) = released_with_a_weak_spot(&story, "down by now");
    on(&story, &format!("touch shared/storage/app/sick-{second_release}"));
    on(
        &story,
        "dd if=/dev/zero of=shared/filler bs=1M 2>/dev/null || test -s shared/filler; truncate -s -4M shared/filler",
    );
    // Today's password, which the caches of that release do not know.
    let today = "sed -i 's/^HEALTHCHECK_TOKEN=.*/HEALTHCHECK_TOKEN=changed-since/' shared/.env/staging.env";
    on(&story, today);

    let finished =
        rollback(&story).input("healthcheck-token", "changed-since").secret("changed-since").run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert_eq!(story.current().expect("current").as_deref(), Some(first_release.as_str()));
    assert_says(&finished.summary, &["unhealthy: ", "3/3"]);
    assert_eq!(output(&finished, "sha"), first);
}

#[test]
fn lines_of_the_first_version_are_followed_and_their_releases_told_why_they_are_no_target() {
    let story = story();
    let old = "20250301_120000-5eed1e55";
    on(&story, &format!("cp -a releases/{SEED_RELEASE} releases/{old} && ln -sfn releases/{old} current"));
    on(&story, "install -d -o deploy -m 700 .gated-deploy");
    let line = serde_json::json!({
        "v": 1, "prev": ledger::beginning(), "at": "2025-03-01T12:00:30Z", "environment": "staging", "release": old,
        "from": format!("releases/{SEED_RELEASE}"), "sha": gated_deploy_lab::server::SEED_COMMIT, "bundle_sha256": null,
        "outcome": "live", "run": null,
    });
    on(&story, &format!("echo '{line}' >.gated-deploy/ledger.jsonl; chown deploy .gated-deploy/ledger.jsonl"));
    let (_, release) = released(&story, "on top of an old ledger");

    let none = roll_back(&story);
    assert_ended(&none, 1, "refused");
    assert_says(&none.summary, &[&format!("{old}: it was confirmed by a version that recorded no tree digest")]);
    let named = go_back_to(&story, old);
    assert_ended(&named, 1, "refused");
    assert_says(&named.log, &["recorded no tree digest", "as a new release"]);
    assert_eq!(story.current().expect("current").as_deref(), Some(release.as_str()));
    assert_eq!(lines(&story).len(), 2);

    // A ledger that somebody edited is not believed in silence.
    on(
        &story,
        "sed -i '1s/\"live\"/\"refused\"/' .gated-deploy/ledger.jsonl; echo '{ torn' >>.gated-deploy/ledger.jsonl",
    );
    let doubted = roll_back(&story);
    assert_ended(&doubted, 1, "refused");
    assert_says(
        &doubted.summary,
        &["the ledger's chain is broken: line 2", "1 line of", "cannot be read", &format!("{old}: it failed")],
    );
}

#[test]
fn f45_a_rollback_needs_the_phrase_of_its_environment_and_a_name_that_is_one() {
    let story = story();
    let wrong = rollback(&story).input("approval", "PROD-DEPLOY FREIGEGEBEN").run_binary(story.binary());
    assert_ended(&wrong, 1, "refused");
    let no_name = go_back_to(&story, "yesterday");
    assert_ended(&no_name, 2, "refused");
    assert_says(&no_name.log, &["rollback-to", "20251102_154900-f0959baf"]);
}
