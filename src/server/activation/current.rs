//! The link `current`: reading it, switching it, and its rollback.

use std::time::Duration;

use crate::{
    config::typed::HealthPolicy,
    context::{Deploy, Ports},
    domain::{
        CommitSha, Failure, FailureKind, Layout, RemoteCommand, RemotePath, format, record, schema::SchemaVerdict,
    },
    engine::{
        Done, Undone,
        step::{Io, StepResult},
    },
    errors,
    server::{
        health::{
            canary,
            identity::{self, Mark},
            probe, sampler,
        },
        lock, remote,
        services::{ready::Ready, reload, workers},
        watchdog,
    },
    transport::shell::{Answer, Script, Shell},
};

/// Reads `current` again, under the lock: no other run has released since the survey.
pub async fn unmoved(cx: &Deploy, io: &Io) -> StepResult {
    let now = read(&*cx.ports.shell, io, &cx.inputs.layout).await?;
    if now == cx.plan.turn.from {
        Ok(Done::passed(now.as_deref().unwrap_or("nothing is live yet")))
    } else {
        let doing = format!("reading {}", cx.inputs.layout.current());
        Err(errors::activation_checks::current_moved(&doing, cx.plan.turn.from.as_deref(), now.as_deref()))
    }
}

/// What the link says; `None` where there is none.
pub async fn read(shell: &dyn Shell, io: &Io, layout: &Layout) -> Result<Option<String>, Failure> {
    let current = layout.current();
    let script = Script::new("current", include_str!("current.sh")).repeatable().var("CURRENT", current.as_str());
    let answer = remote::run(shell, io, script, &format!("reading {current}")).await?;
    Ok(answer.get("current").map(str::to_owned))
}

/// Where the link of the new release points.
fn link_to(cx: &Deploy) -> String {
    watchdog::link_to(&cx.plan.turn.to)
}

/// Points `current` at the new release, if it is still what the plan saw (compare and swap, on the server).
pub async fn switch(cx: &Deploy, io: &Io) -> StepResult {
    let from = cx.plan.turn.from.as_deref().unwrap_or_default();
    let target = link_to(cx);
    let doing = format!("switching {} to {target}", cx.inputs.layout.current());
    sampler::switching(cx);
    let guard = format!("{}.armed", cx.inputs.layout.guard(&cx.plan.turn.to));
    let answer = swap(cx, io, (from, &target), ("switching", "switched"), &guard, &doing).await?;
    if let Some(now) = answer.get("moved") {
        return Err(errors::activation_checks::current_moved(&doing, cx.plan.turn.from.as_deref(), Some(now)));
    }
    let took_us = answer.get("took-ns").and_then(|text| text.parse::<u64>().ok()).map(|ns| ns / 1000);
    io.record(
        record::key::SWITCH,
        record::Switch { from: cx.plan.turn.from.clone(), to: cx.plan.turn.to.clone(), took_us },
    );
    Ok(Done::passed(match took_us {
        Some(us) => format!("{target}, in {}", format::duration(Duration::from_micros(us))),
        None => target,
    }))
}

/// Points `current` back to what was live before, if it points to our release; then reloads, and asks the site whether the old
/// release is healthy (F79, F83, F84: the same sequence, the same verifier).
pub async fn roll_back(cx: &Deploy, io: &Io) -> Result<Undone, Failure> {
    let old = cx.plan.turn.from.as_deref().unwrap_or_default();
    let doing =
        format!("pointing {} back to {}", cx.inputs.layout.current(), if old.is_empty() { "nothing" } else { old });
    let broken = cx.state.borrow().schema.clone().filter(SchemaVerdict::is_unhealthy);
    sampler::turning_back(cx);
    let answer = swap(cx, io, (&link_to(cx), old), ("going-back", "went-back"), "", &doing).await?;
    let moved = answer.get("moved");
    // This run does not change what something else activated.
    if let Some(now) = moved.filter(|now| *now != old || answer.get("by-another").is_some()) {
        let now = if now.is_empty() { "nothing" } else { now };
        return Ok(Undone::Nothing(format!("not changed: something else switched `current`; it points to {now}")));
    }
    let by_itself = moved.is_some() && watchdog::has_rolled_back(cx, io).await?;
    // What pointed `current` back, such as this very run before its connection broke, may not have reloaded.
    let by_mark = moved.is_some() && !by_itself && watchdog::has_switched(cx, io).await?;
    if moved.is_some() && !by_itself && !by_mark {
        return Ok(Undone::Nothing("this run has not switched `current`".to_owned()));
    }
    if let Some(verdict) = broken {
        io.warning(errors::schema::rolled_back(&canary::lost(cx, &verdict)));
    }
    let reloaded = reload::reload_now(cx, io).await;
    if reloaded.as_ref().is_err_and(|failure| failure.kind != FailureKind::Refused) {
        return reloaded.map(Undone::Done);
    }
    let how = match (by_itself, by_mark) {
        (true, _) => "the watchdog rolled back: ",
        (_, true) => "`current` pointed back already: ",
        _ => "",
    };
    // Without a link no code is served: there are no workers and no health to check.
    let health = match old {
        "" => Ok(None),
        _ => {
            workers::restart_again(cx, io).await;
            // The watchdog may have removed the one-time file as well.
            probe::verify_old(cx, !by_itself, io).await.map(Some)
        }
    };
    let (reload, health) = match (reloaded, health) {
        (Ok(_), Ok(None)) => return Ok(Undone::Done(NOTHING_LIVE.to_owned())),
        (Ok(reloaded), health) => {
            let health = health?.unwrap_or_default();
            return Ok(Undone::Done(format!("{how}{old} is live again, {reloaded}, {health}")));
        }
        (Err(reload), Err(health)) => {
            let seen = std::iter::once(health.to_string()).chain(health.details);
            return Err(reload.details(seen));
        }
        (Err(reload), Ok(health)) => (reload, health.map(|health| format!("; {health}")).unwrap_or_default()),
    };
    let (unready, mark) = {
        let made = cx.state.borrow();
        (made.unready.clone(), made.identity.clone().filter(|_| !by_itself))
    };
    let back = Back {
        ports: &cx.ports,
        health: &cx.inputs.health,
        old: cx.plan.turn.from.as_deref(),
        failed: &cx.plan.commit,
        mark: mark.as_ref(),
        reload: &cx.plan.server.services.reload,
    };
    let refused = reload.code.clone();
    back.without_reload(&unready, (&refused, reload), io)
        .await
        .map(|described| Undone::Done(format!("{how}{described}{health}")))
}

const NOTHING_LIVE: &str = "nothing is live, as before";

/// `current` points back, and the services were not reloaded.
pub struct Back<'a> {
    pub ports: &'a Ports,
    pub health: &'a HealthPolicy,
    /// What `current` points to again; `None` before the first release.
    pub old: Option<&'a str>,
    /// The commit of the release that was rolled back.
    pub failed: &'a CommitSha,
    pub mark: Option<&'a Mark>,
    /// The commands that reload the services, for manual action.
    pub reload: &'a [RemoteCommand],
}

impl Back<'_> {
    /// A reload that fails at the file of another site, or at nginx, which runs no code, is a warning where the old release answers as itself:
    /// what visitors get decides. So is any other where nothing was live before, and both services run. `refused` is the code of what refused. Gives what was seen. The site's health is checked elsewhere.
    ///
    /// # Errors
    /// The reload's own failure: a service may still run the code of the failed release, or no answer names the old release.
    pub async fn without_reload(
        self,
        unready: &Ready,
        (refused, reload): (&str, Failure),
        io: &Io,
    ) -> Result<String, Failure> {
        // Without a link no code is served, whatever a worker still knows; only a service that ended needs a person.
        let serves = self.old.is_some() || !unready.stopped.is_empty() || errors::reload::a_service_is_down(refused);
        if serves && unready.broken.is_empty() && !errors::reload::failed_at_nginx(refused) {
            return Err(reload);
        }
        let seen = match self.old {
            // Without a link no code is served.
            None => NOTHING_LIVE.to_owned(),
            Some(old) => match identity::answers_as_old(self.ports, self.health, (old, self.failed), self.mark).await {
                Some(by) => format!("{old} is live again and answers as itself (by its {by})"),
                None => {
                    return Err(reload.details([
                        "no answer of the site names the old release: PHP may still run the code of the failed one",
                    ]));
                }
            },
        };
        io.warning(errors::activation::not_reloaded(&reload, &seen, reload::reload_later(self.reload)));
        Ok(format!("{seen}; not reloaded: {}", reload.cause))
    }
}

/// The commands for manual action when the rollback failed.
pub fn back_by_hand(cx: &Deploy) -> Vec<RemoteCommand> {
    let mut commands = pointing_back(&cx.inputs.layout.current(), cx.plan.turn.from.as_deref());
    commands.extend(reload::by_hand(&cx.plan.server.services.reload, &cx.state.borrow().unready.down()));
    commands.push(lock::free_by_hand(cx));
    commands
}

/// The commands that point `current` back to what was live.
pub fn pointing_back(current: &RemotePath, old: Option<&str>) -> Vec<RemoteCommand> {
    match old {
        Some(old) => {
            let temporary = format!("{current}.back");
            vec![
                RemoteCommand::new(["ln", "-sfn", old, &temporary]),
                RemoteCommand::new(["mv", "-Tf", &temporary, current.as_str()]),
            ]
        }
        None => vec![RemoteCommand::new(["rm", "-f", current.as_str()])],
    }
}

/// What the plan prints for the switch.
pub fn switch_preview(cx: &Deploy) -> Vec<String> {
    let current = cx.inputs.layout.current();
    let temporary = new_link(cx);
    vec![
        RemoteCommand::new(["ln", "-s", &link_to(cx), &temporary]).to_string(),
        RemoteCommand::new(["mv", "-Tf", &temporary, current.as_str()]).to_string(),
    ]
}

/// The new link's name until it is renamed: in the same folder, because only then is a rename atomic.
fn new_link(cx: &Deploy) -> String {
    cx.inputs.layout.base().join(&format!(".current.{}", cx.plan.turn.to)).to_string()
}

async fn swap(
    cx: &Deploy,
    io: &Io,
    (expected, target): (&str, &str),
    (begins, ends): (&str, &str),
    guard: &str,
    doing: &str,
) -> Result<Answer, Failure> {
    let layout = &cx.inputs.layout;
    let entry = |event: &str| {
        let at = cx.ports.clock.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        serde_json::json!({ "version": 1, "at": at, "event": event, "from": expected, "to": target }).to_string()
    };
    let script = Script::new("switch", include_str!("switch.sh"))
        .repeatable()
        .var("PHP", &cx.inputs.server.php)
        .var("CURRENT", layout.current().as_str())
        .var("EXPECTED", expected)
        .var("TARGET", target)
        .var("NEW", new_link(cx))
        .var("JOURNAL", layout.journal(&cx.plan.turn.to).as_str())
        .var("BEGINS", entry(begins))
        .var("ENDS", entry(ends))
        .var("GUARD", guard);
    let back = guard.is_empty();
    let mine = if back { layout.guard(&cx.plan.turn.to).to_string() } else { String::new() };
    let script = script
        .var("MINE", mine)
        .var("MINE_NONCE", cx.state.borrow().guard.as_deref().unwrap_or_default())
        .var("MINE_LOCK", layout.lock().as_str())
        .var("MINE_LOCK_NONCE", lock::nonce(cx));
    // Only the activation needs the lock: the rollback checks that the live release is this run's.
    let script = if back { lock::unfenced(script) } else { lock::fenced(cx, script) };
    remote::run(&*cx.ports.shell, io, script, doing).await
}
