//! What an audit looks at, and what follows from it for a release.

use serde::{Deserialize, Serialize};

use super::StepId;

/// One thing that was looked at: how it should be, how it is, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFinding {
    /// The row that looked.
    pub step: StepId,
    /// Kebab-case; an anchor of docs/audit.md.
    pub id: String,
    pub title: String,
    pub target: String,
    pub actual: String,
    pub impact: Impact,
    pub status: Status,
    /// The environment that it is about; `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What to type or to change, where it is not as it should be or could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The API path, the command or the file that it was read from.
    pub source: String,
    /// The workflow file that it is about, relative to the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When it was looked at, milliseconds since 1970 in UTC.
    pub unix_ms: i64,
}

/// How much hangs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Impact {
    /// No release while it is not met.
    P0,
    /// Will hurt a release sooner or later.
    P1,
    /// Worth knowing.
    P2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Met,
    NotMet,
    /// It could not be looked at: neither met nor not met, and never guessed.
    Unseen,
}

/// GO or NO-GO for one environment, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerdict {
    pub environment: String,
    pub go: bool,
    /// The blockers; empty for GO.
    pub reasons: Vec<String>,
    /// What the verdict does not rest on.
    pub remark: Option<String>,
}

impl Impact {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
        }
    }
}

impl AuditFinding {
    /// Whether a release to this environment must not go on. What could not be seen is no yes.
    pub fn forbids(&self, environment: &str) -> bool {
        self.impact == Impact::P0
            && self.status != Status::Met
            && self.environment.as_deref().is_none_or(|about| about == environment)
    }

    /// One line that makes sense by itself.
    pub fn describe(&self) -> String {
        let seen = if self.status == Status::Unseen { "could not be read: " } else { "" };
        format!("{} ({}): {seen}{}", self.title, self.id, self.actual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_seen_is_no_yes_and_what_is_about_another_place_is_no_no() {
        let finding = |impact, status, environment: Option<&str>| AuditFinding {
            step: StepId::new("branch-protection"),
            id: "main-protected".to_owned(),
            title: String::new(),
            target: String::new(),
            actual: String::new(),
            impact,
            status,
            environment: environment.map(str::to_owned),
            fix: None,
            source: String::new(),
            file: None,
            unix_ms: 0,
        };
        assert!(finding(Impact::P0, Status::NotMet, None).forbids("staging"));
        assert!(finding(Impact::P0, Status::Unseen, None).forbids("staging"));
        assert!(!finding(Impact::P0, Status::Met, None).forbids("staging"));
        assert!(!finding(Impact::P1, Status::NotMet, None).forbids("staging"));
        assert!(!finding(Impact::P0, Status::NotMet, Some("production")).forbids("staging"));
        assert!(finding(Impact::P0, Status::NotMet, Some("staging")).forbids("staging"));
    }
}
