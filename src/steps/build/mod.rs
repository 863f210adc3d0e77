//! Judging a built tree and packing it into a bundle, on the runner.

pub mod link;
pub mod pace;
pub mod read;
