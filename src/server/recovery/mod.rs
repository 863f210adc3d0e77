//! Recovery: completes what interrupted runs left on the server. The next run, the post step and `stage: recover` call it.
//!
//! Under the deploy lock no other run works, so everything that exists only during a run belongs to an interrupted one. Only names that
//! a run gives are taken, and each leftover is removed by its exact path.

use crate::{
    context::Deploy,
    engine::{Done, step::StepResult},
    server::health::probe,
};

use std::{collections::BTreeSet, time::Duration};

use super::{
    activation::current::Back,
    ledger::{self, History},
    lock,
    release_dir::tree,
    remote,
    services::ready::{self, Ready},
    watchdog::{self, Entry, Pending},
};
use crate::{
    config::typed,
    context::Ports,
    domain::{Failure, FailureKind, Layout, ReleaseName, RemotePath, layout::same_link, path},
    engine::Io,
    errors,
    server::services::reload,
    transport::shell::{Answer, Script},
};

/// How many entries of releases that the watchdog rolled back stay, for their logs.
const REVERTED_KEPT: usize = 5;

/// The holder of the lock, and what it knows of the interrupted runs.
pub struct Takeover<'a> {
    pub ports: &'a Ports,
    pub target: &'a typed::Target,
    /// The fencing token of its lock; empty for a stage that only reads.
    pub number: &'a str,
    /// The runs whose locks it took over.
    pub interrupted: &'a [lock::InterruptedRun],
    /// The release that its own run was making before, for the post step.
    pub own: Option<&'a ReleaseName>,
}

/// What was done, in sentences; nothing if there was nothing to do.
#[derive(Debug, Default)]
pub struct Finished {
    /// `current` was pointed back, or a rollback of the watchdog was completed.
    pub turned: bool,
    pub described: Vec<String>,
    /// Why the ledger lacks a line. The site is as it should be, and the next holder of the lock writes the line.
    pub unrecorded: Option<Failure>,
}

/// What interrupted runs left.
#[derive(Debug)]
pub struct Leftovers {
    pub pending: Vec<Pending>,
    /// Of them those that `current` was pointed at for certain.
    switched: BTreeSet<ReleaseName>,
    /// Exact paths of what can go.
    pub remains: Vec<String>,
    /// The holder of a lock that was taken over by a run which did not complete the recovery.
    pub left_by: Option<String>,
}

impl Leftovers {
    /// The newest entry whose release is live, or whose rollback was not completed.
    pub fn unfinished(&self, current: Option<&str>) -> Option<&Entry> {
        self.pending.iter().filter_map(|guard| guard.entry.as_ref().ok()).find(|entry| {
            let back = self.switched.contains(&entry.release) && same_link(current, entry.before.as_deref());
            current == Some(&entry.armed) || back
        })
    }
}

impl Takeover<'_> {
    /// Rolls back unconfirmed releases, removes leftovers, and records the interrupted run's attempt in the ledger.
    pub async fn finish(&self, io: &Io) -> Result<Finished, Failure> {
        let leftovers = self.look(io).await?;
        let mut finished = Finished::default();
        for guard in &leftovers.pending {
            self.roll_back(guard, &mut finished, io).await?;
        }
        let removed = self.sweep(leftovers, &mut finished, io).await?;
        if removed > 0 {
            let made = abandoned(self.interrupted, self.own);
            let of = made.iter().map(|release| format!(" of {release}")).collect::<Vec<_>>().join(" and");
            finished.described.push(format!("removed the leftovers{of} ({removed} paths)"));
        }
        let (shell, layout) = (&*self.ports.shell, &self.target.layout);
        // In the order in which they began.
        for interrupted in self.interrupted.iter().rev() {
            let Some(begun) = &interrupted.begun else { continue };
            match ledger::write_for_interrupted(shell, io, layout, begun, interrupted).await {
                Ok(described) => finished.described.extend(described),
                Err(failure) if failure.kind == FailureKind::Refused => finished.unrecorded = Some(failure),
                Err(failure) => return Err(failure),
            }
        }
        // What lacks its line stays, for the next holder of the lock.
        if !self.interrupted.is_empty() && finished.unrecorded.is_none() {
            let script = Script::new("recovered", include_str!("recovered.sh")).repeatable();
            let script = lock::fence(layout, self.number, script);
            remote::run(shell, io, script, "recording that the recovery is complete").await?;
        }
        Ok(finished)
    }

    /// What interrupted runs left. Reads only.
    pub async fn look(&self, io: &Io) -> Result<Leftovers, Failure> {
        let layout = &self.target.layout;
        let doing = format!("looking for leftovers of interrupted runs in {}", layout.base());
        let script = Script::new("guards", include_str!("guards.sh"))
            .repeatable()
            .var("PLACE", layout.watchdog().as_str())
            .var("INCOMING", layout.uploads().as_str())
            .var("JOURNALS", layout.journals().as_str())
            .var("BACKUPS", layout.backups().as_str())
            .var("RELEASES", layout.releases().as_str());
        let script = match self.number {
            "" => lock::unfenced(script),
            number => lock::fence(layout, number, script),
        };
        let answer = remote::run(&*self.ports.shell, io, script, &doing).await?;
        let switched = answer.all("switched").filter_map(|folder| folder.split_once('.')?.0.parse().ok()).collect();
        let left_by = answer.get("left-by").map(|owner| owner.trim().to_owned());
        Ok(Leftovers { pending: Pending::all(&answer), switched, remains: remains(layout, &answer), left_by })
    }

    async fn roll_back(&self, guard: &Pending, finished: &mut Finished, io: &Io) -> Result<(), Failure> {
        let layout = &self.target.layout;
        let Pending { release, entry } = guard;
        let entry = entry.as_ref().map_err(|why| errors::watchdog::entry_unreadable(layout, release, why))?;
        let doing = format!("rolling back the unconfirmed release {release}");
        // As the watchdog has it: a program in a file, with an answer of its own.
        let program = watchdog::watch(layout, entry, None)?.var("PHP", &self.target.server.php);
        let program = format!("#!/bin/sh\n{}", program.text(self.number));
        let script = Script::new("finish", include_str!("finish.sh"))
            .detached(&layout.jobs())
            .var("ENTRY", layout.guard(release).as_str())
            .var("PROGRAM", program)
            .timeout(watchdog::ROLLBACK_TIMEOUT);
        let answer = remote::run(&*self.ports.shell, io, lock::fence(layout, self.number, script), &doing).await?;
        if let Some(code) = answer.get("unrecorded") {
            let path = [("path".to_owned(), layout.ledger().to_string())];
            let doing = format!("recording the rollback of {release} in the ledger");
            finished.unrecorded = Some(errors::of_script(code, &doing, &path));
        }
        finished.described.push(match answer.get("found") {
            Some("went-back" | "unrecorded") => {
                format!("rolled back {release} to {}", entry.before.as_deref().unwrap_or("nothing"))
            }
            Some("not-reloaded") => {
                let why = answer.refusal("reload-refused", "reload-value");
                let refused = why.as_ref().map(|(code, _)| code.clone()).unwrap_or_default();
                let why = why.map(|(code, values)| errors::of_script(&code, &doing, &values));
                let before = entry.before.as_deref().unwrap_or("nothing");
                let (current, reverting) = (layout.current(), format!("{}.reverting", layout.guard(release)));
                let failure = errors::activation::reload_failed(
                    &doing,
                    [current.as_str(), before, &entry.armed, &reverting],
                    why,
                );
                format!("rolled back {release}: {}", self.without_reload(entry, (&refused, failure), io).await?)
            }
            _ => {
                finished.described.push(format!("{release} was no longer live"));
                return Ok(());
            }
        });
        finished.turned = true;
        Ok(())
    }

    /// The rollback of a run judges a reload that failed by the same function.
    async fn without_reload(&self, entry: &Entry, reload: (&str, Failure), io: &Io) -> Result<String, Failure> {
        let (shell, layout) = (&*self.ports.shell, &self.target.layout);
        let unready = match reload::fpm_of(&entry.reload) {
            Some(fpm) => ready::afterwards(shell, io, fpm).await,
            None => Ready::default(),
        };
        let back = Back {
            ports: self.ports,
            health: &self.target.health,
            old: entry.before.as_deref(),
            failed: &entry.sha,
            // Whether the interrupted run asked for its one-time file after the switch is not known.
            mark: None,
            reload: &watchdog::reload_commands(entry),
        };
        let described = back.without_reload(&unready, reload, io).await?;
        let script = Script::new("rolled-back", include_str!("rolled-back.sh"))
            .repeatable()
            .var("ENTRY", layout.guard(&entry.release).as_str());
        let doing = format!("closing the watchdog entry of {}", entry.release);
        remote::run(shell, io, lock::fence(layout, self.number, script), &doing).await?;
        Ok(described)
    }

    /// Removes leftovers, and the folder of the release that an interrupted run was making; never one that the ledger has as live.
    async fn sweep(&self, leftovers: Leftovers, finished: &mut Finished, io: &Io) -> Result<usize, Failure> {
        let layout = &self.target.layout;
        let mut paths = leftovers.remains;
        let made = abandoned(self.interrupted, self.own);
        if !made.is_empty() {
            let (history, made) = match ledger::read(&*self.ports.shell, io, layout).await {
                Ok(history) => (history, made),
                // Whether one of them was confirmed is not known: none is removed.
                Err(failure) if failure.kind == FailureKind::Refused => {
                    finished.unrecorded = Some(failure);
                    (History::default(), BTreeSet::new())
                }
                Err(failure) => return Err(failure),
            };
            for release in made {
                if history.lines.iter().any(|line| line.release == *release && line.outcome == "live") {
                    continue;
                }
                paths.push(layout.release(release).to_string());
                paths.push(layout.base().join(&format!(".current.{release}")).to_string());
                paths.push(layout.base().join(&format!(".current.back-from-{release}")).to_string());
            }
        }
        if paths.is_empty() {
            return Ok(0);
        }
        let script = Script::new("sweep", include_str!("sweep.sh"))
            .repeatable()
            .list("PATHS", paths)
            .var("CURRENT", layout.current().as_str())
            .timeout(Duration::from_secs(300));
        let doing = "removing leftovers of interrupted runs";
        let answer = remote::run(&*self.ports.shell, io, lock::fence(layout, self.number, script), doing).await?;
        for left in answer.all("left") {
            io.warning(tree::left_over(left));
        }
        Ok(answer.all("removed").inspect(|path| io.line(format!("removed {path}"))).count())
    }
}

/// The releases that interrupted runs, and the own run before its post step, were making and did not confirm. The own one can be among the
/// interrupted: then it counts what is known there.
fn abandoned<'a>(interrupted: &'a [lock::InterruptedRun], own: Option<&'a ReleaseName>) -> BTreeSet<&'a ReleaseName> {
    let confirmed = |release: &&ReleaseName| {
        interrupted
            .iter()
            .any(|interrupted| interrupted.confirmed.is_some() && interrupted.makes.as_ref() == Some(*release))
    };
    let made = interrupted.iter().filter_map(|interrupted| interrupted.makes.as_ref()).chain(own);
    made.filter(|release| !confirmed(release)).collect()
}

/// The paths that can go whatever the ledger says: what stands under names that runs give.
fn remains(layout: &Layout, answer: &Answer) -> Vec<String> {
    let reverted: BTreeSet<&str> = answer.all("reverted").filter(|name| made_for_a_release(name)).collect();
    let mut paths = Vec::new();
    let mut can_go = |place: RemotePath, names: Vec<&str>| {
        // A name that is no path of one line was not made by a run, and could be taken for two.
        let names = names.into_iter().filter_map(|name| path::relative(name).ok());
        paths.extend(names.map(|name| place.join(name).to_string()));
    };
    can_go(layout.uploads(), answer.all("upload").filter(|name| made_for_a_release(name)).collect());
    can_go(layout.backups(), answer.all("part").filter(|name| made_for_a_release(name)).collect());
    can_go(layout.releases(), answer.all("mark").filter_map(mark).collect());
    can_go(layout.watchdog(), answer.all("remains").filter(|name| made_for_a_release(name)).collect());
    can_go(layout.state(), answer.all("half-lock").filter_map(half_lock).collect());
    can_go(layout.watchdog(), reverted.into_iter().rev().skip(REVERTED_KEPT).collect());
    paths
}

/// A name behind that of a release: `<release>.tar.gz`, `<release>.part`.
fn made_for_a_release(name: &str) -> bool {
    name.split_once('.').is_some_and(|(release, kind)| release.parse::<ReleaseName>().is_ok() && !kind.contains('/'))
}

/// A one-time file in the folder of a release: `<folder>/public/gated-deploy-<32 hexadecimal digits>.php`.
fn mark(path: &str) -> Option<&str> {
    let (folder, file) = path.split_once("/public/")?;
    let digits = file.strip_prefix("gated-deploy-")?.strip_suffix(".php")?;
    let plain = !folder.is_empty() && !folder.starts_with('.') && !folder.contains(['/', '\n']);
    (is_number(digits) && plain).then_some(path)
}

/// A lock whose run was interrupted before or after its rename: `lock.<32 hexadecimal digits>`, and `.dead` or `.freed`.
fn half_lock(name: &str) -> Option<&str> {
    let digits = name.strip_prefix("lock.")?;
    let digits = digits.strip_suffix(".dead").or_else(|| digits.strip_suffix(".freed")).unwrap_or(digits);
    is_number(digits).then_some(name)
}

/// A number that is used once, as runs make them.
fn is_number(digits: &str) -> bool {
    digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The first step under the lock: no other run can confirm any more, so unconfirmed releases are rolled back, and leftovers are removed.
pub async fn finish(cx: &Deploy, io: &Io) -> StepResult {
    let (number, interrupted) = {
        let made = cx.state.borrow();
        (made.lock.clone().unwrap_or_default(), made.interrupted.clone())
    };
    let takeover =
        Takeover { ports: &cx.ports, target: &cx.inputs, number: &number, interrupted: &interrupted, own: None };
    let finished = takeover.finish(io).await?;
    let mut described = finished.described;
    if let Some(failure) = finished.unrecorded {
        described.iter().for_each(|done| io.line(done.clone()));
        // A release would not be recorded either.
        return Err(failure);
    }
    if described.is_empty() {
        return Ok(Done::skipped("no unconfirmed release"));
    }
    if finished.turned && cx.plan.turn.from.is_some() && !cx.inputs.health.repair {
        let health =
            probe::well(probe::Visitor::of(&cx.ports, &cx.inputs.health).on(&cx.ports, &cx.inputs), io).await?;
        described.push(health.text);
    }
    Ok(Done::warned(described.join("; ")))
}

/// For `fuzzing`: whatever a server answers, only paths in the folders of a run are removed.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(answer: &Answer) {
    let layout = Layout::new("/var/www/app".parse().expect("a path"), ".env");
    let places = [layout.uploads(), layout.backups(), layout.releases(), layout.watchdog(), layout.state()];
    for path in remains(&layout, answer) {
        let inside = |place: &RemotePath| {
            path.strip_prefix(&format!("{place}/")).is_some_and(|name| path::relative(name).is_ok())
        };
        assert!(places.iter().any(inside), "{path:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_confirmed_is_not_abandoned_whoever_asks() {
        let (one, two): (ReleaseName, ReleaseName) =
            ("20261101_080000-0123abcd".parse().expect("a name"), "20261101_090000-0123abcd".parse().expect("a name"));
        let run = |makes: &ReleaseName, confirmed: bool| lock::InterruptedRun {
            owner: "run".to_owned(),
            makes: Some(makes.clone()),
            begun: None,
            confirmed: confirmed.then(Default::default),
            migrated: None,
            stuck: false,
        };
        let runs = [run(&one, false), run(&two, true)];
        assert_eq!(abandoned(&runs, None), BTreeSet::from([&one]));
        // The post step knows its own release, whose run may have died right after it confirmed.
        assert_eq!(abandoned(&runs, Some(&two)), BTreeSet::from([&one]));
        assert_eq!(abandoned(&[], Some(&two)), BTreeSet::from([&two]));
    }

    #[test]
    fn only_files_by_the_names_that_a_run_gives_are_taken_for_its_own() {
        let ours = "20261101_080000-0123abcd/public/gated-deploy-0123456789abcdef0123456789abcdef.php";
        assert_eq!(mark(ours), Some(ours));
        for other in [
            "20261101_080000-0123abcd/public/gated-deploy-info.php",
            "20261101_080000-0123abcd/public/gated-deploy-0123456789ABCDEF0123456789abcdef.php",
            "../public/gated-deploy-0123456789abcdef0123456789abcdef.php",
            "a/b/public/gated-deploy-0123456789abcdef0123456789abcdef.php",
            "a/public/b/gated-deploy-0123456789abcdef0123456789abcdef.php",
        ] {
            assert_eq!(mark(other), None, "{other}");
        }
        for end in ["", ".dead", ".freed"] {
            let ours = format!("lock.0123456789abcdef0123456789abcdef{end}");
            assert_eq!(half_lock(&ours), Some(&*ours));
        }
        for other in [
            "lock",
            "lock.old",
            "lock.dead",
            "lock.0123456789abcdef0123456789abcdef/..",
            "lock.0123456789ABCDEF0123456789abcdef",
        ] {
            assert_eq!(half_lock(other), None, "{other}");
        }
    }
}
