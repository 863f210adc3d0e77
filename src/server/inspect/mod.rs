//! Reading the server: which services serve the site, what sudo allows, what prevents a release.

pub mod config_file;
pub mod facts;
pub mod fpm;
pub mod looked;
pub mod modes;
pub mod nginx;
pub mod permissions;
pub mod problem;
pub mod serving;
pub mod sudo;

pub use self::{
    facts::{ServerFacts, ServiceFacts},
    looked::Looked,
    problem::{About, NO_SERVER, NOT_SURVEYED, Problem, problem, refusal},
};
