//! What the tests and the demo of gated-deploy release to, and through.
//!
//! [`image::ensure`] builds the image of a kind of server once, [`Lab::start`] runs one container for one test, [`app::source`] makes
//! a built source tree to release, [`load::Load`] asks the site without a pause, so that a lost request is seen;
//! [`github`] answers like GitHub's REST API, and [`runner`] starts the action as the Actions runner does.

pub mod action;
pub mod app;
pub mod base;
mod docker;
pub mod github;
pub mod http;
pub mod image;
pub mod load;
pub mod registry;
pub mod relay;
pub mod runner;
pub mod server;
pub mod snapshot;
pub mod story;
pub mod system;
mod workspace;

pub use docker::{gateway, stop_own_daemon};
pub use server::{Environment, Lab, Options, Site, cut_power, power_on, reboot, sweep};
pub use system::{Debian, System};
