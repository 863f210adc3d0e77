//! The actions of `stage: fix`, and what one of them found and did.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The one finding that a run of `stage: fix` corrects. There is no `all`: each is a decision of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixName {
    BranchProtectionMain,
    BranchProtectionDevelop,
    BuildHead,
    HealthToken,
    PhantomWorkflow,
    DocsOwnership,
    StagingFailures,
}

impl FixName {
    pub const ALL: [Self; 7] = [
        Self::BranchProtectionMain,
        Self::BranchProtectionDevelop,
        Self::BuildHead,
        Self::HealthToken,
        Self::PhantomWorkflow,
        Self::DocsOwnership,
        Self::StagingFailures,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BranchProtectionMain => "branch-protection-main",
            Self::BranchProtectionDevelop => "branch-protection-develop",
            Self::BuildHead => "build-head",
            Self::HealthToken => "health-token",
            Self::PhantomWorkflow => "phantom-workflow",
            Self::DocsOwnership => "docs-ownership",
            Self::StagingFailures => "staging-failures",
        }
    }

    /// Whether it needs the server.
    pub fn on_server(self) -> bool {
        matches!(self, Self::HealthToken | Self::DocsOwnership)
    }

    /// Whether it asks GitHub.
    pub fn at_github(self) -> bool {
        self != Self::DocsOwnership
    }

    /// Whether it only reads, so that there is nothing to approve.
    pub fn reads_only(self) -> bool {
        self == Self::StagingFailures
    }
}

impl FromStr for FixName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|fix| fix.as_str() == text).ok_or_else(|| format!("`{text}` is not a fix"))
    }
}

impl fmt::Display for FixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

super::text_serde!(FixName);

/// One thing that a fix looks at, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// "required checks", "owner of public/docs"
    pub what: String,
    pub value: String,
}

impl Setting {
    pub fn new(what: impl Into<String>, value: impl Into<String>) -> Self {
        Self { what: what.into(), value: value.into() }
    }
}

/// What a fix found, what it wants, and what it saw afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixRecord {
    pub name: FixName,
    /// What it is about: "branch `main` of acme/shop".
    pub subject: String,
    pub before: Vec<Setting>,
    /// Empty where there is nothing to do.
    pub wanted: Vec<Setting>,
    /// Read again after the change; `None` where nothing was changed, or it could not be read.
    pub after: Option<Vec<Setting>>,
    /// The requests or commands, without secrets.
    pub sends: Vec<String>,
    /// What the token or the account needs for it.
    pub needs: String,
    /// Why there is nothing to do, where there is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nothing: Option<String>,
}
