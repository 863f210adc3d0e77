//! What a release may build on: the server as the survey found it fit.

use crate::domain::{ReleaseName, RemoteCommand};

/// What the server said of itself, before anything changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// What `current` points to, exactly as the link says; `None` before the first release.
    pub current: Option<String>,
    /// Where it really leads: the tree that is backed up.
    pub live_tree: Option<String>,
    /// Our release folders that are there, oldest first.
    pub releases: Vec<ReleaseName>,
    /// PHP_VERSION_ID of the command line, e.g. 80229.
    pub php_version_id: u32,
    pub php_version: String,
    pub services: ServiceState,
    /// Bytes free for the deploy user on the file system of the base.
    pub free_bytes: u64,
    pub free_inodes: u64,
    pub clock_skew_seconds: i64,
}

/// Who serves the site and how it is told to read new code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// `php8.2-fpm`
    pub fpm: String,
    /// The exact commands that `sudo -n -l` allowed, in the order in which they run.
    pub reload: Vec<RemoteCommand>,
    /// Seconds; `None` if it could not be read.
    pub process_control_timeout: Option<u64>,
    /// Where PHP can be asked for a release that is not live, or why nowhere.
    pub gateway: Result<Gateway, String>,
}

/// The way by which the web server asks PHP for the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The name of the pool.
    pub pool: String,
    /// As PHP's `stream_socket_client` takes it: `unix:///run/php/php8.2-fpm.sock`.
    pub address: String,
    /// The folder of a release that the web server serves, with a slash in front: `/public`.
    pub public: String,
    /// What PHP sees as the root of the file system.
    pub chroot: Option<String>,
}
