//! What steps do, grouped by subject. A step tells what happened and chooses no words for reports.

pub mod activation;
pub mod backup;
pub mod health;
pub mod hooks;
pub mod inspect;
pub mod recovery;
pub mod release_dir;
pub mod services;
pub mod survey;

pub mod database;

pub mod ledger;
pub mod lock;

pub mod remote;

pub mod staging;

pub mod watchdog;
