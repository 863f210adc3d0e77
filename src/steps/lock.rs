//! One deploy at a time: a lock on the server that says who, which run, since when (F15).
//!
//! Its owner renews it. A lock that nobody has renewed for a whole lease belongs to a run that is gone, and the next one takes it
//! over. A run that only stood still and wakes up finds another number in it, and every script that matters looks at that first.

use std::time::Duration;

use tokio::task::{AbortHandle, spawn_local};

use super::{context::Deploy, remote};
use crate::{
    domain::{Failure, Layout, Outcome, RemoteCommand},
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    ports::{
        clock::Clock,
        shell::{Answer, Script, Shell},
    },
};

/// So long a lock counts without being renewed.
const LEASE: Duration = Duration::from_secs(60);

/// How often it is renewed: three times may fail.
const RENEWAL: Duration = Duration::from_secs(15);

/// How often a run that waits looks whether the lock is free.
const LOOK: Duration = Duration::from_secs(2);

/// Who holds the lock, as the server's files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub owner: String,
    /// Whether it has not been renewed for a whole lease.
    pub gone: bool,
}

impl Holder {
    /// Out of an answer of `look.sh` or `holder.sh`; `None` if the lock is free.
    pub fn read(answer: &Answer) -> Option<Self> {
        answer.get("lock")?;
        let number = |key| answer.get(key).and_then(|text| text.trim().parse::<u64>().ok());
        let over =
            number("lock-renewed").zip(number("lock-lease")).map(|(renewed, lease)| renewed.saturating_add(lease));
        let gone = answer.get("lock-kept").is_none() && number("time").zip(over).is_some_and(|(now, over)| now > over);
        let owner = answer.get("lock-owner").map(str::trim).filter(|owner| !owner.is_empty());
        Some(Self { owner: owner.unwrap_or(NOBODY).to_owned(), gone })
    }
}

const NOBODY: &str = "somebody who left no name";

/// Renews the lock beside the rows, until it is dropped.
#[derive(Debug)]
pub struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes the lock; waits for it where the input says so.
pub async fn acquire(cx: &Deploy, io: &Io) -> StepResult {
    let layout = &cx.inputs.layout;
    let doing = format!("taking the deploy lock at {}", layout.lock());
    let owner = owner(cx);
    cx.made.borrow_mut().lock = Some(uuid::Uuid::new_v4().simple().to_string());
    let wait = cx.inputs.server.lock_wait;
    let began = cx.ports.clock.elapsed();
    let mut told = false;
    loop {
        let script = Script::new("lock", include_str!("sh/lock.sh"))
            .var("STATE", layout.state().as_str())
            .var("LOCK", layout.lock().as_str())
            .var("OWNER", &owner)
            .var("NONCE", nonce(cx))
            .var("ENVIRONMENT", cx.inputs.environment.as_str())
            .var("LEASE", LEASE.as_secs().to_string())
            .var("RELEASE", cx.facts.turn.to.as_str())
            .var("MAKES", if cx.source.is_some() { cx.facts.turn.to.as_str() } else { "" });
        let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
        let Some(holder) = answer.get("held") else {
            if let Some(dead) = answer.get("took-over") {
                let hint = "it left what it had begun: see docs/recovery.md for what is put right by itself";
                cx.made.borrow_mut().dead = answer.get("dead-release").and_then(|name| name.parse().ok());
                io.warn(format!("took over the lock of a run that is gone: {dead}"), Some(hint.to_owned()));
            }
            cx.made.borrow_mut().keeper = Some(keep(cx, io));
            return Ok(Done::passed(owner));
        };
        if cx.ports.clock.elapsed().saturating_sub(began) >= wait {
            return Err(held(layout, &doing, holder, wait));
        }
        if !std::mem::replace(&mut told, true) {
            io.line(waiting(holder, wait));
        }
        cx.ports.clock.sleep(LOOK).await;
    }
}

/// Before the seam: waits until nobody holds the lock, so that what is planned then is what will be there. Reads only.
pub async fn wait_until_free(
    shell: &dyn Shell,
    clock: &dyn Clock,
    layout: &Layout,
    wait: Duration,
    io: &Io,
) -> Result<(), Failure> {
    let began = clock.elapsed();
    let mut told = false;
    while clock.elapsed().saturating_sub(began) < wait {
        let script = Script::new("holder", include_str!("sh/holder.sh")).var("LOCK", layout.lock().as_str());
        let answer = remote::run(shell, io, script, "asking who holds the deploy lock").await?;
        match Holder::read(&answer) {
            Some(Holder { owner, gone: false }) if !std::mem::replace(&mut told, true) => {
                io.line(waiting(&owner, wait))
            }
            Some(Holder { gone: false, .. }) => {}
            _ => break,
        }
        clock.sleep(LOOK).await;
    }
    Ok(())
}

fn waiting(holder: &str, wait: Duration) -> String {
    format!("waiting up to {} s for {}, which holds the deploy lock", wait.as_secs(), holder.trim())
}

/// Somebody else has it: say who, and how to free it if that run is gone.
fn held(layout: &Layout, doing: &str, holder: &str, wait: Duration) -> Failure {
    let lock = layout.lock();
    let holder = if holder.trim().is_empty() { NOBODY } else { holder.trim() };
    let waited = if wait.is_zero() { String::new() } else { format!(", after waiting {} s for it", wait.as_secs()) };
    Failure::refused(doing, format!("{holder} holds it{waited}")).hint(hint(&lock.to_string()))
}

/// What to do about a lock that another run holds.
pub fn hint(lock: &str) -> String {
    format!(
        "wait for that run to end, or let lock-wait wait for it; that of a run that died is free after {} s; that of a stuck run stays \
         until somebody has put the site right: rm -r {lock}",
        LEASE.as_secs()
    )
}

/// Lets the scripts of this run look first whether the lock is still ours.
pub fn fenced(cx: &Deploy, script: Script) -> Script {
    script.var("LOCK", cx.inputs.layout.lock().as_str()).var("LOCK_NONCE", nonce(cx))
}

/// For a script that this run may run without the lock: it only takes back what this run did.
pub fn unfenced(script: Script) -> Script {
    script.var("LOCK", "").var("LOCK_NONCE", "")
}

fn keep(cx: &Deploy, io: &Io) -> Keeper {
    let (shell, clock, io) = (cx.ports.shell.clone(), cx.ports.clock.clone(), io.clone());
    let (lock, nonce) = (cx.inputs.layout.lock(), nonce(cx));
    let task = spawn_local(async move {
        loop {
            clock.sleep(RENEWAL).await;
            let script =
                Script::new("renew", include_str!("sh/renew.sh")).var("LOCK", lock.as_str()).var("NONCE", &nonce);
            // A connection that broke is the rows' business; what counts is that one of the next renewals comes through.
            let Ok(answer) = shell.run(script, &mut |_| {}).await else { continue };
            if let Some(other) = answer.get("lost") {
                let other = if other.trim().is_empty() { "nobody" } else { other.trim() };
                io.warn(
                    format!("this run has lost the deploy lock; it belongs to {other}"),
                    Some("this run stood still for too long; it changes nothing more".to_owned()),
                );
                return;
            }
        }
    });
    Keeper(task.abort_handle())
}

/// Frees the lock; keeps it when the run is stuck, so that nobody deploys on top of a house in disorder.
pub async fn release(cx: &Deploy, io: &Io, ending: &Ending) -> Result<String, Failure> {
    drop(cx.made.borrow_mut().keeper.take());
    let lock = cx.inputs.layout.lock();
    let stuck = matches!(ending.outcome, Outcome::Stuck { .. });
    let script = Script::new("unlock", include_str!("sh/unlock.sh"))
        .var("LOCK", lock.as_str())
        .var("NONCE", nonce(cx))
        .var("KEEP", if stuck { "yes" } else { "" });
    let answer = remote::run(&*cx.ports.shell, io, script, &format!("freeing the deploy lock at {lock}")).await?;
    Ok(match answer.get("found") {
        Some("kept") => {
            return Ok(format!("kept, because the run is stuck; when the site is whole again: rm -r {lock}"));
        }
        Some("ours") => "freed",
        Some("others") => "left alone: it belongs to another run",
        _ => "it was free already",
    }
    .to_owned())
}

/// What somebody types last when the house of a stuck run is in order again.
pub fn free_by_hand(cx: &Deploy) -> RemoteCommand {
    RemoteCommand::new(["rm", "-r", cx.inputs.layout.lock().as_str()])
}

/// "run https://… (attempt 1) by ada since 2025-11-02T15:49:00Z"
fn owner(cx: &Deploy) -> String {
    let run = &cx.inputs.run;
    let mut text = match &run.url {
        Some(url) => format!("run {url}"),
        None => "a run outside of GitHub Actions".to_owned(),
    };
    if let Some(attempt) = run.attempt {
        text.push_str(&format!(" (attempt {attempt})"));
    }
    if let Some(actor) = &run.actor {
        text.push_str(&format!(" by @{actor}"));
    }
    format!("{text} since {}", cx.facts.decided_at.format("%Y-%m-%dT%H:%M:%SZ"))
}

/// Tells our lock from another run's. A run that has made no number has no lock.
fn nonce(cx: &Deploy) -> String {
    cx.made.borrow().lock.clone().unwrap_or_else(|| "none".to_owned())
}
