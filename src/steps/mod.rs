//! What steps do, grouped by subject. A step tells what happened and chooses no words for reports.

pub mod artifact;
pub mod context;
pub mod probe;
