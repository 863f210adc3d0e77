//! Something that is not as it should be, and does not stop the run.

use std::borrow::Cow;

use crate::domain::Failure;

/// One warning: its stable code, what happened, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its stable name, which `docs/errors.md` explains. Empty where it has none yet.
    pub code: Cow<'static, str>,
    pub text: String,
    pub hint: Option<String>,
}

impl Warning {
    /// A warning without a code and without a hint.
    pub fn new(text: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(""), text: text.into(), hint: None }
    }

    #[must_use]
    pub fn code(self, code: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), ..self }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A failure after which the run goes on.
impl From<Failure> for Warning {
    fn from(failure: Failure) -> Self {
        Self { text: failure.to_string(), code: failure.code, hint: failure.hint }
    }
}
