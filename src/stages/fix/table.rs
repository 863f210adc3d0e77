//! `fix`: corrects one finding of an audit, by name. Every change names its undo, and is verified by reading it again.

use super::{Fix, FixPlan, Repository};
use crate::{
    context::Survey,
    domain::{Outcome, fix::FixName},
    engine::{
        Cancel, Events, Table,
        event::RowInfo,
        run_table,
        step::{change, check, no_undo, observe, undo},
    },
    server::remote::previewed,
    stages::fix::{self, build_head, failures, health_token, ownership, phantom, protection},
};

/// Carries out the fix that the inputs name.
pub async fn carry_out(
    stage: &str,
    world: Repository,
    server: Option<Survey>,
    events: &Events,
    cancel: Cancel,
) -> Outcome {
    match world.inputs.name {
        FixName::BranchProtectionMain | FixName::BranchProtectionDevelop => {
            run(stage, &branch_protection(), world, server, events, cancel).await
        }
        FixName::BuildHead => run(stage, &build(), world, server, events, cancel).await,
        FixName::HealthToken => run(stage, &token(), world, server, events, cancel).await,
        FixName::PhantomWorkflow => run(stage, &phantoms(), world, server, events, cancel).await,
        FixName::DocsOwnership => run(stage, &owners(), world, server, events, cancel).await,
        FixName::StagingFailures => run(stage, &causes(), world, server, events, cancel).await,
    }
}

async fn run<K>(
    stage: &str,
    table: &Table<Fix<K>, FixPlan<K>>,
    world: Repository,
    server: Option<Survey>,
    events: &Events,
    cancel: Cancel,
) -> Outcome {
    let decide = async |fix| fix::decide(fix, events);
    run_table(stage, table, Fix::new(world, server), decide, events, cancel).await
}

/// The rows of a fix.
pub fn outline(name: FixName) -> Vec<RowInfo> {
    match name {
        FixName::BranchProtectionMain | FixName::BranchProtectionDevelop => branch_protection().outline(),
        FixName::BuildHead => build().outline(),
        FixName::HealthToken => token().outline(),
        FixName::PhantomWorkflow => phantoms().outline(),
        FixName::DocsOwnership => owners().outline(),
        FixName::StagingFailures => causes().outline(),
    }
}

#[rustfmt::skip]
fn branch_protection() -> Table<Fix<protection::Current>, FixPlan<protection::Current>> {
    Table {
        survey: vec![
            observe("branch-protection", "Read the branch protection", protection::look).into(),
        ],
        apply: vec![
            change("protect-branch",   "Protect the branch",           previewed(protection::protect, fix::preview), undo("restore the earlier protection", protection::Back)).into(),
            check ("branch-protected", "Verify the branch protection", protection::verify).into(),
        ],
    }
}

#[rustfmt::skip]
fn build() -> Table<Fix<build_head::Current>, FixPlan<build_head::Current>> {
    Table {
        survey: vec![
            observe("head-build", "Find the build of the head commit", build_head::look).into(),
        ],
        apply: vec![
            change("start-build",  "Start the build",     previewed(build_head::start, fix::preview), no_undo("a started build continues and changes nothing else")).into(),
            check ("await-bundle", "Wait for the bundle", build_head::await_bundle).into(),
        ],
    }
}

#[rustfmt::skip]
fn token() -> Table<Fix<Option<health_token::Current>>, FixPlan<Option<health_token::Current>>> {
    Table {
        survey: vec![
            observe("reach-server", "Connect to the server",               fix::reach).into(),
            observe("server-token", "Read the server's token and test it", health_token::look).into(),
        ],
        apply: vec![
            change("write-secret",   "Write the token into the secret",                                   previewed(health_token::write, fix::preview), no_undo("GitHub cannot return the earlier value; the secret may already hold the server's token")).into(),
            check ("secret-written", "Verify that the secret was written and the site accepts the token", health_token::verify).into(),
        ],
    }
}

#[rustfmt::skip]
fn phantoms() -> Table<Fix<Vec<phantom::Phantom>>, FixPlan<Vec<phantom::Phantom>>> {
    Table {
        survey: vec![
            observe("listed-workflows", "Find workflows without a file", phantom::look).into(),
        ],
        apply: vec![
            change("disable-workflows",  "Disable them",                  previewed(phantom::disable, fix::preview), undo("enable them again", phantom::Again)).into(),
            check ("workflows-disabled", "Verify that they are disabled", phantom::verify).into(),
        ],
    }
}

#[rustfmt::skip]
fn owners() -> Table<Fix<ownership::Current>, FixPlan<ownership::Current>> {
    Table {
        survey: vec![
            observe("reach-server",   "Connect to the server",                          fix::reach).into(),
            observe("foreign-owners", "Find files of other owners in the live release", ownership::look).into(),
        ],
        apply: vec![
            change("change-owner",  "Change their owner to the deploy user", previewed(ownership::give, fix::preview), no_undo("the new owner stays; the report names the earlier one")).into(),
            check ("owner-changed", "Verify their owner",                    ownership::verify).into(),
        ],
    }
}

/// It only reads, so there is no release part.
#[rustfmt::skip]
fn causes() -> Table<Fix<()>, FixPlan<()>> {
    Table {
        survey: vec![
            observe("failed-runs", "Read the last failed staging runs", failures::look).into(),
        ],
        apply: Vec::new(),
    }
}
