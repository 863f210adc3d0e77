//! The whole ledger, as it was read.

use crate::domain::{
    EnvironmentName,
    ledger::{self, Break, Line},
    release_status::ReleaseStatuses,
};

/// The whole ledger, as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct History {
    pub lines: Vec<Line>,
    /// Lines that are damaged, or of a later version: the releases that they name do not count.
    pub unreadable: usize,
    /// Where the chain between the lines is broken.
    pub broken: Option<Break>,
}

impl History {
    pub fn of(text: &str) -> Self {
        let read: Vec<Option<Line>> = text.lines().map(|line| serde_json::from_str(line).ok()).collect();
        Self {
            unreadable: read.iter().filter(|line| line.is_none()).count(),
            lines: read.into_iter().flatten().collect(),
            broken: ledger::follow(text.as_bytes()).err(),
        }
    }

    pub fn standings(&self, environment: &EnvironmentName) -> ReleaseStatuses {
        ReleaseStatuses::of(&self.lines, environment.as_str())
    }
}
