//! lab

pub mod github;
