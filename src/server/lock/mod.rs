//! One deploy at a time: a lock on the server that names its holder and since when (F15).
//!
//! Its holder renews it. A lock that was not renewed for a whole lease belongs to an interrupted run, and the next run takes it over.
//! A run that only stood still finds another fencing token in it: every script that changes the site compares the token first.

pub mod state;

pub use self::state::{Holder, InterruptedRun, Keeper};

use crate::domain::ledger::Attempt;

use std::{rc::Rc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::task::spawn_local;

use super::remote;
use crate::{
    clock::Clock,
    config::typed,
    context::{Deploy, Ports},
    domain::{Failure, Layout, Outcome, ReleaseName, RemoteCommand, ledger::Begun, migration::Migrated, record},
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    errors,
    server::lock::state::UNNAMED,
    transport::{
        shell::{Answer, RENEWAL, Script, Shell, ShellError},
        ssh,
    },
};

/// How long a lock counts without being renewed: the run may have renewed it right before its connection broke, and renews it over the
/// next one.
pub const LEASE: Duration = Duration::from_secs(ssh::OUTAGE.as_secs() + RENEWAL.as_secs());

/// How long a run waits at least for the migration of an interrupted run.
const MIGRATION: Duration = Duration::from_secs(600);

/// How often a run that waits looks whether the lock is free.
const LOOK: Duration = Duration::from_secs(2);

/// Who takes the lock, and what for.
pub struct Claim<'a> {
    pub target: &'a typed::Target,
    pub ports: &'a Ports,
    pub since: DateTime<Utc>,
    /// In whose journal a take-over is noted.
    pub journal: &'a str,
    /// The release that is made under it.
    pub makes: Option<&'a ReleaseName>,
    /// What is begun under it: a run that takes it over records that.
    pub begun: Option<Begun>,
    /// The fencing token of an earlier lock of the same run: the post step takes it over at once.
    pub own: Option<&'a str>,
}

/// The fencing token of a new lock: it tells a run's own lock from another's.
pub fn number() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Takes the lock; waits for it where the input says so.
pub async fn acquire(cx: &Deploy, io: &Io) -> StepResult {
    let number = number();
    cx.state.borrow_mut().lock = Some(number.clone());
    let claim = Claim {
        target: &cx.inputs,
        ports: &cx.ports,
        since: cx.plan.decided_at,
        journal: cx.plan.turn.to.as_str(),
        makes: cx.source.as_ref().map(|_| &cx.plan.turn.to),
        begun: Some(Begun::of(cx)),
        own: None,
    };
    let (owner, interrupted) = take(&claim, &number, io).await?;
    let mut made = cx.state.borrow_mut();
    made.interrupted = interrupted;
    made.keeper = Some(keep(&cx.ports, &cx.inputs.layout, &number, io));
    Ok(Done::passed(owner))
}

/// Takes the lock with this fencing token. Gives its holder, and the interrupted runs whose lock it was: the last one first, then those whose
/// recovery each had taken over and not completed.
pub async fn take(claim: &Claim<'_>, number: &str, io: &Io) -> Result<(String, Vec<InterruptedRun>), Failure> {
    let layout = &claim.target.layout;
    let doing = format!("taking the deploy lock at {}", layout.lock());
    let owner = owner(&claim.target.run, claim.since);
    // Before it is taken: post must know it even if this run dies within the script.
    io.record(record::key::LOCK, number);
    let begun = claim.begun.as_ref().map(serde_json::to_string).transpose();
    let begun = begun.map_err(|error| Failure::bug(&doing, error.to_string()))?.unwrap_or_default();
    let wait = claim.target.server.lock_wait;
    let began = claim.ports.clock.elapsed();
    let mut described = false;
    loop {
        let script = Script::new("lock", include_str!("lock.sh"))
            .repeatable()
            .var("STATE", layout.state().as_str())
            .var("JOBS", layout.jobs().as_str())
            .var("LOCK", layout.lock().as_str())
            .var("OWNER", &owner)
            .var("NONCE", number)
            .var("ENVIRONMENT", claim.target.environment.as_str())
            .var("LEASE", LEASE.as_secs().to_string())
            .var("RELEASE", claim.journal)
            .var("MAKES", claim.makes.map_or("", ReleaseName::as_str))
            .var("BEGUN", &begun)
            .var("OWN", claim.own.unwrap_or_default());
        let answer = remote::run(&*claim.ports.shell, io, script, &doing).await?;
        let Some(holder) = answer.get("held") else {
            if let Some(process) = answer.get("busy") {
                let wait = wait.max(MIGRATION);
                let log = answer.get("busy-log").unwrap_or_default();
                if claim.ports.clock.elapsed().saturating_sub(began) >= wait {
                    return Err(errors::lock::migration_running(&doing, process, wait, log));
                }
                if !std::mem::replace(&mut described, true) {
                    io.line(format!(
                        "the migration of an interrupted run is still running on the server (process {process}, log {log}); \
                         waiting up to {} s for it",
                        wait.as_secs()
                    ));
                }
                claim.ports.clock.sleep(LOOK).await;
                continue;
            }
            let interrupted = interrupted(&answer);
            for interrupted in interrupted.iter().filter(|interrupted| !interrupted.stuck) {
                io.warning(errors::lock::taken_over(&interrupted.owner));
            }
            for job in answer.all("ended-job") {
                io.line(format!("ended job {job}, which an interrupted run had left running on the server"));
            }
            return Ok((owner, interrupted));
        };
        if answer.get("kept").is_some() || claim.ports.clock.elapsed().saturating_sub(began) >= wait {
            let holder = match answer.get("migrating") {
                Some(_) => &format!("{}, whose migration is running,", holder.trim()),
                None => holder,
            };
            return Err(held(layout, &doing, holder, wait));
        }
        if !std::mem::replace(&mut described, true) {
            io.line(waiting(holder, wait));
        }
        claim.ports.clock.sleep(LOOK).await;
    }
}

/// In the survey: waits until the lock is free, so that the plan is made for the state that the release meets. Reads only. Gives who holds
/// it in the end. It does not wait for a lock with the fencing token `own`, an expired lock or a pinned one, and no longer than `waits` says.
pub async fn wait_until_free(
    shell: &dyn Shell,
    clock: &dyn Clock,
    layout: &Layout,
    (wait, own): (Duration, Option<&str>),
    waits: &dyn Fn() -> bool,
    io: &Io,
) -> Result<Option<Holder>, Failure> {
    let began = clock.elapsed();
    let mut described = false;
    loop {
        let script = Script::new("holder", include_str!("holder.sh")).repeatable().var("LOCK", layout.lock().as_str());
        let answer = remote::run(shell, io, script, "reading the holder of the deploy lock").await?;
        let holder = match Holder::read(&answer) {
            Some(holder) if !holder.gone && !holder.kept && (own.is_none() || holder.number.as_deref() != own) => {
                holder
            }
            other => return Ok(other),
        };
        if clock.elapsed().saturating_sub(began) >= wait || !waits() {
            return Ok(Some(holder));
        }
        if !std::mem::replace(&mut described, true) {
            io.line(waiting(&holder.owner, wait));
        }
        clock.sleep(LOOK).await;
    }
}

/// The runs whose locks were taken over, as lock.sh tells them: five records for each. Then those that ended stuck and are not recorded.
fn interrupted(answer: &Answer) -> Vec<InterruptedRun> {
    let of_release = answer.all("dead-release").zip(answer.all("dead-begun"));
    let of_end = answer.all("dead-confirmed").zip(answer.all("dead-proof")).zip(answer.all("dead-migrated"));
    let interrupted = answer.all("took-over").zip(of_release).zip(of_end);
    interrupted
        .map(|((owner, (makes, begun)), ((confirmed, proof), migrated))| InterruptedRun {
            owner: owner.trim().to_owned(),
            makes: makes.parse().ok(),
            begun: serde_json::from_str(begun).ok(),
            confirmed: (confirmed == "yes").then(|| serde_json::from_str(proof).unwrap_or_default()),
            migrated: Migrated::read(migrated),
            stuck: false,
        })
        .chain(answer.all("stuck-begun").zip(answer.all("stuck-migrated")).map(|(begun, migrated)| InterruptedRun {
            owner: String::new(),
            makes: None,
            begun: serde_json::from_str(begun).ok(),
            confirmed: None,
            migrated: Migrated::read(migrated),
            stuck: true,
        }))
        .collect()
}

fn waiting(holder: &str, wait: Duration) -> String {
    format!("waiting up to {} s for {}, which holds the deploy lock", wait.as_secs(), holder.trim())
}

/// Another run has it: says which one, and how to free it if that run is gone.
pub fn held(layout: &Layout, doing: &str, holder: &str, wait: Duration) -> Failure {
    let holder = if holder.trim().is_empty() { UNNAMED } else { holder.trim() };
    errors::lock::held(doing, holder, wait, layout.lock().as_str(), LEASE)
}

/// What to do about a lock that another run holds.
pub fn hint(lock: &str) -> String {
    errors::lock::held_help(lock, LEASE)
}

/// Lets a script of this run check first that this run still holds the lock.
pub fn fenced(cx: &Deploy, script: Script) -> Script {
    script.var("LOCK", cx.inputs.layout.lock().as_str()).var("LOCK_NONCE", nonce(cx))
}

/// The same for a script that has no such line: it also renews the lease while it works.
pub fn under(cx: &Deploy, script: Script) -> Script {
    script.fenced(cx.inputs.layout.lock().as_str(), &nonce(cx))
}

/// For a script that this run may run without the lock: it only undoes what this run did.
pub fn unfenced(script: Script) -> Script {
    script.var("LOCK", "").var("LOCK_NONCE", "")
}

/// Lets a script check first that the lock still has this fencing token.
pub fn fence(layout: &Layout, number: &str, script: Script) -> Script {
    script.var("LOCK", layout.lock().as_str()).var("LOCK_NONCE", number)
}

/// Renews the lock with this fencing token from now on.
pub fn keep(ports: &Ports, layout: &Layout, number: &str, io: &Io) -> Keeper {
    let (shell, clock, io) = (ports.shell.clone(), ports.clock.clone(), io.clone());
    let (lock, nonce) = (layout.lock(), number.to_owned());
    let task = spawn_local(async move {
        let mut proven = clock.elapsed();
        let mut said = false;
        let mut beside: Option<Rc<dyn Shell>> = None;
        let mut pause = RENEWAL;
        loop {
            clock.sleep(pause).await;
            let script = Script::new("renew", include_str!("renew.sh"))
                .repeatable()
                .at_once()
                .var("LOCK", lock.as_str())
                .var("NONCE", &nonce);
            let mut answer = shell.run(script.clone(), &mut |_| {}).await;
            // The server may allow one session for each connection (MaxSessions), which a script has now.
            if let Err(ShellError::NoAnswer { .. }) = &answer {
                let shell = beside.get_or_insert_with(|| shell.another());
                answer = shell.run(script, &mut |_| {}).await;
            }
            let Ok(answer) = answer else {
                pause = LOOK;
                let since = clock.elapsed().saturating_sub(proven);
                if since > LEASE && !std::mem::replace(&mut said, true) {
                    io.warning(errors::lock::not_renewed(since));
                }
                continue;
            };
            (pause, proven, said) = (RENEWAL, clock.elapsed(), false);
            if let Some(other) = answer.get("lost") {
                io.warning(errors::lock::lost(other.trim()));
                return;
            }
        }
    });
    Keeper(task.abort_handle())
}

/// Frees the lock; pins it when the run is stuck, so that no other run deploys to a broken site.
pub async fn release(cx: &Deploy, io: &Io, ending: &Ending) -> Result<String, Failure> {
    drop(cx.state.borrow_mut().keeper.take());
    let unrecorded = {
        let state = cx.state.borrow();
        state.ledger_is_open && !state.recorded
    };
    if unrecorded && !matches!(ending.outcome, Outcome::Stuck { .. }) {
        // The lock holds what this run began, and the proof of a confirmation: the next run writes the line from it. Without a line the
        // attempt would not have been: production, and the choice of a rollback's target, rely on it.
        return Ok(format!(
            "kept until its lease expires in {} s: the next run takes it over and writes the missing ledger line",
            LEASE.as_secs()
        ));
    }
    give_back(&*cx.ports.shell, io, &cx.inputs.layout, &nonce(cx), (ending, unrecorded)).await
}

/// The same for the run that holds it with this fencing token. A run that handed its rollback over leaves it as it is: it expires, and the run
/// that takes it over completes the recovery. `unrecorded`: the ledger has no line of its attempt.
pub async fn give_back(
    shell: &dyn Shell,
    io: &Io,
    layout: &Layout,
    number: &str,
    (ending, unrecorded): (&Ending, bool),
) -> Result<String, Failure> {
    let lock = layout.lock();
    if ending.handed_over {
        return Ok(format!(
            "kept: the next run takes it over after at most {} s and completes the recovery",
            LEASE.as_secs()
        ));
    }
    let stuck = matches!(ending.outcome, Outcome::Stuck { .. });
    let script = Script::new("unlock", include_str!("unlock.sh"))
        .repeatable()
        .var("LOCK", lock.as_str())
        .var("NONCE", number)
        .var("KEEP", if stuck { "yes" } else { "" })
        .var("UNRECORDED", if unrecorded { "yes" } else { "" });
    let answer = remote::run(shell, io, script, &format!("freeing the deploy lock at {lock}")).await?;
    Ok(match answer.get("found") {
        Some("kept") => {
            return Ok(format!(
                "pinned, because this run needs manual action. When the site is healthy again, run: {}",
                RemoteCommand::new(["rm", "-r", lock.as_str()])
            ));
        }
        Some("left") => {
            return Ok(format!(
                "kept, because the leftovers of an interrupted run are in it: the next run takes it over after at most {} s",
                LEASE.as_secs()
            ));
        }
        Some("ours") => "freed",
        Some("others") => "not changed: another run holds it",
        _ => "it was already free",
    }
    .to_owned())
}

/// The last command of a stuck run's manual action: it frees the lock.
pub fn free_by_hand(cx: &Deploy) -> RemoteCommand {
    RemoteCommand::new(["rm", "-r", cx.inputs.layout.lock().as_str()])
}

/// "run https://… (attempt 1) by ada since 2025-11-02T15:49:00Z"
fn owner(run: &typed::RunIdentity, since: DateTime<Utc>) -> String {
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
    format!("{text} since {}", since.format("%Y-%m-%dT%H:%M:%SZ"))
}

/// Tells our lock from another run's. A run without a fencing token has no lock.
pub(crate) fn nonce(cx: &Deploy) -> String {
    cx.state.borrow().lock.clone().unwrap_or_else(|| "none".to_owned())
}

impl Begun {
    pub fn of(cx: &Deploy) -> Self {
        Self {
            version: 1,
            at: time(cx.plan.decided_at),
            environment: cx.inputs.environment.to_string(),
            attempt: attempt(cx),
            release: cx.plan.turn.to.clone(),
            from: cx.plan.turn.from.clone(),
            sha: cx.plan.commit.clone(),
            run: cx.inputs.run.url.clone(),
        }
    }
}

pub(crate) fn attempt(cx: &Deploy) -> Attempt {
    if cx.source.is_some() { Attempt::Release } else { Attempt::Rollback }
}

/// As lines tell it.
pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FD37: sshd's answer is missed, the line is tried again, and the other run must not have taken the lock meanwhile.
    #[test]
    fn fd37_the_lease_outlasts_the_longest_outage_that_a_run_survives() {
        let noticed = Duration::from_secs(15 + 30);
        let tried = Duration::from_secs(60);
        let last_try = Duration::from_secs(10 + 15);
        assert!(ssh::OUTAGE >= noticed + tried + last_try, "{:?}", ssh::OUTAGE);
        assert!(LEASE >= ssh::OUTAGE + RENEWAL, "{LEASE:?}");
    }

    #[test]
    fn fd34_what_a_dead_run_left_is_read_run_by_run() {
        let records = [
            ("took-over", "run one\n"),
            ("dead-release", ""),
            ("dead-begun", "{}"),
            ("dead-confirmed", "no"),
            ("dead-proof", ""),
            ("dead-migrated", "begin=1:2\u{1e}before=a\u{1e}after=a\nb\u{1e}status=0\u{1e}end=1:0\u{1e}"),
            ("took-over", "run two"),
            ("dead-release", "20261101_080000-0123abcd"),
            ("dead-begun", ""),
            ("dead-confirmed", "yes"),
            ("dead-proof", "{\"migrations\":[\"c\"],\"later\":1}"),
            ("dead-migrated", ""),
        ];
        let interrupted =
            interrupted(&Answer::new(records.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()));
        let [one, two] = interrupted.as_slice() else { panic!("{interrupted:?}") };
        assert_eq!((one.owner.as_str(), &one.makes, &one.confirmed), ("run one", &None, &None));
        assert_eq!(one.migrated.as_ref().and_then(|migrated| migrated.ran.clone()), Some(vec!["b".to_owned()]));
        let proof = two.confirmed.clone().expect("its proof");
        assert_eq!((proof.bundle_sha256, proof.migrations), (None, Some(vec!["c".to_owned()])));
        assert!(two.makes.is_some() && two.migrated.is_none());
    }
}
