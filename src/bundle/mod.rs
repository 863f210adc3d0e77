//! The bundle of a release: the nine gates, packing, finding the build, downloading, reading.

pub mod archive;
pub mod artifact;
pub mod check;
pub mod composer;
pub mod gates;
pub mod gzip;
pub mod key_scan;
pub mod keys;
pub mod link;
pub mod pace;
pub mod pack;
pub mod part;
pub mod read;
pub mod rules;
pub mod tree;
pub mod vite;
