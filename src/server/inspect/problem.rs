//! What prevents a release, as the rows that read the server name it.

use crate::{domain::Failure, errors};

/// What a row says that needs a server, where the server did not answer.
pub const NO_SERVER: &str = "not checked: the server did not answer";

/// What a row says that builds on the survey of the server, where that failed.
pub const NOT_SURVEYED: &str = "not checked: the survey of the server failed";

/// What a problem is about: the pre-flight has a row for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The tools, the clock, the base folder and the link in it.
    Place,
    /// What lies in the shared storage, and its room.
    Storage,
    EnvFile,
    Shared,
    Room,
    Services,
}

impl About {
    /// Whether a release has a row of its own that judges this, and names more than the survey does.
    pub fn has_a_row(self) -> bool {
        matches!(self, Self::EnvFile | Self::Shared | Self::Room)
    }
}

/// Something that prevents a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub about: About,
    pub what: errors::Problem,
}

pub fn problem(about: About, what: errors::Problem) -> Problem {
    Problem { about, what }
}

/// The failure of a row that found these; there is at least one.
pub fn refusal(doing: &str, problems: Vec<Problem>) -> Failure {
    errors::preflight::refusal(doing, problems.into_iter().map(|problem| problem.what).collect())
}
