//! The one-time file of a release, and whether its answers count.

/// Whether the one-time file works on this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// As the site is asked for it, with a slash.
    pub path: String,
    pub trust: Trust,
    /// Whether an answer of the app named a release before the switch.
    pub app_names_itself: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// PHP ran the live release's file: it must run the new one's after the switch.
    Works,
    /// It was not tested while the old release was live, as the text says. Its answer counts; no answer says nothing.
    Untried(String),
    /// The web server does not run it, as the text says.
    Refused(String),
}

impl Mark {
    /// Whether it is needed to tell old from new while both may answer.
    pub fn needed_to_tell(&self) -> bool {
        self.trust == Trust::Works && !self.app_names_itself
    }
}
