//! How a run can end, and the exit code of each ending.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::failure::{Failure, FailureKind};

/// The kebab-case name of a row: the same word in the table, the journal, the summary's anchors and the tests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// Row names are written in the tables by us, never read from outside; `tests/it/outline.rs` checks their form.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The end of a run. Nothing but this decides the exit code and the headline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Looked, planned, changed nothing.
    Planned,
    /// A stage that only checks (or only works on the runner) found everything in order.
    Passed,
    /// The new release is live and was seen healthy.
    Live { warnings: usize },
    /// The run stopped at `at`; the live release was never touched, and what had been made was taken away again, but for `stays`.
    Refused { at: StepId, cause: Failure, stays: Vec<String> },
    /// The new release was live, something was wrong, and the old one is live and healthy again.
    RolledBack { at: StepId, cause: Failure, stays: Vec<String> },
    /// Undoing `undoing` failed too. Help is needed now; `by_hand` are the commands to type.
    Stuck { at: StepId, cause: Failure, undoing: StepId, undo_cause: Failure, by_hand: Vec<String>, stays: Vec<String> },
}

impl Outcome {
    /// The documented exit code: 0 live, passed or planned; 1 refused; 2 bad input; 3 rolled back;
    /// 4 stuck; 5 the world failed before anything changed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Planned | Self::Passed | Self::Live { .. } => 0,
            Self::Refused { cause, .. } => match cause.kind {
                FailureKind::Refused | FailureKind::Cancelled => 1,
                FailureKind::Input => 2,
                FailureKind::World | FailureKind::Bug => 5,
            },
            Self::RolledBack { .. } => 3,
            Self::Stuck { .. } => 4,
        }
    }

    /// The word in the `outcome` output. `failed` is an ending that says nothing about the release: the world
    /// (network, API, server) failed before anything changed.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Passed => "passed",
            Self::Live { .. } => "live",
            Self::Refused { cause, .. } => match cause.kind {
                FailureKind::World | FailureKind::Bug => "failed",
                FailureKind::Refused | FailureKind::Input | FailureKind::Cancelled => "refused",
            },
            Self::RolledBack { .. } => "rolled-back",
            Self::Stuck { .. } => "stuck",
        }
    }

    /// The failure that ended the run, if one did.
    pub fn cause(&self) -> Option<&Failure> {
        match self {
            Self::Planned | Self::Passed | Self::Live { .. } => None,
            Self::Refused { cause, .. } | Self::RolledBack { cause, .. } | Self::Stuck { cause, .. } => Some(cause),
        }
    }

    /// The row at which the run failed, if it did.
    pub fn at(&self) -> Option<&StepId> {
        match self {
            Self::Planned | Self::Passed | Self::Live { .. } => None,
            Self::Refused { at, .. } | Self::RolledBack { at, .. } | Self::Stuck { at, .. } => Some(at),
        }
    }
}
