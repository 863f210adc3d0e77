//! The ledger on the server: one line per attempt, each naming the digest of the line before it.

use super::{context::Deploy, remote, watchdog::Entry};
use crate::{
    domain::{
        Failure, Sha256Digest, fact,
        ledger::{Line, beginning},
    },
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    ports::shell::Script,
};

/// Opens the ledger: it must be readable now, so that the attempt can be written down however it ends.
pub async fn open(cx: &Deploy, io: &Io) -> StepResult {
    let ledger = cx.inputs.layout.ledger();
    let (last, _) = read(cx, io).await?;
    io.fact(fact::key::LEDGER, ledger.as_str());
    Ok(Done::passed(if last.is_empty() { "a new one".to_owned() } else { format!("{ledger} can be read") }))
}

/// Writes the attempt down.
pub async fn write(cx: &Deploy, io: &Io, ending: &Ending) -> Result<String, Failure> {
    let ledger = cx.inputs.layout.ledger();
    let (last, _) = read(cx, io).await?;
    let line = Line {
        v: 1,
        prev: if last.is_empty() { beginning() } else { Sha256Digest::of(&last).to_string() },
        at: cx.ports.clock.now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        environment: cx.inputs.environment.to_string(),
        release: cx.facts.turn.to.clone(),
        from: cx.facts.turn.from.clone(),
        sha: cx.facts.commit.clone(),
        bundle_sha256: cx.made.borrow().bundle.as_ref().map(|bundle| bundle.sha256.clone()),
        outcome: ending.outcome.word().to_owned(),
        failed_at: ending.outcome.at().map(ToString::to_string),
        cause: ending.outcome.cause().map(ToString::to_string),
        run: cx.inputs.run.url.clone(),
    };
    let doing = format!("writing to the ledger {ledger}");
    let text = serde_json::to_string(&line).map_err(|error| Failure::bug(&doing, error.to_string()))?;
    let head = Sha256Digest::of(&text);
    let script = Script::new("ledger", include_str!("sh/ledger.sh"))
        .var("LEDGER", ledger.as_str())
        .var("LINE", text)
        .var("LAST", last);
    remote::run(&*cx.ports.shell, io, script, &doing).await?;
    io.fact(fact::key::LEDGER_HEAD, head);
    Ok(format!("{}: written to {ledger}", line.outcome))
}

/// The line that the server itself writes when it goes back from a release that nobody confirmed. It puts in what only it knows then.
pub fn left_open(entry: &Entry, cause: &str) -> Result<String, Failure> {
    let line = Line {
        v: 1,
        prev: "@PREV@".to_owned(),
        at: "@AT@".to_owned(),
        environment: entry.environment.clone(),
        release: entry.release.clone(),
        from: entry.before.clone(),
        sha: entry.sha.clone(),
        bundle_sha256: entry.bundle_sha256.clone(),
        outcome: "reverted-by-watchdog".to_owned(),
        failed_at: Some("confirm".to_owned()),
        cause: Some(cause.to_owned()),
        run: entry.run.clone(),
    };
    serde_json::to_string(&line).map_err(|error| Failure::bug("writing the watcher's line", error.to_string()))
}

/// Releases that the ledger knows as confirmed, and those it knows at all.
pub async fn known(cx: &Deploy, io: &Io) -> Result<Vec<Line>, Failure> {
    let (_, lines) = read(cx, io).await?;
    // A line of a later version, or one that somebody damaged, names no release that we may count.
    Ok(lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

async fn read(cx: &Deploy, io: &Io) -> Result<(String, String), Failure> {
    let ledger = cx.inputs.layout.ledger();
    let doing = format!("reading the ledger {ledger}");
    let script = Script::new("ledger", include_str!("sh/ledger.sh"))
        .var("LEDGER", ledger.as_str())
        .var("LINE", "")
        .var("LAST", "");
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    Ok((answer.get("last").unwrap_or_default().to_owned(), answer.get("lines").unwrap_or_default().to_owned()))
}
