//! Which Debian a server has, and what starts its services.

use std::str::FromStr;

use anyhow::{Error, bail};

/// A release of Debian, with its own PHP, OpenSSH and MariaDB, and its own Laravel as the app's framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Debian {
    /// Debian 12: PHP 8.2, Laravel 8. What the stories release to.
    #[default]
    Bookworm,
    /// Debian 13: PHP 8.4, Laravel 10.
    Trixie,
    /// The next Debian, which still changes: its newest PHP, and Laravel 13 with the slim skeleton.
    Forky,
}

impl Debian {
    /// As Debian's mirrors call it, and the folder in `lab/systems`.
    pub fn release(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Forky => "forky",
        }
    }
}

impl FromStr for Debian {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        for debian in [Self::Bookworm, Self::Trixie, Self::Forky] {
            if debian.release() == name {
                return Ok(debian);
            }
        }
        bail!("the lab has no Debian `{name}`")
    }
}

/// What a server is built as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct System {
    pub debian: Debian,
    /// Whether systemd is PID 1 and starts the services; else a script starts them, and there is no systemd at all.
    pub systemd: bool,
}
