//! Which old releases and backups go. Only after a confirmed release, only by exact name, never by a file's time (F58, F87).

use std::collections::BTreeSet;

use super::{context::Deploy, ledger, lock, remote, server::last_part};
use crate::{
    domain::ReleaseName,
    engine::{
        Done,
        step::{Io, StepResult},
    },
    ports::shell::Script,
};

/// Removes what is older than the newest confirmed releases and the newest verified backups.
pub async fn prune(cx: &Deploy, io: &Io) -> StepResult {
    let layout = &cx.inputs.layout;
    let doing = "choosing what to prune";
    let lines = ledger::known(cx, io).await?;
    let script = Script::new("inventory", include_str!("sh/inventory.sh"))
        .var("RELEASES", layout.releases().as_str())
        .var("BACKUPS", layout.backups().as_str());
    let answer = remote::run(&*cx.ports.shell, io, script, doing).await?;
    let names = |key| answer.all(key).filter_map(|name| name.parse().ok()).collect::<BTreeSet<ReleaseName>>();
    let mut confirmed: BTreeSet<ReleaseName> =
        lines.iter().filter(|line| line.outcome == "live").map(|line| line.release.clone()).collect();
    confirmed.insert(cx.facts.turn.to.clone());
    let previous = cx.facts.turn.from.as_deref().and_then(|link| last_part(link).parse().ok());
    let keep = Keep {
        live: &cx.facts.turn.to,
        previous: previous.as_ref(),
        confirmed: &confirmed,
        count: cx.inputs.server.keep_releases,
    };
    let old_releases = old_releases(&names("release"), &keep);
    let old_backups = old_backups(&names("backup"), cx.inputs.server.keep_backups);
    if old_releases.is_empty() && old_backups.is_empty() {
        return Ok(Done::skipped("nothing is old enough to go"));
    }
    let script = lock::fenced(cx, Script::new("prune", include_str!("sh/prune.sh")))
        .var("RELEASES", layout.releases().as_str())
        .var("BACKUPS", layout.backups().as_str())
        .var("CURRENT", layout.current().as_str())
        .list("OLD_RELEASES", old_releases.iter().map(ReleaseName::as_str))
        .list("OLD_BACKUPS", old_backups.iter().map(ReleaseName::as_str))
        .timeout(std::time::Duration::from_secs(600));
    let answer = remote::run(&*cx.ports.shell, io, script, "pruning old releases and backups").await?;
    let removed: Vec<&str> = answer.all("removed").collect();
    let backups = answer.all("removed-backup").count();
    for name in &removed {
        io.line(format!("removed releases/{name}"));
    }
    Ok(Done::passed(format!("{} old releases and {backups} old backups removed", removed.len())))
}

/// What stays whatever its age.
struct Keep<'a> {
    live: &'a ReleaseName,
    previous: Option<&'a ReleaseName>,
    confirmed: &'a BTreeSet<ReleaseName>,
    count: usize,
}

/// Releases older than the newest `count` confirmed ones. As long as there are not that many, nothing goes: releases from before
/// we came were never confirmed by us, and are the only ones to go back to.
fn old_releases(there: &BTreeSet<ReleaseName>, keep: &Keep<'_>) -> Vec<ReleaseName> {
    let kept: Vec<&ReleaseName> =
        there.iter().rev().filter(|name| keep.confirmed.contains(name)).take(keep.count).collect();
    let Some(oldest) = kept.last().filter(|_| kept.len() == keep.count) else { return Vec::new() };
    there.iter().filter(|name| name < oldest && *name != keep.live && Some(*name) != keep.previous).cloned().collect()
}

/// Verified backups older than the newest `count`; `count` is at least one.
fn old_backups(there: &BTreeSet<ReleaseName>, count: usize) -> Vec<ReleaseName> {
    there.iter().rev().skip(count.max(1)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(day: u32) -> ReleaseName {
        format!("202511{day:02}_120000-0123abcd").parse().expect("a release name")
    }

    fn names(days: &[u32]) -> BTreeSet<ReleaseName> {
        days.iter().copied().map(name).collect()
    }

    fn old(there: &[u32], confirmed: &[u32], live: u32, previous: Option<u32>, count: usize) -> Vec<ReleaseName> {
        let (previous, live) = (previous.map(name), name(live));
        old_releases(
            &names(there),
            &Keep { live: &live, previous: previous.as_ref(), confirmed: &names(confirmed), count },
        )
    }

    #[test]
    fn the_newest_confirmed_ones_stay_and_older_ones_go() {
        assert_eq!(old(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5], 5, Some(4), 3), [name(1), name(2)]);
    }

    #[test]
    fn f87_failed_releases_do_not_push_good_ones_out() {
        // 4 and 5 were never confirmed: the three confirmed ones are 2, 3 and 6.
        assert_eq!(old(&[1, 2, 3, 4, 5, 6], &[1, 2, 3, 6], 6, Some(3), 3), [name(1)]);
    }

    #[test]
    fn f87_what_was_live_before_stays_whatever_its_age() {
        assert_eq!(old(&[1, 2, 3, 4], &[2, 3, 4], 4, Some(1), 2), [name(2)]);
    }

    #[test]
    fn nothing_goes_before_there_are_enough_confirmed_ones() {
        assert_eq!(old(&[1, 2, 3, 9], &[9], 9, Some(3), 5), []);
    }

    #[test]
    fn f58_the_last_verified_backup_never_goes() {
        assert_eq!(old_backups(&names(&[1, 2, 3]), 2), [name(1)]);
        assert_eq!(old_backups(&names(&[1]), 0), []);
    }
}
