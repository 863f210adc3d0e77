//! `build-gate`: is the built tree complete and clean, and then it is a bundle. Works on the runner alone.

pub use crate::steps::build::{Build, Survey, settle};
use crate::{
    engine::{
        Table,
        step::{change, check, observe, undo},
    },
    steps::build,
};

/// Steps 1, 4 and 5 (2 and 3 are jobs of the workflow before us). There is no commit row: nothing goes live.
pub fn table() -> Table<Survey, Build> {
    Table {
        survey: vec![
            observe("resolve-event", "1 Find out what to build", build::resolve_event).into(),
            observe("pre-bundle-gates", "4 Nine gates, and what broke releases before", build::gates).into(),
        ],
        release: vec![
            change("pack-bundle", "5 Write the bundle", build::pack, undo("remove the bundle's files", build::discard))
                .into(),
            check("verify-bundle", "Open the bundle again and compare every entry", build::verify).into(),
        ],
    }
}
