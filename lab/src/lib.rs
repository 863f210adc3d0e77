//! lab

pub mod runner;
