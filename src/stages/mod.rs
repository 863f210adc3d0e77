//! Which steps in which order. Tables only: a stage file contains no `if`.

pub mod audit;
pub mod build_gate;
mod checks;
pub mod deploy;
pub mod fix;
pub mod preflight;
pub mod recover;
pub mod rollback;
pub mod smoke;
