//! What several stages use. It imports no stage.

pub mod approval;
pub mod checks;
pub mod diagnose;
pub mod workflow;
