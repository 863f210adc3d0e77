//! What people read: console, summary, plan.

pub mod audit;
pub mod checked;
pub mod clean;
pub mod console;
pub mod ending;
pub mod findings;
pub mod first;
pub mod fix;
pub mod log;
pub mod markdown;
pub mod plan;
pub mod sections;
pub mod show;
pub mod summary;
pub mod words;
