//! A configuration file of the server, as it was read.

/// A configuration file of the server.
#[derive(Debug)]
pub struct ConfigFile {
    pub path: String,
    pub text: String,
}
