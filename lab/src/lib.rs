//! lab

pub mod github;
pub mod runner;
