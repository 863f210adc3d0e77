//! Which old releases and backups go. Only after a confirmed release, only by exact name, never by a file's time (F58, F87).

use std::collections::BTreeSet;

use super::offsite;
use crate::{
    context::Deploy,
    domain::ReleaseName,
    engine::{
        Done,
        step::{Io, StepResult},
    },
    server::{backup::old::old_backups, ledger, lock, release_dir::tree, remote},
    transport::shell::Script,
};

/// Removes what is older than the newest confirmed releases and the newest verified backups.
pub async fn prune(cx: &Deploy, io: &Io) -> StepResult {
    let layout = &cx.inputs.layout;
    let doing = "choosing old releases and backups to remove";
    let standings = ledger::read(&*cx.ports.shell, io, layout).await?.standings(&cx.inputs.environment);
    let script = Script::new("inventory", include_str!("inventory.sh"))
        .repeatable()
        .var("RELEASES", layout.releases().as_str())
        .var("BACKUPS", layout.backups().as_str());
    let answer = remote::run(&*cx.ports.shell, io, script, doing).await?;
    let names = |key| answer.all(key).filter_map(|name| name.parse().ok()).collect::<BTreeSet<ReleaseName>>();
    let live = &cx.plan.turn.to;
    // This release's own line is written when the run ends; it is confirmed all the same.
    let mut confirmed = vec![live.clone()];
    confirmed.extend(standings.confirmed().into_iter().filter(|release| *release != live).cloned());
    let keep =
        Keep { live, previous: cx.plan.turn.left(), confirmed: &confirmed, count: cx.inputs.server.keep_releases };
    let old_releases = old_releases(&names("release"), &keep);
    let old_backups = old_backups(&names("backup"), &names("empty-backup"), cx.inputs.server.keep_backups);
    // Off-site backups are independent: their failure prevents nothing here.
    let copies = offsite::prune(cx, io).await.map(|text| format!("; {text}")).unwrap_or_default();
    if old_releases.is_empty() && old_backups.is_empty() {
        return Ok(Done::skipped(format!("no old release or backup to remove{copies}")));
    }
    let script = lock::fenced(cx, Script::new("prune", include_str!("prune.sh")).repeatable())
        .var("RELEASES", layout.releases().as_str())
        .var("BACKUPS", layout.backups().as_str())
        .var("CURRENT", layout.current().as_str())
        .list("OLD_RELEASES", old_releases.iter().map(ReleaseName::as_str))
        .list("OLD_BACKUPS", old_backups.iter().map(ReleaseName::as_str))
        .timeout(std::time::Duration::from_secs(600));
    let answer = remote::run(&*cx.ports.shell, io, script, "removing old releases and backups").await?;
    let removed: Vec<&str> = answer.all("removed").collect();
    let backups = answer.all("removed-backup").count();
    for left in answer.all("left") {
        io.warning(tree::left_over(left));
    }
    for name in &removed {
        io.line(format!("removed releases/{name}"));
    }
    Ok(Done::passed(format!("{} old releases and {backups} old backups removed{copies}", removed.len())))
}

/// What stays whatever its age.
struct Keep<'a> {
    live: &'a ReleaseName,
    /// What was live before.
    previous: Option<ReleaseName>,
    /// Confirmed and not left by a rollback since; the last confirmation first, as a rollback would choose.
    confirmed: &'a [ReleaseName],
    count: usize,
}

/// Confirmed releases beyond the first `count`, and whatever else is older than those: what failed, was rolled back or never
/// finished. As long as there are not that many, nothing goes: releases of another tool were never confirmed here, and are the
/// only targets of a rollback. Names that are not ours are not among `there`.
fn old_releases(there: &BTreeSet<ReleaseName>, keep: &Keep<'_>) -> Vec<ReleaseName> {
    let present: Vec<&ReleaseName> = keep.confirmed.iter().filter(|name| there.contains(name)).collect();
    let kept = &present[..keep.count.min(present.len())];
    let Some(oldest) = kept.iter().min().filter(|_| kept.len() == keep.count) else { return Vec::new() };
    let spare = |name: &ReleaseName| present.contains(&name) && !kept.contains(&name);
    there
        .iter()
        .filter(|name| *name < *oldest || spare(name))
        .filter(|name| *name != keep.live && Some(*name) != keep.previous.as_ref())
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::backup::old::old_backups;

    fn name(day: u32) -> ReleaseName {
        format!("202511{day:02}_120000-0123abcd").parse().expect("a release name")
    }

    fn names(days: &[u32]) -> BTreeSet<ReleaseName> {
        days.iter().copied().map(name).collect()
    }

    /// `confirmed`: the last confirmation first.
    fn old(there: &[u32], confirmed: &[u32], live: u32, previous: Option<u32>, count: usize) -> Vec<ReleaseName> {
        let confirmed: Vec<ReleaseName> = confirmed.iter().copied().map(name).collect();
        old_releases(
            &names(there),
            &Keep { live: &name(live), previous: previous.map(name), confirmed: &confirmed, count },
        )
    }

    #[test]
    fn the_newest_confirmed_ones_stay_and_older_ones_go() {
        assert_eq!(old(&[1, 2, 3, 4, 5], &[5, 4, 3, 2, 1], 5, Some(4), 3), [name(1), name(2)]);
    }

    #[test]
    fn f87_failed_releases_do_not_push_good_ones_out() {
        // 4 and 5 were never confirmed, or left by a rollback: the three confirmed ones are 2, 3 and 6.
        assert_eq!(old(&[1, 2, 3, 4, 5, 6], &[6, 3, 2, 1], 6, Some(3), 3), [name(1)]);
        // They go when they are older than what is kept.
        assert_eq!(old(&[3, 4, 5, 6, 7, 8], &[8, 7, 6, 3], 8, Some(7), 2), [name(3), name(4), name(5), name(6)]);
    }

    #[test]
    fn f87_what_was_live_before_stays_whatever_its_age() {
        assert_eq!(old(&[1, 2, 3, 4], &[4, 3, 2], 4, Some(1), 2), [name(2)]);
    }

    #[test]
    fn f87_what_a_rollback_went_back_to_counts_as_new() {
        // From 3 back to 1, then 4 on top of it: 1 is what was live before 4, and 2 the one to spare.
        assert_eq!(old(&[1, 2, 3, 4], &[4, 1, 2], 4, Some(1), 2), [name(2)]);
    }

    #[test]
    fn nothing_goes_before_there_are_enough_confirmed_ones() {
        assert_eq!(old(&[1, 2, 3, 9], &[9], 9, Some(3), 5), []);
        assert_eq!(old(&[1, 2, 3, 9], &[9, 8, 7, 6, 5], 9, Some(3), 5), [], "folders that are gone do not count");
    }

    #[test]
    fn f58_the_last_verified_backup_never_goes() {
        assert_eq!(old_backups(&names(&[1, 2, 3]), &names(&[]), 2), [name(1)]);
        assert_eq!(old_backups(&names(&[1]), &names(&[]), 0), []);
    }

    #[test]
    fn f58_a_backup_of_nothing_does_not_count() {
        assert_eq!(old_backups(&names(&[2]), &names(&[1, 3]), 2), [], "one backup with files is there, two are wanted");
        assert_eq!(old_backups(&names(&[2, 4]), &names(&[1, 3]), 2), [name(1)]);
    }
}
