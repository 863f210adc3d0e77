//! Paths on the server.

use std::{fmt, str::FromStr};

/// An absolute, normal path on the server: no `.` or `..`, no doubled or trailing slash, no control characters,
/// and never the root itself. It grows only by [`RemotePath::join`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemotePath(String);

impl RemotePath {
    /// Appends a relative path that we wrote ourselves or that has been checked by [`relative`].
    ///
    /// # Panics
    /// If `part` is not a normal relative path; foreign text goes through [`relative`] first.
    #[must_use]
    pub fn join(&self, part: &str) -> Self {
        if let Err(problem) = relative(part) {
            panic!("joining `{part}` to {self}: {problem}");
        }
        Self(format!("{}/{part}", self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks that foreign text is a normal relative path: it stays inside whatever it is joined to.
pub fn relative(text: &str) -> Result<&str, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it contains control characters".to_owned());
    }
    match text.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        None => Ok(text),
        Some("") if text.starts_with('/') => Err("it is absolute, and must be relative".to_owned()),
        Some("") => Err("it has a doubled or trailing slash".to_owned()),
        Some(part) => Err(format!("it contains `{part}`")),
    }
}

impl FromStr for RemotePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.strip_prefix('/').ok_or_else(|| format!("`{text}` is not an absolute path"))?;
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        relative(inner).map_err(|problem| format!("`{text}` is not a usable path: {problem}"))?;
        Ok(Self(format!("/{inner}")))
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::text_serde!(RemotePath);
