//! Approval phrases: nothing changes without one.

use super::Sha256Digest;

/// Stops a run: look, print where things stand, change nothing.
pub const ABORT: &str = "ABBRECHEN";
/// Looks around again and completes the report; changes nothing.
pub const APPEND: &str = "APPEND MISSING INFO";

/// Hexadecimal digits of a plan's digest that an approval needs at least: 64 bits.
pub const DIGITS: usize = 16;

/// The input `approval`, compared with the approval phrase of this stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Nothing was written: plan only.
    Missing,
    /// The exact phrase. With a digest it counts only while the plan still has it.
    Given { plan_digest: Option<String> },
    /// The exact phrase with the beginning of a digest that is too short to bind anything: another plan with the same beginning can be
    /// searched for.
    Short { digest: String },
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
        let digest = digest.filter(|hex| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        match digest {
            Some(hex) if (DIGITS..=64).contains(&hex.len()) => Self::Given { plan_digest: Some(hex.to_owned()) },
            Some(hex) if (1..DIGITS).contains(&hex.len()) => Self::Short { digest: hex.to_owned() },
            _ => Self::Wrong { given: given.to_owned(), expected: expected.to_owned() },
        }
    }

    /// Whether a digest in the phrase (a prefix of at least [`DIGITS`] digits) is the plan's.
    pub fn matches_plan(digest: &str, plan: &Sha256Digest) -> bool {
        digest.len() >= DIGITS && plan.as_str().starts_with(digest)
    }

    /// The phrase that approves exactly this plan.
    pub fn phrase_for(phrase: &str, plan: &Sha256Digest) -> String {
        format!("{phrase} {}", Self::shown(plan))
    }

    /// As much of a plan's digest as an approval needs.
    pub fn shown(plan: &Sha256Digest) -> &str {
        &plan.as_str()[..DIGITS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn se7_an_approval_carries_at_least_64_bits_of_the_digest() {
        let plan = Sha256Digest::of("a plan");
        let read = |digits: usize| Approval::read(&format!("GO {}", &plan.as_str()[..digits]), "GO");
        for digits in [1, 8, 15] {
            assert_eq!(read(digits), Approval::Short { digest: plan.as_str()[..digits].to_owned() });
            assert!(!Approval::matches_plan(&plan.as_str()[..digits], &plan), "{digits}");
        }
        for digits in [16, 40, 64] {
            let Approval::Given { plan_digest: Some(digest) } = read(digits) else {
                panic!("{digits} digits are enough")
            };
            assert!(Approval::matches_plan(&digest, &plan));
        }
        assert_eq!(Approval::read(&Approval::phrase_for("GO", &plan), "GO"), read(16));
        assert!(matches!(Approval::read("GO 0123456789ABCDEF", "GO"), Approval::Wrong { .. }));
    }
}
