//! Which release is live.

pub mod current;
