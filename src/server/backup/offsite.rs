//! The off-site backup, on another disk or another machine. The backup on the server is required and verified; the off-site backup is
//! policy, with a status of its own. One that cannot be verified is reported, and never counts (F61).

use std::{collections::BTreeSet, time::Duration};

use crate::{
    config::typed::{BackupCopy, Target},
    context::Deploy,
    domain::{
        Failure, ReleaseName, RemoteCommand,
        record::{self, CopyStatus, Elsewhere},
    },
    engine::{
        Done, Undone,
        step::{Io, StepResult},
    },
    errors,
    server::{backup::old, lock, remote},
    transport::shell::{Answer, Script, Shell},
};

/// Reading a folder and removing one must not take long, even on a slow disk.
const LOOK: Duration = Duration::from_secs(60);
const REMOVE: Duration = Duration::from_secs(300);

/// Copies the backup that this run made, and compares what it reads back from there.
pub async fn make(cx: &Deploy, io: &Io) -> StepResult {
    let Some(policy) = &cx.inputs.server.backup_copy else {
        describe(cx, io, Elsewhere { status: CopyStatus::NotAskedFor, path: None, problem: None });
        return Ok(Done::skipped("off-site backup is off (`backup-copy-dir` is not set)"));
    };
    let layout = &cx.inputs.layout;
    let dir = layout.backup(&cx.plan.turn.to);
    let doing = format!("copying the backup to {}", policy.dir);
    let script = Script::new("offsite", include_str!("offsite.sh"))
        .detached(&layout.jobs())
        .var("BASE", layout.base().as_str())
        .var("DIR", dir.as_str())
        .var("TO", policy.dir.as_str())
        .var("RELEASE", cx.plan.turn.to.as_str())
        .var("ENVIRONMENT", cx.inputs.environment.as_str())
        .timeout(policy.within);
    match remote::run(&*cx.ports.shell, io, lock::under(cx, script), &doing).await {
        Ok(answer) if answer.get("nothing").is_some() => {
            describe(cx, io, Elsewhere { status: CopyStatus::Nothing, path: None, problem: None });
            Ok(Done::skipped("nothing was backed up"))
        }
        Ok(answer) => {
            let path = remote::required(&answer, "path", &doing)?.to_owned();
            let on = answer.get("type").map(|kind| format!(", on {kind}")).unwrap_or_default();
            let text = format!("read back from {path}{on} and identical");
            describe(cx, io, Elsewhere { status: CopyStatus::Verified, path: Some(path), problem: None });
            Ok(Done::passed(text))
        }
        Err(failure) => {
            let problem = Some(failure.cause.clone());
            describe(cx, io, Elsewhere { status: CopyStatus::NotThere, path: None, problem });
            if policy.required {
                return Err(failure);
            }
            io.warning(errors::backup::offsite_failed(&failure));
            // Removes the incomplete off-site backup, if the disk answers.
            unmake(cx, io).await?;
            Ok(Done::warned(format!("no off-site backup: {}", failure.cause)))
        }
    }
}

/// The backup was recorded before; it is recorded again with the status of the off-site backup.
fn describe(cx: &Deploy, io: &Io, elsewhere: Elsewhere) {
    let mut made = cx.state.borrow_mut();
    if let Some(backup) = &mut made.backup {
        backup.elsewhere = Some(elsewhere);
        io.record(record::key::BACKUP, &*backup);
    }
}

/// Removes an unfinished off-site backup. A disk that does not answer must not prevent a rollback: it is reported.
pub async fn unmake(cx: &Deploy, io: &Io) -> Result<Undone, Failure> {
    let Some(policy) = &cx.inputs.server.backup_copy else {
        return Ok(Undone::Nothing("off-site backup is off".to_owned()));
    };
    let copy = policy.dir.join(cx.plan.turn.to.as_str());
    let script = Script::new("offsite-undo", include_str!("offsite-undo.sh"))
        .repeatable()
        .var("TO", policy.dir.as_str())
        .var("RELEASE", cx.plan.turn.to.as_str())
        .timeout(LOOK);
    match remote::run(&*cx.ports.shell, io, script, &format!("removing the unfinished off-site backup {copy}.part"))
        .await
    {
        Ok(answer) => Ok(match answer.get("found") {
            Some("part") => Undone::Done("removed the unfinished off-site backup".to_owned()),
            Some("whole") => Undone::Stays(format!("the verified off-site backup is kept in {copy}")),
            _ => Undone::Nothing("there is no unfinished off-site backup".to_owned()),
        }),
        Err(failure) => {
            io.warning(errors::backup::offsite_leftover(&failure, &policy.dir, &format!("{copy}.part")));
            Ok(Undone::Stays(format!("{} did not answer: {copy}.part may be left there", policy.dir)))
        }
    }
}

/// The commands for manual action if it could not be removed.
pub fn unmake_by_hand(cx: &Deploy) -> Vec<RemoteCommand> {
    let copy = cx.inputs.server.backup_copy.as_ref().map(|policy| policy.dir.join(cx.plan.turn.to.as_str()));
    let part = copy.map(|copy| RemoteCommand::new(["rm", "-rf", &format!("{copy}.part")]));
    part.into_iter().chain([lock::free_by_hand(cx)]).collect()
}

/// What the plan prints.
pub fn preview(cx: &Deploy) -> Vec<String> {
    let Some(policy) = &cx.inputs.server.backup_copy else {
        return vec!["off-site backup is off (`backup-copy-dir` is not set)".to_owned()];
    };
    let failing = if policy.required { "a failure stops the release" } else { "a failure is a warning" };
    let copy = policy.dir.join(cx.plan.turn.to.as_str());
    vec![format!("{copy}, read back and compared, within {} s; {failing}", policy.within.as_secs())]
}

/// The off-site backups, for a pre-flight.
pub async fn look(shell: &dyn Shell, io: &Io, target: &Target, policy: &BackupCopy) -> Result<Answer, Failure> {
    let doing = format!("reading {}", policy.dir);
    let script = Script::new("offsite-list", include_str!("offsite-list.sh"))
        .repeatable()
        .var("BASE", target.layout.base().as_str())
        .var("TO", policy.dir.as_str())
        .var("ENVIRONMENT", target.environment.as_str())
        .timeout(LOOK);
    remote::run(shell, io, script, &doing).await
}

/// The off-site backups that count: complete, and this app's own.
pub fn there(answer: &Answer) -> BTreeSet<ReleaseName> {
    answer.all("copy").filter_map(|name| name.parse().ok()).collect()
}

/// Off-site backups that an earlier run did not complete. Under the deploy lock no other run works on them.
fn parts(answer: &Answer) -> Vec<&str> {
    let ours = |name: &&str| name.strip_suffix(".part").is_some_and(|name| name.parse::<ReleaseName>().is_ok());
    answer.all("part").filter(ours).collect()
}

/// Removes old off-site backups, if this run's own was verified. Gives what it did, for the log.
pub async fn prune(cx: &Deploy, io: &Io) -> Option<String> {
    let policy = cx.inputs.server.backup_copy.as_ref()?;
    let verified = cx.state.borrow().backup.as_ref().and_then(|backup| Some(backup.elsewhere.as_ref()?.status))
        == Some(CopyStatus::Verified);
    if !verified {
        return Some("off-site backups are kept, because this run added none".to_owned());
    }
    match remove_old(cx, io, policy).await {
        Ok(removed) => Some(format!("{removed} old off-site backups removed")),
        Err(failure) => {
            io.warning(failure);
            Some("off-site backups are kept".to_owned())
        }
    }
}

async fn remove_old(cx: &Deploy, io: &Io, policy: &BackupCopy) -> Result<usize, Failure> {
    let answer = look(&*cx.ports.shell, io, &cx.inputs, policy).await?;
    let old = old::old_backups(&there(&answer), &BTreeSet::new(), cx.inputs.server.keep_backups);
    let parts = parts(&answer);
    if old.is_empty() && parts.is_empty() {
        return Ok(0);
    }
    let script = lock::fenced(cx, Script::new("offsite-prune", include_str!("offsite-prune.sh")))
        .var("TO", policy.dir.as_str())
        .list("OLD", old.iter().map(ReleaseName::as_str).chain(parts.iter().copied()))
        .timeout(REMOVE);
    let doing = format!("removing old off-site backups from {}", policy.dir);
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    let removed = |name: &&str| answer.all("removed").any(|removed| removed == *name);
    for part in parts.into_iter().filter(removed) {
        io.line(format!("removed {}/{part}, an unfinished off-site backup of an interrupted run", policy.dir));
    }
    Ok(old.iter().filter(|name| removed(&name.as_str())).count())
}
