//! Everything that must stop a release: `current` untouched, a reason, a hint, the documented exit code.

use std::{fs, time::Duration};

use gated_deploy::{
    bundle::{
        check::Findings,
        pace::Pace,
        pack::{self, Files},
        tree::Tree,
    },
    domain::Sha256Digest,
};
use gated_deploy_lab::{
    Options,
    app::{self, TempTree, Variant},
    github::{Artifact, Digest, Fault, Phase, Run, Times, artifact_zip},
    runner::{Finished, Level, Runner},
    story::{self, Story, commit, green_run, run_id},
};

use crate::support::{assert_ended, assert_says, output, story, story_on};

/// Runs a release that must be refused, and looks at what it left behind.
#[track_caller]
pub(crate) fn refused(story: &Story, runner: Runner, exit_code: i32, says: &[&str]) -> Finished {
    let current = story.current().expect("current");
    let served = story.served().expect("the site");
    let releases = story.lab.exec("ls -A /var/www/staging/releases").expect("ls");

    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, exit_code, if exit_code == 5 { "failed" } else { "refused" });
    assert_says(&finished.log, says);
    assert_says(&finished.log, &["help: "]);
    let failed_steps = finished.annotations_of(Level::Error).into_iter().filter_map(|error| error.title.as_deref());
    // Behind it may stand a code in brackets.
    let title_alone = |title: &str| title.split(" [").next().is_some_and(|title| title.ends_with(" failed"));
    let failed_steps: Vec<&str> = failed_steps.filter(|title| title_alone(title)).collect();
    assert!(failed_steps.len() <= 1, "cleaning up is no second failure (F55): {failed_steps:?}");
    assert_eq!(story.current().expect("current"), current, "current is untouched");
    assert_eq!(story.served().expect("the site"), served, "the site answers as before");
    assert_eq!(story.lab.exec("ls -A /var/www/staging/releases").expect("ls"), releases, "no folder is left");
    let state = story
        .lab
        .exec("ls -A /var/www/staging/.gated-deploy /var/www/staging/.gated-deploy/incoming 2>/dev/null || true");
    let state = state.expect("ls");
    assert!(!state.lines().any(|line| line == "lock") && !state.contains(".tar.gz"), "{state}");
    assert_eq!(output(&finished, "decision"), "no-go");
    finished
}

#[test]
fn builds_that_cannot_be_released() {
    let story = story();

    let none = commit("never built");
    refused(&story, story.staging(&none), 1, &["no successful build for", &none]);

    let failed = commit("failed build");
    story.github.add_run(Run { phase: Phase::completed("failure"), ..green_run(&failed) });
    refused(&story, story.staging(&failed), 1, &["failure", &run_id(&failed).to_string()]);

    let empty = commit("green without artifact");
    story.github.add_run(green_run(&empty));
    refused(&story, story.staging(&empty), 1, &["Check that every job of"]);

    let built = |word: &str| {
        let commit = commit(word);
        story.build(&commit, &app::source(&commit, Variant::Healthy).expect("the tree")).expect("the build")
    };
    let publish = |built: &story::Built, edit: &dyn Fn(Artifact) -> Artifact| {
        let run = run_id(&built.commit);
        story.github.add_run(green_run(&built.commit));
        story.github.add_artifact(edit(story::artifact(run, built).expect("the artifact")));
    };

    let expired = built("expired");
    publish(&expired, &|artifact| Artifact { expired: true, ..artifact });
    let finished = refused(&story, story.staging(&expired.commit), 1, &["expired"]);
    assert_eq!(output(&finished, "backup"), "", "what the list of artifacts says is read before anything is made");

    let wrong = built("wrong digest");
    publish(&wrong, &|artifact| Artifact { digest: Digest::Wrong, ..artifact });
    refused(&story, story.staging(&wrong.commit), 1, &["SHA-256"]);

    let truncated = built("truncated");
    publish(&truncated, &|artifact| artifact);
    story.github.fault("GET", "/actions-results/*", Times::Always, Fault::Truncate { keep: 1000 });
    refused(&story, story.staging(&truncated.commit), 5, &["1000"]);
    story.github.clear_faults();
}

/// Packs a tree that no `build-gate` has seen and puts it where a green build leaves its bundle.
pub(crate) fn publish_ungated(story: &Story, commit: &str, tree: &TempTree) {
    let folder = tempfile::tempdir().expect("a folder");
    let sha = commit.parse().expect("a commit");
    let pace = Pace::default();
    let read =
        Tree::look(tree.path(), folder.path(), &[], &mut Findings::default(), &pace).expect("the tree can be read");
    let files = Files::in_folder(folder.path(), &sha);
    pack::write(&read, &pack::manifest(&read, &sha), &files, &pace).expect("it can be packed");
    let contents = [&files.bundle, &files.sha256].map(|file| {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(file).expect("a file of the bundle"))
    });
    let [bundle, sum] = contents.each_ref().map(|(name, bytes)| (name.as_str(), bytes.clone().into()));
    let zip = artifact_zip(&[bundle, sum]).expect("a zip");
    let run = run_id(commit);
    story.github.add_run(green_run(commit));
    story.github.add_artifact(Artifact::zip(run + 1, run, &format!("deployment-bundle-{commit}"), zip));
}

#[test]
fn f10_a_bundle_that_lacks_a_gate_is_refused_before_anything_changes() {
    let story = story();
    let commit = commit("without routes");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    tree.remove("routes").expect("removing it");
    publish_ungated(&story, &commit, &tree);
    let finished = refused(&story, story.staging(&commit), 1, &["8/9 gates passed", "routes: missing"]);
    assert_says(&finished.summary, &["8/9", "routes: missing"]);
    let lock = finished.summary.lines().find(|line| line.contains("Take the deploy lock"));
    assert_says(lock.expect("its row"), &["not reached"]);
}

/// SE2, FD20: a bundle that plain tar made, on a server whose tar adds a file of its own; then on the same server without that.
#[test]
fn se2_fd20_a_release_is_what_the_run_read_in_its_bundle() {
    let story = story();
    let commit = commit("packed by plain tar");
    let built = story.build(&commit, &app::source(&commit, Variant::Healthy).expect("the tree")).expect("the build");
    let folder = tempfile::tempdir().expect("a folder");
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).expect("a folder");
    let name = built.bundle.file_name().expect("a name").to_string_lossy().into_owned();
    let plain = folder.path().join(&name);
    let tar = |arguments: [&std::ffi::OsStr; 4], last: Option<&str>| {
        let ended = std::process::Command::new("tar").args(arguments).args(last).status().expect("tar runs");
        assert!(ended.success(), "{arguments:?}");
    };
    tar(["-xzf".as_ref(), built.bundle.as_ref(), "-C".as_ref(), tree.as_ref()], None);
    tar(["-czf".as_ref(), plain.as_ref(), "-C".as_ref(), tree.as_ref()], Some("."));
    let bytes = fs::read(&plain).expect("the bundle");
    let digest = Sha256Digest::of(&bytes);
    let zip = artifact_zip(&[
        (&name, bytes.into()),
        (&format!("{name}.sha256"), format!("{digest}  {name}\n").into_bytes().into()),
    ]);
    let run = run_id(&commit);
    story.github.add_run(green_run(&commit));
    let artifact = Artifact::zip(run + 1, run, &format!("deployment-bundle-{commit}"), zip.expect("a zip"));
    story.github.add_artifact(artifact);

    let wrapper = "#!/bin/sh\n/usr/bin/tar \"$@\" || exit\ncase $* in -x*-C*) while [ \"$1\" != -C ]; do shift; done; \
                   echo \"<?php\" >\"$2/public/shell.php\"; rm \"$2/routes/web.php\" ;; esac\n";
    let put = format!("cat >/usr/local/bin/tar <<'END'\n{wrapper}END\nchmod 755 /usr/local/bin/tar");
    story.lab.exec(&put).expect("a tar that adds a file");
    let says = ["is not what the bundle holds", "public/shell.php is not in the bundle", "routes/web.php is missing"];
    refused(&story, story.staging(&commit), 1, &says);
    story.lab.exec("rm /usr/local/bin/tar").expect("the tar of the distribution");

    let finished = story.staging(&commit).run_binary(story.binary());
    assert_ended(&finished, 0, "live");
    assert_says(&finished.log, &["the bundle was rewritten in canonical form", digest.as_str(), "as uploaded"]);
    assert_says(&finished.summary, &["sent in canonical form with SHA-256"]);
    assert_eq!(output(&finished, "bundle-sha256"), digest.as_str());
}

#[test]
fn f36_f45_f55_f67_doors_that_stay_shut() {
    let story = story();
    let commit = commit("refused at the door");
    story.ship(&commit, Variant::Healthy).expect("the build");

    let host = story.lab.ssh_addr();
    let other = format!(
        "[{}]:{} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
        host.ip(),
        host.port()
    );
    refused(&story, story.staging(&commit).input("ssh-known-hosts", &other), 1, &["host key", "SHA256:"]);

    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----\n";
    let finished = refused(&story, story.staging(&commit).input("ssh-private-key", key), 2, &["ssh-private-key"]);
    assert!(!finished.raw_log.replace("::add-mask::bm90IGEga2V5", "").contains("bm90IGEga2V5"), "{}", finished.raw_log);

    let runner = story.staging(&commit).input("healthcheck-token", "not-the-token-of-this-site");
    refused(&story, runner, 1, &["token", "401"]);

    let marker = "/var/www/staging/.gated-deploy/environment";
    story.lab.exec(&format!("echo production >{marker}")).expect("another marker");
    refused(&story, story.staging(&commit), 1, &["belongs to the environment `production`", "base-dir"]);
    story.lab.exec(&format!("rm -r $(dirname {marker})")).expect("removing the marker");
    let finished =
        refused(&story, story.staging(&commit), 1, &["already has releases", "does not assign them to `staging`"]);
    assert_eq!(
        story.lab.exec(&format!("ls {marker} 2>&1 || true")).expect("ls"),
        format!("ls: cannot access '{marker}': No such file or directory\n")
    );
    // What the hint says to type is what it takes.
    let hint =
        finished.log.lines().find_map(|line| line.split_once("right folder, run on the server: ")).expect("a hint").1;
    story.lab.exec_as("deploy", hint).expect("the command of the hint");

    let before = story.lab.exec("cat /etc/sudoers.d/*").expect("the rules");
    story.lab.exec("sed -i '/php8.2-fpm/d' /etc/sudoers.d/*").expect("taking a rule away");
    let finished = refused(&story, story.staging(&commit), 1, &["sudo", "NOPASSWD", "php8.2-fpm"]);
    assert_says(&finished.summary, &["NOPASSWD"]);
    assert_ne!(
        story.lab.exec("cat /etc/sudoers.d/*").expect("the rules"),
        before,
        "the action never edits sudoers (F36)"
    );
}

#[test]
fn f21_f79_releases_that_do_not_start() {
    let story = story();
    for (word, variant, says) in [
        ("broken autoload", Variant::BrokenAutoload, ["require 'vendor/autoload.php'", "this autoloader is broken"]),
        ("failing migration", Variant::FailingMigration, ["migrate", "create_drafts_table"]),
    ] {
        let commit = commit(word);
        story.ship(&commit, variant).expect("the build");
        refused(&story, story.staging(&commit), 1, &says);
    }
    // What had been migrated stays, and the summary says so.
    let tables = story.lab.exec("mariadb -N -e 'show tables' lab_staging").expect("the tables");
    assert!(tables.contains("drafts"), "{tables}");
}

#[test]
fn a_full_disk_is_seen_before_anything_is_written() {
    let story = story_on(Options { base_tmpfs_mb: Some(60), ..Options::default() });
    let commit = commit("no room");
    story.ship(&commit, Variant::Healthy).expect("the build");
    story
        .lab
        .exec("dd if=/dev/zero of=/var/www/staging/shared/filler bs=1M 2>/dev/null; true")
        .expect("filling the disk");

    // Two rows see it: the app cannot write, and the release has no room.
    let finished = story.deploy(&commit);
    assert_ended(&finished, 1, "refused");
    let says = ["shared/storage is full", "free on /var/www/staging, about ", " MB needed", "Refused, 2 blockers"];
    assert_says(&finished.summary, &says);
    assert_eq!(story.lab.exec("ls /var/www/staging/releases").expect("ls").lines().count(), 1, "nothing was unpacked");
}

#[test]
fn a_build_that_finishes_while_we_wait_is_released() {
    let story = story();
    let commit = commit("built meanwhile");
    let run = story.ship(&commit, Variant::Healthy).expect("the build");
    story.github.run_progress(run, vec![Phase::queued(), Phase::in_progress(), Phase::completed("success")]);

    let finished = story.staging(&commit).input("build-wait-attempts", "6").run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert!(finished.duration < Duration::from_secs(120));
}
