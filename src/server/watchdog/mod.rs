//! The watchdog: a small program on the server that rolls the release back if no run confirms it in time (F86).
//!
//! It is armed right before the switch, as an entry (a folder) in the server's state: what is live, what the release is, the deadline,
//! and a fencing token that only this run knows. Confirming, rolling back and disarming all begin by renaming that folder, so that only one
//! of them can win. If the server went down, the next run completes the rollback before anything else.

pub mod entry;

pub use self::entry::{Entry, Pending, link_to, once_back, tree};

use crate::{
    domain::ledger::{Line, Reached, ReleaseStatus},
    server::ledger::PREV,
};

use std::time::Duration;

use super::{lock, remote, services::workers};
use crate::{
    context::{Deploy, Survey},
    domain::{
        Failure, Layout, Outcome, RemoteCommand, RemotePath,
        ledger::{self, Attempt},
        row,
    },
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    errors,
    server::services::reload,
    transport::shell::{Answer, Script, ShellError},
};

/// How long a rollback may take once it has begun: a reload waits for the running requests.
pub(crate) const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(480);

/// How long a run waits for the watchdog that has begun to roll back.
const PATIENCE: Duration = Duration::from_secs(120);

/// The commands that reload the services, for manual action: from the server's file, so they are shown and never run.
pub(crate) fn reload_commands(entry: &Entry) -> Vec<RemoteCommand> {
    entry.reload.iter().map(|line| RemoteCommand::new(line.split_whitespace())).collect()
}

fn guard(cx: &Deploy) -> RemotePath {
    cx.inputs.layout.guard(&cx.plan.turn.to)
}

/// Right before the switch: from here on the watchdog rolls back if this run does not confirm.
pub async fn arm(cx: &Deploy, io: &Io) -> StepResult {
    let layout = &cx.inputs.layout;
    let doing = format!("arming the watchdog in {}", layout.watchdog());
    let within = cx.inputs.server.confirm_within.as_secs();
    let release = &cx.plan.turn.to;
    let (migrations, measured, schema) = {
        let made = cx.state.borrow();
        (made.migrations.clone(), made.measured.clone(), made.schema.clone())
    };
    let entry = Entry {
        version: 1,
        attempt: if cx.source.is_some() { Attempt::Release } else { Attempt::Rollback },
        environment: cx.inputs.environment.to_string(),
        release: release.clone(),
        sha: cx.plan.commit.clone(),
        bundle_sha256: cx.state.borrow().bundle.as_ref().map(|bundle| bundle.sha256.clone()),
        armed: link_to(release),
        before: cx.plan.turn.from.clone(),
        within,
        run: cx.inputs.run.url.clone(),
        migrations,
        measured,
        schema,
        reload: cx.plan.server.services.reload.iter().map(ToString::to_string).collect(),
        deadline: 0,
    };
    let text = serde_json::to_string(&entry).map_err(|error| Failure::bug(&doing, error.to_string()))?;
    let Some(head) = text.strip_suffix("0}") else {
        return Err(Failure::bug(doing, "the deadline is not the last field of the entry"));
    };
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    // What the three programs answer goes to files beside them; the number only marks it.
    let stored = |script: Script| format!("#!/bin/sh\n{}", script.text(&nonce));
    cx.state.borrow_mut().guard = Some(nonce.clone());
    // The whole release reaches the disk before; a busy disk takes its time for that.
    let script = lock::fenced(cx, Script::new("arm", include_str!("arm.sh")).repeatable())
        .timeout(Duration::from_secs(300))
        .var("PLACE", layout.watchdog().as_str())
        .var("ENTRY", layout.guard(release).as_str())
        .var("NONCE", &nonce)
        .var("WITHIN", within.to_string())
        .var("HEAD", head)
        .var("TAIL", "}")
        .var("BEFORE", entry.before.as_deref().unwrap_or_default())
        .var("RELEASE", layout.release(release).as_str())
        .var("PROGRAM", stored(watch(layout, &entry, Some(&lock::nonce(cx)))?.var("PHP", &cx.inputs.server.php)))
        .var("RELOAD", stored(reload::reload_script(&cx.plan.server.services)?))
        .var("WORKERS", stored(workers::script(cx)));
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    let pid: u32 = remote::number(&answer, "pid", &doing)?;
    let deadline: i64 = remote::number(&answer, "deadline", &doing)?;
    let at = chrono::DateTime::from_timestamp(deadline, 0).unwrap_or_default();
    Ok(Done::passed(format!(
        "process {pid} rolls back at {} unless the release is confirmed; after a reboot the next run does",
        at.format("%H:%M:%S UTC")
    )))
}

/// What the plan prints.
pub fn preview(cx: &Deploy) -> Vec<String> {
    vec![format!(
        "setsid sh {}.armed/program    (rolls back after {} s unless confirmed)",
        guard(cx),
        cx.inputs.server.confirm_within.as_secs()
    )]
}

/// The program that waits and rolls back, for the run that holds the lock with this fencing token; or, for the recovery, one that rolls back at
/// once.
pub(crate) fn watch(layout: &Layout, entry: &Entry, guards: Option<&str>) -> Result<Script, Failure> {
    let before = entry.before.as_deref();
    let reason = format!("the release was not confirmed within {} s", entry.within);
    let line = |cause: &str| left_open(entry, cause);
    Ok(Script::new("watch", include_str!("watch.sh"))
        .var("ENTRY", layout.guard(&entry.release).as_str())
        .var("NOW", if guards.is_none() { "yes" } else { "" })
        .var("CURRENT", layout.current().as_str())
        .var("LINK", &entry.armed)
        .var("BEFORE", before.unwrap_or_default())
        .var("TREE", before.map(|link| tree(layout, link)).unwrap_or_default())
        .var("NEW", layout.base().join(&format!(".current.back-from-{}", entry.release)).as_str())
        .var("JOURNAL", layout.journal(&entry.release).as_str())
        .var("LEDGER", layout.ledger().as_str())
        .var("WELL", line(&reason)?)
        .var("ILL", line(&format!("{reason}; the reload after the rollback failed"))?)
        .var("LOCK", guards.map_or(String::new(), |_| layout.lock().to_string()))
        .var("LOCK_NONCE", guards.unwrap_or_default())
        .timeout(ROLLBACK_TIMEOUT))
}

/// Right before the commit, over a fresh connection: a release that cannot be reached anew is not confirmed. From here on the server
/// decides. An answer that did not come is asked for until it does; the script gives the same one however often it runs.
pub async fn confirm(cx: &Deploy, io: &Io) -> StepResult {
    let doing = format!("confirming {} on the server", cx.plan.turn.to);
    let fresh = cx.ports.shell.another();
    fresh.connect().await.map_err(|error| error.failure(&doing))?;
    let proof =
        serde_json::to_string(&ledger::Proof::of(cx)).map_err(|error| Failure::bug(&doing, error.to_string()))?;
    let script = lock::fenced(cx, take_away(cx, true)).var("PROOF", proof);
    let began = cx.ports.clock.elapsed();
    let mut shells = [&fresh, &cx.ports.shell].into_iter().cycle();
    let answer = loop {
        let Some(shell) = shells.next() else { continue };
        match shell.run(script.clone(), &mut |line| io.line(line)).await {
            Ok(answer) => break answer,
            Err(error @ ShellError::Refused { .. }) => return Err(error.failure(&doing)),
            Err(error) if cx.ports.clock.elapsed().saturating_sub(began) >= PATIENCE => {
                return Err(errors::watchdog::unanswered(&doing, &error));
            }
            Err(error) => {
                io.line(format!("the server did not answer whether the release is confirmed ({error}); trying again"));
                cx.ports.clock.sleep(Duration::from_secs(1)).await;
            }
        }
    };
    match answer.get("state") {
        Some("off") if answer.get("watcher").is_some() => Ok(Done::warned(
            "over a fresh connection. The watchdog's process was gone: the server may end the processes of a closed session. \
             Check KillUserProcesses in /etc/systemd/logind.conf",
        )),
        Some("off") => Ok(Done::passed("over a fresh connection")),
        Some("reverting" | "reverted") => Err(errors::watchdog::fired(&doing, cx.inputs.server.confirm_within)),
        _ => Err(errors::watchdog::missing(&doing, &guard(cx))),
    }
}

/// What the watchdog of a stuck run does next.
async fn left(cx: &Deploy, io: &Io) -> Result<String, Failure> {
    let answer = state(cx, io).await?;
    Ok(match answer.get("state") {
        Some("armed") => match answer.get("deadline").and_then(|at| at.trim().parse().ok()).and_then(utc) {
            Some(at) => format!("left armed: the watchdog rolls back at {at}"),
            None => "left armed: the watchdog rolls back at its deadline".to_owned(),
        },
        Some("reverting") => format!("the watchdog has begun to roll back. Its log is {}.reverting/log", guard(cx)),
        Some("reverted") => "the watchdog rolled back".to_owned(),
        _ => "the watchdog is not armed: its entry is gone".to_owned(),
    })
}

/// The time of a deadline.
fn utc(deadline: i64) -> Option<String> {
    Some(chrono::DateTime::from_timestamp(deadline, 0)?.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// The state of the watchdog that this run armed.
async fn state(cx: &Deploy, io: &Io) -> Result<Answer, Failure> {
    let script = Script::new("guard", include_str!("guard.sh"))
        .repeatable()
        .var("ENTRY", guard(cx).as_str())
        .var("NONCE", cx.state.borrow().guard.as_deref().unwrap_or_default());
    remote::run(&*cx.ports.shell, io, script, "reading the watchdog's state on the server").await
}

/// However the run ends: disarms the watchdog. That of a stuck run stays armed.
pub async fn disarm(cx: &Deploy, io: &Io, ending: &Ending) -> Result<String, Failure> {
    let nonce = cx.state.borrow().guard.is_some();
    match ending.outcome {
        Outcome::Live { .. } => return Ok("confirmed".to_owned()),
        _ if !nonce => return Ok("not armed".to_owned()),
        Outcome::Stuck { .. } => return left(cx, io).await,
        _ => {}
    }
    let doing = "disarming the watchdog on the server";
    let answer = remote::run(&*cx.ports.shell, io, lock::unfenced(take_away(cx, false)), doing).await?;
    Ok(match answer.get("state") {
        Some("off") => "disarmed".to_owned(),
        Some("reverting" | "reverted") => "the watchdog rolled back".to_owned(),
        _ => "already disarmed".to_owned(),
    })
}

fn take_away(cx: &Deploy, confirms: bool) -> Script {
    let event = if confirms { "confirmed" } else { "withdrawn" };
    let nonce = cx.state.borrow().guard.clone().unwrap_or_default();
    let at = cx.ports.clock.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let link = link_to(&cx.plan.turn.to);
    let line = serde_json::json!({ "version": 1, "at": at, "event": event, "from": link, "to": link, "guard": nonce })
        .to_string();
    Script::new("confirm", include_str!("confirm.sh"))
        .repeatable()
        .var("ENTRY", guard(cx).as_str())
        .var("NONCE", nonce)
        .var("CURRENT", cx.inputs.layout.current().as_str())
        .var("LINK", if confirms { link.as_str() } else { "" })
        .var("JOURNAL", cx.inputs.layout.journal(&cx.plan.turn.to).as_str())
        .var("NOTE", line)
}

/// Whether the watchdog has rolled back this run's release; waits where it has begun to.
pub async fn has_rolled_back(cx: &Deploy, io: &Io) -> Result<bool, Failure> {
    let began = cx.ports.clock.elapsed();
    loop {
        match state(cx, io).await?.get("state") {
            Some("reverted") => return Ok(true),
            Some("reverting") if cx.ports.clock.elapsed().saturating_sub(began) < PATIENCE => {
                cx.ports.clock.sleep(Duration::from_secs(1)).await;
            }
            // It switched back, but did not complete the rest: the rollback goes on from there.
            Some("reverting") => return Ok(true),
            _ => return Ok(false),
        }
    }
}

/// In the survey: warns of unconfirmed releases. Nothing is done about them before the lock.
pub fn tell(cx: &Survey, io: &Io, pending: &[Pending]) {
    for Pending { release, entry } in pending {
        let layout = &cx.inputs.layout;
        io.warning(match entry {
            Ok(entry) => {
                let run = entry.run.as_deref().unwrap_or("a run outside of GitHub Actions");
                errors::watchdog::pending(layout, release, run)
            }
            Err(why) => errors::watchdog::pending_unreadable(layout, release, why),
        });
    }
}

/// Whether this run had switched to its release, by its mark in the watchdog's entry.
pub async fn has_switched(cx: &Deploy, io: &Io) -> Result<bool, Failure> {
    Ok(state(cx, io).await?.get("switched").is_some())
}

/// The line that the watchdog writes when it rolls back an unconfirmed release. The server puts in the time and the digest.
pub fn left_open(entry: &Entry, cause: &str) -> Result<String, Failure> {
    let line = Line {
        v: ledger::VERSION,
        prev: PREV.to_owned(),
        at: "@AT@".to_owned(),
        environment: entry.environment.clone(),
        attempt: entry.attempt,
        release: entry.release.clone(),
        from: entry.before.clone(),
        sha: entry.sha.clone(),
        bundle_sha256: entry.bundle_sha256.clone(),
        build: None,
        asked_for: None,
        tree_sha256: None,
        reached: Some(Reached::Activated),
        outcome: "reverted-by-watchdog".to_owned(),
        // An unconfirmed rollback says nothing of a release that had been confirmed before.
        standing: (entry.attempt == Attempt::Release).then_some(ReleaseStatus::Reverted),
        migrations: entry.migrations.clone(),
        measured: entry.measured.clone(),
        schema: entry.schema.clone(),
        failed_at: Some(row::CONFIRM.as_str().to_owned()),
        cause: Some(cause.to_owned()),
        run: entry.run.clone(),
    };
    serde_json::to_string(&line).map_err(|error| Failure::bug("writing the watchdog's line", error.to_string()))
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(record: &str) {
    let Some(Pending { release, entry: Ok(entry) }) = Pending::read(record) else { return };
    assert_eq!((&entry.release, entry.armed.as_str()), (&release, link_to(&release).as_str()));
    let pending = [Pending { release, entry: Ok(entry.clone()) }];
    assert_eq!(once_back(&pending, Some(&entry.armed)), entry.before);
    let layout = Layout::new("/var/www/app".parse().expect("a path"), ".env");
    assert!(watch(&layout, &entry, None).is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(release: &str, before: Option<&str>) -> serde_json::Value {
        serde_json::json!({
            "version": 1, "environment": "staging", "release": release, "sha": "0123abcd".repeat(5), "bundle_sha256": null,
            "armed": format!("releases/{release}"), "before": before, "within": 300, "run": null, "reload": [], "deadline": 1_800_000_000,
        })
    }

    fn answer(records: &[(&str, serde_json::Value)]) -> Answer {
        let record = |(folder, entry): &(&str, serde_json::Value)| ("guard".to_owned(), format!("{folder}\n{entry}"));
        Answer::new(records.iter().map(record).collect())
    }

    #[test]
    fn guards_are_taken_back_from_the_newest_on() {
        let (one, two) = ("20261101_080000-0123abcd", "20261101_090000-0123abcd");
        let pending = Pending::all(&answer(&[
            (&format!("{one}.reverting"), entry(one, Some("releases/first"))),
            (&format!("{two}.armed"), entry(two, Some(&format!("releases/{one}")))),
            ("lost+found.armed", serde_json::json!(null)),
        ]));
        assert_eq!(pending.iter().map(|guard| guard.release.as_str()).collect::<Vec<_>>(), [two, one]);
        assert_eq!(once_back(&pending, Some(&format!("releases/{two}"))).as_deref(), Some("releases/first"));
        assert_eq!(once_back(&pending, Some("releases/other")).as_deref(), Some("releases/other"));
        assert_eq!(once_back(&pending, None), None);
    }

    #[test]
    fn the_line_that_the_server_writes_says_what_was_migrated() {
        let mut armed = entry("20261101_080000-0123abcd", None);
        let read = |entry: &serde_json::Value| serde_json::from_value::<Entry>(entry.clone()).expect("an entry");
        let line = |entry: &Entry| {
            let line = left_open(entry, "not confirmed").expect("a line");
            serde_json::from_str::<crate::domain::ledger::Line>(&line).expect("a line")
        };
        assert_eq!(line(&read(&armed)).migrations, None, "an earlier version did not tell");
        armed["migrations"] = serde_json::json!(["a"]);
        armed["measured"] = serde_json::json!([{ "name": "a", "statements": 2, "milliseconds": 1 }]);
        let line = line(&read(&armed));
        assert_eq!((line.migrations, line.measured[0].statements), (Some(vec!["a".to_owned()]), 2));
    }

    #[test]
    fn a_guard_that_names_another_release_is_not_believed() {
        let (one, two) = ("20261101_080000-0123abcd", "20261101_090000-0123abcd");
        let mut itself = entry(one, Some(&format!("releases/{one}")));
        for (folder, entry) in [
            (format!("{one}.armed"), entry(two, None)),
            (format!("{one}.armed"), itself.take()),
            (format!("{one}.armed"), serde_json::json!({})),
        ] {
            let pending = Pending::all(&answer(&[(&folder, entry)]));
            assert!(matches!(pending.as_slice(), [Pending { entry: Err(_), .. }]), "{pending:?}");
        }
    }
}
