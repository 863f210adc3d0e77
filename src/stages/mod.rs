//! The stages, a folder each. `table.rs` says which rows in which order, and contains no `if`; what is of one stage alone lies beside it.

pub mod audit;
pub mod build_gate;
pub mod deploy;
pub mod fix;
pub mod preflight;
pub mod recover;
pub mod rollback;
pub mod shared;
pub mod smoke;
pub mod verify;
