//! SHA-256 digests.

use std::{fmt, str::FromStr};

/// A SHA-256 digest, 64 lower-case hexadecimal digits. Parses with or without the `sha256:` that GitHub's API puts before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest(String);

impl Sha256Digest {
    /// The digest of bytes that are in memory already.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        use sha2::Digest as _;
        Self::from_hash(sha2::Sha256::new_with_prefix(bytes.as_ref()))
    }

    /// The digest of everything fed to a hasher.
    pub fn from_hash(hasher: sha2::Sha256) -> Self {
        use sha2::Digest as _;
        Self(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits: enough for a person to compare two files. An approval needs more.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

/// Measures bytes as they pass by: what is downloaded and what is taken out of an archive are measured by the same code.
#[derive(Debug, Clone, Default)]
pub struct Measure {
    hasher: sha2::Sha256,
    size: u64,
}

impl Measure {
    pub fn add(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest, and how many bytes it is of.
    pub fn end(self) -> (Sha256Digest, u64) {
        (Sha256Digest::from_hash(self.hasher), self.size)
    }
}

impl FromStr for Sha256Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(hex.to_owned()))
        } else {
            Err(format!("`{text}` is not a SHA-256 digest (64 hexadecimal digits in lower case)"))
        }
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::text_serde!(Sha256Digest);
