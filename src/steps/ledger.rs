//! The ledger on the server: one line per attempt, each naming the digest of the line before it.

use std::rc::Rc;

use super::{
    context::{Deploy, Survey},
    remote,
    watchdog::Entry,
};
use crate::{
    domain::{
        EnvironmentName, Failure, Layout, Sha256Digest, StepId, fact,
        ledger::{self, Attempt, Break, Line, Reached, Standing, beginning},
        standing::Standings,
    },
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    ports::shell::{Script, Shell},
};

/// Most bytes of a ledger that are read whole: some ten thousand attempts.
const LIMIT: usize = 8 * 1024 * 1024;

/// How far an attempt came when a row was done.
pub const REACHED: [(&str, Reached); 5] = [
    ("unpack-release", Reached::Staged),
    ("boot-release", Reached::Verified),
    ("build-caches", Reached::Prepared),
    ("switch", Reached::Activated),
    ("live", Reached::Confirmed),
];

/// Opens the ledger: it must be readable now, so that the attempt can be written down however it ends.
pub async fn open(cx: &Deploy, io: &Io) -> StepResult {
    let ledger = cx.inputs.layout.ledger();
    let last = last(cx, io).await?;
    io.fact(fact::key::LEDGER, ledger.as_str());
    Ok(Done::passed(if last.is_empty() { "a new one".to_owned() } else { format!("{ledger} can be read") }))
}

/// Writes the attempt down.
pub async fn write(cx: &Deploy, io: &Io, ending: &Ending) -> Result<String, Failure> {
    let ledger = cx.inputs.layout.ledger();
    let last = last(cx, io).await?;
    let attempt = if cx.source.is_some() { Attempt::Release } else { Attempt::Rollback };
    let reached = reached(&ending.done);
    let (bundle_sha256, tree_sha256, migrations) = {
        let made = cx.made.borrow();
        let bundle = made.bundle.as_ref().map(|bundle| bundle.sha256.clone());
        let of_the_target = || cx.facts.target.as_ref()?.bundle.clone();
        (bundle.or_else(of_the_target), made.tree.clone(), made.migrations.clone())
    };
    let line = Line {
        v: ledger::VERSION,
        prev: if last.is_empty() { beginning() } else { Sha256Digest::of(&last).to_string() },
        at: cx.ports.clock.now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        environment: cx.inputs.environment.to_string(),
        attempt,
        release: cx.facts.turn.to.clone(),
        from: cx.facts.turn.from.clone(),
        sha: cx.facts.commit.clone(),
        bundle_sha256,
        tree_sha256,
        reached,
        outcome: ending.outcome.word().to_owned(),
        standing: Standing::after(attempt, &ending.outcome, reached),
        migrations,
        failed_at: ending.outcome.at().map(ToString::to_string),
        cause: ending.outcome.cause().map(ToString::to_string),
        run: cx.inputs.run.url.clone(),
    };
    let doing = format!("writing to the ledger {ledger}");
    let text = serde_json::to_string(&line).map_err(|error| Failure::bug(&doing, error.to_string()))?;
    let head = Sha256Digest::of(&text);
    let script = Script::new("ledger", include_str!("sh/ledger.sh"))
        .repeatable()
        .var("LEDGER", ledger.as_str())
        .var("LINE", text)
        .var("LAST", last);
    remote::run(&*cx.ports.shell, io, script, &doing).await?;
    io.fact(fact::key::LEDGER_HEAD, head);
    Ok(format!("{}: written to {ledger}", line.outcome))
}

/// The furthest point whose row was done.
fn reached(done: &[StepId]) -> Option<Reached> {
    let was_done = |row: &str| done.iter().any(|id| id.as_str() == row);
    REACHED.iter().filter(|(row, _)| was_done(row)).map(|(_, reached)| *reached).max()
}

/// The line that the server itself writes when it goes back from a release that nobody confirmed. It puts in what only it knows then.
pub fn left_open(entry: &Entry, cause: &str) -> Result<String, Failure> {
    let line = Line {
        v: ledger::VERSION,
        prev: "@PREV@".to_owned(),
        at: "@AT@".to_owned(),
        environment: entry.environment.clone(),
        attempt: entry.attempt,
        release: entry.release.clone(),
        from: entry.before.clone(),
        sha: entry.sha.clone(),
        bundle_sha256: entry.bundle_sha256.clone(),
        tree_sha256: None,
        reached: Some(Reached::Activated),
        outcome: "reverted-by-watchdog".to_owned(),
        // That nobody confirmed it tells nothing of a release that had been confirmed before.
        standing: (entry.attempt == Attempt::Release).then_some(Standing::Reverted),
        migrations: None,
        failed_at: Some("confirm".to_owned()),
        cause: Some(cause.to_owned()),
        run: entry.run.clone(),
    };
    serde_json::to_string(&line).map_err(|error| Failure::bug("writing the watcher's line", error.to_string()))
}

/// The whole ledger, as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Book {
    pub lines: Vec<Line>,
    /// Lines that somebody damaged, or of a later version: they name no release that we may count.
    pub unreadable: usize,
    /// Where the chain between the lines is broken.
    pub broken: Option<Break>,
}

impl Book {
    pub fn of(text: &str) -> Self {
        let read: Vec<Option<Line>> = text.lines().map(|line| serde_json::from_str(line).ok()).collect();
        Self {
            unreadable: read.iter().filter(|line| line.is_none()).count(),
            lines: read.into_iter().flatten().collect(),
            broken: ledger::follow(text.as_bytes()).err(),
        }
    }

    pub fn standings(&self, environment: &EnvironmentName) -> Standings {
        Standings::of(&self.lines, environment.as_str())
    }
}

/// Reads the ledger before the seam, once.
pub async fn look(cx: &Survey, io: &Io) -> Result<Rc<Book>, Failure> {
    let known = cx.found.borrow().ledger.clone();
    if let Some(book) = known {
        return Ok(book);
    }
    let book = Rc::new(read(&*cx.ports.shell, io, &cx.inputs.layout).await?);
    cx.found.borrow_mut().ledger = Some(book.clone());
    Ok(book)
}

/// Reads the whole ledger; none is one without lines.
pub async fn read(shell: &dyn Shell, io: &Io, layout: &Layout) -> Result<Book, Failure> {
    let ledger = layout.ledger();
    let doing = format!("reading the ledger {ledger}");
    let script = Script::new("ledger-read", include_str!("sh/ledger-read.sh"))
        .repeatable()
        .var("LEDGER", ledger.as_str())
        .var("LIMIT", LIMIT.to_string());
    let answer = remote::run(shell, io, script, &doing).await?;
    Ok(Book::of(answer.get("ledger").unwrap_or_default()))
}

async fn last(cx: &Deploy, io: &Io) -> Result<String, Failure> {
    let ledger = cx.inputs.layout.ledger();
    let doing = format!("reading the ledger {ledger}");
    let script = Script::new("ledger", include_str!("sh/ledger.sh"))
        .repeatable()
        .var("LEDGER", ledger.as_str())
        .var("LINE", "")
        .var("LAST", "");
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    Ok(answer.get("last").unwrap_or_default().to_owned())
}
