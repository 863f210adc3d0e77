//! Copies of backups on another disk: what is read back counts, and a hop that fails is never mistaken for a copy (F61).

use gated_deploy_lab::{
    app::Variant,
    runner::{Finished, Runner},
    story::{Story, commit},
};

use crate::{
    evidence,
    support::{assert_ended, assert_says, output, story},
};

const BASE: &str = "/var/www/staging";
/// On the container's own file system; the site's base is on a tmpfs.
const ELSEWHERE: &str = "/srv/nas/shop";

#[track_caller]
fn on(story: &Story, script: &str) -> String {
    story.lab.exec(&format!("set -eu; {script}")).expect("a command on the server")
}

/// A server with another disk, and a commit that can be released.
fn with_another_disk(word: &str) -> (Story, String) {
    let story = story();
    on(&story, &format!("install -d -o deploy {ELSEWHERE}"));
    let commit = commit(word);
    story.ship(&commit, Variant::Healthy).expect("the build");
    (story, commit)
}

fn copying(story: &Story, commit: &str) -> Runner {
    story.staging(commit).input("backup-copy-dir", ELSEWHERE)
}

/// The backup of the report for programs.
fn recorded(runner: &Runner, finished: &Finished) -> serde_json::Value {
    let path = runner.workspace().join(output(finished, "report-json"));
    let document = serde_json::from_str(&std::fs::read_to_string(path).expect("the report")).expect("JSON");
    evidence::valid(&document);
    document["backup"]["elsewhere"].clone()
}

/// Puts a program of this name before the server's own, which is `$real`.
fn fake(story: &Story, name: &str, body: &str) {
    on(
        story,
        &format!(
            "printf '%s\\n' '#!/bin/sh' 'real=/usr/bin/{name}' '{body}' >/usr/local/bin/{name}; chmod 755 /usr/local/bin/{name}"
        ),
    );
}

fn unfake(story: &Story, name: &str) {
    on(story, &format!("rm /usr/local/bin/{name}"));
}

/// One byte of each archive (the tenth of gzip names the operating system, and is 3) is another one when it has come to the other disk.
const FLIPPING: &str = "\"$real\" \"$@\"; case $2 in */nas/*.gz) printf \"\\\\377\" | dd of=\"$2\" bs=1 seek=9 conv=notrunc status=none ;; esac";

#[test]
fn f61_a_backup_is_copied_read_back_and_kept_by_number() {
    let (story, first) = with_another_disk("copied");
    // Copies of another app, and what somebody else keeps there, are not ours to count or to remove.
    on(
        &story,
        &format!(
            "cd {ELSEWHERE}; for name in 20240101_000000-5eed1e55 20240102_000000-5eed1e55 20240103_000000-5eed1e55; do
                mkdir $name; echo x >$name/SHA256SUMS; echo x >$name/manifest.json; done
            echo 'production of /var/www/production on lab' >20240101_000000-5eed1e55/copy-of
            echo 'staging of {BASE} on lab' >20240102_000000-5eed1e55/copy-of
            mkdir 20240104_000000-5eed1e55.part 20240105_000000-5eed1e55.part by-hand.part
            echo 'staging of {BASE} on lab' | tee 20240104_000000-5eed1e55.part/copy-of >by-hand.part/copy-of
            echo 'production of /var/www/production on lab' >20240105_000000-5eed1e55.part/copy-of
            chown -R deploy ."
        ),
    );
    let runner = copying(&story, &first).input("keep-backups", "1").input("backup-copy", "required");
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    let release = output(&finished, "release").to_owned();
    let copy = format!("{ELSEWHERE}/{release}");
    assert_says(&finished.summary, &["verified on the server; off-site copy verified in", &copy]);
    assert_eq!(
        recorded(&runner, &finished),
        serde_json::json!({ "status": "verified", "path": copy, "problem": null })
    );
    on(
        &story,
        &format!("cd {copy}; sha256sum -c --quiet SHA256SUMS; cmp SHA256SUMS {BASE}/backups/{release}/SHA256SUMS"),
    );
    assert_eq!(on(&story, &format!("stat -c %a {copy} {copy}/app.tar.gz")), "700\n600\n", "nobody else reads it");
    // One is kept: the old one of this app goes, and what an earlier run of it began; the other app's and what has no name stay.
    let there = on(&story, &format!("ls {ELSEWHERE}"));
    let kept = ["20240101_000000-5eed1e55", "20240103_000000-5eed1e55", "20240105_000000-5eed1e55.part"];
    assert_eq!(there.lines().collect::<Vec<_>>(), [&kept[..], &[&release, "by-hand.part"]].concat());
    assert_says(
        &finished.log,
        &["removed /srv/nas/shop/20240104_000000-5eed1e55.part, an unfinished off-site backup of an interrupted run"],
    );

    // Without the policy nothing goes there, and that is said.
    let second = commit("not copied");
    story.ship(&second, Variant::Healthy).expect("the build");
    let runner = story.staging(&second);
    let finished = runner.run_binary(story.binary());
    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["verified on the server; off-site copy off"]);
    assert_eq!(recorded(&runner, &finished)["status"], "not-asked-for");
    assert_eq!(on(&story, &format!("ls {ELSEWHERE}")), there);
}

#[test]
fn f61_one_byte_that_changed_on_the_way_is_seen_and_the_copy_does_not_count() {
    let (story, commit) = with_another_disk("flipped");
    on(
        &story,
        &format!(
            "cd {ELSEWHERE}; for name in 20240101_000000-5eed1e55 20240102_000000-5eed1e55; do mkdir $name; echo x >$name/SHA256SUMS
            echo x >$name/manifest.json; echo 'staging of {BASE} on lab' >$name/copy-of; done; chown -R deploy ."
        ),
    );
    let before = on(&story, &format!("ls {ELSEWHERE}"));
    fake(&story, "cp", FLIPPING);

    // Required: nothing is released.
    let runner = copying(&story, &commit).input("backup-copy", "required");
    let finished = runner.run_binary(story.binary());
    assert_ended(&finished, 1, "refused");
    let says = format!("differs when it is read back from {ELSEWHERE}");
    assert_says(&finished.summary, &["8 Copy the backup off-site", &says, "app.tar.gz: FAILED"]);
    assert_eq!(story.current().expect("current").as_deref(), Some(gated_deploy_lab::server::SEED_RELEASE));
    assert_eq!(on(&story, &format!("ls {ELSEWHERE}")), before, "half a copy is no copy");
    assert_eq!(recorded(&runner, &finished)["status"], "not-there");

    // Advisory, as by default: a warning with its cause; the backup here counts all the same.
    let runner = copying(&story, &commit).input("keep-backups", "1");
    let finished = runner.run_binary(story.binary());
    assert_ended(&finished, 0, "live");
    assert_says(
        &finished.summary,
        &["there is no off-site backup", &says, "verified on the server; ⚠️ no off-site copy"],
    );
    assert_eq!(recorded(&runner, &finished)["status"], "not-there");
    assert_eq!(on(&story, &format!("ls {ELSEWHERE}")), before, "a run that added no copy removes none");
    unfake(&story, "cp");
}

#[test]
fn f61_what_stays_of_a_copy_is_said() {
    let (story, first) = with_another_disk("well");
    let sick = commit("copied and sick");
    story.ship(&sick, Variant::Sick500).expect("the build");
    let finished = copying(&story, &sick).run_binary(story.binary());
    assert_ended(&finished, 3, "rolled-back");
    let kept = format!("- Copy the backup off-site: the verified off-site backup is kept in {ELSEWHERE}/");
    assert_says(&finished.summary, &["### What stays", &kept]);

    // Half a copy that cannot be removed is no reason to be stuck, but it may be there.
    fake(&story, "cp", FLIPPING);
    fake(&story, "rm", "case \"$*\" in */nas/*.part) [ ! -e \"$2\" ] || exit 1 ;; esac; exec \"$real\" \"$@\"");
    let finished = copying(&story, &first).input("backup-copy", "required").run_binary(story.binary());
    assert_ended(&finished, 1, "refused");
    let left = format!("- Copy the backup off-site: {ELSEWHERE} did not answer: {ELSEWHERE}/");
    assert_says(&finished.summary, &["Refused: the live release was never touched; see what stays", "### What stays"]);
    assert_says(&finished.summary, &[&left, ".part may be left there"]);
}

#[test]
fn f61_a_copy_that_hangs_is_ended_on_the_server_and_blocks_nothing() {
    let (story, commit) = with_another_disk("hanging");
    fake(&story, "cp", "case $2 in */nas/*) exec sleep 4711 ;; esac; exec \"$real\" \"$@\"");
    let runner = copying(&story, &commit).file(".github/gated-deploy.yml", "backup-copy-within: 2s\n");
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["it took longer than 2 s and was ended", "⚠️ no off-site copy"]);
    assert_eq!(story.served().expect("the site"), commit);
    assert_eq!(on(&story, "pgrep -fx \"sleep 4711\" || echo none").trim(), "none", "nothing of it runs on");
    assert_eq!(on(&story, &format!("ls {ELSEWHERE}")), "");
}

#[test]
fn f61_a_place_that_takes_no_copy_is_named_before_and_during_a_release() {
    let (story, commit) = with_another_disk("no place");
    on(&story, &format!("ln -s {BASE}/shared /srv/nas/link; install -d -o root -m 755 /srv/nas/shut"));
    for (dir, says) in [
        ("/srv/nas/none", "there is no folder /srv/nas/none"),
        ("/srv/nas/shut", "/srv/nas/shut is not writable"),
        ("/srv/nas/link", "is inside /var/www/staging"),
    ] {
        let preflight = |policy: &str| {
            let runner = story.staging(&commit).input("stage", "preflight").input("environment", "staging");
            let runner = runner.input("approval", "").input("backup-copy-dir", dir).input("backup-copy", policy);
            runner.run_binary(story.binary())
        };
        let finished = preflight("advisory");
        assert_ended(&finished, 0, "passed");
        assert_says(
            &finished.summary,
            &["| off-site backup |", "an off-site backup is not possible", says, "⚠️ warned"],
        );
        let finished = preflight("required");
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.summary, &["❌ NO-GO", says]);
        let runner = story.staging(&commit).input("backup-copy-dir", dir).input("backup-copy", "required");
        let finished = runner.run_binary(story.binary());
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.summary, &["8 Copy the backup off-site", says]);
    }
    // A place that would do is told with what it is.
    let runner = story.staging(&commit).input("stage", "preflight").input("environment", "staging");
    let finished = runner.input("approval", "").input("backup-copy-dir", ELSEWHERE).run_binary(story.binary());
    assert_ended(&finished, 0, "passed");
    assert_says(&finished.summary, &[&format!("to {ELSEWHERE}, on another file system"), "no copy exists yet"]);
}

#[test]
fn f61_a_copy_on_the_same_disk_is_none() {
    // Everything on one file system, as on most servers; a network folder that is not mounted looks like this, too.
    let options = gated_deploy_lab::Options { base_tmpfs_mb: None, ..gated_deploy_lab::Options::default() };
    let story = crate::support::story_on(options);
    on(&story, &format!("install -d -o deploy {ELSEWHERE}"));
    let commit = commit("same disk");
    story.ship(&commit, Variant::Healthy).expect("the build");

    let finished = copying(&story, &commit).run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert_says(&finished.summary, &["is on the same file system as", "If one should be mounted, it is not"]);
    assert_eq!(on(&story, &format!("ls {ELSEWHERE}")), "");
}
