//! The new release's folder.

pub mod cache;
pub mod seal;
pub mod tree;
