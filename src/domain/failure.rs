//! Why something could not be done, and what to type next.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// What sort of "no" a failure is. It decides the exit code when nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// A gate, a NO-GO or an unhealthy baseline: we looked, and the answer is no. Exit code 1.
    Refused,
    /// An input or the policy file is wrong. Exit code 2.
    Input,
    /// The network, the API or the server failed. Exit code 5.
    World,
    /// The run was cancelled.
    Cancelled,
    /// A bug of the program: a state that should not exist.
    Bug,
}

/// One failed piece of work: what we were doing and to what, why it failed, and what to do about it.
///
/// `doing` and `cause` are separate so that a reader always learns both:
/// `reading the deploy lock at /srv/app/.gated-deploy/lock: run 4711 holds it since 14:02`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// Its stable name, which `docs/errors.md` explains. Empty where it has none yet.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub code: Cow<'static, str>,
    /// A gerund phrase with its object: "connecting to staging.example.com:22".
    pub doing: String,
    pub cause: String,
    /// What to type or change, as a sentence or a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Supporting lines (the end of a log, every missing file), most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// The code of a run that lost the deploy lock to another one.
pub const LOCK_LOST: &str = "lock-lost";

impl Failure {
    pub fn new(kind: FailureKind, doing: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            kind,
            code: Cow::Borrowed(""),
            doing: doing.into(),
            cause: cause.into(),
            hint: None,
            details: Vec::new(),
        }
    }

    pub fn refused(doing: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, doing, cause)
    }

    pub fn world(doing: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(FailureKind::World, doing, cause)
    }

    pub fn input(doing: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(FailureKind::Input, doing, cause)
    }

    pub fn bug(doing: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(FailureKind::Bug, doing, cause)
            .code("internal-error")
            .hint("This is a bug in gated-deploy. Report it with the log of this run.")
    }

    pub fn cancelled(doing: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(FailureKind::Cancelled, doing, cause).code("cancelled")
    }

    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Cow::Borrowed(code);
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn details(mut self, details: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.details.extend(details.into_iter().map(Into::into));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.cause)
    }
}

impl std::error::Error for Failure {}
