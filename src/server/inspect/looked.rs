//! What the server said of itself, before anything judged it.

use crate::{server::inspect::serving::Serving, transport::shell::Answer};

/// What the server said of itself, before anything judged it.
#[derive(Debug)]
pub struct Looked {
    pub answer: Answer,
    /// The deploy user.
    pub user: String,
    pub clock_skew_seconds: i64,
    /// The services of the site, or why they are not known.
    pub serving: Result<Serving, String>,
}

impl Looked {
    /// What `current` points to, as runs write it; `None` before the first release.
    pub fn current(&self) -> Option<&str> {
        self.answer.get("current")
    }

    pub fn systemd(&self) -> bool {
        self.answer.get("systemd").is_some()
    }
}
