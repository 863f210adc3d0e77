//! The pages that people follow on a server say what is true there.

use std::fs;

use gated_deploy::inputs::table::EXIT_CODES;

use crate::support::root;

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a page")
}

#[test]
fn the_sudo_rules_of_the_handbook_are_those_that_a_release_was_tried_with() {
    let page = page("docs/server.md");
    let rules = page.split("```sudoers\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the rules");
    assert_eq!(rules, self::page("lab/server/deploy.sudoers"));
}

#[test]
fn endings_that_leave_work_have_a_chapter() {
    let page = page("docs/recovery.md");
    for (code, meaning) in EXIT_CODES.iter().filter(|(code, _)| (3..=4).contains(code)) {
        assert!(page.contains(&format!("## Exit code {code}:")), "{code}: {meaning}");
    }
}
