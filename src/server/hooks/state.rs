//! What a run knows of its hooks.

use std::fmt;

use crate::engine::step::Io;

/// The hooks after a rollback are ready. What a hold is given back with never says whether the run was cancelled; what its row was given does.
pub struct Armed(pub(super) Io);

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Armed").field(&self.0.cancelled()).finish()
    }
}
