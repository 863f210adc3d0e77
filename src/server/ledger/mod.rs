//! The ledger on the server: one line per attempt, each naming the digest of the line before it.

pub mod history;

pub use self::history::History;

use std::rc::Rc;

use super::{lock::InterruptedRun, remote};
use crate::{
    context::{Build, Deploy, Survey},
    domain::{
        Failure, Layout, Sha256Digest, StepId,
        ledger::{self, Attempt, Begun, Built, Line, Proof, Reached, ReleaseStatus},
        migration::Migrated,
        record,
        row::{self, RowId},
    },
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    server::lock::{attempt, time},
    transport::shell::{Script, Shell},
};

/// Most bytes of a ledger that are read whole: some ten thousand attempts.
const LIMIT: usize = 8 * 1024 * 1024;

/// How far an attempt came when a row was done.
pub const REACHED: [(RowId, Reached); 5] = [
    (row::UNPACK_RELEASE, Reached::Staged),
    (row::BOOT_RELEASE, Reached::Verified),
    (row::BUILD_CACHES, Reached::Prepared),
    (row::SWITCH, Reached::Activated),
    (row::LIVE, Reached::Confirmed),
];

/// Opens the ledger: it must be readable now, so that the attempt can be recorded however it ends.
pub async fn open(cx: &Deploy, io: &Io) -> StepResult {
    let ledger = cx.inputs.layout.ledger();
    let last = last(cx, io).await?;
    io.record(record::key::LEDGER, ledger.as_str());
    cx.state.borrow_mut().ledger_is_open = true;
    Ok(Done::passed(if last.is_empty() { "no line yet".to_owned() } else { format!("{ledger} can be read") }))
}

/// Records the attempt: at the commit, before the slow steps, or when the run ends.
pub async fn write(cx: &Deploy, io: &Io, ending: &Ending) -> Result<String, Failure> {
    if ending.handed_over {
        return Ok("left to the next run that takes the deploy lock".to_owned());
    }
    let attempt = attempt(cx);
    let reached = reached(&ending.done);
    let Proof { bundle_sha256, tree_sha256, migrations, build, asked_for, measured, schema } = Proof::of(cx);
    let line = Line {
        v: ledger::VERSION,
        prev: PREV.to_owned(),
        // The same when the line is tried again: the server knows its own line by that.
        at: time(*cx.state.borrow_mut().ended.get_or_insert_with(|| cx.ports.clock.now())),
        environment: cx.inputs.environment.to_string(),
        attempt,
        release: cx.plan.turn.to.clone(),
        from: cx.plan.turn.from.clone(),
        sha: cx.plan.commit.clone(),
        bundle_sha256,
        build,
        asked_for,
        tree_sha256,
        reached,
        outcome: ending.outcome.word().to_owned(),
        standing: ReleaseStatus::after(attempt, &ending.outcome, reached),
        migrations,
        measured,
        schema,
        failed_at: ending.outcome.at().map(ToString::to_string),
        cause: ending.outcome.cause().map(ToString::to_string),
        run: cx.inputs.run.url.clone(),
    };
    let number = cx.state.borrow().lock.clone().unwrap_or_default();
    let Some(head) = append(&*cx.ports.shell, io, &cx.inputs.layout, &line, &number).await? else {
        cx.state.borrow_mut().recorded = true;
        return Ok(
            "not written: this run no longer holds the deploy lock; the run that took it over records the attempt"
                .to_owned(),
        );
    };
    cx.state.borrow_mut().recorded = true;
    io.record(record::key::LEDGER_HEAD, head);
    Ok(format!("{}: written to {}", line.outcome, cx.inputs.layout.ledger()))
}

/// The place in a line for the digest of the line before it. The server fills it in: it writes the lines of all runs one after the other.
pub(crate) const PREV: &str = "@PREV@";

/// Appends a line whose `prev` is [`PREV`], if the deploy lock still has this number; gives the digest of what was written.
pub async fn append(
    shell: &dyn Shell,
    io: &Io,
    layout: &Layout,
    line: &Line,
    number: &str,
) -> Result<Option<Sha256Digest>, Failure> {
    let ledger = layout.ledger();
    let doing = format!("writing to the ledger {ledger}");
    let text = serde_json::to_string(line).map_err(|error| Failure::bug(&doing, error.to_string()))?;
    let script = Script::new("ledger", include_str!("ledger.sh"))
        .repeatable()
        .var("LEDGER", ledger.as_str())
        .var("LINE", text)
        .var("LOCK", layout.lock().as_str())
        .var("LOCK_NONCE", number);
    let answer = remote::run(shell, io, script, &doing).await?;
    if answer.get("lost").is_some() {
        return Ok(None);
    }
    Ok(Some(Sha256Digest::of(remote::required(&answer, "written", &doing)?)))
}

impl Proof {
    pub fn of(cx: &Deploy) -> Self {
        let made = cx.state.borrow();
        let bundle = made.bundle.as_ref().map(|bundle| bundle.sha256.clone());
        let of_the_target = || cx.plan.target.as_ref()?.bundle.clone();
        let built =
            |build: &Build| Built { run: build.run.id, attempt: build.run.attempt, artifact: build.artifact.id };
        let staging = cx.plan.staging.as_ref();
        Self {
            bundle_sha256: bundle.or_else(of_the_target),
            build: made.build.as_ref().or(cx.plan.build.as_ref()).map(built),
            asked_for: staging.and_then(|staging| Some(staging.asked_for.as_ref()?.commit.clone())),
            tree_sha256: made.tree.clone(),
            migrations: made.migrations.clone(),
            measured: made.measured.clone(),
            schema: made.schema.clone(),
        }
    }
}

impl Begun {
    /// Whether one of these lines records this attempt: the run's own, or one by the watchdog.
    fn is_recorded_in(&self, lines: &[Line]) -> bool {
        lines.iter().any(|line| {
            let same = line.release == self.release && line.attempt == self.attempt;
            // A release is made once; it can be the target of several rollbacks.
            same && (self.attempt == Attempt::Release || (line.run == self.run && line.at >= self.at))
        })
    }

    /// The line of an interrupted run's attempt. How far it came is not known, unless it had confirmed its release; what it migrated is, if
    /// the migration's own answer is there.
    fn line(&self, confirmed: Option<&Proof>, migrated: Option<&Migrated>, stuck: bool) -> Line {
        let (outcome, standing, reached, cause) = match confirmed {
            None if stuck => {
                ("stuck", ReleaseStatus::Failed, None, "its run needed manual action, and could not write this line")
            }
            Some(_) => (
                "live",
                ReleaseStatus::Confirmed,
                Some(Reached::Confirmed),
                "its run was interrupted before it wrote this line",
            ),
            None => (
                "failed",
                ReleaseStatus::Failed,
                None,
                "its run was interrupted, and another run took over its deploy lock",
            ),
        };
        let migration = migrated.map(|migrated| format!("; {}", migrated.describe())).unwrap_or_default();
        let proof = confirmed.cloned().unwrap_or_default();
        Line {
            v: ledger::VERSION,
            prev: PREV.to_owned(),
            at: "@AT@".to_owned(),
            environment: self.environment.clone(),
            attempt: self.attempt,
            release: self.release.clone(),
            from: self.from.clone(),
            sha: self.sha.clone(),
            bundle_sha256: proof.bundle_sha256,
            build: proof.build,
            asked_for: proof.asked_for,
            tree_sha256: proof.tree_sha256,
            reached,
            outcome: outcome.to_owned(),
            standing: (confirmed.is_some() || self.attempt == Attempt::Release).then_some(standing),
            migrations: proof.migrations.or_else(|| migrated.and_then(|migrated| migrated.ran.clone())),
            measured: match confirmed {
                Some(_) => proof.measured,
                None => migrated.map(|migrated| migrated.measured.clone()).unwrap_or_default(),
            },
            schema: proof.schema,
            failed_at: None,
            cause: Some(format!("{cause}{migration}")),
            run: self.run.clone(),
        }
    }
}

/// Records the attempt of an interrupted run, unless a line records it already. Gives what it was, for the log.
pub async fn write_for_interrupted(
    shell: &dyn Shell,
    io: &Io,
    layout: &Layout,
    begun: &Begun,
    interrupted: &InterruptedRun,
) -> Result<Option<String>, Failure> {
    if begun.version != 1 || begun.is_recorded_in(&read(shell, io, layout).await?.lines) {
        return Ok(None);
    }
    let line = begun.line(interrupted.confirmed.as_ref(), interrupted.migrated.as_ref(), interrupted.stuck);
    append(shell, io, layout, &line, "").await?;
    let migration =
        interrupted.migrated.as_ref().map(|migrated| format!("; {}", migrated.describe())).unwrap_or_default();
    Ok(Some(format!("its attempt is recorded in the ledger as `{}`{migration}", line.outcome)))
}

/// The furthest point whose row was done.
fn reached(done: &[StepId]) -> Option<Reached> {
    REACHED.iter().filter(|(row, _)| done.iter().any(|step| step == row)).map(|(_, reached)| *reached).max()
}

/// Reads the ledger before the approval, once.
pub async fn look(cx: &Survey, io: &Io) -> Result<Rc<History>, Failure> {
    let known = cx.state.borrow().ledger.clone();
    if let Some(history) = known {
        return Ok(history);
    }
    let history = Rc::new(read(&*cx.ports.shell, io, &cx.inputs.layout).await?);
    cx.state.borrow_mut().ledger = Some(history.clone());
    Ok(history)
}

/// Reads the whole ledger; none is one without lines.
pub async fn read(shell: &dyn Shell, io: &Io, layout: &Layout) -> Result<History, Failure> {
    let ledger = layout.ledger();
    let doing = format!("reading the ledger {ledger}");
    let script = Script::new("ledger-read", include_str!("ledger-read.sh"))
        .repeatable()
        .var("LEDGER", ledger.as_str())
        .var("LIMIT", LIMIT.to_string());
    let answer = remote::run(shell, io, script, &doing).await?;
    Ok(History::of(answer.get("ledger").unwrap_or_default()))
}

async fn last(cx: &Deploy, io: &Io) -> Result<String, Failure> {
    let ledger = cx.inputs.layout.ledger();
    let doing = format!("reading the ledger {ledger}");
    let script =
        Script::new("ledger", include_str!("ledger.sh")).repeatable().var("LEDGER", ledger.as_str()).var("LINE", "");
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    Ok(answer.get("last").unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ledger::{Begun, Proof};

    #[test]
    fn fd34_the_line_of_a_run_that_died_after_it_confirmed_has_the_digests() {
        let begun = Begun {
            version: 1,
            at: String::new(),
            environment: "staging".to_owned(),
            attempt: Attempt::Release,
            release: "20261101_080000-0123abcd".parse().expect("a release"),
            from: None,
            sha: "0123abcd".repeat(5).parse().expect("a commit"),
            run: None,
        };
        let (bundle, tree) = (Sha256Digest::of("bundle"), Sha256Digest::of("tree"));
        let proof = Proof {
            bundle_sha256: Some(bundle.clone()),
            tree_sha256: Some(tree.clone()),
            migrations: Some(vec!["a".to_owned()]),
            build: Some(Built { run: 4711, attempt: 1, artifact: 11 }),
            ..Proof::default()
        };
        let line = begun.line(Some(&proof), None, false);
        assert_eq!((line.bundle_sha256, line.tree_sha256), (Some(bundle), Some(tree)));
        assert_eq!(line.build, proof.build, "production finds the artifact by it");
        assert_eq!((line.outcome.as_str(), line.migrations), ("live", Some(vec!["a".to_owned()])));

        let migrated = "before=a\u{1e}after=a\nb\u{1e}status=0\u{1e}measured={\"statements\":2,\"milliseconds\":1,\"sql\":[]}\u{1e}measured-name=b";
        let migrated = Migrated::read(migrated).expect("a migration");
        let line = begun.line(None, Some(&migrated), false);
        assert_eq!(line.measured, migrated.measured);
        assert_eq!((line.measured[0].name.as_str(), line.measured[0].statements), ("b", 2));
        assert_eq!((line.outcome.as_str(), line.migrations), ("failed", Some(vec!["b".to_owned()])));
        assert!(line.cause.is_some_and(|cause| cause.ends_with("its migration ran to its end on the server")));
        assert_eq!(begun.line(None, None, false).migrations, None, "not known");
        assert_eq!(
            (&*begun.line(None, None, true).outcome, &*begun.line(None, None, false).outcome),
            ("stuck", "failed")
        );
    }
}
