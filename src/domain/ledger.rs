//! The ledger's lines and the chain between them.

use serde::{Deserialize, Serialize};

use super::{
    CommitSha, FailureKind, Outcome, ReleaseName, Sha256Digest, failure, migration::Measured, schema::SchemaVerdict,
};

/// Version of the lines that are written.
pub const VERSION: u32 = 2;

/// One attempt. Everything in it that judges is computed from how the rows ended, never written as a literal (F89).
///
/// Version 1 had no `attempt` (all were releases), `tree_sha256`, `reached`, `standing` and `migrations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Version of this format.
    pub v: u32,
    /// SHA-256 of the line before this one, as text without its line feed; all zeros in the first line.
    pub prev: String,
    pub at: String,
    pub environment: String,
    #[serde(default)]
    pub attempt: Attempt,
    /// The release that was made, or rolled back to.
    pub release: ReleaseName,
    /// What `current` pointed to before.
    pub from: Option<String>,
    pub sha: CommitSha,
    pub bundle_sha256: Option<Sha256Digest>,
    /// Where the bundle came from. Lines before this field have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Built>,
    /// The commit that was asked for, where it is another one with the same tree as `sha`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_for: Option<CommitSha>,
    /// Of the release's tree on the server, as far as it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_sha256: Option<Sha256Digest>,
    /// `None` if not even the first of them was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    pub outcome: String,
    /// What the attempt made of the release; `None` leaves it what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<ReleaseStatus>,
    /// The migrations that ran, and stay, however the attempt ended; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrations: Option<Vec<String>>,
    /// What each of them made the database do, as far as it was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Measured>,
    /// What the release in `from` made of the new schema; `None` where no migration ran, and in lines before this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaVerdict>,
    /// The row at which it failed, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    pub run: Option<String>,
}

/// The artifact that a bundle was taken out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The build run, by its id, and its attempt.
    pub run: u64,
    pub attempt: u64,
    /// By its id.
    pub artifact: u64,
}

/// What was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attempt {
    /// A new release.
    #[default]
    Release,
    /// A rollback to an earlier one, by hand.
    Rollback,
}

/// The furthest that an attempt came, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// Its folder was unpacked.
    Staged,
    /// The gates passed and it booted.
    Verified,
    /// Migrations and caches were behind it.
    Prepared,
    /// `current` pointed at it.
    Activated,
    /// It was seen healthy.
    Confirmed,
}

/// What is to be thought of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseStatus {
    /// It was live and seen healthy.
    Confirmed,
    /// It never went live, or its end is unknown.
    Failed,
    /// It was live, something was wrong with it, and what was live before came back.
    Reverted,
    /// It was confirmed, and rolled back by hand. No line says this of its own release: it follows from the
    /// rollback's line.
    TakenBack,
}

impl ReleaseStatus {
    /// What an attempt that ended like this makes of its release; `None` leaves it what it was.
    ///
    /// A rollback that failed speaks against its target only if that was live and unhealthy: a lost connection, a lost lock or a
    /// cancellation says nothing about it.
    pub fn after(attempt: Attempt, outcome: &Outcome, reached: Option<Reached>) -> Option<Self> {
        let found = match outcome {
            Outcome::Planned | Outcome::Passed => return None,
            Outcome::Live { .. } => return Some(Self::Confirmed),
            Outcome::RolledBack { .. } => Self::Reverted,
            Outcome::Refused { .. } | Outcome::Stuck { .. } => Self::Failed,
        };
        let of_the_target = || {
            reached >= Some(Reached::Activated)
                && outcome
                    .cause()
                    .is_some_and(|cause| cause.kind == FailureKind::Refused && cause.code != failure::LOCK_LOST)
        };
        (attempt == Attempt::Release || of_the_target()).then_some(found)
    }
}

impl Line {
    /// What this attempt made of its release. In lines of version 1 it follows from the outcome.
    pub fn made_of_it(&self) -> Option<ReleaseStatus> {
        match (self.standing, self.attempt) {
            (None, Attempt::Release) => Some(match self.outcome.as_str() {
                "live" => ReleaseStatus::Confirmed,
                "rolled-back" | "reverted-by-watchdog" => ReleaseStatus::Reverted,
                _ => ReleaseStatus::Failed,
            }),
            (standing, _) => standing,
        }
    }
}

/// What the first line names as the line before it.
pub fn beginning() -> String {
    "0".repeat(64)
}

/// A chain without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub lines: usize,
    /// The digest of the last line; `None` for an empty ledger.
    pub head: Option<Sha256Digest>,
}

/// The first place at which a ledger is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Break {
    /// The first line is 1.
    pub line: usize,
    pub problem: String,
}

/// Follows the chain from its first line to its last (F89).
///
/// A line that was edited, removed, added or put elsewhere breaks it at the line that follows. What the chain alone cannot
/// show is the end: an edited last line, or lines cut off there. For that, compare [`Chain::head`] with the digest that the last
/// run reported.
///
/// Only the link is read of a line, so that lines of other versions of the format can be followed too.
pub fn follow(ledger: &[u8]) -> Result<Chain, Break> {
    #[derive(Deserialize)]
    struct Link {
        prev: String,
    }
    let mut before = beginning();
    let mut chain = Chain { lines: 0, head: None };
    let lines = ledger.strip_suffix(b"\n").unwrap_or(ledger);
    let lines = (!lines.is_empty()).then(|| lines.split(|byte| *byte == b'\n'));
    for (index, text) in lines.into_iter().flatten().enumerate() {
        let broken = |problem: String| Break { line: index + 1, problem };
        let link: Link =
            serde_json::from_slice(text).map_err(|error| broken(format!("is not a line of a ledger: {error}")))?;
        if link.prev != before {
            return Err(broken(match index {
                0 => "is not the first line of the ledger: it refers to an earlier line".to_owned(),
                _ => "does not match the line before it, which was edited, removed, added or moved".to_owned(),
            }));
        }
        let digest = Sha256Digest::of(text);
        before = digest.to_string();
        chain = Chain { lines: index + 1, head: Some(digest) };
    }
    Ok(chain)
}

/// What a release is known by. It is left in the lock when the release is confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proof {
    pub bundle_sha256: Option<Sha256Digest>,
    pub build: Option<Built>,
    pub asked_for: Option<CommitSha>,
    pub tree_sha256: Option<Sha256Digest>,
    pub migrations: Option<Vec<String>>,
    pub measured: Vec<Measured>,
    pub schema: Option<SchemaVerdict>,
}

/// What a run leaves in its lock of the attempt that it begins. If it dies, the run that takes over the lock writes the attempt down: every
/// attempt has a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    pub version: u32,
    pub at: String,
    pub environment: String,
    pub attempt: Attempt,
    pub release: ReleaseName,
    pub from: Option<String>,
    pub sha: CommitSha,
    pub run: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three lines as this version writes them, but for the first: a later version may add fields and leave others out.
    fn ledger() -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for outcome in ["live", "rolled-back", "live"] {
            let prev = lines.last().map_or_else(beginning, |line: &String| Sha256Digest::of(line).to_string());
            let version = if lines.is_empty() { 99 } else { 1 };
            lines.push(serde_json::json!({ "v": version, "prev": prev, "outcome": outcome }).to_string());
        }
        lines
    }

    fn broken_at(lines: &[String]) -> Option<usize> {
        follow(lines.join("\n").as_bytes()).err().map(|found| found.line)
    }

    #[test]
    fn a_ledger_as_it_was_written_is_whole() {
        let lines = ledger();
        let chain = follow(format!("{}\n", lines.join("\n")).as_bytes()).expect("a whole chain");
        assert_eq!(chain, Chain { lines: 3, head: Some(Sha256Digest::of(&lines[2])) });
        assert_eq!(follow(b""), Ok(Chain { lines: 0, head: None }));
    }

    #[test]
    fn f89_an_edited_a_removed_an_added_and_a_reordered_line_are_seen() {
        let whole = ledger();
        let mut edited = whole.clone();
        edited[1] = edited[1].replace("rolled-back", "live");
        assert_eq!(broken_at(&edited), Some(3), "the line after it");
        let removed = [whole[0].clone(), whole[2].clone()];
        assert_eq!(broken_at(&removed), Some(2));
        assert_eq!(broken_at(&whole[1..]), Some(1), "the first one is missing");
        let added = [whole[0].clone(), whole[0].clone(), whole[1].clone(), whole[2].clone()];
        assert_eq!(broken_at(&added), Some(2));
        let swapped = [whole[1].clone(), whole[0].clone(), whole[2].clone()];
        assert_eq!(broken_at(&swapped), Some(1));
    }

    #[test]
    fn what_is_no_line_is_named_by_its_number() {
        let mut lines = ledger();
        lines[1] = "<html>".to_owned();
        let found = follow(lines.join("\n").as_bytes()).expect_err("a break");
        assert!(found.to_string().starts_with("line 2: is not a line of a ledger"), "{found}");
        let damaged = [ledger()[0].as_bytes(), b"\n{\"prev\":\"\xff\"}\n"].concat();
        assert_eq!(follow(&damaged).expect_err("a break").line, 2, "bytes that are no text");
    }
}
