//! Something that is not as it should be, and does not stop the run.

use std::borrow::Cow;

use crate::domain::Failure;

/// One warning: its stable code, what happened, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its stable name, which `docs/errors.md` explains.
    pub code: Cow<'static, str>,
    pub text: String,
    pub hint: Option<String>,
}

impl Warning {
    pub fn new(code: impl Into<Cow<'static, str>>, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into(), hint: Some(hint.into()) }
    }
}

/// A failure after which the run goes on.
impl From<Failure> for Warning {
    fn from(failure: Failure) -> Self {
        Self { text: failure.to_string(), code: failure.code, hint: failure.hint }
    }
}
