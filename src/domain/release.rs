//! The name of a release folder.

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::CommitSha;

/// `20251102_154900-f0959baf`: the UTC time at which the release was made, and the first eight digits of its commit.
///
/// Text order is time order. The name is made once a run, on the runner, and carried everywhere (F48, F49).
/// A folder whose name does not parse is not ours and is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseName(String);

const TIME: &str = "%Y%m%d_%H%M%S";

impl ReleaseName {
    pub fn new(at: DateTime<Utc>, commit: &CommitSha) -> Self {
        Self(format!("{}-{}", at.format(TIME), commit.short()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits of the commit it was made from.
    pub fn short_sha(&self) -> &str {
        &self.0[16..]
    }

    /// When it was made, to the second.
    pub fn made_at(&self) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(&self.0[..15], TIME).map(|time| time.and_utc()).unwrap_or_default()
    }
}

impl FromStr for ReleaseName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("`{text}` is not a release name (YYYYMMDD_HHMMSS-<first 8 of the commit>, in UTC)");
        let (time, sha) = text.split_once('-').ok_or_else(bad)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let shape = time.len() == 15
            && time.is_ascii()
            && digits(&time[..8])
            && time.as_bytes()[8] == b'_'
            && digits(&time[9..]);
        if !shape || NaiveDateTime::parse_from_str(time, TIME).is_err() {
            return Err(bad());
        }
        if sha.len() != 8 || !sha.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::text_serde!(ReleaseName);
