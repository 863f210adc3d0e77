//! The pages that people follow on a server say what is true there.

use std::fs;

use gated_deploy::config::table::EXIT_CODES;
use gated_deploy_lab::{app::Variant, story::commit};

use crate::support::{assert_ended, root, story};

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a page")
}

#[test]
fn the_sudo_rules_of_the_handbook_are_those_that_a_release_was_tried_with() {
    let page = page("docs/server.md");
    let rules = page.split("```sudoers\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the rules");
    // The lab's server has no systemd, and there the page's other two commands are the ones that reload.
    let by_service = ["php8.2-fpm", "nginx"].into_iter().fold(rules.to_owned(), |rules, service| {
        let command = format!("/usr/sbin/service {service} reload");
        assert!(page.contains(&format!("`{command}`")), "{command}");
        rules.replace(&format!("/usr/bin/systemctl reload {service}"), &command)
    });
    assert_eq!(by_service, self::page("lab/server/deploy.sudoers"));
    let readme = self::page("README.md");
    for rule in rules.lines() {
        assert!(readme.contains(&format!("    {rule}\n")), "one set of rules everywhere: {rule}");
    }
}

#[test]
fn endings_that_leave_work_have_a_chapter() {
    let page = page("docs/recovery.md");
    for (code, meaning) in EXIT_CODES.iter().filter(|(code, _)| (3..=4).contains(code)) {
        assert!(page.contains(&format!("## Exit code {code}:")), "{code}: {meaning}");
    }
}

#[test]
fn the_commands_of_the_handbook_prepare_a_place_that_both_can_write_to() {
    let story = story();
    let page = page("docs/server.md");
    let commands = page.lines().filter_map(|line| line.strip_prefix("    "));
    let folders: Vec<&str> = commands
        .filter(|line| ["usermod ", "install -d ", "chown "].iter().any(|word| line.starts_with(word)))
        .collect();
    assert_eq!(folders.len(), 4, "{folders:?}");
    story.lab.exec(&folders.join(" && ")).expect("the commands");

    let base = "/var/www/app";
    story.lab.exec_as("deploy", &format!("mkdir {base}/releases {base}/.gated-deploy")).expect("a place for releases");
    for (writer, reader) in [("deploy", "www-data"), ("www-data", "deploy")] {
        let file = format!("{base}/shared/storage/by-{writer}");
        // PHP-FPM's user has no shell of its own.
        let by = |user: &str, command: String| story.lab.exec(&format!("su -s /bin/sh {user} -c '{command}'"));
        by(writer, format!("umask 002 && echo one >{file}")).expect("a file");
        by(reader, format!("echo two >>{file}")).expect("writing to the other's file");
    }
}

#[test]
fn a_key_that_is_restricted_as_the_handbook_says_can_release() {
    let story = story();
    let commit = commit("restricted");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let restrict = |options: &str| {
        let keys = "/home/deploy/.ssh/authorized_keys";
        story.lab.exec(&format!("sed -i 's/^.*ssh-ed25519/{options} ssh-ed25519/' {keys}")).expect("the options");
    };
    restrict("restrict");
    assert_ended(&story.deploy(&commit), 0, "live");

    restrict("restrict,port-forwarding");
    let tunnel = story.staging(&commit).input("health-via", "tunnel").input("health-address", "127.0.0.1:80");
    assert_ended(&tunnel.run_binary(story.binary()), 0, "live");
}
