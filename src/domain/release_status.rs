//! The status of each release by the ledger, and which releases can be rollback targets (F80, F81).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    CommitSha, ReleaseName, Sha256Digest,
    layout::named,
    ledger::{Attempt, Line, ReleaseStatus},
};

/// Every release that the ledger names, with what is to be thought of it after its last line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseStatuses {
    of: BTreeMap<ReleaseName, Known>,
}

/// What the ledger knows of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub standing: ReleaseStatus,
    pub commit: CommitSha,
    /// The last time that it was seen healthy.
    pub confirmed: Option<Confirmation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The place of its line: later confirmations have higher ones.
    line: usize,
    /// As the line says, e.g. `2025-11-02T15:49:00Z`.
    pub at: String,
    /// `None` in lines of version 1.
    pub tree: Option<Sha256Digest>,
    /// Of the bundle that it was unpacked from.
    pub bundle: Option<Sha256Digest>,
}

/// Why a release cannot be a rollback target, or only if it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    Live,
    /// Made after the live one. Only the automatic choice leaves it out.
    Newer,
    Failed,
    Reverted,
    TakenBack,
    /// The ledger does not name it.
    Unknown,
    /// Its folder is not there.
    Gone,
    /// It was confirmed by a version that took no digest.
    NoDigest,
}

/// A release that can be a rollback target, if its tree digest still matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub release: ReleaseName,
    pub commit: CommitSha,
    pub confirmed_at: String,
    pub tree: Sha256Digest,
    pub bundle: Option<Sha256Digest>,
}

impl ReleaseStatuses {
    /// Reads the lines of one environment in their order, which is the order in which things happened; file times and names
    /// say less (F81).
    pub fn of(lines: &[Line], environment: &str) -> Self {
        let mut of: BTreeMap<ReleaseName, Known> = BTreeMap::new();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.environment == environment) {
            let Some(standing) = line.made_of_it() else { continue };
            let known = of.entry(line.release.clone()).or_insert_with(|| Known {
                standing,
                commit: line.sha.clone(),
                confirmed: None,
            });
            known.standing = standing;
            if standing != ReleaseStatus::Confirmed {
                continue;
            }
            let (tree, bundle) = match known.confirmed.take() {
                Some(earlier) => (earlier.tree, earlier.bundle),
                None => (None, None),
            };
            known.confirmed = Some(Confirmation {
                line: index,
                at: line.at.clone(),
                tree: line.tree_sha256.clone().or(tree),
                bundle: line.bundle_sha256.clone().or(bundle),
            });
            // A release that a rollback replaced stays out: a second rollback must not activate it again.
            if line.attempt == Attempt::Rollback
                && let Some(left) = line.from.as_deref().and_then(named).filter(|left| *left != line.release)
                && let Some(known) = of.get_mut(&left).filter(|known| known.standing == ReleaseStatus::Confirmed)
            {
                known.standing = ReleaseStatus::TakenBack;
            }
        }
        Self { of }
    }

    pub fn get(&self, release: &ReleaseName) -> Option<&Known> {
        self.of.get(release)
    }

    /// Confirmed and not left since; the last confirmation first.
    pub fn confirmed(&self) -> Vec<&ReleaseName> {
        let mut confirmed: Vec<(usize, &ReleaseName)> = self
            .of
            .iter()
            .filter(|(_, known)| known.standing == ReleaseStatus::Confirmed)
            .filter_map(|(release, known)| Some((known.confirmed.as_ref()?.line, release)))
            .collect();
        confirmed.sort_by(|(left, _), (right, _)| right.cmp(left));
        confirmed.into_iter().map(|(_, release)| release).collect()
    }

    /// Whether `release` can be a rollback target when it is named.
    ///
    /// # Errors
    /// Why not. What failed, was reverted or was left by a rollback is never a candidate (F80, F81).
    pub fn candidate(
        &self,
        release: &ReleaseName,
        live: Option<&ReleaseName>,
        there: &[ReleaseName],
    ) -> Result<Candidate, Unfit> {
        if live == Some(release) {
            return Err(Unfit::Live);
        }
        let known = self.of.get(release).ok_or(Unfit::Unknown)?;
        match known.standing {
            ReleaseStatus::Confirmed => {}
            ReleaseStatus::Failed => return Err(Unfit::Failed),
            ReleaseStatus::Reverted => return Err(Unfit::Reverted),
            ReleaseStatus::TakenBack => return Err(Unfit::TakenBack),
        }
        if !there.contains(release) {
            return Err(Unfit::Gone);
        }
        let confirmation = known.confirmed.as_ref().ok_or(Unfit::Unknown)?;
        Ok(Candidate {
            release: release.clone(),
            commit: known.commit.clone(),
            confirmed_at: confirmation.at.clone(),
            tree: confirmation.tree.clone().ok_or(Unfit::NoDigest)?,
            bundle: confirmation.bundle.clone(),
        })
    }

    /// Where a rollback goes by itself, best first, and why all others are no choice, newest first.
    ///
    /// The last confirmation counts, not the name: after a rollback to an old release and a new release on top of it, the old one
    /// is what was live and healthy before. A release that was made after the live one is no target: a rollback has already left it.
    pub fn choices(
        &self,
        live: Option<&ReleaseName>,
        there: &[ReleaseName],
    ) -> (Vec<Candidate>, Vec<(ReleaseName, Unfit)>) {
        let judge = |release: &ReleaseName| {
            let candidate = self.candidate(release, live, there)?;
            if live.is_some_and(|live| release > live) { Err(Unfit::Newer) } else { Ok(candidate) }
        };
        let candidates: Vec<Candidate> =
            self.confirmed().into_iter().filter_map(|release| judge(release).ok()).collect();
        let all: BTreeSet<&ReleaseName> = self.of.keys().chain(there).collect();
        let unfit =
            all.into_iter().rev().filter_map(|release| Some((release.clone(), judge(release).err()?))).collect();
        (candidates, unfit)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "it is live",
            Self::Newer => "it is newer than the live release",
            Self::Failed => "it failed",
            Self::Reverted => "it was rolled back",
            Self::TakenBack => "a rollback replaced it",
            Self::Unknown => "the ledger does not record it as confirmed",
            Self::Gone => "its folder was removed",
            Self::NoDigest => "it was confirmed by a version that recorded no tree digest",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Failure, Outcome, StepId, ledger::Reached};

    fn name(day: u32) -> ReleaseName {
        format!("202511{day:02}_120000-0123abcd").parse().expect("a release name")
    }

    /// A line of this version: `from` and `to` are days.
    fn line(attempt: Attempt, from: u32, to: u32, outcome: &Outcome) -> Line {
        let reached = match outcome {
            Outcome::Live { .. } => Reached::Confirmed,
            Outcome::RolledBack { .. } | Outcome::Stuck { .. } => Reached::Activated,
            _ => Reached::Staged,
        };
        Line {
            v: 2,
            prev: String::new(),
            at: format!("2025-11-{to:02}T12:00:00Z"),
            environment: "staging".to_owned(),
            attempt,
            release: name(to),
            from: (from > 0).then(|| format!("releases/{}", name(from))),
            sha: "0123abcd".repeat(5).parse().expect("a commit"),
            bundle_sha256: None,
            build: None,
            asked_for: None,
            tree_sha256: Some(Sha256Digest::of(to.to_string())),
            reached: Some(reached),
            outcome: outcome.word().to_owned(),
            standing: ReleaseStatus::after(attempt, outcome, Some(reached)),
            migrations: Some(Vec::new()),
            measured: Vec::new(),
            schema: None,
            failed_at: None,
            cause: None,
            run: None,
        }
    }

    fn live() -> Outcome {
        Outcome::Live { warnings: 0 }
    }

    fn unhealthy() -> Outcome {
        let cause = Failure::refused("asking the site", "500");
        Outcome::RolledBack { at: StepId::new("health"), cause, stays: Vec::new() }
    }

    fn released(from: u32, to: u32) -> Line {
        line(Attempt::Release, from, to, &live())
    }

    fn back(from: u32, to: u32) -> Line {
        line(Attempt::Rollback, from, to, &live())
    }

    fn days(names: &[ReleaseName]) -> Vec<u32> {
        names.iter().map(|name| name.as_str()[6..8].parse().expect("a day")).collect()
    }

    /// Where a rollback would go, best first, when `live` is live and all folders are there.
    fn choices(lines: &[Line], live: u32) -> Vec<u32> {
        let there: Vec<ReleaseName> = (1..=9).map(name).collect();
        let (candidates, _) = ReleaseStatuses::of(lines, "staging").choices(Some(&name(live)), &there);
        days(&candidates.into_iter().map(|candidate| candidate.release).collect::<Vec<_>>())
    }

    fn unfit(lines: &[Line], live: u32, there: &[u32], release: u32) -> Option<Unfit> {
        let there: Vec<ReleaseName> = there.iter().copied().map(name).collect();
        ReleaseStatuses::of(lines, "staging").candidate(&name(release), Some(&name(live)), &there).err()
    }

    #[test]
    fn f80_what_failed_or_was_reverted_is_no_candidate() {
        let failed = Outcome::Refused {
            at: StepId::new("migrate"),
            cause: Failure::refused("migrating", "no"),
            stays: Vec::new(),
        };
        let lines = [
            released(0, 1),
            line(Attempt::Release, 1, 2, &unhealthy()),
            line(Attempt::Release, 1, 3, &failed),
            released(1, 4),
        ];
        assert_eq!(choices(&lines, 4), [1]);
        assert_eq!(unfit(&lines, 4, &[1, 2, 3, 4], 2), Some(Unfit::Reverted));
        assert_eq!(unfit(&lines, 4, &[1, 2, 3, 4], 3), Some(Unfit::Failed));
        assert_eq!(unfit(&lines, 4, &[1, 2, 3, 4], 4), Some(Unfit::Live));
        assert_eq!(unfit(&lines, 4, &[1, 2, 3, 4, 5], 5), Some(Unfit::Unknown));
    }

    #[test]
    fn a_rollback_that_lost_its_lock_says_nothing_of_its_target() {
        let lost = |code| {
            let cause = Failure::refused("confirming", "another run took over").code(code);
            Outcome::RolledBack { at: StepId::new("confirm"), cause, stays: Vec::new() }
        };
        let lines = [released(0, 1), released(1, 2), released(2, 3)];
        let with = |code| [&lines[..], &[line(Attempt::Rollback, 3, 2, &lost(code))]].concat();
        assert_eq!(choices(&with(crate::domain::failure::LOCK_LOST), 3), [2, 1]);
        assert_eq!(choices(&with("site-unhealthy"), 3), [1]);
    }

    #[test]
    fn f81_a_second_rollback_goes_further_back_and_not_to_what_was_left() {
        let lines = [released(0, 1), released(1, 2), released(2, 3), back(3, 2)];
        assert_eq!(choices(&lines, 2), [1]);
        let lines = [&lines[..], &[back(2, 1)]].concat();
        assert_eq!(choices(&lines, 1), [0; 0]);
        assert_eq!(unfit(&lines, 1, &[1, 2, 3], 3), Some(Unfit::TakenBack));
        // A new release on top of it: what was live before is the target.
        let lines = [&lines[..], &[released(1, 4)]].concat();
        assert_eq!(choices(&lines, 4), [1]);
    }

    #[test]
    fn f81_the_last_confirmation_counts_and_back_is_never_forward() {
        // From 3 to 1 by name: 2 was skipped.
        let lines = [released(0, 1), released(1, 2), released(2, 3), back(3, 1)];
        assert_eq!(choices(&lines, 1), [0; 0], "2 was made after 1");
        assert_eq!(unfit(&lines, 1, &[1, 2, 3], 2), None, "it can be named");
        let lines = [&lines[..], &[released(1, 4)]].concat();
        assert_eq!(choices(&lines, 4), [1, 2], "1 was live before 4");
    }

    #[test]
    fn f81_a_target_that_was_unhealthy_is_no_target_again_and_one_that_was_not_tried_still_is() {
        let before = [released(0, 1), released(1, 2), released(2, 3)];
        let lines = [&before[..], &[line(Attempt::Rollback, 3, 2, &unhealthy())]].concat();
        assert_eq!(choices(&lines, 3), [1]);
        for kind in [crate::domain::FailureKind::Cancelled, crate::domain::FailureKind::World] {
            let cause = Failure::new(kind, "waiting", "the run was cancelled");
            let cancelled = Outcome::RolledBack { at: StepId::new("grace"), cause, stays: Vec::new() };
            let lines = [&before[..], &[line(Attempt::Rollback, 3, 2, &cancelled)]].concat();
            assert_eq!(choices(&lines, 3), [2, 1], "{kind:?}");
        }
    }

    #[test]
    fn a_release_needs_its_folder_and_a_digest() {
        let mut lines = [released(0, 1), released(1, 2)];
        assert_eq!(unfit(&lines, 2, &[2], 1), Some(Unfit::Gone));
        (lines[0].v, lines[0].tree_sha256, lines[0].standing) = (1, None, None);
        assert_eq!(unfit(&lines, 2, &[1, 2], 1), Some(Unfit::NoDigest));
        assert_eq!(
            ReleaseStatuses::of(&lines, "production"),
            ReleaseStatuses::default(),
            "lines of another environment"
        );
    }

    #[test]
    fn lines_of_the_first_version_still_read() {
        let text = r#"{"v":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","at":"2025-11-02T15:49:00Z","environment":"staging","release":"20251102_154900-0123abcd","from":null,"sha":"0123abcd0123abcd0123abcd0123abcd0123abcd","bundle_sha256":null,"outcome":"OUTCOME","run":null}"#;
        for (outcome, standing) in [
            ("live", ReleaseStatus::Confirmed),
            ("rolled-back", ReleaseStatus::Reverted),
            ("refused", ReleaseStatus::Failed),
            ("stuck", ReleaseStatus::Failed),
            ("failed", ReleaseStatus::Failed),
        ] {
            let line: Line = serde_json::from_str(&text.replace("OUTCOME", outcome)).expect("a line");
            let standings = ReleaseStatuses::of(&[line], "staging");
            let release = "20251102_154900-0123abcd".parse().expect("a release");
            assert_eq!(standings.get(&release).map(|known| known.standing), Some(standing), "{outcome}");
        }
    }
}
