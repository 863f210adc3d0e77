//! `build-gate`: checks that the built app is complete and clean, and makes the bundle. Works on the runner alone.

use super::Build;
use super::Survey;

use crate::{
    engine::{
        Table,
        step::{change, check, observe, undo},
    },
    stages::build_gate,
};

/// Steps 1, 4 and 5 (2 and 3 are jobs of the workflow before us). There is no commit row: nothing goes live.
pub fn table() -> Table<Survey, Build> {
    Table {
        survey: vec![
            observe("resolve-event", "1 Resolve what to build", build_gate::resolve_event).into(),
            observe("pre-bundle-gates", "4 Nine gates and known release blockers", build_gate::gates).into(),
        ],
        apply: vec![
            change(
                "pack-bundle",
                "5 Write the bundle",
                build_gate::pack,
                undo("remove the bundle's files", build_gate::discard),
            )
            .into(),
            check("verify-bundle", "Read the bundle back and compare every entry", build_gate::verify).into(),
        ],
    }
}
