//! One deploy at a time: a lock on the server that says who, which run, since when (F15).

use super::{context::Deploy, remote};
use crate::{
    domain::{Failure, Outcome},
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    ports::shell::Script,
};

pub async fn acquire(cx: &Deploy, io: &Io) -> StepResult {
    let layout = &cx.inputs.layout;
    let doing = format!("taking the deploy lock at {}", layout.lock());
    let owner = owner(cx);
    let script = Script::new("lock", include_str!("sh/lock.sh"))
        .var("STATE", layout.state().as_str())
        .var("LOCK", layout.lock().as_str())
        .var("OWNER", &owner)
        .var("NONCE", nonce(cx))
        .var("ENVIRONMENT", cx.inputs.environment.as_str());
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    match answer.get("held") {
        None => Ok(Done::passed(owner)),
        Some(holder) => Err(held(cx, &doing, holder)),
    }
}

/// Somebody else has it: say who, and how to free it if that run is gone.
pub fn held(cx: &Deploy, doing: &str, holder: &str) -> Failure {
    let lock = cx.inputs.layout.lock();
    let holder = if holder.trim().is_empty() { "somebody who left no name" } else { holder.trim() };
    Failure::refused(doing, format!("{holder} holds it"))
        .hint(format!("wait for that run to end; if it is gone, free the lock on the server with: rm -r {lock}"))
}

/// Frees the lock; keeps it when the run is stuck, so that nobody deploys on top of a house in disorder.
pub async fn release(cx: &Deploy, io: &Io, ending: &Ending) -> Result<String, Failure> {
    let lock = cx.inputs.layout.lock();
    if matches!(ending.outcome, Outcome::Stuck { .. }) {
        return Ok(format!("kept, because the run is stuck; when the site is whole again: rm -r {lock}"));
    }
    let script = Script::new("unlock", include_str!("sh/unlock.sh")).var("LOCK", lock.as_str()).var("NONCE", nonce(cx));
    let answer = remote::run(&*cx.ports.shell, io, script, &format!("freeing the deploy lock at {lock}")).await?;
    Ok(match answer.get("found") {
        Some("ours") => "freed",
        Some("others") => "left alone: it belongs to another run",
        _ => "it was free already",
    }
    .to_owned())
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

/// Tells our lock from another run's. Two runs never make the same release in the same second with the same plan.
fn nonce(cx: &Deploy) -> String {
    let run = &cx.inputs.run;
    format!(
        "{} {} {} {}",
        cx.facts.turn.to,
        run.id.unwrap_or_default(),
        run.attempt.unwrap_or_default(),
        std::process::id()
    )
}
