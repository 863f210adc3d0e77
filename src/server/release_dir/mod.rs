//! The new release's folder.

pub mod cache;
pub mod tree;
pub mod tree_digest;
