//! `fix`: one thing that an audit found, mended by name. What changes something says how it is taken back, and is read again afterwards.

use super::Fix;
use super::Mend;

use crate::{
    domain::fix::FixName,
    engine::{
        Table,
        step::{change, check, no_undo, observe, undo},
    },
    server::remote::previewed,
    stages::fix::{self, build_head, failures, health_token, ownership, phantom, protection},
};

pub fn table(name: FixName) -> Table<Fix, Mend> {
    match name {
        FixName::BranchProtectionMain | FixName::BranchProtectionDevelop => branch_protection(),
        FixName::BuildHead => build(),
        FixName::HealthToken => token(),
        FixName::PhantomWorkflow => phantoms(),
        FixName::DocsOwnership => owners(),
        FixName::StagingFailures => causes(),
    }
}

#[rustfmt::skip]
fn branch_protection() -> Table<Fix, Mend> {
    Table {
        survey: vec![
            observe("branch-protection",  "How the branch is protected now",             protection::look).into(),
        ],
        release: vec![
            change("protect-branch",      "Protect it",                                  previewed(protection::protect, fix::preview),  undo("put back what was there", protection::Back)).into(),
            check ("branch-protected",    "Read its protection again",                   protection::verify).into(),
        ],
    }
}

#[rustfmt::skip]
fn build() -> Table<Fix, Mend> {
    Table {
        survey: vec![
            observe("head-build",         "What was built of the head",                  build_head::look).into(),
        ],
        release: vec![
            change("start-build",         "Start the build",                             previewed(build_head::start, fix::preview),    no_undo("if a run was started, it goes on, and harms nothing")).into(),
            check ("await-bundle",        "Wait for its bundle",                         build_head::await_bundle).into(),
        ],
    }
}

#[rustfmt::skip]
fn token() -> Table<Fix, Mend> {
    Table {
        survey: vec![
            observe("reach-server",       "Reach the server",                            fix::reach).into(),
            observe("server-token",       "Read the server's token, and try it",         health_token::look).into(),
        ],
        release: vec![
            change("write-secret",        "Write it into the secret",                    previewed(health_token::write, fix::preview),  no_undo("GitHub gives no secret back; if it was written, it holds the server's token")).into(),
            check ("secret-written",      "See that it was written, and that the site takes it", health_token::verify).into(),
        ],
    }
}

#[rustfmt::skip]
fn phantoms() -> Table<Fix, Mend> {
    Table {
        survey: vec![
            observe("listed-workflows",   "Which workflows have no file",                phantom::look).into(),
        ],
        release: vec![
            change("disable-workflows",   "Disable them",                                previewed(phantom::disable, fix::preview),     undo("enable them again", phantom::Again)).into(),
            check ("workflows-disabled",  "List the workflows again",                    phantom::verify).into(),
        ],
    }
}

#[rustfmt::skip]
fn owners() -> Table<Fix, Mend> {
    Table {
        survey: vec![
            observe("reach-server",       "Reach the server",                            fix::reach).into(),
            observe("foreign-owners",     "Whose the files of the live release are",     ownership::look).into(),
        ],
        release: vec![
            change("change-owner",        "Give them to the deploy user",                previewed(ownership::give, fix::preview),      no_undo("what was given stays given; whose it was stands in the report")).into(),
            check ("owner-changed",       "Look again whose they are",                   ownership::verify).into(),
        ],
    }
}

/// Nothing follows: what is told is the whole of it.
#[rustfmt::skip]
fn causes() -> Table<Fix, Mend> {
    Table {
        survey: vec![
            observe("failed-runs",        "Why the last staging runs failed",            failures::look).into(),
        ],
        release: Vec::new(),
    }
}
