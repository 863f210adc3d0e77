//! What visitors met while a release changed hands, and which release it was that answered.

use gated_deploy_lab::{Options, app::Variant, load::Load, server::SEED_RELEASE, story::commit};
use serde_json::Value;

use crate::support::{assert_ended, assert_says, output, story, story_on};

#[test]
fn a_release_under_load_has_a_receipt_of_no_failed_request() {
    let story = story();
    let commit = commit("with a receipt");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let site = story.staging_site();
    story.lab.get(&site, "/", None).expect("the first visit");
    let load = Load::start(story.lab.http_addr(), &site.host, "/", 4);

    let runner = story.staging(&commit).input("grace-period", "2s");
    let finished = runner.run_binary(story.binary());

    load.stop().expect("the load's report");
    println!("{}", finished.raw_log);
    println!("{}", finished.summary);
    assert_ended(&finished, 0, "live");
}
