//! Which backups are old.

use crate::domain::ReleaseName;
use std::collections::BTreeSet;

/// Verified backups older than the newest `count`, which is at least one; and empty ones, which do not count, older than those.
pub(crate) fn old_backups(
    there: &BTreeSet<ReleaseName>,
    empty: &BTreeSet<ReleaseName>,
    count: usize,
) -> Vec<ReleaseName> {
    let count = count.max(1);
    let oldest = there.iter().rev().nth(count - 1);
    let old = |name: &&ReleaseName| oldest.is_some_and(|oldest| *name < oldest);
    there.iter().filter(old).chain(empty.iter().filter(old)).cloned().collect()
}
