//! What the tests and the demo of gated-deploy release to: a real server in a container, and a small real app to release.
//!
//! [`image::ensure`] builds the server's image once, [`Lab::start`] runs one container for one test, [`app::source`] makes
//! a built source tree to release, and [`load::Load`] asks the site without a pause, so that a lost request is seen.

pub mod app;
pub mod base;
mod docker;
pub mod http;
pub mod image;
pub mod load;
pub mod server;
mod workspace;

pub use docker::stop_own_daemon;
pub use server::{Environment, Lab, Options, Site, sweep};
