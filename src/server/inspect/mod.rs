//! Reading the server: who serves the site, what sudo allows, what stands in the way.

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
