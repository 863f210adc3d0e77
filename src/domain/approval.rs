//! Approval phrases: nothing changes without one.

use super::Sha256Digest;

/// Stops a run: look, print where things stand, change nothing.
pub const ABORT: &str = "ABBRECHEN";
/// Looks around again and completes the report; changes nothing.
pub const APPEND: &str = "APPEND MISSING INFO";

/// What somebody wrote into `approval`, read against the phrase that opens this stage's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Nothing was written: plan only.
    Missing,
    /// The exact phrase. With a digest it counts only while the plan still has it.
    Given { plan_digest: Option<String> },
    /// `ABBRECHEN`
    Abort,
    /// `APPEND MISSING INFO`
    Append,
    /// Something else: refused, with the expected text.
    Wrong { given: String, expected: String },
}

impl Approval {
    /// Reads `given` for a stage whose phrase is `expected`. Exact: case, umlauts and inner spaces count; only the
    /// white space around it is dropped, as the runner's own toolkit does with every input.
    pub fn read(given: &str, expected: &str) -> Self {
        let given = given.trim();
        match given {
            "" => return Self::Missing,
            ABORT => return Self::Abort,
            APPEND => return Self::Append,
            _ if given == expected => return Self::Given { plan_digest: None },
            _ => {}
        }
        let digest = given.strip_prefix(expected).and_then(|rest| rest.strip_prefix(' '));
        match digest {
            Some(hex)
                if hex.len() >= 8 && hex.len() <= 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) =>
            {
                Self::Given { plan_digest: Some(hex.to_owned()) }
            }
            _ => Self::Wrong { given: given.to_owned(), expected: expected.to_owned() },
        }
    }

    /// Whether a digest in the phrase (a prefix of at least eight digits) is the plan's.
    pub fn matches_plan(digest: &str, plan: &Sha256Digest) -> bool {
        plan.as_str().starts_with(digest)
    }
}
