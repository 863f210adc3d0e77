//! Reading the server: which services serve the site, what sudo allows, what prevents a release.

pub mod config_file;
pub mod fpm;
pub mod looked;
pub mod modes;
pub mod nginx;
pub mod permissions;
pub mod problem;
pub mod serving;
pub mod state;
pub mod sudo;

pub use self::{
    looked::Looked,
    problem::{About, NO_SERVER, NOT_SURVEYED, Problem, problem, refusal},
    state::{Gateway, ServerState, ServiceState},
};
