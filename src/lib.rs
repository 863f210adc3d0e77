//! Releases Laravel apps to ordinary servers over SSH, gated at every step, and goes back by itself.
//!
//! `ARCHITECTURE.md` draws the house; `stages/deploy.rs` is the file to open first.

pub mod domain;
pub mod engine;
pub mod errors;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod inputs;
pub mod ports;
pub mod report;
pub mod run;
pub mod stages;
pub mod steps;
