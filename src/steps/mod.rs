//! What steps do, grouped by subject. A step tells what happened and chooses no words for reports.

pub mod artifact;
pub mod backup;
pub mod build;
pub mod cache;
pub mod context;
pub mod current;
pub mod database;
pub mod fpm;
pub mod identity;
pub mod ledger;
pub mod lock;
pub mod nginx;
pub mod outlook;
pub mod probe;
pub mod remote;
pub mod retention;
pub mod sampler;
pub mod server;
pub mod services;
pub mod settle;
pub mod smoke;
pub mod staging;
pub mod sudo;
pub mod tree;
pub mod watchdog;
pub mod workers;
