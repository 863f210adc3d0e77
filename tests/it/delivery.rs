//! What of a bundle travels to a server that has a release already.

use gated_deploy::domain::record::BundleRecord;
use gated_deploy_lab::{
    app::{self, TempTree, Variant},
    runner::{Finished, Runner},
    story::{Story, commit},
};

use crate::support::{assert_ended, assert_says, output, story};

const RELEASES: &str = "/var/www/staging/releases";

#[track_caller]
fn on(story: &Story, script: &str) -> String {
    story.lab.exec(script).expect("a command on the server").trim().to_owned()
}

#[track_caller]
fn ship(story: &Story, commit: &str, change: impl FnOnce(&TempTree)) {
    let tree = app::source(commit, Variant::Healthy).expect("a tree");
    change(&tree);
    story.publish(&story.build(commit, &tree).expect("the build")).expect("the artifact");
}

#[track_caller]
fn write(tree: &TempTree, path: &str, text: &str) {
    tree.write(path, text).expect("a file");
}

#[track_caller]
fn bundle(runner: &Runner, finished: &Finished) -> BundleRecord {
    let report = std::fs::read_to_string(runner.workspace().join(output(finished, "report-json"))).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    serde_json::from_value(report["facts"]["bundle"].clone()).expect("what was said of the bundle")
}

/// The release is what its bundle holds, whatever was made of the live one since.
#[test]
fn a_release_takes_from_the_live_one_what_is_the_same_and_nothing_else() {
    let story = story();
    let (first, second) = (commit("has everything"), commit("changes little"));
    ship(&story, &first, |tree| {
        write(tree, "docs/guide.txt", "of the first");
        write(tree, "tools/check", "#!/bin/sh\n");
        write(tree, "resources/same.txt", "the same");
        write(tree, "resources/private.txt", "the same");
    });
    assert_ended(&story.deploy(&first), 0, "live");
    let live = story.current().expect("current").expect("a release");
    // A person was there: one file says something else, another has a mode that a release has not, two came.
    on(
        &story,
        &format!(
            "cd {RELEASES}/{live}; echo more >>artisan; chmod 600 resources/private.txt; cp artisan 'left over.php'; \
             cp artisan '-e.php'; chown deploy: ./*.php"
        ),
    );
    ship(&story, &second, |tree| {
        write(tree, "resources/same.txt", "the same");
        write(tree, "resources/private.txt", "the same");
        write(tree, "tools/check", "#!/bin/sh\nexit 1\n");
        std::os::unix::fs::symlink("resources", tree.path().join("docs")).expect("a link");
    });

    let runner = story.staging(&second);
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert_eq!(story.served().expect("the site"), second);
    let bundle = bundle(&runner, &finished);
    let delivered = bundle.delivered.expect("a part was sent");
    assert_eq!(delivered.files + delivered.copied, bundle.files);
    assert_eq!(bundle.verified_at.last().map(String::as_str), Some("the server, file by file"));
    assert!(delivered.files < 20, "{delivered:?}");
    assert!(delivered.bytes * 100 <= bundle.size * 3, "{delivered:?} of {} bytes", bundle.size);
    assert_says(&finished.summary, &["the live release had the rest"]);
    assert!(!finished.log.contains("delivery-part-differs"), "{}", finished.log);
    let release = format!("{RELEASES}/{}", output(&finished, "release"));
    assert_eq!(
        on(&story, &format!("cd {release}; cat docs/same.txt tools/check; ls -d ./*.php || true; tail -n 1 artisan")),
        {
            let artisan = on(&story, &format!("tail -n 2 {RELEASES}/{live}/artisan | head -n 1"));
            format!("the same#!/bin/sh\nexit 1\n{artisan}").trim().to_owned()
        }
    );
    assert_eq!(on(&story, &format!("cd {release}; stat -c %a resources/private.txt artisan public")), "644\n755\n755");
    // A hard link would change with the file of the other release.
    assert_eq!(on(&story, &format!("find {release} -type f -links +1")), "");
}

#[test]
fn a_release_that_the_live_one_cannot_complete_is_sent_whole() {
    let story = story();
    let (damaged, whole) = (commit("damaged on its way"), commit("whole by policy"));
    story.ship(&damaged, Variant::Healthy).expect("the build");
    story.ship(&whole, Variant::Healthy).expect("the build");
    // A disk, or a `cp`, that does not give back what it took.
    on(
        &story,
        "cat >/usr/local/bin/cp <<'END'\n#!/bin/sh\n/usr/bin/cp \"$@\" || exit\n\
         for word; do case $word in --target-directory=*) echo x >>\"${word#*=}/composer.json\" ;; esac; done\nEND\nchmod 755 /usr/local/bin/cp",
    );

    let runner = story.staging(&damaged);
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert_eq!(story.served().expect("the site"), damaged);
    assert_says(&finished.log, &["delivery-part-differs", "the whole bundle was sent"]);
    let sent = bundle(&runner, &finished);
    assert_eq!((sent.delivered, sent.verified_at.last().map(String::as_str)), (None, Some("the server")));
    let last = on(&story, "tail -n 1 /var/www/staging/current/composer.json");
    assert_ne!(last, "x");

    let runner = story.staging(&whole).input("delivery", "full");
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "live");
    assert_eq!(bundle(&runner, &finished).delivered, None);
    assert!(!finished.log.contains("delivery-part-differs"), "{}", finished.log);
}
