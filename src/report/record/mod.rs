//! What stays: evidence, journal, outputs, state.

pub mod evidence;
pub mod file;
pub mod journal;
pub mod outputs;
pub mod state;
pub mod stored;
