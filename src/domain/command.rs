//! Commands for the server, as values.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A command of plain words, quoted once, at the end, for a POSIX shell (F44). What is printed is what runs.
///
/// There is no way to put a [`Secret`](super::Secret) into it: secrets travel by standard input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemoteCommand(Vec<String>);

impl RemoteCommand {
    pub fn new<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        Self(words.into_iter().map(Into::into).collect())
    }

    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for RemoteCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&quote(word))?;
        }
        Ok(())
    }
}

/// One word for a POSIX shell: as it is when no character of it means anything to a shell, else in single quotes,
/// inside of which nothing does (POSIX.1-2017, XCU 2.2.2).
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | ',' | '@' | '%' | '+');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
