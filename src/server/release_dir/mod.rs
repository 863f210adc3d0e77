//! The new release's folder.

pub mod cache;
pub mod delivery;
pub mod part;
pub mod tree;
pub mod tree_digest;
