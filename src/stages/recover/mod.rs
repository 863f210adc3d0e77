//! Bringing to its end what a run left that was killed, cancelled or lost its server: by hand, or as the post step of the run itself.
//!
//! It only rolls back an unconfirmed release, so it needs no phrase. Everything about that release is recorded in the
//! entry of the watchdog that the interrupted run armed on the server.

pub mod table;

pub use self::table::table;

use std::{cell::RefCell, rc::Rc};

use chrono::{DateTime, Utc};

use crate::{
    config::typed::{self, Interrupted},
    context::{self, Ports},
    domain::{
        Approval, Failure, ReleaseName, RemoteCommand, StepId, layout::named, ledger::ReleaseStatus, record, row,
    },
    engine::{
        Decided, Decision, Done, Events, Undone,
        event::Body,
        step::{Ending, Io, StepResult},
    },
    errors,
    server::{
        activation::current,
        health::{naming, probe},
        inspect::{self, About, problem},
        ledger,
        lock::{self, Claim, Holder, InterruptedRun, Keeper},
        recovery::{Finished, Takeover},
        services::{ready, reload},
        survey,
        watchdog::{self, Entry, Pending},
    },
};

/// Before the approval: the holder of the lock, and the leftovers.
pub struct Survey {
    pub server: context::Survey,
    /// What the main step left, for post.
    pub own: Option<Interrupted>,
    /// What the plan tells.
    pub seen: RefCell<Vec<String>>,
}

/// After the approval.
pub struct Recover {
    pub inputs: Rc<typed::Target>,
    pub ports: Ports,
    pub own: Option<Interrupted>,
    pub decided_at: DateTime<Utc>,
    seen: Vec<String>,
    state: RefCell<RecoverState>,
}

#[derive(Default)]
struct RecoverState {
    /// The number of this run's lock.
    lock: Option<String>,
    keeper: Option<Keeper>,
    interrupted: Vec<InterruptedRun>,
    /// The release to roll back, for the commands by hand.
    unfinished: Option<Entry>,
    /// Services that did not run when the rollback failed.
    stopped: Vec<String>,
}

impl Recover {
    async fn with_takeover<T>(&self, work: impl AsyncFnOnce(Takeover<'_>) -> T) -> T {
        let (number, interrupted) = {
            let made = self.state.borrow();
            (made.lock.clone().unwrap_or_default(), made.interrupted.clone())
        };
        let own = self.own.as_ref().and_then(|own| own.release.as_ref());
        work(Takeover { ports: &self.ports, target: &self.inputs, number: &number, interrupted: &interrupted, own })
            .await
    }
}

/// Connects and logs in.
pub async fn reach(cx: &Survey, io: &Io) -> StepResult {
    survey::reach_site(&cx.server, io).await
}

/// Who holds the lock, whether the place is the right one, and what there is to do. Reads only.
pub async fn look(cx: &Survey, io: &Io) -> StepResult {
    let survey = &cx.server;
    let (inputs, ports) = (&*survey.inputs, &survey.ports);
    let layout = &inputs.layout;
    let own = cx.own.as_ref().and_then(|own| own.lock.as_deref());
    let wait = inputs.server.lock_wait;
    let doing = format!("reading the deploy lock {}", layout.lock());
    let holder = lock::wait_until_free(&*ports.shell, &*ports.clock, layout, (wait, own), &|| true, io).await?;
    let mut described = Vec::new();
    match holder {
        None => {}
        Some(Holder { owner, kept: true, .. }) => {
            return Err(errors::recovery::stuck_lock(&doing, &owner, layout.lock().as_str()));
        }
        Some(Holder { owner, gone, number, .. }) if gone || (own.is_some() && number.as_deref() == own) => {
            described.push(format!("take over the deploy lock of {owner}"));
        }
        Some(Holder { owner, .. }) => {
            return Err(lock::held(layout, &doing, &format!("it is still running: {owner}"), wait));
        }
    }
    let doing = format!("surveying {} on the server", layout.base());
    let looked = survey::look_around(survey, io, &doing).await?;
    let problems = wrong(inputs, &looked.answer);
    if !problems.is_empty() {
        return Err(inspect::refusal(&doing, problems));
    }
    let takeover = Takeover { ports, target: inputs, number: "", interrupted: &[], own: None };
    let leftovers = takeover.look(io).await?;
    for Pending { release, entry } in &leftovers.pending {
        described.push(match entry {
            Ok(entry) if looked.current() == Some(&entry.armed) => {
                format!(
                    "roll back {release} to {}, reload, and check the site's health",
                    entry.before.as_deref().unwrap_or("nothing")
                )
            }
            Ok(_) => format!("close the watchdog of {release}, which is not live"),
            Err(why) => format!("stop at the watchdog of {release}, which cannot be read: {why}"),
        });
    }
    described.extend(leftovers.left_by.iter().map(|owner| format!("complete the recovery of {owner}")));
    described.extend(leftovers.remains.iter().map(|path| format!("remove {path}")));
    watchdog::tell(survey, io, &leftovers.pending);
    let live = looked.current().map_or("nothing", survey::last_part);
    let found = match described.len() {
        0 => "no leftovers".to_owned(),
        1 => "1 action needed".to_owned(),
        n => format!("{n} actions needed"),
    };
    let text = format!("{live} is live; {found}");
    *cx.seen.borrow_mut() = described;
    Ok(Done::passed(text))
}

/// What makes the place another one than we think. Everything else may be as broken as it is.
fn wrong(inputs: &typed::Target, answer: &crate::transport::shell::Answer) -> Vec<inspect::Problem> {
    let layout = &inputs.layout;
    if answer.get("base") == Some("missing") {
        return vec![problem(About::Place, errors::preflight::base_missing(&layout.base(), "correct base-dir"))];
    }
    let mut found: Vec<_> = survey::wrong_place(inputs, answer).into_iter().collect();
    if answer.get("state-unreadable").is_some() {
        let hint = "Set `ssh-user` to the user that makes the releases.";
        found.push(problem(About::Place, errors::preflight::state_foreign(&layout.state(), hint)));
    }
    if answer.get("current-not-a-link").is_some() {
        found.push(problem(About::Place, errors::activation::current_not_a_link(&layout.current())));
    }
    found
}

/// A recovery needs no approval, but `ABBRECHEN` stops it.
pub fn decide(survey: Survey, events: &Events) -> Result<Decided<Recover>, Failure> {
    let Survey { server: context::Survey { inputs, ports, .. }, own, seen } = survey;
    let decision = match &inputs.approval {
        _ if inputs.plan_only => Decision::Plan { because: "plan-only is true".to_owned() },
        Approval::Abort => Decision::Refuse(errors::approval::aborted()),
        _ => Decision::Go,
    };
    let executed = matches!(decision, Decision::Go);
    events.emit(Body::Recorded {
        step: StepId::new(row::PLAN),
        key: record::key::EXECUTED.to_owned(),
        value: executed.into(),
    });
    let decided_at = ports.clock.now();
    let cx = Recover { inputs, ports, own, decided_at, seen: seen.into_inner(), state: RefCell::default() };
    Ok(Decided { cx, decision })
}

/// Takes the lock: one that is free, that of a run that is gone, or that of this very run, which is over.
pub async fn acquire(cx: &Recover, io: &Io) -> StepResult {
    let number = lock::number();
    cx.state.borrow_mut().lock = Some(number.clone());
    let claim = Claim {
        target: &cx.inputs,
        ports: &cx.ports,
        since: cx.decided_at,
        journal: "recover",
        makes: None,
        begun: None,
        own: cx.own.as_ref().and_then(|own| own.lock.as_deref()),
    };
    let (owner, interrupted) = lock::take(&claim, &number, io).await?;
    let mut made = cx.state.borrow_mut();
    made.interrupted = interrupted;
    made.keeper = Some(lock::keep(&cx.ports, &cx.inputs.layout, &number, io));
    Ok(Done::passed(owner))
}

/// Frees it.
pub async fn release(cx: &Recover, io: &Io, ending: &Ending) -> Result<String, Failure> {
    let number = {
        let mut made = cx.state.borrow_mut();
        drop(made.keeper.take());
        made.lock.clone().unwrap_or_default()
    };
    lock::give_back(&*cx.ports.shell, io, &cx.inputs.layout, &number, (ending, false)).await
}

/// Fails if a release was not confirmed. The interrupted run failed at it, and it is rolled back as that run would have done: by the undo
/// of this row. Else what lies about is removed.
pub async fn confirmed(cx: &Recover, io: &Io) -> StepResult {
    let leftovers = cx.with_takeover(async |takeover| takeover.look(io).await).await?;
    let current = current::read(&*cx.ports.shell, io, &cx.inputs.layout).await?;
    if let Some(entry) = leftovers.unfinished(current.as_deref()) {
        io.record(record::key::RELEASE, entry.release.as_str());
        if let Some(before) = &entry.before {
            io.record(record::key::PREVIOUS_RELEASE, survey::last_part(before));
        }
        cx.state.borrow_mut().unfinished = Some(entry.clone());
        let run = entry.run.as_deref().unwrap_or("a run outside of GitHub Actions");
        return Err(errors::recovery::unconfirmed(entry.release.as_str(), run));
    }
    let Finished { described, unrecorded, .. } = cx.with_takeover(async |takeover| takeover.finish(io).await).await?;
    if let Some(failure) = unrecorded {
        described.iter().for_each(|done| io.line(done.clone()));
        return Err(failure);
    }
    match described.is_empty() {
        true => Ok(Done::skipped("no leftovers")),
        false => Ok(Done::passed(described.join("; "))),
    }
}

/// Rolls it back, removes the leftovers, and asks the site.
pub async fn roll_back(cx: &Recover, io: &Io) -> Result<Undone, Failure> {
    let leftovers = cx.with_takeover(async |takeover| takeover.look(io).await).await?;
    let current = current::read(&*cx.ports.shell, io, &cx.inputs.layout).await?;
    let known = cx.state.borrow().unfinished.clone();
    let entry = match (leftovers.unfinished(current.as_deref()), known) {
        (Some(entry), _) => entry.clone(),
        // The watchdog has rolled back meanwhile.
        (None, Some(entry)) if current.as_deref() != Some(&entry.armed) => entry,
        (None, _) => return Ok(Undone::Nothing("no rollback was needed".to_owned())),
    };
    let finished = cx.with_takeover(async |takeover| takeover.finish(io).await).await;
    if let (Err(_), Some(fpm)) = (&finished, reload::fpm_of(&entry.reload)) {
        let stopped = ready::afterwards(&*cx.ports.shell, io, fpm).await.down();
        cx.state.borrow_mut().stopped = stopped;
    }
    let Finished { mut described, unrecorded, .. } = finished?;
    if let Some(failure) = &unrecorded {
        io.warning(errors::recovery::line_missing(failure));
    }
    match &entry.before {
        None => described.push("nothing is live, as before".to_owned()),
        Some(before) => {
            // In a rollback to an older release of the same commit, the commit distinguishes nothing.
            let failed = (!naming::same_commit(before, &entry.sha)).then_some(&entry.sha);
            described.push(probe::well_again(&cx.ports, &cx.inputs, failed, io).await?.text);
        }
    }
    Ok(Undone::Done(described.join("; ")))
}

/// The commands for a manual rollback when that failed.
pub fn back_by_hand(cx: &Recover) -> Vec<RemoteCommand> {
    let Some(entry) = cx.state.borrow().unfinished.clone() else { return Vec::new() };
    let current = cx.inputs.layout.current();
    let mut commands = current::pointing_back(&current, entry.before.as_deref());
    commands.extend(reload::by_hand(&watchdog::reload_commands(&entry), &cx.state.borrow().stopped));
    commands.push(RemoteCommand::new(["rm", "-r", cx.inputs.layout.lock().as_str()]));
    commands
}

/// What the plan prints.
pub fn preview(cx: &Recover) -> Vec<String> {
    cx.seen.clone()
}

/// In the end the site answers, healthy, and what is live is what the ledger knows as confirmed.
pub async fn well(cx: &Recover, io: &Io) -> StepResult {
    let current = current::read(&*cx.ports.shell, io, &cx.inputs.layout).await?;
    let Some(current) = current else { return Ok(Done::skipped("nothing is live")) };
    let health = probe::well(probe::Visitor::of(&cx.ports, &cx.inputs.health).on(&cx.ports, &cx.inputs), io).await?;
    let history = ledger::read(&*cx.ports.shell, io, &cx.inputs.layout).await?;
    let standings = history.standings(&cx.inputs.environment);
    let live: Option<ReleaseName> = named(&current);
    let known = live.as_ref().and_then(|live| standings.get(live));
    match known.and_then(|known| known.confirmed.as_ref().filter(|_| known.standing == ReleaseStatus::Confirmed)) {
        Some(confirmation) => Ok(Done::passed(format!("{current}, confirmed {}; {}", confirmation.at, health.text))),
        None if standings.confirmed().is_empty() => {
            Ok(Done::passed(format!("{current}, from before the ledger; {}", health.text)))
        }
        None => Ok(Done::warned(format!(
            "{current} is live and healthy, but the ledger does not record it as confirmed; {}",
            health.text
        ))),
    }
}
