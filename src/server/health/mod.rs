//! Whether the site is healthy, and which release answers.

pub mod canary;
pub mod identity;
pub mod naming;
pub mod probe;
pub mod sampler;
