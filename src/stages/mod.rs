//! Which steps in which order. Tables only: a stage file contains no `if`.

pub mod build_gate;
pub mod deploy;

use crate::{
    domain::Stage,
    engine::Table,
    steps::context::{Deploy, Survey},
};

/// The table of a stage that works on a server. `inputs` lets only those of [`Stage::ALL`] come here.
pub fn on_a_server(stage: Stage) -> Table<Survey, Deploy> {
    match stage {
        Stage::BuildGate
        | Stage::DeployStaging
        | Stage::DeployProduction
        | Stage::Preflight
        | Stage::Smoke
        | Stage::Rollback
        | Stage::Audit
        | Stage::Fix
        | Stage::Recover => deploy::table(),
    }
}
