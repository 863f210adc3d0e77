//! A Git commit, by its full name.

use std::{fmt, str::FromStr};

/// A commit SHA: exactly 40 lower-case hexadecimal digits, never a prefix (F3, F4, F6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitSha(String);

impl CommitSha {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits, as they stand in a release's name.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl FromStr for CommitSha {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not a full commit SHA (40 hexadecimal digits in lower case)"))
        }
    }
}

impl fmt::Display for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::text_serde!(CommitSha);

/// The SHA of a commit's tree. Commits with the same tree have the same files, whichever way one came from the other (merge, squash, rebase).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitTree(String);

impl FromStr for GitTree {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Repositories with the SHA-256 object format have 64 digits.
        let full = matches!(text.len(), 40 | 64);
        if full && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not the full SHA of a tree"))
        }
    }
}

impl fmt::Display for GitTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::text_serde!(GitTree);
