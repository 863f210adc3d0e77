//! Releases Laravel apps to ordinary servers over SSH, gated at every step, and rolls back by itself.
//!
//! `ARCHITECTURE.md` maps the code; `stages/deploy/table.rs` is the file to open first.

pub mod app;
pub mod bundle;
pub mod clock;
pub mod config;
pub mod context;
pub mod domain;
pub mod engine;
pub mod errors;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod github;
pub mod http;
pub mod server;
pub mod transport;

pub mod report;

pub mod stages;
